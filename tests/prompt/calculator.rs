//! The calculator fails, whole or in part: the session is kept, nothing goes up twice, and all goes on when it is back.

use crate::support::behind::session_of;
use crate::support::node::{ALONE, HEALTH, SLOW};
use crate::support::world::{ADA, BEN, Builder, StoreKind};
use crate::support::{
    Answer, Behind, Browser, Mode, Node, Raw, Upstream, World, eventually, ports,
};
use reqwest::Method;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const FORM: &str = "application/x-www-form-urlencoded";
/// What a broker is told whose form went nowhere.
const UNSENT: &str = "Ihre Eingabe haben wir nicht weitergegeben";
/// How often a server is killed under load.
const DEATHS: usize = 4;
const LIMITS: &str = "health_interval = \"200ms\"\nhealth_timeout = \"500ms\"";

/// Two servers, `a` and `b`.
async fn two() -> [Node; 2] {
    [Node::start("a").await, Node::start("b").await]
}

/// Before these servers, with further keys in `[upstream]`.
fn before(nodes: &[Node], further: &str) -> Builder {
    looked_at(nodes, &format!("{LIMITS}\n{further}"))
}

/// The same without the usual limits.
fn looked_at(nodes: &[Node], keys: &str) -> Builder {
    let urls: Vec<_> = nodes
        .iter()
        .map(|node| format!("{:?}", node.upstream.url()))
        .collect();
    let keys = format!("[upstream]\nurl = [{}]\n{keys}", urls.join(", "));
    World::builder().store(StoreKind::Memory).config(&keys)
}

/// Which of the two answered.
fn who(answer: &Answer) -> usize {
    assert_eq!(answer.status, 200, "{}", answer.body);
    ["a", "b"]
        .iter()
        .position(|name| answer.body.starts_with(name))
        .unwrap_or_else(|| panic!("{}", answer.body))
}

async fn own(browser: &Browser) -> usize {
    who(&browser.open(ALONE).await)
}

/// Where somebody is who is not signed in and is sent to this server.
async fn stranger_of(world: &World, server: usize) -> (&'static str, String) {
    for number in 0..100 {
        let from = ("x-forwarded-for", format!("192.0.2.{number}"));
        let answer = Browser::new(&world.base())
            .send(Method::GET, "/impressum", std::slice::from_ref(&from), None)
            .await;
        if who(&answer) == server {
            return from;
        }
    }
    panic!("a hundred strangers, and none at {server}")
}

async fn is_up(world: &World, node: &Node, up: f64) {
    let line = format!(
        "vtnr_gateway_upstream_server_up{{server=\"127.0.0.1:{}\"}}",
        node.upstream.port()
    );
    eventually(&format!("{line} {up}"), async || {
        (world.metric(&line).await == up).then_some(())
    })
    .await;
}

async fn connects(world: &World) -> f64 {
    let mut all = 0.0;
    for outcome in ["ok", "refused", "timed_out", "failed"] {
        all += world
            .metric(&format!(
                "vtnr_gateway_upstream_connects_total{{outcome=\"{outcome}\"}}"
            ))
            .await;
    }
    all
}

#[tokio::test]
async fn a_dead_calculator_costs_no_connection_a_request_and_is_back_within_two_seconds() {
    let mut behind = Behind::http(Upstream::fine().await).await;
    let port = behind.upstream.port();
    behind.upstream.kill().await;
    eventually("the outage is noticed", async || {
        behind.ask("GET /", "").await;
        (behind.world.metric("vtnr_gateway_upstream_breaker").await == 1.0).then_some(())
    })
    .await;
    let (before, at_once) = (
        connects(&behind.world).await,
        behind
            .world
            .metric("vtnr_gateway_upstream_unavailable_total")
            .await,
    );
    for line in ["GET /", "POST /"].repeat(50) {
        let answer = behind
            .ask(line, "Accept: text/html\r\nContent-Length: 0\r\n")
            .await;
        assert_eq!(
            (answer.status(), answer.values("retry-after")),
            (502, vec!["5"]),
            "{line}"
        );
        assert!(answer.values("set-cookie").is_empty(), "{answer:?}");
    }
    assert_eq!(
        connects(&behind.world).await,
        before,
        "connections that requests asked for"
    );
    assert_eq!(
        behind
            .world
            .metric("vtnr_gateway_upstream_unavailable_total")
            .await,
        at_once + 100.0
    );
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .expect("the port is free again");
    let begun = Instant::now();
    let back = Upstream::at(listener, |mut wire| async move {
        while wire.request().await.is_some() {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
    });
    eventually("it is back", async || {
        (behind.ask("GET /", "").await.status() == 200).then_some(())
    })
    .await;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "after {:?}",
        begun.elapsed()
    );
    behind
        .world
        .metric_is("vtnr_gateway_upstream_breaker", 0.0)
        .await;
    drop(back);
}

#[tokio::test]
async fn a_gateway_whose_calculator_is_dead_stays_ready_and_says_so() {
    let world = World::builder()
        .store(StoreKind::Memory)
        .upstream(&format!("http://127.0.0.1:{}", ports::free()))
        .start()
        .await;
    let url = format!("http://127.0.0.1:{}/readyz", world.gateways[0].admin);
    let told = eventually("it is told", async || {
        let told = Browser::new(&url).open(&url).await;
        told.body.contains("calculator").then_some(told)
    })
    .await;
    assert_eq!(told.status, 200);
    assert!(
        told.body.starts_with("ready\n")
            && told
                .body
                .contains("calculator: impaired: 1 of 1 servers down: "),
        "{}",
        told.body
    );
}

#[tokio::test]
async fn a_server_that_says_that_it_is_not_well_is_not_asked_until_it_is() {
    let node = Node::start("a").await;
    node.set(Mode::Unwell);
    let world = before(
        std::slice::from_ref(&node),
        &format!("health_path = \"{HEALTH}\""),
    )
    .start()
    .await;
    let browser = world.signed_in(ADA).await;
    is_up(&world, &node, 0.0).await;
    let (begun, accepted) = (Instant::now(), node.upstream.accepted());
    for _ in 0..50 {
        browser.open("/").await.is(502);
    }
    let checks = begun.elapsed().as_millis() / 200 + 2;
    assert!(
        (node.upstream.accepted() - accepted) as u128 <= checks,
        "checks come at their own pace, whatever is asked"
    );
    assert!(node.requests().is_empty(), "{:?}", node.requests());
    let check = node.upstream.last();
    assert_eq!(check.line, format!("GET {HEALTH} HTTP/1.1"));
    assert_eq!(
        check.values("host"),
        [format!("127.0.0.1:{}", world.gateways[0].port)],
        "as in every other request"
    );
    node.set(Mode::Well);
    let begun = Instant::now();
    eventually("it is back", async || {
        (browser.open("/").await.status == 200).then_some(())
    })
    .await;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "after {:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_server_that_hangs_gets_no_requests_while_another_is_well() {
    let nodes = two().await;
    let world = before(&nodes, &format!("health_path = \"{HEALTH}\""))
        .start()
        .await;
    let browser = world.signed_in(ADA).await;
    let own = own(&browser).await;
    nodes[own].set(Mode::Hanging);
    is_up(&world, &nodes[own], 0.0).await;
    let before = nodes[own].requests().len();
    for _ in 0..10 {
        let answer = timeout(Duration::from_secs(5), browser.open("/")).await;
        assert_eq!(who(&answer.expect("an answer in time")), 1 - own);
    }
    assert_eq!(nodes[own].requests().len(), before);
    nodes[own].set(Mode::Well);
    is_up(&world, &nodes[own], 1.0).await;
    assert_eq!(who(&browser.open("/").await), own);
}

/// How often the calls of some tabs ended with each status.
type Statuses = BTreeMap<u16, usize>;

/// A tab that asks for pages, or posts forms, until it is stopped.
fn tab(
    browser: &Browser,
    method: Method,
    number: usize,
    over: &Arc<AtomicBool>,
) -> JoinHandle<Statuses> {
    let (browser, over) = (browser.clone(), Arc::clone(over));
    tokio::spawn(async move {
        let mut seen = Statuses::new();
        for call in 0.. {
            if over.load(Ordering::SeqCst) {
                break;
            }
            let path = format!("{SLOW}/{}?nr={number}-{call}.", method.as_str());
            let answer = match method {
                Method::GET => browser.open(&path).await,
                _ => browser.post_body(&path, FORM, "a=1").await,
            };
            *seen.entry(answer.status.as_u16()).or_default() += 1;
        }
        seen
    })
}

async fn all(tabs: Vec<JoinHandle<Statuses>>) -> Statuses {
    let mut all = Statuses::new();
    for tab in tabs {
        tab.await
            .expect("no panic")
            .into_iter()
            .for_each(|(status, times)| *all.entry(status).or_default() += times);
    }
    all
}

#[tokio::test]
async fn no_get_fails_when_one_of_two_servers_is_killed_and_no_post_goes_up_twice() {
    let mut nodes = two().await;
    let world = before(&nodes, "").start().await;
    let browser = world.signed_in(ADA).await;
    let own = own(&browser).await;
    let over = Arc::new(AtomicBool::new(false));
    let gets: Vec<_> = (0..8)
        .map(|number| tab(&browser, Method::GET, number, &over))
        .collect();
    let posts: Vec<_> = (0..2)
        .map(|number| tab(&browser, Method::POST, number, &over))
        .collect();
    let reach = async |node: &Node, more: usize| {
        let target = node.requests().len() + more;
        eventually("requests arrive", async || {
            (node.requests().len() >= target).then_some(())
        })
        .await;
    };
    let mut arrived = Vec::new();
    for _ in 0..DEATHS {
        reach(&nodes[own], 50).await;
        nodes[own].kill().await;
        reach(&nodes[1 - own], 50).await;
        is_up(&world, &nodes[own], 0.0).await;
        arrived.extend(nodes[own].requests());
        nodes[own] = nodes[own].again().await;
        is_up(&world, &nodes[own], 1.0).await;
    }
    reach(&nodes[own], 50).await;
    over.store(true, Ordering::SeqCst);
    let (gets, posts) = (all(gets).await, all(posts).await);
    assert_eq!(gets.keys().collect::<Vec<_>>(), [&200], "{gets:?}");
    // A tab has one POST under way at most.
    let failed = posts.get(&502).copied().unwrap_or_default();
    assert!(
        posts.keys().all(|status| matches!(status, 200 | 502)) && failed <= 2 * DEATHS,
        "{posts:?}"
    );
    arrived.extend(nodes.iter().flat_map(Node::requests));
    let mut posts: Vec<_> = arrived
        .into_iter()
        .map(|request| request.line)
        .filter(|line| line.starts_with("POST "))
        .collect();
    let all = posts.len();
    posts.sort_unstable();
    posts.dedup();
    assert_eq!(posts.len(), all, "some went up twice");
}

#[tokio::test]
async fn what_met_a_server_that_refuses_goes_to_another_whatever_it_is() {
    let mut nodes = two().await;
    // Checked so seldom that requests find out first.
    let world = looked_at(&nodes, "health_interval = \"5m\"").start().await;
    let browser = world.signed_in(ADA).await;
    let own = own(&browser).await;
    nodes[own].kill().await;
    assert_eq!(
        who(&browser.post_body("/antrag", FORM, "a=1").await),
        1 - own
    );
    let posts = nodes[1 - own]
        .requests()
        .into_iter()
        .filter(|request| request.body == b"a=1")
        .count();
    assert_eq!(posts, 1);
    assert!(connects(&world).await >= 3.0);
}

#[tokio::test]
async fn what_a_server_took_and_did_not_answer_goes_to_another_if_it_is_a_get_and_nowhere_if_it_is_a_post()
 {
    let nodes = two().await;
    let world = before(&nodes, "").start().await;
    let browser = world.signed_in(ADA).await;
    let own = own(&browser).await;
    nodes[own].set(Mode::Ending);
    let sent = |what: &str| {
        let count = |node: &Node| {
            node.requests()
                .iter()
                .filter(|request| request.line.contains(what))
                .count()
        };
        (count(&nodes[own]), count(&nodes[1 - own]))
    };
    assert_eq!(who(&browser.open("/seite").await), 1 - own);
    assert_eq!(sent("/seite"), (1, 1));
    for (method, path) in [
        (Method::POST, "/post"),
        (Method::PUT, "/put"),
        (Method::DELETE, "/delete"),
    ] {
        let answer = browser
            .send(
                method,
                path,
                &[("accept", "text/html".into())],
                Some(b"a=1".to_vec()),
            )
            .await;
        answer
            .is(502)
            .waits(5)
            .shows("prüfen Sie bitte zuerst, ob sie angekommen ist")
            .hides("nicht weitergegeben");
        answer.hides("ERNEUT VERSUCHEN");
        assert_eq!(sent(path), (1, 0), "{path}");
    }
    nodes[1 - own].set(Mode::Ending);
    assert_eq!(
        browser
            .open("/beide")
            .await
            .is(502)
            .href_of("ERNEUT VERSUCHEN"),
        "/beide"
    );
    assert_eq!(sent("/beide"), (1, 1), "once more, and no more");
}

#[tokio::test]
async fn a_form_that_no_connection_came_about_for_was_not_sent_and_is_sent_once_more() {
    let port = ports::free();
    let builder = World::builder()
        .store(StoreKind::Memory)
        .upstream(&format!("http://127.0.0.1:{port}"));
    let world = builder
        .config("[upstream]\npublic_paths = [\"/impressum\"]")
        .start()
        .await;
    let (browser, nobody) = (world.signed_in(ADA).await, world.browser());
    // The first may find out, the others are refused without a connection.
    for path in ["/antrag", "/antrag", "/antrag"] {
        let told = browser.post_body(path, FORM, "a=1").await;
        told.is(502)
            .waits(5)
            .shows(UNSENT)
            .shows("Der Online-Rechner ist zurzeit nicht erreichbar")
            .shows("ZURÜCK ZUM FORMULAR");
        told.shows("Sie bleiben angemeldet")
            .hides("prüfen Sie bitte zuerst")
            .hides("ERNEUT VERSUCHEN");
    }
    nobody
        .post_body("/impressum", FORM, "a=1")
        .await
        .is(502)
        .shows(UNSENT)
        .hides("angemeldet");
    let page = browser.open("/angebot?id=42").await;
    page.is(502)
        .waits(5)
        .hides("prüfen Sie bitte zuerst")
        .hides(UNSENT);
    assert_eq!(page.href_of("ERNEUT VERSUCHEN"), "/angebot?id=42");
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .expect("the port");
    let upstream = Upstream::at(listener, |mut wire| async move {
        while wire.request().await.is_some() {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
    });
    eventually("it is back", async || {
        (browser.open("/").await.status == 200).then_some(())
    })
    .await;
    browser.post_body("/antrag", FORM, "a=1").await.is(200);
    assert_eq!(
        upstream
            .requests()
            .iter()
            .filter(|request| request.body == b"a=1")
            .count(),
        1
    );
}

#[tokio::test]
async fn a_form_that_a_server_took_and_hangs_over_may_have_been_carried_out() {
    let nodes = two().await;
    let world = before(&nodes, "read_timeout = \"1s\"").start().await;
    let browser = world.signed_in(ADA).await;
    nodes.iter().for_each(|node| node.set(Mode::Hanging));
    let told = browser.post_body("/antrag", FORM, "a=1").await;
    told.is(504)
        .waits(60)
        .shows("prüfen Sie bitte zuerst, ob sie angekommen ist")
        .hides(UNSENT);
    told.shows("ZUM ONLINE-RECHNER")
        .shows("ZURÜCK ZUM FORMULAR");
}

#[tokio::test]
async fn a_broker_has_one_server_on_every_gateway_and_after_a_restart() {
    let nodes = two().await;
    let builder = before(&nodes, "public_paths = [\"/impressum\"]")
        .listen("trusted_proxies = [\"127.0.0.1\"]");
    let mut world = builder.store(StoreKind::Redis).gateways(2).start().await;
    let mut own_of = Vec::new();
    for broker in [ADA, BEN] {
        let browser = world.signed_in(broker).await;
        own_of.push((own(&browser).await, browser));
    }
    let from_elsewhere = stranger_of(&world, 1 - own_of[0].0).await;
    let public = own_of[0]
        .1
        .send(Method::GET, "/impressum", &[from_elsewhere], None)
        .await;
    assert_eq!(
        who(&public),
        own_of[0].0,
        "on public paths too, wherever the broker is"
    );
    for round in 0..2 {
        for (own, browser) in &own_of {
            for gateway in &world.gateways {
                let there = browser.at(&gateway.base());
                for path in ["/", "/kfz", "/impressum"] {
                    assert_eq!(
                        who(&there.open(path).await),
                        *own,
                        "{path} in round {round}"
                    );
                }
                assert!(there.open("/").await.body.ends_with("known"));
            }
        }
        world.gateways[1].kill();
        world.gateways[1].restart().await;
    }
}

#[tokio::test]
async fn brokers_are_spread_over_the_servers() {
    let nodes = two().await;
    let world = before(&nodes, "public_paths = [\"/impressum\"]")
        .listen("trusted_proxies = [\"127.0.0.1\"]")
        .start()
        .await;
    let mut answered = [0; 2];
    for number in 0..60 {
        let client = Browser::new(&world.base());
        let from = ("x-forwarded-for", format!("192.0.2.{number}"));
        answered[who(&client.send(Method::GET, "/impressum", &[from], None).await)] += 1;
    }
    assert!(answered.iter().all(|number| *number > 10), "{answered:?}");
}

#[tokio::test]
async fn a_session_that_began_while_its_brokers_server_was_down_stays_where_it_began() {
    let mut nodes = two().await;
    let world = before(&nodes, "affinity_cookie = \"JSESSIONID\"")
        .start()
        .await;
    let browser = world.signed_in(ADA).await;
    let own = own(&browser).await;
    nodes[own].kill().await;
    let answer = browser.open("/").await;
    assert_eq!(
        (who(&answer), answer.body.ends_with("new")),
        (1 - own, true),
        "{}",
        answer.body
    );
    nodes[own] = nodes[own].again().await;
    is_up(&world, &nodes[own], 1.0).await;
    for _ in 0..10 {
        let answer = browser.open("/").await;
        assert_eq!(
            (who(&answer), answer.body.ends_with("known")),
            (1 - own, true),
            "{}",
            answer.body
        );
    }
    browser.drop_cookie("JSESSIONID");
    assert_eq!(
        who(&browser.open("/").await),
        own,
        "a new session begins at the broker's own server again"
    );
    nodes[1 - own].kill().await;
    browser.set_cookie("JSESSIONID", "unknown");
    assert_eq!(who(&browser.open("/").await), own);
}

#[tokio::test]
async fn a_cookies_route_leads_to_its_server_on_every_gateway_and_to_another_while_that_is_down() {
    let mut nodes = [
        Node::with("a", ".node1").await,
        Node::with("b", ".node2").await,
    ];
    let builder = before(
        &nodes,
        "affinity_cookie = [\"JSESSIONID\"]\nroutes = [\"node1\", \"node2\"]",
    )
    .gateways(2);
    let world = builder.store(StoreKind::Redis).start().await;
    let browser = world.signed_in(ADA).await;
    for gateway in &world.gateways {
        let there = browser.at(&gateway.base());
        for (cookie, name) in [
            ("0A.node1", 0),
            ("0B.node2", 1),
            ("0.C.node1", 0),
            ("\"0D.node2\"", 1),
        ] {
            there.set_cookie("JSESSIONID", cookie);
            assert_eq!(who(&there.open("/").await), name, "{cookie}");
        }
    }
    browser.drop_cookie("JSESSIONID");
    let own = own(&browser).await;
    for cookie in ["0A", "0A.", "node1.", "0A.node3"] {
        browser.set_cookie("JSESSIONID", cookie);
        assert_eq!(
            who(&browser.open("/").await),
            own,
            "{cookie} names no server"
        );
    }
    browser.set_cookie("JSESSIONID", "0A.node1");
    nodes[0].kill().await;
    assert_eq!(who(&browser.open("/").await), 1);
    nodes[0] = nodes[0].again().await;
    is_up(&world, &nodes[0], 1.0).await;
    browser.set_cookie("JSESSIONID", "0A.node1");
    assert_eq!(who(&browser.open("/").await), 0);
}

#[tokio::test]
async fn a_websocket_and_a_kept_form_go_where_their_broker_goes() {
    let mut nodes = two().await;
    let world = before(&nodes, "").start().await;
    let browser = world.signed_in(ADA).await;
    let own = own(&browser).await;
    let host = format!("127.0.0.1:{}", world.gateways[0].port);
    let arrived_at = |nodes: &[Node], what: &str| {
        let has = |node: &Node| {
            node.requests()
                .iter()
                .filter(|request| request.line.contains(what))
                .count()
        };
        [has(&nodes[own]), has(&nodes[1 - own])]
    };
    let shake_hands = async |path: &str| {
        let (mut client, session) = (
            Raw::connect(world.gateways[0].port).await,
            session_of(&browser),
        );
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {session}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        client
            .send(request)
            .await
            .head()
            .await
            .expect("an answer")
            .status()
    };
    let send_kept = async |path: &str| {
        browser.drop_cookie("vtnr_session");
        let told = browser.post_body(path, FORM, "a=1").await;
        told.is(401);
        let link = told.href_of("ZUR ANMELDUNG");
        let welcome = browser
            .post(&link, &[("vtnr", ADA.0), ("email", ADA.1)])
            .await;
        let page = browser.follow(welcome).await;
        browser.press(&page, "Eingabe jetzt absenden").await
    };
    assert_eq!(
        shake_hands("/ws-1").await,
        200,
        "these servers agree to no WebSocket"
    );
    send_kept("/antrag-1").await.is(200);
    assert_eq!(
        (arrived_at(&nodes, "/ws-1"), arrived_at(&nodes, "/antrag-1")),
        ([1, 0], [1, 0])
    );
    nodes[own].kill().await;
    send_kept("/antrag-2").await.is(200);
    assert_eq!(shake_hands("/ws-2").await, 200);
    assert_eq!(
        (arrived_at(&nodes, "/ws-2"), arrived_at(&nodes, "/antrag-2")),
        ([0, 1], [0, 1])
    );
}

#[tokio::test]
async fn a_handshake_that_hangs_is_a_page_of_ours_in_time() {
    let upstream = Upstream::start(|mut wire| async move { wire.ended().await }).await;
    let port = upstream.port();
    let limits = "connect_timeout = \"1s\"\nhealth_timeout = \"1m\"";
    let world = World::builder()
        .store(StoreKind::Memory)
        .upstream(&format!("https://127.0.0.1:{port}"));
    let world = world.config(&format!("[upstream]\n{limits}")).start().await;
    let browser = world.signed_in(ADA).await;
    let begun = Instant::now();
    timeout(Duration::from_secs(20), browser.open("/"))
        .await
        .expect("an answer in time")
        .is(504)
        .waits(60);
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(4)).contains(&begun.elapsed()),
        "{:?}",
        begun.elapsed()
    );
    browser
        .post_body("/antrag", FORM, "a=1")
        .await
        .shows(UNSENT);
}

#[tokio::test]
async fn a_calculator_that_takes_nothing_of_an_upload_is_a_page_of_ours_in_time() {
    let upstream = Upstream::start(|mut wire| async move {
        wire.head().await;
        // Neither reads nor ends.
        std::future::pending::<()>().await;
    })
    .await;
    let behind = Behind::with(
        upstream,
        World::builder().config("[upstream]\nwrite_timeout = \"1s\"\nread_timeout = \"1s\""),
    )
    .await;
    let begun = Instant::now();
    let mut client = behind.connect().await;
    client
        .send(behind.request(
            "POST /upload",
            "Accept: text/html\r\nContent-Length: 33554432\r\n",
        ))
        .await;
    let answer = async {
        let _ = client.try_send(vec![0; 32 << 20]).await;
        client.answer().await.status()
    };
    assert_eq!(
        timeout(Duration::from_secs(20), answer)
            .await
            .expect("an answer in time"),
        504
    );
    assert!(
        (Duration::from_millis(1_900)..Duration::from_secs(8)).contains(&begun.elapsed()),
        "{:?}",
        begun.elapsed()
    );
    behind.still_signed_in().await;
}
