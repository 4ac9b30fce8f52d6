//! `revoke` and `pseudonym`: commands about a single broker.

use super::{ConfigFile, USAGE, complain, fail, runtime};
use crate::app;
use crate::clock::{Clock, Rng};
use crate::config::{Config, StoreUrl};
use crate::store::Vault;
use crate::telemetry::metrics::Metrics;
use domain::vtnr::Vtnr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Long enough for a failover to another Redis master.
const STORE_ANSWERS_WITHIN: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    config: ConfigFile,
    /// The broker's number, such as 60/123/4567
    vtnr: String,
}

#[derive(clap::Args)]
pub(super) struct Pseudonym {
    #[command(flatten)]
    config: ConfigFile,
    /// The broker's number, such as 60/123/4567
    vtnr: String,
}

impl Revoke {
    pub(super) fn run(self) -> ExitCode {
        let (config, vtnr) = match read(&self.config, &self.vtnr) {
            Ok(read) => read,
            Err(code) => return code,
        };
        if config.store.url == StoreUrl::Memory {
            complain(
                "vtnr-gateway: store.url is memory: only the running gateway knows its sessions; restart it to end them",
            );
            return ExitCode::from(USAGE);
        }
        let revoked = runtime().map_err(|error| fail(&error)).and_then(|runtime| {
            let done = runtime
                .block_on(revoke(&config, vtnr))
                .map_err(|error| fail(error.as_ref()));
            runtime.shutdown_background();
            done
        });
        match revoked {
            Ok(()) => {
                println!("revoked all sessions and all trusted browsers of {vtnr}");
                ExitCode::SUCCESS
            }
            Err(code) => code,
        }
    }
}

async fn revoke(config: &Config, vtnr: Vtnr) -> Result<(), Box<dyn std::error::Error>> {
    let clock = Clock::steady();
    let metrics = Arc::new(Metrics::new()?);
    let vault = Vault::new(config.store.secret.reveal(), Rng);
    let store = app::open_store(config, vault, clock.clone(), metrics)?;
    // Use the gateways' clock; otherwise sessions that have just begun might survive.
    if !app::follow_store(&clock, &*store, &config.store, STORE_ANSWERS_WITHIN).await {
        return Err("the store does not answer; nothing was revoked".into());
    }
    Ok(store.revoke_broker(vtnr, clock.now()).await?)
}

impl Pseudonym {
    pub(super) fn run(self) -> ExitCode {
        let (config, vtnr) = match read(&self.config, &self.vtnr) {
            Ok(read) => read,
            Err(code) => return code,
        };
        println!(
            "{}",
            Vault::new(config.store.secret.reveal(), Rng).pseudonym(vtnr)
        );
        ExitCode::SUCCESS
    }
}

fn read(config: &ConfigFile, vtnr: &str) -> Result<(Config, Vtnr), ExitCode> {
    let config = config.load()?;
    let vtnr = Vtnr::parse(vtnr).map_err(|_| {
        complain(format_args!(
            "vtnr-gateway: `{vtnr}` is not a broker number such as 60/123/4567"
        ));
        ExitCode::from(USAGE)
    })?;
    Ok((config, vtnr))
}
