//! Everything that outlives a request: sessions, sign-ins in progress, trusted browsers, counters, queued mails, held forms.
//!
//! Callers take the trait of their concern: [`SessionStore`], [`SignInStore`], [`OutboxStore`], [`FormStore`],
//! [`ApplicationSessionStore`] or [`StoreHealth`]. Every operation is one atomic step. [`Sealed`] implements all of them on
//! an [`engine::Engine`], of which there are two: Redis, and an embedded database on disk or in memory. Records are keyed by
//! digests and sealed, so that a copy of the store signs nobody in ([`Vault`]). A store that cannot answer returns an
//! [`Error`], never "nothing found".
//!
//! Every `lives` is the time for which a record is kept at least: the domain judges age, the store merely tidies up.

pub mod application_sessions;
pub mod cache;
pub mod embedded;
pub mod engine;
mod error;
mod forms;
mod health;
mod measured;
pub mod offline_tokens;
mod outbox;
mod rate_limits;
mod records;
pub mod redis;
mod sealed;
mod sessions;
mod sign_ins;
mod vault;

use domain::time::Timestamp;

pub use application_sessions::ApplicationSessionStore;
pub use error::{Cause, Error, Result};
pub use forms::{ClaimedForm, FormDraft, FormStore, FormUpdate};
pub use health::StoreHealth;
pub use measured::Measured;
pub use outbox::{Due, LeasedLetter, LetterLease, OutboxStore};
pub use rate_limits::{RateLimits, WriteOutcome};
pub use sealed::Sealed;
pub use sessions::{Invalidation, RevocationStore, SessionStore, SubscriptionEpoch};
pub use sign_ins::{DeviceChange, FOLLOWED, FlowChange, SignInCommit, SignInStore};
pub use vault::{RecordKey, Vault};

/// A store with all operations, for the code that wires up the gateway.
pub trait FullStore:
    SessionStore + SignInStore + OutboxStore + FormStore + ApplicationSessionStore
{
}

impl<S> FullStore for S where
    S: SessionStore + SignInStore + OutboxStore + FormStore + ApplicationSessionStore
{
}

/// A record as it was read, so that a change based on it is refused if another request was faster.
#[derive(Clone)]
pub struct Seen<T> {
    pub value: T,
    pub(crate) version: Vec<u8>,
}

/// Reads a time from an unsealed record; anything unreadable counts as absent.
fn read_time(bytes: &[u8]) -> Option<Timestamp> {
    std::str::from_utf8(bytes)
        .ok()?
        .parse()
        .ok()
        .map(Timestamp::from_millis)
}
