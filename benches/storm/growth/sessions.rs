//! More sessions, in Redis and in the gateway's memory.

use super::{STEPS, setting, store_on};
use crate::crowd::brokers::broker;
use crate::crowd::browser::{Browser, Purpose};
use crate::crowd::browsing::{Load, Reader, browse};
use crate::crowd::figures::Record;
use crate::crowd::stage::Stage;
use crate::crowd::storm::{Meter, Use};
use crate::crowd::visit::is_page_for;
use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::ids::SessionToken;
use domain::session::{Level, Proof, Session};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use vtnr_gateway::clock::{Clock, Rng};
use vtnr_gateway::store::{FullStore, RateLimits, SignInCommit};

const FEWEST: u32 = 1_000;
const BROKERS: u32 = 1_000;
const READERS: u32 = 64;
/// Sessions live longer than this bench takes.
const LIVES: Duration = Duration::from_secs(3_600);
/// Longer than the gateway's pause between two rounds of housekeeping.
const LOAD: Load = Load {
    rate: 1_000.0,
    time: Duration::from_secs(12),
};

pub(super) async fn run(program: &Path) -> Result<()> {
    println!(
        "{:>9} {:>13} {:>15} {:>15} {:>14} {:>12} {:>9} {:>9}",
        "sessions",
        "Redis, bytes",
        "gateway, bytes",
        "first page, us",
        "(Redis), us",
        "page, us",
        "p50, ms",
        "p99, ms"
    );
    for sessions in STEPS.map(|step| step * FEWEST) {
        row(program, sessions).await?;
    }
    println!();
    Ok(())
}

async fn row(program: &Path, sessions: u32) -> Result<()> {
    let stage = Stage::start(&setting(program, BROKERS)).await?;
    let store = store_on(&stage.redis)?;
    let (empty, number) = (used_memory(&stage).await?, f64::from(sessions));
    let cookies = Arc::new(begin(&store, sessions).await?);
    let a_record = (used_memory(&stage).await? - empty) as f64 / number;

    let mut readers: Vec<_> = (0..READERS)
        .map(|at| Switching::new(&stage, &cookies, at))
        .collect();
    for reader in &mut readers {
        // The first request of all takes what the connection and its buffers need.
        reader.look_as(0).await?;
    }
    let before = stage.gateway().resident();
    let (readers, first) = each_once(readers, sessions, &stage).await?;
    let known = stage.gateway().resident().saturating_sub(before) as f64 / number;

    let (record, meter) = (
        Arc::new(Record::default()),
        Meter::begin((stage.gateway(), stage.redis())),
    );
    let (_, pages) = browse(readers, LOAD, "page", &record).await?;
    let ((page, _), mut times) = (meter.end(pages).a_page(), record.times_of("page"));
    ensure!(record.errors().is_empty(), "{:?}", record.errors());
    let (first, redis) = first.a_page();
    println!(
        "{sessions:>9} {a_record:>13.0} {known:>15.0} {first:>15.0} {redis:>14.0} {page:>12.0} {:>9.2} {:>9.2}",
        times.quantile(0.5),
        times.quantile(0.99)
    );
    Ok(())
}

/// Begins sessions as sign-ins do, and gives their cookies.
pub(super) async fn begin(store: &impl FullStore, sessions: u32) -> Result<Vec<String>> {
    let begin = async |number: u32| {
        let level = Level::Full {
            proof: Proof::Mailbox,
        };
        let (token, session) = (
            Rng.session_token(),
            Session::begin(broker(number % BROKERS).vtnr, level, Clock::System.now()),
        );
        let bare = SignInCommit {
            flow: None,
            session: (&token, &session),
            lives: LIVES,
            replaces: None,
            trust: None,
            forgets: None,
            trust_lives: LIVES,
        };
        store.sign_in(bare, &RateLimits::none()).await?;
        anyhow::Ok(cookie(&token))
    };
    stream::iter(0..sessions)
        .map(begin)
        .buffered(64)
        .try_collect()
        .await
}

fn cookie(token: &SessionToken) -> String {
    URL_SAFE_NO_PAD.encode(token.reveal())
}

/// Uses each session once, which the gateway then knows.
async fn each_once(
    readers: Vec<Switching>,
    sessions: u32,
    stage: &Stage,
) -> Result<(Vec<Switching>, Use)> {
    let (meter, mut tasks) = (
        Meter::begin((stage.gateway(), stage.redis())),
        JoinSet::new(),
    );
    for (first, mut reader) in (0..).zip(readers) {
        tasks.spawn(async move {
            for session in (first..sessions).step_by(READERS as usize) {
                reader.look_as(session).await?;
            }
            anyhow::Ok(reader)
        });
    }
    let mut readers = Vec::new();
    while let Some(reader) = tasks.join_next().await {
        readers.push(reader??);
    }
    Ok((readers, meter.end(sessions.into())))
}

async fn used_memory(stage: &Stage) -> Result<u64> {
    let mut connection = redis::Client::open(stage.redis.url())?
        .get_multiplexed_async_connection()
        .await?;
    let info: String = redis::cmd("INFO")
        .arg("memory")
        .query_async(&mut connection)
        .await?;
    let used = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"))
        .context("Redis does not tell")?;
    Ok(used.trim().parse()?)
}

/// One connection on which now this session asks and now that one.
struct Switching {
    browser: Browser,
    cookies: Arc<Vec<String>>,
    rng: StdRng,
}

impl Switching {
    fn new(stage: &Stage, cookies: &Arc<Vec<String>>, number: u32) -> Self {
        let browser = Browser::new(stage.address, number);
        Self {
            browser,
            cookies: Arc::clone(cookies),
            rng: StdRng::seed_from_u64(number.into()),
        }
    }

    async fn look_as(&mut self, session: u32) -> Result<()> {
        let cookie = self
            .cookies
            .get(session as usize)
            .context("no such session")?;
        self.browser.set_cookie("vtnr_session", cookie);
        let answer = self.browser.get("/kfz/tarif", Purpose::Page).await?;
        is_page_for(&broker(session % BROKERS), "/kfz/tarif", &answer)
    }
}

impl Reader for Switching {
    async fn look_at(&mut self, _: u32) -> Result<()> {
        let session = self.rng.random_range(0..self.cookies.len());
        self.look_as(session.try_into()?).await
    }
}
