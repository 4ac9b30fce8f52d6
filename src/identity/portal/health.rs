//! Whether the portal is well: one that fails several times in a row is left alone for a moment.

use crate::telemetry::metrics::PortalCheck;
use std::time::Duration;
use tokio::time::Instant;

/// After so many failures in a row it is left alone for so long.
const FAILURES: u32 = 3;
const REST: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct PortalHealth {
    /// Failures in a row.
    failures: u32,
    /// Whether a fault was reported and no recovery since.
    told: bool,
    rests_until: Option<Instant>,
}

impl PortalHealth {
    pub(super) fn rests(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }

    pub(super) fn note(&mut self, outcome: PortalCheck, now: Instant) {
        match outcome {
            PortalCheck::SignedIn | PortalCheck::Nobody => self.recover(),
            PortalCheck::Unfit => {
                self.failures = 0;
                self.tell("its answers name no broker: portal.vtnr_header is missing, there more than once, or no broker number");
            }
            PortalCheck::Failed => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= FAILURES {
                    self.tell("it gives no answer, or an error");
                    self.rests_until = Some(now + REST);
                }
            }
            // It was not asked, which says nothing of it.
            PortalCheck::NotAsked | PortalCheck::NoRoom => {}
        }
    }

    fn tell(&mut self, what: &'static str) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(target: "portal", what, "portal unavailable");
        }
    }

    fn recover(&mut self) {
        self.failures = 0;
        if std::mem::take(&mut self.told) {
            tracing::info!(target: "portal", "portal recovered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_rest_it_and_a_crowd_does_not() {
        let (mut health, now) = (PortalHealth::default(), Instant::now());
        for outcome in [
            PortalCheck::Failed,
            PortalCheck::Failed,
            PortalCheck::Nobody,
            PortalCheck::Failed,
            PortalCheck::Failed,
        ] {
            health.note(outcome, now);
        }
        for _ in 0..10 {
            health.note(PortalCheck::NoRoom, now);
        }
        assert!(!health.rests(now));
        health.note(PortalCheck::Failed, now);
        assert!(health.rests(now) && !health.rests(now + REST));
    }
}
