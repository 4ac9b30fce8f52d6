//! What the gateway costs beside what an operator would build instead.
//!
//! The load, the upstream and every helper have one core, what is measured has another one. Each contender is first seen to do what
//! it is there for. Then all take turns, round after round; ratios are made within a round, and their median counts.

mod contenders;
mod generate;
mod ground;
mod overload;
mod report;
mod train;

#[path = "../../../tests/support/browser.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod browser;

#[path = "../../../tests/hot_path/browser.rs"]
mod browser_fields;

use clap::Parser;
use contenders::Programs;
use generate::{Load, Protocol};
use ground::Ground;
use report::Report;
use std::path::PathBuf;

/// Measures the gateway and its peers on this machine, which needs two cores and nothing else to do.
#[derive(Parser)]
struct Arguments {
    /// Rounds of each load
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each run
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Connections that wait, for the memory that they take
    #[arg(long, default_value_t = 5_000)]
    idle: usize,
    /// Every protocol with every size and number of connections, instead of those that the table needs
    #[arg(long)]
    all: bool,
    /// Only loads whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Only contenders whose names contain one of these
    #[arg(long)]
    who: Vec<String>,
    /// The gateway's program
    #[arg(long, value_name = "FILE")]
    release: Option<PathBuf>,
    /// The gateway's program, built with a profile: see `make pgo`
    #[arg(long, value_name = "FILE")]
    trained: Option<PathBuf>,
    /// Instead of all that, asks for more than can be served over so many connections, and tells what others get meanwhile
    #[arg(long, value_name = "CONNECTIONS")]
    overload: Option<usize>,
    /// Instead of measuring, uses this program of the gateway's as brokers do, so that it can write its profile
    #[arg(long, value_name = "FILE")]
    train: Option<PathBuf>,
}

/// What the table of benches/RESULTS.md is made of.
const TABLE: [Load; 7] = [
    Load::MAIN,
    Load::TWO,
    Load {
        file: "16k",
        ..Load::MAIN
    },
    Load {
        file: "1m",
        ..Load::MAIN
    },
    Load {
        protocol: Protocol::TlsHttp1,
        ..Load::MAIN
    },
    Load::H2,
    Load::NEW,
];

fn main() {
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("the only provider");
    let arguments = Arguments::parse();
    let ground = Ground::lay();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    if let Some(program) = arguments.train {
        return runtime.block_on(train::train(&ground, &program.display().to_string()));
    }
    let program = |file: &Option<PathBuf>, otherwise: &str| {
        let file = file
            .clone()
            .unwrap_or_else(|| ground.programs.join(otherwise));
        file.exists().then(|| file.display().to_string())
    };
    if let Some(connections) = arguments.overload {
        let program = program(&arguments.release, "vtnr-gateway").expect("the gateway was built");
        return runtime.block_on(overload::measure(ground, &program, connections));
    }
    let programs = Programs {
        release: program(&arguments.release, "vtnr-gateway").expect("the gateway was built"),
        trained: program(&arguments.trained, "vtnr-gateway-pgo"),
    };
    programs.warn_of_another_age();
    let (mut contenders, _surroundings) = runtime.block_on(contenders::all(&ground, &programs));
    contenders.retain(|one| {
        arguments.who.is_empty()
            || arguments
                .who
                .iter()
                .any(|name| one.name.contains(name.as_str()))
    });
    for contender in &contenders {
        runtime.block_on(contender.check());
    }
    let mut report = Report::default();
    for load in loads(&arguments) {
        eprintln!("{}", report::name(load));
        let mut turns: Vec<_> = contenders
            .iter()
            .filter(|one| load.protocol == Protocol::Http1 || one.speaks_tls())
            .collect();
        for contender in &turns {
            contender.bear(&ground, load, 1);
        }
        for _ in 0..arguments.rounds {
            for contender in &turns {
                report.note(
                    load,
                    contender.name,
                    contender.bear(&ground, load, arguments.seconds),
                );
            }
            // Whatever drifts within a round favours the other ones in the next.
            turns.reverse();
        }
        report.print(load);
    }
    report.print_goals();
    if arguments.only.is_empty() || "idle".contains(&arguments.only) {
        let tls = ground.trusting();
        println!(
            "\n{} idle connections, HTTP/1.1: MiB in use before, with them",
            arguments.idle
        );
        for contender in &contenders {
            for (over, tls) in [("plain", None), ("TLS", Some(&tls))]
                .into_iter()
                .take(if contender.speaks_tls() { 2 } else { 1 })
            {
                let (before, with) = contender.memory_of_idle(tls, arguments.idle);
                println!("| {} | {over} | {before:.0} | {with:.0} |", contender.name);
                report.note_memory(contender.name, over, with);
            }
        }
        report.print_memory_goals();
    }
}

fn loads(arguments: &Arguments) -> Vec<Load> {
    let all = || {
        let protocols = [Protocol::Http1, Protocol::TlsHttp1, Protocol::TlsHttp2];
        let of = |protocol| {
            ground::FILES.iter().flat_map(move |(file, _)| {
                [2, 64].map(|connections| Load {
                    protocol,
                    file,
                    connections,
                })
            })
        };
        protocols
            .into_iter()
            .flat_map(of)
            .chain([Load::NEW])
            .collect::<Vec<_>>()
    };
    let mut loads = if arguments.all { all() } else { TABLE.to_vec() };
    loads.retain(|load| report::name(*load).contains(&arguments.only));
    loads
}
