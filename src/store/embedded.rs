//! The embedded engine: redb, in one file or in memory, for a single gateway and for the demo.
//!
//! One write transaction a change; redb lets one writer in at a time. Sign-ins are on disk when they are answered.

use super::engine::{Change, Committed, Engine, Expect, Tally, TallyMode};
use super::vault::RecordKey;
use super::{Error, Invalidation, Result};
use crate::clock::Clock;
use crate::domain::ids::LetterId;
use crate::domain::time::Timestamp;
use async_trait::async_trait;
use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition, WriteTransaction};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// When a record ends, in milliseconds since the epoch, and its bytes.
const RECORDS: TableDefinition<'_, &[u8], (u64, &[u8])> = TableDefinition::new("records");
/// When a counter's window ends, and its value.
const COUNTERS: TableDefinition<'_, &[u8], (u64, i64)> = TableDefinition::new("counters");
/// When a letter is due, and how often it was leased.
const QUEUE: TableDefinition<'_, u128, (u64, u32)> = TableDefinition::new("queue");

/// Invalidations that a receiver may lag behind before it is told to forget everything.
const INVALIDATIONS: usize = 4_096;

/// redb as an engine.
pub struct Embedded {
    database: Arc<Database>,
    clock: Clock,
    announcements: broadcast::Sender<Invalidation>,
}

impl Embedded {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// [`Error::Setup`] if it cannot be opened, which includes that another process has it open.
    pub fn open(file: &Path, clock: Clock) -> Result<Self> {
        let setup =
            |error: redb::DatabaseError| Error::Setup(format!("the store file {} cannot be opened: {error}", file.display()));
        Self::with(Database::create(file).map_err(setup)?, clock)
    }

    /// A store that is gone when the process ends.
    ///
    /// # Errors
    /// [`Error::Setup`] if redb refuses, which it has no reason to.
    pub fn in_memory(clock: Clock) -> Result<Self> {
        let database = Database::builder().create_with_backend(InMemoryBackend::new());
        Self::with(database.map_err(|error| Error::Setup(error.to_string()))?, clock)
    }

    fn with(database: Database, clock: Clock) -> Result<Self> {
        let write = database.begin_write().map_err(failed)?;
        write.open_table(RECORDS).map_err(failed)?;
        write.open_table(COUNTERS).map_err(failed)?;
        write.open_table(QUEUE).map_err(failed)?;
        write.commit().map_err(failed)?;
        Ok(Self { database: Arc::new(database), clock, announcements: broadcast::channel(INVALIDATIONS).0 })
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Database) -> Result<T> + Send + 'static) -> Result<T> {
        let database = Arc::clone(&self.database);
        tokio::task::spawn_blocking(move || work(&database)).await.map_err(failed)?
    }
}

/// Whatever the file system says, the caller learns that the store does not answer; the cause is kept for the log.
fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Unreachable(Box::new(error))
}

#[async_trait]
impl Engine for Embedded {
    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Vec<u8>>>> {
        let (keys, now) = (keys.to_vec(), self.clock.now());
        self.blocking(move |database| {
            let read = database.begin_read().map_err(failed)?;
            let records = read.open_table(RECORDS).map_err(failed)?;
            keys.iter().map(|key| find(&records, *key, now)).collect()
        })
        .await
    }

    async fn commit(&self, change: &Change) -> Result<Committed> {
        let (now, work) = (self.clock.now(), change.clone());
        let committed = self
            .blocking(move |database| {
                let write = database.begin_write().map_err(failed)?;
                let outcome = apply(&write, &work, now)?;
                match outcome {
                    Committed::Done => write.commit().map_err(failed)?,
                    Committed::Conflict | Committed::Full { .. } => write.abort().map_err(failed)?,
                }
                Ok(outcome)
            })
            .await?;
        if committed == Committed::Done {
            for invalidation in &change.announce {
                // Nobody listening is no failure: there is no cache then.
                let _ = self.announcements.send(*invalidation);
            }
        }
        Ok(committed)
    }

    async fn lease(&self, lease: Duration) -> Result<Option<(LetterId, u32)>> {
        let now = self.clock.now();
        self.blocking(move |database| {
            let write = database.begin_write().map_err(failed)?;
            let leased = lease_first(&mut write.open_table(QUEUE).map_err(failed)?, now, lease)?;
            match leased {
                Some(_) => write.commit().map_err(failed)?,
                None => write.abort().map_err(failed)?,
            }
            Ok(leased)
        })
        .await
    }

    async fn queue_length(&self) -> Result<u64> {
        self.blocking(|database| database.begin_read().map_err(failed)?.open_table(QUEUE).map_err(failed)?.len().map_err(failed))
            .await
    }

    async fn tidy(&self) -> Result<()> {
        let now = self.clock.now().as_millis();
        self.blocking(move |database| {
            let write = database.begin_write().map_err(failed)?;
            write.open_table(RECORDS).map_err(failed)?.retain(|_, (ends, _)| ends > now).map_err(failed)?;
            write.open_table(COUNTERS).map_err(failed)?.retain(|_, (ends, _)| ends > now).map_err(failed)?;
            write.commit().map_err(failed)
        })
        .await
    }

    async fn ping(&self) -> Result<()> {
        self.blocking(|database| database.begin_write().map_err(failed)?.abort().map_err(failed)).await
    }

    fn invalidations(&self) -> broadcast::Receiver<Invalidation> {
        self.announcements.subscribe()
    }

    fn hears_invalidations(&self) -> bool {
        true
    }
}

fn find(
    records: &impl ReadableTable<&'static [u8], (u64, &'static [u8])>,
    key: RecordKey,
    now: Timestamp,
) -> Result<Option<Vec<u8>>> {
    let found = records.get(key.to_bytes().as_slice()).map_err(failed)?;
    Ok(found.and_then(|record| {
        let (ends, bytes) = record.value();
        (ends > now.as_millis()).then(|| bytes.to_vec())
    }))
}

fn apply(write: &WriteTransaction, change: &Change, now: Timestamp) -> Result<Committed> {
    let mut records = write.open_table(RECORDS).map_err(failed)?;
    let mut counters = write.open_table(COUNTERS).map_err(failed)?;
    let mut queue = write.open_table(QUEUE).map_err(failed)?;
    for (key, expected) in &change.expect {
        if !holds(expected, find(&records, *key, now)?) {
            return Ok(Committed::Conflict);
        }
    }
    for (index, tally) in change.tally.iter().enumerate() {
        if let Some(retry_after) = full(&records, &counters, tally, now)? {
            return Ok(Committed::Full { index, retry_after });
        }
    }
    for tally in change.tally.iter().filter(|tally| tally.mode != TallyMode::Check) {
        raise(&mut records, &mut counters, tally, now)?;
    }
    for (key, bytes, lives) in &change.write {
        put(&mut records, *key, bytes, now.plus(*lives))?;
    }
    for key in &change.delete {
        records.remove(key.to_bytes().as_slice()).map_err(failed)?;
    }
    for (letter, due_in) in &change.queue {
        let leased = queue.get(letter.bits()).map_err(failed)?.map_or(0, |entry| entry.value().1);
        queue.insert(letter.bits(), (now.plus(*due_in).as_millis(), leased)).map_err(failed)?;
    }
    for letter in &change.unqueue {
        queue.remove(letter.bits()).map_err(failed)?;
    }
    Ok(Committed::Done)
}

fn holds(expected: &Expect, found: Option<Vec<u8>>) -> bool {
    match expected {
        Expect::Absent => found.is_none(),
        Expect::Present => found.is_some(),
        Expect::Is(bytes) => found.as_ref() == Some(bytes),
    }
}

type Records<'t> = Table<'t, &'static [u8], (u64, &'static [u8])>;
type Counters<'t> = Table<'t, &'static [u8], (u64, i64)>;

/// How long a tally that must have room has none.
fn full(records: &Records<'_>, counters: &Counters<'_>, tally: &Tally, now: Timestamp) -> Result<Option<Duration>> {
    if tally.mode == TallyMode::Count || counted_before(records, tally, now)? {
        return Ok(None);
    }
    let (ends, value) = value(counters, tally, now)?;
    let has_room = value >= 0 && value.saturating_add(tally.amount.into()) <= tally.limit.into();
    Ok((!has_room).then(|| ends.map_or(tally.window, |ends| ends.after(now))))
}

fn raise(records: &mut Records<'_>, counters: &mut Counters<'_>, tally: &Tally, now: Timestamp) -> Result<()> {
    if counted_before(records, tally, now)? {
        return Ok(());
    }
    let (ends, value) = value(counters, tally, now)?;
    let ends = ends.unwrap_or_else(|| now.plus(tally.window));
    if let Some(once) = tally.once {
        put(records, once, b"", ends)?;
    }
    counters
        .insert(tally.counter.to_bytes().as_slice(), (ends.as_millis(), value.saturating_add(tally.amount.into())))
        .map_err(failed)?;
    Ok(())
}

fn counted_before(records: &Records<'_>, tally: &Tally, now: Timestamp) -> Result<bool> {
    tally.once.map_or(Ok(false), |once| Ok(find(records, once, now)?.is_some()))
}

fn value(counters: &Counters<'_>, tally: &Tally, now: Timestamp) -> Result<(Option<Timestamp>, i64)> {
    let found = counters.get(tally.counter.to_bytes().as_slice()).map_err(failed)?;
    let running = found.map(|counter| counter.value()).filter(|(ends, _)| *ends > now.as_millis());
    Ok(running.map_or((None, 0), |(ends, value)| (Some(Timestamp::from_millis(ends)), value)))
}

fn put(records: &mut Records<'_>, key: RecordKey, bytes: &[u8], ends: Timestamp) -> Result<()> {
    records.insert(key.to_bytes().as_slice(), (ends.as_millis(), bytes)).map_err(failed)?;
    Ok(())
}

fn lease_first(queue: &mut Table<'_, u128, (u64, u32)>, now: Timestamp, lease: Duration) -> Result<Option<(LetterId, u32)>> {
    let mut first: Option<(u64, u128, u32)> = None;
    for entry in queue.iter().map_err(failed)? {
        let (id, state) = entry.map_err(failed)?;
        let ((due, leased), id) = (state.value(), id.value());
        if due <= now.as_millis() && first.is_none_or(|(earliest, ..)| due < earliest) {
            first = Some((due, id, leased));
        }
    }
    let Some((_, id, leased)) = first else { return Ok(None) };
    queue.insert(id, (now.plus(lease).as_millis(), leased + 1)).map_err(failed)?;
    Ok(Some((LetterId::from_bits(id), leased + 1)))
}
