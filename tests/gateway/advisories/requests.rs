//! Whatever a request says of itself, and however it is framed, the decision is the same.

use super::house::{House, LOGIN, PUBLIC, SUBMISSION, Visitor};
use crate::support::raw::whole;
use crate::support::upstream::latin1;
use crate::support::{H2, World};
use Visitor::{Broker, Nobody, WithoutEmail};
use bytes::Bytes;

const EMPTY: &str = "Content-Length: 0\r\n";

/// What is decided of whom, whatever else the request holds.
const DECISIONS: [(Visitor, &str, u16); 7] = [
    (Nobody, "GET /kfz", 401),
    (Nobody, "POST /antrag/versand", 401),
    (Nobody, "OPTIONS /kfz", 401),
    (Nobody, "GET /oeffentlich", 200),
    (WithoutEmail, "POST /antrag/versand", 403),
    (WithoutEmail, "GET /kfz", 200),
    (Broker, "POST /antrag/versand", 200),
];

#[tokio::test]
async fn every_spelling_of_the_host_gets_the_same_decision_and_every_other_host_none() {
    let house = House::open().await;
    let gateway = &house.behind.world.gateways[0];
    let (http, https) = (gateway.port, gateway.https.expect("https"));
    for host in [
        format!("localhost:{https}"),
        format!("LOCALHOST:{https}"),
        format!("LocalHost.:{https}"),
        format!("127.0.0.1:{http}"),
        format!("127.0.0.1.:{http}"),
        format!("[::1]:{https}"),
    ] {
        for (who, line, expected) in DECISIONS {
            assert_eq!(
                house
                    .status(who, line, &format!("Host: {host}\r\n{EMPTY}"))
                    .await,
                expected,
                "{host}: {who:?} {line}"
            );
        }
    }
    let before = house.arrived();
    for host in [
        "localhost".to_owned(),
        format!("localhost:{}", https - 1),
        format!("localhost:0{https}"),
        format!("localhost:{https}."),
        format!("localhost:{https}:80"),
        format!("localhost:{https}:443"),
        format!("localhost..:{https}"),
        format!("local%68ost:{https}"),
        format!("localhost%00:{https}"),
        format!("localhost%2eevil.example:{https}"),
        format!("localhost:{https}.evil.example"),
        format!("localhost:{https}@evil.example"),
        format!("evil.example@localhost:{https}"),
        format!("localhost:{https},evil.example"),
        format!("localhost:{https} evil.example"),
        format!("localhost:{https}/evil"),
        format!("localhost:{https}?evil"),
        format!("localhost:{https}#evil"),
        format!("\u{17f}ocalhost:{https}"),
        format!("127.1:{http}"),
        format!("2130706433:{http}"),
        format!("[::ffff:127.0.0.1]:{http}"),
        format!("[::1]:{https}]"),
        "evil.example".to_owned(),
        ":80".to_owned(),
        ":".to_owned(),
        ".".to_owned(),
    ] {
        for (who, line, _) in DECISIONS {
            let status = house
                .status(who, line, &format!("Host: {host}\r\n{EMPTY}"))
                .await;
            assert!(
                matches!(status, 400 | 421),
                "{host}: {who:?} {line}: {status}"
            );
        }
    }
    assert_eq!(
        house.arrived(),
        before,
        "something arrived for another host"
    );
    let mut client = H2::connect(&house.behind.world).await;
    for (host, is_ours) in [
        ("LOCALHOST", true),
        ("localhost.", true),
        ("[::1]", true),
        ("localhost..", false),
        ("127.1", false),
    ] {
        for (who, line, expected) in DECISIONS {
            let (method, target) = line.split_once(' ').expect("two words");
            let request = http::Request::builder()
                .method(method)
                .uri(format!("https://{host}:{https}{target}"));
            let request = request
                .header("cookie", house.cookie(who))
                .header("content-length", "0")
                .body(())
                .expect("a request");
            let status = client
                .get(request)
                .await
                .expect("an answer")
                .status()
                .as_u16();
            assert_eq!(
                status,
                if is_ours { expected } else { 421 },
                "{host} over HTTP/2: {who:?} {line}"
            );
        }
    }
}

#[tokio::test]
async fn paths_that_need_no_sign_in_make_nothing_else_public() {
    let house = House::open().await;
    let before = house.arrived();
    let free = [
        PUBLIC.to_owned(),
        LOGIN.to_owned(),
        format!("{LOGIN}tan"),
        format!("{LOGIN}assets/style.css"),
        format!("{LOGIN}status"),
    ];
    for free in &free {
        let mut targets = Vec::new();
        for protected in ["/kfz", SUBMISSION] {
            targets.extend(
                [
                    "?{}",
                    "?a={}",
                    "?{}=1",
                    "?return_to={}",
                    "?x#{}",
                    "#{}",
                    "{}",
                    ";{}",
                    ";a={}",
                    "%3f{}",
                    "%23{}",
                    "%3b{}",
                    "/..{}",
                    "/..;{}",
                ]
                .map(|shape| format!("{protected}{}", shape.replace("{}", free))),
            );
            targets.extend(
                [
                    "/..{}",
                    "/%2e%2e{}",
                    "/..;{}",
                    ";{}",
                    "%2f..{}",
                    "%3f{}",
                    "%23{}",
                    "%00{}",
                    "%20{}",
                    ".{}",
                    "\\..{}",
                    "{}",
                    "//..{}",
                    "/./..{}",
                ]
                .map(|shape| format!("{free}{}", shape.replace("{}", protected))),
            );
            targets.extend([
                format!("/{free}/..{protected}"),
                format!("/.{free}/..{protected}"),
                format!("/x/..{free}"),
            ]);
        }
        for target in targets {
            for (who, method) in [
                (Nobody, "GET"),
                (Nobody, "POST"),
                (Nobody, "OPTIONS"),
                (WithoutEmail, "POST"),
            ] {
                if who == WithoutEmail && !target.starts_with(SUBMISSION) {
                    continue;
                }
                let status = house
                    .status(who, &format!("{method} {target}"), EMPTY)
                    .await;
                // Whatever begins with our own prefix is answered here, if only with "not found".
                let refused = matches!(status, 400 | 401 | 403)
                    || target.starts_with(LOGIN) && matches!(status, 404 | 405);
                assert!(refused, "{who:?} {method} {target}: {status}");
            }
        }
    }
    assert_eq!(house.arrived(), before, "something arrived");
    assert_eq!(
        house
            .status(Nobody, &format!("GET {PUBLIC}?{SUBMISSION}"), "")
            .await,
        200,
        "what is public is"
    );
    house.still_stands().await;
}

#[tokio::test]
async fn fields_that_speak_of_another_request_or_client_change_no_decision() {
    let house = House::open().await;
    let names = [
        "X-Forwarded-Uri",
        "X-Forwarded-Method",
        "X-Forwarded-Prefix",
        "X-Forwarded-Path",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-For",
        "X-Forwarded-User",
        "X-Forwarded-Email",
        "X-Auth-Request-User",
        "X-Original-URL",
        "X-Original-URI",
        "X-Original-Method",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X-Real-IP",
        "X-Envoy-Internal",
        "X-Envoy-Original-Path",
        "X-VTNR",
        "X-VTNR-Level",
        "X-SSL-Client-Verify",
        "Remote-User",
        "Authorization",
        "User-Agent",
        "Access-Control-Request-Method",
        "Forwarded",
    ];
    let values = [
        PUBLIC,
        "/ui/login/de/assets/style.css",
        "GET",
        "10.0.0.1",
        "127.0.0.1",
        "full",
        "60/123/4567",
        "Basic YWRtaW46YWRtaW4=",
        "GoogleHC/1.0",
        "kube-probe/1.31",
        "ELB-HealthChecker/2.0",
        "for=127.0.0.1;proto=https;host=evil.example",
    ];
    for name in names {
        for name in [name.to_owned(), name.to_ascii_lowercase().replace('-', "_")] {
            // All values at once are a field that comes several times.
            let all: String = values
                .iter()
                .map(|value| format!("{name}: {value}\r\n"))
                .collect();
            let alone = values.map(|value| format!("{name}: {value}\r\n"));
            for (number, fields) in alone.iter().chain([&all]).enumerate() {
                let (who, line, expected) = DECISIONS[number % DECISIONS.len()];
                let others = DECISIONS
                    .iter()
                    .filter(|decision| number == values.len() || decision.2 != 200);
                for (who, line, expected) in others.copied().chain([(who, line, expected)]) {
                    let status = house.status(who, line, &format!("{fields}{EMPTY}")).await;
                    assert_eq!(status, expected, "{fields}{who:?} {line}");
                }
            }
        }
    }
}

/// A body changes nothing of the decision, however it is sent and however long it is (Skipper skipped its policy).
#[tokio::test]
async fn the_decision_is_the_same_for_every_length_and_framing_of_a_body() {
    let house = House::open().await;
    let mut h2 = H2::connect(&house.behind.world).await;
    for length in [0, 1, 65_535, 65_536, 65_537, 3 << 20] {
        let body = vec![b'x'; length];
        for (who, expected) in [(Nobody, 401), (WithoutEmail, 403), (Broker, 200)] {
            for kind in [
                "",
                "Content-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\n",
            ] {
                let before = house.arrived();
                let what = format!("{who:?}, {length} bytes, {kind}");
                let sized = house.request(
                    who,
                    "POST /antrag/versand",
                    &format!("{kind}Content-Length: {length}\r\n"),
                );
                assert_eq!(
                    sent(&house, &[sized.as_bytes(), &body]).await,
                    expected,
                    "{what}sized"
                );
                let chunked = house.request(
                    who,
                    "POST /antrag/versand",
                    &format!("{kind}Transfer-Encoding: chunked\r\n"),
                );
                let size = if length == 0 {
                    String::new()
                } else {
                    format!("{length:x}\r\n")
                };
                let end = if length == 0 {
                    "0\r\n\r\n"
                } else {
                    "\r\n0\r\n\r\n"
                };
                assert_eq!(
                    sent(
                        &house,
                        &[chunked.as_bytes(), size.as_bytes(), &body, end.as_bytes()]
                    )
                    .await,
                    expected,
                    "{what}chunked"
                );
                for says_length in [true, false] {
                    let mut request = house.behind.h2("POST", SUBMISSION);
                    *request.headers_mut().expect("sound") = http::HeaderMap::new();
                    request = request.header("cookie", house.cookie(who));
                    for (name, value) in kind.lines().filter_map(|line| line.split_once(": ")) {
                        request = request.header(name, value);
                    }
                    request = if says_length {
                        request.header("content-length", length)
                    } else {
                        request
                    };
                    let (answer, mut stream) = h2.begin(request.body(()).expect("a request")).await;
                    stream
                        .send_data(Bytes::from(body.clone()), true)
                        .expect("queued");
                    assert_eq!(
                        whole(answer).await.expect("an answer").status(),
                        expected,
                        "{what}over HTTP/2"
                    );
                }
                let arrived = house.arrived() - before;
                assert_eq!(arrived, if expected == 200 { 4 } else { 0 }, "{what}");
            }
        }
    }
}

async fn sent(house: &House, parts: &[&[u8]]) -> u16 {
    let mut client = house.behind.connect().await;
    for part in parts {
        client.send(part).await;
    }
    client.head().await.map_or(0, |head| head.status())
}

/// A handshake for a WebSocket with a body, and requests of HTTP/1.0, whose bodies servers end differently.
#[tokio::test]
async fn no_request_hides_behind_an_upgrade_or_an_old_version() {
    let house = House::open().await;
    let hidden = format!(
        "POST {SUBMISSION}?blind HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n",
        house.behind.host
    );
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let length = hidden.len();
    let carriers = [
        format!("GET /kfz HTTP/1.1\r\n@{upgrade}\r\n"),
        format!("GET /kfz HTTP/1.1\r\n@{upgrade}Content-Length: {length}\r\n\r\n"),
        format!("GET /kfz HTTP/1.1\r\n@{upgrade}Content-Length: 0\r\n\r\n"),
        format!("GET /kfz HTTP/1.1\r\n@{upgrade}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("POST /kfz HTTP/1.1\r\n@{upgrade}Content-Length: {length}\r\n\r\n"),
        format!("GET /kfz HTTP/1.1\r\n@Connection: Upgrade, Content-Length\r\nUpgrade: h2c\r\nContent-Length: {length}\r\n\r\n"),
        "POST /kfz HTTP/1.0\r\n@\r\n".to_owned(),
        "POST /kfz HTTP/1.0\r\n@Connection: keep-alive\r\n\r\n".to_owned(),
        "POST /kfz HTTP/1.0\r\n@Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "POST /kfz HTTP/1.0\r\n@Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "GET /kfz HTTP/1.0\r\n@Connection: keep-alive\r\nContent-Length: 0\r\n\r\n".to_owned(),
    ];
    for who in [Nobody, WithoutEmail, Broker] {
        let cookie = house.cookie(who);
        let fields = format!(
            "Host: {}\r\n{}",
            house.behind.host,
            if cookie.is_empty() {
                String::new()
            } else {
                format!("Cookie: {cookie}\r\n")
            }
        );
        for carrier in &carriers {
            let mut client = house.behind.connect().await;
            client
                .send(format!("{}{hidden}", carrier.replace('@', &fields)))
                .await;
            client.half_close().await;
            let answers = latin1(&client.rest().await);
            assert!(
                !answers.contains("blind") && answers.matches("HTTP/1.1 200").count() <= 1,
                "{who:?} {carrier}{answers}"
            );
            let seen = house.behind.upstream.requests();
            assert!(
                seen.iter().all(|request| !request.line.contains("blind")),
                "{who:?} {carrier}{seen:#?}"
            );
        }
    }
    house.still_stands().await;
}

/// What the operator's machines ask for is on the admin listener, and nowhere else.
#[tokio::test]
async fn health_and_metrics_are_not_on_the_public_listener() {
    let house = House::open().await;
    let before = house.arrived();
    for path in [
        "/healthz",
        "/readyz",
        "/metrics",
        "/health",
        "/ping",
        "/ready",
        "/oauth2/ping",
    ] {
        for agent in [
            "GoogleHC/1.0",
            "kube-probe/1.31",
            "ELB-HealthChecker/2.0",
            "Prometheus/3.0",
        ] {
            assert_eq!(
                house
                    .status(
                        Nobody,
                        &format!("GET {path}"),
                        &format!("User-Agent: {agent}\r\n")
                    )
                    .await,
                401,
                "{path} {agent}"
            );
        }
    }
    assert_eq!(house.arrived(), before);
    let admin = |world: &World| format!("http://127.0.0.1:{}/healthz", world.gateways[0].admin);
    house
        .behind
        .browser
        .open(&admin(&house.behind.world))
        .await
        .is(200);
}
