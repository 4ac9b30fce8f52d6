//! An immutable snapshot of the users file.

use super::hash::Hash;
use super::key::UserKey;
use crate::config::HashCost;
use domain::device::UserTag;
use domain::vtnr::Vtnr;
use std::collections::{HashMap, HashSet};

#[derive(Clone)]
pub struct User {
    /// The broker as whom the user is signed in.
    pub vtnr: Vtnr,
    pub hash: Hash,
}

/// An immutable snapshot of the users file.
pub struct UsersSnapshot {
    users: HashMap<UserKey, User>,
    /// Users as sessions identify them.
    tags: HashSet<(Vtnr, UserTag)>,
    /// Costs of the hashes, sorted.
    costs: Vec<HashCost>,
}

impl UsersSnapshot {
    pub(super) fn new(users: impl Iterator<Item = (UserKey, User)>) -> Self {
        let users: HashMap<_, _> = users.collect();
        let mut costs: Vec<_> = users.values().map(|user| user.hash.cost()).collect();
        costs.sort_unstable();
        let tags = users
            .iter()
            .map(|(key, user)| (user.vtnr, UserTag::of(key.mark())))
            .collect();
        Self { users, tags, costs }
    }

    /// Returns whether the broker has a user with this tag.
    pub(super) fn has(&self, vtnr: Vtnr, user: UserTag) -> bool {
        self.tags.contains(&(vtnr, user))
    }

    /// Finds the user with this key.
    pub fn find(&self, key: &UserKey) -> Option<&User> {
        self.users.get(key)
    }

    pub fn len(&self) -> usize {
        self.users.len()
    }

    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Returns the cost of a comparison for an unknown user key: the cost of one of the users, each equally likely, so that timing
    /// reveals nothing while hashes have different costs. The same `lot` always selects the same cost.
    pub(super) fn cost_of_nobody(&self, lot: u64) -> Option<HashCost> {
        let count = u128::try_from(self.costs.len()).ok()?;
        // A share of the whole, so that a user more or less moves nobody else.
        let at = (u128::from(lot) * count) >> u64::BITS;
        usize::try_from(at)
            .ok()
            .and_then(|at| self.costs.get(at).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_costs_what_somebody_does_and_always_the_same() {
        let hash = |memory: u32| {
            let text = format!(
                "$argon2id$v=19$m={memory},t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
            );
            Hash::parse(&text).unwrap_or_else(|fault| panic!("{fault:?}"))
        };
        let vtnr = Vtnr::parse("60/123/4567").expect("well-formed");
        let user = |nr: u32, memory| {
            (
                UserKey::parse(&format!("user{nr}")).expect("a user key"),
                User {
                    vtnr,
                    hash: hash(memory),
                },
            )
        };
        let snapshot =
            UsersSnapshot::new((0..10).map(|nr| user(nr, if nr < 3 { 64 } else { 128 })));
        let old = (0..1_000u64).filter(|lot| {
            let cost = snapshot
                .cost_of_nobody(lot.wrapping_mul(0x9e37_79b9_7f4a_7c15))
                .expect("there are users");
            cost.memory == 64
        });
        assert!((270..=330).contains(&old.count()), "three of ten are old");
        assert_eq!(snapshot.cost_of_nobody(0).map(|cost| cost.memory), Some(64));
        assert_eq!(
            snapshot.cost_of_nobody(u64::MAX).map(|cost| cost.memory),
            Some(128)
        );
        assert_eq!(
            UsersSnapshot::new(std::iter::empty()).cost_of_nobody(7),
            None
        );
    }
}
