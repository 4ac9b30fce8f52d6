//! Times the store's operations and counts their failures. An outage fails every request, so the
//! log reports its beginning, a reminder every ten seconds, and its end.

use super::application_sessions::OwnerChange;
use super::{
    ApplicationSessionStore, ClaimedForm, DeviceChange, Due, Error, FlowChange, FormDraft,
    FormStore, FormUpdate, Invalidation, LeasedLetter, LetterLease, OutboxStore, RateLimits,
    Result, RevocationStore, Seen, SessionStore, SignInCommit, SignInStore, StoreHealth,
    SubscriptionEpoch, WriteOutcome,
};
use crate::telemetry::logging::chain;
use crate::telemetry::metrics::{Metrics, StoreOperation, StoreTrouble};
use async_trait::async_trait;
use domain::application_session::{ApplicationSession, CookieScopes};
use domain::challenge::Delivery;
use domain::device::Device;
use domain::flow::Flow;
use domain::held_form::HeldForm;
use domain::ids::{
    BrowserToken, DeviceToken, FlowToken, FormId, FormToken, LetterId, SessionToken,
};
use domain::letter::Letter;
use domain::session::Session;
use domain::time::Timestamp;
use domain::trust::Trust;
use domain::vtnr::Vtnr;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

/// Interval of log lines while the store keeps failing for the same reason.
const LOGGED_EVERY: Duration = Duration::from_secs(10);

/// A store with metrics and a log of failures.
pub struct Measured<S> {
    pub(super) store: S,
    metrics: Arc<Metrics>,
    outage: Mutex<Option<OngoingFailure>>,
}

/// A failure that lasts. A full store still answers some operations, so it counts as recovered once
/// the operation that failed last succeeds, or a ping.
struct OngoingFailure {
    operation: StoreOperation,
    trouble: StoreTrouble,
    failures: u64,
    logged_at: Instant,
}

impl<S> Measured<S> {
    /// Wraps a store, reporting to these metrics.
    pub fn new(store: S, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            metrics,
            outage: Mutex::default(),
        }
    }

    pub(super) async fn watch<T>(
        &self,
        operation: StoreOperation,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let begun = Instant::now();
        let result = work.await;
        self.metrics.store_took(operation, begun.elapsed());
        match &result {
            Ok(_) => self.succeeded(operation),
            Err(error) => {
                self.metrics.store_failed(error.trouble());
                match error {
                    // The record may have been tampered with: each is logged.
                    Error::Unsealable(_) => {
                        tracing::warn!(target: "store", ?operation, error = chain(error), "a store record cannot be opened");
                    }
                    _ => self.failed(operation, error),
                }
            }
        }
        result
    }

    fn succeeded(&self, operation: StoreOperation) {
        let is_recovery = |outage: &mut OngoingFailure| {
            operation == outage.operation || operation == StoreOperation::Ping
        };
        let ended = self.outage.lock().take_if(is_recovery);
        if let Some(OngoingFailure { failures, .. }) = ended {
            tracing::info!(target: "store", failures, "store recovered");
        }
    }

    fn failed(&self, operation: StoreOperation, error: &Error) {
        let now = Instant::now();
        let mut outage = self.outage.lock();
        let before = outage.take();
        let failures = before.as_ref().map_or(0, |before| before.failures) + 1;
        let logged = before.filter(|before| {
            before.trouble == error.trouble() && now.duration_since(before.logged_at) < LOGGED_EVERY
        });
        *outage = Some(OngoingFailure {
            operation,
            trouble: error.trouble(),
            failures,
            logged_at: logged.as_ref().map_or(now, |logged| logged.logged_at),
        });
        drop(outage);
        if logged.is_none() {
            tracing::warn!(target: "store", ?operation, error = chain(error), failures, "store operation failed");
        }
    }
}

#[async_trait]
impl<S: RevocationStore> RevocationStore for Measured<S> {
    async fn revoke_broker(&self, vtnr: Vtnr, at: Timestamp) -> Result<()> {
        self.watch(
            StoreOperation::RevokeBroker,
            self.store.revoke_broker(vtnr, at),
        )
        .await
    }

    async fn revoked_at(&self, vtnr: Vtnr) -> Result<Option<Timestamp>> {
        self.watch(StoreOperation::RevokedAt, self.store.revoked_at(vtnr))
            .await
    }
}

#[async_trait]
impl<S: SessionStore> SessionStore for Measured<S> {
    async fn find_session(&self, token: &SessionToken) -> Result<Option<Session>> {
        self.watch(StoreOperation::FindSession, self.store.find_session(token))
            .await
    }

    async fn touch_session(
        &self,
        token: &SessionToken,
        session: &Session,
        lives: Duration,
    ) -> Result<bool> {
        self.watch(
            StoreOperation::TouchSession,
            self.store.touch_session(token, session, lives),
        )
        .await
    }

    async fn end_session(&self, token: &SessionToken) -> Result<()> {
        self.watch(StoreOperation::EndSession, self.store.end_session(token))
            .await
    }

    fn invalidations(&self) -> broadcast::Receiver<Invalidation> {
        self.store.invalidations()
    }

    fn subscription(&self) -> Option<SubscriptionEpoch> {
        self.store.subscription()
    }
}

#[async_trait]
impl<S: SignInStore> SignInStore for Measured<S> {
    async fn find_flow(&self, token: &FlowToken) -> Result<Option<Seen<Flow>>> {
        self.watch(StoreOperation::FindFlow, self.store.find_flow(token))
            .await
    }

    async fn keep_flow(
        &self,
        change: FlowChange<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        self.watch(
            StoreOperation::KeepFlow,
            self.store.keep_flow(change, rate_limits),
        )
        .await
    }

    async fn move_flow(&self, change: FlowChange<'_>) -> Result<WriteOutcome> {
        self.watch(StoreOperation::MoveFlow, self.store.move_flow(change))
            .await
    }

    async fn moved_flow(&self, token: &FlowToken) -> Result<Option<FlowToken>> {
        self.watch(StoreOperation::MovedFlow, self.store.moved_flow(token))
            .await
    }

    async fn hit_limits_in_flow(
        &self,
        token: &FlowToken,
        seen: &Seen<Flow>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        self.watch(
            StoreOperation::ChargeFlow,
            self.store.hit_limits_in_flow(token, seen, rate_limits),
        )
        .await
    }

    async fn end_flow(
        &self,
        token: &FlowToken,
        seen: &Seen<Flow>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        self.watch(
            StoreOperation::EndFlow,
            self.store.end_flow(token, seen, rate_limits),
        )
        .await
    }

    async fn discard_flow(&self, token: &FlowToken, flow: &Flow) -> Result<()> {
        self.watch(
            StoreOperation::DiscardFlow,
            self.store.discard_flow(token, flow),
        )
        .await
    }

    async fn ask_for_tan(
        &self,
        change: FlowChange<'_>,
        letter: &Letter,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        self.watch(
            StoreOperation::AskForTan,
            self.store.ask_for_tan(change, letter, rate_limits),
        )
        .await
    }

    async fn sign_in(
        &self,
        sign_in: SignInCommit<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        self.watch(
            StoreOperation::SignIn,
            self.store.sign_in(sign_in, rate_limits),
        )
        .await
    }

    async fn sign_in_on_device(
        &self,
        sign_in: SignInCommit<'_>,
        device: DeviceChange<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        self.watch(
            StoreOperation::SignIn,
            self.store.sign_in_on_device(sign_in, device, rate_limits),
        )
        .await
    }

    async fn find_device(&self, token: &DeviceToken) -> Result<Device> {
        self.watch(StoreOperation::FindDevice, self.store.find_device(token))
            .await
    }

    async fn forget_device(&self, token: &DeviceToken) -> Result<()> {
        self.watch(
            StoreOperation::ForgetDevice,
            self.store.forget_device(token),
        )
        .await
    }

    async fn hit_limits(&self, rate_limits: &RateLimits) -> Result<WriteOutcome> {
        self.watch(
            StoreOperation::HitLimits,
            self.store.hit_limits(rate_limits),
        )
        .await
    }

    async fn find_trust(&self, token: &BrowserToken) -> Result<Trust> {
        self.watch(StoreOperation::FindTrust, self.store.find_trust(token))
            .await
    }

    async fn forget_browser(&self, token: &BrowserToken) -> Result<()> {
        self.watch(
            StoreOperation::ForgetBrowser,
            self.store.forget_browser(token),
        )
        .await
    }

    async fn deliveries(&self, letters: &[LetterId]) -> Result<Vec<Delivery>> {
        self.watch(StoreOperation::Deliveries, self.store.deliveries(letters))
            .await
    }
}

#[async_trait]
impl<S: OutboxStore> OutboxStore for Measured<S> {
    async fn lease_letter(&self, among: Due, lease: Duration) -> Result<Option<LeasedLetter>> {
        self.watch(
            StoreOperation::LeaseLetter,
            self.store.lease_letter(among, lease),
        )
        .await
    }

    async fn renew_lease(&self, lease: LetterLease, time: Duration) -> Result<bool> {
        self.watch(
            StoreOperation::RenewLease,
            self.store.renew_lease(lease, time),
        )
        .await
    }

    async fn note_delivery(&self, lease: LetterLease, delivery: Delivery) -> Result<()> {
        self.watch(
            StoreOperation::NoteDelivery,
            self.store.note_delivery(lease, delivery),
        )
        .await
    }

    async fn outbox_length(&self) -> Result<u64> {
        self.watch(StoreOperation::OutboxLength, self.store.outbox_length())
            .await
    }
}

#[async_trait]
impl<S: StoreHealth> StoreHealth for Measured<S> {
    async fn ping(&self) -> Result<()> {
        self.watch(StoreOperation::Ping, self.store.ping()).await
    }

    async fn tidy(&self) -> Result<()> {
        self.store.tidy().await
    }
}

#[async_trait]
impl<S: FormStore> FormStore for Measured<S> {
    async fn save_form(
        &self,
        draft: FormDraft<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        self.watch(
            StoreOperation::SaveForm,
            self.store.save_form(draft, rate_limits),
        )
        .await
    }

    async fn find_form(&self, token: &FormToken, id: FormId) -> Result<Option<Seen<HeldForm>>> {
        self.watch(StoreOperation::FindForm, self.store.find_form(token, id))
            .await
    }

    async fn claim_form(
        &self,
        token: &FormToken,
        id: FormId,
        update: FormUpdate<'_>,
    ) -> Result<Option<ClaimedForm>> {
        self.watch(
            StoreOperation::ClaimForm,
            self.store.claim_form(token, id, update),
        )
        .await
    }

    async fn update_form(
        &self,
        token: &FormToken,
        id: FormId,
        update: FormUpdate<'_>,
    ) -> Result<Option<Seen<HeldForm>>> {
        self.watch(
            StoreOperation::UpdateForm,
            self.store.update_form(token, id, update),
        )
        .await
    }

    async fn discard_form(&self, token: &FormToken, id: FormId) -> Result<()> {
        self.watch(
            StoreOperation::DiscardForm,
            self.store.discard_form(token, id),
        )
        .await
    }
}

#[async_trait]
impl<S: ApplicationSessionStore> ApplicationSessionStore for Measured<S> {
    async fn find_owners(&self, id: &[u8]) -> Result<Option<Seen<ApplicationSession>>> {
        self.watch(StoreOperation::FindOwners, self.store.find_owners(id))
            .await
    }

    async fn keep_owners(
        &self,
        change: OwnerChange<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        self.watch(
            StoreOperation::KeepOwners,
            self.store.keep_owners(change, rate_limits),
        )
        .await
    }

    async fn find_scopes(&self) -> Result<Option<Seen<CookieScopes>>> {
        self.watch(StoreOperation::FindScopes, self.store.find_scopes())
            .await
    }

    async fn keep_scopes(
        &self,
        seen: Option<&Seen<CookieScopes>>,
        next: &CookieScopes,
    ) -> Result<WriteOutcome> {
        self.watch(
            StoreOperation::KeepScopes,
            self.store.keep_scopes(seen, next),
        )
        .await
    }
}
