//! More requests at once than the gateway serves: the others are told so at once, strangers first, and soon all is as before.

mod support;

use std::time::{Duration, Instant};
use support::world::{BEN, World};
use support::{Behind, Raw, Upstream, eventually};
use tokio::sync::watch;

const SEATS: usize = 16;
/// Those of brokers; the others are everybody else's.
const BROKERS: usize = 12;
/// No wait for anything: a second is little on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);

/// An application whose answers wait until they may go.
async fn held(go: watch::Receiver<bool>) -> Upstream {
    Upstream::start(move |mut wire| {
        let mut go = go.clone();
        async move {
            while let Some(request) = wire.request().await {
                if request.line.contains("/langsam") {
                    let _ = go.wait_for(|go| *go).await;
                }
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await
}

async fn behind() -> (Behind, watch::Sender<bool>) {
    let (go, waits) = watch::channel(false);
    let builder =
        World::builder().listen(&format!("max_requests = {SEATS}")).config("[upstream]\npublic_paths = [\"/langsam-offen\"]");
    (Behind::with(held(waits).await, builder).await, go)
}

/// So many requests that the calculator holds.
async fn under_way(behind: &Behind, path: &str, requests: usize) -> Vec<Raw> {
    let before = behind.upstream.requests().len();
    let mut all = Vec::new();
    for _ in 0..requests {
        let mut client = behind.connect().await;
        client.send(behind.request(&format!("GET {path}"), "")).await;
        all.push(client);
    }
    behind.upstream.has_seen(before + requests).await;
    all
}

#[tokio::test]
async fn beyond_the_limit_brokers_are_told_to_come_again_in_a_moment_and_do_not_wait_for_it() {
    let (behind, go) = behind().await;
    let clients = under_way(&behind, "/langsam", BROKERS).await;
    let begun = Instant::now();
    let page = behind.ask("GET /kfz", "Accept: text/html\r\n").await;
    assert_eq!((page.status(), page.values("retry-after").len()), (503, 1));
    assert!(page.text().contains("Gerade sind sehr viele Anfragen unterwegs"), "{page:?}");
    assert!(page.values("set-cookie").is_empty());
    assert_eq!(behind.ask("GET /kfz", "").await.values("content-type"), ["application/problem+json"]);
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    assert_eq!(behind.upstream.requests().len(), BROKERS, "nothing of it went up");
    go.send_replace(true);
    for mut client in clients {
        assert_eq!(client.answer().await.status(), 200);
    }
    assert_eq!(behind.ask("GET /kfz", "").await.status(), 200);
    assert!(behind.world.metric("vtnr_gateway_requests_total{outcome=\"shed\"}").await >= 2.0);
}

#[tokio::test]
async fn neither_brokers_nor_strangers_take_the_others_seats_and_signing_out_always_works() {
    let (behind, go) = behind().await;
    let ben = behind.world.signed_in(BEN).await;
    let stranger = behind.world.browser();
    let brokers = under_way(&behind, "/langsam", BROKERS).await;
    ben.open("/kfz").await.is(503);
    stranger.open("/ui/login/de/vtnr-login").await.is(200);
    let strangers = under_way(&behind, "/langsam-offen", SEATS - BROKERS).await;
    for path in ["/", "/ui/login/de/vtnr-login", "/langsam-offen"] {
        stranger.open(path).await.is(503);
    }
    assert_eq!(behind.world.gateways[0].readiness().await, 200);
    ben.post("/ui/login/de/abmelden", &[]).await.is(200);
    assert_eq!(ben.cookie("vtnr_session"), None);
    go.send_replace(true);
    drop((brokers, strangers));
    eventually("strangers are served", async || (stranger.open("/ui/login/de/vtnr-login").await.status == 200).then_some(()))
        .await;
}

#[tokio::test]
async fn a_websocket_or_a_stream_of_events_takes_no_seat() {
    let (behind, _go) = behind().await;
    let mut streams = Vec::new();
    for _ in 0..SEATS + 4 {
        let mut client = behind.connect().await;
        client.send(behind.request("GET /langsam", "Accept: text/event-stream\r\n")).await;
        streams.push(client);
    }
    behind.upstream.has_seen(SEATS + 4).await;
    assert_eq!(behind.ask("GET /kfz", "").await.status(), 200);
}
