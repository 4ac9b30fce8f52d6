//! The outbox's queue, in the order in which letters fall due.

use super::failed;
use crate::store::{Due, Result};
use domain::ids::LetterId;
use domain::time::Timestamp;
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use std::time::Duration;

/// When a letter is due, and how often it was leased.
pub(super) const QUEUE: TableDefinition<'_, u128, (u64, u32)> = TableDefinition::new("queue");
/// An index of [`QUEUE`] by due time: the first letter is found at once, however many wait.
const DUE: TableDefinition<'_, (u64, u128), ()> = TableDefinition::new("due");

/// Limits how many leased letters are scanned to find a new one behind them.
const MAX_SCANNED: usize = 1_000;

/// Queued letters within a write transaction.
pub(super) struct LetterQueue<'t> {
    queue: Table<'t, u128, (u64, u32)>,
    due: Table<'t, (u64, u128), ()>,
}

impl<'t> LetterQueue<'t> {
    pub(super) fn open(write: &'t WriteTransaction) -> Result<Self> {
        Ok(Self {
            queue: write.open_table(QUEUE).map_err(failed)?,
            due: write.open_table(DUE).map_err(failed)?,
        })
    }

    /// Returns how often a queued letter was leased.
    pub(super) fn leased(&self, id: u128) -> Result<Option<u32>> {
        let found = self.queue.get(id).map_err(failed)?;
        Ok(found.map(|state| state.value().1))
    }

    /// Queues a letter until it is due, keeping its number of leases.
    pub(super) fn put(&mut self, id: u128, due: Timestamp) -> Result<()> {
        let leased = self.remove(id)?;
        self.insert(id, due, leased)
    }

    /// Removes a letter and returns how often it was leased.
    pub(super) fn remove(&mut self, id: u128) -> Result<u32> {
        let removed = self.queue.remove(id).map_err(failed)?;
        let Some((due, leased)) = removed.map(|state| state.value()) else {
            return Ok(0);
        };
        self.due.remove((due, id)).map_err(failed)?;
        Ok(leased)
    }

    /// Leases the first letter that is due, and returns it with its number of leases.
    pub(super) fn lease_first(
        &mut self,
        among: Due,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Option<(LetterId, u32)>> {
        let Some(id) = self.first(among, now)? else {
            return Ok(None);
        };
        let leased = self.remove(id)? + 1;
        self.insert(id, now.plus(lease), leased)?;
        Ok(Some((LetterId::from_bits(id), leased)))
    }

    fn first(&self, among: Due, now: Timestamp) -> Result<Option<u128>> {
        let until_now = ..=(now.as_millis(), u128::MAX);
        let due = self.due.range(until_now).map_err(failed)?;
        for entry in due.take(MAX_SCANNED) {
            let (_, id) = entry.map_err(failed)?.0.value();
            if among == Due::All || self.leased(id)? == Some(0) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    fn insert(&mut self, id: u128, due: Timestamp, leased: u32) -> Result<()> {
        self.queue
            .insert(id, (due.as_millis(), leased))
            .map_err(failed)?;
        self.due.insert((due.as_millis(), id), ()).map_err(failed)?;
        Ok(())
    }
}

/// Rebuilds the index by due time: a version without it may have written the file meanwhile.
pub(super) fn rebuild_order(write: &WriteTransaction) -> Result<()> {
    let LetterQueue { queue, mut due } = LetterQueue::open(write)?;
    due.retain(|_, ()| false).map_err(failed)?;
    for letter in queue.iter().map_err(failed)? {
        let (id, state) = letter.map_err(failed)?;
        due.insert((state.value().0, id.value()), ())
            .map_err(failed)?;
    }
    Ok(())
}
