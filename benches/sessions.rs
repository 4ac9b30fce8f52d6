//! What a million sessions in memory take, and how long it takes to find one of them, on one thread and on two at once; beside a map from
//! the standard library. More sessions than there is room for are let in at the end.
//!
//! Fails if a session takes more than 80 bytes, or if more are kept than there is room for. Everything goes through the real store but for
//! its engine, which remembers the latest record only: so that nothing else grows while the sessions come in.

use async_trait::async_trait;
use domain::ids::{LetterId, SessionToken};
use domain::session::{Level, Session, SessionLimits};
use domain::time::Timestamp;
use domain::vtnr::Vtnr;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;
use vtnr_gateway::clock::{Clock, Rng};
use vtnr_gateway::store::cache::Sessions;
use vtnr_gateway::store::engine::{Change, Engine, TxOutcome};
use vtnr_gateway::store::{
    Due, FullStore, Invalidation, RateLimits, RecordKey, Result, Sealed, SignInCommit,
    SubscriptionEpoch, Vault,
};
use vtnr_gateway::telemetry::metrics::Metrics;

const MILLION: usize = 1_000_000;
const ROOM: usize = 1_048_576;
const MAX_BYTES: f64 = 80.0;
const DAY: Duration = Duration::from_secs(86_400);
const LIMITS: SessionLimits = SessionLimits {
    idle: DAY,
    absolute: DAY,
};

/// Remembers the latest change.
struct Latest {
    change: Mutex<Change>,
    announcements: broadcast::Sender<Invalidation>,
}

#[async_trait]
impl Engine for Latest {
    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Vec<u8>>>> {
        let latest = self.change.lock();
        let written = |key| {
            latest
                .write
                .iter()
                .find(|(name, ..)| name == key)
                .map(|(_, record, _)| record.clone())
        };
        Ok(keys
            .iter()
            .map(written)
            .map(|record| record.map(Vec::from))
            .collect())
    }

    async fn commit(&self, change: &Change) -> Result<TxOutcome> {
        *self.change.lock() = change.clone();
        Ok(TxOutcome::Done)
    }

    async fn lease(&self, _: Due, _: Duration) -> Result<Option<(LetterId, u32)>> {
        Ok(None)
    }

    async fn queue_length(&self) -> Result<u64> {
        Ok(0)
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    fn invalidations(&self) -> broadcast::Receiver<Invalidation> {
        self.announcements.subscribe()
    }

    fn subscription(&self) -> Option<SubscriptionEpoch> {
        Some(SubscriptionEpoch(1))
    }
}

struct Gateway {
    store: Arc<dyn FullStore>,
    sessions: Arc<Sessions>,
    now: Timestamp,
}

impl Gateway {
    async fn start() -> Self {
        let clock = Clock::manual(Timestamp::from_millis(1_790_683_350_000));
        let engine = Latest {
            change: Mutex::default(),
            announcements: broadcast::channel(1).0,
        };
        let vault = Vault::new(b"the operator's secret, 32 bytes.", Rng);
        let store: Arc<dyn FullStore> = Arc::new(Sealed::new(engine, vault.clone(), clock.clone()));
        let metrics = Arc::new(Metrics::new().expect("sound"));
        let sessions = Arc::new(Sessions::new(
            Arc::clone(&store) as _,
            vault,
            LIMITS,
            DAY,
            clock.clone(),
            metrics,
        ));
        tokio::spawn(Arc::clone(&sessions).listen());
        tokio::task::yield_now().await;
        Self {
            store,
            sessions,
            now: clock.now(),
        }
    }

    /// Lets so many sessions in, each of which is then in memory.
    fn let_in(&self, number: usize) -> Vec<SessionToken> {
        let session = Session::begin(
            Vtnr::from_number(601_234_567).expect("nine digits"),
            Level::WithoutSubmission,
            self.now,
        );
        let let_in = |_| {
            let token = Rng.session_token();
            let sign_in = SignInCommit {
                flow: None,
                session: (&token, &session),
                lives: DAY,
                replaces: None,
                trust: None,
                forgets: None,
                trust_lives: DAY,
            };
            self.store
                .sign_in(sign_in, &RateLimits::none())
                .now_or_never()
                .expect("at once")
                .expect("the store answers");
            assert!(self.finds(&token));
            token
        };
        (0..number).map(let_in).collect()
    }

    fn finds(&self, token: &SessionToken) -> bool {
        self.sessions
            .find(token, self.now)
            .now_or_never()
            .expect("at once")
            .expect("the store answers")
            .is_some()
    }

    /// How long a look-up takes, over all of them; the tokens are random, and so is where their sessions lie.
    fn nanoseconds(&self, tokens: &[SessionToken]) -> f64 {
        let begun = Instant::now();
        assert!(tokens.iter().all(|token| self.finds(black_box(token))));
        begun.elapsed().as_secs_f64() * 1e9 / tokens.len() as f64
    }
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let gateway = runtime.block_on(Gateway::start());
    // As a test, all of it is tried with a few.
    let (number, is_bench) = if std::env::args().any(|argument| argument == "--bench") {
        (MILLION, true)
    } else {
        (1_000, false)
    };
    let mut tokens = Vec::new();
    let counted = allocation_counter::measure(|| tokens = gateway.let_in(number));
    let tokens_take =
        i64::try_from(tokens.capacity() * size_of::<SessionToken>()).expect("it fits");
    let bytes = (counted.bytes_current - tokens_take) as f64 / number as f64;
    let peer = peer(&gateway, &tokens);
    println!(
        "{number} sessions, {} in memory: {bytes:.1} bytes each; in a HashMap<RecordKey, Session>: {peer:.1}",
        gateway.sessions.len()
    );
    let one = gateway.nanoseconds(&tokens);
    let (first, second) = tokens.split_at(number / 2);
    let two = std::thread::scope(|scope| {
        let threads = [first, second].map(|tokens| scope.spawn(|| gateway.nanoseconds(tokens)));
        threads.map(|thread| thread.join().expect("no panic"))
    });
    println!(
        "found in {one:.0} ns; on two threads at once in {:.0} and {:.0} ns",
        two[0], two[1]
    );
    let begun = Instant::now();
    gateway.let_in(number / 4);
    println!(
        "{} more, {:.1} us each with the store's part: {} in memory",
        number / 4,
        begun.elapsed().as_secs_f64() * 4e6 / number as f64,
        gateway.sessions.len()
    );
    let holds = !is_bench || bytes <= MAX_BYTES && gateway.sessions.len() <= ROOM;
    if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn peer(gateway: &Gateway, tokens: &[SessionToken]) -> f64 {
    let session = Session::begin(
        Vtnr::from_number(601_234_567).expect("nine digits"),
        Level::WithoutSubmission,
        gateway.now,
    );
    let mut map = HashMap::new();
    let counted = allocation_counter::measure(|| {
        map = tokens
            .iter()
            .map(|token| (gateway.sessions.key(token), session))
            .collect()
    });
    black_box(&map);
    counted.bytes_current as f64 / tokens.len() as f64
}
