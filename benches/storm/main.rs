//! Ten thousand brokers sign in within five minutes while others browse; and, with `--growth`, what a look-up and a request cost as
//! the directory, the sessions, the rate and the outbox grow.
//!
//! Everything runs on loopback: the gateway's binary, a redis-server, a mail server that takes each mail over SMTP, a calculator. Each
//! browser has an address of its own in 127.0.0.0/8, so that the limits stay as they are delivered. Every answer is checked: fails if
//! one is wrong, or if a broker was not mailed exactly once.

mod crowd;
mod growth;

use anyhow::{Result, ensure};
use clap::Parser;
use crowd::storm::{self, Outcome, Plan};
use growth::Growth;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
struct Options {
    /// How many brokers sign in.
    #[arg(long, default_value_t = 10_000)]
    brokers: u32,
    /// Within how many minutes they arrive.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// How many others browse, signed in before.
    #[arg(long, default_value_t = 200)]
    readers: u32,
    /// How many pages a second they ask for.
    #[arg(long, default_value_t = 200.0)]
    browsing: f64,
    /// How many milliseconds the mail server takes over a mail.
    #[arg(long, default_value_t = 0)]
    mail_takes: u64,
    /// How many milliseconds a broker pauses before each form and each page.
    #[arg(long, default_value_t = 1_000)]
    think: u64,
    /// What chance is drawn with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// No storm: what things cost as they grow.
    #[arg(long, num_args = 0..=1, default_missing_value = "all")]
    growth: Option<Growth>,
    /// Another build of the gateway.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_vtnr-gateway"))]
    gateway: PathBuf,
    /// What `cargo bench` says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(measure(&Options::parse())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: &Options) -> Result<()> {
    if let Some(growth) = options.growth {
        return growth::run(growth, &options.gateway).await;
    }
    let within = Duration::from_secs_f64(options.minutes * 60.0);
    let plan = Plan {
        program: options.gateway.clone(),
        brokers: options.brokers,
        within,
        readers: options.readers,
        browsing: options.browsing,
        calm: (within / 10).clamp(Duration::from_secs(3), Duration::from_secs(30)),
        think: Duration::from_millis(options.think),
        mail_takes: Duration::from_millis(options.mail_takes),
        seed: options.seed,
    };
    let outcome = storm::run(&plan).await?;
    report(&plan, &outcome);
    let errors = outcome.record.errors();
    for error in errors.iter().take(20) {
        eprintln!("{error}");
    }
    ensure!(errors.is_empty(), "{} errors", errors.len());
    Ok(())
}

fn report(plan: &Plan, outcome: &Outcome) {
    const MIB: f64 = 1_048_576.0;
    println!(
        "{} sign-ins within {:.0} s beside {} pages a second; done after {:.0} s; {} errors",
        plan.brokers,
        plan.within.as_secs_f64(),
        plan.browsing,
        outcome.lasted.as_secs_f64(),
        outcome.record.errors().len()
    );
    println!(
        "{:<28} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "milliseconds", "number", "p50", "p95", "p99", "most"
    );
    for (what, mut times) in outcome.record.times() {
        let [p50, p95, p99, most] = [0.5, 0.95, 0.99, 1.0].map(|share| times.quantile(share));
        println!(
            "{what:<28} {:>9} {p50:>9.2} {p95:>9.2} {p99:>9.2} {most:>9.2}",
            times.len()
        );
    }
    let (page, sign_in) = (
        outcome.calm.a_page(),
        outcome.storm.a_sign_in(&outcome.calm, plan.brokers),
    );
    println!("{:<28} {:>9} {:>9}", "CPU", "gateway", "Redis");
    println!(
        "{:<28} {:>6.0} us {:>6.0} us",
        "a page, in the calm", page.0, page.1
    );
    println!(
        "{:<28} {:>6.2} ms {:>6.2} ms",
        "a sign-in", sign_in.0, sign_in.1
    );
    let share = |time: Duration| time.as_secs_f64() * 100.0 / outcome.lasted.as_secs_f64();
    println!(
        "{:<28} {:>7.1} % {:>7.1} %",
        "of one core, in the storm",
        share(outcome.storm.gateway),
        share(outcome.storm.redis)
    );
    let [before, most] = [
        (outcome.memory.0, outcome.redis_memory.0),
        (outcome.memory.1, outcome.redis_memory.1),
    ]
    .map(|(gateway, redis)| (gateway as f64 / MIB, redis as f64 / MIB));
    println!(
        "{:<28} {:>5.1} MiB {:>5.1} MiB",
        "resident before the storm", before.0, before.1
    );
    println!(
        "{:<28} {:>5.1} MiB {:>5.1} MiB",
        "resident at most", most.0, most.1
    );
    println!(
        "{:<28} {:>9}",
        "letters in the outbox at most", outcome.most_letters
    );
}
