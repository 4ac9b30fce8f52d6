//! Everything that outlives a request: sessions, sign-ins in progress, trusted browsers, counters,
//! queued mails, held forms.
//!
//! Callers take the trait of their concern: [`SessionStore`], [`SignInStore`], [`OutboxStore`],
//! [`FormStore`], [`ApplicationSessionStore`] or [`StoreHealth`]. Every operation is one atomic
//! step. [`Sealed`] implements all of them on an [`engine::Engine`], of which there are two: Redis,
//! and an embedded database on disk or in memory. Records are keyed by digests and sealed, so that
//! a copy of the store signs nobody in ([`Vault`]). A store that cannot answer returns an
//! [`Error`], never "nothing found".
//!
//! Every `lives` is the time for which a record is kept at least: the domain judges age, the store
//! merely tidies up.
//!
//! # Records
//!
//! A name is the letter of the record's kind and a digest of its id. Most records are JSON, sealed
//! with the operator's secret and, where a browser holds a token, with that token too.
//!
//! | name | id | sealed with | content | lifetime |
//! |---|---|---|---|---|
//! | `s:` session | session token | secret, token | broker, level, sign-in and last use | idle and absolute limit |
//! | `f:` flow | flow token | secret, token | claim, stage, TAN, tries, letters | `login.attempt_lifetime`; 60 s once completed |
//! | `m:` moved flow | previous flow token | secret, token | the new flow token | 5 s |
//! | `t:` trust | browser token | secret, token | up to 16 brokers with their confirmed addresses | `login.trust_lifetime` |
//! | `u:` device | device token | secret, token | digests of up to 16 user keys | 180 days |
//! | `r:` revocation | broker number | secret | its time | 181 days |
//! | `l:` letter | letter id | secret | address, TAN, time, browser | until sent; `login.attempt_lifetime` |
//! | `d:` delivery | letter id | secret | queued, delayed, accepted or refused | 5 hours |
//! | `c:` counter | counter and subject | unsealed | a number | its window |
//! | `o:` counted once | counter and broker number | unsealed | empty | the counter's window |
//! | `p:` held form | form token, form id | secret, token | target, type, owner, stage | `parking.lifetime` |
//! | `b:` its body | form token, form id | secret, token | the body, byte for byte | until sent; `parking.lifetime` |
//! | `n:` newest sign-in | none | unsealed | a time that never goes back | 181 days |
//! | `a:` application session | its cookie | secret | owners | see [`application_sessions`] |
//! | `i:` cookie scopes | none | secret | scopes of the calculator's session cookies | 90 days |
//!
//! The queue of letters is unsealed: ids with due times and numbers of leases. Offline tokens use
//! the same names and seals (kind `k:`), but lie in browsers.
//!
//! A copy of the store signs nobody in and shows no TAN, address or number; even together with the
//! secret, sessions, flows and trust stay sealed without the cookies. Write access can delete a
//! counter or a revocation, or restore an older copy of a record under its own name, and so grant
//! more guesses or bring back a session whose cookie still exists. A copy together with the secret
//! reveals queued letters, and lets an attacker try out broker numbers.

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
