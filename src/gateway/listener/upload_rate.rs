//! Bodies that clients are sending, and how long they are waited for.
//!
//! Over HTTP/1.1 nobody reads from a client while the calculator takes no more, so that time is not counted by itself. Over HTTP/2
//! the connection is always read, and a client may be silent because its window is used up: the calculator is slow then. It cannot
//! be while less than half a stream's window has arrived that was not handed on; only then is it blamed. Framing counts as arrived
//! and is never handed on, so that a client can make it look so; then the bodies have to move for it to be believed.

use crate::gateway::listener::min_rate::MinRate;
use http::Version;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The flow-control window of one HTTP/2 stream, in bytes. With the default of 64 KiB a distant client waits for the round trip, not
/// for the line.
pub(crate) const H2_STREAM_WINDOW: u32 = 1 << 20;
/// A client's window is renewed at the latest when half of it was handed on.
const HALF_A_WINDOW: u64 = H2_STREAM_WINDOW as u64 / 2;
/// When it cannot be told who is slow, half a window must be handed on in this time: it is longer than the calculator may refuse to
/// take anything.
const LONGEST_STALL: Duration = Duration::from_secs(600);

/// The bodies on one connection: one over HTTP/1.1, any number over HTTP/2.
#[derive(Debug)]
pub(crate) struct UploadRate {
    under_way: AtomicUsize,
    state: Mutex<UploadState>,
    credit: Duration,
}

#[derive(Debug)]
struct UploadState {
    pace: MinRate,
    /// What a client's window may hold; none over HTTP/1.1.
    window: Option<Window>,
}

/// What may wait to be handed on.
#[derive(Debug)]
struct Window {
    /// Bytes that arrived, framing included, and were not handed on.
    untaken: u64,
    /// Since when it may be the calculator that is slow, and how much it took since then.
    doubted_since: Instant,
    taken: u64,
}

impl UploadRate {
    /// A client has `credit` to begin with, and three times as much at most.
    pub(crate) fn new(credit: Duration, now: Instant) -> Self {
        let state = Mutex::new(UploadState::new(Version::HTTP_11, credit, now));
        Self {
            under_way: AtomicUsize::new(0),
            state,
            credit,
        }
    }

    pub(crate) fn begin(&self, version: Version, now: Instant) {
        let mut state = self.state.lock();
        if self.under_way.fetch_add(1, Ordering::AcqRel) == 0 {
            *state = UploadState::new(version, self.credit, now);
        }
    }

    pub(crate) fn end(&self) {
        self.under_way.fetch_sub(1, Ordering::AcqRel);
    }

    /// The client sent this much.
    pub(crate) fn received(&self, bytes: usize) {
        if !self.are_none() {
            self.state.lock().receive(bytes, Instant::now());
        }
    }

    /// Counts bytes of a body that were handed on.
    pub(crate) fn taken(&self, bytes: usize) {
        if let Some(window) = &mut self.state.lock().window {
            window.take(bytes, Instant::now());
        }
    }

    /// The client is waited for: until when, if a body is under way.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        (!self.are_none()).then(|| self.state.lock().deadline(now))
    }

    /// Whether no body is under way.
    pub(crate) fn are_none(&self) -> bool {
        self.under_way.load(Ordering::Acquire) == 0
    }
}

impl UploadState {
    fn new(version: Version, credit: Duration, now: Instant) -> Self {
        let pace = MinRate::new(
            credit,
            credit.saturating_mul(crate::gateway::listener::min_rate::MAX_CREDIT),
        );
        let window = (version == Version::HTTP_2).then_some(Window {
            untaken: 0,
            doubted_since: now,
            taken: 0,
        });
        Self { pace, window }
    }

    fn receive(&mut self, bytes: usize, now: Instant) {
        self.pace.moves(bytes, now);
        if let Some(window) = &mut self.window {
            window.receive(bytes, now);
        }
    }

    fn deadline(&mut self, now: Instant) -> Instant {
        match &self.window {
            Some(window) if window.may_be_used_up() => {
                self.pace.pauses();
                window.doubted_since + LONGEST_STALL
            }
            _ => self.pace.waits(now),
        }
    }
}

impl Window {
    fn receive(&mut self, bytes: usize, now: Instant) {
        let was_used_up = self.may_be_used_up();
        self.untaken = self.untaken.saturating_add(bytes as u64);
        if !was_used_up {
            (self.doubted_since, self.taken) = (now, 0);
        }
    }

    fn take(&mut self, bytes: usize, now: Instant) {
        self.untaken = self.untaken.saturating_sub(bytes as u64);
        self.taken = self.taken.saturating_add(bytes as u64);
        if self.taken >= HALF_A_WINDOW {
            (self.doubted_since, self.taken) = (now, 0);
        }
    }

    fn may_be_used_up(&self) -> bool {
        self.untaken >= HALF_A_WINDOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDIT: Duration = Duration::from_secs(20);

    /// A connection on which a body is under way, as its clock stands at zero.
    fn state(version: Version) -> (UploadState, Instant) {
        let begun = Instant::now();
        (UploadState::new(version, CREDIT, begun), begun)
    }

    #[test]
    fn a_client_whose_window_may_be_used_up_is_not_blamed() {
        let begun = Instant::now();
        let upload_rate = UploadRate::new(CREDIT, begun);
        assert_eq!(upload_rate.deadline(begun), None, "no body is under way");
        upload_rate.begin(Version::HTTP_2, begun);
        assert_eq!(upload_rate.deadline(begun), Some(begun + CREDIT));
        upload_rate.received(1 << 20);
        assert!(
            upload_rate
                .deadline(begun + CREDIT)
                .is_some_and(|end| end >= begun + LONGEST_STALL)
        );
        upload_rate.taken(1 << 20);
        let later = begun + 10 * CREDIT;
        assert_eq!(
            upload_rate.deadline(later),
            Some(later + 3 * CREDIT),
            "what was sent has earned it the most credit there is"
        );
        upload_rate.end();
        assert_eq!(upload_rate.deadline(later), None);
    }

    #[test]
    fn over_http1_framing_never_makes_the_calculator_look_slow() {
        let (mut state, begun) = state(Version::HTTP_11);
        state.receive(100 << 20, begun);
        assert_eq!(state.deadline(begun), begun + 3 * CREDIT);
        state.receive(6, begun + CREDIT);
        assert!(
            state.deadline(begun + CREDIT) < begun + 3 * CREDIT + CREDIT,
            "a byte earns two thousandths of a second"
        );
    }

    #[test]
    fn over_http2_bytes_in_a_trickle_do_not_renew_a_stall_that_framing_feigns() {
        let (mut state, begun) = state(Version::HTTP_2);
        let send_a_byte = |state: &mut UploadState, now| {
            state.receive(31, now);
            state.window.as_mut().expect("over HTTP/2").take(1, now);
        };
        for _ in 0..20_000 {
            send_a_byte(&mut state, begun);
        }
        let end = state.deadline(begun);
        assert_eq!(end, begun + LONGEST_STALL);
        for seconds in [1, 100, 599] {
            let now = begun + Duration::from_secs(seconds);
            send_a_byte(&mut state, now);
            assert_eq!(state.deadline(now), end, "after {seconds} s");
        }
    }

    #[test]
    fn a_calculator_that_takes_half_a_window_now_and_then_may_go_on_so() {
        let (mut state, begun) = state(Version::HTTP_2);
        state.receive(4 << 20, begun);
        for minutes in [9, 18, 27] {
            let now = begun + Duration::from_secs(60 * minutes);
            assert!(state.deadline(now) > now);
            state
                .window
                .as_mut()
                .expect("over HTTP/2")
                .take(1 << 19, now);
            assert_eq!(
                state.deadline(now),
                now + LONGEST_STALL,
                "after {minutes} minutes"
            );
        }
    }

    #[test]
    fn each_body_begins_with_the_same_credit() {
        let begun = Instant::now();
        let upload_rate = UploadRate::new(CREDIT, begun);
        for later in [Duration::ZERO, CREDIT, 5 * CREDIT] {
            upload_rate.begin(Version::HTTP_2, begun + later);
            assert_eq!(
                upload_rate.deadline(begun + later),
                Some(begun + later + CREDIT)
            );
            upload_rate.end();
        }
    }
}
