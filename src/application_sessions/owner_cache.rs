//! Known owners of the calculator's sessions. Owners do not change, so that entries are evicted
//! only for lack of room.

use domain::application_session::ApplicationSessionId;
use domain::vtnr::Vtnr;
use parking_lot::RwLock;
use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// A hash of a session and its owner, keyed so that nobody outside this process can predict it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(u64);

/// Pairs of a session and its owner.
#[derive(Default)]
pub(super) struct OwnerCache {
    hasher: RandomState,
    /// Pairs recorded in the store.
    recorded: RwLock<Halves>,
    /// Pairs set by the calculator, or proven while the store was down: the next use asks the
    /// store.
    provisional: RwLock<Halves>,
}

/// Two generations: when the newer is full, the older is dropped.
#[derive(Default)]
struct Halves([HashSet<Key>; 2]);

impl Halves {
    /// Limits each half. Evicted pairs are looked up in the store again.
    const MAX: usize = 131_072;

    fn contain(&self, key: Key) -> bool {
        self.0.iter().any(|half| half.contains(&key))
    }

    fn insert(&mut self, key: Key) {
        let [newer, older] = &mut self.0;
        if newer.len() >= Self::MAX {
            *older = std::mem::take(newer);
        }
        newer.insert(key);
    }
}

impl OwnerCache {
    pub(super) fn key(&self, id: &ApplicationSessionId<'_>, vtnr: Vtnr) -> Key {
        let mut hasher = self.hasher.build_hasher();
        let mut chunk = [0; 32];
        let mut length = 0;
        hasher.write_u32(vtnr.number());
        id.canonical(|byte| {
            if let Some(place) = chunk.get_mut(length) {
                *place = byte;
            }
            length += 1;
            if length == chunk.len() {
                hasher.write(&chunk);
                length = 0;
            }
        });
        hasher.write(chunk.get(..length).unwrap_or_default());
        Key(hasher.finish())
    }

    pub(super) fn is_recorded(&self, key: Key) -> bool {
        self.recorded.read().contain(key)
    }

    pub(super) fn record(&self, key: Key) {
        self.recorded.write().insert(key);
    }

    pub(super) fn is_provisional(&self, key: Key) -> bool {
        self.provisional.read().contain(key)
    }

    pub(super) fn note_provisionally(&self, key: Key) {
        self.provisional.write().insert(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(number: u32) -> Vtnr {
        Vtnr::from_number(601_234_567 + number).expect("nine digits")
    }

    fn id(value: &str) -> ApplicationSessionId<'_> {
        ApplicationSessionId {
            name: b"JSESSIONID",
            value: value.as_bytes(),
        }
    }

    #[test]
    fn a_session_is_known_for_its_broker_alone_and_in_every_spelling() {
        let memory = OwnerCache::default();
        let long = "x".repeat(200);
        memory.record(memory.key(&id("0A1B"), broker(0)));
        memory.record(memory.key(&id(&long), broker(0)));
        let knows = |value: &str, vtnr| memory.is_recorded(memory.key(&id(value), vtnr));
        assert!(knows("\"0a1%42\"", broker(0)) && knows(&long.to_uppercase(), broker(0)));
        assert!(
            !knows("0A1B", broker(1)) && !knows("0A1", broker(0)) && !knows(&long[1..], broker(0))
        );
        assert!(!memory.is_provisional(memory.key(&id("0A1B"), broker(0))));
    }

    #[test]
    fn the_oldest_are_forgotten_and_memory_stays_bounded() {
        let mut halves = Halves::default();
        for number in 0..3 * Halves::MAX as u64 {
            halves.insert(Key(number));
        }
        assert!(halves.contain(Key(3 * Halves::MAX as u64 - 1)) && !halves.contain(Key(0)));
        assert!(halves.0.iter().map(HashSet::len).sum::<usize>() <= 2 * Halves::MAX);
    }
}
