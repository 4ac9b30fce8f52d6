//! Gateways are restarted one after the other while brokers work and sign in: nobody notices, and every mail goes out once.

#[path = "../support/mod.rs"]
mod support;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;
use support::world::{ADA, StoreKind, World, tan_of};
use support::{Balancer, Browser, eventually};
use tokio::task::JoinSet;

const GATEWAYS: usize = 3;
/// Brokers who work; each opens one page after the other.
const WORKING: usize = 8;
const REQUESTS: usize = 10_000;
/// Time enough to notice that a gateway is leaving, on a busy machine too.
const DELAY: &str = "[shutdown]\ndelay = \"2s\"\n[limits]\nvtnrs_client = \"1000 in 1h\"";

fn broker(number: usize) -> (String, String) {
    (
        format!("60/123/{:04}", 1_000 + number),
        format!("broker{number}@makler.example"),
    )
}

/// Opens pages at one gateway after the other until it is over; gives what went wrong.
async fn work(
    browser: Browser,
    balancer: Arc<Balancer>,
    requests: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
) -> Vec<String> {
    let mut failures = Vec::new();
    let tabs: Vec<_> = balancer.bases.iter().map(|base| browser.at(base)).collect();
    while !over.load(Ordering::SeqCst) {
        let gateway = balancer.next();
        let (base, answer) = (
            &balancer.bases[gateway],
            tabs[gateway].try_open("/kfz/angebot?id=42").await,
        );
        requests.fetch_add(1, Ordering::SeqCst);
        match answer {
            Ok(answer) if answer.status == 200 => {}
            Ok(answer) => failures.push(format!("{base}: {} {}", answer.status, answer.text())),
            Err(error) => failures.push(format!("{base}: {error:?}")),
        }
    }
    failures
}

/// The next gateway's address.
fn at(balancer: &Balancer) -> &str {
    &balancer.bases[balancer.next()]
}

/// Signs one broker in after the other, each step at another gateway; gives how many.
async fn sign_in(world: &World, balancer: &Balancer, over: &AtomicBool) -> usize {
    let mut number = WORKING;
    while !over.load(Ordering::SeqCst) {
        let (vtnr, email) = broker(number);
        let browser = Browser::new(at(balancer));
        browser
            .claim(&vtnr, &email, "/")
            .await
            .leads_to("/ui/login/de/tan");
        let mailed = async || {
            world
                .postbox
                .mails()
                .into_iter()
                .find(|mail| mail.to.iter().any(|to| to.contains(&email)))
        };
        let tan = tan_of(&eventually("the TAN is mailed", mailed).await);
        browser
            .at(at(balancer))
            .enter_tan(&tan, "/")
            .await
            .leads_to("/");
        browser.at(at(balancer)).open("/").await.is(200);
        number += 1;
    }
    number - WORKING
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_are_restarted_one_after_the_other_and_no_request_fails() {
    let mut world = World::builder()
        .store(StoreKind::OwnRedis)
        .gateways(GATEWAYS)
        .config(DELAY)
        .start()
        .await;
    let brokers: String = (0..2_000)
        .map(broker)
        .map(|(vtnr, email)| format!("{vtnr};{email}\n"))
        .collect();
    world.write_brokers(&format!("vtnr;email\n{brokers}"));
    for gateway in &world.gateways {
        eventually("the brokers are known", async || {
            let (vtnr, _) = broker(1_999);
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
    let balancer = Balancer::new(&world);
    let (requests, over) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut working = JoinSet::new();
    for number in 0..WORKING {
        let (vtnr, email) = broker(number);
        let browser = world.signed_in((&vtnr, &email)).await;
        working.spawn(work(
            browser,
            Arc::clone(&balancer),
            Arc::clone(&requests),
            Arc::clone(&over),
        ));
    }

    let (mut gateways, begun) = (std::mem::take(&mut world.gateways), Instant::now());
    let restarts = async {
        let mut restarts = 0;
        while restarts < GATEWAYS || requests.load(Ordering::SeqCst) < REQUESTS {
            let number = restarts % GATEWAYS;
            gateways[number].signal("TERM");
            assert_eq!(gateways[number].end().await, Some(0));
            gateways[number].restart().await;
            eventually("clients are sent there again", async || {
                balancer.is_ready(number).then_some(())
            })
            .await;
            restarts += 1;
        }
        over.store(true, Ordering::SeqCst);
        restarts
    };
    let (restarts, signed_in) = tokio::join!(restarts, sign_in(&world, &balancer, &over));
    let failures: Vec<String> = working.join_all().await.into_iter().flatten().collect();
    let requests = requests.load(Ordering::SeqCst);
    assert!(
        failures.is_empty(),
        "{} of {requests} requests failed: {failures:#?}",
        failures.len()
    );
    let mails = world.postbox.mails().len();
    assert_eq!(mails, WORKING + signed_in, "one mail for each sign-in");
    println!(
        "{restarts} restarts in {:?}: 0 of {requests} requests failed, {signed_in} signed in with one mail each",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_gateway_that_ends_says_how_many_mails_wait() {
    let nobody = format!(
        "[mail]\nurl = \"smtp://127.0.0.1:{}\"",
        support::ports::free()
    );
    let mut world = World::builder()
        .store(StoreKind::OwnRedis)
        .config(&nobody)
        .start()
        .await;
    world.browser().claim(ADA.0, ADA.1, "/").await.is(303);
    world.gateways[0].signal("TERM");
    assert_eq!(world.gateways[0].end().await, Some(0));
    let log = world.log().await;
    assert!(
        log.contains("\"mails_waiting\":1,\"mails_in_hand\":0"),
        "{log}"
    );
}

/// The exit code of `serve` with this configuration and further arguments, where it does not come to serve.
fn refused(config: &std::path::Path, further: &[&str]) -> (Option<i32>, String) {
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_vtnr-gateway"));
    gateway
        .args(["serve", "--config"])
        .arg(config)
        .args(further)
        .stdout(Stdio::null());
    let ended = gateway.output().expect("it runs");
    (
        ended.status.code(),
        String::from_utf8_lossy(&ended.stderr).into_owned(),
    )
}

#[tokio::test]
async fn the_exit_code_says_why_a_gateway_ended() {
    let mut world = World::builder().store(StoreKind::Memory).start().await;
    let config = world.gateways[0].config().to_owned();
    let text = std::fs::read_to_string(&config).expect("read");
    let other = config.with_file_name("other.toml");
    // What is written wrongly: 64.
    for (file, further) in [
        (config.with_file_name("absent.toml"), &[][..]),
        (config.clone(), &["--unknown"]),
    ] {
        assert_eq!(
            refused(&file, further).0,
            Some(64),
            "{} {further:?}",
            file.display()
        );
    }
    std::fs::write(&other, text.replace("[submission]", "[submision]")).expect("written");
    assert_eq!(refused(&other, &[]).0, Some(64));
    std::fs::write(&other, format!("{text}\n[brand]\nlogo = \"absent.svg\"\n")).expect("written");
    let (code, said) = refused(&other, &[]);
    assert!(
        code == Some(64) && said.contains("absent.svg"),
        "{code:?} {said}"
    );
    // What is not there, or taken: 69.
    let (code, said) = refused(&config, &[]);
    assert!(
        code == Some(69) && said.contains("listen.http: cannot listen on 127.0.0.1:"),
        "{code:?} {said}"
    );
    let (code, said) = refused(&config, &["--takeover"]);
    assert!(
        code == Some(69) && said.contains("--takeover needs listen.handover"),
        "{code:?} {said}"
    );
    std::fs::write(&other, text.replace("brokers.csv", "nobody.csv")).expect("written");
    assert_eq!(refused(&other, &[]).0, Some(69));
    // Asked to end: 0, by either signal.
    for signal in ["TERM", "INT"] {
        world.gateways[0].signal(signal);
        assert_eq!(world.gateways[0].end().await, Some(0), "{signal}");
        world.gateways[0].restart().await;
    }
}
