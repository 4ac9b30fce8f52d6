//! Bodies that clients are sending, and how long they are waited for.
//!
//! Over HTTP/1.1 nobody reads from a client while the calculator takes no more, so that time is not counted by itself. Over HTTP/2
//! the connection is always read, and a client may be silent because its window is used up: the calculator is slow then. It cannot
//! be while less than half a stream's window has arrived that was not handed on; only then is it blamed.

use super::pace::Pace;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A client's window is renewed at the latest when half of it was handed on.
const HALF_A_WINDOW: u64 = super::build::H2_STREAM_WINDOW as u64 / 2;
/// When it cannot be told who is slow, a connection may be silent this long: longer than the calculator may refuse to take anything.
const LONGEST_STALL: Duration = Duration::from_secs(600);

/// The bodies on one connection: one over HTTP/1.1, any number over HTTP/2.
#[derive(Debug)]
pub(super) struct Uploads {
    under_way: AtomicUsize,
    state: Mutex<State>,
    credit: Duration,
}

#[derive(Debug)]
struct State {
    pace: Pace,
    /// Bytes that arrived, framing included, and were not handed on.
    untaken: u64,
    heard_at: Instant,
}

impl Uploads {
    /// A client has `credit` to begin with, and three times as much at most.
    pub(super) fn new(credit: Duration, now: Instant) -> Self {
        Self { under_way: AtomicUsize::new(0), state: Mutex::new(State::new(credit, now)), credit }
    }

    pub(super) fn begin(&self, now: Instant) {
        let mut state = self.state.lock();
        if self.under_way.fetch_add(1, Ordering::AcqRel) == 0 {
            *state = State::new(self.credit, now);
        }
    }

    pub(super) fn end(&self) {
        self.under_way.fetch_sub(1, Ordering::AcqRel);
    }

    /// The client sent this much.
    pub(super) fn received(&self, bytes: usize) {
        if self.are_none() {
            return;
        }
        let (mut state, now) = (self.state.lock(), Instant::now());
        state.pace.moves(bytes, now);
        state.untaken = state.untaken.saturating_add(bytes as u64);
        state.heard_at = now;
    }

    /// This much of a body was handed on.
    pub(super) fn taken(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.untaken = state.untaken.saturating_sub(bytes as u64);
    }

    /// The client is waited for: until when, if a body is under way.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        if self.are_none() {
            return None;
        }
        let mut state = self.state.lock();
        if state.untaken < HALF_A_WINDOW {
            return Some(state.pace.waits(now));
        }
        state.pace.pauses();
        Some(state.heard_at + LONGEST_STALL)
    }

    /// Whether no body is under way.
    pub(super) fn are_none(&self) -> bool {
        self.under_way.load(Ordering::Acquire) == 0
    }
}

impl State {
    fn new(credit: Duration, now: Instant) -> Self {
        Self { pace: Pace::new(credit, credit.saturating_mul(super::MOST_CREDIT)), untaken: 0, heard_at: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDIT: Duration = Duration::from_secs(20);

    #[test]
    fn a_client_whose_window_may_be_used_up_is_not_blamed() {
        let begun = Instant::now();
        let uploads = Uploads::new(CREDIT, begun);
        assert_eq!(uploads.deadline(begun), None, "no body is under way");
        uploads.begin(begun);
        assert_eq!(uploads.deadline(begun), Some(begun + CREDIT));
        uploads.received(1 << 20);
        assert!(uploads.deadline(begun + CREDIT).is_some_and(|end| end >= begun + LONGEST_STALL));
        uploads.taken(1 << 20);
        let later = begun + 10 * CREDIT;
        assert_eq!(uploads.deadline(later), Some(later + 3 * CREDIT), "what was sent has earned it the most credit there is");
        uploads.end();
        assert_eq!(uploads.deadline(later), None);
    }

    #[test]
    fn each_body_begins_with_the_same_credit() {
        let begun = Instant::now();
        let uploads = Uploads::new(CREDIT, begun);
        for later in [Duration::ZERO, CREDIT, 5 * CREDIT] {
            uploads.begin(begun + later);
            assert_eq!(uploads.deadline(begun + later), Some(begun + later + CREDIT));
            uploads.end();
        }
    }
}
