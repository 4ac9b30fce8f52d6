//! What other gateways ended, as it travels on the channel `ended`, and who is told of it here.

use super::super::Invalidation;
use super::super::vault::RecordKey;
use redis::{PushInfo, PushKind, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::broadcast;

const INVALIDATIONS: usize = 4_096;
const EVERYTHING: &[u8] = b"*";

/// Tells of invalidations, and whether they arrive.
#[derive(Clone)]
pub(super) struct Announcements {
    channel: Vec<u8>,
    listeners: broadcast::Sender<Invalidation>,
    arriving: Arc<AtomicBool>,
}

impl Announcements {
    pub(super) fn on(channel: Vec<u8>) -> Self {
        Self { channel, listeners: broadcast::channel(INVALIDATIONS).0, arriving: Arc::default() }
    }

    pub(super) fn channel(&self) -> &[u8] {
        &self.channel
    }

    pub(super) fn receiver(&self) -> broadcast::Receiver<Invalidation> {
        self.listeners.subscribe()
    }

    pub(super) fn arrive(&self) -> bool {
        self.arriving.load(Ordering::Acquire)
    }

    /// They arrive from now on. Whatever was ended while nobody listened is unknown: caches forget everything first.
    pub(super) fn begin(&self) {
        self.tell(Invalidation::All);
        self.arriving.store(true, Ordering::Release);
    }

    /// They arrive no more.
    pub(super) fn cease(&self) {
        self.arriving.store(false, Ordering::Release);
        self.tell(Invalidation::Missed);
    }

    /// Takes what Redis pushed.
    pub(super) fn receive(&self, push: &PushInfo) {
        if let (PushKind::Message, [Value::BulkString(from), Value::BulkString(what)]) = (&push.kind, push.data.as_slice())
            && *from == self.channel
        {
            // What cannot be read may have meant any session.
            self.tell(RecordKey::from_bytes(what).map_or(Invalidation::All, Invalidation::Session));
        }
    }

    fn tell(&self, invalidation: Invalidation) {
        // Nobody listening is no failure: there is no cache then.
        let _ = self.listeners.send(invalidation);
    }
}

/// How an invalidation is written on the channel.
pub(super) fn message(invalidation: Invalidation) -> Vec<u8> {
    match invalidation {
        Invalidation::Session(name) => name.to_bytes(),
        Invalidation::All | Invalidation::Missed => EVERYTHING.to_vec(),
    }
}
