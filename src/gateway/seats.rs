//! How many requests are served at once. Beyond that they are told to come again in a moment, at once and before anything is done
//! for them: who is not signed in sooner than who is.
//!
//! A broker's WebSocket or stream of events takes no seat: it may last for hours and costs next to nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// For whom a seat is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// Anybody. A quarter of all seats is not for them.
    Anybody,
    /// A broker who is signed in.
    SignedIn,
}

/// All seats.
#[derive(Debug)]
pub(super) struct Seats {
    taken: AtomicUsize,
    all: usize,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat(Arc<Seats>);

impl Seats {
    pub(super) fn new(all: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), all })
    }

    /// A seat, if there is one left.
    pub(super) fn take(self: &Arc<Self>, whom: For) -> Option<Seat> {
        let most = match whom {
            For::Anybody => self.all - self.all / 4,
            For::SignedIn => self.all,
        };
        // Counted first, so that of many at once none takes one too many.
        let seat = Seat(Arc::clone(self));
        let before = self.taken.fetch_add(1, Ordering::AcqRel);
        (before < most).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_is_kept_for_who_is_signed_in() {
        let seats = Seats::new(8);
        let strangers: Vec<_> = (0..8).map_while(|_| seats.take(For::Anybody)).collect();
        assert_eq!(strangers.len(), 6);
        let brokers: Vec<_> = (0..8).map_while(|_| seats.take(For::SignedIn)).collect();
        assert_eq!(brokers.len(), 2);
        drop(strangers);
        assert!(seats.take(For::Anybody).is_some());
        drop(brokers);
        assert_eq!(seats.taken.load(Ordering::SeqCst), 0, "whoever found none has taken none");
    }

    #[test]
    fn a_single_seat_is_for_anybody() {
        let seats = Seats::new(1);
        let seat = seats.take(For::Anybody);
        assert!(seat.is_some() && seats.take(For::SignedIn).is_none());
    }
}
