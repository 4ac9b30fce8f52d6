//! Clients that hold connections, a gateway that goes, a calculator that fails.

use crate::support;
use crate::support::raw::{
    CONTINUATION, END_STREAM, Fate, Frames, GOAWAY, HEADERS, PING, tls, whole,
};
use crate::support::world::{MOMENT, StoreKind};
use crate::support::{Behind, H2, Raw, Upstream, World, eventually, ports};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};

/// About a second: the limit that these tests set. The upper bound leaves room for a busy machine.
fn about_a_second(begun: Instant) {
    let took = begun.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(4)).contains(&took),
        "{took:?}"
    );
}

fn header_limit() -> support::Builder {
    World::builder().listen("header_timeout = \"1s\"")
}

/// Sends byte after byte, far slower than any honest client, until the connection is over.
async fn trickle(client: &mut Raw) {
    for byte in b"GET / HTTP/1.1\r\nHost: x\r\nX: "
        .iter()
        .chain(std::iter::repeat(&b'x'))
    {
        client.send([*byte]).await;
        if !client.is_silent_for(Duration::from_millis(50)).await {
            return;
        }
    }
}

#[tokio::test]
async fn a_header_must_be_complete_in_time_whatever_trickles_in() {
    let behind = Behind::with(Upstream::fine().await, header_limit()).await;
    let slow = async {
        let (mut client, begun) = (behind.connect().await, Instant::now());
        trickle(&mut client).await;
        about_a_second(begun);
    };
    let silent = async {
        let (mut client, begun) = (behind.connect().await, Instant::now());
        client.rest().await;
        about_a_second(begun);
    };
    let later = async {
        let mut client = behind.connect().await;
        assert_eq!(
            client
                .send(behind.request("GET /", ""))
                .await
                .answer()
                .await
                .status(),
            200
        );
        assert!(
            client.is_silent_for(Duration::from_millis(1_500)).await,
            "between requests the idle limit holds, not the header's"
        );
        let begun = Instant::now();
        trickle(&mut client).await;
        about_a_second(begun);
    };
    let uploading = async {
        let mut client = behind.connect().await;
        client
            .send(behind.request("POST /", "Content-Length: 4\r\n"))
            .await;
        assert!(
            client.is_silent_for(Duration::from_millis(1_500)).await,
            "the header's limit is not the body's"
        );
        assert_eq!(client.send("text").await.answer().await.status(), 200);
    };
    let others = async {
        for _ in 0..20 {
            let begun = Instant::now();
            assert_eq!(behind.ask("GET /", "").await.status(), 200);
            assert!(
                begun.elapsed() < Duration::from_secs(1),
                "{:?}",
                begun.elapsed()
            );
        }
    };
    tokio::join!(slow, silent, later, uploading, others);
    behind
        .world
        .metric_reaches(
            "vtnr_gateway_connections_rejected_total{reason=\"header_timeout\"}",
            3.0,
        )
        .await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let behind = Behind::with(
        Upstream::fine().await,
        World::builder().https().listen("keepalive = \"1s\""),
    )
    .await;
    let http1 = async {
        let mut client = behind.connect().await;
        for _ in 0..3 {
            assert_eq!(
                client
                    .send(behind.request("GET /", ""))
                    .await
                    .answer()
                    .await
                    .status(),
                200
            );
        }
        let begun = Instant::now();
        assert_eq!(client.rest().await, b"");
        about_a_second(begun);
    };
    let http2 = async {
        let mut client = H2::connect(&behind.world).await;
        let answer = client
            .get(behind.h2("GET", "/").body(()).expect("a request"))
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200);
        let begun = Instant::now();
        client.connection.await.expect("it ends").ok();
        about_a_second(begun);
    };
    tokio::join!(http1, http2);
}

#[tokio::test]
async fn an_old_client_is_answered_and_let_go() {
    let behind = Behind::http(Upstream::fine().await).await;
    for (target, status) in [("/x", 200), ("/ui/login/de/hilfe", 200)] {
        let mut client = behind.connect().await;
        let begun = Instant::now();
        let request = format!(
            "GET {target} HTTP/1.0\r\nHost: {}\r\nCookie: {}\r\n",
            behind.host, behind.session
        );
        client.send(format!("{request}\r\n")).await;
        assert_eq!(client.answer().await.status(), status, "{target}");
        assert_eq!(client.rest().await, b"");
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{target}: it hung"
        );
        let mut client = behind.connect().await;
        for _ in 0..2 {
            client
                .send(format!("{request}Connection: keep-alive\r\n\r\n"))
                .await;
            assert_eq!(
                client.answer().await.status(),
                status,
                "{target}: kept alive as it wished"
            );
        }
    }
}

async fn rejected(world: &World, reason: &str) -> f64 {
    world
        .metric(&format!(
            "vtnr_gateway_connections_rejected_total{{reason=\"{reason}\"}}"
        ))
        .await
}

async fn is_let_in(from: &str, world: &World) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind(format!("{from}:0").parse().expect("an address"))
        .expect("bound");
    let port = world.gateways[0].port;
    let mut tcp = socket
        .connect(format!("127.0.0.1:{port}").parse().expect("an address"))
        .await
        .expect("it listens");
    let request = format!("GET /ui/login/de/hilfe HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    let _ = tcp.write_all(request.as_bytes()).await;
    let mut first = [0];
    matches!(tcp.read(&mut first).await, Ok(1)).then_some(tcp)
}

#[tokio::test]
async fn one_client_has_so_many_connections_and_no_more() {
    let world = World::builder()
        .store(StoreKind::Memory)
        .listen("max_connections_per_client = 3")
        .start()
        .await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(is_let_in("127.0.0.1", &world).await.expect("there is room"));
    }
    assert!(is_let_in("127.0.0.1", &world).await.is_none(), "a fourth");
    assert!(
        is_let_in("127.0.0.2", &world).await.is_some(),
        "another client"
    );
    assert_eq!(rejected(&world, "per_client").await, 1.0);
    open.pop();
    eventually("room again", async || is_let_in("127.0.0.1", &world).await).await;
    assert_eq!(rejected(&world, "total").await, 0.0);
}

#[tokio::test]
async fn all_clients_together_have_so_many_connections_and_no_more() {
    let world = World::builder()
        .store(StoreKind::Memory)
        .listen("max_connections = 3")
        .start()
        .await;
    let mut open = Vec::new();
    for from in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
        open.push(is_let_in(from, &world).await.expect("there is room"));
    }
    assert!(is_let_in("127.0.0.4", &world).await.is_none(), "a fourth");
    assert_eq!(rejected(&world, "total").await, 1.0);
    assert_eq!(world.metric("vtnr_gateway_connections_open").await, 3.0);
    open.clear();
    eventually("room again", async || is_let_in("127.0.0.4", &world).await).await;
}

#[tokio::test]
async fn a_handshake_that_stalls_is_ended() {
    let world = header_limit()
        .https()
        .store(StoreKind::Memory)
        .start()
        .await;
    let port = world.gateways[0].https.expect("https");
    let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 40]].concat();
    let stalled = async |bytes: &[u8]| {
        let (mut client, begun) = (Raw::connect(port).await, Instant::now());
        client.send(bytes).await;
        client.rest().await;
        about_a_second(begun);
    };
    tokio::join!(
        stalled(b""),
        stalled(&hello[..1]),
        stalled(&hello[..5]),
        stalled(&hello)
    );
    // Each is counted once its connection is over.
    eventually("all are counted", async || {
        (rejected(&world, "handshake").await == 4.0).then_some(())
    })
    .await;
    Frames::connect(&world).await;
}

#[tokio::test]
async fn over_http2_a_client_that_asks_for_nothing_is_let_go() {
    let behind = Behind::with(Upstream::fine().await, header_limit().https()).await;
    let nothing = async {
        let begun = Instant::now();
        let mut stream = tls(&behind.world, b"h2").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
        about_a_second(begun);
    };
    let greeting = async {
        let begun = Instant::now();
        let mut client = Frames::connect(&behind.world).await;
        while client.frame().await.is_some() {}
        about_a_second(begun);
    };
    let trickling = async {
        let begun = Instant::now();
        let mut client = Frames::connect(&behind.world).await;
        // A header that never ends, in CONTINUATION frames.
        client.send(HEADERS, END_STREAM, 1, b"").await;
        while begun.elapsed() < Duration::from_secs(5)
            && client.try_send(CONTINUATION, 0, 1, b"").await
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(4),
            "{:?}",
            begun.elapsed()
        );
    };
    tokio::join!(nothing, greeting, trickling);
}

/// One request's end must not start another's deadline while a third is under way.
#[tokio::test]
async fn over_http2_a_long_answer_outlives_the_header_deadline_while_others_come_and_go() {
    let go_on = Arc::new(Notify::new());
    let waiting = Arc::clone(&go_on);
    let upstream = Upstream::start(move |mut wire| {
        let waiting = Arc::clone(&waiting);
        async move {
            while let Some(request) = wire.request().await {
                if request.line.contains("/lang") {
                    wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\neins\r\n")
                        .await;
                    waiting.notified().await;
                    wire.send("4\r\nzwei\r\n0\r\n\r\n").await;
                } else {
                    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                        .await;
                }
            }
        }
    })
    .await;
    let behind = Behind::with(upstream, header_limit().https()).await;
    let mut client = H2::connect(&behind.world).await;
    let long = client
        .requests
        .send_request(behind.h2("GET", "/lang").body(()).expect("a request"), true)
        .expect("sent")
        .0;
    let mut body = long.await.expect("an answer").into_body();
    assert_eq!(
        body.data().await.expect("a chunk").expect("a chunk"),
        "eins"
    );
    let answer = client
        .get(behind.h2("GET", "/kurz").body(()).expect("a request"))
        .await
        .expect("an answer");
    assert_eq!(answer.body(), b"ok");
    // A frame that belongs to no request.
    body.flow_control().release_capacity(4).expect("a window");
    client
        .get(behind.h2("GET", "/kurz").body(()).expect("a request"))
        .await
        .expect("an answer");
    client.ping().await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    client.ping().await;
    go_on.notify_one();
    assert_eq!(
        body.data()
            .await
            .expect("a chunk")
            .expect("the connection lives"),
        "zwei"
    );
}

#[tokio::test]
async fn an_idle_gateway_ends_at_once() {
    let behind = Behind::https(Upstream::fine().await).await;
    let mut kept = behind.connect().await;
    assert_eq!(
        kept.send(behind.request("GET /", ""))
            .await
            .answer()
            .await
            .status(),
        200
    );
    let mut http2 = H2::connect(&behind.world).await;
    http2
        .get(behind.h2("GET", "/").body(()).expect("a request"))
        .await
        .expect("an answer");
    let silent = behind.connect().await;
    let Behind { mut world, .. } = behind;
    let begun = Instant::now();
    world.gateways[0].signal("TERM");
    assert_eq!(world.gateways[0].end().await, Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(kept.rest().await, b"");
    drop(silent);
}

/// An upstream whose answers wait in their middle until they may go on.
async fn held(go_on: watch::Receiver<bool>, rest: usize) -> Upstream {
    Upstream::start(move |mut wire| {
        let mut go_on = go_on.clone();
        async move {
            while let Some(request) = wire.request().await {
                if request.line.contains("/kurz") {
                    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                        .await;
                    continue;
                }
                wire.send(format!(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\neins\r\n{rest:x}\r\n"
                ))
                .await;
                let _ = go_on.wait_for(|go_on| *go_on).await;
                wire.send(vec![b'x'; rest]).await;
                wire.send("\r\n0\r\n\r\n").await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn over_http2_clients_are_told_to_go_as_soon_as_the_gateway_leaves_and_may_still_come() {
    let (go_on, waits) = watch::channel(false);
    let builder = World::builder()
        .https()
        .config("[shutdown]\ndelay = \"4m\"");
    let behind = Behind::with(held(waits, 300_000).await, builder).await;
    let request = |path| behind.h2("GET", path).body(()).expect("a request");
    let (mut idle, mut busy) = (
        Frames::connect(&behind.world).await,
        H2::connect(&behind.world).await,
    );
    let host = format!(
        "localhost:{}",
        behind.world.gateways[0].https.expect("a world with https")
    );
    let short = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", &host),
        (":path", "/kurz"),
        ("cookie", &behind.session),
    ];
    assert_eq!(idle.ask(&short).await, Fate::Answered(200));
    let (answer, _) = busy
        .requests
        .send_request(request("/lang"), true)
        .expect("sent");
    let answer = answer.await.expect("an answer");
    let begun = Instant::now();
    behind.world.gateways[0].signal("TERM");
    is_told_to_go(&mut idle).await;
    // Who comes still, since nobody knows yet, is served.
    for _ in 0..2 {
        let mut late = H2::connect(&behind.world).await;
        for _ in 0..3 {
            assert_eq!(
                late.get(request("/kurz"))
                    .await
                    .expect("an answer")
                    .status(),
                200
            );
        }
    }
    go_on.send_replace(true);
    assert_eq!(length_of(answer.into_body()).await, 4 + 300_000);
    // It is chance whether the client's last words still find somebody who reads them.
    let _ = busy.connection.await.expect("no panic");
    assert!(
        begun.elapsed() < Duration::from_secs(240),
        "it was not the end that did it: {:?}",
        begun.elapsed()
    );
}

/// Waits until the connection is told that it is to be used no more, and then for its end: nothing is under way on it. By frames, since a
/// client that would answer may find the connection closed already, and would then tell of that instead.
async fn is_told_to_go(frames: &mut Frames) {
    const ACK: u8 = 1;
    let mut is_told = false;
    while let Some((kind, payload)) = frames.frame().await {
        match kind {
            GOAWAY => is_told = true,
            // With its echo all that was under way when it was told has come.
            PING => frames.send(PING, ACK, 0, &payload).await,
            _ => {}
        }
    }
    assert!(is_told, "it ended without a word");
}

/// Reads an answer's body to its end.
async fn length_of(mut body: h2::RecvStream) -> usize {
    let mut all = 0;
    while let Some(data) = body.data().await {
        let data = data.expect("the answer is whole");
        body.flow_control()
            .release_capacity(data.len())
            .expect("a window");
        all += data.len();
    }
    all
}

async fn refuses_connections(port: u16) {
    eventually("connections are refused", async || {
        TcpStream::connect(("127.0.0.1", port))
            .await
            .err()
            .map(|_| ())
    })
    .await;
}

#[tokio::test]
async fn what_is_under_way_at_the_end_is_finished_and_nothing_new_begun() {
    let (go_on, waits) = watch::channel(false);
    let length = 300_000;
    let mut behind = Behind::https(held(waits, length).await).await;
    let mut download = behind.connect().await;
    download
        .send(behind.request("GET /lang", ""))
        .await
        .until(b"eins")
        .await;
    let mut client = H2::connect(&behind.world).await;
    let (answer, _) = client
        .requests
        .send_request(behind.h2("GET", "/lang").body(()).expect("a request"), true)
        .expect("sent");
    let answer = answer.await.expect("an answer");
    let mut kept = behind.connect().await;
    let first = kept
        .send(behind.request("GET /kurz", ""))
        .await
        .answer()
        .await;
    assert_eq!(
        (first.status(), first.values("connection")),
        (200, vec!["keep-alive"])
    );
    behind.world.gateways[0].signal("TERM");
    refuses_connections(behind.world.gateways[0].port).await;
    refuses_connections(behind.world.gateways[0].https.expect("https")).await;
    let last = kept
        .send(behind.request("GET /kurz", ""))
        .await
        .answer()
        .await;
    assert_eq!(
        (last.status(), last.values("connection")),
        (200, vec!["close"])
    );
    assert_eq!(kept.rest().await, b"");
    go_on.send_replace(true);
    let rest = download.until(b"\r\n0\r\n\r\n").await;
    assert_eq!(rest.iter().filter(|byte| **byte == b'x').count(), length);
    assert_eq!(length_of(answer.into_body()).await, 4 + length);
    let begun = Instant::now();
    assert_eq!(behind.world.gateways[0].end().await, Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    let told = last_words(&behind.world).await;
    assert!(
        told.contains("\"INFO\"") && told.contains("\"message\":\"ended\""),
        "{told}"
    );
    assert!(
        told.contains("\"requests_finished\":3,\"requests_cut\":0,\"websockets_told\":0,\"mails_waiting\":0,\"mails_in_hand\":0"),
        "{told}"
    );
}

/// What a gateway that has ended said of it.
async fn last_words(world: &World) -> String {
    world
        .log()
        .await
        .lines()
        .rfind(|line| line.contains("\"requests_cut\""))
        .expect("it says what became of all")
        .to_owned()
}

#[tokio::test]
async fn for_the_configured_time_clients_are_still_let_in_and_told_to_go_elsewhere() {
    let mut behind = Behind::with(
        Upstream::fine().await,
        World::builder().config("[shutdown]\ndelay = \"1s\""),
    )
    .await;
    let mut kept = behind.connect().await;
    let first = kept.send(behind.request("GET /", "")).await.answer().await;
    assert_eq!(
        (first.status(), first.values("connection")),
        (200, vec!["keep-alive"])
    );
    let begun = Instant::now();
    behind.world.gateways[0].signal("TERM");
    eventually("it is not ready any more", async || {
        (behind.world.gateways[0].readiness().await == 503).then_some(())
    })
    .await;
    let last = kept.send(behind.request("GET /", "")).await.answer().await;
    assert_eq!(
        (last.status(), last.values("connection")),
        (200, vec!["close"])
    );
    let mut new = behind.connect().await;
    assert_eq!(
        new.send(behind.request("GET /", ""))
            .await
            .answer()
            .await
            .status(),
        200
    );
    assert_eq!(behind.world.gateways[0].end().await, Some(0));
    about_a_second(begun);
}

#[tokio::test]
async fn what_does_not_finish_within_the_grace_is_cut() {
    let (_go_on, waits) = watch::channel(false);
    let builder = World::builder().config("[shutdown]\ngrace = \"1s\"");
    let mut behind = Behind::with(held(waits, 10).await, builder).await;
    let mut download = behind.connect().await;
    download
        .send(behind.request("GET /lang", ""))
        .await
        .until(b"eins")
        .await;
    let begun = Instant::now();
    behind.world.gateways[0].signal("TERM");
    assert_eq!(behind.world.gateways[0].end().await, Some(0));
    about_a_second(begun);
    assert!(
        !download.rest().await.ends_with(b"0\r\n\r\n"),
        "a cut answer does not look whole"
    );
    let told = last_words(&behind.world).await;
    assert!(
        told.contains("\"WARN\"") && told.contains("\"requests_finished\":0,\"requests_cut\":1,"),
        "{told}"
    );
}

const PAGE: &str = "Accept: text/html\r\n";

/// Asserts that a person got a page whose incident number the log knows, and a program a few words.
async fn fails_with(behind: &Behind, status: u16, what: &str) {
    let page = behind.ask("GET /kfz", PAGE).await;
    assert_eq!(page.status(), status, "{what}: {page:?}");
    assert_eq!(
        page.values("content-type"),
        ["text/html; charset=utf-8"],
        "{what}"
    );
    let text = page.text();
    let incidents = |log: &str| {
        let mut known = log
            .split("\"incident\":\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next());
        known.any(|number| text.contains(number)).then_some(())
    };
    behind
        .world
        .log_shows(
            &format!("{what}: the page's incident number\n{text}"),
            incidents,
        )
        .await;
    let problem = behind.ask("GET /kfz", "Sec-Fetch-Mode: cors\r\n").await;
    assert_eq!(
        (problem.status(), problem.values("content-type")),
        (status, vec!["application/problem+json"]),
        "{what}"
    );
    for answer in [&page, &problem] {
        assert!(
            answer.values("set-cookie").is_empty() && !answer.values("retry-after").is_empty(),
            "{what}: {answer:?}"
        );
        assert!(answer.values("server").is_empty(), "{what}: {answer:?}");
    }
    behind.still_signed_in().await;
}

#[tokio::test]
async fn a_calculator_that_is_not_there_or_not_known_is_a_page_of_ours() {
    for url in [
        format!("http://127.0.0.1:{}", ports::free()),
        "http://nirgends.invalid:9000".to_owned(),
    ] {
        let world = World::builder()
            .store(StoreKind::Memory)
            .upstream(&url)
            .start()
            .await;
        let browser = world.signed_in(support::world::ADA).await;
        let session = support::behind::session_of(&browser);
        let host = format!("127.0.0.1:{}", world.gateways[0].port);
        let behind = Behind {
            world,
            upstream: Upstream::fine().await,
            browser,
            session,
            host,
        };
        fails_with(&behind, 502, &url).await;
        behind
            .upstream
            .saw_nothing("not the calculator of this gateway");
    }
}

#[tokio::test]
async fn a_calculator_that_answers_nothing_sensible_is_a_page_of_ours() {
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1_200_000));
    let many: String = (0..400)
        .map(|number| format!("X-{number}: x\r\n"))
        .collect();
    let answers: Vec<Vec<u8>> = vec![
        b"Guten Tag\r\n\r\n".to_vec(),
        b"\0\0\0\0\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nX".to_vec(),
        b"HTTP/1.1 2000 OK\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n".to_vec(),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
            .to_vec(),
        b"".to_vec(),
        huge.into_bytes(),
        format!("HTTP/1.1 200 OK\r\n{many}\r\n").into_bytes(),
    ];
    let number = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (scripted, at) = (Arc::new(answers.clone()), Arc::clone(&number));
    let upstream = Upstream::start(move |mut wire| {
        let (answers, at) = (Arc::clone(&scripted), Arc::clone(&at));
        async move {
            wire.request().await;
            wire.send(&answers[at.load(std::sync::atomic::Ordering::SeqCst)])
                .await;
        }
    })
    .await;
    let behind = Behind::http(upstream).await;
    for (at, answer) in answers.iter().enumerate() {
        number.store(at, std::sync::atomic::Ordering::SeqCst);
        fails_with(
            &behind,
            502,
            &support::upstream::latin1(&answer[..answer.len().min(60)]),
        )
        .await;
    }
}

#[tokio::test]
async fn a_calculator_that_resets_before_it_answers_is_a_page_of_ours() {
    let upstream = Upstream::start(|mut wire| async move {
        wire.request().await;
        wire.reset();
    })
    .await;
    let behind = Behind::http(upstream).await;
    fails_with(&behind, 502, "a reset").await;
}

#[tokio::test]
async fn a_calculator_that_stays_silent_is_a_page_of_ours() {
    let upstream = Upstream::start(|mut wire| async move { wire.ended().await }).await;
    let behind = Behind::with(
        upstream,
        World::builder().config("[upstream]\nread_timeout = \"1s\""),
    )
    .await;
    let begun = Instant::now();
    let answer = behind.ask("POST /kfz", "Content-Length: 0\r\n").await;
    assert_eq!(answer.status(), 504);
    about_a_second(begun);
    assert_eq!(behind.upstream.requests().len(), 1, "sent once");
    fails_with(&behind, 504, "silence").await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_looks_broken_off() {
    let upstream = Upstream::start(|mut wire| async move {
        let Some(request) = wire.request().await else {
            return;
        };
        let frame = if request.line.contains("laenge") {
            "Content-Length: 100\r\n\r\n"
        } else {
            "Transfer-Encoding: chunked\r\n\r\n64\r\n"
        };
        wire.send(format!("HTTP/1.1 200 OK\r\n{frame}der Anfang"))
            .await;
        if request.line.contains("zurueck") {
            // What was sent must have left before the reset overtakes it.
            tokio::time::sleep(MOMENT).await;
            wire.reset();
        }
    })
    .await;
    let behind = Behind::https(upstream).await;
    let mut client = H2::connect(&behind.world).await;
    for target in ["/laenge", "/stuecke", "/laenge/zurueck", "/stuecke/zurueck"] {
        let mut raw = behind.connect().await;
        raw.send(behind.request(&format!("GET {target}"), "")).await;
        assert_eq!(
            raw.head().await.expect("a header").status(),
            200,
            "{target}"
        );
        let body = raw.rest().await;
        assert!(
            !body.ends_with(b"0\r\n\r\n") && body.len() < 100,
            "{target}: {body:?}"
        );
        let over_http2 = client
            .get(behind.h2("GET", target).body(()).expect("a request"))
            .await;
        assert!(over_http2.is_err(), "{target}: {over_http2:?}");
    }
    behind.still_signed_in().await;
}

#[tokio::test]
async fn an_early_refusal_of_an_upload_reaches_the_client() {
    let upstream = Upstream::start(|mut wire| async move {
        if wire.head().await.is_none() {
            return;
        }
        wire.send(
            "HTTP/1.1 413 Zu gross\r\nConnection: close\r\nContent-Length: 8\r\n\r\nzu gross",
        )
        .await;
        wire.half_close().await;
        while wire.some().await.is_some() {}
    })
    .await;
    let behind = Behind::https(upstream).await;
    let mut raw = behind.connect().await;
    raw.send(behind.request("POST /upload", "Content-Length: 10485760\r\n"))
        .await;
    raw.try_send(vec![0; 10 << 20])
        .await
        .expect("the client can send to the end");
    let answer = raw.answer().await;
    assert_eq!((answer.status(), answer.text().as_str()), (413, "zu gross"));
    let mut client = H2::connect(&behind.world).await;
    let (answer, mut body) = client
        .begin(behind.h2("POST", "/upload").body(()).expect("a request"))
        .await;
    body.send_data(Bytes::from(vec![0; 10 << 20]), true)
        .expect("queued");
    let answer = whole(answer).await.expect("an answer");
    assert_eq!(
        (answer.status().as_u16(), answer.body().as_slice()),
        (413, &b"zu gross"[..])
    );
}

/// An upstream that answers the first request on each connection, takes the second, and ends the connection without an answer.
async fn fickle() -> Upstream {
    Upstream::start(|mut wire| async move {
        if wire.request().await.is_some() {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
            wire.request().await;
        }
    })
    .await
}

/// Each thread keeps connections of its own; with one, the next request finds what the last one left.
async fn behind_a_fickle_one() -> Behind {
    Behind::with(fickle().await, World::builder().listen("threads = 1")).await
}

async fn keep_connections(behind: &Behind, number: usize) {
    // All are under way before the first is answered, so that each has a connection of its own.
    let (mut clients, before) = (Vec::new(), behind.upstream.connections());
    for _ in 0..number {
        let mut client = behind.connect().await;
        client
            .send(behind.request("POST /erst", "Content-Length: 1\r\n"))
            .await;
        clients.push(client);
    }
    eventually("so many connections", async || {
        (behind.upstream.connections() == before + number).then_some(())
    })
    .await;
    for client in &mut clients {
        assert_eq!(client.send("x").await.answer().await.status(), 200);
        // Once the next request on it is answered, the one before has given its connection to the calculator back.
        assert_eq!(
            client
                .send(behind.request("GET /ui/login/de/hilfe", ""))
                .await
                .answer()
                .await
                .status(),
            200
        );
    }
}

fn sent(behind: &Behind, what: &str) -> usize {
    behind
        .upstream
        .requests()
        .iter()
        .filter(|request| request.line.contains(what))
        .count()
}

#[tokio::test]
async fn a_post_is_never_sent_twice() {
    let behind = behind_a_fickle_one().await;
    for line in [
        "POST /antrag/versand",
        "PUT /antrag",
        "DELETE /antrag",
        "OPTIONS /antrag",
    ] {
        keep_connections(&behind, 1).await;
        let answer = behind
            .ask(line, &format!("{PAGE}Content-Length: 0\r\n"))
            .await;
        assert_eq!(answer.status(), 502, "{line}");
        assert_eq!(sent(&behind, line), 1, "{line}");
    }
    behind.still_signed_in().await;
}

#[tokio::test]
async fn a_get_on_a_dead_connection_is_sent_once_more_on_a_new_one() {
    let behind = behind_a_fickle_one().await;
    keep_connections(&behind, 3).await;
    let answer = behind.ask("GET /kfz", "").await;
    assert_eq!(
        answer.status(),
        200,
        "the other kept connections are dead too"
    );
    assert_eq!(
        (sent(&behind, "GET /kfz"), behind.upstream.connections()),
        (2, 4)
    );
}

#[tokio::test]
async fn a_get_on_a_new_connection_is_not_sent_again() {
    let upstream = Upstream::start(|mut wire| async move {
        wire.request().await;
    })
    .await;
    let behind = Behind::http(upstream).await;
    assert_eq!(behind.ask("GET /kfz", "").await.status(), 502);
    assert_eq!(sent(&behind, "GET /kfz"), 1);
}
