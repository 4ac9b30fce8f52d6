//! The way in with user key and password: its users, and the threads that compare passwords.

use super::Error;
use crate::clock::Rng;
use crate::config::Config;
use crate::identity::users::{Hashers, Passwords, Users};
use crate::telemetry::metrics::Metrics;
use std::sync::Arc;

/// Opens it where the configuration does.
pub(super) fn open(
    config: &Config,
    rng: Rng,
    metrics: &Arc<Metrics>,
) -> Result<Option<Passwords>, Error> {
    let Some(password) = &config.password else {
        return Ok(None);
    };
    let users = Arc::new(Users::open(&password.file, config.directory.poll)?);
    metrics.users_loaded(users.snapshot().len());
    let hashers = Hashers::start(password.hashers.get(), password.queue, Arc::clone(metrics))
        .map_err(Error::Threads)?;
    Ok(Some(Passwords::new(password, users, hashers, rng)))
}
