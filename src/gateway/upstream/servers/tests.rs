use super::*;
use crate::config::HostPort as Target;
use domain::vtnr::Vtnr;
use http::HeaderValue;
use http::header::COOKIE;
use pingora::upstreams::peer::Peer as _;
use std::time::Duration;

fn config(hosts: &[(&str, u16)]) -> config::UpstreamConfig {
    let seconds = Duration::from_secs;
    config::UpstreamConfig {
        tls: false,
        servers: hosts
            .iter()
            .map(|(host, port)| Target {
                host: (*host).to_owned(),
                port: *port,
            })
            .collect(),
        routes: Vec::new(),
        affinity_cookies: vec!["PHPSESSID".to_owned()],
        session_cookies: Vec::new(),
        connect_timeout: seconds(1),
        write_timeout: seconds(1),
        read_timeout: seconds(1),
        keepalive: seconds(1),
        pool_size: 1,
        vtnr_header: None,
        level_header: None,
        public_paths: Vec::new(),
        strip: Vec::new(),
        pass_fields: Vec::new(),
        websocket_origins: config::WebSocketOriginsConfig::All,
        health_interval: seconds(1),
        health_timeout: seconds(1),
        health_path: None,
    }
}

async fn upstream(hosts: &[(&str, u16)]) -> Upstream {
    Upstream::open(
        config(hosts),
        "rechner.example",
        Some(Arc::new(Metrics::new().expect("sound"))),
    )
    .await
}

fn broker(number: u32) -> AffinityKey {
    AffinityKey::broker(Vtnr::from_number(number).expect("nine digits"))
}

fn request(cookie: Option<&str>) -> RequestHeader {
    let mut request = RequestHeader::build("GET", b"/", None).expect("a request");
    if let Some(cookie) = cookie {
        request
            .insert_header(COOKIE, HeaderValue::from_str(cookie).expect("a value"))
            .expect("a field");
    }
    request
}

fn port(upstream: &Upstream, whose: AffinityKey, cookie: Option<&str>) -> Option<u16> {
    let mut attempts = Attempts::default();
    let (peer, _) = upstream
        .peer(&request(cookie), whose, Sending::Usual, &mut attempts)
        .ok()?;
    peer.address().as_inet().map(|address| address.port())
}

fn fell(upstream: &Upstream, port: u16) {
    let servers = upstream.servers.load();
    let server = servers
        .iter()
        .find(|server| server.address.port() == port)
        .expect("a server");
    server.health.failed(ServerTrouble::Refused);
}

const THREE: [(&str, u16); 3] = [("127.0.0.1", 1), ("127.0.0.1", 2), ("127.0.0.1", 3)];

/// All gateways must agree, whatever their version: these answers never change.
#[tokio::test]
async fn where_a_broker_belongs_is_the_same_for_ever() {
    let upstream = upstream(&THREE).await;
    let ports: Vec<_> = (0..12)
        .map(|number| port(&upstream, broker(601_234_567 + number), None).expect("a server"))
        .collect();
    assert_eq!(ports, [1, 2, 1, 1, 3, 2, 1, 1, 3, 1, 3, 3]);
}

#[tokio::test]
async fn when_a_server_goes_only_its_own_brokers_move_and_they_are_spread() {
    let upstream = upstream(&THREE).await;
    let at = |number| port(&upstream, broker(number), None).expect("a server");
    let before: Vec<_> = (0..300).map(|number| (number, at(number))).collect();
    for server in 1..=3 {
        assert!(
            (60..=140).contains(&before.iter().filter(|(_, port)| *port == server).count()),
            "{server}"
        );
    }
    fell(&upstream, 2);
    let mut moved = [0; 4];
    for (number, port) in before {
        let now = at(number);
        if port == 2 {
            moved[usize::from(now)] += 1;
        } else {
            assert_eq!(now, port);
        }
    }
    assert!(moved[1] > 20 && moved[2] == 0 && moved[3] > 20, "{moved:?}");
}

#[tokio::test]
async fn when_all_are_down_nobody_is_connected_to() {
    let upstream = upstream(&THREE).await;
    for server in 1..=3 {
        assert!(port(&upstream, broker(1), None).is_some());
        fell(&upstream, server);
    }
    assert_eq!(port(&upstream, broker(1), None), None);
    assert_eq!(
        upstream.trouble().expect("trouble"),
        "3 of 3 servers down: 127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3"
    );
}

#[tokio::test]
async fn sessions_that_began_elsewhere_are_remembered_up_to_a_limit() {
    let upstream = upstream(&THREE).await;
    let own = port(&upstream, broker(1), None).expect("a server");
    let other = 1 + own % 3;
    let began = |id: &str| {
        let mut answer = ResponseHeader::build(200, None).expect("a status");
        answer
            .append_header("Set-Cookie", "sprache=de")
            .expect("a field");
        answer
            .append_header("Set-Cookie", format!("PHPSESSID={id}; path=/; HttpOnly"))
            .expect("a field");
        let attempts = Attempts {
            pinned: Some(SocketAddr::from(([127, 0, 0, 1], other))),
            ..Attempts::default()
        };
        upstream.answered(&answer, &attempts);
    };
    began("erste");
    assert_eq!(
        port(&upstream, broker(1), Some("a=b; PHPSESSID=erste")),
        Some(other)
    );
    assert_eq!(
        port(&upstream, broker(1), Some("PHPSESSID=andere; sprache=de")),
        Some(own)
    );
    (0..200_000).for_each(|number| began(&number.to_string()));
    assert_eq!(
        port(&upstream, broker(1), Some("PHPSESSID=erste")),
        Some(own),
        "the oldest are forgotten"
    );
    assert_eq!(
        port(&upstream, broker(1), Some("PHPSESSID=199999")),
        Some(other)
    );
}

#[tokio::test]
async fn names_for_one_address_are_one_server_and_what_is_known_of_it_stays() {
    let upstream = upstream(&[
        ("127.0.0.1", 1),
        ("localhost", 1),
        ("127.0.0.1", 2),
        ("nirgends.invalid", 3),
    ])
    .await;
    let v4 = |upstream: &Upstream| {
        let servers = upstream.servers.load();
        let addresses = servers
            .iter()
            .map(|server| server.address)
            .filter(SocketAddr::is_ipv4);
        addresses.map(|address| address.port()).collect::<Vec<_>>()
    };
    assert_eq!(v4(&upstream), [1, 2]);
    fell(&upstream, 1);
    assert!(upstream.look_up().await.is_empty(), "nothing new");
    assert_eq!(v4(&upstream), [1, 2]);
    let servers = upstream.servers.load();
    assert!(
        servers
            .iter()
            .any(|server| server.address.port() == 1 && !server.health.is_up()),
        "it is down still"
    );
}
