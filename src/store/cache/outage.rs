//! Outages of the store: how they are noticed, and the grace in which sessions continue.

use super::Sessions;
use crate::store::{RecordKey, SubscriptionEpoch};
use domain::session::Session;
use domain::time::Timestamp;
use std::collections::VecDeque;
use std::time::Duration;

/// Interval between probes of a store that is down.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// A period in which the store does not answer.
#[derive(Clone, Copy)]
pub(super) struct Outage {
    since: Timestamp,
    probed_at: Timestamp,
}

/// The ends of subscription epochs, oldest first. Of epochs whose sessions have no grace left, only
/// the last is kept.
#[derive(Default)]
pub(super) struct Gaps(VecDeque<(SubscriptionEpoch, Timestamp)>);

impl Gaps {
    pub(super) fn note(&mut self, epoch: SubscriptionEpoch, now: Timestamp, grace: Duration) {
        self.0.push_back((epoch, now));
        let is_over = |ended_at: Timestamp| now.since(ended_at) >= grace;
        while self
            .0
            .get(1)
            .is_some_and(|(_, ended_at)| is_over(*ended_at))
        {
            self.0.pop_front();
        }
    }

    /// Returns when this epoch ended; if that was too long ago to be kept, a later time that is too
    /// long ago as well.
    fn end_of(&self, epoch: SubscriptionEpoch) -> Option<Timestamp> {
        let place = self.0.partition_point(|(ended, _)| *ended < epoch);
        self.0.get(place).map(|(_, ended_at)| *ended_at)
    }

    fn latest(&self) -> Option<Timestamp> {
        self.0.back().map(|(_, ended_at)| *ended_at)
    }
}

impl Sessions {
    /// Returns whether the store failed to answer when it was last asked. Does not ask it.
    pub fn is_store_down(&self) -> bool {
        self.outage.lock().is_some()
    }

    /// Returns whether invalidations are not arriving, the first sign of an outage. Does not ask
    /// the store.
    pub fn is_store_silent(&self) -> bool {
        self.store.subscription().is_none()
    }

    /// Returns the start of the outage while it is too soon for another probe; otherwise this
    /// request is the probe.
    pub(super) fn is_down_since(&self, now: Timestamp) -> Option<Timestamp> {
        let mut outage = self.outage.lock();
        let outage = outage.as_mut()?;
        if now.since(outage.probed_at) < PROBE_EVERY {
            return Some(outage.since);
        }
        outage.probed_at = now;
        None
    }

    /// Records that the store failed to answer a request made in this epoch, and returns the start
    /// of the outage.
    pub(super) fn note_outage(
        &self,
        epoch: Option<SubscriptionEpoch>,
        now: Timestamp,
    ) -> Timestamp {
        let mut outage = self.outage.lock();
        let since = outage.map_or(now, |outage| outage.since);
        let is_back = self
            .subscription()
            .is_some_and(|latest| Some(latest) != epoch);
        if !is_back {
            *outage = Some(Outage {
                since,
                probed_at: now,
            });
        }
        since
    }

    /// Returns a session in memory whose grace lasts.
    pub(super) fn in_outage(
        &self,
        key: RecordKey,
        since: Timestamp,
        now: Timestamp,
    ) -> Option<Session> {
        let (session, epoch) = self.cached(key, now, |entry| (entry.session, entry.epoch))?;
        let epoch_ended_at = self.gaps.lock().end_of(epoch);
        let since = epoch_ended_at.map_or(since, |ended_at| ended_at.min(since));
        if now.since(since) >= self.grace {
            return None;
        }
        let used = Session {
            seen_at: now,
            ..session
        };
        self.note_use(key, now);
        Some(used)
    }

    /// Returns whether the store is down and the grace for sessions unknown to this gateway lasts.
    pub(super) fn is_within_grace(&self, now: Timestamp) -> bool {
        let Some(outage) = *self.outage.lock() else {
            return false;
        };
        let last_gap = if self.subscription().is_some() {
            None
        } else {
            self.gaps.lock().latest()
        };
        let since = last_gap.map_or(outage.since, |gap| gap.min(outage.since));
        now.since(since) < self.grace
    }
}
