//! The stores under test, and their clocks.

use crate::support;
use domain::time::Timestamp;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use vtnr_gateway::clock::{Clock, Rng};
use vtnr_gateway::config::RedisServers;
use vtnr_gateway::store::embedded::Embedded;
use vtnr_gateway::store::redis::{Redis, RedisOptions};
use vtnr_gateway::store::{FullStore, Sealed, Vault};

pub(crate) const SECRET: &[u8] = b"the operator's secret, 32 bytes.";
/// A lifetime short enough for a test to wait for.
pub(crate) const SHORT: Duration = Duration::from_millis(300);
/// A lifetime that ends in no test.
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
/// A generous deadline: a busy machine is no failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(10);

/// A store used by one test alone.
pub(crate) struct Fixture {
    pub(crate) store: Arc<dyn FullStore>,
    pub(crate) clock: Clock,
    _folder: Option<TempDir>,
}

impl Fixture {
    pub(crate) async fn redis() -> Self {
        Self::listening(on_redis(shared_redis(), &fresh_prefix(), SECRET)).await
    }

    /// Connects to a master elected by sentinels, where both replicas confirm each change.
    pub(crate) async fn sentinel() -> Self {
        let usage = RedisOptions {
            prefix: &fresh_prefix(),
            timeout: DEADLINE,
            replicas: 2,
        };
        Self::listening(at(&shared_sentinels().url(), usage, SECRET)).await
    }

    pub(crate) async fn cluster() -> Self {
        let usage = RedisOptions {
            prefix: &fresh_prefix(),
            timeout: DEADLINE,
            replicas: 0,
        };
        Self::listening(at(&shared_cluster().url(), usage, SECRET)).await
    }

    async fn listening(store: Sealed<Redis>) -> Self {
        let fixture = Self::on(store, Clock::System);
        eventually("invalidations arrive", async || {
            fixture.store.subscription().is_some()
        })
        .await;
        fixture
    }

    pub(crate) async fn memory() -> Self {
        let clock = manual_clock();
        let engine = Embedded::in_memory(clock.clone()).expect("memory suffices");
        Self::on(sealed(engine, clock.clone()), clock)
    }

    /// Wraps a store whose database the test manages itself.
    pub(crate) fn on(store: impl FullStore + 'static, clock: Clock) -> Self {
        Self {
            store: Arc::new(store),
            clock,
            _folder: None,
        }
    }

    pub(crate) async fn file() -> Self {
        let (clock, folder) = (manual_clock(), tempfile::tempdir().expect("a folder"));
        let engine = Embedded::open(&folder.path().join("store"), clock.clone())
            .expect("the file can be made");
        Self {
            _folder: Some(folder),
            ..Self::on(sealed(engine, clock.clone()), clock)
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Polls for a condition that must hold after this time. A manual clock is advanced; Redis
    /// keeps its own time.
    pub(crate) async fn after(&self, time: Duration, what: &str, is_so: impl AsyncFnMut() -> bool) {
        self.clock.advance(time);
        eventually(what, is_so).await;
    }
}

/// Returns the server shared by all tests that leave it intact.
pub(crate) fn shared_redis() -> &'static support::redis::Redis {
    static SHARED: LazyLock<support::redis::Redis> =
        LazyLock::new(support::redis::Redis::dying_with_us);
    &SHARED
}

fn shared_sentinels() -> &'static support::Sentinels {
    static SHARED: LazyLock<support::Sentinels> = LazyLock::new(|| {
        let sentinels = support::Sentinels::start();
        sentinels.die_with_us();
        sentinels
    });
    &SHARED
}

fn shared_cluster() -> &'static support::Cluster {
    static SHARED: LazyLock<support::Cluster> = LazyLock::new(|| {
        let cluster = support::Cluster::without_replicas();
        cluster.die_with_us();
        cluster
    });
    &SHARED
}

/// Returns a prefix for the shared Redis that no other test uses.
pub(crate) fn fresh_prefix() -> String {
    static TESTS: AtomicU32 = AtomicU32::new(0);
    format!("test{}:", TESTS.fetch_add(1, Ordering::Relaxed))
}

/// Opens a store on this Redis with a generous timeout: a busy machine is no outage.
pub(crate) fn on_redis(
    server: &support::redis::Redis,
    prefix: &str,
    secret: &[u8],
) -> Sealed<Redis> {
    at(
        &server.url(),
        RedisOptions {
            prefix,
            timeout: DEADLINE,
            replicas: 0,
        },
        secret,
    )
}

/// Opens a store at this Redis URL.
pub(crate) fn at(url: &str, usage: RedisOptions<'_>, secret: &[u8]) -> Sealed<Redis> {
    let engine = Redis::new(&RedisServers::parse(url).expect("a sound URL"), usage);
    Sealed::new(engine, Vault::new(secret, Rng), Clock::System)
}

pub(crate) fn sealed(engine: Embedded, clock: Clock) -> Sealed<Embedded> {
    Sealed::new(engine, Vault::new(SECRET, Rng), clock)
}

/// Returns the vault shared by all gateways of a test.
pub(crate) fn vault() -> Vault {
    Vault::new(SECRET, Rng)
}

/// Returns a manual clock that starts at 29 September 2026.
pub(crate) fn manual_clock() -> Clock {
    Clock::manual(Timestamp::from_millis(1_790_683_350_000))
}

/// Polls until the condition holds, and fails if it never does.
pub(crate) async fn eventually(what: &str, is_so: impl AsyncFnMut() -> bool) {
    // One attempt may take as long as the store's timeout.
    within(4 * DEADLINE, what, is_so).await;
}

/// Polls until the condition holds, within a deadline that the product promises.
pub(crate) async fn within(deadline: Duration, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(
            begun.elapsed() < deadline,
            "not within {deadline:?}: {what}"
        );
        tokio::time::sleep(POLL).await;
    }
}
