//! Brokers who sign in, work, send applications and sign out, while gateways are killed, restarted and stopped, Redis and the mail
//! server fail, at random from a seed. Beside all of it an account is kept: at the end nothing is lost, nothing happened twice, nobody
//! saw anything of another broker's, and whoever is signed in is still so.
//!
//! `make test` runs a minute of it; `make soak` half an hour. `SOAK_SEED` repeats what was done, though not what that met.

mod account;
mod desk;
mod dice;
mod faults;
#[path = "../support/mod.rs"]
mod support;

use account::{Account, application};
use desk::Desk;
use dice::Dice;
use faults::Faults;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::world::{StoreKind, World};
use support::{Balancer, Browser, eventually};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const GATEWAYS: usize = 3;
const DESKS: usize = 12;
/// Each sign-in with a TAN takes a broker who has none under way.
const BROKERS: usize = 20_000;
const CONFIG: &str = "[shutdown]\ndelay = \"2s\"\n[limits]\nvtnrs_client = \"1000000 in 1h\"\nfailures_client = \"1000000 in 1h\"";
/// A gateway that was just started has this much less than one that has been busy for long.
const MAX_MEMORY: u64 = 400 << 20;

/// The broker of this number, and the address on file.
fn broker(number: usize) -> (String, String) {
    (
        format!("60/{:03}/{:04}", 100 + number / 10_000, number % 10_000),
        format!("broker{number}@makler.example"),
    )
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| {
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {value}"))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_nothing_is_lost_nothing_happens_twice_and_nobody_sees_anothers_data() {
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .map_or(0, |now| now.as_secs());
    let (seed, length) = (
        setting("SOAK_SEED", now),
        Duration::from_secs(setting("SOAK_SECONDS", 60)),
    );
    println!("SOAK_SEED={seed} SOAK_SECONDS={}", length.as_secs());
    let account = Arc::new(Account::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(application(listener, Arc::clone(&account)));
    let builder = World::builder()
        .store(StoreKind::DurableRedis)
        .gateways(GATEWAYS)
        .upstream(&upstream)
        .config(CONFIG);
    let mut world = builder.start().await;
    let brokers: String = (0..BROKERS)
        .map(broker)
        .map(|(vtnr, email)| format!("{vtnr};{email}\n"))
        .collect();
    world.write_brokers(&format!("vtnr;email\n{brokers}"));
    for gateway in &world.gateways {
        eventually("the brokers are known", async || {
            let (vtnr, _) = broker(BROKERS - 1);
            let answer = Browser::new(&gateway.base())
                .claim(&vtnr, "stranger@makler.example", "/")
                .await;
            answer
                .location()
                .is_some_and(|location| location.contains("unbekannte-e-mail"))
                .then_some(())
        })
        .await;
    }
    tokio::spawn(Arc::clone(&account).collect(world.postbox.clone()));
    let (balancer, over) = (Balancer::new(&world), Arc::new(AtomicBool::new(false)));
    let faults = Arc::new(Faults::default());
    let mut desks = JoinSet::new();
    for number in 0..DESKS {
        let dice = Dice::new(seed, number);
        let desk = Desk::new(
            dice,
            Arc::clone(&balancer),
            Arc::clone(&account),
            Arc::clone(&faults),
            world.postbox.clone(),
        );
        desks.spawn(desk.work(Arc::clone(&over)));
    }

    let mut gateways = std::mem::take(&mut world.gateways);
    let (mut dice, begun) = (Dice::new(seed, DESKS), Instant::now());
    while begun.elapsed() < length {
        faults
            .happen(&mut dice, &mut gateways, &world, &account)
            .await;
        tokio::time::sleep(Duration::from_millis(500 + dice.below(2_000))).await;
    }
    for gateway in &gateways {
        gateway.ready().await;
    }
    over.store(true, Ordering::SeqCst);
    let signed_in: Vec<_> = desks.join_all().await.into_iter().flatten().collect();
    for browser in &signed_in {
        for base in &balancer.bases {
            let answer = browser.at(base).open("/").await;
            account.expect(answer.status == 200, || {
                format!("signed in, and yet {} at {base}", answer.status)
            });
        }
    }
    for gateway in &gateways {
        let memory = memory_of(gateway.pid());
        account.expect(memory < MAX_MEMORY, || {
            format!("a gateway has {} MiB in use", memory >> 20)
        });
    }
    account.settle().await;
    println!(
        "{account}; {}; {} signed in at the end",
        faults.summary(),
        signed_in.len()
    );
    let wrong = account.wrong();
    assert!(
        wrong.is_empty(),
        "SOAK_SEED={seed}: {} things went wrong: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(20)]
    );
    assert!(account.is_plausible(), "{account}");
}

/// Bytes in use.
fn memory_of(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it lives");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("a figure");
    line.split_whitespace()
        .next()
        .and_then(|kibibytes| kibibytes.parse::<u64>().ok())
        .expect("a figure")
        << 10
}
