//! Who is a broker, and under which e-mail addresses: the operator's CSV file, reloaded when it changes.
//!
//! Answers come from memory, from a snapshot that is replaced as a whole: a file that is missing, half-written
//! or wrong in one line never takes the place of the last good one, and no error repeats what a line holds.
//! The sign-in asks it; `app` opens it and owns the watch.

mod error;
mod holders;
mod parse;
mod snapshot;
#[cfg(test)]
mod tests;

pub use self::error::{BadLine, BadLines, DirectoryFault, Error, LineFault};
pub use self::snapshot::{Broker, Snapshot};

use crate::config;
use crate::digest::sha256;
use crate::fingerprint::{ChangeDetector, FileFingerprint};
use arc_swap::ArcSwap;
use domain::time::Timestamp;
use domain::vtnr::Vtnr;
use parking_lot::Mutex;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// The brokers of a CSV file.
pub struct Directory {
    file: PathBuf,
    poll: Duration,
    certificates: Option<config::CertificateColumns>,
    current: ArcSwap<Snapshot>,
    /// With the SHA-256 of what is in force. Held over a whole reload, so that two of them cannot overtake each other.
    watch: Mutex<(ChangeDetector, [u8; 32])>,
}

/// What became of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The file holds what is in force already.
    Unchanged,
    /// The brokers of the file are in force.
    Swapped {
        /// How many there are.
        brokers: usize,
        /// How many of them were not there before.
        added: usize,
        /// How many were there before.
        removed: usize,
    },
}

impl Directory {
    /// Reads the file for the first time, at `now`.
    ///
    /// # Errors
    /// [`Error`] if it cannot be read or used: without brokers nobody can sign in.
    pub fn open(config: &config::DirectoryConfig, now: Timestamp) -> Result<Self, Error> {
        let content = read(&config.file)?;
        let read = parse::content(&content.bytes, config.certificates.as_ref());
        let brokers = read.map_err(|fault| Error::Unusable(config.file.clone(), fault))?;
        let watch = (ChangeDetector::begin(content.stamp), sha256(&content.bytes));
        Ok(Self {
            file: config.file.clone(),
            poll: config.poll,
            certificates: config.certificates.clone(),
            current: ArcSwap::from_pointee(Snapshot::new(brokers, 1, now)),
            watch: Mutex::new(watch),
        })
    }

    /// The brokers as they are now. Who holds on to it sees them unchanged.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Whether there is a broker with this number now. It is asked for each request.
    pub fn knows(&self, vtnr: Vtnr) -> bool {
        self.current.load().find(vtnr).is_some()
    }

    /// Reads the file, at `now`, and puts its brokers in force in one step. It blocks while it reads.
    ///
    /// # Errors
    /// [`Error`] says why the old brokers stay in force.
    pub fn reload(&self, now: Timestamp) -> Result<Reload, Error> {
        self.judge(&mut self.watch.lock(), now)
    }

    /// Looks at the file every `directory.poll` and reloads it when it changed; never returns. `on_event` is told
    /// what became of each change, once.
    pub async fn watch(
        self: Arc<Self>,
        clock: impl Fn() -> Timestamp + Send,
        on_event: impl Fn(Result<Reload, Error>) + Send,
    ) {
        let mut ticks = tokio::time::interval(self.poll);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let directory = Arc::clone(&self);
            let now = clock();
            match tokio::task::spawn_blocking(move || directory.look(now)).await {
                Ok(Some(outcome)) => on_event(outcome),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, "reading the directory file was aborted")
                }
            }
        }
    }

    /// One look: reloads the file if it changed and may be read.
    fn look(&self, now: Timestamp) -> Option<Result<Reload, Error>> {
        let mut watch = self.watch.lock();
        if !watch.0.poll(&self.file, self.poll, now) {
            return None;
        }
        match self.judge(&mut watch, now) {
            // Somebody is at it; the next look sees another stamp.
            Err(Error::Unusable(_, DirectoryFault::BeingWritten)) => None,
            outcome => Some(outcome),
        }
    }

    fn judge(
        &self,
        (watch, in_force): &mut (ChangeDetector, [u8; 32]),
        now: Timestamp,
    ) -> Result<Reload, Error> {
        let content = read(&self.file).inspect_err(|error| {
            if !matches!(error, Error::Unusable(_, DirectoryFault::BeingWritten)) {
                watch.could_not_read();
            }
        })?;
        watch.has_read(content.stamp);
        let digest = sha256(&content.bytes);
        if digest == *in_force {
            return Ok(Reload::Unchanged);
        }
        let read = parse::content(&content.bytes, self.certificates.as_ref());
        let brokers = read.map_err(|fault| Error::Unusable(self.file.clone(), fault))?;
        let old = self.current.load();
        let new = Snapshot::new(brokers, old.generation() + 1, now);
        let added = new.count_missing_in(&old);
        let removed = old.count_missing_in(&new);
        let brokers = new.len();
        self.current.store(Arc::new(new));
        *in_force = digest;
        Ok(Reload::Swapped {
            brokers,
            added,
            removed,
        })
    }
}

struct Content {
    bytes: Vec<u8>,
    stamp: FileFingerprint,
}

fn read(file: &PathBuf) -> Result<Content, Error> {
    let unreadable = |error: io::Error| Error::Unreadable(file.clone(), error);
    let mut open = File::open(file).map_err(unreadable)?;
    let before = FileFingerprint::of(&open.metadata().map_err(unreadable)?);
    let mut bytes = Vec::new();
    open.read_to_end(&mut bytes).map_err(unreadable)?;
    let stamp = FileFingerprint::of(&open.metadata().map_err(unreadable)?);
    if stamp != before {
        return Err(Error::Unusable(file.clone(), DirectoryFault::BeingWritten));
    }
    Ok(Content { bytes, stamp })
}
