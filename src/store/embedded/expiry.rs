//! Deletes expired records and counters in batches, since redb does not expire them by itself.

use super::database::{Effect, ReopeningDatabase};
use super::{COUNTERS, RECORDS, failed};
use crate::store::Result;
use domain::time::Timestamp;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, Value};

/// Records deleted per transaction; sign-ins wait meanwhile.
const BATCH: usize = 1_000;

/// Deletes all that has expired and returns the names of the records.
pub(super) fn delete_expired(database: &ReopeningDatabase, now: Timestamp) -> Result<Vec<Vec<u8>>> {
    // Scanning blocks nobody. Only the expired entries are looked up again by the writer.
    let (records, counters) = database.read(|database| {
        let read = database.begin_read().map_err(failed)?;
        let records = read.open_table(RECORDS).map_err(failed)?;
        let counters = read.open_table(COUNTERS).map_err(failed)?;
        Ok((
            expired(&records, |(ends, _)| ends, now)?,
            expired(&counters, |(ends, _)| ends, now)?,
        ))
    })?;
    for batch in records.chunks(BATCH) {
        database.write(|database| delete(database, RECORDS, batch, |(ends, _)| ends, now))?;
    }
    for batch in counters.chunks(BATCH) {
        database.write(|database| delete(database, COUNTERS, batch, |(ends, _)| ends, now))?;
    }
    Ok(records)
}

fn expired<V: Value + 'static>(
    table: &impl ReadableTable<&'static [u8], V>,
    end: impl Fn(V::SelfType<'_>) -> u64,
    now: Timestamp,
) -> Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in table.iter().map_err(failed)? {
        let (name, value) = entry.map_err(failed)?;
        if end(value.value()) <= now.as_millis() {
            names.push(name.value().to_vec());
        }
    }
    Ok(names)
}

/// Deletes the named entries, except those rewritten since the scan.
fn delete<V: Value + 'static>(
    database: &Database,
    table: TableDefinition<'_, &'static [u8], V>,
    names: &[Vec<u8>],
    end: impl Fn(V::SelfType<'_>) -> u64,
    now: Timestamp,
) -> Result<Effect<()>> {
    let write = database.begin_write().map_err(failed)?;
    {
        let mut table = write.open_table(table).map_err(failed)?;
        for name in names {
            let has_expired = table
                .get(name.as_slice())
                .map_err(failed)?
                .is_some_and(|value| end(value.value()) <= now.as_millis());
            if has_expired {
                table.remove(name.as_slice()).map_err(failed)?;
            }
        }
    }
    write.commit().map_err(failed).map(Effect::Written)
}
