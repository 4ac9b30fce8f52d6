//! What two servers could read differently does not reach the calculator, and nothing does without a session.

use crate::support;
use crate::support::raw::whole;
use crate::support::upstream::latin1;
use crate::support::world::StoreKind;
use crate::support::{Behind, H2, Upstream, World};
use bytes::Bytes;
use std::time::Duration;

/// Sends bytes as they are (`@HOST` and `@COOKIE` stand for the right values) and gives the status of the first answer; 0 if the
/// connection ended without one.
async fn status_of(behind: &Behind, request: &[u8]) -> u16 {
    let mut client = behind.connect().await;
    client.send(filled_in(behind, request)).await;
    let head = client.head().await;
    head.map_or(0, |head| head.status())
}

fn filled_in(behind: &Behind, request: &[u8]) -> Vec<u8> {
    let mut bytes = request.to_vec();
    for (mark, value) in [("@HOST", &behind.host), ("@COOKIE", &behind.session)] {
        while let Some(at) = bytes
            .windows(mark.len())
            .position(|part| part == mark.as_bytes())
        {
            bytes.splice(at..at + mark.len(), value.bytes());
        }
    }
    bytes
}

#[tokio::test]
async fn a_malformed_request_is_refused_and_not_a_byte_of_it_arrives() {
    let behind = Behind::http(Upstream::fine().await).await;
    let huge = format!(
        "GET / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nX: {}\r\n\r\n",
        "x".repeat(70_000)
    );
    let endless = format!(
        "GET / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nX: {}\r\n\r\n",
        "x".repeat(1_100_000)
    );
    let many: String = (0..300)
        .map(|number| format!("X-{number}: x\r\n"))
        .collect();
    let many = format!("GET / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n{many}\r\n");
    let cases: &[(u16, &[u8])] = &[
        // Targets.
        (400, b"GET http://evil.example/antrag HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n"),
        (400, b"GET http://@HOST/antrag HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n"),
        (400, b"GET http://evil.example/antrag HTTP/1.1\r\nHost: evil.example\r\nCookie: @COOKIE\r\n\r\n"),
        (400, b"POST urn:antrag/versand HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nContent-Length: 0\r\n\r\n"),
        (400, b"POST %2fantrag/versand HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nContent-Length: 0\r\n\r\n"),
        (400, b"GET antrag HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n"),
        (400, b"GET ?x HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n"),
        (400, b"OPTIONS * HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n"),
        (400, b"GET \\antrag HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n"),
        (400, b"GET /a\\..\\b HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n"),
        (400, b"GET  HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n"),
        // Hosts.
        (400, b"GET / HTTP/1.1\r\nCookie: @COOKIE\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: @HOST\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: @HOST\r\nHost: evil.example\r\nCookie: @COOKIE\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: user@@HOST\r\nCookie: @COOKIE\r\n\r\n"),
        (421, b"GET / HTTP/1.1\r\nHost: evil.example\r\nCookie: @COOKIE\r\n\r\n"),
        (421, b"GET / HTTP/1.1\r\nHost: 127.0.0.1:1\r\nCookie: @COOKIE\r\n\r\n"),
        (421, b"GET / HTTP/1.1\r\nHost: @HOST.evil.example\r\nCookie: @COOKIE\r\n\r\n"),
        // Framing.
        (400, b"POST / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nContent-Length: 5, 5\r\n\r\nhallo"),
        (400, b"POST / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhallo"),
        (400, b"POST / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhallo"),
        (400, b"POST / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nContent-Length: +5\r\n\r\nhallo"),
        (400, b"POST / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nContent-Length: -1\r\n\r\nhallo"),
        (400, b"POST / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nContent-Length: 99999999999999999999999\r\n\r\nhallo"),
        (400, b"POST / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        (400, b"POST /both HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhallo\r\n0\r\n\r\n"),
        (400, b"POST /both HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nTransfer-Encoding: chunked\r\ncontent-length:70\r\n\r\n0\r\n\r\nGET /blind HTTP/1.1\r\nHost: @HOST\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nTransfer_Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nContent_Length: 5\r\n\r\nhallo"),
        (400, b"POST / HTTP/1.0\r\nHost: @HOST\r\nCookie: @COOKIE\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 5\r\n\r\nhallo"),
        (400, b"GET / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        // Fields.
        (400, b"GET / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nX: a\r\n b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nX: a\0b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nX: a\rb\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\n Host: @HOST\r\nCookie: @COOKIE\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n: x\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nX Y: x\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE; vtnr_session=AAAA\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nCookie: vtnr_session=AAAA\r\n\r\n"),
        (400, huge.as_bytes()),
        (400, many.as_bytes()),
        // Versions and methods.
        (400, b"GET / HTTP/1.2\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n"),
        (400, b"GET /\r\n\r\n"),
        (405, b"CONNECT @HOST HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n"),
        (405, b"TRACE / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n"),
        (405, b"trace / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n"),
        (405, b"TRACK / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n"),
        (405, b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n"),
        (400, b"G(T / HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n"),
    ];
    for (expected, request) in cases {
        let what = latin1(request).chars().take(200).collect::<String>();
        assert_eq!(status_of(&behind, request).await, *expected, "{what}");
        behind.upstream.saw_nothing(&what);
    }
    // More than Pingora reads: whether the answer comes before the end of the connection is a matter of luck.
    let status = status_of(&behind, endless.as_bytes()).await;
    assert!(matches!(status, 0 | 400), "{status}");
    behind.upstream.saw_nothing("an endless header");
    behind.still_signed_in().await;
}

#[tokio::test]
async fn what_is_unusual_but_clear_arrives_as_exactly_one_request() {
    let behind = Behind::http(Upstream::fine().await).await;
    let cases: &[(&[u8], &str, &[u8])] = &[
        (b"GET /a b HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n", "GET /a%20b HTTP/1.1", b""),
        (b"\r\n\r\nGET /blank HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n", "GET /blank HTTP/1.1", b""),
        (b"GET /lf HTTP/1.1\nHost: @HOST\nCookie: @COOKIE\n\n", "GET /lf HTTP/1.1", b""),
        (b"GET /cut#/x HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n", "GET /cut HTTP/1.1", b""),
        (b"GET #/antrag HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n", "GET / HTTP/1.1", b""),
        (b"GET /old HTTP/1.0\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n", "GET /old HTTP/1.1", b""),
        (b"GET /case HTTP/1.1\r\nhOST: @HOST\r\ncOOKIE: @COOKIE\r\n\r\n", "GET /case HTTP/1.1", b""),
        (
            b"POST /te HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nTransfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\nX-Trailer: x\r\n\r\n",
            "POST /te HTTP/1.1",
            b"abc",
        ),
        (
            b"GET /h2c HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
            "GET /h2c HTTP/1.1",
            b"",
        ),
        (b"GET /length HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nContent-Length: 2\r\n\r\nab", "GET /length HTTP/1.1", b"ab"),
    ];
    for (number, (request, line, body)) in cases.iter().enumerate() {
        assert_eq!(
            status_of(&behind, request).await,
            200,
            "{}",
            latin1(request)
        );
        let seen = behind.upstream.requests();
        assert_eq!(seen.len(), number + 1, "{}", latin1(request));
        let seen = behind.upstream.last();
        assert_eq!((seen.line.as_str(), seen.body.as_slice()), (*line, *body));
        assert_eq!(
            (seen.values("upgrade"), seen.values("http2-settings")),
            (vec![], vec![]),
            "{seen:?}"
        );
    }
}

/// Each of two requests that come together is judged for itself, or not at all.
#[tokio::test]
async fn a_second_request_never_rides_on_the_firsts_session() {
    let behind = Behind::http(Upstream::fine().await).await;
    let stowaway = "GET /blind HTTP/1.1\r\nHost: @HOST\r\n\r\n";
    let carriers = [
        "GET /erst HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n".to_owned(),
        "POST /erst HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nContent-Length: 2\r\n\r\nab".to_owned(),
        "POST /erst HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "GET /ui/login/de/hilfe HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n".to_owned(),
        "GET /ohne HTTP/1.1\r\nHost: @HOST\r\n\r\n".to_owned(),
        "GET /erst HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned(),
        "GET /erst HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\nConnection: close\r\n\r\n".to_owned(),
    ];
    for carrier in carriers {
        let mut client = behind.connect().await;
        client
            .send(filled_in(
                &behind,
                format!("{carrier}{stowaway}").as_bytes(),
            ))
            .await;
        let answers = latin1(&client.rest().await);
        // The first may be broken off; the second, if answered at all, is answered as one without a session.
        assert!(
            answers.matches("HTTP/1.1 200").count() <= 1,
            "{carrier}{answers}"
        );
        let seen = behind.upstream.requests();
        assert!(
            seen.iter().all(|request| !request.line.contains("blind")),
            "{seen:#?}"
        );
        assert!(
            seen.iter()
                .all(|request| !latin1(&request.body).contains("blind")),
            "{seen:#?}"
        );
    }
}

/// The body of a request that was answered here is never taken for a request.
#[tokio::test]
async fn a_request_hidden_in_the_body_of_an_answered_one_is_not_served() {
    let behind = Behind::http(Upstream::fine().await).await;
    let hidden = filled_in(
        &behind,
        b"GET /hidden HTTP/1.1\r\nHost: @HOST\r\nCookie: @COOKIE\r\n\r\n",
    );
    for repeated in [1, 500, 8_000] {
        let body = hidden.repeat(repeated);
        let chunked = [
            format!("{:x}\r\n", body.len()).as_bytes(),
            &body,
            b"\r\n0\r\n\r\n",
        ]
        .concat();
        for (fields, body) in [
            (format!("Content-Length: {}\r\n", body.len()), &body),
            ("Transfer-Encoding: chunked\r\n".to_owned(), &chunked),
        ] {
            for (expected, accept) in [(401, "*/*"), (401, "text/html")] {
                let head = format!(
                    "POST /erst HTTP/1.1\r\nHost: {}\r\nAccept: {accept}\r\n{fields}\r\n",
                    behind.host
                );
                let mut client = behind.connect().await;
                client.send(head).await.send(body).await;
                assert_eq!(client.answer().await.status(), expected);
                client
                    .send(filled_in(
                        &behind,
                        b"GET /ui/login/de/hilfe HTTP/1.1\r\nHost: @HOST\r\n\r\n",
                    ))
                    .await;
                // Either the body was read to its end and the next request is the next, or the connection is over.
                if let Some(next) = client.try_answer().await {
                    assert!(
                        next.status() == 200 && next.text().contains("Unterst\u{fc}tzung"),
                        "{next:?}"
                    );
                }
            }
        }
    }
    behind.upstream.saw_nothing("bodies of answered requests");
}

/// What is nominated in `Connection` is of the hop; ours is not (CVE-2026-105299).
#[tokio::test]
async fn nominations_do_not_remove_what_the_gateway_says() {
    let behind = Behind::http(Upstream::fine().await).await;
    for nominated in [
        "x-vtnr",
        "X-VTNR, X-VTNR-Level",
        "X-Forwarded-For",
        "x-forwarded-proto, x-forwarded-host",
        "host",
        "cookie",
    ] {
        let before = behind.upstream.requests().len();
        let answer = behind
            .ask(
                "GET /",
                &format!("X-VTNR: 1\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: {nominated}\r\n"),
            )
            .await;
        let seen = behind.upstream.requests();
        if seen.len() == before {
            assert_eq!(answer.status(), 400, "{nominated}");
            continue;
        }
        let seen = behind.upstream.last();
        assert_eq!(seen.values("x-vtnr"), ["60/123/4567"], "{nominated}");
        assert_eq!(seen.values("x-vtnr-level"), ["full"], "{nominated}");
        assert_eq!(seen.values("x-forwarded-for"), ["127.0.0.1"], "{nominated}");
        assert_eq!(seen.values("x-forwarded-proto"), ["http"], "{nominated}");
        assert_eq!(seen.values("host"), [behind.host.as_str()], "{nominated}");
    }
}

fn forged_names() -> Vec<String> {
    let mut names = Vec::new();
    for name in [
        "X-VTNR",
        "X-VTNR-Level",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Uri",
        "X-Forwarded-Prefix",
        "X-Forwarded-User",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-Method-Override",
        "X-Real-IP",
        "Forwarded",
        "True-Client-IP",
        "X-SSL-Client-Cert",
    ] {
        for separator in ["-", "_", "."] {
            names.push(name.replace('-', separator));
            names.push(name.replacen('-', separator, 1));
            names.push(name.to_ascii_lowercase().replace('-', separator));
            names.push(name.to_ascii_uppercase().replace('-', separator));
        }
    }
    names.sort();
    names.dedup();
    names
}

#[tokio::test]
async fn forged_identities_do_not_arrive_in_any_spelling() {
    let builder = World::builder()
        .https()
        .config("[upstream]\npublic_paths = [\"/favicon.ico\"]");
    let behind = Behind::with(Upstream::fine().await, builder).await;
    let names = forged_names();
    let fields: String = names
        .iter()
        .map(|name| format!("{name}: forged\r\n"))
        .collect();
    let mut client = H2::connect(&behind.world).await;
    let sound = |public: bool| {
        let seen = behind.upstream.last();
        assert!(
            seen.fields.iter().all(|(_, value)| value != "forged"),
            "{seen:#?}"
        );
        assert_eq!(seen.values("x-vtnr").is_empty(), public, "{seen:#?}");
        assert_eq!(
            (
                seen.values("x-forwarded-for"),
                seen.values("x-vtnr-level").len()
            ),
            (vec!["127.0.0.1"], usize::from(!public))
        );
    };
    for (line, public) in [
        ("GET /a", false),
        ("OPTIONS /a", false),
        ("GET /favicon.ico", true),
        ("HEAD /favicon.ico", true),
    ] {
        assert_eq!(behind.ask(line, &fields).await.status(), 200, "{line}");
        sound(public);
        let (method, target) = line.split_once(' ').expect("two words");
        let mut request = behind.h2(method, target);
        for name in &names {
            request = request.header(name.to_ascii_lowercase(), "forged");
        }
        assert_eq!(
            client
                .get(request.body(()).expect("a request"))
                .await
                .expect("an answer")
                .status(),
            200,
            "{line}"
        );
        sound(public);
    }
}

#[tokio::test]
async fn the_calculator_cannot_set_our_cookies() {
    let answer = "HTTP/1.1 200 OK\r\nSet-Cookie: vtnr_session=planted; Path=/\r\nSet-Cookie: JSESSIONID=1\r\nset-cookie: __Host-vtnr_trust=x; Secure; Path=/\r\n\
                  Set-Cookie: __Host-vtnr_session=; Max-Age=0\r\nSet-Cookie: vtnr_flow\r\nSet-Cookie: theme=dark\r\nContent-Length: 0\r\n\r\n";
    let behind = Behind::https(Upstream::answering(answer).await).await;
    assert_eq!(
        behind.ask("GET /", "").await.values("set-cookie"),
        ["JSESSIONID=1", "theme=dark"]
    );
    let mut client = H2::connect(&behind.world).await;
    let answer = client
        .get(behind.h2("GET", "/").body(()).expect("a request"))
        .await
        .expect("an answer");
    let cookies: Vec<_> = answer.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["JSESSIONID=1", "theme=dark"]);
}

#[tokio::test]
async fn over_http2_malformed_requests_do_not_arrive_either() {
    let behind = Behind::https(Upstream::fine().await).await;
    let port = behind.world.gateways[0].https.expect("https");
    let request = |method: &str, uri: &str| {
        http::Request::builder()
            .version(http::Version::HTTP_2)
            .method(method)
            .uri(uri)
            .header("cookie", &behind.session)
    };
    let ours = format!("https://localhost:{port}");
    let cases = [
        (
            "a foreign authority",
            Some(421),
            request("GET", "https://evil.example/"),
        ),
        (
            "another port",
            Some(421),
            request("GET", "https://localhost:1/"),
        ),
        (
            "a second Host",
            None,
            request("GET", &format!("{ours}/")).header("host", "evil.example"),
        ),
        ("TRACE", Some(405), request("TRACE", &format!("{ours}/"))),
        (
            "CONNECT",
            Some(405),
            request("CONNECT", &format!("localhost:{port}")),
        ),
        (
            "a session twice",
            Some(400),
            request("GET", &format!("{ours}/")).header("cookie", "__Host-vtnr_session=AAAA"),
        ),
        (
            "a backslash",
            Some(400),
            request("GET", &format!("{ours}/a\\b")),
        ),
        (
            "an alias",
            Some(400),
            request("POST", &format!("{ours}/")).header("transfer_encoding", "chunked"),
        ),
        (
            "a huge header",
            None,
            request("GET", &format!("{ours}/")).header("x", "x".repeat(66_000)),
        ),
    ];
    for (what, expected, request) in cases {
        let mut client = H2::connect(&behind.world).await;
        let Ok(request) = request.body(()) else {
            continue;
        };
        match (client.get(request).await, expected) {
            (Ok(answer), Some(expected)) => assert_eq!(answer.status(), expected, "{what}"),
            (Ok(answer), None) => assert!(
                answer.status().is_client_error(),
                "{what}: {}",
                answer.status()
            ),
            (Err(error), None) => {
                assert!(error.is_reset() || error.is_go_away(), "{what}: {error}")
            }
            (Err(error), Some(_)) => panic!("{what}: {error}"),
        }
        behind.upstream.saw_nothing(what);
    }
}

/// What no sound client sends, frame by frame.
#[tokio::test]
async fn over_http2_fields_that_frame_or_split_a_message_are_refused() {
    let behind = Behind::https(Upstream::fine().await).await;
    let authority = format!(
        "localhost:{}",
        behind.world.gateways[0].https.expect("https")
    );
    let sound = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", &authority),
        (":path", "/"),
        ("cookie", &behind.session),
    ];
    let mut cases: Vec<(&str, Vec<(&str, &str)>)> = [
        ("transfer-encoding", "chunked"),
        ("connection", "x-vtnr"),
        ("keep-alive", "1"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("content-length", "+5"),
        ("content-length", "5, 5"),
        ("Upper", "case"),
        ("x", "a\r\nx-vtnr: 1"),
        ("x", "a\0b"),
        ("x y", "z"),
        ("host", "evil.example"),
        (":path", "/second"),
        (":authority", "evil.example"),
    ]
    .into_iter()
    .map(|further| (further.0, sound.into_iter().chain([further]).collect()))
    .collect();
    for (name, value) in [
        (":path", "http://evil.example/"),
        (":path", "*"),
        (":path", ""),
        (":path", "antrag"),
        (":path", "/a b"),
        (":path", "/a\r\nX: y"),
        (":path", "/\0"),
        (":method", "GET / HTTP/1.1\r\nX"),
        (":method", "CONNECT"),
        (":authority", "evil.example"),
        (":authority", "user@localhost"),
        (":authority", ""),
    ] {
        cases.push((
            name,
            sound
                .into_iter()
                .map(|field| {
                    if field.0 == name {
                        (name, value)
                    } else {
                        field
                    }
                })
                .collect(),
        ));
    }
    for omitted in [":method", ":scheme", ":path", ":authority"] {
        cases.push((
            omitted,
            sound
                .into_iter()
                .filter(|(name, _)| *name != omitted)
                .collect(),
        ));
    }
    let mut control = support::raw::Frames::connect(&behind.world).await;
    assert_eq!(
        control.ask(&sound).await,
        support::raw::Fate::Answered(200),
        "the frames are sound"
    );
    let before = behind.upstream.requests().len();
    for (what, fields) in cases {
        let mut client = support::raw::Frames::connect(&behind.world).await;
        let fate = client.ask(&fields).await;
        let refused = matches!(
            fate,
            support::raw::Fate::Broken | support::raw::Fate::Answered(400..500)
        );
        assert!(refused, "{what}: {fate:?}\n{fields:?}");
        assert_eq!(
            behind.upstream.requests().len(),
            before,
            "{what}\n{fields:?}"
        );
    }
}

/// T1: no byte reaches the calculator without a valid session.
#[tokio::test]
async fn without_a_session_nothing_reaches_the_calculator() {
    let upstream = Upstream::fine().await;
    let world = World::builder()
        .https()
        .store(StoreKind::Memory)
        .upstream(&upstream.url())
        .start()
        .await;
    let paths = [
        "/",
        "/?",
        "//",
        "/.",
        "/..",
        "/index.html",
        "/kfz/angebot?id=42",
        "/antrag/versand",
        "//antrag/versand",
        "/antrag//versand",
        "/antrag/./versand",
        "/x/../antrag/versand",
        "/antrag/versand/",
        "/antrag/versand;x=1",
        "/antrag;jsessionid=1/versand",
        "/antrag%2Fversand",
        "/%61ntrag/versand",
        "/antrag/versand%00",
        "/antrag/versand%0a",
        "/ANTRAG/VERSAND",
        "/antrag/versand.json",
        "/..;/antrag/versand",
        "/ui/login/de/../../../antrag/versand",
        "/ui/login/de/%2e%2e/antrag/versand",
        "/ui/login/de//antrag",
        "/ui/login/de/tan/../../../../x",
        "/ui/login/de/assets/../../../../antrag",
        "/ui/login/de/assets/%2e%2e/x",
        "/ui/login/dex",
        "/ui/login/de;x/tan",
        "/UI/LOGIN/DE/tan",
        "/favicon.ico",
        "/robots.txt",
        "/.well-known/change-password",
        "/metrics",
        "/healthz",
        "/readyz",
        "/ws/kurse",
        "/ticker",
        "/x?/ui/login/de/tan",
        "/x?return_to=/ui/login/de/",
        "/%",
        "/%zz",
        "/%u002f",
        "/\u{e4}",
        "/~x",
        "/a@b",
        "/a:80",
        "/*",
        "/,",
        "/'",
        "/!",
        "/$",
        "/(x)",
        "/[x]",
        "/{x}",
        "/|x",
        "/^x",
    ];
    let methods = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "get", "post",
        "JEFF",
    ];
    let cookies = [
        "",
        "Cookie: vtnr_session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n",
        "Cookie: vtnr_trust=AAAA; JSESSIONID=1\r\n",
    ];
    let host = format!("127.0.0.1:{}", world.gateways[0].port);
    let mut client = support::Raw::connect(world.gateways[0].port).await;
    for (number, path) in paths.iter().enumerate() {
        for (other, method) in methods.iter().enumerate() {
            let cookie = cookies[(number + other) % cookies.len()];
            let length = if *method == "POST" {
                "Content-Length: 0\r\n"
            } else {
                ""
            };
            let accept = if other % 2 == 0 { "text/html" } else { "*/*" };
            client.send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n{cookie}{length}\r\n")).await;
            let answer = client.answer_to(method).await;
            let own = path.starts_with("/ui/login/de/")
                || matches!(answer.status(), 303 | 400 | 401 | 405);
            assert!(own && answer.status() < 500, "{method} {path}: {answer:?}");
            assert!(
                answer.values("server").is_empty() || answer.values("connection") == ["close"],
                "{answer:?}"
            );
            if answer.values("connection") == ["close"] {
                client = support::Raw::connect(world.gateways[0].port).await;
            }
            upstream.saw_nothing(&format!("{method} {path}"));
        }
    }
    let mut client = H2::connect(&world).await;
    let port = world.gateways[0].https.expect("https");
    for path in paths {
        for method in ["GET", "POST", "JEFF"] {
            let request = http::Request::builder()
                .version(http::Version::HTTP_2)
                .method(method)
                .uri(format!("https://localhost:{port}{path}"));
            let Ok(request) = request.header("accept", "text/html").body(()) else {
                continue;
            };
            if let Ok(answer) = client.get(request).await {
                assert!(
                    answer.status().as_u16() < 500,
                    "{method} {path}: {answer:?}"
                );
            } else {
                client = H2::connect(&world).await;
            }
            upstream.saw_nothing(&format!("{method} {path} over HTTP/2"));
        }
    }
}

#[tokio::test]
async fn a_websocket_without_a_session_is_refused_at_once() {
    let upstream = Upstream::fine().await;
    let world = World::builder()
        .store(StoreKind::Memory)
        .upstream(&upstream.url())
        .start()
        .await;
    let mut client = support::Raw::connect(world.gateways[0].port).await;
    let begun = std::time::Instant::now();
    let host = format!("127.0.0.1:{}", world.gateways[0].port);
    client.send(format!("GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n")).await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status(), answer.values("content-type")),
        (401, vec!["application/problem+json"])
    );
    assert!(begun.elapsed() < Duration::from_secs(1));
    upstream.saw_nothing("a handshake without a session");
}

/// The client sends all it has before it reads: the answer must survive that.
#[tokio::test]
async fn a_blocked_submission_with_a_large_body_is_answered_with_the_page() {
    let upstream = Upstream::fine().await;
    let world = World::builder()
        .https()
        .store(StoreKind::Memory)
        .upstream(&upstream.url())
        .start()
        .await;
    let browser = world.signed_in_without_email().await;
    let session = support::behind::session_of(&browser);
    let body = vec![b'x'; 10 << 20];
    let host = format!("127.0.0.1:{}", world.gateways[0].port);
    for framing in ["length", "chunks"] {
        for _ in 0..5 {
            let mut client = support::Raw::connect(world.gateways[0].port).await;
            let fields = if framing == "length" {
                format!("Content-Length: {}", body.len())
            } else {
                "Transfer-Encoding: chunked".into()
            };
            client
                .send(format!(
                    "POST /antrag/versand HTTP/1.1\r\nHost: {host}\r\nCookie: {session}\r\nAccept: text/html\r\n{fields}\r\n\r\n"
                ))
                .await;
            if framing == "chunks" {
                client.send(format!("{:x}\r\n", body.len())).await;
            }
            // A reset here could cost the client the answer, on some systems even when it has arrived already.
            client
                .try_send(&body)
                .await
                .expect("the client can send to the end");
            if framing == "chunks" {
                client
                    .try_send("\r\n0\r\n\r\n")
                    .await
                    .expect("the client can send to the end");
            }
            let answer = client.answer().await;
            assert_eq!(
                (answer.status(), answer.values("connection")),
                (403, vec!["close"]),
                "{framing}"
            );
            assert!(answer.text().contains("</html>"), "{answer:?}");
        }
    }
    let mut client = H2::connect(&world).await;
    let port = world.gateways[0].https.expect("https");
    let request = http::Request::builder()
        .version(http::Version::HTTP_2)
        .method("POST")
        .uri(format!("https://localhost:{port}/antrag/versand"))
        .header("cookie", &session)
        .header("accept", "text/html");
    let (answer, mut stream) = client.begin(request.body(()).expect("a request")).await;
    stream.send_data(Bytes::from(body), true).expect("queued");
    let answer = whole(answer).await.expect("an answer");
    assert_eq!(answer.status(), 403);
    assert!(String::from_utf8_lossy(answer.body()).contains("</html>"));
    upstream.saw_nothing("blocked submissions");
}

/// A client that waits to be asked for the body is answered without it; one of our own forms is asked for.
#[tokio::test]
async fn a_client_that_expects_a_continue_is_answered_at_once() {
    let behind = Behind::http(Upstream::fine().await).await;
    let begun = std::time::Instant::now();
    let mut client = behind.connect().await;
    let expecting = "Expect: 100-continue\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 19\r\n";
    client
        .send(format!(
            "POST /x HTTP/1.1\r\nHost: {}\r\n{expecting}\r\n",
            behind.host
        ))
        .await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status(), answer.values("connection")),
        (401, vec!["close"])
    );
    assert_eq!(client.rest().await, b"");
    let mut client = behind.connect().await;
    client
        .send(format!(
            "POST /ui/login/de/vtnr-login HTTP/1.1\r\nHost: {}\r\n{expecting}\r\n",
            behind.host
        ))
        .await;
    assert_eq!(client.head().await.expect("an answer").status(), 100);
    let answer = client.send("vtnr=quatsch&email=").await.answer().await;
    assert!(
        answer
            .text()
            .contains("Diese Vermittlernummer ist ung\u{fc}ltig."),
        "{answer:?}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    behind.upstream.saw_nothing("answered here");
}
