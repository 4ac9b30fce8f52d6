//! Whoever is signed in does not notice that a gateway exists, and neither does the calculator.

use crate::support;
use crate::support::raw::whole;
use crate::support::upstream::{Request, latin1, unchunk};
use crate::support::{Behind, H2, Raw, RawAnswer, Upstream, World};
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::mpsc;

/// All that the gateway adds to a request, here with both identity fields configured.
const ADDED: [&str; 5] = [
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-VTNR",
    "X-VTNR-Level",
];
/// What belongs to one connection and not to the message (RFC 9110, 7.6.1), and the time at which the gateway answered.
const OF_THE_HOP: [&str; 3] = ["Connection", "Keep-Alive", "Date"];

fn without(fields: &[(String, String)], names: &[&str]) -> Vec<(String, String)> {
    let is_one = |name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    fields
        .iter()
        .filter(|(name, _)| !is_one(name))
        .cloned()
        .collect()
}

/// Fields by name. The order of those with the same name counts; that of different names does not (RFC 9110, 5.3).
fn grouped(mut fields: Vec<(String, String)>) -> Vec<(String, String)> {
    fields.sort_by_key(|(name, _)| name.to_ascii_lowercase());
    fields
}

/// Sends the same request to the application and through the gateway, and gives what arrived each time, and both answers.
async fn both_ways(
    behind: &Behind,
    line: &[u8],
    fields: &[u8],
    body: &[u8],
) -> ((Request, RawAnswer), (Request, RawAnswer)) {
    let method = latin1(line.split(|byte| *byte == b' ').next().unwrap_or_default());
    let bytes = |cookie: &str| {
        let head = [
            line,
            b" HTTP/1.1\r\nHost: ",
            behind.host.as_bytes(),
            b"\r\n",
            cookie.as_bytes(),
            fields,
            b"\r\n",
        ];
        [head.concat(), body.to_vec()].concat()
    };
    let answer = behind
        .directly()
        .await
        .send(bytes(""))
        .await
        .answer_to(&method)
        .await;
    let direct = (behind.upstream.last(), answer);
    let cookie = format!("Cookie: {}\r\n", behind.session);
    let answer = behind
        .connect()
        .await
        .send(bytes(&cookie))
        .await
        .answer_to(&method)
        .await;
    (direct, (behind.upstream.last(), answer))
}

#[tokio::test]
async fn every_request_arrives_as_it_was_sent() {
    let passed = "[upstream]\npass_fields = [\"X_Under\", \"x.dot\"]";
    let behind = Behind::with(Upstream::fine().await, World::builder().config(passed)).await;
    let long = format!("X-Long: {}\r\n", "a".repeat(30_000));
    let many: String = (0..150)
        .map(|number| format!("X-Many-{number}: {number}\r\n"))
        .collect();
    let cases: &[(&[u8], &[u8], &[u8])] = &[
        (b"GET /", b"", b""),
        (b"GET /?", b"", b""),
        (b"GET /kfz/angebot?id=42&x=a+b%20c", b"", b""),
        (b"GET //a//b", b"", b""),
        (b"GET /a%2Fb%2fc/%2e%2E/./../x", b"", b""),
        (b"GET /start;jsessionid=0A1B?x=1;y=2", b"", b""),
        (b"GET /suche?q=M%FCller&stra\xc3\x9fe=x", b"", b""),
        (b"GET /pf\xc3\xa4d/%F6", b"", b""),
        (b"GET /a?b?c=|^{}[]'", b"", b""),
        (b"GET /*!'()@:$&,=~", b"", b""),
        (b"HEAD /x", b"", b""),
        (b"OPTIONS /x", b"Origin: https://x.example\r\nAccess-Control-Request-Method: PUT\r\n", b""),
        (b"PROPFIND /dav", b"Depth: 1\r\nContent-Length: 4\r\n", b"<a/>"),
        (b"DELETE /x", b"Content-Length: 3\r\n", b"abc"),
        (b"PUT /x", b"Content-Length: 0\r\n", b""),
        (b"PATCH /x", b"Content-Length: 2\r\nContent-Type: application/json\r\n", b"{}"),
        (b"brew /pot", b"", b""),
        (b"M-SEARCH /x", b"", b""),
        (b"POST /kfz/angebot", b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n", b"ort=K%F6ln"),
        (b"POST /upload", b"Transfer-Encoding: chunked\r\n", b"5\r\nhallo\r\n1;ext=1\r\n!\r\n0\r\n\r\n"),
        (b"GET /x", b"x-lower: a\r\nX-UPPER: B\r\nx-MiXeD: c\r\nX_Under: d\r\nX.Dot: e\r\n", b""),
        (b"GET /x", b"X-Twice: 1\r\nX-Between: x\r\nX-Twice: 2\r\nx-twice: 3\r\n", b""),
        (b"GET /x", b"X-Empty:\r\nX-Latin: M\xfcller \xe4\xf6\xfc\r\nX-Utf8: \xc3\xa4\r\nX-Quoted: \"a, b\"\r\n", b""),
        (b"GET /x", b"Authorization: Basic YTpi\r\nIf-None-Match: \"a\", W/\"b\"\r\nRange: bytes=0-1,5-\r\n", b""),
        (
            b"GET /x",
            b"Accept-Encoding: gzip, br\r\nUser-Agent: Mozilla/4.0 (compatible; MSIE 6.0)\r\nReferer: http://x/\xe4\r\n",
            b"",
        ),
        (
            b"GET /x",
            b"Origin: null\r\nSec-Fetch-Mode: navigate\r\nVia: 1.1 proxy\r\nMax-Forwards: 3\r\nX-Requested-With: x\r\n",
            b"",
        ),
        (b"GET /x", long.as_bytes(), b""),
        (b"GET /x", many.as_bytes(), b""),
    ];
    for (line, fields, body) in cases {
        let ((direct, _), (through, answer)) = both_ways(&behind, line, fields, body).await;
        let what = latin1(line);
        assert_eq!(answer.status(), 200, "{what}");
        assert_eq!(through.line, direct.line, "{what}");
        assert_eq!(
            grouped(without(&through.fields, &ADDED)),
            grouped(direct.fields),
            "{what}"
        );
        assert_eq!(latin1(&through.body), latin1(&direct.body), "{what}");
    }
}

/// Pingora reads targets as UTF-8. Browsers write other bytes as `%FC`, which passes.
#[tokio::test]
async fn a_target_that_is_not_utf8_is_refused() {
    let behind = Behind::http(Upstream::fine().await).await;
    let request = [
        &b"GET /suche?q=M\xfcller HTTP/1.1\r\nHost: "[..],
        behind.host.as_bytes(),
        b"\r\nCookie: ",
        behind.session.as_bytes(),
        b"\r\n\r\n",
    ];
    assert_eq!(
        behind
            .connect()
            .await
            .send(request.concat())
            .await
            .answer()
            .await
            .status(),
        400
    );
    behind.upstream.saw_nothing("a target in ISO-8859-1");
}

#[tokio::test]
async fn the_calculator_learns_who_asks_and_nothing_of_our_cookies() {
    let behind = Behind::http(Upstream::fine().await).await;
    let host = behind.host.clone();
    let cookies = format!(
        "theme=dark; {}; vtnr_trust=x; JSESSIONID=\"a b\"; vtnr_flow=; x",
        behind.session
    );
    behind
        .connect()
        .await
        .send(format!(
            "GET /a HTTP/1.1\r\nHost: {host}\r\nCookie: {cookies}\r\n\r\n"
        ))
        .await
        .answer()
        .await;
    let seen = behind.upstream.last();
    assert_eq!(seen.values("cookie"), ["theme=dark; JSESSIONID=\"a b\"; x"]);
    assert_eq!(seen.values("host"), [host.as_str()]);
    assert_eq!(seen.values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.values("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.values("x-forwarded-host"), [host.as_str()]);
    assert_eq!(seen.values("x-vtnr"), ["60/123/4567"]);
    assert_eq!(seen.values("x-vtnr-level"), ["full"]);
    behind.ask("GET /b", "").await;
    assert_eq!(
        behind.upstream.last().values("cookie"),
        Vec::<&str>::new(),
        "no empty field is left"
    );
}

#[tokio::test]
async fn every_answer_arrives_as_it_was_sent() {
    let gzip = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\xff\x00";
    let big = format!(
        "HTTP/1.1 200 OK\r\nX-Big: {}\r\nContent-Length: 0\r\n\r\n",
        "b".repeat(100_000)
    );
    let answers: Vec<Vec<u8>> = [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..],
        b"HTTP/1.1 200 Sehr gut\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nLocation: http://127.0.0.1:1/intern?x=1#y\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
        b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 301 Moved Permanently\r\nLocation: /\xfcber?a=//b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: ../relativ;jsessionid=1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nETag: W/\"x\"\r\nContent-Length: 77\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"Alt\"\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nweg",
        b"HTTP/1.1 418 Ich bin eine Teekanne\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/html\r\nContent-Length: 8\r\n\r\n<b>!</b>",
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: JSESSIONID=1; Path=/; HttpOnly\r\nX-Between: 1\r\nSet-Cookie: a=b\r\nset-cookie: c=\"d e\"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nserver: Apache-Coyote/1.1\r\nX-POWERED-BY: Servlet\r\nx_under: 1\r\nX-Latin: M\xfcller\r\nX-Empty:\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nCache-Control: private\r\nExpires: Thu, 01 Jan 1970 00:00:00 GMT\r\nETag: \"1\"\r\nVary: *\r\nLast-Modified: x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Security-Policy: x\r\nX-Frame-Options: DENY\r\nStrict-Transport-Security: max-age=1\r\nContent-Length: 0\r\n\r\n",
        gzip,
        big.as_bytes(),
    ]
    .iter()
    .map(|answer| answer.to_vec())
    .collect();
    let (count, scripted) = (answers.len(), std::sync::Arc::new(answers));
    let upstream = Upstream::start(move |mut wire| {
        let answers = std::sync::Arc::clone(&scripted);
        async move {
            while let Some(request) = wire.request().await {
                let number: usize = request
                    .line
                    .split(['/', ' '])
                    .nth(2)
                    .expect("a number")
                    .parse()
                    .expect("a number");
                let answer = &answers[number];
                let bare = request.line.starts_with("HEAD");
                let end = answer
                    .windows(4)
                    .position(|four| four == b"\r\n\r\n")
                    .expect("a header")
                    + 4;
                wire.send(if bare { &answer[..end] } else { answer }).await;
            }
        }
    })
    .await;
    let behind = Behind::http(upstream).await;
    for method in ["GET", "HEAD", "POST"] {
        for number in 0..count {
            let line = format!("{method} /{number}");
            let length = if method == "POST" {
                "Content-Length: 0\r\n"
            } else {
                ""
            };
            let ((_, direct), (_, through)) =
                both_ways(&behind, line.as_bytes(), length.as_bytes(), b"").await;
            assert_eq!(through.line, direct.line, "{line}");
            let seen = |answer: &RawAnswer| grouped(without(&answer.fields, &OF_THE_HOP));
            assert_eq!(seen(&through), seen(&direct), "{line}");
            assert_eq!(latin1(&through.body), latin1(&direct.body), "{line}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_arrives_whole() {
    let upstream = Upstream::start(|mut wire| async move {
        wire.request().await;
        wire.send("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nbis zum ")
            .await;
        wire.send("Ende").await;
    })
    .await;
    let behind = Behind::http(upstream).await;
    let answer = behind.ask("GET /", "").await;
    assert_eq!(
        (answer.status(), answer.text().as_str()),
        (200, "bis zum Ende")
    );
    assert_eq!(answer.values("transfer-encoding"), ["chunked"]);
}

#[tokio::test]
async fn the_answers_keep_alive_is_not_for_the_client() {
    let behind = Behind::http(
        Upstream::answering(
            "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n",
        )
        .await,
    )
    .await;
    let answer = behind.ask("GET /", "").await;
    assert_eq!(answer.values("keep-alive"), Vec::<&str>::new());
    assert_eq!(answer.values("connection"), ["keep-alive"]);
}

#[tokio::test]
async fn early_hints_and_a_continue_go_through() {
    let upstream = Upstream::start(|mut wire| async move {
        while let Some(head) = wire.head().await {
            if head.values("expect").is_empty() {
                wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
                    .await;
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .await;
                continue;
            }
            assert!(
                wire.rest().is_empty(),
                "the body came before it was asked for"
            );
            wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            while wire.rest().len() < 5 {
                wire.read().await.expect("the body");
            }
            assert_eq!(wire.rest(), b"hallo");
            wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\ndone")
                .await;
            return;
        }
    })
    .await;
    let behind = Behind::http(upstream).await;
    let mut client = behind.connect().await;
    client.send(behind.request("GET /", "")).await;
    let early = client.head().await.expect("early hints");
    assert_eq!(
        (early.status(), early.values("link")),
        (103, vec!["</a.css>; rel=preload"])
    );
    assert_eq!(client.answer().await.status(), 200);
    client
        .send(behind.request("POST /", "Expect: 100-continue\r\nContent-Length: 5\r\n"))
        .await;
    assert_eq!(client.head().await.expect("an answer").status(), 100);
    let answer = client.send("hallo").await.answer().await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "done"));
}

#[tokio::test]
async fn events_arrive_while_the_answer_is_open() {
    let (tell, told) = mpsc::channel::<&str>(1);
    let told = std::sync::Arc::new(tokio::sync::Mutex::new(told));
    let upstream = Upstream::start(move |mut wire| {
        let told = std::sync::Arc::clone(&told);
        async move {
            wire.request().await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            while let Some(event) = told.lock().await.recv().await {
                wire.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
            }
            wire.send("0\r\n\r\n").await;
        }
    })
    .await;
    let behind = Behind::http(upstream).await;
    let mut client = behind.connect().await;
    client
        .send(behind.request("GET /ticker", "Accept: text/event-stream\r\n"))
        .await;
    assert_eq!(
        client
            .head()
            .await
            .expect("the header comes at once")
            .status(),
        200
    );
    for event in ["data: eins\n\n", "data: zwei\n\n", "data: drei\n\n"] {
        tell.send(event).await.expect("the upstream listens");
        client.until(event.as_bytes()).await;
    }
    drop(tell);
    client.until(b"0\r\n\r\n").await;
}

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn echo() -> Upstream {
    Upstream::start(|mut wire| async move {
        let head = wire.head().await.expect("a request");
        if head.values("upgrade").is_empty() {
            let events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
            wire.send(events).await;
            wire.ended().await;
            return;
        }
        wire.become_websocket().await;
        let mut echoed = 0;
        loop {
            let rest = wire.rest();
            let new = rest[echoed..].to_vec();
            echoed = rest.len();
            wire.send(new).await;
            if wire.read().await.is_none() {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_websocket_carries_bytes_both_ways() {
    let behind = Behind::http(echo().await).await;
    let mut client = behind.connect().await;
    client
        .send(behind.request("GET /ws/kurse", HANDSHAKE))
        .await;
    let answer = client.head().await.expect("an answer");
    assert_eq!(
        (answer.status(), answer.values("sec-websocket-accept")),
        (101, vec!["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="])
    );
    for message in [
        &b"\x81\x85\x01\x02\x03\x04abcde"[..],
        b"\x00\xff\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        &[7; 100_000],
    ] {
        client.send(message).await;
        assert_eq!(client.until(message).await, message);
    }
    let seen = &behind.upstream.bytes()[0];
    let head = support::upstream::parse_head(0, seen).expect("a header").0;
    assert_eq!(head.values("upgrade"), ["websocket"]);
    assert!(
        head.values("connection")[0].eq_ignore_ascii_case("upgrade"),
        "{head:?}"
    );
    client.half_close().await;
    client.rest().await;
}

/// Sockets and events may be silent for longer than any time limit; an upload may not.
#[tokio::test]
async fn what_may_be_silent_stays_open_and_what_may_not_ends() {
    let limits = World::builder()
        .listen("body_timeout = \"1s\"\nheader_timeout = \"1s\"\nkeepalive = \"1s\"");
    let behind = Behind::with(
        echo().await,
        limits.config("[upstream]\nread_timeout = \"2s\""),
    )
    .await;
    let silence = Duration::from_secs(6);
    let socket = async {
        let mut client = behind.connect().await;
        client
            .send(behind.request("GET /ws/kurse", HANDSHAKE))
            .await;
        assert_eq!(client.head().await.expect("an answer").status(), 101);
        assert!(client.is_silent_for(silence).await, "the socket was closed");
        client.send("noch da").await;
        assert_eq!(client.until(b"noch da").await, b"noch da");
    };
    let events = async {
        let mut client = behind.connect().await;
        client
            .send(behind.request("GET /ticker", "Accept: text/event-stream\r\n"))
            .await;
        client.until(b"1\r\na\r\n").await;
        assert!(client.is_silent_for(silence).await, "the stream was closed");
    };
    let upload = async {
        let mut client = behind.connect().await;
        let begun = std::time::Instant::now();
        client
            .send(behind.request("POST /upload", "Content-Length: 10\r\n"))
            .await
            .send("abc")
            .await;
        client.rest().await;
        let took = begun.elapsed();
        assert!(
            (Duration::from_millis(900)..Duration::from_secs(5)).contains(&took),
            "{took:?}"
        );
    };
    tokio::join!(socket, events, upload);
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8)
        .collect()
}

const LARGE: usize = 64 << 20;

async fn quiet_world(upstream: Upstream) -> Behind {
    // At `trace`, the log of a large transfer is larger than the transfer.
    Behind::with(
        upstream,
        World::builder().config("[log]\nfilter = \"info\""),
    )
    .await
}

fn resident(behind: &Behind) -> usize {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", behind.world.gateways[0].pid()))
            .expect("it runs");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("a size");
    line.split_whitespace()
        .nth(1)
        .expect("a number")
        .parse::<usize>()
        .expect("a number")
        * 1_024
}

#[tokio::test]
async fn a_large_download_arrives_byte_for_byte_and_is_not_kept_in_memory() {
    let sent = std::sync::Arc::new(pattern(LARGE));
    let file = std::sync::Arc::clone(&sent);
    let upstream = Upstream::start(move |mut wire| {
        let file = std::sync::Arc::clone(&file);
        async move {
            wire.request().await;
            wire.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                file.len()
            ))
            .await;
            wire.send(file.as_slice()).await;
        }
    })
    .await;
    let behind = quiet_world(upstream).await;
    let before = resident(&behind);
    let answer = behind.ask("GET /angebote.pdf", "").await;
    assert!(answer.body == *sent, "the bytes differ");
    let grown = resident(&behind).saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more in memory");
}

#[tokio::test]
async fn an_upload_waits_for_the_calculator_and_is_not_kept_in_memory() {
    let (go_on, wait) = tokio::sync::watch::channel(false);
    let (done, mut received) = mpsc::channel(1);
    let upstream = Upstream::start(move |mut wire| {
        let (mut wait, done) = (wait.clone(), done.clone());
        async move {
            wire.head().await.expect("a request");
            wait.wait_for(|go_on| *go_on)
                .await
                .expect("the test goes on");
            let mut body = wire.rest();
            while !body.ends_with(b"\r\n0\r\n\r\n") {
                body.extend(wire.some().await.expect("more of the body"));
            }
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .await;
            done.send(body).await.expect("the test listens");
        }
    })
    .await;
    let behind = quiet_world(upstream).await;
    let before = resident(&behind);
    let sent = pattern(LARGE);
    let mut client = behind.connect().await;
    client
        .send(behind.request("POST /upload", "Transfer-Encoding: chunked\r\n"))
        .await;
    let mut chunks = sent.chunks(65_536);
    let mut taken = 0;
    let stalled = loop {
        let Some(chunk) = chunks.next() else {
            break None;
        };
        let framed = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
        let mut written = 0;
        match tokio::time::timeout(
            Duration::from_secs(1),
            client.send_counting(&framed, &mut written),
        )
        .await
        {
            Ok(()) => taken += chunk.len(),
            Err(_) => break Some(framed[written..].to_vec()),
        }
    };
    let stalled = stalled.unwrap_or_else(|| {
        panic!("all {taken} bytes were taken although the calculator reads none")
    });
    let grown = resident(&behind).saturating_sub(before);
    assert!(
        grown < 16 << 20,
        "{grown} bytes more in memory, {taken} bytes taken"
    );
    go_on.send_replace(true);
    client.send(stalled).await;
    for chunk in chunks {
        client
            .send([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
            .await;
    }
    assert_eq!(client.send("0\r\n\r\n").await.answer().await.status(), 200);
    let (body, _) = unchunk(&received.recv().await.expect("a body")).expect("chunks");
    assert!(body == sent, "the bytes differ");
}

#[tokio::test]
async fn over_http2_requests_and_answers_are_the_same_messages() {
    let answer = b"HTTP/1.1 207 Multi-Status\r\nSet-Cookie: a=1\r\nX-Latin: M\xfcller\r\nSet-Cookie: b=2\r\nLocation: /x;y=%2F\r\nContent-Length: 5\r\n\r\nhallo";
    let behind = Behind::https(Upstream::answering(answer).await).await;
    let port = behind.world.gateways[0].https.expect("https");
    let mut client = H2::connect(&behind.world).await;
    for target in [
        "/",
        "/?",
        "/a%2Fb//c;jsessionid=1?x=%C3%BC&y",
        "/kfz/angebot?id=42",
    ] {
        let request = behind
            .h2("PROPFIND", target)
            .header("x-mine", "1")
            .header("x-mine", "2")
            .body(())
            .expect("a request");
        let answer = client.get(request).await.expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), answer.body().as_slice()),
            (207, &b"hallo"[..])
        );
        let cookies: Vec<_> = answer
            .headers()
            .get_all("set-cookie")
            .iter()
            .map(|value| value.as_bytes())
            .collect();
        assert_eq!(cookies, [b"a=1", b"b=2"]);
        assert_eq!(answer.headers()["x-latin"].as_bytes(), b"M\xfcller");
        assert_eq!(answer.headers()["location"], "/x;y=%2F");
        let seen = behind.upstream.last();
        assert_eq!(seen.line, format!("PROPFIND {target} HTTP/1.1"));
        assert_eq!(seen.values("host"), [format!("localhost:{port}")]);
        assert_eq!(
            seen.values("x-forwarded-host"),
            [format!("localhost:{port}")]
        );
        assert_eq!(seen.values("x-forwarded-proto"), ["https"]);
        assert_eq!(seen.values("x-mine"), ["1", "2"]);
        assert_eq!(seen.values("x-vtnr"), ["60/123/4567"]);
        assert_eq!(
            (seen.values("cookie"), seen.values("transfer-encoding")),
            (vec![], vec![]),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn over_tls_and_http1_all_is_as_without() {
    let behind = Behind::https(Upstream::fine().await).await;
    let port = behind.world.gateways[0].https.expect("https");
    let mut client = Raw::tls(&behind.world).await;
    for _ in 0..3 {
        client
            .send(format!(
                "GET /a//b? HTTP/1.1\r\nHost: localhost:{port}\r\nCookie: {}\r\nx-lower: 1\r\n\r\n",
                behind.session
            ))
            .await;
        assert_eq!(client.answer().await.text(), "ok");
        let seen = behind.upstream.last();
        assert_eq!(seen.line, "GET /a//b? HTTP/1.1");
        assert!(
            seen.fields
                .contains(&("x-lower".to_owned(), "1".to_owned())),
            "{seen:?}"
        );
        assert_eq!(seen.values("x-forwarded-proto"), ["https"]);
    }
}

#[tokio::test]
async fn a_browsers_cookie_crumbs_arrive_as_one_field() {
    let behind = Behind::https(Upstream::fine().await).await;
    let mut client = H2::connect(&behind.world).await;
    let request = behind
        .h2("GET", "/")
        .header("cookie", "JSESSIONID=1")
        .header("cookie", "theme=dark")
        .body(())
        .expect("a request");
    assert_eq!(client.get(request).await.expect("an answer").status(), 200);
    assert_eq!(
        behind.upstream.last().values("cookie"),
        ["JSESSIONID=1; theme=dark"]
    );
}

#[tokio::test]
async fn over_http2_a_head_has_no_body_and_its_length() {
    let behind = Behind::https(
        Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"1\"\r\n\r\n").await,
    )
    .await;
    let mut client = H2::connect(&behind.world).await;
    for target in ["/dokument.pdf", "/ui/login/de/hilfe"] {
        let answer = client
            .get(behind.h2("HEAD", target).body(()).expect("a request"))
            .await
            .expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), answer.body().len()),
            (200, 0),
            "{target}"
        );
        let length: usize = answer.headers()["content-length"]
            .to_str()
            .expect("ASCII")
            .parse()
            .expect("a length");
        assert!(length >= 1_234, "{target}: {length}");
    }
}

#[tokio::test]
async fn our_own_pages_work_over_http2() {
    let behind = Behind::https(Upstream::fine().await).await;
    let mut client = H2::connect(&behind.world).await;
    let port = behind.world.gateways[0].https.expect("https");
    let request = |method: &str, path: &str| {
        let uri = format!("https://localhost:{port}{path}");
        http::Request::builder()
            .version(http::Version::HTTP_2)
            .method(method)
            .uri(uri)
            .header("accept", "text/html")
    };
    let answer = client
        .get(request("GET", "/kfz?id=1").body(()).expect("a request"))
        .await
        .expect("an answer");
    assert_eq!(
        answer.headers()["location"],
        "/ui/login/de/vtnr-login?return_to=%2Fkfz%3Fid%3D1"
    );
    let answer = client
        .get(
            request("GET", "/ui/login/de/vtnr-login")
                .body(())
                .expect("a request"),
        )
        .await
        .expect("an answer");
    assert!(String::from_utf8_lossy(answer.body()).contains("Anmelden mit Vermittlernummer"));
    let posted = request("POST", "/ui/login/de/vtnr-login")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("sec-fetch-site", "same-origin");
    let (answer, mut body) = client.begin(posted.body(()).expect("a request")).await;
    body.send_data(Bytes::from_static(b"vtnr=quatsch&email="), false)
        .expect("sent");
    body.send_data(Bytes::new(), true).expect("sent");
    let answer = whole(answer).await.expect("an answer");
    assert!(
        String::from_utf8_lossy(answer.body())
            .contains("Diese Vermittlernummer ist ung\u{fc}ltig."),
        "{answer:?}"
    );
    behind.upstream.saw_nothing("our own pages");
}

/// Pingora #935: the body's end must not be written twice.
#[tokio::test]
async fn an_empty_last_frame_leaves_no_stray_bytes_at_the_calculator() {
    let behind = Behind::https(Upstream::fine().await).await;
    let mut client = H2::connect(&behind.world).await;
    for round in 0..5 {
        let (answer, mut body) = client
            .begin(
                behind
                    .h2("POST", "/kfz/angebot")
                    .body(())
                    .expect("a request"),
            )
            .await;
        body.send_data(Bytes::from_static(b"ort=Ulm"), false)
            .expect("sent");
        body.send_data(Bytes::new(), true).expect("sent");
        let answer = whole(answer).await.expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), answer.body().as_slice()),
            (200, &b"ok"[..]),
            "round {round}"
        );
        let (answer, mut body) = client
            .begin(behind.h2("POST", "/leer").body(()).expect("a request"))
            .await;
        body.send_data(Bytes::new(), true).expect("sent");
        assert_eq!(
            whole(answer).await.expect("an answer").status(),
            200,
            "round {round}"
        );
        let answer = client
            .get(behind.h2("GET", "/danach").body(()).expect("a request"))
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200, "round {round}");
    }
    // Read strictly: any byte between the requests would be a panic here.
    let requests = behind.upstream.requests();
    assert_eq!(requests.len(), 15);
    assert_eq!(
        requests
            .iter()
            .filter(|request| request.body == b"ort=Ulm")
            .count(),
        5
    );
    assert_eq!(
        behind.upstream.connections(),
        1,
        "the connection was used again each time"
    );
}

#[tokio::test]
async fn over_http2_a_large_upload_and_download_go_through_while_others_are_answered() {
    let size = 8 << 20;
    let upstream = Upstream::start(move |mut wire| async move {
        while let Some(request) = wire.head().await {
            if request.line.starts_with("GET") {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await;
                continue;
            }
            let mut body = wire.rest();
            while !body.ends_with(b"\r\n0\r\n\r\n") {
                body.extend(wire.some().await.expect("more of the body"));
            }
            let (body, _) = unchunk(&body).expect("chunks");
            wire.send(format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ))
            .await;
            wire.send(&body).await;
            return;
        }
    })
    .await;
    let builder = World::builder().https().config("[log]\nfilter = \"info\"");
    let behind = Behind::with(upstream, builder).await;
    let mut client = H2::connect(&behind.world).await;
    let sent = pattern(size);
    let (answer, mut body) = client
        .begin(behind.h2("POST", "/upload").body(()).expect("a request"))
        .await;
    let upload = async {
        for chunk in sent.chunks(16_384) {
            body.reserve_capacity(chunk.len());
            while body.capacity() < chunk.len() {
                std::future::poll_fn(|context| body.poll_capacity(context))
                    .await
                    .expect("open")
                    .expect("capacity");
            }
            body.send_data(Bytes::copy_from_slice(chunk), false)
                .expect("sent");
        }
        body.send_data(Bytes::new(), true).expect("sent");
        whole(answer).await.expect("an answer")
    };
    let others = async {
        for _ in 0..20 {
            let answer = client
                .get(behind.h2("GET", "/klein").body(()).expect("a request"))
                .await
                .expect("an answer");
            assert_eq!(answer.body(), b"ok");
        }
    };
    let (answer, ()) = tokio::join!(upload, others);
    assert!(*answer.body() == sent, "the bytes differ");
}
