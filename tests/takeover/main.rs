//! A new process takes a gateway's place under load: no connection is refused, no request fails, and one that does not come to serve
//! changes nothing.

#[path = "../support/mod.rs"]
mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::world::{ADA, BEN, World};
use support::{Browser, StoreKind, eventually};
use tokio::task::JoinSet;

const WORKING: usize = 8;
const REQUESTS: usize = 3_000;

/// A gateway whose place can be taken, and the folder in which that is arranged. Its clients would be let in for longer than any test takes:
/// who is replaced has nobody to send elsewhere.
async fn world() -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700))
        .expect("permissions");
    let socket = folder.path().join("handover.sock");
    let builder = World::builder().store(StoreKind::OwnRedis).https();
    let builder = builder
        .listen(&format!("handover = \"{}\"", socket.display()))
        .config("[shutdown]\ndelay = \"5m\"");
    (builder.start().await, folder)
}

/// Opens pages, every other one on a new connection, until it is over; gives what went wrong.
async fn work(
    browser: Browser,
    base: String,
    requests: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
) -> Vec<String> {
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
    let (requests, over) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut working = JoinSet::new();
    for _ in 0..WORKING {
        working.spawn(work(
            ada.at(&world.base()),
            world.base(),
            Arc::clone(&requests),
            Arc::clone(&over),
        ));
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
    assert!(
        failures.is_empty(),
        "{} of {requests} failed: {failures:#?}",
        failures.len()
    );
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
    world
        .log_has("the new process does not serve, continuing")
        .await;
    // Or the new one's Redis does not answer: it could sign nobody in.
    let redis = world
        .redis
        .as_ref()
        .expect("a redis-server")
        .lock()
        .expect("no panic")
        .url();
    let nobody = support::ports::free();
    std::fs::write(
        &broken,
        text.replace(&redis, &format!("redis://127.0.0.1:{nobody}/0")),
    )
    .expect("written");
    assert_eq!(world.gateways[0].take_over(Some(&broken)).await, None);
    assert_eq!(world.gateways[0].pid(), former);
    world.log_has("nobody could sign in here").await;
    assert_eq!(world.gateways[0].readiness().await, 200);
    world.browser().claim(BEN.0, BEN.1, "/").await.is(303);
    // Nor does one that fails at the very last.
    let permit = |mode| {
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode))
            .expect("permissions")
    };
    permit(0o770);
    assert_eq!(world.gateways[0].take_over(None).await, None);
    ada.open("/").await.is(200);
    permit(0o700);
    assert_eq!(world.gateways[0].take_over(None).await, Some(0));
    ada.open("/").await.is(200);
}

#[tokio::test]
async fn a_store_that_hangs_is_waited_for_so_long_and_no_longer() {
    let (mut world, _folder) = world().await;
    let signal = |world: &World, signal: &str| {
        world
            .redis
            .as_ref()
            .expect("a redis-server")
            .lock()
            .expect("no panic")
            .signal(signal)
    };
    signal(&world, "STOP");
    let begun = Instant::now();
    assert_eq!(world.gateways[0].take_over(None).await, None);
    let waited = begun.elapsed();
    // Before that it has to start, and then to end.
    assert!(
        (Duration::from_secs(5)..Duration::from_secs(8)).contains(&waited),
        "{waited:?}"
    );
    signal(&world, "CONT");
    eventually("the former one is ready", async || {
        (world.gateways[0].readiness().await == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn where_nobody_waits_to_be_taken_over_that_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("handover.sock");
    let mut world = World::builder().store(StoreKind::Redis).start().await;
    let text = std::fs::read_to_string(world.gateways[0].config()).expect("read");
    let config = world.gateways[0].config().with_file_name("successor.toml");
    let listen = format!("[listen]\nhandover = \"{}\"", socket.display());
    std::fs::write(&config, text.replacen("[listen]", &listen, 1)).expect("written");
    // Nothing is there; or what somebody left who was killed.
    for left in [false, true] {
        if left {
            drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
        }
        assert_eq!(world.gateways[0].take_over(Some(&config)).await, None);
        let told = format!(
            "no gateway listens at {} (listen.handover)",
            socket.display()
        );
        let log = world.log().await;
        let said = log
            .lines()
            .rfind(|line| line.contains("--takeover"))
            .expect("it says why");
        assert!(
            said.contains(&told) && said.contains("start this one without --takeover"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn another_gateway_does_not_take_the_place_away_where_one_waits() {
    let (mut world, _folder) = world().await;
    let text = std::fs::read_to_string(world.gateways[0].config()).expect("read");
    let other = world.gateways[0].config().with_file_name("other.toml");
    std::fs::write(&other, text).expect("written");
    let mut second = Command::new(env!("CARGO_BIN_EXE_vtnr-gateway"));
    let ended = second
        .args(["serve", "--config"])
        .arg(&other)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(
        ended.status.code() == Some(69)
            && said.contains("listen.handover: another gateway listens at "),
        "{said}"
    );
    let former = world.gateways[0].pid();
    assert_eq!(world.gateways[0].take_over(None).await, Some(0));
    assert_ne!(world.gateways[0].pid(), former);
}

/// A process that is nobody's child.
struct Orphan(String);

impl Orphan {
    fn signal(&self, signal: &str) {
        // It may be over already.
        let _ = Command::new("kill")
            .args([&format!("-{signal}"), &self.0])
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.signal("KILL");
        }
    }
}

#[tokio::test]
async fn systemd_is_told_which_process_serves_before_the_former_one_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700))
        .expect("permissions");
    let socket =
        std::os::unix::net::UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
    socket.set_nonblocking(true).expect("set");
    let told = || {
        let mut told = [0; 256];
        let length = socket.recv(&mut told).ok()?;
        Some(String::from_utf8_lossy(&told[..length]).into_owned())
    };
    let notify = format!("NOTIFY_SOCKET={}", folder.path().join("notify").display());
    let handover = format!(
        "handover = \"{}\"",
        folder.path().join("handover.sock").display()
    );
    let builder = World::builder()
        .store(StoreKind::Redis)
        .listen(&handover)
        .through(0, &["env", &notify]);
    let mut world = builder.start().await;
    let serves = |world: &World| format!("READY=1\nMAINPID={}", world.gateways[0].pid());
    assert_eq!(
        eventually("it is told", async || told()).await,
        serves(&world)
    );
    // By the very command that the unit for systemd has.
    let unit = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/config/vtnr-gateway.service"
    ))
    .expect("it is there");
    let command = unit
        .lines()
        .find_map(|line| {
            line.strip_prefix("ExecReload=/bin/sh -c '")?
                .strip_suffix('\'')
        })
        .expect("a command");
    let log = std::fs::File::options()
        .append(true)
        .open(world.folder.path().join("gateway-0.log"))
        .expect("a log");
    let command = command
        .replace(
            "/usr/local/bin/vtnr-gateway",
            env!("CARGO_BIN_EXE_vtnr-gateway"),
        )
        .replace(
            "/etc/vtnr-gateway/vtnr-gateway.toml",
            &world.gateways[0].config().display().to_string(),
        );
    let mut reload = Command::new("sh");
    reload
        .args(["-c", &command])
        .env("NOTIFY_SOCKET", folder.path().join("notify"))
        .stderr(log);
    assert!(reload.status().expect("it runs").success());
    let said = eventually("it is told", async || told()).await;
    let successor = Orphan(
        said.strip_prefix("READY=1\nMAINPID=")
            .expect("a process")
            .to_owned(),
    );
    assert_eq!(world.gateways[0].end().await, Some(0));
    assert_ne!(successor.0, world.gateways[0].pid().to_string());
    world.gateways[0].ready().await;
    successor.signal("TERM");
    assert_eq!(
        eventually("it is told", async || told()).await,
        "STOPPING=1"
    );
    world.log_has_times("\"message\":\"ended\"", 2).await;
    assert_eq!(
        told(),
        None,
        "the one that was replaced did not stop the service"
    );
}
