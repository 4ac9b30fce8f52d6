//! A broker's session and its lifetime.

use super::device::UserTag;
use super::time::Timestamp;
use super::vtnr::Vtnr;
use std::time::Duration;

/// The session of a signed-in broker in one browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    pub vtnr: Vtnr,
    pub level: Level,
    /// The time of the sign-in, from which the absolute limit counts.
    pub signed_in_at: Timestamp,
    /// The last known use, from which the idle limit counts.
    pub seen_at: Timestamp,
}

/// The rights of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Everything, the Antragsversand included.
    Full { proof: Proof },
    /// Everything but the Antragsversand: no e-mail address was confirmed.
    WithoutSubmission,
}

/// The proof behind a full session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A TAN mailed to the address on file, now or within the 30 days of trust.
    Mailbox,
    /// A user key and its password.
    Password { user: UserTag },
    /// A client certificate of a trusted issuer, on the same connection.
    Certificate,
    /// A sign-in at the insurer's portal, confirmed by the portal for the browser's cookies.
    Portal,
}

/// The lifetime limits of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// The maximum time without a request.
    pub idle: Duration,
    /// The maximum time after the sign-in.
    pub absolute: Duration,
}

/// Whether a session is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    Alive,
    Idle,
    TooOld,
}

impl Session {
    /// Creates a session that begins `now`.
    pub fn begin(vtnr: Vtnr, level: Level, now: Timestamp) -> Self {
        Self {
            vtnr,
            level,
            signed_in_at: now,
            seen_at: now,
        }
    }

    /// Checks the session's age at `now`. A session whose age equals a limit has expired.
    pub fn liveness(&self, limits: &SessionLimits, now: Timestamp) -> Liveness {
        if now.since(self.signed_in_at) >= limits.absolute {
            Liveness::TooOld
        } else if now.since(self.seen_at) >= limits.idle {
            Liveness::Idle
        } else {
            Liveness::Alive
        }
    }

    /// Returns the remaining lifetime if the session is not used again.
    pub fn remaining(&self, limits: &SessionLimits, now: Timestamp) -> Duration {
        let idle = self.seen_at.plus(limits.idle).after(now);
        let absolute = self.signed_in_at.plus(limits.absolute).after(now);
        idle.min(absolute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SessionLimits = SessionLimits {
        idle: Duration::from_secs(3_600),
        absolute: Duration::from_secs(43_200),
    };

    fn session(signed_in: u64, seen: u64) -> Session {
        Session {
            vtnr: Vtnr::parse("60/123/4567").expect("well-formed"),
            level: Level::WithoutSubmission,
            signed_in_at: Timestamp::from_millis(signed_in),
            seen_at: Timestamp::from_millis(seen),
        }
    }

    #[test]
    fn that_a_session_knows_its_user_makes_it_no_larger() {
        assert_eq!(size_of::<Session>(), 24);
    }

    #[test]
    fn a_session_ends_at_its_limits_to_the_millisecond() {
        let cases = [
            (0, 0, 0, Liveness::Alive),
            (0, 0, 3_599_999, Liveness::Alive),
            (0, 0, 3_600_000, Liveness::Idle),
            (0, 43_000_000, 43_199_999, Liveness::Alive),
            (0, 43_199_999, 43_200_000, Liveness::TooOld),
            (5_000, 5_000, 1_000, Liveness::Alive),
        ];
        for (signed_in, seen, now, expected) in cases {
            assert_eq!(
                session(signed_in, seen).liveness(&LIMITS, Timestamp::from_millis(now)),
                expected,
                "{now}"
            );
        }
    }

    #[test]
    fn what_remains_is_the_nearer_limit() {
        assert_eq!(
            session(0, 0).remaining(&LIMITS, Timestamp::from_millis(600_000)),
            Duration::from_secs(3_000)
        );
        assert_eq!(
            session(0, 43_000_000).remaining(&LIMITS, Timestamp::from_millis(43_100_000)),
            Duration::from_secs(100)
        );
        assert_eq!(
            session(0, 0).remaining(&LIMITS, Timestamp::from_millis(99_000_000)),
            Duration::ZERO
        );
    }
}
