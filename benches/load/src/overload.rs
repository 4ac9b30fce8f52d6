//! Far more than the gateway can serve: thousands of connections that ask without a pause. Meanwhile somebody looks what a broker, a
//! stranger and an operator get, and how soon all is as before.

use crate::generate::{self, Load};
use crate::ground::Ground;
use crate::ground::gateway::{self, Gateway, With};
use crate::ground::servers;
use reqwest::Client;
use std::time::{Duration, Instant};

/// How long it lasts.
const STORM: u32 = 20;
/// How often each is looked at.
const LOOKS_EVERY: Duration = Duration::from_millis(100);
/// As quick as before.
const QUICK: Duration = Duration::from_millis(50);

/// What one kind of request met.
#[derive(Default)]
struct Seen {
    served: Vec<Duration>,
    put_off: Vec<Duration>,
    others: Vec<String>,
}

impl Seen {
    async fn look(&mut self, request: reqwest::RequestBuilder) {
        let begun = Instant::now();
        match request.send().await {
            Ok(answer) if answer.status() == 200 => self.served.push(begun.elapsed()),
            Ok(answer)
                if answer.status() == 503 && answer.headers().contains_key("retry-after") =>
            {
                self.put_off.push(begun.elapsed())
            }
            Ok(answer) => self.others.push(answer.status().to_string()),
            Err(error) => self.others.push(error.to_string()),
        }
    }

    fn print(mut self, what: &str) {
        let mut of = |times: fn(&mut Self) -> &mut Vec<Duration>| {
            let times = times(&mut self);
            times.sort();
            let at = |share: usize| {
                times
                    .get((times.len() * share / 100).min(times.len().saturating_sub(1)))
                    .map_or(0, Duration::as_millis)
            };
            format!("{} (p50 {} ms, p99 {} ms)", times.len(), at(50), at(99))
        };
        let (served, put_off) = (of(|seen| &mut seen.served), of(|seen| &mut seen.put_off));
        println!("| {what} | {served} | {put_off} | {} |", self.others.len());
        self.others
            .iter()
            .take(3)
            .for_each(|other| eprintln!("{what}: {other}"));
    }
}

/// Overloads the program with so many connections.
pub(crate) async fn measure(ground: Ground, program: &str, connections: usize) {
    let (redis, _store) = servers::redis(&ground);
    let (upstream, _origin) = servers::upstream(&ground);
    let store = format!("redis://{redis}/0");
    let gateway = gateway::start(
        &ground,
        "overload",
        program,
        With {
            store: &store,
            access_log: true,
        },
        upstream,
    )
    .await;
    let before = gateway.process.memory();
    let load = Load {
        connections,
        ..Load::MAIN
    };
    let (doors, held) = (gateway.doors, gateway.held.clone());
    let alone = {
        let (held, few) = (held.clone(), Load::MAIN);
        let ground = &ground;
        tokio::task::block_in_place(|| generate::run(ground, few, doors, "", &held, 4))
    };
    println!(
        "64 connections: {:.0} requests a second, p99 {:.1} ms",
        alone.requests / alone.seconds,
        alone.p99
    );
    let storm = std::thread::spawn(move || generate::crowd(load, doors, &held, STORM));
    let (broker, stranger, operator, most) = look_around(&gateway, || storm.is_finished()).await;
    let (crowd, said) = storm.join().expect("no panic");
    said.lines()
        .filter(|line| line.contains("Non-2xx") || line.contains("Socket errors"))
        .for_each(|line| println!("{}", line.trim()));
    let calm = Instant::now();
    let client = Client::new();
    loop {
        let begun = Instant::now();
        let answer = signed_in(&client, &gateway).send().await;
        if answer.is_ok_and(|answer| answer.status() == 200) && begun.elapsed() < QUICK {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!(
        "{connections} connections: {:.0} requests a second, p50 {:.0} ms, p99 {:.0} ms",
        crowd.requests / crowd.seconds,
        crowd.p50,
        crowd.p99
    );
    println!(
        "\n| meanwhile, on a connection of its own | served | 503 with Retry-After | anything else |\n|---|---|---|---|"
    );
    broker.print("a broker's page");
    stranger.print("a stranger's sign-in page");
    operator.print("the operator's /metrics");
    println!(
        "\nmemory: {before:.0} MiB before, {most:.0} MiB at most; a page within {QUICK:?} again after {:?}",
        calm.elapsed()
    );
}

fn signed_in(client: &Client, gateway: &Gateway) -> reqwest::RequestBuilder {
    let request = client.get(format!("http://{}/1k", gateway.doors.http));
    generate::fields(&gateway.held)
        .into_iter()
        .fold(request, |request, (name, value)| {
            request.header(name, value)
        })
}

async fn look_around(gateway: &Gateway, is_over: impl Fn() -> bool) -> (Seen, Seen, Seen, f64) {
    let (mut broker, mut stranger, mut operator, mut most) =
        (Seen::default(), Seen::default(), Seen::default(), 0.0_f64);
    while !is_over() {
        // New connections: those that are open stand in no queue.
        let client = Client::builder()
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(20))
            .build()
            .expect("a client");
        let page = client
            .get(format!(
                "http://{}/ui/login/de/vtnr-login",
                gateway.doors.http
            ))
            .header("Accept", "text/html");
        let metrics = client.get(format!("http://{}/metrics", gateway.admin));
        tokio::join!(
            broker.look(signed_in(&client, gateway)),
            stranger.look(page),
            operator.look(metrics)
        );
        most = most.max(gateway.process.memory());
        tokio::time::sleep(LOOKS_EVERY).await;
    }
    (broker, stranger, operator, most)
}
