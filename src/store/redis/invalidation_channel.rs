//! Invalidations on the Redis channel `ended`, and their local broadcast.

use crate::store::vault::RecordKey;
use crate::store::{Invalidation, SubscriptionEpoch};
use domain::time::Timestamp;
use redis::{PushInfo, PushKind, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::broadcast;

const CAPACITY: usize = 4_096;
const EVERYTHING: &[u8] = b"*";
const OF_A_BROKER: &[u8] = b"broker ";

/// Broadcasts invalidations as they arrive, and whether they arrive at all.
#[derive(Clone)]
pub(super) struct InvalidationChannel {
    name: Vec<u8>,
    receivers: broadcast::Sender<Invalidation>,
    /// Counts subscriptions and their ends; odd while subscribed.
    epoch: Arc<AtomicU32>,
}

impl InvalidationChannel {
    pub(super) fn on(name: Vec<u8>) -> Self {
        Self {
            name,
            receivers: broadcast::channel(CAPACITY).0,
            epoch: Arc::default(),
        }
    }

    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    pub(super) fn receiver(&self) -> broadcast::Receiver<Invalidation> {
        self.receivers.subscribe()
    }

    pub(super) fn subscription(&self) -> Option<SubscriptionEpoch> {
        let epoch = self.epoch.load(Ordering::Acquire);
        (epoch % 2 == 1).then_some(SubscriptionEpoch(epoch))
    }

    /// Begins a new epoch: the subscription is established.
    pub(super) fn begin(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.broadcast(Invalidation::Resubscribed);
    }

    /// Ends the current epoch: the subscription is lost.
    pub(super) fn cease(&self) {
        let epoch = self.epoch.fetch_add(1, Ordering::AcqRel);
        self.broadcast(Invalidation::Gap(SubscriptionEpoch(epoch)));
    }

    /// Broadcasts that Redis has pushed every invalidation published before this time, by its own
    /// clock.
    pub(super) fn watermark(&self, time: Timestamp) {
        self.broadcast(Invalidation::Watermark(time));
    }

    /// Handles a message pushed by Redis.
    pub(super) fn receive(&self, push: &PushInfo) {
        if let (PushKind::Message, [Value::BulkString(from), Value::BulkString(message)]) =
            (&push.kind, push.data.as_slice())
            && *from == self.name
        {
            self.broadcast(decode(message));
        }
    }

    fn broadcast(&self, invalidation: Invalidation) {
        // Without a receiver there is no cache to invalidate.
        let _ = self.receivers.send(invalidation);
    }
}

/// Encodes an invalidation for the channel. Gateways take unknown messages for "all sessions".
pub(super) fn encode(invalidation: Invalidation) -> Vec<u8> {
    use Invalidation::{All, Broker, Gap, Resubscribed, Session, Watermark};
    match invalidation {
        Session(name) => name.to_bytes(),
        Broker(revocation) => [OF_A_BROKER, &revocation.to_bytes()].concat(),
        All | Watermark(_) | Gap(_) | Resubscribed => EVERYTHING.to_vec(),
    }
}

/// Decodes a message; anything unreadable may mean any session.
fn decode(message: &[u8]) -> Invalidation {
    let read = match message.strip_prefix(OF_A_BROKER) {
        Some(revocation) => RecordKey::from_bytes(revocation).map(Invalidation::Broker),
        None => RecordKey::from_bytes(message).map(Invalidation::Session),
    };
    read.unwrap_or(Invalidation::All)
}
