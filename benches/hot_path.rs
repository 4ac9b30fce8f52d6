//! What the gateway itself costs a forwarded request: each step, and all that Pingora asks of it together; beside that what Pingora pays
//! to copy the header, and what reading cookies and finding a session commonly cost.
//!
//! Fails if a step allocates more than its bound; `make test` checks the bounds too.

#[path = "../tests/hot_path/arrived.rs"]
mod arrived;
#[path = "support/figures.rs"]
mod figures;
#[path = "../tests/hot_path/steps.rs"]
mod steps;

use criterion::{BatchSize, BenchmarkGroup, Criterion, measurement::WallTime};
use domain::session::Session;
use std::collections::HashMap;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;
use steps::{STEPS, Stage};

const GROUP: &str = "hot path";

/// What the others do.
struct Peers {
    cookies: String,
    sessions: Mutex<HashMap<String, Session>>,
}

type Peer = (&'static str, fn(&mut Stage, &Peers));

const PEERS: [Peer; 3] = [
    ("Pingora copies the header (peer)", |stage, _| {
        _ = black_box(stage.hot().copied())
    }),
    ("cookies into a map (peer)", |_, peers| {
        _ = black_box(peers.read())
    }),
    ("session by its cookie (peer)", |_, peers| {
        _ = black_box(peers.find())
    }),
];

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut stage = runtime.block_on(Stage::new(arrived::FULL, arrived::ONE_SERVER));
    let _within = runtime.enter();
    let peers = Peers::new(&mut stage);
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    time(criterion.benchmark_group(GROUP), &mut stage, &peers);
    criterion.final_summary();
    if report(&mut stage, &peers) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn time(mut group: BenchmarkGroup<'_, WallTime>, stage: &mut Stage, peers: &Peers) {
    for step in STEPS {
        group.bench_function(step.what, |bencher| {
            let stage = std::cell::RefCell::new(&mut *stage);
            let headers = || stage.borrow_mut().headers();
            bencher.iter_batched_ref(
                headers,
                |headers| (step.run)(&mut stage.borrow_mut(), headers),
                BatchSize::SmallInput,
            );
        });
    }
    for (what, run) in PEERS {
        group.bench_function(what, |bencher| bencher.iter(|| run(stage, peers)));
    }
}

/// Prints what everything costs, and says whether the bounds hold.
fn report(stage: &mut Stage, peers: &Peers) -> bool {
    println!(
        "{:<34} {:>9} {:>12} {:>8}",
        GROUP, "time", "allocations", "bytes"
    );
    let mut holds = true;
    for step in STEPS {
        let cost = stage.cost(&step);
        row(step.what, cost);
        if cost.0 > step.most.0 || cost.1 > step.most.1 {
            eprintln!(
                "{}: at most {} allocations and {} bytes",
                step.what, step.most.0, step.most.1
            );
            holds = false;
        }
    }
    for (what, run) in PEERS {
        let counted = allocation_counter::measure(|| run(stage, peers));
        row(what, (counted.count_total, counted.bytes_total));
    }
    holds
}

fn row(what: &str, (allocations, bytes): (u64, u64)) {
    let time = figures::nanoseconds(GROUP, what)
        .map_or_else(|| "-".to_owned(), |time| format!("{time:.0} ns"));
    println!("{what:<34} {time:>9} {allocations:>12} {bytes:>8}");
}

impl Peers {
    fn new(stage: &mut Stage) -> Self {
        let header = stage.hot().copied();
        let cookies = header.headers["cookie"].to_str().expect("ASCII").to_owned();
        let peers = Self {
            cookies,
            sessions: Mutex::default(),
        };
        let token = peers
            .read()
            .remove("__Host-vtnr_session")
            .expect("a session");
        peers
            .sessions
            .lock()
            .expect("no panic")
            .insert(token, stage.session);
        peers
    }

    fn read(&self) -> HashMap<String, String> {
        let cookies = cookie::Cookie::split_parse(black_box(&*self.cookies)).flatten();
        cookies
            .map(|cookie| (cookie.name().to_owned(), cookie.value().to_owned()))
            .collect()
    }

    fn find(&self) -> Option<Session> {
        let token = self
            .cookies
            .split("__Host-vtnr_session=")
            .nth(1)?
            .split(';')
            .next()?;
        self.sessions.lock().expect("no panic").get(token).copied()
    }
}
