//! The sessions that are in memory: at most a million and some, found by their keys. Where there is no room for a new one, one makes it
//! that was not asked for lately ("second chance": what was asked for since the hand last passed is spared once).
//!
//! It is in shards, each behind a lock of its own, which is held for some dozen instructions. Only `cache.rs` uses it.

use super::super::{RecordKey, SubscriptionEpoch};
use domain::session::Session;
use hashbrown::HashTable;
use parking_lot::{Mutex, MutexGuard};
use std::mem::{replace, take};

const SHARDS: usize = 64;
const MOST_A_SHARD: usize = 16_384;

/// All of them.
pub(super) struct SessionCache(Box<[Mutex<Shard>]>);

/// A session in memory.
pub(super) struct Entry {
    pub(super) session: Session,
    /// In which it was read.
    pub(super) hearing: SubscriptionEpoch,
    /// Whether it was asked for since the hand last passed.
    asked_for: bool,
    key: RecordKey,
}

/// A part of them.
pub(super) struct Shard {
    /// Where each lies, by its key.
    places: HashTable<u32>,
    all: Vec<Entry>,
    /// Where the search for one that can go was left.
    hand: usize,
    most: usize,
    /// Rises whenever anything here is forgotten.
    pub(super) generation: u64,
}

impl SessionCache {
    pub(super) fn new() -> Self {
        Self(
            (0..SHARDS)
                .map(|_| Mutex::new(Shard::new(MOST_A_SHARD)))
                .collect(),
        )
    }

    /// The part that a session with this key belongs to.
    pub(super) fn shard(&self, key: RecordKey) -> Option<MutexGuard<'_, Shard>> {
        // Not the bits by which a table tells its entries apart.
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
            places: HashTable::new(),
            all: Vec::new(),
            hand: 0,
            most,
            generation: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The session with this key, which is asked for.
    pub(super) fn find(&mut self, key: RecordKey) -> Option<&mut Entry> {
        let place = *self
            .places
            .find(key.spread(), |place| is_at(&self.all, *place, key))?;
        let known = self.all.get_mut(place as usize)?;
        known.asked_for = true;
        Some(known)
    }

    /// Keeps a session that is not there yet. That is no use of it: of many that are asked for once, none displaces one in use.
    pub(super) fn insert(&mut self, key: RecordKey, session: Session, hearing: SubscriptionEpoch) {
        let Some(place) = self.room() else { return };
        let known = Entry {
            session,
            hearing,
            asked_for: false,
            key,
        };
        match self.all.get_mut(place as usize) {
            Some(leaving) => {
                let leaving = replace(leaving, known).key;
                if let Ok(its) = self
                    .places
                    .find_entry(leaving.spread(), |its| *its == place)
                {
                    its.remove();
                }
            }
            None => self.all.push(known),
        }
        let Self { places, all, .. } = self;
        places.insert_unique(key.spread(), place, |place| {
            all.get(*place as usize)
                .map_or(0, |known| known.key.spread())
        });
    }

    /// Forgets a session.
    pub(super) fn remove(&mut self, key: RecordKey) {
        // Also if it is not there: it may be about to come.
        self.generation += 1;
        let Self { places, all, .. } = self;
        let Ok(found) = places.find_entry(key.spread(), |place| is_at(all, *place, key)) else {
            return;
        };
        let (place, _) = found.remove();
        all.swap_remove(place as usize);
        // The last one has taken its place.
        let from = all.len();
        let moved = all
            .get(place as usize)
            .and_then(|moved| places.find_mut(moved.key.spread(), |its| *its as usize == from));
        if let Some(its) = moved {
            *its = place;
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self {
            generation: self.generation + 1,
            ..Self::new(self.most)
        };
    }

    /// Forgets those that are not to stay.
    pub(super) fn retain(&mut self, stays: impl Fn(&Session) -> bool) {
        let gone: Vec<_> = self
            .all
            .iter()
            .filter(|known| !stays(&known.session))
            .map(|known| known.key)
            .collect();
        gone.into_iter().for_each(|key| self.remove(key));
    }

    /// A place for one more: behind the last, or where one lies that has to leave.
    fn room(&mut self) -> Option<u32> {
        let place = if self.all.len() < self.most {
            self.all.len()
        } else {
            self.pass_the_hand()?
        };
        u32::try_from(place).ok()
    }

    /// The place of one that was not asked for since the hand was there before; after a whole round, of the one that it began with.
    fn pass_the_hand(&mut self) -> Option<usize> {
        loop {
            let place = if self.hand < self.all.len() {
                self.hand
            } else {
                0
            };
            self.hand = place + 1;
            if !take(&mut self.all.get_mut(place)?.asked_for) {
                return Some(place);
            }
        }
    }
}

fn is_at(all: &[Entry], place: u32, key: RecordKey) -> bool {
    all.get(place as usize)
        .is_some_and(|known| known.key == key)
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

    const HEARING: SubscriptionEpoch = SubscriptionEpoch(1);

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
            shard.insert(key(number), session(number), HEARING);
        }
        shard
    }

    fn held(shard: &mut Shard, among: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let is_held = |number: &u32| {
            shard
                .find(key(*number))
                .is_some_and(|known| known.session.vtnr.number() == *number)
        };
        among.into_iter().filter(is_held).collect()
    }

    #[test]
    fn a_session_takes_56_bytes_and_its_place_in_the_table() {
        assert_eq!(size_of::<Entry>(), 56);
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
            shard.insert(key(new), session(new), HEARING);
            assert_eq!(shard.len(), 100);
        }
    }

    #[test]
    fn where_all_are_in_use_one_goes_nevertheless() {
        let mut shard = holding(0..10, 10);
        assert_eq!(held(&mut shard, 0..10).len(), 10);
        shard.insert(key(10), session(10), HEARING);
        assert_eq!(held(&mut shard, 0..11), (1..11).collect::<Vec<_>>());
    }

    #[test]
    fn a_new_session_outlives_those_that_nobody_asks_for() {
        let mut shard = holding(0..10, 10);
        shard.insert(key(10), session(10), HEARING);
        for new in 11..20 {
            shard.insert(key(new), session(new), HEARING);
        }
        assert_eq!(held(&mut shard, 0..20), (10..20).collect::<Vec<_>>());
    }

    proptest! {
        /// Whatever comes and goes, the sessions that are there are found, and no others.
        #[test]
        fn what_was_kept_is_found_until_it_is_forgotten(steps in prop::collection::vec((0_u32..40, prop::bool::ANY), 0..200)) {
            let (mut shard, mut there) = (Shard::new(64), HashSet::new());
            for (number, comes) in steps {
                if !comes {
                    there.remove(&number);
                    shard.remove(key(number));
                } else if there.insert(number) {
                    shard.insert(key(number), session(number), HEARING);
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
