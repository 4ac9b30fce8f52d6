//! The interface between the store and its databases: sealed records under opaque names, changed
//! one atomic step at a time.
//!
//! [`super::Sealed`] translates domain operations and seals records; an [`Engine`] keeps bytes. An
//! engine must apply a [`Change`] completely or not at all, and must never report "not found" when
//! it cannot answer.

use super::vault::RecordKey;
use super::{Due, Invalidation, Result, SubscriptionEpoch};
use async_trait::async_trait;
use bytes::Bytes;
use domain::ids::LetterId;
use domain::time::Timestamp;
use std::time::Duration;
use tokio::sync::broadcast;

/// A database of sealed records.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Reads the records of these names, in order.
    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Vec<u8>>>>;

    /// Reads records, and returns only once everything read is durable ([`Durability::Replicas`]).
    async fn read_durable(&self, keys: &[RecordKey]) -> Result<Vec<Option<Vec<u8>>>> {
        self.read(keys).await
    }

    /// Applies a change completely or not at all.
    async fn commit(&self, change: &Change) -> Result<TxOutcome>;

    /// Leases the first letter that is due, hiding it from others for `lease`, and returns it with
    /// its number of leases.
    async fn lease(&self, among: Due, lease: Duration) -> Result<Option<(LetterId, u32)>>;

    /// Returns the number of queued letters.
    async fn queue_length(&self) -> Result<u64>;

    /// Deletes expired records, if the database does not expire them by itself.
    async fn tidy(&self) -> Result<()> {
        Ok(())
    }

    /// Checks that the database answers and accepts writes.
    async fn ping(&self) -> Result<()>;

    /// Subscribes to invalidations, this process's own included.
    fn invalidations(&self) -> broadcast::Receiver<Invalidation>;

    /// Returns the current gap-free subscription; `None` while invalidations do not arrive.
    fn subscription(&self) -> Option<SubscriptionEpoch>;
}

/// One atomic step: if all expectations hold and all counters have room, everything is carried out.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub expect: Vec<(RecordKey, Expect)>,
    /// Requires that the letter is queued and was leased exactly so often.
    pub leased: Option<(LetterId, u32)>,
    pub counters: Vec<CounterOp>,
    /// Records to write, with their lifetimes.
    pub write: Vec<(RecordKey, Bytes, Duration)>,
    /// Moves an unsealed record, a time in milliseconds, forward to this time, never back; with its
    /// lifetime.
    pub advance: Option<(RecordKey, Timestamp, Duration)>,
    pub delete: Vec<RecordKey>,
    /// Letters to queue, with their delays.
    pub queue: Vec<(LetterId, Duration)>,
    pub unqueue: Vec<LetterId>,
    pub announce: Vec<Invalidation>,
    /// Applies to the outcome, whatever it is.
    pub durability: Durability,
}

/// How durable a change must be before its outcome is returned. Engines without replicas make no
/// difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// On the master, where a failover in the next moment may lose it.
    #[default]
    Master,
    /// On the configured number of replicas as well.
    Replicas,
}

/// A condition on a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    Absent,
    Present,
    /// The record has exactly these bytes.
    Is(Vec<u8>),
}

/// One operation on a counter.
#[derive(Clone, Debug)]
pub struct CounterOp {
    pub counter: RecordKey,
    /// Names a marker record: while it exists, the event was counted before and is free.
    pub once: Option<RecordKey>,
    /// The highest value allowed. A negative value, which no gateway writes, counts as full.
    pub limit: u32,
    pub amount: u32,
    /// The time from the first event until the counter restarts.
    pub window: Duration,
    pub mode: CounterMode,
}

/// Tells whether a counter must have room, and whether it rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterMode {
    /// Requires room, and rises.
    Take,
    /// Requires room, and does not rise.
    Check,
    /// Rises whether it has room or not.
    Count,
}

/// The result of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxOutcome {
    Done,
    /// An expectation did not hold.
    Conflict,
    /// A counter has no room.
    Full {
        /// An index into [`Change::counters`].
        index: usize,
        /// The time left until the counter's window ends.
        retry_after: Duration,
    },
}
