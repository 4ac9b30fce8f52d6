//! Whose pages may post our forms and open WebSockets: scheme, host and port are compared, over every way in.

use crate::support::behind::session_of;
use crate::support::raw::whole;
use crate::support::world::{ADA, StoreKind};
use crate::support::{Behind, H2, Raw, Upstream, World};
use bytes::Bytes;

const HOST: &str = "rechner.example";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\nAccept: text/html\r\n";
const BODY: &str = "vtnr=60%2F123%2F4567&email=x";

/// A gateway behind a name that is not this machine's.
async fn of_a_name() -> World {
    let listen =
        format!("[listen]\npublic_url = \"https://{HOST}\"\nhosts = [\"zweit.example:8443\"]");
    World::builder()
        .https()
        .store(StoreKind::Memory)
        .config(&listen)
        .start()
        .await
}

fn post(host: &str, fields: &str) -> String {
    let length = BODY.len();
    format!(
        "POST /ui/login/de/vtnr-login HTTP/1.1\r\nHost: {host}\r\n{FORM}{fields}Content-Length: {length}\r\n\r\n{BODY}"
    )
}

/// What a posted form of the sign-in gets over plain HTTP, as behind a front proxy, over TLS, and over HTTP/2.
async fn statuses(world: &World, host: &str, fields: &[(&str, &str)]) -> [u16; 3] {
    let lines: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let mut plain = Raw::connect(world.gateways[0].port).await;
    let plain = plain.send(post(host, &lines)).await.answer().await;
    let mut secure = Raw::tls(world).await;
    let secure = secure.send(post(host, &lines)).await.answer().await;
    let mut h2 = H2::connect(world).await;
    let mut request = http::Request::post(format!("https://{host}/ui/login/de/vtnr-login"))
        .version(http::Version::HTTP_2);
    for (name, value) in fields.iter().chain(&[
        ("content-type", "application/x-www-form-urlencoded"),
        ("accept", "text/html"),
    ]) {
        request = request.header(*name, *value);
    }
    let (answer, mut body) = h2.begin(request.body(()).expect("a request")).await;
    body.send_data(Bytes::from_static(BODY.as_bytes()), true)
        .expect("sent");
    let over_h2 = whole(answer).await.expect("an answer");
    for refused in [&plain, &secure]
        .into_iter()
        .filter(|answer| answer.status() == 403)
    {
        assert!(
            refused.text().contains("Dieses Formular kam nicht von uns"),
            "{}",
            refused.text()
        );
    }
    [plain.status(), secure.status(), over_h2.status().as_u16()]
}

#[tokio::test]
async fn a_form_counts_as_ours_only_if_scheme_host_and_port_of_its_page_are() {
    let world = of_a_name().await;
    let second = "zweit.example:8443";
    let own: &[(&str, &[(&str, &str)])] = &[
        (HOST, &[("origin", "https://rechner.example")]),
        (HOST, &[("origin", "https://rechner.example:443")]),
        (HOST, &[("origin", "HTTPS://Rechner.Example")]),
        (HOST, &[("origin", "https://rechner.example.")]),
        (second, &[("origin", "https://zweit.example:8443")]),
        (HOST, &[]),
        // What a browser says of itself counts first.
        (
            HOST,
            &[("sec-fetch-site", "same-origin"), ("origin", "null")],
        ),
    ];
    for (host, fields) in own {
        let statuses = statuses(&world, host, fields).await;
        assert!(
            statuses.iter().all(|status| matches!(status, 200 | 422)),
            "{host} {fields:?}: {statuses:?}"
        );
    }
    let foreign: &[(&str, &[(&str, &str)])] = &[
        (HOST, &[("origin", "http://rechner.example")]),
        (HOST, &[("origin", "http://rechner.example:443")]),
        (HOST, &[("origin", "https://rechner.example:80")]),
        (HOST, &[("origin", "https://rechner.example:8443")]),
        (HOST, &[("origin", "https://zweit.example:8443")]),
        (second, &[("origin", "http://zweit.example:8443")]),
        (second, &[("origin", "https://zweit.example")]),
        (HOST, &[("origin", "https://evil.example")]),
        (HOST, &[("origin", "https://rechner.example.evil.example")]),
        (HOST, &[("origin", "null")]),
        (HOST, &[("origin", "")]),
        (HOST, &[("origin", "https://rechner.example/")]),
        (
            HOST,
            &[
                ("origin", "https://rechner.example"),
                ("origin", "https://evil.example"),
            ],
        ),
        (
            HOST,
            &[
                ("origin", "https://rechner.example"),
                ("origin", "https://rechner.example"),
            ],
        ),
        (
            HOST,
            &[
                ("sec-fetch-site", "cross-site"),
                ("origin", "https://rechner.example"),
            ],
        ),
        (
            HOST,
            &[
                ("sec-fetch-site", "same-site"),
                ("origin", "https://rechner.example"),
            ],
        ),
    ];
    for (host, fields) in foreign {
        assert_eq!(
            statuses(&world, host, fields).await,
            [403; 3],
            "{host} {fields:?}"
        );
    }
}

/// The status that a handshake gets, and all that the upstream has seen of it.
async fn handshake(behind: &Behind, path: &str, fields: &str) -> (u16, String) {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut client = behind.connect().await;
    client
        .send(behind.request(&format!("GET {path}"), &format!("{upgrade}{fields}")))
        .await;
    let head = client.head().await.expect("an answer");
    let body = if head.status() == 101 {
        String::new()
    } else {
        let length: usize = head.values("content-length")[0].parse().expect("a length");
        let mut all = Vec::new();
        while all.len() < length {
            all.extend(client.until(b"}").await);
        }
        assert_eq!(head.values("content-type"), ["application/problem+json"]);
        String::from_utf8(all).expect("text")
    };
    (head.status(), body)
}

async fn sockets() -> Upstream {
    Upstream::start(|mut wire| async move {
        while let Some(head) = wire.head().await {
            if head.values("upgrade").is_empty() {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await;
                continue;
            }
            wire.become_websocket().await;
            wire.ended().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_page_of_another_site_opens_no_websocket_and_not_a_byte_of_it_arrives() {
    let config = "[upstream]\npublic_paths = [\"/ws/offen\"]\nwebsocket_origins = [\"https://partner.example\", \"http://alt.example:8080\"]";
    let behind = Behind::with(sockets().await, World::builder().config(config)).await;
    let own = format!("http://{}", behind.host);
    let same_name = format!("http://127.0.0.1:{}", 1);
    let seen = || behind.upstream.bytes().iter().map(Vec::len).sum::<usize>();
    let before = seen();
    let refused: &[&str] = &[
        "https://evil.example",
        "http://partner.example",
        "https://partner.example:8443",
        "https://partner.example.evil.example",
        "http://alt.example",
        "null",
        "",
        "file://",
        "moz-extension://0f9c",
        &same_name,
        "https://partner.example\r\nOrigin: https://evil.example",
    ];
    for path in ["/ws/kurse", "/ws/offen", "/ui/login/de/hilfe"] {
        for origin in refused {
            let (status, body) = handshake(&behind, path, &format!("Origin: {origin}\r\n")).await;
            assert_eq!(status, 403, "{path} {origin}");
            assert!(
                body.contains("pages of this origin may not open WebSockets"),
                "{body}"
            );
        }
    }
    assert_eq!(seen(), before, "not a byte arrived");
    let counted = behind
        .world
        .metric("vtnr_gateway_requests_refused_total{reason=\"origin\"}")
        .await;
    assert!(counted >= (3 * refused.len()) as f64, "{counted}");
    for origin in [
        &own,
        "https://partner.example",
        "https://Partner.example:443",
        "http://alt.example:8080",
    ] {
        let (status, _) = handshake(&behind, "/ws/kurse", &format!("Origin: {origin}\r\n")).await;
        assert_eq!(status, 101, "{origin}");
    }
    assert_eq!(
        handshake(&behind, "/ws/kurse", "").await.0,
        101,
        "a client that is no browser says nothing"
    );
    assert_eq!(handshake(&behind, "/ws/offen", "").await.0, 101);
    // What is no handshake may come from anywhere, as before.
    assert_eq!(
        behind
            .ask("GET /kurse", "Origin: https://evil.example\r\n")
            .await
            .status(),
        200
    );
}

#[tokio::test]
async fn a_star_lets_every_page_open_websockets() {
    let config = "[upstream]\nwebsocket_origins = [\"*\"]";
    let behind = Behind::with(sockets().await, World::builder().config(config)).await;
    for origin in ["https://evil.example", "null"] {
        assert_eq!(
            handshake(&behind, "/ws/kurse", &format!("Origin: {origin}\r\n"))
                .await
                .0,
            101,
            "{origin}"
        );
    }
}

#[tokio::test]
async fn over_tls_own_pages_open_websockets_and_those_of_http_do_not() {
    let listen = format!("[listen]\npublic_url = \"https://{HOST}\"\nhosts = [\"localhost\"]");
    let world = World::builder()
        .https()
        .store(StoreKind::Memory)
        .config(&listen)
        .start()
        .await;
    for (origin, status) in [
        ("https://rechner.example", 401),
        ("http://rechner.example", 403),
        ("wss://rechner.example", 403),
    ] {
        let mut client = Raw::tls(&world).await;
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
        client
            .send(format!(
                "GET /ws HTTP/1.1\r\nHost: {HOST}\r\n{upgrade}Origin: {origin}\r\n\r\n"
            ))
            .await;
        assert_eq!(client.answer().await.status(), status, "{origin}");
    }
}

#[tokio::test]
async fn the_admin_listener_answers_for_its_own_hosts_only() {
    let world = World::builder()
        .store(StoreKind::Memory)
        .config("[admin]\nhosts = [\"vtnr-metrics.internal\"]")
        .start()
        .await;
    let port = world.gateways[0].admin;
    let ask = async |request: String| Raw::connect(port).await.send(request).await.answer().await;
    let hosts = [
        (format!("127.0.0.1:{port}"), 200),
        ("localhost".to_owned(), 200),
        ("LOCALHOST.".to_owned(), 200),
        ("[::1]".to_owned(), 200),
        (format!("[2001:db8::1]:{port}"), 200),
        ("vtnr-metrics.internal".to_owned(), 200),
        (format!("VTNR-Metrics.internal.:{port}"), 200),
        ("evil.example".to_owned(), 421),
        (format!("evil.example:{port}"), 421),
        (format!("127.0.0.1.evil.example:{port}"), 421),
        (format!("localhost.evil.example:{port}"), 421),
        ("vtnr-metrics.internal.evil.example".to_owned(), 421),
    ];
    for (host, status) in hosts {
        for path in ["/metrics", "/healthz", "/readyz"] {
            let answer = ask(format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            ))
            .await;
            assert_eq!(answer.status(), status, "{host} {path}");
            let says_why = answer.text().contains("admin.hosts");
            assert_eq!(says_why, status == 421, "{}", answer.text());
        }
    }
    let absolute = format!(
        "GET http://evil.example/metrics HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(ask(absolute).await.status(), 421);
    assert_eq!(
        ask("GET /metrics HTTP/1.0\r\n\r\n".to_owned())
            .await
            .status(),
        200,
        "no browser speaks HTTP/1.0"
    );
    assert_eq!(
        ask("GET /metrics HTTP/1.0\r\nHost: evil.example\r\n\r\n".to_owned())
            .await
            .status(),
        421
    );
}

/// A browser's own handshake: its library sends `Origin` as a page's address has it.
#[tokio::test]
async fn a_browsers_socket_opens_from_the_calculators_own_page() {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
    let world = World::builder().store(StoreKind::Memory).start().await;
    let ada = world.signed_in(ADA).await;
    let port = world.gateways[0].port;
    for (origin, opens) in [
        (world.base(), true),
        ("https://evil.example".to_owned(), false),
    ] {
        let mut request = format!("ws://127.0.0.1:{port}/ws/kurse")
            .into_client_request()
            .expect("a request");
        request
            .headers_mut()
            .insert("cookie", session_of(&ada).parse().expect("a value"));
        request
            .headers_mut()
            .insert("origin", origin.parse().expect("a value"));
        let tcp = tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .expect("it listens");
        assert_eq!(
            tokio_tungstenite::client_async(request, tcp).await.is_ok(),
            opens,
            "{origin}"
        );
    }
}
