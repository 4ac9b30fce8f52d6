//! WebSockets end when their session does, wherever and however it ends, and others stay open.

use crate::support::behind::session_of;
use crate::support::users::{ADA_KEY, BEN_KEY, COST, UsersFile};
use crate::support::world::{ADA, BEN, MOMENT, StoreKind, World};
use crate::support::{Behind, Browser, Raw, Socket, Upstream, eventually};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};

const SIGN_OUT: &str = "/ui/login/de/abmelden";

async fn all_closed_within_a_second(begun: Instant, sockets: Vec<Socket>) {
    for mut socket in sockets {
        assert_eq!(socket.closed().await, 4401);
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "after {:?}",
            begun.elapsed()
        );
        socket.is_over().await;
    }
}

fn revoke(world: &World, vtnr: &str) {
    let config = world.folder.path().join("gateway-0.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_vtnr-gateway"));
    assert!(
        command
            .args(["revoke", "--config"])
            .arg(config)
            .arg(vtnr)
            .status()
            .expect("it runs")
            .success()
    );
}

#[tokio::test]
async fn a_websocket_is_cut_within_a_second_wherever_its_session_ends() {
    let world = World::builder().gateways(2).https().start().await;
    let (ada, ben) = (world.signed_in(ADA).await, world.signed_in(BEN).await);
    let mut others = vec![
        Socket::open(&world, 0, &ben).await,
        Socket::open_secure(&world, 1, &ben).await,
    ];
    let of_ada = async || {
        vec![
            Socket::open(&world, 0, &ada).await,
            Socket::open(&world, 1, &ada).await,
            Socket::open_secure(&world, 0, &ada).await,
            Socket::open_secure(&world, 1, &ada).await,
        ]
    };
    for what in ["replaced", "signed out"] {
        let sockets = of_ada().await;
        let begun = Instant::now();
        match what {
            // The browser is trusted: a new session at once.
            "replaced" => ada.claim(ADA.0, ADA.1, "/").await.leads_to("/"),
            _ => &ada.post(SIGN_OUT, &[]).await,
        };
        all_closed_within_a_second(begun, sockets).await;
        for other in &mut others {
            other.is_open().await;
        }
    }
    ada.claim(ADA.0, ADA.1, "/").await.leads_to("/");
    let mut bystanders = of_ada().await;
    revoke(&world, BEN.0);
    for other in &mut others {
        assert_eq!(other.closed().await, 4401);
    }
    for bystander in &mut bystanders {
        bystander.is_open().await;
    }
    world
        .metric_is("vtnr_gateway_websockets_cut_total", 5.0)
        .await;
}

#[tokio::test]
async fn a_store_that_cannot_answer_cuts_nothing_and_what_is_gone_when_it_is_back_is_cut() {
    let world = World::builder().store(StoreKind::OwnRedis).start().await;
    let redis = std::sync::Arc::clone(world.redis.as_ref().expect("a Redis"));
    let ada = world.signed_in(ADA).await;
    let mut socket = Socket::open(&world, 0, &ada).await;
    redis.lock().expect("no panic").kill();
    eventually("the outage is noticed", async || {
        (world
            .metric("vtnr_gateway_store_errors_total{kind=\"unreachable\"}")
            .await
            > 0.0)
            .then_some(())
    })
    .await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        socket.is_open().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It kept nothing on disk: the session is gone.
    redis.lock().expect("no panic").restart();
    assert_eq!(socket.closed().await, 4401);
}

#[tokio::test]
async fn a_broker_who_leaves_the_directory_loses_the_websocket_and_others_keep_theirs() {
    let world = World::builder().store(StoreKind::Memory).start().await;
    let (ada, ben) = (world.signed_in(ADA).await, world.signed_in(BEN).await);
    let (mut socket, mut other) = (
        Socket::open(&world, 0, &ada).await,
        Socket::open(&world, 0, &ben).await,
    );
    world.write_brokers(&format!("vtnr;email\n{};{}\n", BEN.0, BEN.1));
    assert_eq!(socket.closed().await, 4401);
    other.is_open().await;
}

#[tokio::test]
async fn a_user_who_leaves_the_users_file_loses_the_websocket_and_others_keep_theirs() {
    let users = UsersFile::of_two();
    let world = users.world(COST).store(StoreKind::Memory).start().await;
    let (ada, ben, colleague) = (world.browser(), world.browser(), world.signed_in(ADA).await);
    ada.enter_password(ADA_KEY, "/").await.leads_to("/");
    ben.enter_password(BEN_KEY, "/").await.leads_to("/");
    let (mut socket, mut other) = (
        Socket::open(&world, 0, &ada).await,
        Socket::open(&world, 0, &ben).await,
    );
    let mut same_broker = Socket::open(&world, 0, &colleague).await;
    users.remove(ADA_KEY);
    assert_eq!(socket.closed().await, 4401);
    other.is_open().await;
    same_broker.is_open().await;
}

/// An upstream that says what the test tells it to, and tells of its connections' end.
async fn told() -> (Upstream, mpsc::Sender<Vec<u8>>, Arc<Notify>) {
    let (tell, told) = mpsc::channel::<Vec<u8>>(8);
    let (told, ended) = (
        Arc::new(tokio::sync::Mutex::new(told)),
        Arc::new(Notify::new()),
    );
    let notify = Arc::clone(&ended);
    let upstream = Upstream::start(move |mut wire| {
        let (told, ended) = (Arc::clone(&told), Arc::clone(&notify));
        async move {
            while let Some(head) = wire.head().await {
                if head.values("upgrade").is_empty() {
                    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                        .await;
                    continue;
                }
                wire.become_websocket().await;
                let mut told = told.lock().await;
                loop {
                    tokio::select! {
                        bytes = told.recv() => wire.send(bytes.expect("the test goes on")).await,
                        read = wire.read() => if read.is_none() {
                            ended.notify_one();
                            return;
                        },
                    }
                }
            }
        }
    })
    .await;
    (upstream, tell, ended)
}

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const CLOSE_4401: &[u8] = &[0x88, 2, 0x11, 0x31];
const CLOSE_1001: &[u8] = &[0x88, 2, 0x03, 0xe9];

#[tokio::test]
async fn a_frame_under_way_is_finished_before_the_farewell_or_given_up_after_a_second() {
    let (upstream, tell, ended) = told().await;
    let behind = Behind::with(upstream, World::builder()).await;
    let tell = async |bytes: &[u8]| {
        tell.send(bytes.to_vec())
            .await
            .expect("the upstream listens")
    };
    let open = async |browser: &Browser| -> Raw {
        let mut client = behind.connect().await;
        let session = session_of(browser);
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {}\r\nCookie: {session}\r\n{HANDSHAKE}\r\n",
            behind.host
        );
        client.send(request).await;
        assert_eq!(client.head().await.expect("an answer").status(), 101);
        client
    };
    let ada = behind.browser.clone();
    let mut client = open(&ada).await;
    // A whole frame, and the beginning of one of 300 bytes.
    tell(b"\x81\x02ok\x82\x7e\x01\x2cabc").await;
    client.until(b"abc").await;
    ada.post(SIGN_OUT, &[]).await.is(200);
    assert!(
        client.is_silent_for(Duration::from_millis(200)).await,
        "no farewell within a frame"
    );
    client.send(b"\x81\x84\0\0\0\0nein").await;
    tell(&[vec![b'd'; 297], b"\x81\x03neu".to_vec()].concat()).await;
    let rest = client.rest().await;
    assert_eq!(
        rest,
        [&[b'd'; 297][..], CLOSE_4401].concat(),
        "the frame, the farewell, and no other frame"
    );
    ended.notified().await;
    let seen = behind.upstream.bytes().concat();
    assert!(
        !seen.windows(4).any(|part| part == b"nein"),
        "nothing reaches the calculator once the session is over"
    );

    ada.claim(ADA.0, ADA.1, "/").await.leads_to("/");
    let mut client = open(&ada).await;
    tell(b"\x82\x7e\x01\x2cabc").await;
    client.until(b"abc").await;
    let begun = Instant::now();
    ada.post(SIGN_OUT, &[]).await.is(200);
    assert_eq!(client.rest().await, b"", "no farewell within a frame");
    assert!(
        (Duration::from_millis(800)..Duration::from_secs(3)).contains(&begun.elapsed()),
        "{:?}",
        begun.elapsed()
    );
    ended.notified().await;

    ada.claim(ADA.0, ADA.1, "/").await.leads_to("/");
    let mut client = open(&ada).await;
    tell(b"\x88\x02\x03\xe8").await;
    client.until(b"\x88\x02\x03\xe8").await;
    ada.post(SIGN_OUT, &[]).await.is(200);
    assert_eq!(
        client.rest().await,
        b"",
        "the calculator has said farewell already"
    );
    ended.notified().await;
}

#[tokio::test]
async fn a_calculator_that_breaks_a_websocket_off_leaves_no_page_of_ours_in_it() {
    let upstream = Upstream::start(|mut wire| async move {
        if wire.head().await.is_some() {
            wire.become_websocket().await;
            wire.send(b"\x81\x02ok").await;
            // What is sent is read before the reset overtakes it.
            tokio::time::sleep(MOMENT).await;
            wire.reset();
        }
    })
    .await;
    let behind = Behind::http(upstream).await;
    let mut client = behind.connect().await;
    client.send(behind.request("GET /ws", HANDSHAKE)).await;
    assert_eq!(client.head().await.expect("an answer").status(), 101);
    client.until(b"\x81\x02ok").await;
    assert_eq!(client.rest().await, b"");
}

/// Nobody takes anything, and one of the calculators sends without end: the tunnels end all the same.
#[tokio::test]
async fn a_clogged_websocket_ends_too() {
    let upstream = Upstream::start(|mut wire| async move {
        let Some(head) = wire.head().await else {
            return;
        };
        wire.become_websocket().await;
        let frame = [&b"\x82\x7e\x10\x00"[..], &[7; 4096]].concat();
        while head.line.contains("/laut") {
            if wire.try_send(&frame).await.is_err() {
                return;
            }
        }
        std::future::pending().await
    })
    .await;
    let behind = Behind::http(upstream).await;
    let mut clients = Vec::new();
    for target in ["GET /ws/laut", "GET /ws/still"] {
        let mut client = behind.connect().await;
        client.send(behind.request(target, HANDSHAKE)).await;
        assert_eq!(client.head().await.expect("an answer").status(), 101);
        // Sends until nothing is taken any more, and reads nothing.
        let mut send = async || client.try_send(vec![7; 65_536]).await;
        while tokio::time::timeout(MOMENT, send())
            .await
            .is_ok_and(|sent| sent.is_ok())
        {}
        clients.push(client);
    }
    behind.browser.post(SIGN_OUT, &[]).await.is(200);
    for client in &mut clients {
        let mut is_over = async || {
            tokio::time::timeout(MOMENT, client.try_send(b"x"))
                .await
                .is_ok_and(|sent| sent.is_err())
        };
        eventually("the connection is over", async || {
            is_over().await.then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_gateway_that_ends_tells_its_websockets_to_go_elsewhere_and_ends_at_once() {
    let mut world = World::builder()
        .store(StoreKind::Redis)
        .https()
        .gateways(2)
        .start()
        .await;
    let (ada, ben) = (world.signed_in(ADA).await, world.signed_in(BEN).await);
    let mut sockets = vec![
        Socket::open(&world, 0, &ada).await,
        Socket::open_secure(&world, 0, &ben).await,
    ];
    let mut other = Socket::open(&world, 1, &ada).await;
    let begun = Instant::now();
    world.gateways[0].signal("TERM");
    for socket in &mut sockets {
        assert_eq!(socket.closed().await, 1001);
    }
    assert_eq!(world.gateways[0].end().await, Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    let log = world.gateways[0].log().await;
    assert!(
        log.contains("\"requests_cut\":0,\"websockets_told\":2"),
        "{log}"
    );
    other.is_open().await;
}

#[tokio::test]
async fn a_websocket_of_nobodys_and_one_that_opens_late_are_told_to_go_elsewhere_too() {
    let (opens, may_open) = tokio::sync::watch::channel(false);
    let upstream = Upstream::start(move |mut wire| {
        let mut may_open = may_open.clone();
        async move {
            while let Some(head) = wire.head().await {
                if head.values("upgrade").is_empty() {
                    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                        .await;
                    continue;
                }
                if head.line.contains("spaet") {
                    let _ = may_open.wait_for(|may| *may).await;
                }
                wire.become_websocket().await;
                wire.ended().await;
            }
        }
    })
    .await;
    let paths = "[upstream]\npublic_paths = [\"/ws/offen\", \"/ws/offen/spaet\"]";
    let mut behind = Behind::with(upstream, World::builder().config(paths)).await;
    let before = behind.upstream.requests().len();
    let mut clients = Vec::new();
    for path in ["/ws/offen", "/ws/offen/spaet", "/ws/spaet"] {
        let mut client = behind.connect().await;
        let cookie = if path == "/ws/spaet" {
            format!("Cookie: {}\r\n", behind.session)
        } else {
            String::new()
        };
        client
            .send(format!(
                "GET {path} HTTP/1.1\r\nHost: {}\r\n{cookie}{HANDSHAKE}\r\n",
                behind.host
            ))
            .await;
        clients.push(client);
    }
    behind.upstream.has_seen(before + clients.len()).await;
    assert_eq!(clients[0].head().await.expect("an answer").status(), 101);
    let begun = Instant::now();
    behind.world.gateways[0].signal("TERM");
    assert_eq!(clients[0].rest().await, CLOSE_1001);
    // By now all that were open have been told.
    opens.send_replace(true);
    for client in &mut clients[1..] {
        assert_eq!(client.head().await.expect("an answer").status(), 101);
        assert_eq!(client.rest().await, CLOSE_1001);
    }
    assert_eq!(behind.world.gateways[0].end().await, Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "long before the grace is over: {:?}",
        begun.elapsed()
    );
}
