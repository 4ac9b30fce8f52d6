//! How slow a client may be: a credit in time, which is spent while we wait for it and earned by what it sends or takes.

use std::time::{Duration, Instant};

/// A second for every 500 bytes, as Apache's mod_reqtimeout has it: far below what any line carries.
const EARNED_A_BYTE: Duration = Duration::from_millis(2);

/// The most that a client earns for a pause, as a multiple of what it began with (`listen.body_timeout`).
pub(crate) const MAX_CREDIT: u32 = 3;

/// One direction's credit. Only the time counts in which the client is waited for, so that a slow calculator is not its fault.
#[derive(Debug)]
pub(crate) struct MinRate {
    left: Duration,
    most: Duration,
    waiting_since: Option<Instant>,
}

impl MinRate {
    /// Begins with so much credit, and never has more than `most`: the longest silence.
    pub(crate) const fn new(credit: Duration, most: Duration) -> Self {
        Self {
            left: credit,
            most,
            waiting_since: None,
        }
    }

    /// The client is waited for. Gives when its credit will be spent: `now` if it is.
    pub(crate) fn waits(&mut self, now: Instant) -> Instant {
        self.settle(now);
        self.waiting_since = Some(now);
        now + self.left
    }

    /// The client sent or took this much.
    pub(crate) fn moves(&mut self, bytes: usize, now: Instant) {
        self.settle(now);
        let earned = EARNED_A_BYTE.saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.left = self.left.saturating_add(earned).min(self.most);
    }

    /// Whether the client was not waited for and owes nothing: it can earn nothing either then.
    pub(crate) fn is_untouched(&self) -> bool {
        self.waiting_since.is_none() && self.left == self.most
    }

    /// What is waited for now is not the client; nor was it since the last look.
    pub(crate) fn pauses(&mut self) {
        self.waiting_since = None;
    }

    fn settle(&mut self, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.left = self
                .left
                .saturating_sub(now.saturating_duration_since(since));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace() -> (MinRate, Instant) {
        (MinRate::new(20 * SECOND, 60 * SECOND), Instant::now())
    }

    #[test]
    fn a_client_that_says_nothing_has_its_credit_and_no_more() {
        let (mut pace, begun) = pace();
        assert_eq!(pace.waits(begun), begun + 20 * SECOND);
        assert_eq!(pace.waits(begun + 19 * SECOND), begun + 20 * SECOND);
        assert_eq!(pace.waits(begun + 25 * SECOND), begun + 25 * SECOND, "over");
    }

    #[test]
    fn a_byte_now_and_then_does_not_help_and_500_a_second_do() {
        for (bytes, survives) in [
            (1, false),
            (100, false),
            (499, false),
            (500, true),
            (5_000, true),
        ] {
            let (mut pace, begun) = pace();
            let mut alive = true;
            for second in 0..20_000_u32 {
                let now = begun + SECOND * second;
                alive &= pace.waits(now) >= now + SECOND;
                pace.moves(bytes, now + SECOND);
            }
            assert_eq!(alive, survives, "{bytes} bytes a second");
        }
    }

    #[test]
    fn however_much_was_sent_a_silence_has_its_limit() {
        let (mut pace, begun) = pace();
        pace.moves(100 << 20, begun);
        assert_eq!(pace.waits(begun), begun + 60 * SECOND);
    }

    #[test]
    fn what_is_not_waited_for_the_client_costs_it_nothing() {
        let (mut pace, begun) = pace();
        pace.waits(begun);
        pace.moves(0, begun + SECOND);
        assert_eq!(
            pace.waits(begun + 3_600 * SECOND),
            begun + 3_619 * SECOND,
            "the calculator took its time"
        );
        pace.pauses();
        assert_eq!(pace.waits(begun + 7_200 * SECOND), begun + 7_219 * SECOND);
    }
}
