//! The storm: many brokers sign in within a short time, at moments that chance gives, while others browse.

use super::brokers::broker;
use super::browser::Browser;
use super::browsing::{Load, SignedIn, browse};
use super::figures::Record;
use super::post_office::PostOffice;
use super::process::Process;
use super::stage::{KEY_PREFIX, Setting, Stage};
use super::visit::Visit;
use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long a browser keeps its connection once its broker is done: the gateway has to live with many that are idle.
const LINGER: Duration = Duration::from_secs(60);
/// How often the outbox is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What is to happen.
#[derive(Clone)]
pub struct Plan {
    /// The gateway's program.
    pub program: PathBuf,
    /// How many sign in.
    pub brokers: u32,
    /// Within which time they arrive.
    pub within: Duration,
    /// How many others browse, signed in before.
    pub readers: u32,
    /// How many pages a second they ask for, all together.
    pub browsing: f64,
    /// For how long they browse alone before, to know what that costs.
    pub calm: Duration,
    /// How long a broker pauses before a form is sent and a page is asked for.
    pub think: Duration,
    /// How long the mail server takes over a mail.
    pub mail_takes: Duration,
    /// What the moments of arrival are drawn with.
    pub seed: u64,
}

/// What was found.
pub struct Outcome {
    pub record: Arc<Record>,
    /// Requests and use while nobody signed in.
    pub calm: Use,
    /// Requests of the browsing and use in the storm.
    pub storm: Use,
    /// From the first arrival until the last broker was done.
    pub lasted: Duration,
    /// The most letters that were in the outbox at a look, those under way included.
    pub most_letters: u64,
    /// Resident memory of the gateway in bytes: before the storm, and the most ever.
    pub memory: (u64, u64),
    /// The same of Redis.
    pub redis_memory: (u64, u64),
}

/// What requests cost.
#[derive(Clone, Copy)]
pub struct Use {
    /// Requests for pages of the calculator.
    pub pages: u64,
    /// Time on a CPU of the gateway.
    pub gateway: Duration,
    /// Time on a CPU of Redis.
    pub redis: Duration,
}

/// Lets the storm happen.
///
/// # Errors
/// What it needs cannot be started. What goes wrong within it is in [`Outcome::record`].
pub async fn run(plan: &Plan) -> Result<Outcome> {
    let setting = Setting {
        program: plan.program.clone(),
        brokers: plan.brokers + plan.readers,
        mail_takes: plan.mail_takes,
    };
    let stage = Stage::start(&setting).await?;
    let (record, processes) = (
        Arc::new(Record::default()),
        (stage.gateway(), stage.redis()),
    );
    let everybody = signed_in(
        stage.address,
        &stage.office,
        plan.brokers..plan.brokers + plan.readers,
    )
    .await?;
    let meter = Meter::begin(processes);
    let (everybody, pages) = browse(
        everybody,
        Load {
            rate: plan.browsing,
            time: plan.calm,
        },
        "browsing alone",
        &record,
    )
    .await?;
    let calm = meter.end(pages);

    let memory = (stage.gateway().resident(), stage.redis().resident());
    let looking = Arc::new(AtomicBool::new(true));
    let looks = tokio::spawn(most_letters(stage.redis.url(), Arc::clone(&looking)));
    let (meter, begun) = (Meter::begin(processes), Instant::now());
    let beside = {
        let (record, load) = (
            Arc::clone(&record),
            Load {
                rate: plan.browsing,
                time: plan.within,
            },
        );
        tokio::spawn(async move { browse(everybody, load, "browsing beside it", &record).await })
    };
    let visits = arrive(plan, &stage, &record).await?;
    let lasted = begun.elapsed();
    let (_, browsed) = beside.await??;
    let looked_at = record.times_of("calculator, first page").len()
        + record.times_of("calculator, further pages").len();
    let storm = meter.end(browsed + looked_at as u64);
    looking.store(false, Ordering::Relaxed);
    let most_letters = looks.await??;
    check_afterwards(plan, &stage, &record, visits).await?;
    Ok(Outcome {
        record,
        calm,
        storm,
        lasted,
        most_letters,
        memory: (memory.0, stage.gateway().most_resident()),
        redis_memory: (memory.1, stage.redis().most_resident()),
    })
}

/// Signs these brokers in, a few at a time.
///
/// # Errors
/// One of them cannot.
pub async fn signed_in(
    gateway: SocketAddr,
    office: &PostOffice,
    numbers: std::ops::Range<u32>,
) -> Result<Vec<SignedIn>> {
    const AT_ONCE: usize = 8;
    let (mut tasks, mut everybody) = (JoinSet::new(), Vec::new());
    for number in numbers {
        if tasks.len() == AT_ONCE
            && let Some(signed_in) = tasks.join_next().await
        {
            everybody.push(signed_in??);
        }
        let office = office.clone();
        tasks.spawn(async move {
            let (record, browser) = (Record::default(), Browser::new(gateway, number));
            let mut visit = Visit {
                broker: broker(number),
                browser,
                office: &office,
                record: &record,
                think: Duration::ZERO,
            };
            visit.sign_in().await?;
            let Visit {
                broker, browser, ..
            } = visit;
            anyhow::Ok(SignedIn { broker, browser })
        });
    }
    while let Some(signed_in) = tasks.join_next().await {
        everybody.push(signed_in??);
    }
    Ok(everybody)
}

/// Everybody arrives at a moment of their own, all moments equally likely, whatever became of those before; gives how many
/// were signed in.
async fn arrive(plan: &Plan, stage: &Stage, record: &Arc<Record>) -> Result<u32> {
    let (mut rng, begin, mut visits) = (
        StdRng::seed_from_u64(plan.seed),
        Instant::now(),
        JoinSet::new(),
    );
    for number in 0..plan.brokers {
        let at = begin + plan.within.mul_f64(rng.random::<f64>());
        let (record, office, address, think) = (
            Arc::clone(record),
            stage.office.clone(),
            stage.address,
            plan.think,
        );
        visits.spawn(async move {
            tokio::time::sleep_until(at).await;
            let browser = Browser::new(address, number);
            let mut visit = Visit {
                broker: broker(number),
                browser,
                office: &office,
                record: &record,
                think,
            };
            let signed_in = visit.sign_in().await;
            let done = match &signed_in {
                Ok(()) => visit.look_around().await,
                Err(_) => Ok(()),
            };
            for error in [&signed_in, &done]
                .into_iter()
                .filter_map(|result| result.as_ref().err())
            {
                record.failed(error);
            }
            (signed_in.is_ok(), visit.browser)
        });
    }
    let (mut signed_in, mut idle) = (0, VecDeque::new());
    while let Some(visit) = visits.join_next().await {
        let (is_signed_in, browser) = visit?;
        signed_in += u32::from(is_signed_in);
        idle.push_back((Instant::now(), browser));
        while idle
            .pop_front_if(|(since, _)| since.elapsed() > LINGER)
            .is_some()
        {}
    }
    Ok(signed_in)
}

/// What can be told only afterwards: everybody is in, was mailed once, and nothing broke off unseen.
async fn check_afterwards(
    plan: &Plan,
    stage: &Stage,
    record: &Record,
    signed_in: u32,
) -> Result<()> {
    let mut wrong = Vec::new();
    if signed_in != plan.brokers {
        wrong.push(format!("{signed_in} of {} are signed in", plan.brokers));
    }
    let mailed_otherwise = (0..plan.brokers)
        .filter(|number| stage.office.mails_to(&broker(*number).email) != 1)
        .count();
    if mailed_otherwise > 0 {
        wrong.push(format!(
            "{mailed_otherwise} brokers were not mailed exactly once"
        ));
    }
    for metric in [
        "store_errors_total",
        "panics_total",
        "log_lines_dropped_total",
        "connections_rejected_total",
    ] {
        let value = stage.metric(&format!("vtnr_gateway_{metric}")).await?;
        if value > 0.0 {
            wrong.push(format!("{metric} is {value}"));
        }
    }
    for what in wrong {
        record.failed(&anyhow::Error::msg(what));
    }
    Ok(())
}

/// Looks at the outbox again and again.
async fn most_letters(redis: String, looking: Arc<AtomicBool>) -> Result<u64> {
    let mut connection = redis::Client::open(redis)?
        .get_multiplexed_async_connection()
        .await
        .context("Redis")?;
    let mut most = 0;
    while looking.load(Ordering::Relaxed) {
        let queue = format!("{KEY_PREFIX}queue");
        let letters: u64 = redis::cmd("ZCARD")
            .arg(queue)
            .query_async(&mut connection)
            .await?;
        most = most.max(letters);
        tokio::time::sleep(LOOK).await;
    }
    Ok(most)
}

/// Measures what two processes use meanwhile.
pub struct Meter {
    processes: (Process, Process),
    before: (Duration, Duration),
}

impl Meter {
    /// From now on, for the gateway and Redis.
    pub fn begin(processes: (Process, Process)) -> Self {
        Self {
            processes,
            before: (processes.0.cpu(), processes.1.cpu()),
        }
    }

    /// Until now, for so many pages.
    pub fn end(self, pages: u64) -> Use {
        let (gateway, redis) = self.processes;
        let used = |process: Process, before: Duration| process.cpu().saturating_sub(before);
        Use {
            pages,
            gateway: used(gateway, self.before.0),
            redis: used(redis, self.before.1),
        }
    }
}

impl Use {
    /// Microseconds of the gateway and of Redis for each page.
    pub fn a_page(&self) -> (f64, f64) {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / self.pages.max(1) as f64;
        (each(self.gateway), each(self.redis))
    }

    /// Milliseconds of the gateway and of Redis that went into each of so many sign-ins, where a page costs what it did in `calm`.
    pub fn a_sign_in(&self, calm: &Self, sign_ins: u32) -> (f64, f64) {
        let ((gateway, redis), pages) = (calm.a_page(), self.pages as f64);
        let each = |time: Duration, page: f64| {
            (time.as_secs_f64() * 1e3 - pages * page / 1e3) / f64::from(sign_ins.max(1))
        };
        (each(self.gateway, gateway), each(self.redis, redis))
    }
}
