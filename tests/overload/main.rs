//! More requests at once than the gateway serves: the others are told so at once, strangers first, and soon all is as before.

#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::behind::session_of;
use support::world::{ADA, BEN, StoreKind, World};
use support::{Behind, Mode, Node, Raw, Upstream, eventually};
use tokio::sync::watch;
use tokio::task::JoinSet;

const SEATS: usize = 16;
/// Those of brokers; the others are everybody else's.
const BROKERS: usize = 12;
/// What one address gets of the others.
const OF_AN_ADDRESS: usize = 2;
/// What one broker gets of the places for what stays open, where there are few.
const OPEN_OF_A_BROKER: usize = 16;
/// No wait for anything: a second is little on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);

/// An application whose answers wait until they may go.
async fn held(go: watch::Receiver<bool>) -> Upstream {
    Upstream::start(move |mut wire| {
        let mut go = go.clone();
        async move {
            while let Some(request) = wire.request().await {
                if request.line.contains("/langsam") {
                    let _ = go.wait_for(|go| *go).await;
                }
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await;
            }
        }
    })
    .await
}

async fn behind() -> (Behind, watch::Sender<bool>) {
    let (go, waits) = watch::channel(false);
    let listen =
        format!("max_requests = {SEATS}\nmax_connections = 256\ntrusted_proxies = [\"127.0.0.1\"]");
    let builder = World::builder()
        .listen(&listen)
        .config("[upstream]\npublic_paths = [\"/langsam-offen\", \"/offen\"]");
    (Behind::with(held(waits).await, builder).await, go)
}

/// So many requests with these fields that the calculator holds.
async fn under_way(behind: &Behind, path: &str, fields: &str, requests: usize) -> Vec<Raw> {
    let before = behind.upstream.requests().len();
    let mut all = Vec::new();
    for number in 1..=requests {
        // A seat is free just after its request was answered: there may be none for a moment.
        let held = eventually("there is a seat", async || {
            let mut client = behind.connect().await;
            client
                .send(behind.request(&format!("GET {path}"), fields))
                .await;
            let is_held = tokio::select! {
                _ = behind.upstream.has_seen(before + number) => true,
                refused = client.answer() => {
                    assert_eq!(refused.status(), 503, "{refused:?}");
                    false
                }
            };
            is_held.then_some(client)
        });
        all.push(held.await);
    }
    all
}

#[tokio::test]
async fn beyond_the_limit_brokers_are_told_to_come_again_in_a_moment_and_do_not_wait_for_it() {
    let (behind, go) = behind().await;
    let clients = under_way(&behind, "/langsam", "", BROKERS).await;
    let begun = Instant::now();
    let page = behind.ask("GET /kfz", "Accept: text/html\r\n").await;
    assert_eq!((page.status(), page.values("retry-after").len()), (503, 1));
    assert!(
        page.text()
            .contains("Gerade sind sehr viele Anfragen unterwegs"),
        "{page:?}"
    );
    assert!(page.values("set-cookie").is_empty());
    assert_eq!(
        behind
            .ask("GET /kfz", "Accept: application/json\r\n")
            .await
            .values("content-type"),
        ["application/problem+json"]
    );
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    assert_eq!(
        behind.upstream.requests().len(),
        BROKERS,
        "nothing of it went up"
    );
    go.send_replace(true);
    for mut client in clients {
        assert_eq!(client.answer().await.status(), 200);
    }
    eventually("there are seats", async || {
        (behind.ask("GET /kfz", "").await.status() == 200).then_some(())
    })
    .await;
    behind
        .world
        .metric_reaches("vtnr_gateway_requests_total{outcome=\"shed\"}", 2.0)
        .await;
}

#[tokio::test]
async fn neither_brokers_nor_strangers_take_the_others_seats_and_signing_out_always_works() {
    let (behind, go) = behind().await;
    let ben = behind.world.signed_in(BEN).await;
    let stranger = behind.world.browser();
    let brokers = under_way(&behind, "/langsam", "", BROKERS).await;
    ben.open("/kfz").await.is(503);
    stranger.open("/ui/login/de/vtnr-login").await.is(200);
    let mut strangers = Vec::new();
    for client in 0..(SEATS - BROKERS) / OF_AN_ADDRESS {
        strangers.push(
            under_way(
                &behind,
                "/langsam-offen",
                &from(&format!("203.0.113.{client}")),
                OF_AN_ADDRESS,
            )
            .await,
        );
    }
    for path in ["/", "/ui/login/de/vtnr-login", "/langsam-offen"] {
        stranger.open(path).await.is(503);
    }
    assert_eq!(behind.world.gateways[0].readiness().await, 200);
    ben.post("/ui/login/de/abmelden", &[]).await.is(200);
    assert_eq!(ben.cookie("vtnr_session"), None);
    go.send_replace(true);
    drop((brokers, strangers));
    eventually("strangers are served", async || {
        (stranger.open("/ui/login/de/vtnr-login").await.status == 200).then_some(())
    })
    .await;
}

/// As a front names a client.
fn from(client: &str) -> String {
    format!("X-Forwarded-For: {client}\r\n")
}

#[tokio::test]
async fn one_address_takes_a_part_of_strangers_seats_and_ipv6_counts_by_the_network() {
    let (behind, go) = behind().await;
    let asks = async |client: &str| behind.ask("GET /offen", &from(client)).await.status();
    let held = under_way(
        &behind,
        "/langsam-offen",
        &from("2001:db8:1:2::1"),
        OF_AN_ADDRESS,
    )
    .await;
    for (client, status) in [
        ("2001:db8:1:2::1", 503),
        ("2001:db8:1:2:9::9", 503),
        ("2001:db8:1:3::1", 200),
        ("203.0.113.1", 200),
    ] {
        assert_eq!(asks(client).await, status, "{client}");
    }
    go.send_replace(true);
    for mut client in held {
        assert_eq!(client.answer().await.status(), 200);
    }
    eventually("its seats are free", async || {
        (asks("2001:db8:1:2::1").await == 200).then_some(())
    })
    .await;
}

const EVENTS: &str = "Accept: text/event-stream\r\n";

#[tokio::test]
async fn a_websocket_or_a_stream_of_events_takes_no_request_seat_and_one_broker_a_part_of_their_own()
 {
    let (behind, _go) = behind().await;
    let ben = session_of(&behind.world.signed_in(BEN).await);
    let _streams = under_way(&behind, "/langsam", EVENTS, OPEN_OF_A_BROKER).await;
    assert_eq!(
        behind.ask("GET /kfz", "").await.status(),
        200,
        "no seat of a request's is taken"
    );
    let refused = behind.ask("GET /langsam", EVENTS).await;
    assert_eq!(
        (refused.status(), refused.values("retry-after").len()),
        (503, 1)
    );
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    assert_eq!(
        behind.ask("GET /kfz", upgrade).await.status(),
        503,
        "a WebSocket counts alike"
    );
    let mut another = behind.connect().await;
    let request = format!(
        "GET /kfz HTTP/1.1\r\nHost: {}\r\nCookie: {ben}\r\n{EVENTS}\r\n",
        behind.host
    );
    assert_eq!(
        another.send(request).await.answer().await.status(),
        200,
        "another broker's"
    );
}

#[tokio::test]
async fn a_form_that_was_kept_takes_a_seat_and_waits_for_one() {
    let (behind, go) = behind().await;
    let browser = behind.world.signed_in(BEN).await;
    browser.drop_cookie("vtnr_session");
    let told = browser
        .post_body(
            "/kfz/antrag",
            "application/x-www-form-urlencoded",
            "hsn=0603",
        )
        .await;
    let link = told.is(401).href_of("ZUR ANMELDUNG");
    let signed_in = browser
        .post(&link, &[("vtnr", BEN.0), ("email", BEN.1)])
        .await;
    let page = browser.follow(signed_in).await;
    let brokers = under_way(&behind, "/langsam", "", BROKERS).await;
    let refused = browser.press(&page, "Eingabe jetzt absenden").await;
    refused
        .is(503)
        .shows("Gerade sind sehr viele Anfragen unterwegs");
    assert_eq!(
        behind.upstream.requests().len(),
        BROKERS,
        "it did not go up"
    );
    go.send_replace(true);
    drop(brokers);
    eventually("it is sent", async || {
        (browser.press(&page, "Eingabe jetzt absenden").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(
        behind
            .upstream
            .requests()
            .iter()
            .filter(|request| request.line.starts_with("POST "))
            .count(),
        1
    );
}

#[tokio::test]
async fn a_server_that_hangs_takes_a_part_of_the_seats_and_brokers_of_the_other_are_served() {
    let nodes = [
        Node::with("a", ".node1").await,
        Node::with("b", ".node2").await,
    ];
    let urls = nodes
        .each_ref()
        .map(|node| format!("{:?}", node.upstream.url()));
    let routes = "affinity_cookie = \"JSESSIONID\"\nroutes = [\"node1\", \"node2\"]";
    let builder = World::builder()
        .store(StoreKind::Memory)
        .listen(&format!("max_requests = {SEATS}"));
    let world = builder
        .config(&format!(
            "[upstream]\nurl = [{}]\n{routes}",
            urls.join(", ")
        ))
        .start()
        .await;
    let session = session_of(&world.signed_in(ADA).await);
    let request = |node: &str| {
        let cookies = format!("{session}; JSESSIONID=0A.{node}");
        format!(
            "GET /kfz HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nCookie: {cookies}\r\n\r\n",
            world.gateways[0].port
        )
    };
    let ask = async |node: &str| {
        let mut client = Raw::connect(world.gateways[0].port).await;
        client.send(request(node)).await;
        client
    };
    nodes[0].set(Mode::Hanging);
    let mut hanging = Vec::new();
    for _ in 0..BROKERS / 2 {
        hanging.push(ask("node1").await);
    }
    eventually("they hang", async || {
        (nodes[0].requests().len() == BROKERS / 2).then_some(())
    })
    .await;
    let refused = ask("node1").await.answer().await;
    assert_eq!(
        (refused.status(), refused.values("retry-after").len()),
        (503, 1),
        "{refused:?}"
    );
    for _ in 0..3 {
        assert_eq!(ask("node2").await.answer().await.status(), 200);
    }
    drop(hanging);
    nodes[0].set(Mode::Well);
    eventually("it is asked again", async || {
        (ask("node1").await.answer().await.status() == 200).then_some(())
    })
    .await;
}

/// Clients that ask without a pause, half of them as a broker; those that begin a request and no more; those that begin a body and no more;
/// and those that take nothing of a large answer.
const ASKING: usize = 200;
const HALF_A_HEADER: usize = 100;
const HALF_A_BODY: usize = 12;
const TAKING_NOTHING: usize = 12;
/// As many as can be served at once.
const AT_MOST: usize = 64;
const KEPT_UP: Duration = Duration::from_secs(3);
/// So much more memory than before the gateway may have meanwhile and afterwards.
const BOUND: usize = 96 << 20;

fn resident(behind: &Behind) -> usize {
    let pages = std::fs::read_to_string(format!("/proc/{}/statm", behind.world.gateways[0].pid()))
        .expect("it runs");
    pages
        .split(' ')
        .nth(1)
        .expect("a number")
        .parse::<usize>()
        .expect("a number")
        * 4_096
}

/// An application that takes a moment for each answer, and sends large ones where the target says so.
async fn busy() -> Upstream {
    Upstream::start(|mut wire| async move {
        while let Some(request) = wire.request().await {
            if request.line.contains("/gross") {
                wire.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                    64 << 20
                ))
                .await;
                while wire.try_send(vec![b'x'; 65_536]).await.is_ok() {}
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
    })
    .await
}

/// Asks this again and again until it is over; counts what was answered: served, told to come again.
async fn ask_on(port: u16, request: Vec<u8>, over: Arc<AtomicBool>) -> [usize; 2] {
    let mut answered = [0; 2];
    let mut client = Raw::connect(port).await;
    while !over.load(Ordering::SeqCst) {
        let answer = client.send(&request).await.answer().await;
        if answer.values("connection") == ["close"] {
            client = Raw::connect(port).await;
        }
        answered[usize::from(answer.status() == 503)] += 1;
        assert!(matches!(answer.status(), 200 | 303 | 503), "{answer:?}");
        assert_eq!(
            answer.values("retry-after").len(),
            usize::from(answer.status() == 503),
            "{answer:?}"
        );
    }
    answered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_crowd_with_slow_clients_among_it_memory_is_bounded_nobody_waits_for_ever_and_all_is_served_afterwards()
 {
    let patient =
        "header_timeout = \"60s\"\nbody_timeout = \"60s\"\nmax_connections_per_client = 5000";
    let builder = World::builder().listen(&format!("max_requests = {AT_MOST}\n{patient}"));
    let behind = Behind::with(busy().await, builder).await;
    let (ben, stranger) = (behind.world.signed_in(BEN).await, behind.world.browser());
    let before = resident(&behind);
    let most = Arc::new(AtomicUsize::new(before));
    let mut slow = Vec::new();
    for number in 0..HALF_A_HEADER + HALF_A_BODY + TAKING_NOTHING {
        let mut client = behind.connect().await;
        match number {
            number if number < HALF_A_HEADER => {
                client
                    .send(format!("GET / HTTP/1.1\r\nHost: {}\r\nX: ", behind.host))
                    .await
            }
            number if number < HALF_A_HEADER + HALF_A_BODY => {
                client
                    .send(behind.request("POST /kfz", "Content-Length: 50000\r\n"))
                    .await
                    .send(vec![b'x'; 10_000])
                    .await
            }
            _ => client.send(behind.request("GET /gross", "")).await,
        };
        slow.push(client);
    }
    let over = Arc::new(AtomicBool::new(false));
    let mut asking = JoinSet::new();
    for number in 0..ASKING {
        let request = match number % 4 {
            0 => format!(
                "GET /ui/login/de/vtnr-login HTTP/1.1\r\nHost: {}\r\n\r\n",
                behind.host
            )
            .into_bytes(),
            1 => format!(
                "GET /kfz HTTP/1.1\r\nHost: {}\r\nAccept: text/html\r\n\r\n",
                behind.host
            )
            .into_bytes(),
            _ => behind.request("GET /kfz", ""),
        };
        asking.spawn(ask_on(
            behind.world.gateways[0].port,
            request,
            Arc::clone(&over),
        ));
    }
    let begun = Instant::now();
    let admin = format!("http://127.0.0.1:{}", behind.world.gateways[0].admin);
    let (mut served, mut put_off) = (0, 0);
    while begun.elapsed() < KEPT_UP {
        let asked = Instant::now();
        let answer = ben
            .on_new_connections(&behind.world.base())
            .open("/kfz")
            .await;
        match answer.status.as_u16() {
            200 => served += 1,
            503 if answer.headers.contains_key("retry-after") => put_off += 1,
            _ => panic!("{} {:?}", answer.status, answer.headers),
        }
        for path in ["/metrics", "/readyz", "/healthz"] {
            let url = format!("{admin}{path}");
            support::Browser::new(&url).open(&url).await.is(200);
        }
        most.fetch_max(resident(&behind), Ordering::SeqCst);
        assert!(
            asked.elapsed() < Duration::from_secs(30),
            "{:?}",
            asked.elapsed()
        );
    }
    ben.post("/ui/login/de/abmelden", &[]).await.is(200);
    assert_eq!(ben.cookie("vtnr_session"), None);
    over.store(true, Ordering::SeqCst);
    let answered = asking
        .join_all()
        .await
        .into_iter()
        .fold([0; 2], |all, some| [all[0] + some[0], all[1] + some[1]]);
    most.fetch_max(resident(&behind), Ordering::SeqCst);
    let grown = (most.load(Ordering::SeqCst) - before) >> 20;
    println!(
        "{answered:?} served and told to come again, a broker {served} and {put_off} times; {grown} MiB more"
    );
    assert!(answered.iter().all(|answers| *answers > 0), "{answered:?}");
    assert!(grown < BOUND >> 20, "{grown} MiB more");
    // The slow ones are still there, and keep nobody from being served.
    for _ in 0..20 {
        behind.browser.open("/kfz").await.is(200);
        stranger.open("/ui/login/de/vtnr-login").await.is(200);
    }
    drop(slow);
    eventually("they are gone", async || {
        (behind.world.metric("vtnr_gateway_connections_open").await < 10.0).then_some(())
    })
    .await;
    behind.browser.open("/kfz").await.is(200);
    assert!(resident(&behind).saturating_sub(before) < BOUND);
}
