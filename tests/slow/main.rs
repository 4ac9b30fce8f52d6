//! Clients that send or take too slowly are let go; calculators may be as slow as they like; and all others are served meanwhile.

#[path = "../support/mod.rs"]
mod support;

use bytes::Bytes;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::raw::{Frames, SETTINGS, whole};
use support::{Behind, H2, Raw, Upstream, World, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

const UPLOAD: usize = 12 << 20;
/// Longer than any client is waited for in these tests.
const LONG: Duration = Duration::from_millis(3_500);

/// Clients have a second, and three at most.
fn impatient() -> support::Builder {
    World::builder().https().listen("body_timeout = \"1s\"")
}

/// An application that is slow where the target says so: to answer, or to take a body. It counts the bytes that it took.
async fn leisurely() -> Upstream {
    Upstream::start(|mut wire| async move {
        while let Some(head) = wire.head().await {
            if head.line.contains("/gross") {
                wire.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                    64 << 20
                ))
                .await;
                for _ in 0..1_024 {
                    if wire.try_send(vec![b'x'; 65_536]).await.is_err() {
                        return;
                    }
                }
                continue;
            }
            if head.line.contains("/langsam") {
                tokio::time::sleep(LONG).await;
            }
            let chunked = !head.values("transfer-encoding").is_empty();
            let length = head
                .values("content-length")
                .first()
                .map_or(0, |length| length.parse().expect("a length"));
            let mut taken = wire.rest().len();
            let mut end = wire.rest();
            while if chunked {
                !end.ends_with(b"0\r\n\r\n")
            } else {
                taken < length
            } {
                let Some(some) = wire.some().await else {
                    return;
                };
                taken += some.len();
                end = some;
            }
            if head.line.contains("/denkt") {
                tokio::time::sleep(LONG).await;
            }
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
            wire.forget();
        }
    })
    .await
}

fn within(begun: Instant, seconds: std::ops::Range<f64>) {
    let took = begun.elapsed().as_secs_f64();
    assert!(seconds.contains(&took), "{took}");
}

async fn rejected(behind: &Behind, reason: &str) -> f64 {
    behind
        .world
        .metric(&format!(
            "vtnr_gateway_connections_rejected_total{{reason=\"{reason}\"}}"
        ))
        .await
}

async fn trickle(client: &mut Raw, drop: &str) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(8) && client.try_send(drop).await.is_ok() {
        if !client.is_silent_for(Duration::from_millis(50)).await {
            break;
        }
    }
    // Whoever is not let go is found so by the time that passed.
    let _ = tokio::time::timeout(Duration::from_secs(8), client.rest()).await;
}

#[tokio::test]
async fn a_body_must_come_at_a_rate_whatever_trickles_in() {
    let behind = Behind::with(leisurely().await, impatient()).await;
    let announced = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 15000\r\n";
    let slow = async |line: &str, fields: &str, trickles: bool| {
        let (mut client, begun) = (behind.connect().await, Instant::now());
        client.send(behind.request(line, fields)).await;
        if trickles {
            trickle(&mut client, "x").await;
        } else {
            client.rest().await;
        }
        within(begun, 0.9..4.0);
    };
    let steady = async {
        let mut client = behind.connect().await;
        client
            .send(behind.request("POST /antrag", "Content-Length: 40000\r\n"))
            .await;
        for _ in 0..40 {
            client.send(vec![b'x'; 1_000]).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(client.answer().await.status(), 200);
    };
    let asking = async {
        let (mut client, begun) = (behind.connect().await, Instant::now());
        client
            .send(behind.request(
                "POST /antrag",
                "Expect: 100-continue\r\nContent-Length: 5000\r\n",
            ))
            .await;
        client.rest().await;
        within(begun, 2.5..12.0);
    };
    // More framing than half a window holds, and hardly any body.
    let framing = async {
        let mut client = behind.connect().await;
        client
            .send(behind.request("POST /antrag", "Transfer-Encoding: chunked\r\n"))
            .await;
        client
            .try_send(format!("1;{}\r\nx\r\n", "a".repeat(150)).repeat(4_000))
            .await
            .expect("it is taken");
        let begun = Instant::now();
        trickle(&mut client, "1\r\nx\r\n").await;
        within(begun, 1.5..7.0);
    };
    let over_http2 = async {
        let (mut client, begun) = (H2::connect(&behind.world).await, Instant::now());
        let (answer, mut body) = client
            .begin(behind.h2("POST", "/antrag").body(()).expect("a request"))
            .await;
        while begun.elapsed() < Duration::from_secs(8)
            && body.send_data(Bytes::from_static(b"x"), false).is_ok()
        {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(answer.await.is_err());
        within(begun, 0.9..4.0);
    };
    let others = async {
        for _ in 0..30 {
            let begun = Instant::now();
            assert_eq!(behind.ask("GET /", "").await.status(), 200);
            within(begun, 0.0..1.0);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::join!(
        slow("POST /antrag", announced, false),
        slow("POST /antrag", announced, true),
        slow("POST /antrag", "Transfer-Encoding: chunked\r\n", false),
        slow("POST /ui/login/de/vtnr-login", announced, false),
        slow("POST /ui/login/de/vtnr-login", announced, true),
        slow(
            "POST /antrag",
            "Connection: Upgrade\r\nUpgrade: x\r\nContent-Length: 100\r\n",
            true
        ),
        steady,
        asking,
        framing,
        over_http2,
        others
    );
    assert_eq!(rejected(&behind, "slow_body").await, 8.0);
    behind.still_signed_in().await;
}

#[tokio::test]
async fn a_calculator_that_takes_its_time_is_not_the_clients_fault() {
    let behind = Behind::with(leisurely().await, impatient()).await;
    let over_http1 = async |target: &str, length: usize| {
        let (mut client, begun) = (behind.connect().await, Instant::now());
        client
            .send(behind.request(
                &format!("POST {target}"),
                &format!("Content-Length: {length}\r\n"),
            ))
            .await;
        client
            .try_send(vec![b'x'; length])
            .await
            .expect("the client can send to the end");
        assert_eq!(client.answer().await.status(), 200, "{target}");
        assert!(begun.elapsed() >= LONG);
    };
    let over_http2 = async |target: &str, length: usize| {
        let (mut client, begun) = (H2::connect(&behind.world).await, Instant::now());
        let (answer, mut body) = client
            .begin(behind.h2("POST", target).body(()).expect("a request"))
            .await;
        body.send_data(Bytes::from(vec![b'x'; length]), true)
            .expect("queued");
        assert_eq!(
            whole(answer).await.expect("an answer").status(),
            200,
            "{target}"
        );
        assert!(begun.elapsed() >= LONG);
    };
    tokio::join!(
        over_http1("/langsam", UPLOAD),
        over_http1("/denkt", 1_000),
        over_http2("/langsam", UPLOAD),
        over_http2("/denkt", 1_000),
    );
    assert_eq!(rejected(&behind, "slow_body").await, 0.0);
}

/// A connection whose kernel takes very little.
async fn narrow(port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("an option");
    socket
        .connect(format!("127.0.0.1:{port}").parse().expect("an address"))
        .await
        .expect("it listens")
}

#[tokio::test]
async fn an_answer_must_be_taken_at_a_rate() {
    let behind = Behind::with(leisurely().await, impatient()).await;
    let port = behind.world.gateways[0].port;
    let begin = async || {
        let mut client = narrow(port).await;
        client
            .write_all(&behind.request("GET /gross", ""))
            .await
            .expect("sent");
        client
    };
    let slow = async {
        let mut clients = [begin().await, begin().await];
        let begun = Instant::now();
        // One takes nothing, the other a byte now and then.
        eventually("both are let go", async || {
            let mut byte = [0];
            let _ =
                tokio::time::timeout(Duration::from_millis(10), clients[1].read(&mut byte)).await;
            (rejected(&behind, "slow_reader").await >= 2.0).then_some(())
        })
        .await;
        within(begun, 2.5..8.0);
    };
    let pausing = async {
        let mut client = begin().await;
        tokio::time::sleep(Duration::from_millis(2_000)).await;
        let mut read = 0;
        let mut buffer = vec![0; 65_536];
        while read < 64 << 20 {
            read += client
                .read(&mut buffer)
                .await
                .expect("the connection lives");
        }
    };
    let zero_window = async {
        let mut frames = Frames::connect(&behind.world).await;
        // A window of nothing for every stream.
        frames.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).await;
        let authority = format!(
            "localhost:{}",
            behind.world.gateways[0].https.expect("https")
        );
        let begun = Instant::now();
        frames
            .begin(
                1,
                &[
                    (":method", "GET"),
                    (":scheme", "https"),
                    (":authority", &authority),
                    (":path", "/gross"),
                    ("cookie", &behind.session),
                ],
            )
            .await;
        loop {
            match frames.frame().await {
                Some((3 | 7, _)) | None => break,
                Some(_) => {}
            }
        }
        within(begun, 2.5..8.0);
    };
    let unreleased = async {
        let (mut client, begun) = (H2::connect(&behind.world).await, Instant::now());
        let (answer, _) = client
            .requests
            .send_request(
                behind.h2("GET", "/gross").body(()).expect("a request"),
                true,
            )
            .expect("sent");
        let mut body = answer.await.expect("an answer").into_body();
        while let Some(Ok(_)) = body.data().await {}
        within(begun, 2.5..8.0);
        // Its share of the connection's window is given back.
        drop(body);
        assert_eq!(
            client
                .get(behind.h2("GET", "/").body(()).expect("a request"))
                .await
                .expect("other streams live")
                .status(),
            200
        );
    };
    tokio::join!(slow, pausing, zero_window, unreleased);
    assert_eq!(rejected(&behind, "slow_reader").await, 2.0);
}

/// What slowhttptest does with -H, -B and -X, all at once.
#[tokio::test]
async fn five_hundred_slow_connections_keep_nobody_from_being_served() {
    let limits = "body_timeout = \"2s\"\nheader_timeout = \"4s\"";
    let builder = World::builder()
        .listen(limits)
        .config("[log]\nfilter = \"info\"");
    let behind = Behind::with(leisurely().await, builder).await;
    let port = behind.world.gateways[0].port;
    let all_found = AtomicBool::new(false);
    let slow = async |number: usize| {
        let request = match number % 3 {
            0 => format!("GET / HTTP/1.1\r\nHost: {}\r\n", behind.host).into_bytes(),
            1 => behind.request("POST /antrag", "Content-Length: 8192\r\n"),
            _ => behind.request("GET /gross", ""),
        };
        let mut client = narrow(port).await;
        let _ = client.write_all(&request).await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if number % 3 == 2 {
                // Its kernel has more for it to read after the gateway has let it go.
                if all_found.load(Ordering::Acquire) {
                    return true;
                }
                match client.read(&mut [0; 5]).await {
                    Ok(0) | Err(_) => return true,
                    Ok(_) => continue,
                }
            }
            if client.write_all(b"X-a: b\r\n").await.is_err()
                || client.try_read(&mut [0; 9]).is_ok_and(|read| read == 0)
            {
                return true;
            }
        }
        false
    };
    let all = futures_util::future::join_all((0..500).map(slow));
    let served = async {
        eventually("they are all connected", async || {
            (behind.world.metric("vtnr_gateway_connections_open").await >= 500.0).then_some(())
        })
        .await;
        let (mut took, begun) = (Vec::new(), Instant::now());
        while begun.elapsed() < Duration::from_secs(5) || took.len() < 10 {
            let asked = Instant::now();
            assert_eq!(behind.browser.open("/").await.status, 200);
            took.push(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // A busy machine may hold up some. Where slow clients held the others up, each would wait for two seconds.
        took.sort_unstable();
        let half = took[took.len() / 2];
        assert!(
            half < Duration::from_secs(1),
            "while the slow ones are there: {took:?}"
        );
    };
    let found = async {
        for (reason, number) in [
            ("header_timeout", 167.0),
            ("slow_body", 167.0),
            ("slow_reader", 166.0),
        ] {
            eventually(reason, async || {
                (rejected(&behind, reason).await >= number).then_some(())
            })
            .await;
        }
        all_found.store(true, Ordering::Release);
    };
    let (closed, (), ()) = tokio::join!(all, served, found);
    let left: Vec<_> = closed
        .iter()
        .enumerate()
        .filter(|(_, closed)| !**closed)
        .collect();
    assert!(left.is_empty(), "{left:?}");
    // What clients do is counted, not an error line each.
    let log = behind.world.log().await;
    assert!(
        !log.contains("\"level\":\"ERROR\""),
        "{:?}",
        log.lines().find(|line| line.contains("ERROR"))
    );
}
