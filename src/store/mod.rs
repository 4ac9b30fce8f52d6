//! What must be remembered: sessions, sign-ins under way, trusted browsers, counters, and mails to send.
//!
//! One trait of domain operations, [`Store`], each of them one atomic step; [`Sealed`] carries them out on an
//! [`engine::Engine`], of which there are two: Redis and an embedded one, on disk or in memory. What lies there is
//! keyed by digests and sealed: a copy of it signs nobody in. A store that cannot answer gives an [`Error`],
//! never "nothing found". The gateway, the outbox and the command line call this module.

pub mod application_sessions;
pub mod cache;
pub mod embedded;
pub mod engine;
mod error;
mod measured;
pub mod offline_tokens;
mod records;
pub mod redis;
mod sealed;
mod vault;

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
use domain::throttle::Charge;
use domain::time::Timestamp;
use domain::trust::Trust;
use domain::vtnr::Vtnr;
use std::time::Duration;
use tokio::sync::broadcast;

pub use application_sessions::ApplicationSessionStore;
pub use error::{Cause, Error, Result};
pub use measured::Measured;
pub use sealed::Sealed;
pub use vault::{RecordKey, Vault};

/// The operations. Every `lives` says how long a record is kept at least; the domain judges its age, the
/// store merely tidies up.
#[async_trait]
pub trait Store: Send + Sync {
    /// Under what name a session lies in the store; caches use it, and [`Invalidation::Session`] names it.
    fn session_key(&self, token: &SessionToken) -> RecordKey;

    /// The session that this token stands for.
    async fn find_session(&self, token: &SessionToken) -> Result<Option<Session>>;

    /// Writes down that a session is in use. False if there is none: a session that ended meanwhile stays ended.
    async fn touch_session(
        &self,
        token: &SessionToken,
        session: &Session,
        lives: Duration,
    ) -> Result<bool>;

    /// Ends a session, on every gateway.
    async fn end_session(&self, token: &SessionToken) -> Result<()>;

    /// Ends all sessions and all trust that the broker has until `at`, on every gateway. It is dated later than all that has begun so far,
    /// whatever the clocks say: they may have been set back.
    async fn revoke_broker(&self, vtnr: Vtnr, at: Timestamp) -> Result<()>;

    /// Until when the broker's sessions and trust were revoked, if ever.
    async fn revoked_at(&self, vtnr: Vtnr) -> Result<Option<Timestamp>>;

    /// The sign-in under way in a browser.
    async fn find_flow(&self, token: &FlowToken) -> Result<Option<Seen<Flow>>>;

    /// Keeps a sign-in, if it still is as it was `seen` and the charges allow it. Letters that it no longer waits for
    /// ([`Flow::letters`]) leave the outbox with the same step, here as in [`Store::ask_for_tan`] and [`Store::sign_in`].
    async fn keep_flow(
        &self,
        change: FlowChange<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome>;

    /// Has a sign-in be found by another token from now on, otherwise as it was, if it still is as it was `seen`. The former token only
    /// leads to the new one, for [`FOLLOWED`].
    async fn move_flow(&self, change: FlowChange<'_>) -> Result<WriteOutcome>;

    /// By which token a sign-in is found that was found by this one until a moment ago.
    async fn moved_flow(&self, token: &FlowToken) -> Result<Option<FlowToken>>;

    /// Counts what a sign-in was answered with, if it still is as it was `seen`. It stays as it is.
    async fn charge_flow(
        &self,
        token: &FlowToken,
        seen: &Seen<Flow>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome>;

    /// The same, and the sign-in is forgotten.
    async fn end_flow(
        &self,
        token: &FlowToken,
        seen: &Seen<Flow>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome>;

    /// Forgets a sign-in; its letters leave the outbox.
    async fn discard_flow(&self, token: &FlowToken, flow: &Flow) -> Result<()>;

    /// Keeps a sign-in and puts its letter into the outbox, under the same conditions.
    async fn ask_for_tan(
        &self,
        change: FlowChange<'_>,
        letter: &Letter,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome>;

    /// Signs in: the session begins, the one it replaces ends, the browser becomes a trusted one and the sign-in under
    /// way is spent, all or nothing, if that sign-in still is as it was `seen` and the charges allow it. What begins must be dated later than
    /// a revocation that it is to outlive.
    async fn sign_in(
        &self,
        sign_in: SignInCommit<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome>;

    /// The same with a user key and a password, which the browser is known by from then on.
    async fn sign_in_on_device(
        &self,
        sign_in: SignInCommit<'_>,
        device: DeviceChange<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome>;

    /// Which user keys somebody signed in with in this browser.
    async fn find_device(&self, token: &DeviceToken) -> Result<Device>;

    /// Forgets them.
    async fn forget_device(&self, token: &DeviceToken) -> Result<()>;

    /// Counts, where nothing else has to be written.
    async fn charge(&self, rate_limits: &RateLimits) -> Result<WriteOutcome>;

    /// What this browser is trusted for.
    async fn find_trust(&self, token: &BrowserToken) -> Result<Trust>;

    /// Forgets what this browser is trusted for.
    async fn forget_browser(&self, token: &BrowserToken) -> Result<()>;

    /// Keeps a form, if the charges allow it; also one that was taken and could not be sent after all.
    async fn park(&self, parking: FormDraft<'_>, rate_limits: &RateLimits) -> Result<WriteOutcome>;

    /// A form that is kept, or was sent a short while ago.
    async fn find_form(&self, token: &ParkingToken, id: FormId)
    -> Result<Option<Seen<ParkedForm>>>;

    /// Takes a form to send it, if it still is as it was `seen`: of any number of requests one gets its body, and what is remembered from
    /// then on.
    async fn take_form(
        &self,
        token: &ParkingToken,
        id: FormId,
        taking: FormUpdate<'_>,
    ) -> Result<Option<ClaimedForm>>;

    /// Notes how far a form has come, if it still is as it was `seen`.
    async fn note_form(
        &self,
        token: &ParkingToken,
        id: FormId,
        noting: FormUpdate<'_>,
    ) -> Result<Option<Seen<ParkedForm>>>;

    /// Forgets a form.
    async fn discard_form(&self, token: &ParkingToken, id: FormId) -> Result<()>;

    /// What became of these mails, in their order; what is not known any more counts as refused long ago.
    async fn deliveries(&self, letters: &[LetterId]) -> Result<Vec<Delivery>>;

    /// Takes the letter that is first among those that are due out of everybody else's reach for the time of `lease`.
    async fn lease_letter(&self, among: Due, lease: Duration) -> Result<Option<LeasedLetter>>;

    /// Has a lease end so much time from now. False if it was lost: the letter left the outbox, or somebody else has leased it since.
    async fn renew_lease(&self, lease: LetterLease, time: Duration) -> Result<bool>;

    /// Notes that the mail server took, refused or put off a letter; taken and refused ones leave the outbox. Of a letter that has
    /// left it nothing is noted; whoever lost the lease can only note that the letter was taken.
    async fn note_delivery(&self, lease: LetterLease, delivery: Delivery) -> Result<()>;

    /// How many letters wait.
    async fn outbox_length(&self) -> Result<u64>;

    /// Deletes what has ended, where the store does not do so by itself.
    async fn tidy(&self) -> Result<()>;

    /// Whether the store answers and can write.
    async fn ping(&self) -> Result<()>;

    /// What other gateways, and this one, ended. A receiver that lags must treat it as [`Invalidation::All`].
    fn invalidations(&self) -> broadcast::Receiver<Invalidation>;

    /// Since when invalidations are arriving without a gap; `None` while they are not arriving. What a cache read at another time
    /// may have ended meanwhile.
    fn subscription(&self) -> Option<SubscriptionEpoch>;
}

/// A store with all its operations.
pub trait Stores: Store + ApplicationSessionStore {}

impl<S: Store + ApplicationSessionStore> Stores for S {}

/// A record with the state in which it was read, so that a change can be refused if somebody was faster.
#[derive(Clone)]
pub struct Seen<T> {
    /// The record.
    pub value: T,
    pub(crate) version: Vec<u8>,
}

/// For how long the token of a sign-in that was moved leads to the new one: until a form that was sent twice has arrived twice.
pub const FOLLOWED: Duration = Duration::from_secs(5);

/// A sign-in's new state.
pub struct FlowChange<'a> {
    /// What it is found by.
    pub token: &'a FlowToken,
    /// What it was found by when it was `seen`, where that is another token. Nothing is found by that one any more, and nothing may be found by
    /// the new one yet.
    pub formerly: Option<&'a FlowToken>,
    /// As it was read; `None` if there was none.
    pub seen: Option<&'a Seen<Flow>>,
    /// As it is to be.
    pub next: &'a Flow,
    /// How long it is kept.
    pub lives: Duration,
}

/// A sign-in that succeeds.
pub struct SignInCommit<'a> {
    /// The sign-in under way, where there is one, in its last state.
    pub flow: Option<FlowChange<'a>>,
    /// The new session.
    pub session: (&'a SessionToken, &'a Session),
    /// How long the session's record is kept.
    pub lives: Duration,
    /// The session that this browser had until now.
    pub replaces: Option<&'a SessionToken>,
    /// The browser's new token and what it is trusted for.
    pub trust: Option<(&'a BrowserToken, &'a Trust)>,
    /// The browser's token until now.
    pub forgets: Option<&'a BrowserToken>,
    /// How long trust is kept.
    pub trust_lives: Duration,
}

/// What a browser is known by after a sign-in with a password.
#[derive(Clone, Copy)]
pub struct DeviceChange<'a> {
    /// Its new token.
    pub token: &'a DeviceToken,
    /// What it was used for.
    pub next: &'a Device,
    /// How long that is remembered.
    pub lives: Duration,
    /// Its token until now.
    pub forgets: Option<&'a DeviceToken>,
}

/// A form to be kept.
#[derive(Clone, Copy)]
pub struct FormDraft<'a> {
    /// What the browser finds it by.
    pub token: &'a ParkingToken,
    /// Which of the browser's.
    pub id: FormId,
    /// Its particulars.
    pub form: &'a ParkedForm,
    /// Its body, byte for byte.
    pub body: &'a [u8],
    /// How long it is kept.
    pub lives: Duration,
    /// What it takes the place of, unless that has changed; `None` for a new one.
    pub over: Option<&'a Seen<ParkedForm>>,
}

/// How far a form has come.
#[derive(Clone, Copy)]
pub struct FormUpdate<'a> {
    /// As it was read.
    pub seen: &'a Seen<ParkedForm>,
    /// As it is remembered afterwards, without its body.
    pub next: &'a ParkedForm,
    /// How long that is remembered.
    pub lives: Duration,
}

/// A form's body, and its particulars as they are remembered since it was taken.
pub type ClaimedForm = (Vec<u8>, Seen<ParkedForm>);

/// Counters that an event touches.
#[derive(Clone, Debug, Default)]
pub struct RateLimits {
    /// These must have room, and are raised.
    pub take: Vec<Charge>,
    /// These must have room.
    pub check: Vec<Charge>,
    /// These are raised, room or not.
    pub count: Vec<Charge>,
}

impl RateLimits {
    /// None.
    pub fn none() -> Self {
        Self::default()
    }

    /// Only `take`.
    pub fn take(rate_limits: Vec<Charge>) -> Self {
        Self {
            take: rate_limits,
            ..Self::default()
        }
    }

    /// Only `check`.
    pub fn check(rate_limits: Vec<Charge>) -> Self {
        Self {
            check: rate_limits,
            ..Self::default()
        }
    }
}

/// How an atomic step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It was done.
    Done,
    /// Nothing was done: the record had changed since it was read.
    Conflict,
    /// Nothing was done: this counter has no room.
    Over {
        /// Which.
        charge: Charge,
        /// How long until its window ends.
        retry_after: Duration,
    },
}

/// Which of the letters that are due may be leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// All of them.
    All,
    /// Those that nobody had in hand yet, so that nobody can have handed them over.
    New,
}

/// A letter to hand over, for as long as the lease lasts.
pub struct LeasedLetter {
    /// The letter.
    pub letter: Letter,
    /// Which attempt this is, from 1.
    pub attempt: u32,
}

impl LeasedLetter {
    /// The lease that it is held by.
    pub fn lease(&self) -> LetterLease {
        LetterLease {
            letter: self.letter.id,
            attempt: self.attempt,
        }
    }
}

/// The right to hand a letter over. It is lost when it ends and another attempt begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterLease {
    /// Whose.
    pub letter: LetterId,
    /// Which attempt it was given for, from 1.
    pub attempt: u32,
}

/// A time without a gap in which invalidations arrive. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubscriptionEpoch(pub u32);

/// What caches must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// One session has ended.
    Session(RecordKey),
    /// A broker was revoked: any session may be theirs. By the name of the revocation.
    Broker(RecordKey),
    /// Any session may have ended.
    All,
    /// Whatever ended before this time, by the store's clock, has been told.
    Watermark(Timestamp),
    /// Invalidations are being missed from now on: what was read in this hearing serves no more than an outage, if that is why.
    Gap(SubscriptionEpoch),
    /// They arrive again, in another hearing. What ended meanwhile was missed.
    Resubscribed,
}

/// A time as records have it that are not sealed. What cannot be read is none.
fn read_time(bytes: &[u8]) -> Option<Timestamp> {
    std::str::from_utf8(bytes)
        .ok()?
        .parse()
        .ok()
        .map(Timestamp::from_millis)
}
