//! The directory file while the gateway runs: it is looked after, and what became of each look is told.

use super::standing::ReloadHealth;
use crate::clock::Clock;
use crate::identity::directory::{Directory, Error, Reload};
use crate::telemetry::logging::chain;
use crate::telemetry::metrics::Metrics;
use std::sync::Arc;

/// Looks after the directory.
pub(super) struct DirectoryFile {
    directory: Arc<Directory>,
    metrics: Arc<Metrics>,
    clock: Clock,
    standing: ReloadHealth,
}

impl DirectoryFile {
    /// The file that this directory was read from.
    pub(super) fn of(directory: Arc<Directory>, metrics: Arc<Metrics>, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            directory,
            metrics,
            clock,
            standing: ReloadHealth::default(),
        })
    }

    /// Reloads it whenever it changes; never returns.
    pub(super) async fn watch(self: Arc<Self>) {
        let directory = Arc::clone(&self.directory);
        let clock = self.clock.clone();
        directory
            .watch(move || clock.now(), move |event| self.note(event))
            .await;
    }

    pub(super) fn reload(&self) {
        self.note(self.directory.reload(self.clock.now()));
    }

    fn note(&self, event: Result<Reload, Error>) {
        match event {
            Ok(event) => {
                let brokers = self.directory.snapshot().len();
                self.metrics.directory_loaded(brokers, self.clock.now());
                self.tell(event, brokers);
            }
            Err(error) => {
                self.standing.bad();
                self.metrics.directory_reload_failed();
                tracing::error!(
                    target: "directory",
                    "failed to reload the directory, keeping the previous one: {}", chain(&error)
                );
            }
        }
    }

    fn tell(&self, event: Reload, brokers: usize) {
        match (event, self.standing.good()) {
            (Reload::Unchanged, false) => {}
            (Reload::Unchanged, true) => {
                tracing::info!(target: "directory", brokers, "the directory file is valid again and unchanged");
            }
            (
                Reload::Swapped {
                    brokers,
                    added,
                    removed,
                },
                false,
            ) => {
                tracing::info!(target: "directory", brokers, added, removed, "directory reloaded");
            }
            (
                Reload::Swapped {
                    brokers,
                    added,
                    removed,
                },
                true,
            ) => {
                tracing::info!(target: "directory", brokers, added, removed, "directory reloaded, and valid again");
            }
        }
    }
}
