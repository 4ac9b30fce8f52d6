//! Sessions in memory: about a million at most, found by key. When a shard is full, a new session
//! evicts one that was not used lately ("second chance": a session used since the clock hand last
//! passed it is spared once).
//!
//! The cache is divided into shards, each behind its own lock, which is held for a few dozen
//! instructions.

use crate::store::{RecordKey, SubscriptionEpoch};
use domain::session::Session;
use hashbrown::HashTable;
use parking_lot::{Mutex, MutexGuard};
use std::mem::{replace, take};

const SHARDS: usize = 64;
const MAX_PER_SHARD: usize = 16_384;

/// Sessions by the key of their record.
pub(super) struct SessionCache(Box<[Mutex<Shard>]>);

/// A cached session with its bookkeeping.
pub(super) struct CachedSession {
    pub(super) session: Session,
    /// The subscription epoch in which the session was read.
    pub(super) epoch: SubscriptionEpoch,
    /// Set by a lookup, cleared when the clock hand passes.
    referenced: bool,
    key: RecordKey,
}

/// A part of the cache behind one lock.
pub(super) struct Shard {
    /// Indexes into `entries` by key.
    index: HashTable<u32>,
    entries: Vec<CachedSession>,
    /// Where the next search for an entry to evict begins.
    hand: usize,
    most: usize,
    /// Rises whenever anything is removed.
    pub(super) generation: u64,
}

impl SessionCache {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard::new(MAX_PER_SHARD)));
        Self(shards.collect())
    }

    /// Locks the shard of this key.
    pub(super) fn shard(&self, key: RecordKey) -> Option<MutexGuard<'_, Shard>> {
        // Other bits than those that the shard's table hashes by.
        let number = usize::try_from((key.spread() >> 32) % SHARDS as u64).ok()?;
        self.0.get(number).map(Mutex::lock)
    }

    pub(super) fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.0.iter().map(Mutex::lock)
    }
}

impl Shard {
    fn new(most: usize) -> Self {
        Self {
            index: HashTable::new(),
            entries: Vec::new(),
            hand: 0,
            most,
            generation: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Looks a session up, and marks it as used.
    pub(super) fn get(&mut self, key: RecordKey) -> Option<&mut CachedSession> {
        let place = *self
            .index
            .find(key.spread(), |place| is_at(&self.entries, *place, key))?;
        let entry = self.entries.get_mut(place as usize)?;
        entry.referenced = true;
        Some(entry)
    }

    /// Inserts a session that is not cached yet. Inserting is no use: sessions requested once evict
    /// none that is in use.
    pub(super) fn insert(&mut self, key: RecordKey, session: Session, epoch: SubscriptionEpoch) {
        let Some(place) = self.room() else { return };
        let entry = CachedSession {
            session,
            epoch,
            referenced: false,
            key,
        };
        match self.entries.get_mut(place as usize) {
            Some(evicted) => {
                let evicted = replace(evicted, entry).key;
                if let Ok(indexed) = self
                    .index
                    .find_entry(evicted.spread(), |indexed| *indexed == place)
                {
                    indexed.remove();
                }
            }
            None => self.entries.push(entry),
        }
        let Self { index, entries, .. } = self;
        index.insert_unique(key.spread(), place, |place| {
            entries
                .get(*place as usize)
                .map_or(0, |entry| entry.key.spread())
        });
    }

    /// Removes a session. The generation rises even if the session is not cached: it may be about
    /// to be inserted.
    pub(super) fn remove(&mut self, key: RecordKey) {
        self.generation += 1;
        let Self { index, entries, .. } = self;
        let Ok(found) = index.find_entry(key.spread(), |place| is_at(entries, *place, key)) else {
            return;
        };
        let (place, _) = found.remove();
        entries.swap_remove(place as usize);
        // The last entry has taken the place of the removed one.
        let from = entries.len();
        let moved = entries.get(place as usize).and_then(|moved| {
            index.find_mut(moved.key.spread(), |indexed| *indexed as usize == from)
        });
        if let Some(indexed) = moved {
            *indexed = place;
        }
    }

    /// Removes all sessions of this shard.
    pub(super) fn clear(&mut self) {
        *self = Self {
            generation: self.generation + 1,
            ..Self::new(self.most)
        };
    }

    /// Removes the sessions that do not satisfy `keep`.
    pub(super) fn retain(&mut self, keep: impl Fn(&Session) -> bool) {
        let gone: Vec<_> = self
            .entries
            .iter()
            .filter(|entry| !keep(&entry.session))
            .map(|entry| entry.key)
            .collect();
        gone.into_iter().for_each(|key| self.remove(key));
    }

    /// Returns the place for one more entry: behind the last, or that of the entry to evict.
    fn room(&mut self) -> Option<u32> {
        let place = if self.entries.len() < self.most {
            self.entries.len()
        } else {
            self.evictable()?
        };
        u32::try_from(place).ok()
    }

    /// Moves the hand to the next entry that was not used since it last passed; after a full round,
    /// to the first.
    fn evictable(&mut self) -> Option<usize> {
        loop {
            let place = if self.hand < self.entries.len() {
                self.hand
            } else {
                0
            };
            self.hand = place + 1;
            if !take(&mut self.entries.get_mut(place)?.referenced) {
                return Some(place);
            }
        }
    }
}

fn is_at(entries: &[CachedSession], place: u32, key: RecordKey) -> bool {
    entries
        .get(place as usize)
        .is_some_and(|entry| entry.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Rng;
    use crate::store::Vault;
    use crate::store::vault::Kind;
    use domain::session::Level;
    use domain::time::Timestamp;
    use domain::vtnr::Vtnr;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use std::sync::LazyLock;

    const EPOCH: SubscriptionEpoch = SubscriptionEpoch(1);

    fn key(number: u32) -> RecordKey {
        static VAULT: LazyLock<Vault> = LazyLock::new(|| Vault::new(b"secret", Rng));
        VAULT.name(Kind::Session, &number.to_be_bytes())
    }

    fn session(number: u32) -> Session {
        let vtnr = Vtnr::from_number(number).expect("in range");
        Session::begin(vtnr, Level::WithoutSubmission, Timestamp::from_millis(0))
    }

    fn holding(numbers: impl IntoIterator<Item = u32>, most: usize) -> Shard {
        let mut shard = Shard::new(most);
        for number in numbers {
            shard.insert(key(number), session(number), EPOCH);
        }
        shard
    }

    fn held(shard: &mut Shard, among: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let is_held = |number: &u32| {
            shard
                .get(key(*number))
                .is_some_and(|entry| entry.session.vtnr.number() == *number)
        };
        among.into_iter().filter(is_held).collect()
    }

    #[test]
    fn a_session_takes_56_bytes_and_its_place_in_the_table() {
        assert_eq!(size_of::<CachedSession>(), 56);
    }

    #[test]
    fn where_there_is_no_room_sessions_in_use_stay() {
        let mut shard = holding(0..100, 100);
        let in_use: Vec<u32> = (0..100).step_by(3).collect();
        for new in 100..1_000 {
            assert_eq!(
                held(&mut shard, in_use.iter().copied()),
                in_use,
                "before {new} came"
            );
            shard.insert(key(new), session(new), EPOCH);
            assert_eq!(shard.len(), 100);
        }
    }

    #[test]
    fn where_all_are_in_use_one_goes_nevertheless() {
        let mut shard = holding(0..10, 10);
        assert_eq!(held(&mut shard, 0..10).len(), 10);
        shard.insert(key(10), session(10), EPOCH);
        assert_eq!(held(&mut shard, 0..11), (1..11).collect::<Vec<_>>());
    }

    #[test]
    fn a_new_session_outlives_those_that_nobody_asks_for() {
        let mut shard = holding(0..10, 10);
        shard.insert(key(10), session(10), EPOCH);
        for new in 11..20 {
            shard.insert(key(new), session(new), EPOCH);
        }
        assert_eq!(held(&mut shard, 0..20), (10..20).collect::<Vec<_>>());
    }

    proptest! {
        /// Lookups find exactly the sessions that were inserted and not removed.
        #[test]
        fn what_was_kept_is_found_until_it_is_forgotten(steps in prop::collection::vec((0_u32..40, prop::bool::ANY), 0..200)) {
            let mut shard = Shard::new(64);
            let mut there = HashSet::new();
            for (number, comes) in steps {
                if !comes {
                    there.remove(&number);
                    shard.remove(key(number));
                } else if there.insert(number) {
                    shard.insert(key(number), session(number), EPOCH);
                }
            }
            prop_assert_eq!(&held(&mut shard, 0..40).into_iter().collect::<HashSet<_>>(), &there);
            prop_assert_eq!(shard.len(), there.len());
            shard.retain(|session| session.vtnr.number() % 2 == 0);
            there.retain(|number| number % 2 == 0);
            prop_assert_eq!(&held(&mut shard, 0..40).into_iter().collect::<HashSet<_>>(), &there);
        }
    }
}
