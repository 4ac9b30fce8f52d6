//! Bodies of held forms, for a database in memory.
//!
//! redb copies values more than once, into pages of a power of two, so that a body of one mebibyte
//! takes several. Therefore the database in memory holds only an empty record with its expiry, and
//! the sealed body is kept here.

use crate::store::engine::Change;
use crate::store::vault::Kind;
use crate::store::vault::RecordKey;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;

/// The bodies replaced by a change, to be restored if it fails.
pub(super) type Before = Vec<(RecordKey, Option<Bytes>)>;

/// Bodies by the names of their records.
#[derive(Default)]
pub(super) struct Bodies(Mutex<HashMap<RecordKey, Bytes>>);

impl Bodies {
    /// Moves the bodies out of a change that is about to be applied, leaving empty records in it,
    /// and returns the replaced ones.
    pub(super) fn take_from(&self, change: &mut Change) -> Before {
        let mut bodies = self.0.lock();
        let written = change
            .write
            .iter_mut()
            .filter(|(key, ..)| key.kind() == Kind::FormBody);
        written
            .map(|(key, bytes, _)| (*key, bodies.insert(*key, std::mem::take(bytes))))
            .collect()
    }

    /// Undoes [`Bodies::take_from`] after a change that was not applied.
    pub(super) fn restore(&self, before: Before) {
        let mut bodies = self.0.lock();
        for (key, body) in before {
            match body {
                Some(body) => bodies.insert(key, body),
                None => bodies.remove(&key),
            };
        }
    }

    /// Drops the bodies deleted by a change that was applied.
    pub(super) fn forget_deleted(&self, change: &Change) {
        self.forget(change.delete.iter().copied());
    }

    /// Drops the bodies of these records.
    pub(super) fn forget(&self, keys: impl Iterator<Item = RecordKey>) {
        let mut bodies = self.0.lock();
        keys.filter(|key| key.kind() == Kind::FormBody)
            .for_each(|key| drop(bodies.remove(&key)));
    }

    /// Returns a record's content, given what the database holds of it.
    pub(super) fn resolve(&self, key: RecordKey, read: Option<Vec<u8>>) -> Option<Vec<u8>> {
        if key.kind() != Kind::FormBody {
            return read;
        }
        read.and_then(|_| self.0.lock().get(&key).map(|body| body.to_vec()))
    }
}
