//! Bodies of forms, for a database that is gone with the process.
//!
//! redb copies what it keeps, more than once and in pages of a power of two; a body of a mebibyte takes several. So in memory the database
//! knows only that a body is there and when it ends, and the body lies here as it was sealed.

use super::super::vault::RecordKey;
use crate::store::engine::Change;
use crate::store::vault::Kind;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;

/// Bodies that a change is to replace.
pub(super) type Before = Vec<(RecordKey, Option<Bytes>)>;

/// All bodies that the database knows of, by the names of their records.
#[derive(Default)]
pub(super) struct Bodies(Mutex<HashMap<RecordKey, Bytes>>);

impl Bodies {
    /// Takes the bodies out of a change that is about to be applied. What is left in their place says that they are there. Gives what was
    /// there before.
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

    /// The change was not applied: all is as it was before.
    pub(super) fn restore(&self, before: Before) {
        let mut bodies = self.0.lock();
        for (key, body) in before {
            match body {
                Some(body) => bodies.insert(key, body),
                None => bodies.remove(&key),
            };
        }
    }

    /// The change was applied: so much for what it deleted.
    pub(super) fn forget_deleted(&self, change: &Change) {
        self.forget(change.delete.iter().copied());
    }

    /// Forgets the bodies of these records.
    pub(super) fn forget(&self, keys: impl Iterator<Item = RecordKey>) {
        let mut bodies = self.0.lock();
        keys.filter(|key| key.kind() == Kind::FormBody)
            .for_each(|key| drop(bodies.remove(&key)));
    }

    /// What a record holds of which this was read.
    pub(super) fn resolve(&self, key: RecordKey, read: Option<Vec<u8>>) -> Option<Vec<u8>> {
        if key.kind() != Kind::FormBody {
            return read;
        }
        read.and_then(|_| self.0.lock().get(&key).map(|body| body.to_vec()))
    }
}
