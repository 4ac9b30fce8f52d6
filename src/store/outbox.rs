//! The outbox: letters queued by sign-ins and leased by mail workers.

use super::{Result, StoreHealth};
use async_trait::async_trait;
use domain::challenge::Delivery;
use domain::ids::LetterId;
use domain::letter::Letter;
use std::time::Duration;

/// Leases queued letters and records their delivery.
#[async_trait]
pub trait OutboxStore: StoreHealth {
    /// Leases the first letter that is due, hiding it from other gateways for the time of `lease`.
    async fn lease_letter(&self, among: Due, lease: Duration) -> Result<Option<LeasedLetter>>;

    /// Extends a lease to `time` from now. Returns false if it was lost: the letter left the outbox
    /// or was leased again.
    async fn renew_lease(&self, lease: LetterLease, time: Duration) -> Result<bool>;

    /// Records a delivery; accepted and refused letters leave the outbox. Without the lease only an
    /// acceptance is recorded, and for a letter that has left the outbox nothing is.
    async fn note_delivery(&self, lease: LetterLease, delivery: Delivery) -> Result<()>;

    /// Returns the number of queued letters.
    async fn outbox_length(&self) -> Result<u64>;
}

/// Selects which letters due may be leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    All,
    /// Only letters that were never leased, so that nobody can have sent them.
    New,
}

/// A letter to send while its lease lasts.
pub struct LeasedLetter {
    pub letter: Letter,
    /// The number of this attempt, from 1.
    pub attempt: u32,
}

impl LeasedLetter {
    /// Returns the lease that entitles this gateway to send the letter.
    pub fn lease(&self) -> LetterLease {
        LetterLease {
            letter: self.letter.id,
            attempt: self.attempt,
        }
    }
}

/// The right to send a letter, lost as soon as a later attempt leases it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterLease {
    pub letter: LetterId,
    /// The number of the attempt, from 1.
    pub attempt: u32,
}
