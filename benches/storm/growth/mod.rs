//! What things cost as they grow: one time, ten times, a hundred times.

mod directory;
mod embedded;
mod outbox;
mod rates;
mod sessions;

use crate::crowd::redis_server;
use crate::crowd::stage::{KEY_PREFIX, SECRET, Setting};
use anyhow::{Error, Result};
use clap::ValueEnum;
use std::path::Path;
use std::time::Duration;
use vtnr_gateway::clock::{Clock, Rng};
use vtnr_gateway::config::RedisServers;
use vtnr_gateway::store::redis::{Redis, RedisOptions};
use vtnr_gateway::store::{Sealed, Vault};

/// How many times as much.
const STEPS: [u32; 3] = [1, 10, 100];

/// What grows.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Growth {
    /// Everything, one after the other.
    All,
    /// The brokers of the directory: 10,000 and up.
    Directory,
    /// The sessions in Redis and in the gateway's memory: 1,000 and up.
    Sessions,
    /// Pages a second: 50 and up.
    Rate,
    /// Letters that wait in Redis: 100 and up.
    Outbox,
    /// Sessions and letters in the embedded store: 1,000 and 100 and up.
    Embedded,
}

/// Measures, and prints a table each.
///
/// # Errors
/// Something cannot be started, or an answer is wrong.
pub(crate) async fn run(growth: Growth, program: &Path) -> Result<()> {
    let is_meant = |one| growth == one || growth == Growth::All;
    if is_meant(Growth::Rate) {
        rates::run(program).await?;
    }
    if is_meant(Growth::Sessions) {
        sessions::run(program).await?;
    }
    if is_meant(Growth::Directory) {
        directory::run(program).await?;
    }
    if is_meant(Growth::Outbox) {
        outbox::run().await?;
    }
    if is_meant(Growth::Embedded) {
        embedded::run().await?;
    }
    Ok(())
}

fn setting(program: &Path, brokers: u32) -> Setting {
    Setting {
        program: program.to_path_buf(),
        brokers,
        mail_takes: Duration::ZERO,
    }
}

fn vault() -> Vault {
    Vault::new(SECRET, Rng)
}

/// A store on this Redis, as the gateways have it.
fn store_on(server: &redis_server::Redis) -> Result<Sealed<Redis>> {
    let servers = RedisServers::parse(&server.url()).map_err(Error::msg)?;
    let usage = RedisOptions {
        prefix: KEY_PREFIX,
        timeout: Duration::from_secs(15),
        replicas: 0,
    };
    Ok(Sealed::new(
        Redis::new(&servers, usage),
        vault(),
        Clock::System,
    ))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
