//! Sign-ins in progress, and the one atomic step that turns a sign-in into a session.

use super::{RateLimits, Result, RevocationStore, Seen, WriteOutcome};
use async_trait::async_trait;
use domain::challenge::Delivery;
use domain::device::Device;
use domain::flow::Flow;
use domain::ids::{BrowserToken, DeviceToken, FlowToken, LetterId, SessionToken};
use domain::letter::Letter;
use domain::session::Session;
use domain::trust::Trust;
use std::time::Duration;

/// Keeps sign-ins in progress, trusted browsers, devices and the counters of rate limits.
#[async_trait]
pub trait SignInStore: RevocationStore {
    /// Finds a browser's sign-in in progress. A completed one is returned only once replicas have
    /// it.
    async fn find_flow(&self, token: &FlowToken) -> Result<Option<Seen<Flow>>>;

    /// Writes a sign-in's next state if it is unchanged since it was `seen` and the rate limits
    /// allow it. Letters that the next state no longer waits for ([`Flow::letters`]) leave the
    /// outbox in the same step.
    async fn keep_flow(
        &self,
        change: FlowChange<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome>;

    /// Moves a sign-in, otherwise unchanged, to another token. For [`FOLLOWED`] the previous token
    /// leads to the new one.
    async fn move_flow(&self, change: FlowChange<'_>) -> Result<WriteOutcome>;

    /// Returns the token that a sign-in was just moved to.
    async fn moved_flow(&self, token: &FlowToken) -> Result<Option<FlowToken>>;

    /// Counts an answer to a sign-in that is unchanged since it was `seen`, and leaves the sign-in
    /// as it is.
    async fn hit_limits_in_flow(
        &self,
        token: &FlowToken,
        seen: &Seen<Flow>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome>;

    /// Counts an answer to a sign-in that is unchanged since it was `seen`, and deletes the
    /// sign-in.
    async fn end_flow(
        &self,
        token: &FlowToken,
        seen: &Seen<Flow>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome>;

    /// Deletes a sign-in together with its queued letters.
    async fn discard_flow(&self, token: &FlowToken, flow: &Flow) -> Result<()>;

    /// Writes a sign-in's next state and queues its letter, under the conditions of
    /// [`SignInStore::keep_flow`].
    async fn ask_for_tan(
        &self,
        change: FlowChange<'_>,
        letter: &Letter,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome>;

    /// Completes a sign-in, all or nothing: creates the session, ends the one that it replaces,
    /// trusts the browser and spends the flow, if the flow is unchanged since it was `seen` and the
    /// rate limits allow it. A session must be dated later than any revocation that it is to
    /// outlive.
    async fn sign_in(
        &self,
        sign_in: SignInCommit<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome>;

    /// Completes a sign-in by password, as [`SignInStore::sign_in`] does, and records the browser
    /// as the user's device.
    async fn sign_in_on_device(
        &self,
        sign_in: SignInCommit<'_>,
        device: DeviceChange<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome>;

    /// Returns the user keys that have signed in from this browser; none for an unknown token.
    async fn find_device(&self, token: &DeviceToken) -> Result<Device>;

    /// Deletes the browser's record of user keys.
    async fn forget_device(&self, token: &DeviceToken) -> Result<()>;

    /// Counts against rate limits where nothing else is written.
    async fn hit_limits(&self, rate_limits: &RateLimits) -> Result<WriteOutcome>;

    /// Returns the claims that this browser is trusted for; none for an unknown token.
    async fn find_trust(&self, token: &BrowserToken) -> Result<Trust>;

    /// Deletes the browser's trust.
    async fn forget_browser(&self, token: &BrowserToken) -> Result<()>;

    /// Returns the delivery state of each letter, in order. Unknown letters count as refused long
    /// ago.
    async fn deliveries(&self, letters: &[LetterId]) -> Result<Vec<Delivery>>;
}

/// How long the previous token of a moved sign-in is followed: enough for a form that was submitted
/// twice to arrive twice.
pub const FOLLOWED: Duration = Duration::from_secs(5);

/// A conditional write of a sign-in in progress.
pub struct FlowChange<'a> {
    pub token: &'a FlowToken,
    /// The previous token, if the flow moves: that record is deleted, and the new token must be
    /// unused.
    pub previous_token: Option<&'a FlowToken>,
    /// The state on which the change is based; `None` requires that no flow exists.
    pub seen: Option<&'a Seen<Flow>>,
    pub next: &'a Flow,
    pub lives: Duration,
}

/// All writes of a successful sign-in.
pub struct SignInCommit<'a> {
    pub flow: Option<FlowChange<'a>>,
    pub session: (&'a SessionToken, &'a Session),
    pub lives: Duration,
    /// The browser's previous session, which ends.
    pub replaces: Option<&'a SessionToken>,
    pub trust: Option<(&'a BrowserToken, &'a Trust)>,
    /// The browser's previous trust, which is deleted.
    pub forgets: Option<&'a BrowserToken>,
    pub trust_lives: Duration,
}

/// The device record written by a sign-in with a password.
#[derive(Clone, Copy)]
pub struct DeviceChange<'a> {
    pub token: &'a DeviceToken,
    pub next: &'a Device,
    pub lives: Duration,
    /// The browser's previous device record, which is deleted.
    pub forgets: Option<&'a DeviceToken>,
}
