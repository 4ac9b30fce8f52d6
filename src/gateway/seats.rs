//! How many requests are served at once. Beyond that they are told to come again in a moment.
//!
//! Three quarters of all seats are for brokers who are signed in, a quarter for everybody else: so neither a calculator that hangs nor a
//! crowd of strangers keeps the others out. A broker's WebSocket or stream of events takes no seat: it may last for hours and
//! costs next to nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// For whom a seat is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// Anybody who is not signed in, and our own pages.
    Anybody,
    /// A broker who is signed in.
    SignedIn,
}

/// All seats.
#[derive(Debug)]
pub(super) struct Seats {
    anybody: Arc<Row>,
    signed_in: Arc<Row>,
}

#[derive(Debug)]
struct Row {
    taken: AtomicUsize,
    seats: usize,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat(Arc<Row>);

impl Seats {
    pub(super) fn new(all: usize) -> Self {
        let row = |seats: usize| Arc::new(Row { taken: AtomicUsize::new(0), seats: seats.max(1) });
        Self { anybody: row(all / 4), signed_in: row(all - all / 4) }
    }

    /// A seat, if there is one left.
    pub(super) fn take(&self, whom: For) -> Option<Seat> {
        let row = match whom {
            For::Anybody => &self.anybody,
            For::SignedIn => &self.signed_in,
        };
        // Counted first, so that of many at once none takes one too many.
        let seat = Seat(Arc::clone(row));
        let before = row.taken.fetch_add(1, Ordering::AcqRel);
        (before < row.seats).then_some(seat)
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
    fn neither_takes_the_others_seats_and_what_is_left_is_free() {
        let seats = Seats::new(8);
        for _ in 0..2 {
            let strangers: Vec<_> = (0..9).map_while(|_| seats.take(For::Anybody)).collect();
            let brokers: Vec<_> = (0..9).map_while(|_| seats.take(For::SignedIn)).collect();
            assert_eq!((strangers.len(), brokers.len()), (2, 6));
        }
        assert_eq!(seats.anybody.taken.load(Ordering::SeqCst), 0, "whoever found none has taken none");
    }

    #[test]
    fn there_is_one_for_each_at_least() {
        let seats = Seats::new(1);
        assert!(seats.take(For::Anybody).is_some() && seats.take(For::SignedIn).is_some());
    }
}
