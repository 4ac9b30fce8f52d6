//! The open WebSockets, by session: each ends when its session does.
//!
//! A request is judged when it begins; a WebSocket lives on for hours. So those that are open are judged again: at once when
//! the store tells that sessions were ended, and from time to time for what nobody tells: a session's limits, and
//! brokers and users who are no longer there. Looking does not count as using the session. A store that cannot answer says nothing
//! of the session, and cuts nothing. There are never more of them than connections, and they go with the request that
//! opened them. Those on public paths are nobody's: they end with the gateway only.

use crate::clock::Clock;
use crate::gateway::context::Passage;
use crate::gateway::membership::Roll;
use crate::gateway::proxy::Gateway;
use crate::gateway::websocket::control::{Cut, Line};
use crate::store::cache::Sessions;
use crate::store::{self, Invalidation, RecordKey};
use crate::telemetry::metrics::Metrics;
use domain::ids::SessionToken;
use domain::session::{Level, Proof, Session, SessionLimits};
use domain::time::Timestamp;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Fuse, FusedFuture as _};
use futures_util::stream::{self, StreamExt as _};
use parking_lot::Mutex;
use pingora::proxy::Session as HttpSession;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval};

/// What costs nothing is looked at this often: whether a limit is over, whether the broker is still on the roll.
const GLANCE: Duration = Duration::from_secs(1);
/// The store is asked this often about each session, and when one may have become idle.
const LOOK: Duration = Duration::from_secs(30);
/// So many at a time.
const LOOKS_AT_ONCE: usize = 32;

/// All open WebSockets.
pub(crate) struct Tunnels {
    open: Mutex<HashMap<RecordKey, Watched>>,
    /// Those on public paths, by the address of their line.
    nobodys: Mutex<HashMap<usize, Arc<Line>>>,
    /// The gateway goes away: those that open now are told so at once.
    leaving: AtomicBool,
    /// How many were told.
    told: AtomicUsize,
    sessions: Arc<Sessions>,
    roll: Roll,
    limits: SessionLimits,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// A session that has WebSockets open.
struct Watched {
    token: SessionToken,
    /// What is known of it; nothing before it was looked at first.
    known: Option<Known>,
    look_at: Timestamp,
    lines: Vec<Arc<Line>>,
}

#[derive(Clone, Copy)]
struct Known {
    session: Session,
    ends_at: Timestamp,
}

/// A WebSocket that is open for as long as this lives.
pub(crate) struct Opened {
    tunnels: Arc<Tunnels>,
    /// None on a public path.
    key: Option<RecordKey>,
    line: Arc<Line>,
}

impl Tunnels {
    pub(crate) fn new(
        sessions: Arc<Sessions>,
        roll: Roll,
        limits: SessionLimits,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let (open, nobodys) = (Mutex::default(), Mutex::default());
        let (leaving, told) = (AtomicBool::new(false), AtomicUsize::new(0));
        Arc::new(Self {
            open,
            nobodys,
            leaving,
            told,
            sessions,
            roll,
            limits,
            clock,
            metrics,
        })
    }

    /// A WebSocket of this session's opens on this line. It is cut at once if the session has ended since its request was judged:
    /// first it is known here, then the session is looked at, so that no end falls between the two.
    pub(crate) async fn open(self: &Arc<Self>, token: &SessionToken, line: &Arc<Line>) -> Opened {
        let (key, now) = (self.sessions.key(token), self.clock.now());
        line.open();
        // Made first: a request that is given up while the store is asked leaves nothing behind.
        let opened = Opened {
            tunnels: Arc::clone(self),
            key: Some(key),
            line: Arc::clone(line),
        };
        {
            let mut open = self.open.lock();
            let watched = open.entry(key).or_insert_with(|| Watched {
                token: *token,
                known: None,
                look_at: now.plus(LOOK),
                lines: Vec::new(),
            });
            watched.lines.push(Arc::clone(line));
            if self.leaving.load(Ordering::Acquire) {
                self.send_away(line);
            }
        }
        // Only that the store does not answer can go wrong: the session was found a moment ago.
        let _ = self.look(key, token, now).await;
        opened
    }

    /// A WebSocket opens on this line on a public path.
    pub(crate) fn open_nobodys(self: &Arc<Self>, line: &Arc<Line>) -> Opened {
        line.open();
        let mut nobodys = self.nobodys.lock();
        nobodys.insert(place(line), Arc::clone(line));
        if self.leaving.load(Ordering::Acquire) {
            self.send_away(line);
        }
        Opened {
            tunnels: Arc::clone(self),
            key: None,
            line: Arc::clone(line),
        }
    }

    /// Cuts what has to be cut. Runs until the store is gone. However long the store takes over the looks, what is known to have
    /// ended is cut meanwhile.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut ends = self.sessions.ends();
        let mut glance = interval(GLANCE);
        glance.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks: Fuse<BoxFuture<'_, ()>> = Fuse::terminated();
        loop {
            tokio::select! {
                end = ends.recv() => match end {
                    Ok(Invalidation::Session(key)) => self.cut(key),
                    Ok(Invalidation::All | Invalidation::Broker(_) | Invalidation::HeardAgain) | Err(RecvError::Lagged(_)) => {
                        self.open.lock().values_mut().for_each(|watched| watched.look_at = Timestamp::from_millis(0));
                        // Those under way may have been answered before the end that was missed.
                        looks = self.look_at_due().boxed().fuse();
                    }
                    Ok(Invalidation::HeardUntil(_) | Invalidation::Missed(_)) => {}
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
    pub(crate) fn leave(&self) {
        // Both are locked: one that opens is told here, or finds out for itself.
        let (open, nobodys) = (self.open.lock(), self.nobodys.lock());
        self.leaving.store(true, Ordering::Release);
        open.values()
            .flat_map(|watched| &watched.lines)
            .chain(nobodys.values())
            .for_each(|line| self.send_away(line));
    }

    fn send_away(&self, line: &Line) {
        self.told.fetch_add(1, Ordering::AcqRel);
        line.cut(Cut::Leaving);
    }

    /// How many were told to go elsewhere.
    pub(crate) fn told_to_leave(&self) -> usize {
        self.told.load(Ordering::Acquire)
    }

    /// Cuts those of which it is known, without asking, that they are over.
    fn cut_over(&self) {
        let now = self.clock.now();
        let is_over = |known: Known| now >= known.ends_at || !self.roll.has(&known.session);
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
        let is_due = |watched: &Watched| now >= watched.look_at;
        let due: Vec<_> = self
            .open
            .lock()
            .iter()
            .filter(|(_, watched)| is_due(watched))
            .map(|(key, watched)| (*key, watched.token))
            .collect();
        let looks = stream::iter(due)
            .map(|(key, token)| async move { self.look(key, &token, self.clock.now()).await });
        let mut looks = pin!(looks.buffer_unordered(LOOKS_AT_ONCE));
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
        let session = self.sessions.look(token, now).await;
        let session = session.inspect_err(|_| self.note(key, None, now.plus(GLANCE)))?;
        let session = session.filter(|session| self.roll.has(session));
        match session {
            Some(session) => self.note(
                key,
                Some(&session),
                now.plus(LOOK.min(session.remaining(&self.limits, now))),
            ),
            None => self.cut(key),
        }
        Ok(())
    }

    fn note(&self, key: RecordKey, session: Option<&Session>, look_at: Timestamp) {
        if let Some(watched) = self.open.lock().get_mut(&key) {
            let known = session.map(|session| Known {
                session: *session,
                ends_at: session.signed_in_at.plus(self.limits.absolute),
            });
            watched.known = known.or(watched.known);
            watched.look_at = look_at;
        }
    }

    fn cut(&self, key: RecordKey) {
        let Some(watched) = self.open.lock().remove(&key) else {
            return;
        };
        for line in watched.lines {
            line.cut(Cut::SessionEnded);
            self.metrics.websocket_cut();
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let Some(key) = &self.key else {
            self.tunnels.nobodys.lock().remove(&place(&self.line));
            return;
        };
        let mut open = self.tunnels.open.lock();
        let Some(watched) = open.get_mut(key) else {
            return;
        };
        watched.lines.retain(|line| !Arc::ptr_eq(line, &self.line));
        if watched.lines.is_empty() {
            open.remove(key);
        }
    }
}

fn place(line: &Arc<Line>) -> usize {
    Arc::as_ptr(line) as usize
}

impl Gateway {
    /// A WebSocket opens. From now on it ends with the gateway, and with what its broker is signed in by, if there is one.
    pub(crate) async fn open_tunnel(
        &self,
        http: &HttpSession,
        passage: &mut Passage,
    ) -> pingora::Result<()> {
        let broker = passage.permit()?.broker();
        let session = self.held(http).ok().and_then(|held| held.session);
        let Some(connection) = passage.connection.clone() else {
            return Err(unwatched());
        };
        passage.watch = match broker {
            Some((
                vtnr,
                Level::Full {
                    proof: Proof::Certificate,
                },
            )) => Some(
                self.certificates
                    .as_ref()
                    .ok_or_else(unwatched)?
                    .watch(Arc::clone(&connection), vtnr),
            ),
            Some((
                vtnr,
                Level::Full {
                    proof: Proof::Portal,
                },
            )) => Some(
                self.watch_at_portal(http, vtnr, connection.line())
                    .ok_or_else(unwatched)?,
            ),
            _ => None,
        };
        passage.tunnel = Some(
            match session.filter(|_| broker.is_some() && passage.watch.is_none()) {
                Some(session) => self.tunnels.open(&session, connection.line()).await,
                None if broker.is_none() || passage.watch.is_some() => {
                    self.tunnels.open_nobodys(connection.line())
                }
                None => return Err(unwatched()),
            },
        );
        Ok(())
    }
}

fn unwatched() -> Box<pingora::Error> {
    pingora::Error::explain(
        pingora::ErrorType::InternalError,
        "a WebSocket without a session",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Chance;
    use crate::config;
    use crate::directory::Directory;
    use crate::store::embedded::Embedded;
    use crate::store::engine::{Change, Committed, Engine};
    use crate::store::tickets::Tickets;
    use crate::store::{Charges, Hearing, Sealed, SignIn, Store, Vault};
    use async_trait::async_trait;
    use domain::ids::LetterId;
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

        async fn commit(&self, change: &Change) -> store::Result<Committed> {
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

        fn hearing(&self) -> Option<Hearing> {
            self.inner.hearing()
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);
    const LIMITS: SessionLimits = SessionLimits {
        idle: Duration::from_secs(3_600),
        absolute: Duration::from_secs(7_200),
    };

    struct Watch {
        tunnels: Arc<Tunnels>,
        store: Arc<dyn Store>,
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
            let directory = config::Directory {
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
            let vault = Vault::new(b"0123456789abcdef0123456789abcdef", Chance);
            let store: Arc<dyn Store> = Arc::new(Sealed::new(engine, vault.clone(), clock.clone()));
            let metrics = Arc::new(Metrics::new().expect("sound"));
            let sessions = Arc::new(Sessions::new(
                Arc::clone(&store),
                Tickets::new(vault),
                LIMITS,
                MINUTE,
                clock.clone(),
                Arc::clone(&metrics),
            ));
            let tunnels = Tunnels::new(
                sessions,
                Roll::new(Arc::clone(&directory), None),
                LIMITS,
                clock.clone(),
                metrics,
            );
            Self {
                tunnels,
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
        async fn opened(&self) -> (SessionToken, Arc<Line>, Opened) {
            let (token, session) = (Chance.session_token(), self.session());
            let sign_in = SignIn {
                flow: None,
                session: (&token, &session),
                lives: LIMITS.absolute,
                replaces: None,
                trust: None,
                forgets: None,
                trust_lives: Duration::ZERO,
            };
            self.store
                .sign_in(sign_in, &Charges::none())
                .await
                .expect("signed in");
            let line = Arc::default();
            let opened = self.tunnels.open(&token, &line).await;
            (token, line, opened)
        }

        /// Time passes, with a look at every minute.
        async fn pass(&self, minutes: u32) {
            for _ in 0..minutes {
                self.clock.advance(MINUTE);
                self.sweep().await;
            }
        }

        async fn sweep(&self) {
            self.tunnels.cut_over();
            self.tunnels.look_at_due().await;
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
            unused.1.why_cut().is_none(),
            "a minute before the idle limit"
        );
        watch.pass(1).await;
        assert!(unused.1.why_cut().is_some() && used.1.why_cut().is_none());
    }

    #[tokio::test]
    async fn the_absolute_limit_ends_it_however_much_it_is_used() {
        let watch = Watch::begin();
        let (token, line, _opened) = watch.opened().await;
        for _ in 0..119 {
            watch.pass(1).await;
            watch.use_elsewhere(&token).await;
        }
        assert!(line.why_cut().is_none());
        watch.pass(1).await;
        assert!(line.why_cut().is_some());
    }

    #[tokio::test]
    async fn a_broker_who_left_the_directory_loses_it() {
        let watch = Watch::begin();
        let (_, line, _opened) = watch.opened().await;
        std::fs::write(
            watch.folder.path().join("brokers.csv"),
            "vtnr;email\n60/123/4568;ben@makler.example\n",
        )
        .expect("written");
        watch.directory.reload(watch.clock.now()).expect("reloaded");
        watch.sweep().await;
        assert!(line.why_cut().is_some());
    }

    #[tokio::test]
    async fn a_session_that_ended_before_its_websocket_opened_cuts_it_at_once() {
        let watch = Watch::begin();
        let (token, first, _opened) = watch.opened().await;
        watch.store.end_session(&token).await.expect("ended");
        let late = Arc::default();
        let _opened = watch.tunnels.open(&token, &late).await;
        assert!(late.why_cut().is_some() && first.why_cut().is_some());
    }

    #[tokio::test]
    async fn what_has_ended_by_itself_is_forgotten() {
        let watch = Watch::begin();
        let (token, _, first) = watch.opened().await;
        let line = Arc::default();
        let second = watch.tunnels.open(&token, &line).await;
        drop(first);
        assert_eq!(
            watch
                .tunnels
                .open
                .lock()
                .values()
                .map(|watched| watched.lines.len())
                .sum::<usize>(),
            1
        );
        drop(second);
        assert!(watch.tunnels.open.lock().is_empty());
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_while_the_store_is_asked_leaves_nothing() {
        let watch = Watch::begin();
        let (token, _, opened) = watch.opened().await;
        drop(opened);
        watch.stalls.send_replace(true);
        let line = Arc::default();
        assert!(
            watch.tunnels.open(&token, &line).now_or_never().is_none(),
            "the store is asked"
        );
        assert!(watch.tunnels.open.lock().is_empty());
    }

    /// The first is due, and the store does not answer.
    #[tokio::test]
    async fn what_is_known_to_have_ended_is_cut_while_the_store_does_not_answer() {
        let watch = Watch::begin();
        let (due, ended) = (watch.opened().await, watch.opened().await);
        watch.clock.advance(MINUTE);
        watch.stalls.send_replace(true);
        let sessions = Arc::clone(&watch.tunnels.sessions);
        let mut watching =
            pin!(async { tokio::join!(sessions.listen(), Arc::clone(&watch.tunnels).watch()) });
        assert!(
            futures_util::poll!(&mut watching).is_pending(),
            "the store is asked of the first"
        );
        watch.store.end_session(&ended.0).await.expect("ended");
        let cut = async {
            until_cut(&ended.1).await;
            assert!(due.1.why_cut().is_none());
            watch.clock.advance(LIMITS.absolute);
            until_cut(&due.1).await;
        };
        tokio::select! {
            _ = watching => panic!("the store lives"),
            cut = tokio::time::timeout(5 * GLANCE, cut) => cut.expect("both are cut"),
        }
    }

    async fn until_cut(line: &Line) {
        while line.why_cut().is_none() {
            tokio::time::sleep(GLANCE / 100).await;
        }
    }
}
