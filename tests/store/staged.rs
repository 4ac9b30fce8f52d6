//! A store whose answers a test can delay, refuse and count.

use crate::fixture::sealed;
use async_trait::async_trait;
use domain::ids::SessionToken;
use domain::session::Session;
use domain::time::Timestamp;
use domain::vtnr::Vtnr;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{broadcast, oneshot};
use vtnr_gateway::clock::Clock;
use vtnr_gateway::store::embedded::Embedded;
use vtnr_gateway::store::{
    Error, Invalidation, Result, RevocationStore, Sealed, SessionStore, SubscriptionEpoch,
};

pub(crate) struct Staged {
    /// The store as other gateways use it, without invalidations to this one.
    pub(crate) elsewhere: Sealed<Embedded>,
    /// Counts lookups of sessions.
    pub(crate) finds: AtomicU32,
    /// Counts recorded uses.
    pub(crate) touches: AtomicU32,
    is_deaf: AtomicBool,
    hearings: AtomicU32,
    pub(crate) is_down: AtomicBool,
    /// A session whose record counts as damaged.
    pub(crate) damaged: Mutex<Option<SessionToken>>,
    announcements: broadcast::Sender<Invalidation>,
    gate: Mutex<Option<Gate>>,
}

/// A gate at which the next lookup waits after its read.
struct Gate {
    has_read: oneshot::Sender<()>,
    may_go_on: oneshot::Receiver<Result<()>>,
}

impl Staged {
    /// The capacity of the channel, beyond which a receiver lags.
    pub(crate) const MAX_ANNOUNCEMENTS: usize = 64;

    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            elsewhere: sealed(
                Embedded::in_memory(clock.clone()).expect("memory suffices"),
                clock,
            ),
            finds: AtomicU32::new(0),
            touches: AtomicU32::new(0),
            is_deaf: AtomicBool::new(false),
            hearings: AtomicU32::new(1),
            is_down: AtomicBool::new(false),
            damaged: Mutex::default(),
            announcements: broadcast::channel(Self::MAX_ANNOUNCEMENTS).0,
            gate: Mutex::default(),
        }
    }

    /// Stops the next lookup after its read. Returns a signal that it has read, and a handle to let
    /// it continue or fail.
    pub(crate) fn hold_next_find(&self) -> (oneshot::Receiver<()>, oneshot::Sender<Result<()>>) {
        let ((has_read, reads), (goes_on, may_go_on)) = (oneshot::channel(), oneshot::channel());
        *self.gate.lock() = Some(Gate {
            has_read,
            may_go_on,
        });
        (reads, goes_on)
    }

    pub(crate) fn announce(&self, invalidation: Invalidation) {
        self.announcements
            .send(invalidation)
            .expect("somebody listens");
    }

    /// Ends the subscription silently, without announcing the gap.
    pub(crate) fn grow_deaf(&self) {
        self.is_deaf.store(true, Ordering::SeqCst);
    }

    /// Resumes the subscription silently, in a new epoch.
    pub(crate) fn hear_again(&self) {
        self.hearings.fetch_add(1, Ordering::SeqCst);
        self.is_deaf.store(false, Ordering::SeqCst);
    }

    /// Returns the current epoch, or the last one.
    pub(crate) fn heard(&self) -> SubscriptionEpoch {
        SubscriptionEpoch(self.hearings.load(Ordering::SeqCst))
    }

    pub(crate) fn is_listened_to(&self) -> bool {
        self.announcements.receiver_count() > 0
    }

    fn answers(&self) -> Result<()> {
        if self.is_down.load(Ordering::SeqCst) {
            Err(Error::Unreachable("the test says so".into()))
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl RevocationStore for Staged {
    async fn revoke_broker(&self, vtnr: Vtnr, at: Timestamp) -> Result<()> {
        self.answers()?;
        self.elsewhere.revoke_broker(vtnr, at).await
    }

    async fn revoked_at(&self, vtnr: Vtnr) -> Result<Option<Timestamp>> {
        self.answers()?;
        self.elsewhere.revoked_at(vtnr).await
    }
}

#[async_trait]
impl SessionStore for Staged {
    async fn find_session(&self, token: &SessionToken) -> Result<Option<Session>> {
        self.finds.fetch_add(1, Ordering::SeqCst);
        self.answers()?;
        if *self.damaged.lock() == Some(*token) {
            return Err(Error::Unsealable("session"));
        }
        let found = self.elsewhere.find_session(token).await;
        let gate = self.gate.lock().take();
        if let Some(gate) = gate {
            gate.has_read.send(()).expect("the test waits");
            gate.may_go_on.await.expect("the test lets it go on")?;
        }
        found
    }

    async fn touch_session(
        &self,
        token: &SessionToken,
        session: &Session,
        lives: Duration,
    ) -> Result<bool> {
        self.touches.fetch_add(1, Ordering::SeqCst);
        self.answers()?;
        self.elsewhere.touch_session(token, session, lives).await
    }

    async fn end_session(&self, token: &SessionToken) -> Result<()> {
        self.answers()?;
        self.elsewhere.end_session(token).await
    }

    fn invalidations(&self) -> broadcast::Receiver<Invalidation> {
        self.announcements.subscribe()
    }

    fn subscription(&self) -> Option<SubscriptionEpoch> {
        (!self.is_deaf.load(Ordering::SeqCst)).then(|| self.heard())
    }
}
