//! One thread's list of connections that anybody may take.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

/// The keys of connections that anybody's request may take, and keys that no connection has yet.
///
/// A key says nothing of whether its connection still stands: where it ended meanwhile, Pingora makes a new one under the same key.
#[derive(Debug)]
pub(crate) struct IdleKeys {
    next: AtomicU64,
    /// By the class of the connection, the one used last at the end.
    idle: Mutex<VecDeque<(u64, u64)>>,
    most: usize,
}

/// Each thread draws its keys from a range of its own, which it never uses up.
const RANGE_BITS: u32 = 48;

impl IdleKeys {
    /// The list of the thread of this number, of at most so many keys.
    pub(crate) fn new(thread: usize, most: usize) -> Self {
        // There are fewer threads than would make ranges overlap.
        let first = ((thread as u64) << RANGE_BITS) + 1;
        Self {
            next: AtomicU64::new(first),
            idle: Mutex::new(VecDeque::with_capacity(most)),
            most,
        }
    }

    /// A key that no connection has.
    pub(crate) fn fresh(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The key of the connection of this class that was used last, or a fresh one.
    pub(crate) fn take(&self, class: u64) -> u64 {
        let mut idle = self.idle.lock();
        let last = idle.iter().rposition(|(theirs, _)| *theirs == class);
        let key = last.and_then(|at| idle.remove(at)).map(|(_, key)| key);
        drop(idle);
        key.unwrap_or_else(|| self.fresh())
    }

    /// Anybody may take this connection. One that nobody has taken for the longest time makes room, as in Pingora's pool.
    pub(crate) fn put(&self, class: u64, key: u64) {
        let mut idle = self.idle.lock();
        if idle.len() >= self.most {
            idle.pop_front();
        }
        idle.push_back((class, key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_connection_used_last_is_taken_first_and_only_by_its_own_class() {
        let keys = IdleKeys::new(0, 9);
        let (first, second, other) = (keys.fresh(), keys.fresh(), keys.fresh());
        keys.put(7, first);
        keys.put(7, second);
        keys.put(8, other);
        assert_eq!([keys.take(7), keys.take(7)], [second, first]);
        let fresh = keys.take(7);
        assert!(
            ![first, second, other].contains(&fresh),
            "none of this class is left"
        );
        assert_eq!(keys.take(8), other);
    }

    #[test]
    fn beyond_the_most_the_one_unused_for_longest_is_forgotten() {
        let keys = IdleKeys::new(0, 2);
        (1001..=1003).for_each(|key| keys.put(7, key));
        assert_eq!([keys.take(7), keys.take(7)], [1003, 1002]);
        assert_ne!(keys.take(7), 1001);
    }

    #[test]
    fn threads_draw_different_keys_and_none_is_pingoras_default() {
        let keys = [IdleKeys::new(0, 1), IdleKeys::new(1, 1)];
        let drawn: BTreeSet<_> = keys
            .iter()
            .flat_map(|keys| (0..100).map(|_| keys.fresh()))
            .collect();
        assert_eq!(drawn.len(), 200);
        assert!(!drawn.contains(&0));
    }

    proptest! {
        /// Whatever is taken and given back in whatever order: no key is in two hands.
        #[test]
        fn no_two_requests_ever_hold_one_key(steps in prop::collection::vec((0..3_u64, any::<bool>(), 0..8_usize), 0..200)) {
            let (keys, mut held) = (IdleKeys::new(0, 4), Vec::new());
            for (class, takes, which) in steps {
                if takes || held.is_empty() {
                    let key = keys.take(class);
                    prop_assert!(held.iter().all(|(_, other)| *other != key));
                    held.push((class, key));
                } else {
                    let (class, key) = held.swap_remove(which % held.len());
                    keys.put(class, key);
                }
            }
        }
    }
}
