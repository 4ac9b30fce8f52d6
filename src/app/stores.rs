//! Opens the store that `store.url` names, synchronizes the clock with it, and checks the credentials.

use crate::clock::Clock;
use crate::config::{self, Config, StoreUrl};
use crate::store::embedded::Embedded;
use crate::store::redis::{Redis, RedisOptions};
use crate::store::{
    self, FullStore, Invalidation, Measured, Sealed, SessionStore, StoreHealth, Vault,
};
use crate::telemetry::metrics::Metrics;
use std::sync::Arc;
use std::time::Duration;

/// How long a process that takes over waits for the store: long enough for a failover to another Redis master.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);
const PING_INTERVAL: Duration = Duration::from_millis(250);

/// Opens the store that `store.url` names. Must be called within the runtime that is to drive its connections.
///
/// # Errors
/// [`store::Error::Setup`] if it cannot be used.
pub fn open_store(
    config: &Config,
    vault: Vault,
    clock: Clock,
    metrics: Arc<Metrics>,
) -> store::Result<Arc<dyn FullStore>> {
    Ok(match &config.store.url {
        StoreUrl::Redis(servers) => {
            let Config { store, .. } = config;
            let usage = RedisOptions {
                prefix: &store.key_prefix,
                timeout: store.timeout,
                replicas: store.replicas,
            };
            let redis = Redis::new(servers, usage);
            Arc::new(Measured::new(Sealed::new(redis, vault, clock), metrics))
        }
        StoreUrl::File(file) => Arc::new(Measured::new(
            Sealed::new(Embedded::open(file, clock.clone())?, vault, clock),
            metrics,
        )),
        StoreUrl::Memory => Arc::new(Measured::new(
            Sealed::new(Embedded::in_memory(clock.clone())?, vault, clock),
            metrics,
        )),
    })
}

/// Synchronizes the clock with the store's, which all gateways on it share. Returns false if the store did not answer; a store without
/// a clock needs no synchronization.
pub async fn follow_store(
    clock: &Clock,
    store: &dyn SessionStore,
    config: &config::StoreConfig,
    within: Duration,
) -> bool {
    if !matches!(config.url, StoreUrl::Redis(_)) {
        return true;
    }
    let mut invalidations = store.invalidations();
    let time = async {
        loop {
            if let Invalidation::Watermark(time) = invalidations.recv().await.ok()? {
                return Some(time);
            }
        }
    };
    let time = tokio::time::timeout(within, time).await.ok().flatten();
    if let Some(time) = time {
        clock.follow(time);
    }
    time.is_some()
}

/// Fails if the store rejects the credentials, which is a configuration mistake. A store that is down may recover.
pub(super) async fn refuse_wrong_credentials(store: &dyn StoreHealth) -> store::Result<()> {
    match store.ping().await {
        Err(error @ store::Error::Refused(_)) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Waits until the store is writable, up to [`STORE_TIMEOUT`].
pub(super) async fn wait_until_writable(store: &dyn StoreHealth) -> store::Result<()> {
    let until = tokio::time::Instant::now() + STORE_TIMEOUT;
    let mut trouble = store.ping().await;
    while let Err(error) = trouble {
        if matches!(error, store::Error::Refused(_)) {
            return Err(error);
        }
        let again = async {
            tokio::time::sleep(PING_INTERVAL).await;
            store.ping().await
        };
        trouble = tokio::time::timeout_at(until, again)
            .await
            .unwrap_or(Err(error));
        if tokio::time::Instant::now() >= until {
            return trouble;
        }
    }
    Ok(())
}
