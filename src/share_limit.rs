//! Limits what is taken of a resource, in total and per holder: connections, requests, bytes.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A resource of a fixed size, of which each holder may take only a share.
#[derive(Debug)]
pub(crate) struct ShareLimit<K> {
    size: usize,
    taken: AtomicUsize,
    /// The amount of each holder; holders of nothing are removed, so that nobody can fill the map.
    holders: Mutex<HashMap<K, usize>>,
}

impl<K: Copy + Eq + Hash> ShareLimit<K> {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            size,
            taken: AtomicUsize::new(0),
            holders: Mutex::default(),
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The amount that is taken in total.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Takes an amount of the whole; false if there is not enough.
    #[must_use]
    pub(crate) fn take(&self, amount: usize) -> bool {
        // Counted first, so that of many at once none takes too much.
        let before = self.taken.fetch_add(amount, Ordering::AcqRel);
        let has_room = before.saturating_add(amount) <= self.size;
        if !has_room {
            self.release(amount);
        }
        has_room
    }

    /// Releases an amount of the whole and returns what remains taken.
    pub(crate) fn release(&self, amount: usize) -> usize {
        self.taken.fetch_sub(amount, Ordering::AcqRel) - amount
    }

    /// Charges an amount to a holder; false if the holder would have more than `share`.
    #[must_use]
    pub(crate) fn charge(&self, holder: K, amount: usize, share: usize) -> bool {
        let mut holders = self.holders.lock();
        let held = holders.get(&holder).copied().unwrap_or(0);
        let has_room = held.saturating_add(amount) <= share;
        if has_room && amount > 0 {
            holders.insert(holder, held + amount);
        }
        has_room
    }

    /// Takes back an amount that was charged to a holder.
    pub(crate) fn discharge(&self, holder: K, amount: usize) {
        let mut holders = self.holders.lock();
        match holders.get_mut(&holder) {
            Some(held) if *held > amount => *held -= amount,
            _ => drop(holders.remove(&holder)),
        }
    }

    /// Whether nothing is taken and nobody is remembered.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.taken() == 0 && self.holders.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_and_each_share_have_an_end_and_what_is_released_is_free() {
        let limit = ShareLimit::new(10);
        assert!(limit.take(6) && limit.take(4) && !limit.take(1));
        assert_eq!(limit.release(4), 6);
        assert!(!limit.take(5) && limit.take(4));
        assert_eq!((limit.release(10), limit.taken()), (0, 0));
        for holder in ["a", "b"] {
            assert!(limit.charge(holder, 2, 3) && !limit.charge(holder, 2, 3));
            assert!(limit.charge(holder, 1, 3) && limit.charge(holder, 0, 3));
            limit.discharge(holder, 1);
            assert!(limit.charge(holder, 1, 3) && !limit.charge(holder, 1, 3));
        }
        limit.discharge("a", 3);
        assert!(!limit.is_empty());
        limit.discharge("b", 3);
        assert!(limit.is_empty());
        assert!(!limit.take(usize::MAX) && !limit.charge("a", usize::MAX, 3));
        assert!(limit.is_empty());
    }

    #[test]
    fn of_many_threads_none_takes_too_much() {
        let limit = ShareLimit::<()>::new(100);
        let taken: usize = std::thread::scope(|scope| {
            let take = || (0..1_000).filter(|_| limit.take(3)).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            let each = threads.into_iter().map(|thread| thread.join());
            each.map(|taken| taken.expect("no panic")).sum()
        });
        assert!(taken <= 33, "{taken} of three each");
        assert_eq!(limit.taken(), taken * 3);
    }
}
