//! A broker's session and how long it lives.

use super::device::UserTag;
use super::time::Timestamp;
use super::vtnr::Vtnr;
use std::time::Duration;

/// A signed-in broker, as one browser's session cookie stands for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    pub vtnr: Vtnr,
    /// What the sign-in entitles to.
    pub level: Level,
    /// When the broker signed in; the absolute limit counts from here.
    pub signed_in_at: Timestamp,
    /// When the session was last known to be used; the idle limit counts from here.
    pub seen_at: Timestamp,
}

/// What a session may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Everything, the Antragsversand included.
    Full {
        /// What entitled to it.
        proof: Proof,
    },
    /// Everything but the Antragsversand: no e-mail address was confirmed.
    WithoutSubmission,
}

/// By what a full session was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A TAN that was mailed to the address on file, now or within the 30 days of trust.
    Mailbox,
    /// A user key and its password.
    Password {
        /// Which of the broker's users it is.
        user: UserTag,
    },
    /// A client certificate of a trusted issuer, shown on the very connection.
    Certificate,
    /// The insurer's portal says so of the browser's cookies.
    Portal,
}

/// The limits of a session's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Without a request for this long, a session ends.
    pub idle: Duration,
    /// A session ends this long after the sign-in, whatever happens.
    pub absolute: Duration,
}

/// Whether a session still lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    Alive,
    /// Not used within the idle limit.
    Idle,
    /// Older than the absolute limit.
    TooOld,
}

impl Session {
    /// A session that begins `now`.
    pub fn begin(vtnr: Vtnr, level: Level, now: Timestamp) -> Self {
        Self {
            vtnr,
            level,
            signed_in_at: now,
            seen_at: now,
        }
    }

    /// Judges the session's age at `now`. A limit is over in the very millisecond that it names.
    pub fn liveness(&self, limits: &SessionLimits, now: Timestamp) -> Liveness {
        if now.since(self.signed_in_at) >= limits.absolute {
            Liveness::TooOld
        } else if now.since(self.seen_at) >= limits.idle {
            Liveness::Idle
        } else {
            Liveness::Alive
        }
    }

    /// How much longer the session can live if nothing more is heard of it.
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
