//! Sessions, found in memory where that is safe, and in the store otherwise.
//!
//! A session may be answered from memory only if it was read in the same hearing, a time in which invalidations arrive without a gap
//! ([`Store::hearing`]). What is read is kept only if no invalidation of its shard arrived since before it was read, which a
//! generation counter tells: otherwise a session that was ended between the read and the keeping would live on here.
//!
//! While the store does not answer at all, sessions that this gateway knew before go on for a grace: what was ended before the
//! outage is forgotten here already, and during it nothing can be ended. The grace of a session begins when the hearing ended in
//! which it was read, if that was earlier, since nothing is known of what was ended from then on. Meanwhile the store is asked only
//! twice a second, so that no request waits for it and none of them piles up. Sessions that this gateway never saw go on by the
//! ticket that another one wrote ([`Sessions::find_offline`]).

mod offline;
mod revocation_log;
mod session_cache;

use self::revocation_log::RevocationLog;
use self::session_cache::{Entry, SessionCache};
use super::offline_tokens::OfflineTokens;
use super::{Error, Invalidation, RecordKey, Result, SessionStore, SubscriptionEpoch, Vault};
use crate::clock::{Clock, Step};
use crate::telemetry::metrics::{Lookup, Metrics};
use domain::ids::SessionToken;
use domain::session::{Liveness, Session, SessionLimits};
use domain::time::Timestamp;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Use is written to the store at most this often a session, and oftener where the idle limit is so short that a session in
/// use would else seem idle.
const TOUCH_EVERY: Duration = Duration::from_secs(60);
const TOUCHES_AN_IDLE_LIMIT: u32 = 12;
/// RevocationLog that wait for a listener; one that lags further behind must look at all sessions anew.
const MOST_ENDS: usize = 1_024;

/// In milliseconds: signs come four times a second, and the product promises that ends are known within one.
const STALE_AFTER: u64 = 1_000;

/// The store does not answer.
#[derive(Clone, Copy)]
struct Outage {
    since: Timestamp,
    asked_at: Timestamp,
}

/// While the store does not answer, it is asked this often.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Finds sessions.
pub struct Sessions {
    store: Arc<dyn SessionStore>,
    memory: SessionCache,
    /// When hearings ended, in their order; of those whose sessions have no grace left, only the last.
    hearings: Mutex<VecDeque<(SubscriptionEpoch, Timestamp)>>,
    listening: AtomicBool,
    vault: Vault,
    offline_tokens: OfflineTokens,
    known_ends: Mutex<RevocationLog>,
    /// When the last sign was heard that all ends are heard, in milliseconds since the beginning; 0 where there are no such signs.
    sign_at: AtomicU64,
    began: Instant,
    ends: broadcast::Sender<Invalidation>,
    outage: Mutex<Option<Outage>>,
    grace: Duration,
    limits: SessionLimits,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Sessions {
    /// Sessions in this store. [`Sessions::listen`] must run for them to be kept in memory.
    /// `grace` is how long sessions go on while the store does not answer.
    pub fn new(
        store: Arc<dyn SessionStore>,
        vault: Vault,
        limits: SessionLimits,
        grace: Duration,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            store,
            memory: SessionCache::new(),
            hearings: Mutex::default(),
            listening: AtomicBool::new(false),
            offline_tokens: OfflineTokens::new(vault.clone()),
            vault,
            known_ends: Mutex::default(),
            sign_at: AtomicU64::new(0),
            began: Instant::now(),
            ends: broadcast::channel(MOST_ENDS).0,
            outage: Mutex::default(),
            grace,
            limits,
            clock,
            metrics,
        }
    }

    /// The live session that this token stands for, as of `now`. That it was used is noted.
    ///
    /// # Errors
    /// [`super::Error`] if the store had to be asked and could not answer; that says nothing of the session.
    pub async fn find(&self, token: &SessionToken, now: Timestamp) -> Result<Option<Session>> {
        let (key, hearing) = (self.vault.session_key(token), self.subscription());
        if let Some(session) = self.recall(key, hearing, now) {
            self.metrics.session_looked_up(Lookup::Hit);
            return Ok(Some(self.used(token, key, session, now).await));
        }
        self.metrics.session_looked_up(Lookup::Miss);
        if let Some(since) = self.is_down_since(now) {
            return self
                .in_outage(key, since, now)
                .ok_or_else(|| Error::Unreachable("the store is down".into()))
                .map(Some);
        }
        match self.ask(token, key, hearing, now).await {
            Ok(session) => {
                *self.outage.lock() = None;
                Ok(session)
            }
            Err(unsealable @ Error::Unsealable(_)) => Err(unsealable),
            Err(down) => {
                let since = self.note_outage(hearing, now);
                self.in_outage(key, since, now).ok_or(down).map(Some)
            }
        }
    }

    /// The same; while the store cannot be asked, by the browser's ticket ([`Sessions::find_offline`]), which is read only then.
    ///
    /// # Errors
    /// [`super::Error`] if neither says anything of the session.
    pub async fn find_or_offline(
        &self,
        token: &SessionToken,
        ticket: impl FnOnce() -> Option<Vec<u8>>,
        now: Timestamp,
    ) -> Result<Option<Session>> {
        let down = match self.find(token, now).await {
            // The store answered, and what it has was tampered with: nothing else is believed in its place.
            found @ (Ok(_) | Err(Error::Unsealable(_))) => return found,
            Err(down) => down,
        };
        if let Some(session) = ticket().and_then(|ticket| self.find_offline(token, &ticket, now)) {
            return Ok(Some(session));
        }
        // It may have come back since it was asked, and then no ticket counts any more.
        let is_down = self.outage.lock().is_some();
        if is_down {
            Err(down)
        } else {
            self.find(token, now).await
        }
    }

    /// The live session that this token stands for, as of `now`, like [`Sessions::find`]; but looking at it is no use of it.
    /// In an outage it is an error, however well the session is remembered.
    ///
    /// # Errors
    /// [`super::Error`] if the store had to be asked and could not answer; that says nothing of the session.
    pub async fn peek(&self, token: &SessionToken, now: Timestamp) -> Result<Option<Session>> {
        if let Some(session) = self.recall(self.key(token), self.subscription(), now) {
            return Ok(Some(session));
        }
        self.find_alive(token, now).await
    }

    /// Whether the store was last found not to answer. It is not asked for this.
    pub fn is_store_down(&self) -> bool {
        self.outage.lock().is_some()
    }

    /// By what name [`Sessions::ends`] tells of this session.
    pub fn key(&self, token: &SessionToken) -> RecordKey {
        self.vault.session_key(token)
    }

    /// Tells of sessions that were ended, once they are forgotten here. Who lags must look at all anew.
    pub fn invalidations(&self) -> broadcast::Receiver<Invalidation> {
        self.ends.subscribe()
    }

    async fn ask(
        &self,
        token: &SessionToken,
        key: RecordKey,
        hearing: Option<SubscriptionEpoch>,
        now: Timestamp,
    ) -> Result<Option<Session>> {
        let generation = self.generation(key);
        let Some(session) = self.find_alive(token, now).await? else {
            // Its end may have been missed; it must not come back in an outage.
            self.forget(key);
            return Ok(None);
        };
        if let Some(hearing) = hearing {
            self.keep(key, session, hearing, generation);
        }
        Ok(Some(self.used(token, key, session, now).await))
    }

    async fn find_alive(&self, token: &SessionToken, now: Timestamp) -> Result<Option<Session>> {
        let Some(session) = self.store.find_session(token).await? else {
            return Ok(None);
        };
        let alive = session.liveness(&self.limits, now) == Liveness::Alive
            && !self.is_revoked(&session).await?;
        Ok(alive.then_some(session))
    }

    /// Whether the store tells of no ends at this moment, which is the first that is known of an outage. It is not asked for this.
    pub fn is_store_silent(&self) -> bool {
        self.store.subscription().is_none()
    }

    fn subscription(&self) -> Option<SubscriptionEpoch> {
        let sign_at = self.sign_at.load(Ordering::Acquire);
        // A process that was stopped may be asked before it has read what ended meanwhile.
        let is_stale = sign_at > 0 && self.gone_by().saturating_sub(sign_at) > STALE_AFTER;
        (self.listening.load(Ordering::Acquire) && !is_stale).then(|| self.store.subscription())?
    }

    fn gone_by(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Since when the store was found not to answer, where it is too soon to ask it again.
    fn is_down_since(&self, now: Timestamp) -> Option<Timestamp> {
        let mut known = self.outage.lock();
        let outage = known.as_mut()?;
        if now.since(outage.asked_at) < ASK_EVERY {
            return Some(outage.since);
        }
        // This request asks for all.
        outage.asked_at = now;
        None
    }

    /// Notes that the store did not answer who asked it in this hearing, and says since when it has not answered.
    fn note_outage(&self, hearing: Option<SubscriptionEpoch>, now: Timestamp) -> Timestamp {
        let mut outage = self.outage.lock();
        let since = outage.map_or(now, |outage| outage.since);
        let is_back = self
            .subscription()
            .is_some_and(|latest| Some(latest) != hearing);
        if !is_back {
            *outage = Some(Outage {
                since,
                asked_at: now,
            });
        }
        since
    }

    fn in_outage(&self, key: RecordKey, since: Timestamp, now: Timestamp) -> Option<Session> {
        let (session, hearing) = self.known(key, now, |known| (known.session, known.hearing))?;
        let since = self
            .ended_at(hearing)
            .map_or(since, |ended_at| ended_at.min(since));
        if now.since(since) >= self.grace {
            return None;
        }
        let used = Session {
            seen_at: now,
            ..session
        };
        self.note_use(key, now);
        Some(used)
    }

    /// RevocationLog a session here and on every gateway.
    ///
    /// # Errors
    /// [`super::Error`] if the store could not be told; the session then lives on.
    pub async fn end(&self, token: &SessionToken) -> Result<()> {
        self.store.end_session(token).await?;
        self.ended(token);
        Ok(())
    }

    /// Forgets a session that a step of the sign-in has just ended, without waiting to be told.
    pub fn ended(&self, token: &SessionToken) {
        self.note_end(self.vault.session_key(token));
    }

    fn note_end(&self, key: RecordKey) {
        self.forget(key);
        self.known_ends.lock().note(key);
    }

    /// Forgets what is ended anywhere. Runs until the store is gone.
    pub async fn listen(self: Arc<Self>) {
        let mut invalidations = self.store.invalidations();
        let _listening = Listening::begin(&self.listening);
        loop {
            let end = match invalidations.recv().await {
                Ok(end) => end,
                Err(RecvError::Lagged(_)) => Invalidation::All,
                Err(RecvError::Closed) => return self.forget_all(),
            };
            match end {
                Invalidation::Session(key) => self.note_end(key),
                Invalidation::Broker(revocation) => {
                    self.forget_all();
                    self.known_ends.lock().note(revocation);
                }
                Invalidation::All => {
                    self.forget_all();
                    self.known_ends.lock().missed_some();
                }
                Invalidation::Watermark(time) => {
                    // All gateways go by the store's clock, so that one whose own is wrong ends nothing too early or too late.
                    if let Some(step) = self.clock.follow(time) {
                        self.note_step(step);
                    }
                    self.sign_at.store(self.gone_by().max(1), Ordering::Release);
                    self.known_ends.lock().heard_until(time);
                }
                Invalidation::Gap(hearing) => self.note_end_of(hearing),
                Invalidation::Resubscribed => {
                    // Who tells of ends answers: the next request is to ask.
                    *self.outage.lock() = None;
                    self.known_ends.lock().missed_some();
                }
            }
            // That nobody listens is no failure.
            let _ = self.ends.send(end);
        }
    }

    /// The store's clock was set, or another server's with another one has taken the place of its.
    fn note_step(&self, step: Step) {
        // It answers; when it was last asked is not to be told by this clock.
        *self.outage.lock() = None;
        self.metrics.store_clock_stepped();
        let (direction, by) = match step {
            Step::Forward(by) => ("forward", by),
            Step::Back(by) => ("back", by),
        };
        tracing::warn!(target: "store", direction, ?by, "the store's clock jumped");
    }

    /// How many sessions are in memory.
    pub fn len(&self) -> usize {
        self.memory.shards().map(|shard| shard.len()).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops sessions that have ended by age; `app` calls it from time to time.
    pub fn tidy(&self) {
        let now = self.clock.now();
        for mut shard in self.memory.shards() {
            shard.retain(|session| session.liveness(&self.limits, now) == Liveness::Alive);
        }
    }

    /// The session, if it can be relied on in this hearing.
    fn recall(
        &self,
        key: RecordKey,
        hearing: Option<SubscriptionEpoch>,
        now: Timestamp,
    ) -> Option<Session> {
        let hearing = hearing?;
        self.known(key, now, |known| {
            (known.hearing == hearing).then_some(known.session)
        })?
    }

    fn known<T>(
        &self,
        key: RecordKey,
        now: Timestamp,
        what: impl FnOnce(&Entry) -> T,
    ) -> Option<T> {
        let mut shard = self.memory.shard(key)?;
        let known = shard.find(key)?;
        // What looks idle here may have been used through another gateway: ask the store.
        (known.session.liveness(&self.limits, now) == Liveness::Alive).then(|| what(known))
    }

    async fn is_revoked(&self, session: &Session) -> Result<bool> {
        let revoked_at = self.store.revoked_at(session.vtnr).await?;
        Ok(revoked_at.is_some_and(|revoked| session.signed_in_at <= revoked))
    }

    fn generation(&self, key: RecordKey) -> Option<u64> {
        self.memory.shard(key).map(|shard| shard.generation)
    }

    /// Keeps what was read in this hearing, if nothing was forgotten since this generation.
    fn keep(
        &self,
        key: RecordKey,
        session: Session,
        hearing: SubscriptionEpoch,
        generation: Option<u64>,
    ) {
        let Some(mut shard) = self
            .memory
            .shard(key)
            .filter(|shard| Some(shard.generation) == generation)
        else {
            return;
        };
        let Some(known) = shard.find(key) else {
            return shard.insert(key, session, hearing);
        };
        known.hearing = known.hearing.max(hearing);
        // Another request may have read it as well, and noted its use by now; but what was noted in an outage is not in the store.
        let is_ahead = known.session.seen_at.since(session.seen_at);
        if known.session.seen_at < session.seen_at || is_ahead >= self.touch_every() {
            known.session = session;
        }
    }

    /// Notes the use, at most once a minute: in memory, and in the store. A store that cannot be written to is no reason to
    /// refuse the request: the session was found.
    async fn used(
        &self,
        token: &SessionToken,
        key: RecordKey,
        session: Session,
        now: Timestamp,
    ) -> Session {
        if !self.is_use_due(&session, now) {
            return session;
        }
        let used = Session {
            seen_at: now,
            ..session
        };
        if self.note_use(key, now) {
            // An error is counted and logged where it arises.
            if let Ok(false) = self
                .store
                .touch_session(token, &used, used.remaining(&self.limits, now))
                .await
            {
                // Nobody told of its end: the store has lost it. The next request is to ask.
                self.forget(key);
            }
        }
        used
    }

    /// Whether a use has to be noted: the last one is some time ago, or by a clock that was set back since.
    fn is_use_due(&self, session: &Session, now: Timestamp) -> bool {
        now.since(session.seen_at).max(session.seen_at.since(now)) >= self.touch_every()
    }

    fn touch_every(&self) -> Duration {
        TOUCH_EVERY.min(self.limits.idle / TOUCHES_AN_IDLE_LIMIT)
    }

    /// Notes the use in memory and says whether it is this request that has to note it in the store.
    fn note_use(&self, key: RecordKey, now: Timestamp) -> bool {
        let Some(mut shard) = self.memory.shard(key) else {
            return true;
        };
        let Some(known) = shard.find(key) else {
            return true;
        };
        let is_due = self.is_use_due(&known.session, now);
        if is_due {
            known.session.seen_at = now;
        }
        is_due
    }

    fn note_end_of(&self, hearing: SubscriptionEpoch) {
        let (now, mut hearings) = (self.clock.now(), self.hearings.lock());
        hearings.push_back((hearing, now));
        while hearings
            .get(1)
            .is_some_and(|(_, ended_at)| now.since(*ended_at) >= self.grace)
        {
            hearings.pop_front();
        }
    }

    /// When this hearing ended; where that was too long ago to matter, a later time that was too long ago as well.
    fn ended_at(&self, hearing: SubscriptionEpoch) -> Option<Timestamp> {
        let hearings = self.hearings.lock();
        let place = hearings.partition_point(|(ended, _)| *ended < hearing);
        hearings.get(place).map(|(_, ended_at)| *ended_at)
    }

    fn forget(&self, key: RecordKey) {
        if let Some(mut shard) = self.memory.shard(key) {
            shard.remove(key);
        }
    }

    fn forget_all(&self) {
        // Who tells of ends answers: the next request is to ask, since nothing is known here any more.
        *self.outage.lock() = None;
        self.memory.shards().for_each(|mut shard| shard.clear());
    }
}

/// Says that invalidations are being listened to, for as long as it lives.
struct Listening<'a>(&'a AtomicBool);

impl<'a> Listening<'a> {
    fn begin(listening: &'a AtomicBool) -> Self {
        listening.store(true, Ordering::Release);
        Self(listening)
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
