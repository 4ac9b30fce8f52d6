//! Work over a WebSocket keeps its session alive.

use crate::support::StoreKind;
use crate::support::socket::Socket;
use crate::support::world::{ADA, BEN, World};
use futures_util::SinkExt as _;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

/// The shortest idle limit, once and a half: one broker sends messages, the other's browser pings only.
#[tokio::test]
async fn messages_over_a_websocket_are_a_use_of_the_session_and_pings_are_none() {
    let world = World::builder()
        .store(StoreKind::Memory)
        .config("[session]\nidle = \"1m\"")
        .start()
        .await;
    let ada = world.signed_in(ADA).await;
    let ben = world.signed_in(BEN).await;
    let mut working = Socket::open(&world, 0, &ada).await;
    let mut pinging = Socket::open(&world, 0, &ben).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(95) {
        working.is_open().await;
        // Fails once it is closed.
        let _ = pinging.0.send(Message::Ping("x".into())).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(pinging.closed().await, 4401);
    working.is_open().await;
    assert_eq!(ada.open("/").await.status, 200);
    assert_eq!(ben.open("/").await.status, 303);
}
