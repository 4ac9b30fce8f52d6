//! Front proxies: whom they name is believed if they are the operator's, and nobody else is.

use crate::support;
use crate::support::raw::RawAnswer;
use crate::support::world::{ADA, BEN, StoreKind};
use crate::support::{Behind, Upstream, World};

const FORM: &str =
    "Content-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: same-origin\r\n";

/// Claims on our first page to be a broker with an address that is not on file, as these fields have it.
async fn fails(behind: &Behind, number: usize, forwarded: &str) -> RawAnswer {
    let body = format!(
        "vtnr=60%2F123%2F{}&email=x{number}%40makler.example",
        4567 + number % 2
    );
    let mut client = behind.connect().await;
    let fields = format!("{FORM}{forwarded}Content-Length: {}\r\n", body.len());
    let head = format!(
        "POST /ui/login/de/vtnr-login HTTP/1.1\r\nHost: {}\r\n{fields}\r\n{body}",
        behind.host
    );
    client.send(head).await.answer().await
}

fn world() -> support::Builder {
    World::builder().config("[limits]\nfailures_client = \"5 in 1h\"\nvtnrs_client = \"5 in 1h\"")
}

#[tokio::test]
async fn what_a_stranger_forwards_changes_nothing() {
    let behind = Behind::with(
        Upstream::fine().await,
        world().listen("trusted_proxies = [\"127.0.0.2\", \"10.0.0.0/8\"]"),
    )
    .await;
    for number in 0..5 {
        let forged = format!(
            "X-Forwarded-For: 203.0.113.{number}\r\nForwarded: for=203.0.113.{number}\r\nX-Real-IP: 203.0.113.{number}\r\n"
        );
        assert_eq!(
            fails(&behind, number, &forged).await.status(),
            303,
            "{number}"
        );
    }
    for number in 5..10 {
        let forged = format!(
            "X-Forwarded-For: 203.0.113.{number}, 10.0.0.1\r\nX_Forwarded_For: 198.51.100.{number}\r\n"
        );
        assert_eq!(
            fails(&behind, number, &forged).await.status(),
            429,
            "one address, one budget, whatever it says: {number}"
        );
    }
    behind.ask("GET /", "X-Forwarded-For: 203.0.113.1\r\nX_forwarded-FOR: 203.0.113.1\r\nForwarded: for=203.0.113.1\r\n").await;
    let seen = behind.upstream.last();
    assert_eq!(seen.values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(
        (seen.values("x_forwarded-for"), seen.values("forwarded")),
        (vec![], vec![])
    );
    let all = |log: &str| {
        (log.matches("\"path\":\"/ui/login/de/vtnr-login\"").count() >= 10
            && log.contains("\"path\":\"/\""))
        .then(|| log.to_owned())
    };
    let log = behind.world.log_shows("all requests", all).await;
    assert!(!log.contains("203.0.113."), "nor does the log believe it");
}

#[tokio::test]
async fn whom_a_trusted_front_names_is_the_client() {
    let listen = "trusted_proxies = [\"127.0.0.0/8\", \"::1\", \"10.0.0.0/8\"]\nmax_connections_per_client = 4";
    let behind = Behind::with(Upstream::fine().await, world().listen(listen)).await;
    let rows = [
        ("X-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9"),
        (
            "X-Forwarded-For: 198.51.100.1, 203.0.113.9\r\n",
            "203.0.113.9",
        ),
        (
            "X-Forwarded-For: 198.51.100.1\r\nx-forwarded-for: 203.0.113.9, 10.1.2.3\r\n",
            "203.0.113.9",
        ),
        ("X-Forwarded-For: 203.0.113.9, unknown\r\n", "127.0.0.1"),
        (
            "X-Forwarded-For: 203.0.113.9, unknown, 10.1.2.3\r\n",
            "10.1.2.3",
        ),
        ("X-Forwarded-For: 2001:db8::7\r\n", "2001:db8::7"),
        ("X-Forwarded-For: [2001:db8::7]:4711\r\n", "2001:db8::7"),
        ("X-Forwarded-For: ::ffff:203.0.113.9\r\n", "203.0.113.9"),
        ("X-Forwarded-For: \r\n", "127.0.0.1"),
        ("X_Forwarded_For: 203.0.113.9\r\n", "127.0.0.1"),
        ("Forwarded: for=203.0.113.9\r\n", "127.0.0.1"),
        ("", "127.0.0.1"),
    ];
    // All are open at once: the limit per client is not for a front.
    let mut open = Vec::new();
    for (fields, client) in rows {
        let mut connection = behind.connect().await;
        let proto = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: boese.example\r\nX-Forwarded-Port: 1\r\nConnection: X-Forwarded-Proto\r\n";
        connection
            .send(behind.request(
                "GET /",
                &format!(
                    "{fields}{}",
                    &proto[..proto.find("Connection").expect("there")]
                ),
            ))
            .await;
        assert_eq!(connection.answer().await.status(), 200, "{fields}");
        let seen = behind.upstream.last();
        assert_eq!(seen.values("x-forwarded-for"), [client], "{fields}");
        assert_eq!(
            seen.values("x-forwarded-proto"),
            ["http"],
            "what else a front says is not taken over"
        );
        assert_eq!(seen.values("x-forwarded-host"), [&behind.host]);
        let others = ["x-forwarded-port", "x_forwarded_for", "forwarded"];
        assert!(
            others.iter().all(|name| seen.values(name).is_empty()),
            "{seen:?}"
        );
        open.push(connection);
    }
    behind.world.log_has("\"client\":\"2001:db8::7\"").await;
    assert_eq!(
        behind
            .world
            .metric("vtnr_gateway_connections_rejected_total{reason=\"per_client\"}")
            .await,
        0.0
    );
}

#[tokio::test]
async fn a_thousand_clients_of_a_front_have_a_budget_each() {
    let listen = "trusted_proxies = [\"127.0.0.1\"]";
    let behind = Behind::with(Upstream::fine().await, world().listen(listen)).await;
    let forwarded = |address: String| format!("X-Forwarded-For: {address}\r\n");
    for number in 0..1_000 {
        let address = format!("198.18.{}.{}", number / 250, number % 250);
        assert_eq!(
            fails(&behind, number, &forwarded(address.clone()))
                .await
                .status(),
            303,
            "{address}"
        );
    }
    // One network of 2^64 addresses is one client.
    for number in 0..5 {
        assert_eq!(
            fails(
                &behind,
                number,
                &forwarded(format!("2001:db8:0:1:{number}::1"))
            )
            .await
            .status(),
            303
        );
    }
    assert_eq!(
        fails(&behind, 5, &forwarded("2001:db8:0:1:ffff::1".into()))
            .await
            .status(),
        429
    );
    assert_eq!(
        fails(&behind, 5, &forwarded("2001:db8:0:2::1".into()))
            .await
            .status(),
        303
    );
    // Nor do they spend what is the front's own, or each other's.
    assert_eq!(fails(&behind, 5, "").await.status(), 303);
}

#[tokio::test]
async fn a_brokers_wrong_tans_have_one_budget_from_a_thousand_addresses() {
    let limits = "[limits]\nwrong_tans_day = \"10 in 24h\"\nmail_pause = \"100 in 1s\"\nmail_burst = \"100 in 1s\"\nmail_day = \"100 in 24h\"";
    let builder = World::builder()
        .store(StoreKind::Memory)
        .config(limits)
        .listen("trusted_proxies = [\"127.0.0.1\"]");
    let world = builder.start().await;
    let from = |number: usize| vec![("x-forwarded-for", format!("198.18.0.{number}"))];
    let mut lengths = Vec::new();
    for number in 0..4 {
        let browser = world.browser();
        let tan = world
            .ask(&browser, if number < 3 { ADA } else { BEN })
            .await;
        lengths.push(tan.len());
        for attempt in 0..5 {
            let wrong = support::world::not(&tan, attempt);
            let body = format!("tan={wrong}").into_bytes();
            let mut fields = from(10 * number + attempt);
            fields.push(("content-type", "application/x-www-form-urlencoded".into()));
            fields.push(("sec-fetch-site", "same-origin".into()));
            browser
                .send(
                    reqwest::Method::POST,
                    "/ui/login/de/tan",
                    &fields,
                    Some(body),
                )
                .await;
        }
    }
    assert_eq!(
        lengths,
        [6, 6, 10, 6],
        "the budget is the broker's, from however many addresses it is spent"
    );
}
