//! The open WebSockets, by session: each ends when its session does.
//!
//! A request is judged when it begins; a WebSocket lives on for hours. So those that are open are judged again: at once when
//! the store tells that sessions were ended, and from time to time for what nobody tells: a session's limits, and
//! brokers and users who are no longer there. Looking does not count as using the session; data of the client does, pings do not. A store that cannot answer says nothing
//! of the session, and cuts nothing. There are never more of them than connections, and they go with the request that
//! opened them. Those on public paths are nobody's: they end with the gateway only.

use crate::clock::Clock;
use crate::gateway::membership::Membership;
use crate::gateway::websocket::control::{CloseHandle, CloseReason};
use crate::store::cache::Sessions;
use crate::store::{self, Invalidation, RecordKey};
use crate::telemetry::metrics::Metrics;
use domain::ids::SessionToken;
use domain::session::{Session, SessionLimits};
use domain::time::Timestamp;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Fuse, FusedFuture as _};
use futures_util::stream::{self, StreamExt as _};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval};

/// How often limits and membership are checked, which costs nothing.
const LOCAL_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The store is asked this often about each session, and when one may have become idle.
const STORE_CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// Data of the client is noted as a use of its session at most this often.
const USE_INTERVAL: Duration = Duration::from_secs(15);
/// So many at a time.
const CONCURRENT_STORE_CHECKS: usize = 32;

pub(crate) struct WebSocketRegistry {
    open: Mutex<HashMap<RecordKey, Watched>>,
    /// WebSockets on public paths, by the address of their handle.
    unowned: Mutex<HashMap<usize, Arc<CloseHandle>>>,
    /// The gateway goes away: those that open now are closed so at once.
    draining: AtomicBool,
    /// How many were closed.
    closed: AtomicUsize,
    sessions: Arc<Sessions>,
    membership: Membership,
    limits: SessionLimits,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// A session that has WebSockets open.
struct Watched {
    token: SessionToken,
    /// What is known of it; nothing before it was looked at first.
    known: Option<KnownSession>,
    look_at: Timestamp,
    looked_at: Timestamp,
    handles: Vec<Arc<CloseHandle>>,
}

#[derive(Clone, Copy)]
struct KnownSession {
    session: Session,
    ends_at: Timestamp,
}

/// A WebSocket that is open for as long as this lives.
pub(crate) struct WebSocketGuard {
    registry: Arc<WebSocketRegistry>,
    /// None on a public path.
    key: Option<RecordKey>,
    handle: Arc<CloseHandle>,
}

impl WebSocketRegistry {
    pub(crate) fn new(
        sessions: Arc<Sessions>,
        membership: Membership,
        limits: SessionLimits,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let open = Mutex::default();
        let unowned = Mutex::default();
        let draining = AtomicBool::new(false);
        let closed = AtomicUsize::new(0);
        Arc::new(Self {
            open,
            unowned,
            draining,
            closed,
            sessions,
            membership,
            limits,
            clock,
            metrics,
        })
    }

    /// A WebSocket of this session's opens on this handle. It is cut at once if the session has ended since its request was judged:
    /// first it is known here, then the session is looked at, so that no end falls between the two.
    pub(crate) async fn open(
        self: &Arc<Self>,
        token: &SessionToken,
        handle: &Arc<CloseHandle>,
    ) -> WebSocketGuard {
        let key = self.sessions.key(token);
        let now = self.clock.now();
        handle.open();
        // Made first: a request that is given up while the store is asked leaves nothing behind.
        let opened = WebSocketGuard {
            registry: Arc::clone(self),
            key: Some(key),
            handle: Arc::clone(handle),
        };
        {
            let mut open = self.open.lock();
            let watched = open.entry(key).or_insert_with(|| Watched {
                token: *token,
                known: None,
                look_at: now.plus(STORE_CHECK_INTERVAL),
                looked_at: now,
                handles: Vec::new(),
            });
            watched.handles.push(Arc::clone(handle));
            if self.draining.load(Ordering::Acquire) {
                self.close_for_drain(handle);
            }
        }
        // Only that the store does not answer can go wrong: the session was found a moment ago.
        let _ = self.look(key, token, now).await;
        opened
    }

    /// A WebSocket opens on this handle on a public path.
    pub(crate) fn open_unowned(self: &Arc<Self>, handle: &Arc<CloseHandle>) -> WebSocketGuard {
        handle.open();
        let mut unowned = self.unowned.lock();
        unowned.insert(place(handle), Arc::clone(handle));
        if self.draining.load(Ordering::Acquire) {
            self.close_for_drain(handle);
        }
        WebSocketGuard {
            registry: Arc::clone(self),
            key: None,
            handle: Arc::clone(handle),
        }
    }

    /// Cuts what has to be cut. Runs until the store is gone. However long the store takes over the looks, what is known to have
    /// ended is cut meanwhile.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut ends = self.sessions.invalidations();
        let mut glance = interval(LOCAL_CHECK_INTERVAL);
        glance.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks: Fuse<BoxFuture<'_, ()>> = Fuse::terminated();
        loop {
            tokio::select! {
                end = ends.recv() => match end {
                    Ok(Invalidation::Session(key)) => self.cut(key),
                    Ok(Invalidation::All | Invalidation::Broker(_) | Invalidation::Resubscribed) | Err(RecvError::Lagged(_)) => {
                        self.open.lock().values_mut().for_each(|watched| watched.look_at = Timestamp::from_millis(0));
                        // Those under way may have been answered before the end that was missed.
                        looks = self.look_at_due().boxed().fuse();
                    }
                    Ok(Invalidation::Watermark(_) | Invalidation::Gap(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = glance.tick() => {
                    self.cut_over();
                    if looks.is_terminated() {
                        looks = self.look_at_due().boxed().fuse();
                    }
                }
                () = &mut looks => {}
            }
        }
    }

    /// Tells all that the gateway goes away. Browsers open them anew, at another gateway.
    pub(crate) fn begin_drain(&self) {
        // Both are locked: one that opens is closed here, or finds out for itself.
        let open = self.open.lock();
        let unowned = self.unowned.lock();
        self.draining.store(true, Ordering::Release);
        open.values()
            .flat_map(|watched| &watched.handles)
            .chain(unowned.values())
            .for_each(|handle| self.close_for_drain(handle));
    }

    fn close_for_drain(&self, handle: &CloseHandle) {
        self.closed.fetch_add(1, Ordering::AcqRel);
        handle.close(CloseReason::Draining);
    }

    /// How many were closed to go elsewhere.
    pub(crate) fn closed_for_drain(&self) -> usize {
        self.closed.load(Ordering::Acquire)
    }

    /// Cuts those of which it is known, without asking, that they are over.
    fn cut_over(&self) {
        let now = self.clock.now();
        let is_over =
            |known: KnownSession| now >= known.ends_at || !self.membership.has(&known.session);
        let open = self.open.lock();
        let over: Vec<_> = open
            .iter()
            .filter(|(_, watched)| watched.known.is_some_and(is_over))
            .map(|(key, _)| *key)
            .collect();
        drop(open);
        over.into_iter().for_each(|key| self.cut(key));
    }

    /// Looks at those that it is time for.
    async fn look_at_due(&self) {
        let now = self.clock.now();
        let is_due = |watched: &Watched| {
            let is_used = || watched.handles.iter().any(|handle| handle.is_used());
            now >= watched.look_at || now >= watched.looked_at.plus(USE_INTERVAL) && is_used()
        };
        let due: Vec<_> = self
            .open
            .lock()
            .iter()
            .filter(|(_, watched)| is_due(watched))
            .map(|(key, watched)| (*key, watched.token))
            .collect();
        let looks = stream::iter(due)
            .map(|(key, token)| async move { self.look(key, &token, self.clock.now()).await });
        let mut looks = pin!(looks.buffer_unordered(CONCURRENT_STORE_CHECKS));
        while let Some(look) = looks.next().await {
            if look.is_err() {
                // Asking for the others would only take time; they stay due.
                return;
            }
        }
    }

    /// Looks whether the session still lives, and cuts its WebSockets if not.
    async fn look(
        &self,
        key: RecordKey,
        token: &SessionToken,
        now: Timestamp,
    ) -> store::Result<()> {
        let session = self.sessions.peek(token, now).await;
        let session =
            session.inspect_err(|_| self.note(key, None, now.plus(LOCAL_CHECK_INTERVAL)))?;
        let session = session.filter(|session| self.membership.has(session));
        let session = match session {
            // A use that cannot be noted now is noted with the next one.
            Some(_) if self.take_use(key) => {
                self.sessions.find(token, now).await.unwrap_or(session)
            }
            other => other,
        };
        match session {
            Some(session) => self.note(
                key,
                Some(&session),
                now.plus(STORE_CHECK_INTERVAL.min(session.remaining(&self.limits, now))),
            ),
            None => self.cut(key),
        }
        Ok(())
    }

    /// Returns whether a client of this session sent data since the last call.
    fn take_use(&self, key: RecordKey) -> bool {
        let open = self.open.lock();
        let handles = open.get(&key).map(|watched| watched.handles.as_slice());
        let used = handles
            .unwrap_or_default()
            .iter()
            .map(|handle| handle.take_use());
        used.fold(false, |any, used| any | used)
    }

    fn note(&self, key: RecordKey, session: Option<&Session>, look_at: Timestamp) {
        if let Some(watched) = self.open.lock().get_mut(&key) {
            let known = session.map(|session| KnownSession {
                session: *session,
                ends_at: session.signed_in_at.plus(self.limits.absolute),
            });
            watched.known = known.or(watched.known);
            watched.look_at = look_at;
            watched.looked_at = self.clock.now();
        }
    }

    fn cut(&self, key: RecordKey) {
        let Some(watched) = self.open.lock().remove(&key) else {
            return;
        };
        for handle in watched.handles {
            handle.close(CloseReason::SessionEnded);
            self.metrics.websocket_cut();
        }
    }
}

impl Drop for WebSocketGuard {
    fn drop(&mut self) {
        let Some(key) = &self.key else {
            self.registry.unowned.lock().remove(&place(&self.handle));
            return;
        };
        let mut open = self.registry.open.lock();
        let Some(watched) = open.get_mut(key) else {
            return;
        };
        watched
            .handles
            .retain(|handle| !Arc::ptr_eq(handle, &self.handle));
        if watched.handles.is_empty() {
            open.remove(key);
        }
    }
}

fn place(handle: &Arc<CloseHandle>) -> usize {
    Arc::as_ptr(handle) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Rng;
    use crate::config;
    use crate::identity::directory::Directory;
    use crate::store::embedded::Embedded;
    use crate::store::engine::{Change, Engine, TxOutcome};
    use crate::store::{FullStore, RateLimits, Sealed, SignInCommit, SubscriptionEpoch, Vault};
    use async_trait::async_trait;
    use domain::ids::LetterId;
    use domain::session::{Level, Proof};
    use domain::vtnr::Vtnr;
    use tokio::sync::broadcast::Receiver;

    /// A store that answers only while it is let.
    struct Stalling {
        inner: Embedded,
        stalls: tokio::sync::watch::Receiver<bool>,
    }

    #[async_trait]
    impl Engine for Stalling {
        async fn read(&self, keys: &[RecordKey]) -> store::Result<Vec<Option<Vec<u8>>>> {
            self.stalls
                .clone()
                .wait_for(|stalls| !stalls)
                .await
                .expect("the test lives");
            self.inner.read(keys).await
        }

        async fn commit(&self, change: &Change) -> store::Result<TxOutcome> {
            self.inner.commit(change).await
        }

        async fn lease(
            &self,
            among: store::Due,
            lease: Duration,
        ) -> store::Result<Option<(LetterId, u32)>> {
            self.inner.lease(among, lease).await
        }

        async fn queue_length(&self) -> store::Result<u64> {
            self.inner.queue_length().await
        }

        async fn ping(&self) -> store::Result<()> {
            self.inner.ping().await
        }

        fn invalidations(&self) -> Receiver<Invalidation> {
            self.inner.invalidations()
        }

        fn subscription(&self) -> Option<SubscriptionEpoch> {
            self.inner.subscription()
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);
    const LIMITS: SessionLimits = SessionLimits {
        idle: Duration::from_secs(3_600),
        absolute: Duration::from_secs(7_200),
    };

    struct Watch {
        registry: Arc<WebSocketRegistry>,
        store: Arc<dyn FullStore>,
        clock: Clock,
        directory: Arc<Directory>,
        stalls: tokio::sync::watch::Sender<bool>,
        folder: tempfile::TempDir,
    }

    impl Watch {
        fn begin() -> Self {
            let (clock, folder) = (
                Clock::manual(Timestamp::from_millis(1_800_000_000_000)),
                tempfile::tempdir().expect("a folder"),
            );
            let file = folder.path().join("brokers.csv");
            std::fs::write(&file, "vtnr;email\n60/123/4567;ada@makler.example\n").expect("written");
            let directory = config::DirectoryConfig {
                file,
                poll: MINUTE,
                certificates: None,
            };
            let directory =
                Arc::new(Directory::open(&directory, clock.now()).expect("a directory"));
            let (stalls, stalled) = tokio::sync::watch::channel(false);
            let engine = Stalling {
                inner: Embedded::in_memory(clock.clone()).expect("a store"),
                stalls: stalled,
            };
            let vault = Vault::new(b"0123456789abcdef0123456789abcdef", Rng);
            let store: Arc<dyn FullStore> =
                Arc::new(Sealed::new(engine, vault.clone(), clock.clone()));
            let metrics = Arc::new(Metrics::new().expect("sound"));
            let sessions = Arc::new(Sessions::new(
                Arc::clone(&store) as _,
                vault,
                LIMITS,
                MINUTE,
                clock.clone(),
                Arc::clone(&metrics),
            ));
            let registry = WebSocketRegistry::new(
                sessions,
                Membership::new(Arc::clone(&directory), None),
                LIMITS,
                clock.clone(),
                metrics,
            );
            Self {
                registry,
                store,
                clock,
                directory,
                stalls,
                folder,
            }
        }

        fn session(&self) -> Session {
            let vtnr = Vtnr::parse("60/123/4567").expect("well-formed");
            Session::begin(
                vtnr,
                Level::Full {
                    proof: Proof::Mailbox,
                },
                self.clock.now(),
            )
        }

        /// A session with a WebSocket.
        async fn opened(&self) -> (SessionToken, Arc<CloseHandle>, WebSocketGuard) {
            let (token, session) = (Rng.session_token(), self.session());
            let sign_in = SignInCommit {
                flow: None,
                session: (&token, &session),
                lives: LIMITS.absolute,
                replaces: None,
                trust: None,
                forgets: None,
                trust_lives: Duration::ZERO,
            };
            self.store
                .sign_in(sign_in, &RateLimits::none())
                .await
                .expect("signed in");
            let handle = Arc::default();
            let opened = self.registry.open(&token, &handle).await;
            (token, handle, opened)
        }

        /// Time passes, with a look at every minute.
        async fn pass(&self, minutes: u32) {
            for _ in 0..minutes {
                self.clock.advance(MINUTE);
                self.sweep().await;
            }
        }

        async fn sweep(&self) {
            self.registry.cut_over();
            self.registry.look_at_due().await;
        }

        async fn use_elsewhere(&self, token: &SessionToken) {
            let session = self
                .store
                .find_session(token)
                .await
                .expect("answers")
                .expect("alive");
            let used = Session {
                seen_at: self.clock.now(),
                ..session
            };
            self.store
                .touch_session(token, &used, used.remaining(&LIMITS, self.clock.now()))
                .await
                .expect("noted");
        }
    }

    #[tokio::test]
    async fn being_looked_at_is_no_use_and_use_elsewhere_is() {
        let watch = Watch::begin();
        let (unused, used) = (watch.opened().await, watch.opened().await);
        watch.pass(30).await;
        watch.use_elsewhere(&used.0).await;
        watch.pass(29).await;
        assert!(
            unused.1.close_reason().is_none(),
            "a minute before the idle limit"
        );
        watch.pass(1).await;
        assert!(unused.1.close_reason().is_some() && used.1.close_reason().is_none());
    }

    #[tokio::test]
    async fn data_of_the_client_is_a_use_up_to_the_absolute_limit() {
        let watch = Watch::begin();
        let (unused, used) = (watch.opened().await, watch.opened().await);
        for _ in 0..119 {
            used.1.note_use();
            watch.pass(1).await;
        }
        assert!(unused.1.close_reason().is_some() && used.1.close_reason().is_none());
        used.1.note_use();
        watch.pass(1).await;
        assert!(used.1.close_reason().is_some(), "it is too old");
    }

    /// With the shortest idle limit, a use right after a look is noted before the session is idle.
    #[tokio::test]
    async fn a_use_between_two_looks_is_noted_in_time() {
        let watch = Watch::begin();
        let (token, handle, _opened) = watch.opened().await;
        watch.clock.advance(LIMITS.idle - Duration::from_secs(31));
        watch.sweep().await;
        watch.clock.advance(Duration::from_secs(1));
        handle.note_use();
        watch.clock.advance(USE_INTERVAL);
        watch.sweep().await;
        watch.clock.advance(Duration::from_secs(20));
        watch.sweep().await;
        assert!(handle.close_reason().is_none());
        let session = watch.store.find_session(&token).await.expect("answers");
        let seen_at = session.expect("alive").seen_at;
        assert_eq!(watch.clock.now().since(seen_at), Duration::from_secs(20));
    }

    #[tokio::test]
    async fn the_absolute_limit_ends_it_however_much_it_is_used() {
        let watch = Watch::begin();
        let (token, handle, _opened) = watch.opened().await;
        for _ in 0..119 {
            watch.pass(1).await;
            watch.use_elsewhere(&token).await;
        }
        assert!(handle.close_reason().is_none());
        watch.pass(1).await;
        assert!(handle.close_reason().is_some());
    }

    #[tokio::test]
    async fn a_broker_who_left_the_directory_loses_it() {
        let watch = Watch::begin();
        let (_, handle, _opened) = watch.opened().await;
        std::fs::write(
            watch.folder.path().join("brokers.csv"),
            "vtnr;email\n60/123/4568;ben@makler.example\n",
        )
        .expect("written");
        watch.directory.reload(watch.clock.now()).expect("reloaded");
        watch.sweep().await;
        assert!(handle.close_reason().is_some());
    }

    #[tokio::test]
    async fn a_session_that_ended_before_its_websocket_opened_cuts_it_at_once() {
        let watch = Watch::begin();
        let (token, first, _opened) = watch.opened().await;
        watch.store.end_session(&token).await.expect("ended");
        let late = Arc::default();
        let _opened = watch.registry.open(&token, &late).await;
        assert!(late.close_reason().is_some() && first.close_reason().is_some());
    }

    #[tokio::test]
    async fn what_has_ended_by_itself_is_forgotten() {
        let watch = Watch::begin();
        let (token, _, first) = watch.opened().await;
        let handle = Arc::default();
        let second = watch.registry.open(&token, &handle).await;
        drop(first);
        assert_eq!(
            watch
                .registry
                .open
                .lock()
                .values()
                .map(|watched| watched.handles.len())
                .sum::<usize>(),
            1
        );
        drop(second);
        assert!(watch.registry.open.lock().is_empty());
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_while_the_store_is_asked_leaves_nothing() {
        let watch = Watch::begin();
        let (token, _, opened) = watch.opened().await;
        drop(opened);
        watch.stalls.send_replace(true);
        let handle = Arc::default();
        assert!(
            watch
                .registry
                .open(&token, &handle)
                .now_or_never()
                .is_none(),
            "the store is asked"
        );
        assert!(watch.registry.open.lock().is_empty());
    }

    /// The first is due, and the store does not answer.
    #[tokio::test]
    async fn what_is_known_to_have_ended_is_cut_while_the_store_does_not_answer() {
        let watch = Watch::begin();
        let (due, ended) = (watch.opened().await, watch.opened().await);
        watch.clock.advance(MINUTE);
        watch.stalls.send_replace(true);
        let sessions = Arc::clone(&watch.registry.sessions);
        let mut watching =
            pin!(async { tokio::join!(sessions.listen(), Arc::clone(&watch.registry).watch()) });
        assert!(
            futures_util::poll!(&mut watching).is_pending(),
            "the store is asked of the first"
        );
        watch.store.end_session(&ended.0).await.expect("ended");
        let cut = async {
            closed(&ended.1).await;
            assert!(due.1.close_reason().is_none());
            watch.clock.advance(LIMITS.absolute);
            closed(&due.1).await;
        };
        tokio::select! {
            _ = watching => panic!("the store lives"),
            cut = tokio::time::timeout(5 * LOCAL_CHECK_INTERVAL, cut) => cut.expect("both are cut"),
        }
    }

    async fn closed(handle: &CloseHandle) {
        while handle.close_reason().is_none() {
            tokio::time::sleep(LOCAL_CHECK_INTERVAL / 100).await;
        }
    }
}
