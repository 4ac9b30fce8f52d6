//! A redb database that is reopened after a disk error: redb does nothing more after one until its
//! file is opened again.
//!
//! A full disk fails writes and nothing else. So the file is reopened at once, for the readers;
//! writes are refused for a second before the disk is tried again, so that a burst of writes does
//! not reopen the file over and over.

use crate::store::{Cause, Error, Result};
use crate::telemetry::metrics::StoreTrouble;
use parking_lot::{Mutex, RwLock};
use redb::Database;
use redb::backends::InMemoryBackend;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The pause after a failed write.
const PAUSE: Duration = Duration::from_secs(1);
/// The size of redb's cache: enough for sessions and sign-ins. The default of one gibibyte would
/// hold every held form too.
const CACHE: usize = 32 << 20;

pub(super) struct ReopeningDatabase {
    /// `None` in memory, where no disk can fail.
    file: Option<PathBuf>,
    state: RwLock<OpenDatabase>,
    /// The time of the last failed write, until one succeeds.
    failed_at: Mutex<Option<Instant>>,
}

struct OpenDatabase {
    /// `None` while the file cannot be opened.
    database: Option<Database>,
    /// Counts reopenings, so that one of many failing callers reopens the file.
    generation: u64,
}

/// The effect of a successful transaction.
pub(super) enum Effect<T> {
    Written(T),
    Unchanged(T),
}

impl ReopeningDatabase {
    pub(super) fn file(file: &Path) -> std::result::Result<Self, redb::DatabaseError> {
        Ok(Self::of(
            Database::builder().set_cache_size(CACHE).create(file)?,
            Some(file.to_owned()),
        ))
    }

    pub(super) fn in_memory() -> std::result::Result<Self, redb::DatabaseError> {
        Ok(Self::of(
            Database::builder()
                .set_cache_size(CACHE)
                .create_with_backend(InMemoryBackend::new())?,
            None,
        ))
    }

    fn of(database: Database, file: Option<PathBuf>) -> Self {
        Self {
            file,
            state: RwLock::new(OpenDatabase {
                database: Some(database),
                generation: 0,
            }),
            failed_at: Mutex::new(None),
        }
    }

    /// Reads, and retries once if a concurrent write broke the database.
    pub(super) fn read<T>(&self, work: impl Fn(&Database) -> Result<T>) -> Result<T> {
        let (outcome, generation) = self.attempt(&work);
        if !is_disk_error(&outcome) {
            return outcome;
        }
        self.reopen(generation);
        self.attempt(work).0
    }

    /// Writes, unless the disk refused a write a moment ago.
    pub(super) fn write<T>(&self, work: impl FnOnce(&Database) -> Result<Effect<T>>) -> Result<T> {
        if self
            .failed_at
            .lock()
            .is_some_and(|failed_at| failed_at.elapsed() < PAUSE)
        {
            let reason = "the last write to the store file failed a moment ago";
            return Err(Error::Unreachable(Cause::new(StoreTrouble::Disk, reason)));
        }
        let (outcome, generation) = self.attempt(work);
        if is_disk_error(&outcome) {
            self.note_failure(outcome.as_ref().err());
            self.reopen(generation);
        }
        match outcome? {
            Effect::Written(done) => {
                self.note_success();
                Ok(done)
            }
            Effect::Unchanged(done) => Ok(done),
        }
    }

    /// Returns whether the last write failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failed_at.lock().is_some()
    }

    fn attempt<T>(&self, work: impl FnOnce(&Database) -> Result<T>) -> (Result<T>, u64) {
        let state = self.state.read();
        let closed = || Err(failed(redb::StorageError::DatabaseClosed));
        (
            state.database.as_ref().map_or_else(closed, work),
            state.generation,
        )
    }

    /// Reopens the file, unless another caller has since.
    fn reopen(&self, generation: u64) {
        let Some(file) = &self.file else { return };
        let mut state = self.state.write();
        if state.generation != generation {
            return;
        }
        // The previous handle holds the file's lock.
        state.database = None;
        state.generation += 1;
        match Database::builder().set_cache_size(CACHE).open(file) {
            Ok(database) => state.database = Some(database),
            Err(error) => {
                tracing::error!(target: "store", %error, "cannot reopen the store file yet")
            }
        }
    }

    fn note_failure(&self, error: Option<&Error>) {
        if self.failed_at.lock().replace(Instant::now()).is_none() {
            let error = error.map(|error| error as &dyn std::error::Error);
            tracing::error!(target: "store", error, "cannot write to the store file, retrying every second");
        }
    }

    fn note_success(&self) {
        if self.failed_at.lock().take().is_some() {
            tracing::info!(target: "store", "writing to the store file works again");
        }
    }
}

/// Converts an error of redb to "unreachable", keeping the cause for the log.
pub(super) fn failed(error: impl Into<redb::Error>) -> Error {
    Error::Unreachable(Cause::new(StoreTrouble::Disk, error.into()))
}

/// Returns whether redb refuses all further work after this result.
fn is_disk_error<T>(outcome: &Result<T>) -> bool {
    let Err(Error::Unreachable(cause)) = outcome else {
        return false;
    };
    matches!(
        cause.downcast_ref::<redb::Error>(),
        Some(redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::DatabaseClosed)
    )
}
