//! Who asks is said by the gateway alone, to each the own.

use super::house::{FREE, House, PUBLIC, Visitor, telling};
use crate::support::behind::session_of;
use crate::support::raw::whole;
use crate::support::world::{ADA, BEN, StoreKind};
use crate::support::{H2, Raw, World};
use futures_util::future::join_all;

/// What the gateway says of every request, and of a broker's.
const OURS: [(&str, &str); 5] = [
    ("X-VTNR", "60/123/4569"),
    ("X-VTNR-Level", "without-submission"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", ""),
];

#[tokio::test]
async fn a_connection_field_takes_nothing_away_that_the_gateway_says() {
    let house = House::open().await;
    let mut arrived = 0;
    for (name, _) in OURS {
        for name in [
            name.to_owned(),
            name.to_ascii_lowercase(),
            name.to_ascii_uppercase(),
            name.replace('-', "_"),
        ] {
            for nomination in [
                format!("Connection: {name}\r\n"),
                format!("connection: close, {name}\r\n"),
                format!("Connection: keep-alive,{name},\r\n"),
                format!("Connection: {name}, {name}\r\n"),
                format!("Connection: x-a\r\nConnection: {name}\r\n"),
                format!("Proxy-Connection: {name}\r\nConnection: {name}\r\nKeep-Alive: 5\r\n"),
                format!("Connection: {name}\r\n{name}: forged\r\n"),
            ] {
                let before = house.arrived();
                let status = house
                    .status(Visitor::WithoutEmail, "GET /kfz", &nomination)
                    .await;
                // Pingora knows the fields of proxies, and refuses to have them nominated.
                if status != 200 {
                    assert_eq!((status, house.arrived()), (400, before), "{nomination}");
                    continue;
                }
                arrived += 1;
                let seen = house.behind.upstream.last();
                for (name, value) in OURS {
                    let value = if value.is_empty() {
                        &house.behind.host
                    } else {
                        value
                    };
                    assert_eq!(seen.values(name), [value], "{nomination}{seen:#?}");
                }
                assert_eq!(
                    house
                        .status(Visitor::Nobody, &format!("GET {PUBLIC}"), &nomination)
                        .await,
                    200
                );
                let seen = house.behind.upstream.last();
                assert!(
                    seen.values("x-vtnr").is_empty()
                        && seen.values("x-forwarded-for") == ["127.0.0.1"],
                    "{nomination}{seen:#?}"
                );
            }
        }
    }
    assert!(
        arrived >= 56,
        "{arrived} arrived; those that name the broker must have"
    );
}

const REQUESTS: usize = 1_000;
const TABS: usize = 20;

/// Two brokers and nobody, at once, over connections of all kinds: each answer is for whoever asked, and for what was asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_requests_at_once_none_gets_anothers_answer() {
    let upstream = telling().await;
    let world = World::builder()
        .store(StoreKind::Memory)
        .https()
        .upstream(&upstream.url())
        .config(FREE)
        .start()
        .await;
    let sessions = [
        (ADA.0, session_of(&world.signed_in(ADA).await)),
        (BEN.0, session_of(&world.signed_in(BEN).await)),
        ("", String::new()),
    ];
    let port = world.gateways[0].port;
    let over_http1 = (0..TABS).map(|tab| {
        let sessions = &sessions;
        async move {
            let mut client = Raw::connect(port).await;
            for number in 0..REQUESTS / TABS / 2 {
                // Whoever asks changes from one request on a connection to the next.
                let (vtnr, session) = &sessions[(tab + number) % sessions.len()];
                let cookie = if session.is_empty() {
                    String::new()
                } else {
                    format!("Cookie: {session}\r\n")
                };
                let target = format!("/kanarienvogel/{tab}/{number}");
                client
                    .send(format!(
                        "GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{cookie}\r\n"
                    ))
                    .await;
                let answer = client.answer().await;
                is_for(vtnr, &target, answer.status(), &answer.text());
            }
        }
    });
    let over_http2 = (0..2).map(|connection| {
        let (sessions, world) = (&sessions, &world);
        async move {
            let client = H2::connect(world).await;
            let https = world.gateways[0].https.expect("https");
            // As many at once as the gateway takes on one connection.
            for batch in (0..REQUESTS / 4).collect::<Vec<_>>().chunks(50) {
                join_all(batch.iter().map(|number| {
                    let mut requests = client.requests.clone();
                    async move {
                        let (vtnr, session) = &sessions[number % sessions.len()];
                        let target = format!("/kanarienvogel/h2/{connection}/{number}");
                        let uri = format!("https://localhost:{https}{target}");
                        let request = http::Request::builder()
                            .uri(uri)
                            .header("cookie", session)
                            .body(())
                            .expect("a request");
                        requests = requests.ready().await.expect("a connection");
                        let answer = whole(requests.send_request(request, true).expect("sent").0)
                            .await
                            .expect("an answer");
                        is_for(
                            vtnr,
                            &target,
                            answer.status().as_u16(),
                            &String::from_utf8_lossy(answer.body()),
                        );
                    }
                }))
                .await;
            }
        }
    });
    tokio::join!(join_all(over_http1), join_all(over_http2));
    let expected = REQUESTS * 2 / 3;
    let arrived = upstream.requests().len();
    assert!(
        (expected - TABS..=expected + TABS).contains(&arrived),
        "{arrived} arrived"
    );
}

fn is_for(vtnr: &str, target: &str, status: u16, body: &str) {
    if vtnr.is_empty() {
        assert_eq!(status, 401, "{body}");
        // The page leads back to what was asked for, and knows of nothing else.
        let body = body.replace(target, "");
        assert!(
            !body.contains("60/123") && !body.contains("kanarienvogel"),
            "{body}"
        );
    } else {
        assert_eq!((status, body), (200, format!("{vtnr} {target} 0").as_str()));
    }
}
