//! The embedded engine: redb, in one file or in memory, for a single gateway and for the demo.
//!
//! One write transaction a change; redb lets one writer in at a time. Sign-ins are on disk when they are answered.

mod bodies;
mod database;

use super::engine::{Change, CounterMode, CounterOp, Engine, Expect, TxOutcome};
use super::vault::RecordKey;
use super::{Cause, Due, Error, Invalidation, Result, SubscriptionEpoch, read_time};
use crate::clock::Clock;
use crate::telemetry::metrics::StoreTrouble;
use async_trait::async_trait;
use bodies::Bodies;
use database::{Effect, ReopeningDatabase, failed};
use domain::ids::LetterId;
use domain::time::Timestamp;
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition,
    Value, WriteTransaction,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, broadcast};

/// When a record ends, in milliseconds since the epoch, and its bytes.
const RECORDS: TableDefinition<'_, &[u8], (u64, &[u8])> = TableDefinition::new("records");
/// When a counter's window ends, and its value.
const COUNTERS: TableDefinition<'_, &[u8], (u64, i64)> = TableDefinition::new("counters");
/// When a letter is due, and how often it was leased.
const QUEUE: TableDefinition<'_, u128, (u64, u32)> = TableDefinition::new("queue");
/// The letters of [`QUEUE`] in the order in which they are due: however many wait, the first is found at once.
const DUE: TableDefinition<'_, (u64, u128), ()> = TableDefinition::new("due");

/// What is written to see whether there is room again.
const PINGS: TableDefinition<'_, (), ()> = TableDefinition::new("pings");

/// RecordTable that are deleted in one transaction; meanwhile sign-ins have to wait.
const TIDIED_AT_ONCE: usize = 1_000;

/// Operations that run at once. Only one can write, and each thread that copied a large record keeps memory for the next.
const MOST_AT_ONCE: usize = 4;

/// Invalidations that a receiver may lag behind before it is told to forget everything.
const INVALIDATIONS: usize = 4_096;

/// redb as an engine.
pub struct Embedded {
    database: Arc<ReopeningDatabase>,
    /// None for a file.
    bodies: Option<Bodies>,
    turns: Semaphore,
    clock: Clock,
    announcements: broadcast::Sender<Invalidation>,
}

impl Embedded {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// [`Error::Setup`] if it cannot be opened, which includes that another process has it open.
    pub fn open(file: &Path, clock: Clock) -> Result<Self> {
        let setup = |error: redb::DatabaseError| {
            Error::Setup(format!(
                "the store file {} cannot be opened: {error}",
                file.display()
            ))
        };
        Self::with(ReopeningDatabase::file(file).map_err(setup)?, None, clock)
    }

    /// A store that is gone when the process ends.
    ///
    /// # Errors
    /// [`Error::Setup`] if redb refuses, which it has no reason to.
    pub fn in_memory(clock: Clock) -> Result<Self> {
        Self::with(
            ReopeningDatabase::in_memory().map_err(|error| Error::Setup(error.to_string()))?,
            Some(Bodies::default()),
            clock,
        )
    }

    fn with(database: ReopeningDatabase, bodies: Option<Bodies>, clock: Clock) -> Result<Self> {
        database.write(|database| {
            let write = database.begin_write().map_err(failed)?;
            write.open_table(RECORDS).map_err(failed)?;
            write.open_table(COUNTERS).map_err(failed)?;
            put_in_order(&write)?;
            write.commit().map_err(failed).map(Effect::Written)
        })?;
        let turns = Semaphore::new(MOST_AT_ONCE);
        Ok(Self {
            database: Arc::new(database),
            bodies,
            turns,
            clock,
            announcements: broadcast::channel(INVALIDATIONS).0,
        })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReopeningDatabase) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let unreachable = |error| Error::Unreachable(Cause::new(StoreTrouble::Unreachable, error));
        let _turn = self
            .turns
            .acquire()
            .await
            .map_err(|error| unreachable(std::io::Error::other(error)))?;
        let database = Arc::clone(&self.database);
        let done = tokio::task::spawn_blocking(move || work(&database)).await;
        done.map_err(|error| unreachable(std::io::Error::other(error)))?
    }
}

#[async_trait]
impl Engine for Embedded {
    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Vec<u8>>>> {
        let (wanted, now) = (keys.to_vec(), self.clock.now());
        let found: Vec<_> = self
            .blocking(move |opened| {
                opened.read(|database| {
                    let read = database.begin_read().map_err(failed)?;
                    let records = read.open_table(RECORDS).map_err(failed)?;
                    wanted
                        .iter()
                        .map(|key| find(&records, *key, now))
                        .collect::<Result<_>>()
                })
            })
            .await?;
        Ok(match &self.bodies {
            Some(bodies) => keys
                .iter()
                .zip(found)
                .map(|(key, read)| bodies.resolve(*key, read))
                .collect(),
            None => found,
        })
    }

    async fn commit(&self, change: &Change) -> Result<TxOutcome> {
        let (now, mut work) = (self.clock.now(), change.clone());
        let before = self
            .bodies
            .as_ref()
            .map(|bodies| bodies.take_from(&mut work))
            .unwrap_or_default();
        let committed = self
            .blocking(move |opened| {
                opened.write(|database| {
                    let write = database.begin_write().map_err(failed)?;
                    match apply(&write, &work, now)? {
                        TxOutcome::Done => write
                            .commit()
                            .map_err(failed)
                            .map(|()| Effect::Written(TxOutcome::Done)),
                        refused => write
                            .abort()
                            .map_err(failed)
                            .map(|()| Effect::Unchanged(refused)),
                    }
                })
            })
            .await;
        match (&self.bodies, &committed) {
            (Some(bodies), Ok(TxOutcome::Done)) => bodies.forget_deleted(change),
            (Some(bodies), _) => bodies.restore(before),
            (None, _) => {}
        }
        let committed = committed?;
        if committed == TxOutcome::Done {
            for invalidation in &change.announce {
                // Nobody listening is no failure: there is no cache then.
                let _ = self.announcements.send(*invalidation);
            }
        }
        Ok(committed)
    }

    async fn lease(&self, among: Due, lease: Duration) -> Result<Option<(LetterId, u32)>> {
        let now = self.clock.now();
        self.blocking(move |opened| {
            opened.write(|database| {
                let write = database.begin_write().map_err(failed)?;
                let leased = LetterQueue::open(&write)?.lease_first(among, now, lease)?;
                match leased {
                    Some(_) => write
                        .commit()
                        .map_err(failed)
                        .map(|()| Effect::Written(leased)),
                    None => write
                        .abort()
                        .map_err(failed)
                        .map(|()| Effect::Unchanged(leased)),
                }
            })
        })
        .await
    }

    async fn queue_length(&self) -> Result<u64> {
        self.blocking(|opened| {
            opened.read(|database| {
                database
                    .begin_read()
                    .map_err(failed)?
                    .open_table(QUEUE)
                    .map_err(failed)?
                    .len()
                    .map_err(failed)
            })
        })
        .await
    }

    async fn tidy(&self) -> Result<()> {
        let now = self.clock.now();
        let ended = self.blocking(move |opened| {
            // Looking keeps nobody waiting; only what has to go is looked for again by the one who may write.
            let (records, counters) = opened.read(|database| {
                let read = database.begin_read().map_err(failed)?;
                let records = read.open_table(RECORDS).map_err(failed)?;
                let counters = read.open_table(COUNTERS).map_err(failed)?;
                Ok((
                    ended(&records, |(ends, _)| ends, now)?,
                    ended(&counters, |(ends, _)| ends, now)?,
                ))
            })?;
            for some in records.chunks(TIDIED_AT_ONCE) {
                opened.write(|database| {
                    delete_ended(database, RECORDS, some, |(ends, _)| ends, now)
                })?;
            }
            for some in counters.chunks(TIDIED_AT_ONCE) {
                opened.write(|database| {
                    delete_ended(database, COUNTERS, some, |(ends, _)| ends, now)
                })?;
            }
            Ok(records)
        });
        let ended = ended.await?;
        // A body's name is never used again.
        self.bodies.iter().for_each(|bodies| {
            bodies.forget(ended.iter().filter_map(|name| RecordKey::from_bytes(name)))
        });
        Ok(())
    }

    async fn ping(&self) -> Result<()> {
        self.blocking(|opened| {
            let is_failing = opened.is_failing();
            opened.write(|database| {
                let write = database.begin_write().map_err(failed)?;
                if !is_failing {
                    return write.abort().map_err(failed).map(Effect::Unchanged);
                }
                // Whether there is room again only a write can tell.
                write
                    .open_table(PINGS)
                    .map_err(failed)?
                    .insert((), ())
                    .map_err(failed)?;
                write.commit().map_err(failed).map(Effect::Written)
            })
        })
        .await
    }

    fn invalidations(&self) -> broadcast::Receiver<Invalidation> {
        self.announcements.subscribe()
    }

    fn subscription(&self) -> Option<SubscriptionEpoch> {
        Some(SubscriptionEpoch(0))
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

fn apply(write: &WriteTransaction, change: &Change, now: Timestamp) -> Result<TxOutcome> {
    let mut records = write.open_table(RECORDS).map_err(failed)?;
    let mut counters = write.open_table(COUNTERS).map_err(failed)?;
    let mut letters = LetterQueue::open(write)?;
    for (key, expected) in &change.expect {
        if !holds(expected, find(&records, *key, now)?) {
            return Ok(TxOutcome::Conflict);
        }
    }
    if let Some((letter, attempt)) = change.leased
        && letters.leased(letter.bits())? != Some(attempt)
    {
        return Ok(TxOutcome::Conflict);
    }
    for (index, op) in change.counters.iter().enumerate() {
        if let Some(retry_after) = full(&records, &counters, op, now)? {
            return Ok(TxOutcome::Full { index, retry_after });
        }
    }
    for op in change
        .counters
        .iter()
        .filter(|op| op.mode != CounterMode::Check)
    {
        raise(&mut records, &mut counters, op, now)?;
    }
    for (key, bytes, lives) in &change.write {
        put(&mut records, *key, bytes, now.plus(*lives))?;
    }
    if let Some((key, time, lives)) = change.advance {
        let before = find(&records, key, now)?.and_then(|bytes| read_time(&bytes));
        if before.is_none_or(|before| time > before) {
            put(
                &mut records,
                key,
                time.as_millis().to_string().as_bytes(),
                now.plus(lives),
            )?;
        }
    }
    for key in &change.delete {
        records.remove(key.to_bytes().as_slice()).map_err(failed)?;
    }
    for (letter, due_in) in &change.queue {
        letters.put(letter.bits(), now.plus(*due_in))?;
    }
    for letter in &change.unqueue {
        letters.remove(letter.bits())?;
    }
    Ok(TxOutcome::Done)
}

fn holds(expected: &Expect, found: Option<Vec<u8>>) -> bool {
    match expected {
        Expect::Absent => found.is_none(),
        Expect::Present => found.is_some(),
        Expect::Is(bytes) => found.as_ref() == Some(bytes),
    }
}

type RecordTable<'t> = Table<'t, &'static [u8], (u64, &'static [u8])>;
type CounterTable<'t> = Table<'t, &'static [u8], (u64, i64)>;

/// How long a counter that must have room has none.
fn full(
    records: &RecordTable<'_>,
    counters: &CounterTable<'_>,
    op: &CounterOp,
    now: Timestamp,
) -> Result<Option<Duration>> {
    if op.mode == CounterMode::Count || counted_before(records, op, now)? {
        return Ok(None);
    }
    let (ends, value) = value(counters, op, now)?;
    let has_room = value >= 0 && value.saturating_add(op.amount.into()) <= op.limit.into();
    Ok((!has_room).then(|| ends.map_or(op.window, |ends| ends.after(now))))
}

fn raise(
    records: &mut RecordTable<'_>,
    counters: &mut CounterTable<'_>,
    op: &CounterOp,
    now: Timestamp,
) -> Result<()> {
    if counted_before(records, op, now)? {
        return Ok(());
    }
    let (ends, value) = value(counters, op, now)?;
    let ends = ends.unwrap_or_else(|| now.plus(op.window));
    if let Some(once) = op.once {
        put(records, once, b"", ends)?;
    }
    counters
        .insert(
            op.counter.to_bytes().as_slice(),
            (ends.as_millis(), value.saturating_add(op.amount.into())),
        )
        .map_err(failed)?;
    Ok(())
}

fn counted_before(records: &RecordTable<'_>, op: &CounterOp, now: Timestamp) -> Result<bool> {
    op.once
        .map_or(Ok(false), |once| Ok(find(records, once, now)?.is_some()))
}

fn value(
    counters: &CounterTable<'_>,
    op: &CounterOp,
    now: Timestamp,
) -> Result<(Option<Timestamp>, i64)> {
    let found = counters
        .get(op.counter.to_bytes().as_slice())
        .map_err(failed)?;
    let running = found
        .map(|counter| counter.value())
        .filter(|(ends, _)| *ends > now.as_millis());
    Ok(running.map_or((None, 0), |(ends, value)| {
        (Some(Timestamp::from_millis(ends)), value)
    }))
}

fn put(records: &mut RecordTable<'_>, key: RecordKey, bytes: &[u8], ends: Timestamp) -> Result<()> {
    records
        .insert(key.to_bytes().as_slice(), (ends.as_millis(), bytes))
        .map_err(failed)?;
    Ok(())
}

/// New letters are looked for behind so many others at most.
const MOST_LOOKED_AT: usize = 1_000;

/// The letters that wait.
struct LetterQueue<'t> {
    queue: Table<'t, u128, (u64, u32)>,
    due: Table<'t, (u64, u128), ()>,
}

impl<'t> LetterQueue<'t> {
    fn open(write: &'t WriteTransaction) -> Result<Self> {
        Ok(Self {
            queue: write.open_table(QUEUE).map_err(failed)?,
            due: write.open_table(DUE).map_err(failed)?,
        })
    }

    /// How often the letter was leased, if it waits.
    fn leased(&self, id: u128) -> Result<Option<u32>> {
        Ok(self
            .queue
            .get(id)
            .map_err(failed)?
            .map(|state| state.value().1))
    }

    /// Has the letter wait until then; it stays as often leased as it was.
    fn put(&mut self, id: u128, due: Timestamp) -> Result<()> {
        let leased = self.remove(id)?;
        self.insert(id, due, leased)
    }

    /// Gives how often the letter was leased.
    fn remove(&mut self, id: u128) -> Result<u32> {
        let Some((due, leased)) = self
            .queue
            .remove(id)
            .map_err(failed)?
            .map(|state| state.value())
        else {
            return Ok(0);
        };
        self.due.remove((due, id)).map_err(failed)?;
        Ok(leased)
    }

    fn insert(&mut self, id: u128, due: Timestamp, leased: u32) -> Result<()> {
        self.queue
            .insert(id, (due.as_millis(), leased))
            .map_err(failed)?;
        self.due.insert((due.as_millis(), id), ()).map_err(failed)?;
        Ok(())
    }

    fn first(&self, among: Due, now: Timestamp) -> Result<Option<u128>> {
        for entry in self
            .due
            .range(..=(now.as_millis(), u128::MAX))
            .map_err(failed)?
            .take(MOST_LOOKED_AT)
        {
            let (_, id) = entry.map_err(failed)?.0.value();
            if among == Due::All || self.leased(id)? == Some(0) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    fn lease_first(
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
}

/// Puts the letters in order anew: a version that kept no order may have had the file meanwhile.
fn put_in_order(write: &WriteTransaction) -> Result<()> {
    let LetterQueue { queue, mut due } = LetterQueue::open(write)?;
    due.retain(|_, ()| false).map_err(failed)?;
    for letter in queue.iter().map_err(failed)? {
        let (id, state) = letter.map_err(failed)?;
        due.insert((state.value().0, id.value()), ())
            .map_err(failed)?;
    }
    Ok(())
}

/// The names in a table that have ended.
fn ended<V: Value + 'static>(
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

/// Deletes those of them that have not been written anew since they were looked at.
fn delete_ended<V: Value + 'static>(
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
            let has_ended = table
                .get(name.as_slice())
                .map_err(failed)?
                .is_some_and(|value| end(value.value()) <= now.as_millis());
            if has_ended {
                table.remove(name.as_slice()).map_err(failed)?;
            }
        }
    }
    write.commit().map_err(failed).map(Effect::Written)
}
