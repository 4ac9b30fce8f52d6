//! Finds sessions: in memory where that is safe, in the store otherwise.
//!
//! A session is served from memory only if it was read in the current subscription epoch, a period
//! in which invalidations arrive without a gap ([`SessionStore::subscription`]). A session that was
//! read is inserted only if its shard saw no invalidation since before the read, which a generation
//! counter detects: otherwise a session that ended between the read and the insertion would live on
//! here.
//!
//! While the store is down, sessions known to this gateway continue for a grace period
//! (`store.outage_grace`): whatever ended before the outage was removed from memory already, and
//! nothing can be ended during it. The grace of a session begins when its subscription epoch ended,
//! if that was before the outage, since ends are unknown from then on. Meanwhile the store is
//! probed twice a second, so that no request waits for it and no requests pile up. Sessions that
//! this gateway never saw continue on the offline token that another gateway issued
//! ([`Sessions::find_offline`]).
//!
//! `listener` follows the invalidations, `outage` keeps the grace, `offline` issues and accepts
//! offline tokens, `revocation_log` is what these are checked against, and `session_cache` holds
//! the sessions in memory.

mod listener;
mod offline;
mod outage;
mod revocation_log;
mod session_cache;

use self::outage::{Gaps, Outage};
use self::revocation_log::RevocationLog;
use self::session_cache::{CachedSession, SessionCache};
use super::offline_tokens::OfflineTokens;
use super::{Error, Invalidation, RecordKey, Result, SessionStore, SubscriptionEpoch, Vault};
use crate::clock::Clock;
use crate::telemetry::metrics::{Lookup, Metrics};
use domain::ids::SessionToken;
use domain::session::{Liveness, Session, SessionLimits};
use domain::time::Timestamp;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

/// Use is written to the store at most this often per session; more often where the idle limit is
/// so short that a session in use would otherwise look idle.
const TOUCH_EVERY: Duration = Duration::from_secs(60);
const TOUCHES_PER_IDLE_LIMIT: u32 = 12;
/// Capacity of the channel of ends; a receiver that lags further behind must check all its sessions
/// again.
const MAX_ENDS: usize = 1_024;

/// Finds sessions by token, with a cache in front of the store.
pub struct Sessions {
    store: Arc<dyn SessionStore>,
    cache: SessionCache,
    gaps: Mutex<Gaps>,
    listening: AtomicBool,
    vault: Vault,
    offline_tokens: OfflineTokens,
    revocations: Mutex<RevocationLog>,
    /// When the last watermark arrived, in milliseconds since `began`; 0 before the first, and for
    /// stores without watermarks.
    watermark_at: AtomicU64,
    began: Instant,
    ends: broadcast::Sender<Invalidation>,
    outage: Mutex<Option<Outage>>,
    grace: Duration,
    limits: SessionLimits,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Sessions {
    /// Creates an empty cache in front of this store. Nothing is cached until [`Sessions::listen`]
    /// runs. `grace` is how long sessions continue while the store does not answer.
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
            cache: SessionCache::new(),
            gaps: Mutex::default(),
            listening: AtomicBool::new(false),
            offline_tokens: OfflineTokens::new(vault.clone()),
            vault,
            revocations: Mutex::default(),
            watermark_at: AtomicU64::new(0),
            began: Instant::now(),
            ends: broadcast::channel(MAX_ENDS).0,
            outage: Mutex::default(),
            grace,
            limits,
            clock,
            metrics,
        }
    }

    /// Finds the live session of a token as of `now`, and records its use.
    ///
    /// | Where the session is looked for | Condition | Result |
    /// |---|---|---|
    /// | memory | read in the current subscription epoch, neither idle nor too old | the session (cache hit) |
    /// | store | it answers | the session, or none: it ended, is too old, or its broker was revoked |
    /// | store | it answers with an unreadable record | [`Error::Unsealable`]; no fallback applies |
    /// | memory, outage within the grace | the store does not answer | the session, if this gateway knows it |
    /// | offline token | as above, and only by [`Sessions::find_or_offline`] | the session that another gateway vouched for |
    /// | nowhere | the store does not answer, and nothing else proves the session | an error, which becomes 503 |
    ///
    /// # Errors
    /// [`super::Error`] if the store had to be asked and could not answer; that says nothing about
    /// the session.
    pub async fn find(&self, token: &SessionToken, now: Timestamp) -> Result<Option<Session>> {
        let key = self.key(token);
        let epoch = self.subscription();
        if let Some(session) = self.get(key, epoch, now) {
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
        match self.ask(token, key, epoch, now).await {
            Ok(session) => {
                *self.outage.lock() = None;
                Ok(session)
            }
            Err(unsealable @ Error::Unsealable(_)) => Err(unsealable),
            Err(down) => {
                let since = self.note_outage(epoch, now);
                self.in_outage(key, since, now).ok_or(down).map(Some)
            }
        }
    }

    /// Finds a session like [`Sessions::find`], but falls back to the browser's offline token while
    /// the store is down. `offline_token` is called only then.
    ///
    /// # Errors
    /// [`super::Error`] if neither the store nor the token says anything about the session.
    pub async fn find_or_offline(
        &self,
        token: &SessionToken,
        offline_token: impl FnOnce() -> Option<Vec<u8>>,
        now: Timestamp,
    ) -> Result<Option<Session>> {
        let down = match self.find(token, now).await {
            // The store answered, and its record was tampered with: nothing else is believed in its
            // place.
            found @ (Ok(_) | Err(Error::Unsealable(_))) => return found,
            Err(down) => down,
        };
        let session = offline_token().and_then(|sealed| self.find_offline(token, &sealed, now));
        if let Some(session) = session {
            return Ok(Some(session));
        }
        // The store may have recovered since, and then offline tokens no longer count.
        if self.is_store_down() {
            Err(down)
        } else {
            self.find(token, now).await
        }
    }

    /// Finds a live session like [`Sessions::find`], but without recording a use. During an outage
    /// it fails for sessions in memory too.
    ///
    /// # Errors
    /// [`super::Error`] if the store had to be asked and could not answer; that says nothing about
    /// the session.
    pub async fn peek(&self, token: &SessionToken, now: Timestamp) -> Result<Option<Session>> {
        if let Some(session) = self.get(self.key(token), self.subscription(), now) {
            return Ok(Some(session));
        }
        self.find_alive(token, now).await
    }

    /// Returns the name under which [`Sessions::invalidations`] announces the end of this session.
    pub fn key(&self, token: &SessionToken) -> RecordKey {
        self.vault.session_key(token)
    }

    /// Subscribes to ended sessions, announced once they are out of memory. A lagging receiver must
    /// check all its sessions.
    pub fn invalidations(&self) -> broadcast::Receiver<Invalidation> {
        self.ends.subscribe()
    }

    /// Ends a session here and on every gateway.
    ///
    /// # Errors
    /// [`super::Error`] if the store cannot answer; the session then lives on.
    pub async fn end(&self, token: &SessionToken) -> Result<()> {
        self.store.end_session(token).await?;
        self.ended(token);
        Ok(())
    }

    /// Forgets a session that a sign-in has just replaced, without waiting for the invalidation.
    pub fn ended(&self, token: &SessionToken) {
        self.note_end(self.key(token));
    }

    /// Returns the number of sessions in memory.
    pub fn len(&self) -> usize {
        self.cache.shards().map(|shard| shard.len()).sum()
    }

    /// Returns whether no session is in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops sessions that are idle or too old; `app` calls it periodically.
    pub fn tidy(&self) {
        let now = self.clock.now();
        for mut shard in self.cache.shards() {
            shard.retain(|session| session.liveness(&self.limits, now) == Liveness::Alive);
        }
    }

    async fn ask(
        &self,
        token: &SessionToken,
        key: RecordKey,
        epoch: Option<SubscriptionEpoch>,
        now: Timestamp,
    ) -> Result<Option<Session>> {
        let generation = self.generation(key);
        let Some(session) = self.find_alive(token, now).await? else {
            // Its invalidation may have been lost. The session must not come back in an outage.
            self.forget(key);
            return Ok(None);
        };
        if let Some(epoch) = epoch {
            self.insert(key, session, epoch, generation);
        }
        Ok(Some(self.used(token, key, session, now).await))
    }

    async fn find_alive(&self, token: &SessionToken, now: Timestamp) -> Result<Option<Session>> {
        let Some(session) = self.store.find_session(token).await? else {
            return Ok(None);
        };
        let is_alive = session.liveness(&self.limits, now) == Liveness::Alive
            && !self.is_revoked(&session).await?;
        Ok(is_alive.then_some(session))
    }

    async fn is_revoked(&self, session: &Session) -> Result<bool> {
        let revoked_at = self.store.revoked_at(session.vtnr).await?;
        Ok(revoked_at.is_some_and(|revoked| session.signed_in_at <= revoked))
    }

    /// Returns a cached session that was read in this epoch.
    fn get(
        &self,
        key: RecordKey,
        epoch: Option<SubscriptionEpoch>,
        now: Timestamp,
    ) -> Option<Session> {
        let epoch = epoch?;
        self.cached(key, now, |entry| {
            (entry.epoch == epoch).then_some(entry.session)
        })?
    }

    fn cached<T>(
        &self,
        key: RecordKey,
        now: Timestamp,
        read: impl FnOnce(&CachedSession) -> T,
    ) -> Option<T> {
        let mut shard = self.cache.shard(key)?;
        let entry = shard.get(key)?;
        // A session that looks idle here may have been used through another gateway: ask the store.
        (entry.session.liveness(&self.limits, now) == Liveness::Alive).then(|| read(entry))
    }

    fn generation(&self, key: RecordKey) -> Option<u64> {
        self.cache.shard(key).map(|shard| shard.generation)
    }

    /// Caches a session that was read in this epoch, unless an invalidation arrived since this
    /// generation.
    fn insert(
        &self,
        key: RecordKey,
        session: Session,
        epoch: SubscriptionEpoch,
        generation: Option<u64>,
    ) {
        let Some(mut shard) = self
            .cache
            .shard(key)
            .filter(|shard| Some(shard.generation) == generation)
        else {
            return;
        };
        let Some(entry) = shard.get(key) else {
            return shard.insert(key, session, epoch);
        };
        entry.epoch = entry.epoch.max(epoch);
        // A concurrent request may have read it too and recorded its use; but a use recorded in an
        // outage is not in the store.
        let is_ahead = entry.session.seen_at.since(session.seen_at);
        if entry.session.seen_at < session.seen_at || is_ahead >= self.touch_every() {
            entry.session = session;
        }
    }

    fn note_end(&self, key: RecordKey) {
        self.forget(key);
        self.revocations.lock().note(key);
    }

    fn forget(&self, key: RecordKey) {
        if let Some(mut shard) = self.cache.shard(key) {
            shard.remove(key);
        }
    }

    /// Records a use, at most once a minute, in memory and in the store. A failing write is no
    /// reason to refuse the request: the session was found.
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
            let lives = used.remaining(&self.limits, now);
            // Errors are counted and logged by the store.
            if let Ok(false) = self.store.touch_session(token, &used, lives).await {
                // The store lost the session without an invalidation: the next request must ask.
                self.forget(key);
            }
        }
        used
    }

    /// Returns whether a use must be recorded: the last one is some time ago, or lies ahead of a
    /// clock that was set back.
    fn is_use_due(&self, session: &Session, now: Timestamp) -> bool {
        now.since(session.seen_at).max(session.seen_at.since(now)) >= self.touch_every()
    }

    fn touch_every(&self) -> Duration {
        TOUCH_EVERY.min(self.limits.idle / TOUCHES_PER_IDLE_LIMIT)
    }

    /// Records a use in memory, and returns whether this request must record it in the store.
    fn note_use(&self, key: RecordKey, now: Timestamp) -> bool {
        let Some(mut shard) = self.cache.shard(key) else {
            return true;
        };
        let Some(entry) = shard.get(key) else {
            return true;
        };
        let is_due = self.is_use_due(&entry.session, now);
        if is_due {
            entry.session.seen_at = now;
        }
        is_due
    }
}
