//! A store whose answers a test can hold up, refuse and count.

use crate::fixture::sealed;
use async_trait::async_trait;
use domain::challenge::Delivery;
use domain::device::Device;
use domain::flow::Flow;
use domain::ids::{
    BrowserToken, DeviceToken, FlowToken, FormId, LetterId, ParkingToken, SessionToken,
};
use domain::letter::Letter;
use domain::parking::ParkedForm;
use domain::session::Session;
use domain::time::Timestamp;
use domain::trust::Trust;
use domain::vtnr::Vtnr;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{broadcast, oneshot};
use vtnr_gateway::clock::Clock;
use vtnr_gateway::store::embedded::Embedded;
use vtnr_gateway::store::{
    ClaimedForm, DeviceChange, Due, Error, FlowChange, FormDraft, FormUpdate, Invalidation,
    LeasedLetter, LetterLease, RateLimits, RecordKey, Result, Sealed, Seen, SignInCommit, Store,
    SubscriptionEpoch, WriteOutcome,
};

pub(crate) struct Staged {
    /// What other gateways see and change, unheard by this one.
    pub(crate) elsewhere: Sealed<Embedded>,
    /// How often a session was looked up.
    pub(crate) finds: AtomicU32,
    /// How often a session's use was written down.
    pub(crate) touches: AtomicU32,
    is_deaf: AtomicBool,
    hearings: AtomicU32,
    pub(crate) is_down: AtomicBool,
    /// What is said to be damaged.
    pub(crate) damaged: Mutex<Option<SessionToken>>,
    announcements: broadcast::Sender<Invalidation>,
    gate: Mutex<Option<Gate>>,
}

/// Where the next look-up of a session waits once it has read.
struct Gate {
    has_read: oneshot::Sender<()>,
    may_go_on: oneshot::Receiver<Result<()>>,
}

impl Staged {
    /// So many wait for who listens; whoever lags further behind is told so.
    pub(crate) const MOST_ANNOUNCEMENTS: usize = 64;

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
            announcements: broadcast::channel(Self::MOST_ANNOUNCEMENTS).0,
            gate: Mutex::default(),
        }
    }

    /// Holds the next look-up of a session up: gives what tells that it has read, and what lets it go on, or fail.
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

    /// From now on this gateway does not hear what ends, and is not told so either.
    pub(crate) fn grow_deaf(&self) {
        self.is_deaf.store(true, Ordering::SeqCst);
    }

    /// It hears again what ends, and is not told so either.
    pub(crate) fn hear_again(&self) {
        self.hearings.fetch_add(1, Ordering::SeqCst);
        self.is_deaf.store(false, Ordering::SeqCst);
    }

    /// The hearing under way, or the last one.
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
impl Store for Staged {
    fn session_key(&self, token: &SessionToken) -> RecordKey {
        self.elsewhere.session_key(token)
    }

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

    async fn revoke_broker(&self, vtnr: Vtnr, at: Timestamp) -> Result<()> {
        self.answers()?;
        self.elsewhere.revoke_broker(vtnr, at).await
    }

    async fn revoked_at(&self, vtnr: Vtnr) -> Result<Option<Timestamp>> {
        self.answers()?;
        self.elsewhere.revoked_at(vtnr).await
    }

    async fn sign_in(
        &self,
        sign_in: SignInCommit<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        self.answers()?;
        self.elsewhere.sign_in(sign_in, rate_limits).await
    }

    fn invalidations(&self) -> broadcast::Receiver<Invalidation> {
        self.announcements.subscribe()
    }

    fn subscription(&self) -> Option<SubscriptionEpoch> {
        (!self.is_deaf.load(Ordering::SeqCst)).then(|| self.heard())
    }

    async fn find_flow(&self, token: &FlowToken) -> Result<Option<Seen<Flow>>> {
        self.elsewhere.find_flow(token).await
    }

    async fn keep_flow(
        &self,
        change: FlowChange<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        self.elsewhere.keep_flow(change, rate_limits).await
    }

    async fn move_flow(&self, change: FlowChange<'_>) -> Result<WriteOutcome> {
        self.elsewhere.move_flow(change).await
    }

    async fn moved_flow(&self, token: &FlowToken) -> Result<Option<FlowToken>> {
        self.elsewhere.moved_flow(token).await
    }

    async fn charge_flow(
        &self,
        token: &FlowToken,
        seen: &Seen<Flow>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        self.elsewhere.charge_flow(token, seen, rate_limits).await
    }

    async fn end_flow(
        &self,
        token: &FlowToken,
        seen: &Seen<Flow>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        self.elsewhere.end_flow(token, seen, rate_limits).await
    }

    async fn discard_flow(&self, token: &FlowToken, flow: &Flow) -> Result<()> {
        self.elsewhere.discard_flow(token, flow).await
    }

    async fn ask_for_tan(
        &self,
        change: FlowChange<'_>,
        letter: &Letter,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        self.elsewhere
            .ask_for_tan(change, letter, rate_limits)
            .await
    }

    async fn sign_in_on_device(
        &self,
        sign_in: SignInCommit<'_>,
        device: DeviceChange<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        self.elsewhere
            .sign_in_on_device(sign_in, device, rate_limits)
            .await
    }

    async fn find_device(&self, token: &DeviceToken) -> Result<Device> {
        self.elsewhere.find_device(token).await
    }

    async fn forget_device(&self, token: &DeviceToken) -> Result<()> {
        self.elsewhere.forget_device(token).await
    }

    async fn charge(&self, rate_limits: &RateLimits) -> Result<WriteOutcome> {
        self.elsewhere.charge(rate_limits).await
    }

    async fn find_trust(&self, token: &BrowserToken) -> Result<Trust> {
        self.elsewhere.find_trust(token).await
    }

    async fn forget_browser(&self, token: &BrowserToken) -> Result<()> {
        self.elsewhere.forget_browser(token).await
    }

    async fn park(&self, parking: FormDraft<'_>, rate_limits: &RateLimits) -> Result<WriteOutcome> {
        self.elsewhere.park(parking, rate_limits).await
    }

    async fn find_form(
        &self,
        token: &ParkingToken,
        id: FormId,
    ) -> Result<Option<Seen<ParkedForm>>> {
        self.elsewhere.find_form(token, id).await
    }

    async fn take_form(
        &self,
        token: &ParkingToken,
        id: FormId,
        taking: FormUpdate<'_>,
    ) -> Result<Option<ClaimedForm>> {
        self.elsewhere.take_form(token, id, taking).await
    }

    async fn note_form(
        &self,
        token: &ParkingToken,
        id: FormId,
        noting: FormUpdate<'_>,
    ) -> Result<Option<Seen<ParkedForm>>> {
        self.elsewhere.note_form(token, id, noting).await
    }

    async fn discard_form(&self, token: &ParkingToken, id: FormId) -> Result<()> {
        self.elsewhere.discard_form(token, id).await
    }

    async fn deliveries(&self, letters: &[LetterId]) -> Result<Vec<Delivery>> {
        self.elsewhere.deliveries(letters).await
    }

    async fn lease_letter(&self, among: Due, lease: Duration) -> Result<Option<LeasedLetter>> {
        self.elsewhere.lease_letter(among, lease).await
    }

    async fn renew_lease(&self, lease: LetterLease, time: Duration) -> Result<bool> {
        self.elsewhere.renew_lease(lease, time).await
    }

    async fn note_delivery(&self, lease: LetterLease, delivery: Delivery) -> Result<()> {
        self.elsewhere.note_delivery(lease, delivery).await
    }

    async fn outbox_length(&self) -> Result<u64> {
        self.elsewhere.outbox_length().await
    }

    async fn tidy(&self) -> Result<()> {
        self.elsewhere.tidy().await
    }

    async fn ping(&self) -> Result<()> {
        self.elsewhere.ping().await
    }
}
