//! The brokers and their e-mail addresses, in memory, kept up to date with their source.
//!
//! Answers come from a snapshot that is replaced as a whole. A source that is missing, half-written or wrong in one
//! line never replaces the last good snapshot, and no error quotes a line. The sign-in asks the directory; `app` opens
//! it and reports its reloads.
//!
//! [`BrokerSource`] is the seam for other sources. The operator's CSV file (`csv_file.rs`) is the first.

mod csv_file;
mod error;
mod holders;
mod snapshot;
#[cfg(test)]
mod tests;

pub use self::error::{BadLine, BadLines, DirectoryFault, Error, LineFault};
pub use self::snapshot::{Broker, Snapshot};

use self::csv_file::CsvFile;
use self::holders::Holders;
use crate::config;
use crate::reloadable::{Reloadable, Reloaded, Source, Update};
use domain::email::Email;
use domain::time::Timestamp;
use domain::vtnr::Vtnr;
use std::io;
use std::sync::Arc;

/// Where the brokers come from: a file, a directory server, a database.
///
/// A source reads all brokers at once; [`Directory`] keeps the last good result and compares it with the next. Its
/// methods may block.
trait BrokerSource: Send {
    /// Whether the source may have changed since it was read. Called every `directory.poll`.
    fn is_due(&mut self, now: Timestamp) -> bool;

    /// Reads all brokers, at least one.
    fn read(&mut self) -> Result<BrokerList, Error>;
}

/// All brokers of a source.
#[derive(Debug, Default)]
struct BrokerList {
    /// Each with one address, if any; a broker with several addresses occurs more than once.
    brokers: Vec<(Vtnr, Option<Email>)>,
    /// The brokers' certificates.
    holders: Holders,
}

/// The brokers of the configured source.
pub struct Directory(Arc<Reloadable<Brokers>>);

/// Turns what the source yields into snapshots.
pub(crate) struct Brokers(Box<dyn BrokerSource>);

/// The result of a successful reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The source yields the brokers that are in force.
    Unchanged,
    /// The brokers of the source are in force.
    Swapped {
        brokers: usize,
        added: usize,
        removed: usize,
    },
}

impl Directory {
    /// Reads the configured source for the first time, at `now`.
    ///
    /// # Errors
    /// [`Error`] if it cannot be read or used: without brokers nobody can sign in.
    pub fn open(config: &config::DirectoryConfig, now: Timestamp) -> Result<Self, Error> {
        let mut source = Box::new(CsvFile::new(config));
        let first = Snapshot::new(source.read()?, 1, now);
        let brokers = Reloadable::new(Brokers(source), first, config.poll);
        Ok(Self(Arc::new(brokers)))
    }

    /// The current brokers. A caller who keeps the snapshot sees it unchanged.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.snapshot()
    }

    /// Whether there is a broker with this number now. Asked for each request.
    pub fn knows(&self, vtnr: Vtnr) -> bool {
        self.0.load().find(vtnr).is_some()
    }

    /// Reads the source, at `now`, and puts its brokers in force in one step. Blocks.
    ///
    /// # Errors
    /// [`Error`] says why the previous brokers stay in force.
    pub fn reload(&self, now: Timestamp) -> Result<Reload, Error> {
        self.0.reload(now).outcome
    }

    /// Reloads the brokers whenever their source changes, and at each SIGHUP; never returns.
    ///
    /// # Errors
    /// The signal cannot be received.
    pub(crate) fn keep_up_to_date<C, R>(
        &self,
        clock: C,
        report: R,
    ) -> io::Result<impl Future<Output = ()> + Send + use<C, R>>
    where
        C: Fn() -> Timestamp + Send,
        R: Fn(Reloaded<Brokers>) + Send,
    {
        Arc::clone(&self.0).keep_up_to_date(clock, report)
    }
}

impl Source for Brokers {
    type Value = Snapshot;
    type Report = Reload;
    type Error = Error;

    fn is_due(&mut self, _: &Snapshot, now: Timestamp) -> bool {
        self.0.is_due(now)
    }

    fn read(&mut self, current: &Snapshot, now: Timestamp) -> Result<Update<Self>, Error> {
        let next = Snapshot::new(self.0.read()?, current.generation() + 1, now);
        if next.has_the_brokers_of(current) {
            return Ok(Update {
                value: None,
                report: Reload::Unchanged,
            });
        }
        let report = Reload::Swapped {
            brokers: next.len(),
            added: next.count_missing_in(current),
            removed: current.count_missing_in(&next),
        };
        Ok(Update {
            value: Some(next),
            report,
        })
    }

    fn is_silent(&mut self, error: &Error) -> bool {
        matches!(error, Error::Unusable(_, DirectoryFault::BeingWritten))
    }
}
