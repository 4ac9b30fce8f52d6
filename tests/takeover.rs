//! A new process takes a gateway's place under load: no connection is refused, no request fails, and one that does not come to serve
//! changes nothing.

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use support::world::{ADA, BEN, World};
use support::{Browser, StoreKind, eventually};
use tokio::task::JoinSet;

const WORKING: usize = 8;
const REQUESTS: usize = 3_000;

/// A gateway whose place can be taken, and the folder in which that is arranged.
async fn world() -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).expect("permissions");
    let socket = folder.path().join("handover.sock");
    let builder = World::builder().store(StoreKind::OwnRedis).https();
    let builder = builder.listen(&format!("handover = \"{}\"", socket.display())).config("[shutdown]\ndelay = \"500ms\"");
    (builder.start().await, folder)
}

/// Opens pages, every other one on a new connection, until it is over; gives what went wrong.
async fn work(browser: Browser, base: String, requests: Arc<AtomicUsize>, over: Arc<AtomicBool>) -> Vec<String> {
    let mut failures = Vec::new();
    while !over.load(Ordering::SeqCst) {
        let new = browser.on_new_connections(&base);
        for tab in [&browser, &new] {
            requests.fetch_add(1, Ordering::SeqCst);
            match tab.try_open("/kfz/angebot?id=42").await {
                Ok(answer) if answer.status == 200 => {}
                Ok(answer) => failures.push(format!("{} {}", answer.status, answer.text())),
                Err(error) => failures.push(format!("{error:?}")),
            }
        }
    }
    failures
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_after_another_takes_the_place_and_no_request_fails() {
    let (mut world, _folder) = world().await;
    let ada = world.signed_in(ADA).await;
    let ben = world.browser();
    let tan = world.ask(&ben, BEN).await;
    let (requests, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut working = JoinSet::new();
    for _ in 0..WORKING {
        working.spawn(work(ada.at(&world.base()), world.base(), Arc::clone(&requests), Arc::clone(&over)));
    }
    let mut takeovers = 0;
    while takeovers < 3 || requests.load(Ordering::SeqCst) < REQUESTS {
        let former = world.gateways[0].pid();
        assert_eq!(world.gateways[0].take_over(None).await, Some(0));
        assert_ne!(world.gateways[0].pid(), former);
        world.gateways[0].ready().await;
        takeovers += 1;
    }
    over.store(true, Ordering::SeqCst);
    let failures: Vec<String> = working.join_all().await.into_iter().flatten().collect();
    let requests = requests.load(Ordering::SeqCst);
    assert!(failures.is_empty(), "{} of {requests} failed: {failures:#?}", failures.len());
    // A sign-in that was begun at the first one.
    ben.enter_tan(&tan, "/").await.leads_to("/");
    println!("{takeovers} times another process took the place: 0 of {requests} requests failed");
}

#[tokio::test]
async fn a_process_that_does_not_come_to_serve_leaves_the_former_one_at_work() {
    let (mut world, folder) = world().await;
    let ada = world.signed_in(ADA).await;
    let former = world.gateways[0].pid();
    let text = std::fs::read_to_string(world.gateways[0].config()).expect("read");
    let broken = folder.path().join("broken.toml");
    let there = |name: &str| world.folder.path().join(name).display().to_string();
    let text = text
        .replace("\"secret\"", &format!("\"{}\"", there("secret")))
        .replace("\"cert.pem\"", &format!("\"{}\"", there("cert.pem")));
    let text = text.replace("\"key.pem\"", &format!("\"{}\"", there("key.pem")));
    // Everything is as it should be, but there are no brokers.
    let brokers = there("brokers.csv");
    let text = text.replace("\"brokers.csv\"", &format!("{brokers:?}"));
    std::fs::write(&broken, text.replace(&brokers, "/nowhere/brokers.csv")).expect("written");
    assert_eq!(world.gateways[0].take_over(Some(&broken)).await, None);
    assert_eq!(world.gateways[0].pid(), former);
    ada.open("/").await.is(200);
    eventually("it is told", async || world.log().contains("this one goes on").then_some(())).await;
    // Or the new one's Redis does not answer: it could sign nobody in.
    let redis = world.redis.as_ref().expect("a redis-server").lock().expect("no panic").url();
    let nobody = support::ports::free();
    std::fs::write(&broken, text.replace(&redis, &format!("redis://127.0.0.1:{nobody}/0"))).expect("written");
    assert_eq!(world.gateways[0].take_over(Some(&broken)).await, None);
    assert_eq!(world.gateways[0].pid(), former);
    assert!(world.log().contains("nobody could sign in here"), "it says why");
    assert_eq!(world.gateways[0].readiness().await, 200);
    world.browser().claim(BEN.0, BEN.1, "/").await.is(303);
    // Nor does one that fails at the very last.
    let permit = |mode| std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).expect("permissions");
    permit(0o770);
    assert_eq!(world.gateways[0].take_over(None).await, None);
    ada.open("/").await.is(200);
    permit(0o700);
    assert_eq!(world.gateways[0].take_over(None).await, Some(0));
    ada.open("/").await.is(200);
}

#[tokio::test]
async fn systemd_is_told_which_process_serves() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = std::os::unix::net::UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
    socket.set_read_timeout(Some(std::time::Duration::from_secs(10))).expect("a timeout");
    let notify = format!("NOTIFY_SOCKET={}", folder.path().join("notify").display());
    let world = World::builder().store(StoreKind::Redis).through(0, &["env", &notify]).start().await;
    let mut told = [0; 256];
    let length = socket.recv(&mut told).expect("it is told");
    assert_eq!(String::from_utf8_lossy(&told[..length]), format!("READY=1\nMAINPID={}", world.gateways[0].pid()));
    world.gateways[0].signal("TERM");
    let length = socket.recv(&mut told).expect("it is told");
    assert_eq!(&told[..length], b"STOPPING=1");
}
