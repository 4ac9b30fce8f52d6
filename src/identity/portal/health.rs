//! A circuit breaker for the portal: after several failures in a row, no checks are sent for a moment.

use crate::telemetry::metrics::PortalCheck;
use std::time::Duration;
use tokio::time::Instant;

/// Failures in a row that open the breaker.
const FAILURES: u32 = 3;
/// How long the breaker stays open.
const REST: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct PortalHealth {
    failures: u32,
    /// A fault was logged, and no recovery since.
    reported: bool,
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
                self.report("its answers name no broker: portal.vtnr_header is missing, there more than once, or no broker number");
            }
            PortalCheck::Failed => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= FAILURES {
                    self.report("it gives no answer, or an error");
                    self.rests_until = Some(now + REST);
                }
            }
            // No check was sent, which says nothing about the portal.
            PortalCheck::NotAsked | PortalCheck::NoRoom => {}
        }
    }

    fn report(&mut self, what: &'static str) {
        if !std::mem::replace(&mut self.reported, true) {
            tracing::warn!(target: "portal", what, "portal unavailable");
        }
    }

    fn recover(&mut self) {
        self.failures = 0;
        if std::mem::take(&mut self.reported) {
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
