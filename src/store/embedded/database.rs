//! The database, for as long as it can be worked with, and anew when it could not: after one error of the disk redb does nothing more
//! until its file is opened again.
//!
//! A disk that is full fails what is written and nothing else. So the file is opened anew at once, for those who read; and whoever
//! writes is refused for a second before the disk is tried again, so that a crowd of them does not have it opened without end.

use super::super::{Cause, Error, Result};
use crate::telemetry::metrics::StoreTrouble;
use parking_lot::{Mutex, RwLock};
use redb::Database;
use redb::backends::InMemoryBackend;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// From a write that failed to the next that is tried.
const PAUSE: Duration = Duration::from_secs(1);
/// What redb keeps of a file besides the operating system: enough for sessions and sign-ins. By itself it would keep a gibibyte, and with
/// it every form that waits.
const CACHE: usize = 32 << 20;

pub(super) struct ReopeningDatabase {
    /// None for what lies in memory, where no disk can fail.
    file: Option<PathBuf>,
    state: RwLock<OpenDatabase>,
    /// When a write last failed, until one succeeds.
    failed_at: Mutex<Option<Instant>>,
}

struct OpenDatabase {
    /// None while it cannot even be opened.
    database: Option<Database>,
    /// How often it was opened, so that of all who find it broken one opens it.
    generation: u64,
}

/// What a write came to.
pub(super) enum Effect<T> {
    /// It was written.
    Written(T),
    /// There was nothing to write.
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

    /// Reads; once more if somebody else's write has broken it meanwhile.
    pub(super) fn read<T>(&self, work: impl Fn(&Database) -> Result<T>) -> Result<T> {
        let (outcome, generation) = self.attempt(&work);
        if !is_of_the_disk(&outcome) {
            return outcome;
        }
        self.reopen(generation);
        self.attempt(work).0
    }

    /// Writes, unless the disk has just refused to.
    pub(super) fn write<T>(&self, work: impl FnOnce(&Database) -> Result<Effect<T>>) -> Result<T> {
        if self
            .failed_at
            .lock()
            .is_some_and(|failed_at| failed_at.elapsed() < PAUSE)
        {
            let said = "the store's file could not be written to a moment ago";
            return Err(Error::Unreachable(Cause::new(StoreTrouble::Disk, said)));
        }
        let (outcome, generation) = self.attempt(work);
        if is_of_the_disk(&outcome) {
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

    /// Whether the last write failed.
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

    /// Opens the file again, if nobody has since.
    fn reopen(&self, generation: u64) {
        let Some(file) = &self.file else { return };
        let mut state = self.state.write();
        if state.generation != generation {
            return;
        }
        // The former one holds the file's lock.
        state.database = None;
        state.generation += 1;
        match Database::builder().set_cache_size(CACHE).open(file) {
            Ok(database) => state.database = Some(database),
            Err(error) => {
                tracing::error!(target: "store", %error, "the store's file cannot be opened again yet")
            }
        }
    }

    fn note_failure(&self, error: Option<&Error>) {
        if self.failed_at.lock().replace(Instant::now()).is_none() {
            let error = error.map(|error| error as &dyn std::error::Error);
            tracing::error!(target: "store", error, "the store's file cannot be written to; that is tried again every second");
        }
    }

    fn note_success(&self) {
        if self.failed_at.lock().take().is_some() {
            tracing::info!(target: "store", "the store's file can be written to again");
        }
    }
}

/// Whatever the file system says, the caller learns that the store cannot work; the cause is kept for the log.
pub(super) fn failed(error: impl Into<redb::Error>) -> Error {
    Error::Unreachable(Cause::new(StoreTrouble::Disk, error.into()))
}

/// Whether redb does nothing more after this.
fn is_of_the_disk<T>(outcome: &Result<T>) -> bool {
    let Err(Error::Unreachable(cause)) = outcome else {
        return false;
    };
    matches!(
        cause.downcast_ref::<redb::Error>(),
        Some(redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::DatabaseClosed)
    )
}
