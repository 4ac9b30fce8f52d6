//! Rate limits as part of an atomic step.

use domain::throttle::RateLimitHit;
use std::time::Duration;

/// The counters that an event is checked against and counted in.
#[derive(Clone, Debug, Default)]
pub struct RateLimits {
    /// Counters that must have room and are raised.
    pub take: Vec<RateLimitHit>,
    /// Counters that must have room and are not raised.
    pub check: Vec<RateLimitHit>,
    /// Counters that are raised whether they have room or not.
    pub count: Vec<RateLimitHit>,
}

impl RateLimits {
    /// Limits nothing and counts nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Requires room in these counters and raises them.
    pub fn take(hits: Vec<RateLimitHit>) -> Self {
        Self {
            take: hits,
            ..Self::default()
        }
    }

    /// Requires room in these counters without raising them.
    pub fn check(hits: Vec<RateLimitHit>) -> Self {
        Self {
            check: hits,
            ..Self::default()
        }
    }
}

/// The result of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    Done,
    /// Nothing was written: the record had changed since it was read.
    Conflict,
    /// Nothing was written: a counter has no room.
    OverLimit {
        hit: RateLimitHit,
        /// The time left until the counter's window ends.
        retry_after: Duration,
    },
}
