//! Bodies in chunks that two servers could read differently reach no application whole, over TCP and over TLS, however they come; honest
//! ones arrive.

use crate::support::curl::Curl;
use crate::support::upstream::latin1;
use crate::support::{Behind, Raw, Upstream, eventually};
use std::time::Duration;

/// What no client that means well sends. Each is malformed before its end, so that none can be taken for a body that breaks off.
const MALFORMED: [&[u8]; 52] = [
    // Line feeds alone.
    b"5\nhallo\r\n0\r\n\r\n",
    b"5\r\nhallo\n0\r\n\r\n",
    b"5\r\nhallo\r\n0\n\n",
    b"5\r\nhallo\r\n0\r\n\n",
    b"5\r\nhallo\r\n0\n\r\n",
    b"0\nX: y\r\n\r\n",
    b"5\rhallo\r\n0\r\n\r\n",
    b"5\r\r\nhallo\r\n0\r\n\r\n",
    b"5\r\nhallo\r0\r\n\r\n",
    // Extensions.
    b"5;a\nhallo\r\n0\r\n\r\n",
    b"5;\nhallo\r\n0\r\n\r\n",
    b"5;a=\nb\r\nhallo\r\n0\r\n\r\n",
    b"2;\nxx\r\n4c\r\nab\r\n0\r\n\r\n",
    b"0;a\n\r\n\r\n",
    b"5;a\rb\r\nhallo\r\n0\r\n\r\n",
    b"5;a\0\r\nhallo\r\n0\r\n\r\n",
    b"5;a=\x01\r\nhallo\r\n0\r\n\r\n",
    b"5;a=\"\x7f\"\r\nhallo\r\n0\r\n\r\n",
    b"5;a=\"\n\"\r\nhallo\r\n0\r\n\r\n",
    b"5;a=\"b\r\nhallo\r\n0\r\n\r\n",
    b"5;\r\nhallo\r\n0\r\n\r\n",
    b"5;;\r\nhallo\r\n0\r\n\r\n",
    b"5;a=\r\nhallo\r\n0\r\n\r\n",
    b"5;a b\r\nhallo\r\n0\r\n\r\n",
    // Sizes.
    b"\r\n5\r\nhallo\r\n0\r\n\r\n",
    b"5\r\nhallo\r\n\r\n0\r\n\r\n",
    b";a\r\nhallo\r\n0\r\n\r\n",
    b"+5\r\nhallo\r\n0\r\n\r\n",
    b"-5\r\nhallo\r\n0\r\n\r\n",
    b"+0\r\n\r\n",
    b"0x5\r\nhallo\r\n0\r\n\r\n",
    b"05\r\nhallo\r\n0\r\n\r\n",
    b"0005\r\nhallo\r\n0\r\n\r\n",
    b"5\r\nhallo\r\n00\r\n\r\n",
    b"5\r\nhallo\r\n0000\r\n\r\n",
    b" 5\r\nhallo\r\n0\r\n\r\n",
    b"5 \r\nhallo\r\n0\r\n\r\n",
    b"5\t\r\nhallo\r\n0\r\n\r\n",
    b"5 ;a\r\nhallo\r\n0\r\n\r\n",
    b"5_\r\nhallo\r\n0\r\n\r\n",
    b"5g\r\nhallo\r\n0\r\n\r\n",
    b"5\x0b\r\nhallo\r\n0\r\n\r\n",
    b"10000000000000005\r\nhallo\r\n0\r\n\r\n",
    b"fffffffffffffffb\r\nhallo\r\n0\r\n\r\n",
    // After the content.
    b"5\r\nhallo0\r\n\r\n",
    b"5\r\nhallox\r\n0\r\n\r\n",
    b"4\r\nhallo\r\n0\r\n\r\n",
    // Trailers.
    b"0\r\nX\r\n\r\n",
    b"0\r\nX : y\r\n\r\n",
    b"0\r\nX: y\nZ: x\r\n\r\n",
    b"0\r\nX: y\r\n z\r\n\r\n",
    b"0\r\nX: \0\r\n\r\n",
];

/// Bodies as libraries write them, and odder ones that have one reading; with what arrives.
const HONEST: [(&[u8], &[u8]); 12] = [
    (b"0\r\n\r\n", b""),
    (b"5\r\nhallo\r\n0\r\n\r\n", b"hallo"),
    (b"5\r\nhallo\r\n1\r\n!\r\n0\r\n\r\n", b"hallo!"),
    (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    (b"5;a=b\r\nhallo\r\n0\r\n\r\n", b"hallo"),
    (b"5;a;b=c\r\nhallo\r\n0;z\r\n\r\n", b"hallo"),
    (b"5;a=\"b;\\\" \xe4\"\r\nhallo\r\n0\r\n\r\n", b"hallo"),
    (b"5\r\nhallo\r\n0\r\nX-Sum: 1\r\n\r\n", b"hallo"),
    (b"5\r\nhallo\r\n0\r\nX-Sum:\r\nX: \xe4 b\r\n\r\n", b"hallo"),
    (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
    (b"a\r\n0\r\n\r\nGET /\r\n0\r\n\r\n", b"0\r\n\r\nGET /"),
];

#[derive(Clone, Copy, Debug)]
enum Way {
    Tcp,
    Tls,
}

impl Way {
    const ALL: [Self; 2] = [Self::Tcp, Self::Tls];

    async fn connect(self, behind: &Behind) -> Raw {
        match self {
            Self::Tcp => behind.connect().await,
            Self::Tls => Raw::tls(&behind.world).await,
        }
    }
}

fn header(behind: &Behind, path: &str) -> Vec<u8> {
    behind.request(&format!("POST {path}"), "Transfer-Encoding: chunked\r\n")
}

/// Asserts that this is one answer, 400, which ends the connection, and that nothing arrived as a request.
async fn is_refused(behind: &Behind, mut client: Raw, what: &str) {
    let answers = latin1(&client.rest().await);
    assert!(answers.starts_with("HTTP/1.1 400 "), "{what}: {answers:?}");
    assert!(
        answers.to_lowercase().contains("\r\nconnection: close\r\n"),
        "{what}: {answers:?}"
    );
    assert_eq!(
        answers.matches("HTTP/1.1 ").count(),
        1,
        "{what}: {answers:?}"
    );
    let seen = behind.upstream.requests();
    assert!(seen.is_empty(), "{what}: {seen:?}");
}

#[tokio::test]
async fn malformed_chunks_get_400_and_no_request_arrives() {
    let behind = Behind::https(Upstream::fine().await).await;
    let second = behind.request("GET /zweite", "");
    for way in Way::ALL {
        for body in MALFORMED {
            let what = format!("{way:?} {}", body.escape_ascii());
            let head = header(&behind, "/erste");
            let mut client = way.connect(&behind).await;
            client.send([&head, body, &second].concat()).await;
            is_refused(&behind, client, &what).await;
            // The header first: Pingora has begun to send it on.
            let mut client = way.connect(&behind).await;
            client
                .send(&head)
                .await
                .send([body, &second].concat())
                .await;
            is_refused(&behind, client, &what).await;
            // Two headers in one: the end of the first is found all the same.
            let mut client = way.connect(&behind).await;
            client
                .send([b"\r\n\r\n", &head[..], body, &second].concat())
                .await;
            is_refused(&behind, client, &what).await;
        }
    }
    let counted = behind
        .world
        .metric("vtnr_gateway_requests_refused_total{reason=\"chunks\"}")
        .await;
    assert_eq!(counted, (2 * 3 * MALFORMED.len()) as f64);
    behind.still_signed_in().await;
}

#[tokio::test]
async fn it_does_not_matter_where_the_bytes_are_cut() {
    let behind = Behind::https(Upstream::fine().await).await;
    let second = behind.request("GET /zweite", "");
    for way in Way::ALL {
        for body in [
            &b"5;a\nb\r\nhallo\r\n0\r\n\r\n"[..],
            b"5\r\nhallo\n0\r\n\r\n",
            b"5\r\nhallo\r\n0\r\nX: y\nZ: x\r\n\r\n",
        ] {
            for at in 0..body.len() {
                let mut client = way.connect(&behind).await;
                client
                    .send([&header(&behind, "/erste"), &body[..at]].concat())
                    .await;
                tokio::task::yield_now().await;
                client.send([&body[at..], &second].concat()).await;
                is_refused(
                    &behind,
                    client,
                    &format!("{way:?} {} at {at}", body.escape_ascii()),
                )
                .await;
            }
        }
        // Byte by byte, the header too.
        let all = [
            &header(&behind, "/erste"),
            &b"5\r\nhallo\r\n05\r\nhallo\r\n0\r\n\r\n"[..],
        ]
        .concat();
        let mut client = way.connect(&behind).await;
        for byte in &all {
            client.send([*byte]).await;
        }
        is_refused(&behind, client, &format!("{way:?} byte by byte")).await;
    }
    for way in Way::ALL {
        for (body, arrives) in HONEST {
            let all = [&header(&behind, "/ehrlich"), body].concat();
            let mut client = way.connect(&behind).await;
            for byte in &all {
                client.send([*byte]).await;
            }
            assert_eq!(
                client.answer().await.status(),
                200,
                "{}",
                body.escape_ascii()
            );
            assert_eq!(
                behind.upstream.last().body,
                arrives,
                "{}",
                body.escape_ascii()
            );
        }
    }
}

#[tokio::test]
async fn honest_chunks_arrive_one_request_after_another() {
    let behind = Behind::https(Upstream::fine().await).await;
    for way in Way::ALL {
        let mut client = way.connect(&behind).await;
        for (body, arrives) in HONEST {
            client
                .send([&header(&behind, "/ehrlich"), body].concat())
                .await;
            assert_eq!(
                client.answer().await.status(),
                200,
                "{way:?} {}",
                body.escape_ascii()
            );
            assert_eq!(
                behind.upstream.last().body,
                arrives,
                "{way:?} {}",
                body.escape_ascii()
            );
            // Another one on the same connection, of another kind.
            client
                .send(behind.request("POST /mit-laenge", "Content-Length: 2\r\n"))
                .await
                .send("5\n")
                .await;
            assert_eq!(client.answer().await.status(), 200, "{way:?}");
            assert_eq!(behind.upstream.last().body, b"5\n");
        }
        // A header that comes in several pieces, larger than what is read ahead.
        let large = behind.request(
            "POST /gross",
            &format!(
                "Transfer-Encoding: chunked\r\nX: {}\r\n",
                "x".repeat(20_000)
            ),
        );
        for part in large.chunks(3_000) {
            client.send(part).await;
        }
        client
            .send(b"186a0\r\n")
            .await
            .send(vec![b'\n'; 100_000])
            .await
            .send(b"\r\n0\r\n\r\n")
            .await;
        assert_eq!(client.answer().await.status(), 200);
        assert_eq!(behind.upstream.last().body, vec![b'\n'; 100_000]);
    }
    let file = behind.world.folder.path().join("hochladen");
    std::fs::write(&file, vec![b'y'; 300_000]).expect("written");
    let cookie = format!("Cookie: {}", behind.session);
    let file = file.display().to_string();
    let curl = Curl::at(&behind.world.base());
    let words = [
        "--http1.1",
        "-H",
        &cookie,
        "-H",
        "Transfer-Encoding: chunked",
        "-T",
        &file,
    ];
    let answer = curl.and(&words).get("/curl").await;
    assert_eq!(
        (answer.status, behind.upstream.last().body.len()),
        (200, 300_000)
    );
}

#[tokio::test]
async fn a_header_with_a_bare_line_feed_announces_no_chunks() {
    let behind = Behind::http(Upstream::fine().await).await;
    let (host, session) = (&behind.host, &behind.session);
    for head in [
        format!(
            "POST /erste HTTP/1.1\r\nHost: {host}\r\nCookie: {session}\nTransfer-Encoding: chunked\r\n\r\n"
        ),
        format!(
            "POST /erste HTTP/1.1\nHost: {host}\nCookie: {session}\nTransfer-Encoding: chunked\n\n"
        ),
        format!(
            "POST /erste HTTP/1.1\r\nHost: {host}\r\nCookie: {session}\r\nTransfer-Encoding: chunked\n\r\n"
        ),
        format!(
            "POST /erste HTTP/1.1\r\nHost: {host}\r\nCookie: {session}\r\nTransfer-Encoding: chunked\r\n\n"
        ),
        format!(
            "POST /ers te HTTP/1.1\r\nHost: {host}\r\nCookie: {session}\r\nTransfer-Encoding: chunked\n\n"
        ),
    ] {
        let mut client = behind.connect().await;
        client.send(format!("{head}5\r\nhallo\r\n0\r\n\r\n")).await;
        is_refused(&behind, client, &head).await;
    }
    // Pingora rewrites such a request line; the body is found all the same.
    let mut client = behind.connect().await;
    let head = header(&behind, "/er ste");
    client
        .send([&head[..], b"5\r\nhallo\r\n0\r\n\r\n"].concat())
        .await;
    assert_eq!(client.answer().await.status(), 200);
    let mut client = behind.connect().await;
    client
        .send([&head[..], b"5\nhallo\r\n0\r\n\r\n"].concat())
        .await;
    assert_eq!(client.answer().await.status(), 400);
    assert_eq!(behind.upstream.requests().len(), 1);
}

#[tokio::test]
async fn forms_of_ours_and_forms_that_would_be_kept_get_400_too() {
    let behind = Behind::https(Upstream::fine().await).await;
    let form = "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\n\
                Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n";
    for path in [
        "/ui/login/de/vtnr-login",
        "/ui/login/de/abmelden",
        "/kfz",
        "/ui/login/de/hilfe",
    ] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\n{form}\r\n",
            behind.host
        );
        for way in Way::ALL {
            for body in [
                &b"6\r\nvtnr=6\r\n1\n0\r\n0\r\n\r\n"[..],
                b"6 \r\nvtnr=6\r\n0\r\n\r\n",
            ] {
                let mut client = way.connect(&behind).await;
                client.send([head.as_bytes(), body].concat()).await;
                is_refused(&behind, client, path).await;
                let mut client = way.connect(&behind).await;
                client.send(&head).await;
                for part in body.chunks(3) {
                    client.send(part).await;
                }
                is_refused(&behind, client, path).await;
            }
        }
    }
    assert_eq!(
        behind
            .world
            .metric("vtnr_gateway_parked_forms_total{outcome=\"kept\"}")
            .await,
        0.0
    );
}

/// An answer that has begun cannot become 400: the connection ends.
#[tokio::test]
async fn malformed_chunks_after_an_early_answer_end_the_connection() {
    let upstream = Upstream::start(|mut wire| async move {
        while let Some(head) = wire.head().await {
            let body = if head.line.starts_with("POST") {
                "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
            } else {
                "Content-Length: 2\r\n\r\nok"
            };
            wire.send(format!("HTTP/1.1 200 OK\r\n{body}")).await;
            if head.line.starts_with("POST") {
                wire.ended().await;
            }
        }
    })
    .await;
    let behind = Behind::https(upstream).await;
    for way in Way::ALL {
        let mut client = way.connect(&behind).await;
        client
            .send(header(&behind, "/erste"))
            .await
            .send("5\r\nhallo\r\n")
            .await;
        assert_eq!(client.head().await.expect("an answer").status(), 200);
        client
            .send(
                [
                    &b"5\nhallo\r\n0\r\n\r\n"[..],
                    &behind.request("GET /zweite", ""),
                ]
                .concat(),
            )
            .await;
        let rest = latin1(&client.rest().await);
        assert!(
            !rest.contains("HTTP/1.1") && !rest.ends_with("0\r\n\r\n"),
            "{rest:?}"
        );
    }
    assert!(
        behind
            .upstream
            .requests()
            .iter()
            .all(|request| !request.line.contains("zweite"))
    );
}

/// The calculator's connection is closed within a request that is not whole, and never used again.
#[tokio::test]
async fn a_request_that_breaks_off_for_its_chunks_takes_its_connection_along() {
    let behind = Behind::http(Upstream::fine().await).await;
    let mut client = behind.connect().await;
    client
        .send(header(&behind, "/erste"))
        .await
        .send("5\r\nhallo\r\n")
        .await;
    eventually("the beginning arrives", async || {
        behind
            .upstream
            .bytes()
            .iter()
            .any(|bytes| latin1(bytes).contains("hallo"))
            .then_some(())
    })
    .await;
    client.send("0\nX: y\r\n\r\n").await;
    is_refused(&behind, client, "begun").await;
    assert_eq!(behind.ask("GET /naechste", "").await.status(), 200);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun: Vec<_> = behind
        .upstream
        .bytes()
        .into_iter()
        .filter(|bytes| latin1(bytes).contains("POST /erste"))
        .collect();
    assert_eq!(begun.len(), 1);
    assert!(
        !latin1(&begun[0]).ends_with("0\r\n\r\n") && !latin1(&begun[0]).contains("naechste"),
        "{}",
        latin1(&begun[0])
    );
}
