//! Follows the store's invalidations.

use super::Sessions;
use crate::clock::Step;
use crate::store::{Invalidation, SubscriptionEpoch};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::broadcast::error::RecvError;

/// In milliseconds: watermarks arrive four times a second, and the product promises that ends are
/// known within one.
const STALE_AFTER: u64 = 1_000;

impl Sessions {
    /// Forgets sessions as they end anywhere. Runs until the store is dropped.
    pub async fn listen(self: Arc<Self>) {
        let mut invalidations = self.store.invalidations();
        let _listening = Listening::begin(&self.listening);
        loop {
            let invalidation = match invalidations.recv().await {
                Ok(invalidation) => invalidation,
                Err(RecvError::Lagged(_)) => Invalidation::All,
                Err(RecvError::Closed) => return self.forget_all(),
            };
            self.apply(invalidation);
            // Without a receiver there is nobody to inform.
            let _ = self.ends.send(invalidation);
        }
    }

    fn apply(&self, invalidation: Invalidation) {
        match invalidation {
            Invalidation::Session(key) => self.note_end(key),
            Invalidation::Broker(revocation) => {
                self.forget_all();
                self.revocations.lock().note(revocation);
            }
            Invalidation::All => {
                self.forget_all();
                self.revocations.lock().note_gap();
            }
            Invalidation::Watermark(time) => {
                // All gateways follow the store's clock, so that a wrong local clock ends no
                // session too early or too late.
                if let Some(step) = self.clock.follow(time) {
                    self.note_step(step);
                }
                self.watermark_at
                    .store(self.uptime().max(1), Ordering::Release);
                self.revocations.lock().note_watermark(time);
            }
            Invalidation::Gap(epoch) => {
                let now = self.clock.now();
                self.gaps.lock().note(epoch, now, self.grace);
            }
            Invalidation::Resubscribed => {
                // A store that publishes also answers: the next request may ask it.
                *self.outage.lock() = None;
                self.revocations.lock().note_gap();
            }
        }
    }

    /// Returns the current subscription epoch if this gateway is up to date in it.
    pub(super) fn subscription(&self) -> Option<SubscriptionEpoch> {
        let watermark_at = self.watermark_at.load(Ordering::Acquire);
        // A process that was suspended may serve a request before it has read what ended meanwhile.
        let is_stale = watermark_at > 0 && self.uptime().saturating_sub(watermark_at) > STALE_AFTER;
        let is_current = self.listening.load(Ordering::Acquire) && !is_stale;
        is_current.then(|| self.store.subscription())?
    }

    fn uptime(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes that the store's clock was set, or that a server with another clock was promoted.
    fn note_step(&self, step: Step) {
        // The store answers, and the time of the last probe means nothing by the new clock.
        *self.outage.lock() = None;
        self.metrics.store_clock_stepped();
        let (direction, by) = match step {
            Step::Forward(by) => ("forward", by),
            Step::Back(by) => ("back", by),
        };
        tracing::warn!(target: "store", direction, ?by, "the store's clock jumped");
    }

    fn forget_all(&self) {
        // A store that publishes also answers: the next request may ask it, since nothing is cached
        // any more.
        *self.outage.lock() = None;
        self.cache.shards().for_each(|mut shard| shard.clear());
    }
}

/// Marks that invalidations are being received, for its lifetime.
struct Listening<'a>(&'a AtomicBool);

impl<'a> Listening<'a> {
    fn begin(listening: &'a AtomicBool) -> Self {
        listening.store(true, Ordering::Release);
        Self(listening)
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
