//! The embedded engine for a single gateway and for the demo: redb, in one file or in memory.
//!
//! Every change is one write transaction, and redb admits one writer at a time. A sign-in is on
//! disk before it is answered. `database` reopens the file after a disk error, `apply` carries out
//! a change, `letter_queue` is the outbox, `expiry` deletes expired records, and `bodies` keeps the
//! bodies of held forms out of a database in memory.

mod apply;
mod bodies;
mod database;
mod expiry;
mod letter_queue;

use super::engine::{Change, Engine, TxOutcome};
use super::vault::RecordKey;
use super::{Cause, Due, Error, Invalidation, Result, SubscriptionEpoch};
use crate::clock::Clock;
use crate::telemetry::metrics::StoreTrouble;
use apply::{apply, find};
use async_trait::async_trait;
use bodies::Bodies;
use database::{Effect, ReopeningDatabase, failed};
use domain::ids::LetterId;
use letter_queue::{LetterQueue, QUEUE};
use redb::{ReadableDatabase, ReadableTableMetadata, TableDefinition};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, broadcast};

/// When a record expires, in milliseconds since the epoch, and its bytes.
const RECORDS: TableDefinition<'_, &[u8], (u64, &[u8])> = TableDefinition::new("records");
/// When a counter's window ends, and its value.
const COUNTERS: TableDefinition<'_, &[u8], (u64, i64)> = TableDefinition::new("counters");
/// Written to find out whether the disk has room again.
const PINGS: TableDefinition<'_, (), ()> = TableDefinition::new("pings");

/// Limits concurrent operations. Only one can write, and each thread that copied a large record
/// keeps memory for the next.
const MAX_AT_ONCE: usize = 4;

/// Capacity of the broadcast channel; a receiver that lags further behind must clear its cache.
const INVALIDATIONS: usize = 4_096;

/// An engine on redb.
pub struct Embedded {
    database: Arc<ReopeningDatabase>,
    /// Only for a database in memory.
    bodies: Option<Bodies>,
    permits: Semaphore,
    clock: Clock,
    invalidations: broadcast::Sender<Invalidation>,
}

impl Embedded {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// [`Error::Setup`] if it cannot be opened, for instance because another process has it open.
    pub fn open(file: &Path, clock: Clock) -> Result<Self> {
        let setup = |error: redb::DatabaseError| {
            Error::Setup(format!(
                "cannot open the store file {}: {error}",
                file.display()
            ))
        };
        Self::with(ReopeningDatabase::file(file).map_err(setup)?, None, clock)
    }

    /// Creates a store that is lost when the process ends.
    ///
    /// # Errors
    /// [`Error::Setup`] if redb refuses, which is not expected.
    pub fn in_memory(clock: Clock) -> Result<Self> {
        let database =
            ReopeningDatabase::in_memory().map_err(|error| Error::Setup(error.to_string()))?;
        Self::with(database, Some(Bodies::default()), clock)
    }

    fn with(database: ReopeningDatabase, bodies: Option<Bodies>, clock: Clock) -> Result<Self> {
        database.write(|database| {
            let write = database.begin_write().map_err(failed)?;
            write.open_table(RECORDS).map_err(failed)?;
            write.open_table(COUNTERS).map_err(failed)?;
            letter_queue::rebuild_order(&write)?;
            write.commit().map_err(failed).map(Effect::Written)
        })?;
        Ok(Self {
            database: Arc::new(database),
            bodies,
            permits: Semaphore::new(MAX_AT_ONCE),
            clock,
            invalidations: broadcast::channel(INVALIDATIONS).0,
        })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReopeningDatabase) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let unreachable = |error| Error::Unreachable(Cause::new(StoreTrouble::Unreachable, error));
        let _permit = self
            .permits
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
        let wanted = keys.to_vec();
        let now = self.clock.now();
        let found: Vec<_> = self
            .blocking(move |database| {
                database.read(|database| {
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
        let now = self.clock.now();
        let mut work = change.clone();
        let before = self
            .bodies
            .as_ref()
            .map(|bodies| bodies.take_from(&mut work))
            .unwrap_or_default();
        let outcome = self
            .blocking(move |database| {
                database.write(|database| {
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
        match (&self.bodies, &outcome) {
            (Some(bodies), Ok(TxOutcome::Done)) => bodies.forget_deleted(change),
            (Some(bodies), _) => bodies.restore(before),
            (None, _) => {}
        }
        let outcome = outcome?;
        if outcome == TxOutcome::Done {
            for invalidation in &change.announce {
                // Without a receiver there is no cache to invalidate.
                let _ = self.invalidations.send(*invalidation);
            }
        }
        Ok(outcome)
    }

    async fn lease(&self, among: Due, lease: Duration) -> Result<Option<(LetterId, u32)>> {
        let now = self.clock.now();
        self.blocking(move |database| {
            database.write(|database| {
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
        self.blocking(|database| {
            database.read(|database| {
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
        let expired = self
            .blocking(move |database| expiry::delete_expired(database, now))
            .await?;
        // The name of a body is never used again.
        if let Some(bodies) = &self.bodies {
            bodies.forget(
                expired
                    .iter()
                    .filter_map(|name| RecordKey::from_bytes(name)),
            );
        }
        Ok(())
    }

    async fn ping(&self) -> Result<()> {
        self.blocking(|database| {
            let is_failing = database.is_failing();
            database.write(|database| {
                let write = database.begin_write().map_err(failed)?;
                if !is_failing {
                    return write.abort().map_err(failed).map(Effect::Unchanged);
                }
                // Only a write can find out whether there is room again.
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
        self.invalidations.subscribe()
    }

    fn subscription(&self) -> Option<SubscriptionEpoch> {
        Some(SubscriptionEpoch(0))
    }
}
