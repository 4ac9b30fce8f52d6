//! What a store is made of: sealed records under opaque names, changed one atomic step at a time.
//!
//! [`super::Sealed`] speaks the domain's language and seals; an [`Engine`] keeps bytes. An engine must apply a
//! [`Change`] wholly or not at all, and must never take "I cannot answer" for "there is nothing".

use super::vault::RecordKey;
use super::{Due, Invalidation, Result, SubscriptionEpoch};
use async_trait::async_trait;
use bytes::Bytes;
use domain::ids::LetterId;
use domain::time::Timestamp;
use std::time::Duration;
use tokio::sync::broadcast;

/// Keeps records.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// The records under these names, in their order.
    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Vec<u8>>>>;

    /// The same, given only once all that it rests on is as durable as a change can be ([`Durability::Replicas`]).
    async fn read_durable(&self, keys: &[RecordKey]) -> Result<Vec<Option<Vec<u8>>>> {
        self.read(keys).await
    }

    /// Applies a change wholly or not at all.
    async fn commit(&self, change: &Change) -> Result<TxOutcome>;

    /// The letter that is first among those that are due, hidden from others for `lease`, and how often it was leased by now.
    async fn lease(&self, among: Due, lease: Duration) -> Result<Option<(LetterId, u32)>>;

    /// How many letters wait.
    async fn queue_length(&self) -> Result<u64>;

    /// Deletes what has ended, if that does not happen by itself.
    async fn tidy(&self) -> Result<()> {
        Ok(())
    }

    /// Whether it answers and can write.
    async fn ping(&self) -> Result<()>;

    /// Invalidations, this process's own included.
    fn invalidations(&self) -> broadcast::Receiver<Invalidation>;

    /// Since when invalidations are arriving without a gap, if they are.
    fn subscription(&self) -> Option<SubscriptionEpoch>;
}

/// One atomic step: if all `expect` hold and all charges have room, everything below is done.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// What must be so.
    pub expect: Vec<(RecordKey, Expect)>,
    /// A letter that must wait still and must not have been leased since it was for this time; 0 if it never was.
    pub leased: Option<(LetterId, u32)>,
    /// Counters.
    pub counters: Vec<CounterOp>,
    /// Records to write, with how long they are kept.
    pub write: Vec<(RecordKey, Bytes, Duration)>,
    /// A record that holds a time in the open, in milliseconds: it is put forward to this one, never back; with how long it is kept.
    pub advance: Option<(RecordKey, Timestamp, Duration)>,
    /// Records to delete.
    pub delete: Vec<RecordKey>,
    /// Letters to queue, and in how long they are due.
    pub queue: Vec<(LetterId, Duration)>,
    /// Letters to take out of the queue.
    pub unqueue: Vec<LetterId>,
    /// What caches everywhere must forget.
    pub announce: Vec<Invalidation>,
    /// Where it must be before its outcome is told, whatever the outcome is.
    pub durability: Durability,
}

/// Where a change must be before its outcome is told. An engine without replicas knows no difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// On the server that took it. If another takes that one's place in the next moment, it may be lost.
    #[default]
    Master,
    /// On as many replicas as are configured as well.
    Replicas,
}

/// What must be so of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is none.
    Absent,
    /// There is one.
    Present,
    /// It is these bytes.
    Is(Vec<u8>),
}

/// What is done with a counter.
#[derive(Clone, Debug)]
pub struct CounterOp {
    /// The counter's name.
    pub counter: RecordKey,
    /// If there is a record of this name already, the event was counted before and costs nothing.
    pub once: Option<RecordKey>,
    /// How far it may go; a value below zero, which no gateway writes, counts as full.
    pub limit: u32,
    /// How much the event counts.
    pub amount: u32,
    /// When it begins anew, from the first event on.
    pub window: Duration,
    /// Whether it must have room, and whether it rises.
    pub mode: CounterMode,
}

/// Whether a counter must have room, and whether it rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterMode {
    /// It must, and does.
    Take,
    /// It must, and does not.
    Check,
    /// It need not, and does.
    Count,
}

/// How a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxOutcome {
    /// Applied.
    Done,
    /// An expectation did not hold.
    Conflict,
    /// The counter with this index has no room, for this long.
    Full {
        /// Which of [`Change::counters`].
        index: usize,
        /// How long until its window ends.
        retry_after: Duration,
    },
}
