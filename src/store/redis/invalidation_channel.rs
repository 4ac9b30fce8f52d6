//! What other gateways ended, as it travels on the channel `ended`, and who is told of it here.

use super::super::vault::RecordKey;
use super::super::{Invalidation, SubscriptionEpoch};
use domain::time::Timestamp;
use redis::{PushInfo, PushKind, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::broadcast;

const INVALIDATIONS: usize = 4_096;
const EVERYTHING: &[u8] = b"*";
const OF_A_BROKER: &[u8] = b"broker ";

/// Tells of invalidations, and whether they arrive.
#[derive(Clone)]
pub(super) struct InvalidationChannel {
    channel: Vec<u8>,
    listeners: broadcast::Sender<Invalidation>,
    /// How often they began to arrive or ceased to; odd while they arrive.
    turns: Arc<AtomicU32>,
}

impl InvalidationChannel {
    pub(super) fn on(channel: Vec<u8>) -> Self {
        Self {
            channel,
            listeners: broadcast::channel(INVALIDATIONS).0,
            turns: Arc::default(),
        }
    }

    pub(super) fn channel(&self) -> &[u8] {
        &self.channel
    }

    pub(super) fn receiver(&self) -> broadcast::Receiver<Invalidation> {
        self.listeners.subscribe()
    }

    pub(super) fn subscription(&self) -> Option<SubscriptionEpoch> {
        let turn = self.turns.load(Ordering::Acquire);
        (turn % 2 == 1).then_some(SubscriptionEpoch(turn))
    }

    /// They arrive from now on; until now they did not.
    pub(super) fn begin(&self) {
        self.turns.fetch_add(1, Ordering::AcqRel);
        self.tell(Invalidation::Resubscribed);
    }

    /// They arrive no more; until now they did.
    pub(super) fn cease(&self) {
        let hearing = self.turns.fetch_add(1, Ordering::AcqRel);
        self.tell(Invalidation::Gap(SubscriptionEpoch(hearing)));
    }

    /// By its own clock, Redis has pushed all that was announced before this time.
    pub(super) fn heard_until(&self, time: Timestamp) {
        self.tell(Invalidation::Watermark(time));
    }

    /// Takes what Redis pushed.
    pub(super) fn receive(&self, push: &PushInfo) {
        if let (PushKind::Message, [Value::BulkString(from), Value::BulkString(what)]) =
            (&push.kind, push.data.as_slice())
            && *from == self.channel
        {
            self.tell(meaning(what));
        }
    }

    fn tell(&self, invalidation: Invalidation) {
        // Nobody listening is no failure: there is no cache then.
        let _ = self.listeners.send(invalidation);
    }
}

/// How an invalidation is written on the channel. A gateway that does not know a form takes it for "all".
pub(super) fn message(invalidation: Invalidation) -> Vec<u8> {
    use Invalidation::{All, Broker, Gap, Resubscribed, Session, Watermark};
    match invalidation {
        Session(name) => name.to_bytes(),
        Broker(revocation) => [OF_A_BROKER, &revocation.to_bytes()].concat(),
        All | Watermark(_) | Gap(_) | Resubscribed => EVERYTHING.to_vec(),
    }
}

/// What a message on the channel says; what cannot be read may mean any session.
fn meaning(message: &[u8]) -> Invalidation {
    let read = match message.strip_prefix(OF_A_BROKER) {
        Some(revocation) => RecordKey::from_bytes(revocation).map(Invalidation::Broker),
        None => RecordKey::from_bytes(message).map(Invalidation::Session),
    };
    read.unwrap_or(Invalidation::All)
}
