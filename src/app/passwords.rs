//! The way in with user key and password: its users, and the threads that compare passwords.

use super::Error;
use crate::clock::{Chance, Clock};
use crate::config::Config;
use crate::telemetry::metrics::Metrics;
use crate::users::{self, Hashers, Passwords, Users};
use std::sync::Arc;

/// Opens it where the configuration does.
pub(super) fn open(config: &Config, chance: Chance, metrics: &Arc<Metrics>) -> Result<Option<Passwords>, Error> {
    let Some(password) = &config.password else { return Ok(None) };
    let users = Arc::new(Users::open(&password.file, config.directory.poll)?);
    metrics.users_loaded(users.snapshot().len());
    let hashers = Hashers::start(password.hashers.get(), password.queue, Arc::clone(metrics)).map_err(Error::Threads)?;
    Ok(Some(Passwords::new(password, users, hashers, chance)))
}

/// Reloads the users file whenever it changes; never returns.
pub(super) async fn watch(users: Arc<Users>, metrics: Arc<Metrics>, clock: Clock) {
    users.watch(move || clock.now(), move |event| note(&metrics, event)).await;
}

/// Tells what became of a reload.
pub(super) fn note(metrics: &Metrics, event: Result<usize, users::Error>) {
    match event {
        Ok(users) => {
            metrics.users_loaded(users);
            tracing::info!(target: "users", users, "the users file was loaded");
        }
        Err(error) => {
            metrics.users_reload_failed();
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(target: "users", %error, cause, "the users file cannot be used; the former users stay in force");
        }
    }
}
