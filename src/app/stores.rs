//! The store: opened as `store.url` says, followed by the clock, and asked whether it takes us.

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

/// How long a process that is to take another one's place waits for its store: long enough to find a master that is about to be replaced.
const STORE_ANSWERS_WITHIN: Duration = Duration::from_secs(5);
const STORE_ASKED_EVERY: Duration = Duration::from_millis(250);

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

/// Sets the clock by that of the store, where it has one and answers: the same for all that share it.
/// Says whether that could be done; where the store has none, there is nothing to do.
pub async fn follow_store(
    clock: &Clock,
    store: &dyn SessionStore,
    config: &config::StoreConfig,
    within: Duration,
) -> bool {
    if !matches!(config.url, StoreUrl::Redis(_)) {
        return true;
    }
    let mut told = store.invalidations();
    let time = async {
        loop {
            if let Invalidation::Watermark(time) = told.recv().await.ok()? {
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

/// A store that refuses us is an operator's mistake, to be told at once; one that is merely down will come back.
pub(super) async fn refuse_wrong_credentials(store: &dyn StoreHealth) -> store::Result<()> {
    match store.ping().await {
        Err(error @ store::Error::Refused(_)) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Returns once the store can be written to, or with the reason why it cannot.
pub(super) async fn signs_in(store: &dyn StoreHealth) -> store::Result<()> {
    let until = tokio::time::Instant::now() + STORE_ANSWERS_WITHIN;
    let mut trouble = store.ping().await;
    while let Err(error) = trouble {
        if matches!(error, store::Error::Refused(_)) {
            return Err(error);
        }
        let again = async {
            tokio::time::sleep(STORE_ASKED_EVERY).await;
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
