//! The way in with user key and password: its users, and the threads that compare passwords.

use super::Error;
use super::standing::ReloadHealth;
use crate::clock::{Clock, Rng};
use crate::config::Config;
use crate::identity::users::{self, Hashers, Passwords, Users};
use crate::telemetry::logging::chain;
use crate::telemetry::metrics::Metrics;
use std::sync::Arc;

/// Opens it where the configuration does.
pub(super) fn open(
    config: &Config,
    chance: Rng,
    metrics: &Arc<Metrics>,
) -> Result<Option<Passwords>, Error> {
    let Some(password) = &config.password else {
        return Ok(None);
    };
    let users = Arc::new(Users::open(&password.file, config.directory.poll)?);
    metrics.users_loaded(users.snapshot().len());
    let hashers = Hashers::start(password.hashers.get(), password.queue, Arc::clone(metrics))
        .map_err(Error::Threads)?;
    Ok(Some(Passwords::new(password, users, hashers, chance)))
}

/// Looks after the users file.
pub(super) struct UsersFile {
    users: Arc<Users>,
    metrics: Arc<Metrics>,
    clock: Clock,
    standing: ReloadHealth,
}

impl UsersFile {
    /// The file that these users were read from.
    pub(super) fn of(users: Arc<Users>, metrics: Arc<Metrics>, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            users,
            metrics,
            clock,
            standing: ReloadHealth::default(),
        })
    }

    /// Reloads it whenever it changes; never returns.
    pub(super) async fn watch(self: Arc<Self>) {
        let users = Arc::clone(&self.users);
        let clock = self.clock.clone();
        users
            .watch(move || clock.now(), move |event| self.note(event))
            .await;
    }

    pub(super) fn reload(&self) {
        self.note(self.users.reload());
    }

    fn note(&self, event: Result<usize, users::Error>) {
        match event {
            Ok(users) => {
                self.metrics.users_loaded(users);
                let again = if self.standing.good() {
                    ", and valid again"
                } else {
                    ""
                };
                tracing::info!(target: "users", users, "users file loaded{again}");
            }
            Err(error) => {
                self.standing.bad();
                self.metrics.users_reload_failed();
                tracing::error!(target: "users", "failed to reload the users file, keeping the previous users: {}", chain(&error));
            }
        }
    }
}
