//! When a WebSocket ends that was opened on the portal's word.

use crate::identity::portal::PortalAnswer;
use domain::session::SessionLimits;
use domain::vtnr::Vtnr;
use std::time::Duration;
use tokio::time::Instant;

/// How often the portal is asked about an open WebSocket, at most.
const PORTAL_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// So long one stays open after the portal's last yes has ceased to count.
const PORTAL_GRACE: Duration = Duration::from_secs(60);

/// The look after one WebSocket that was opened by the portal's word. It ends when the portal says otherwise, when its word has not counted
/// for a while, since nobody could tell then who has signed out, and at the limit of every session.
pub(crate) struct PortalRecheck {
    permitted: Vtnr,
    ends_at: Instant,
    /// When the portal's yes counted last.
    counted_at: Instant,
}

impl PortalRecheck {
    pub(crate) fn begin(permitted: Vtnr, limits: &SessionLimits, now: Instant) -> Self {
        Self {
            permitted,
            ends_at: now + limits.absolute,
            counted_at: now,
        }
    }

    /// When to look next.
    pub(crate) fn next(&self, now: Instant) -> Instant {
        self.ends_at.min(now + PORTAL_CHECK_INTERVAL)
    }

    pub(crate) fn is_at_end(&self, now: Instant) -> bool {
        now >= self.ends_at
    }

    /// Whether it is over with this answer.
    pub(crate) fn ends_with(&mut self, answer: PortalAnswer, now: Instant) -> bool {
        match answer {
            PortalAnswer::SignedIn(vtnr) => {
                self.counted_at = now;
                vtnr != self.permitted
            }
            PortalAnswer::Nobody => true,
            PortalAnswer::Unavailable => now.duration_since(self.counted_at) >= PORTAL_GRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const LIMITS: SessionLimits = SessionLimits {
        idle: MINUTE,
        absolute: Duration::from_secs(3_600),
    };

    fn broker(number: u32) -> Vtnr {
        Vtnr::from_number(601_234_567 + number).expect("nine digits")
    }

    #[test]
    fn a_websocket_ends_when_the_portal_says_otherwise_or_nothing_for_long() {
        let now = Instant::now();
        let mut lookout = PortalRecheck::begin(broker(0), &LIMITS, now);
        assert!(!lookout.ends_with(PortalAnswer::Unavailable, now + MINUTE / 2));
        assert!(!lookout.ends_with(PortalAnswer::SignedIn(broker(0)), now + MINUTE));
        assert!(!lookout.ends_with(
            PortalAnswer::Unavailable,
            now + 2 * MINUTE - PORTAL_CHECK_INTERVAL
        ));
        assert!(lookout.ends_with(PortalAnswer::Unavailable, now + 2 * MINUTE));
        assert!(
            lookout.ends_with(PortalAnswer::Nobody, now)
                && lookout.ends_with(PortalAnswer::SignedIn(broker(1)), now)
        );
    }

    #[test]
    fn a_websocket_ends_at_the_limit_of_every_session_to_the_moment() {
        let now = Instant::now();
        let lookout = PortalRecheck::begin(broker(0), &LIMITS, now);
        let end = now + LIMITS.absolute;
        assert_eq!(
            (
                lookout.next(now),
                lookout.next(end - PORTAL_CHECK_INTERVAL / 2)
            ),
            (now + PORTAL_CHECK_INTERVAL, end)
        );
        assert!(!lookout.is_at_end(end - PORTAL_CHECK_INTERVAL) && lookout.is_at_end(end));
    }
}
