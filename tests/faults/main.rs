//! Clocks, disks, file descriptors and a Redis that refuses: what a broker sees, and that all goes on afterwards.

#[path = "../support/mod.rs"]
mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::redis::{FAKETIME, Redis};
use support::world::{ADA, BEN, World, tan_of};
use support::{Act, Browser, Raw, Relay, StoreKind, eventually};

const SIGN_IN: &str = "/ui/login/de/vtnr-login";

fn preload() -> String {
    format!("LD_PRELOAD={FAKETIME}")
}

/// A command of the world's own Redis.
fn tell<T: redis::FromRedisValue>(world: &World, words: &[&str]) -> T {
    world
        .redis
        .as_ref()
        .expect("a redis-server")
        .lock()
        .expect("no panic")
        .command(words)
}

async fn fails_in_time(browser: &Browser) {
    let begun = Instant::now();
    let answer = browser.claim(BEN.0, BEN.1, "/").await;
    answer
        .is(503)
        .shows("Die Anmeldung ist zurzeit nicht möglich");
    assert!(
        answer.headers.contains_key("retry-after") && answer.set_cookies().is_empty(),
        "{:?}",
        answer.headers
    );
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "after {:?}",
        begun.elapsed()
    );
}

#[test]
fn the_library_that_moves_clocks_is_there() {
    assert!(
        std::path::Path::new(FAKETIME).exists(),
        "{FAKETIME}: without it the other tests of clocks show nothing"
    );
}

#[tokio::test]
async fn a_gateway_whose_clock_is_wrong_ends_nothing_too_early_or_too_late() {
    let builder = World::builder().store(StoreKind::OwnRedis).gateways(3);
    let builder = builder.through(
        1,
        &["env", &preload(), "FAKETIME=+3h", "DONT_FAKE_MONOTONIC=1"],
    );
    let world = builder
        .through(
            2,
            &["env", &preload(), "FAKETIME=-3h", "DONT_FAKE_MONOTONIC=1"],
        )
        .start()
        .await;
    for (mails, (first, broker)) in [(1, ADA), (2, BEN)].into_iter().enumerate() {
        let begun = Browser::new(&world.gateways[first].base());
        begun
            .claim(broker.0, broker.1, "/")
            .await
            .leads_to("/ui/login/de/tan");
        let tan = tan_of(&world.postbox.next(mails).await);
        // The TAN is not over at the other two, nor is the session.
        begun
            .at(&world.gateways[(first + 1) % 3].base())
            .enter_tan(&tan, "/")
            .await
            .leads_to("/");
        for gateway in &world.gateways {
            begun.at(&gateway.base()).open("/").await.is(200);
        }
    }
}

#[tokio::test]
async fn a_clock_that_jumps_signs_nobody_out_and_brings_no_tan_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let offset = folder.path().join("offset");
    let put = |by: &str| std::fs::write(&offset, by).expect("written");
    put("+0");
    let file = format!("FAKETIME_TIMESTAMP_FILE={}", offset.display());
    let faked = [
        "env",
        &preload(),
        &file,
        "FAKETIME_NO_CACHE=1",
        "DONT_FAKE_MONOTONIC=1",
    ];
    let builder = World::builder()
        .store(StoreKind::OwnRedis)
        .config("[login]\ntan_lifetime = \"5m\"");
    let world = builder.through(0, &faked).start().await;
    let ada = world.signed_in(ADA).await;
    let ben = world.browser();
    let tan = world.ask(&ben, BEN).await;
    for jump in ["+2h", "-2h", "+30d"] {
        put(jump);
        ada.open("/").await.is(200);
    }
    ben.enter_tan(&tan, "/").await.leads_to("/");
    // It was used, whatever the clock says.
    put("-1h");
    let again = world.browser();
    again.claim(BEN.0, BEN.1, "/").await;
    again.enter_tan(&tan, "/").await.is(200);
}

/// Two gateways on a Redis whose clock is set by hand.
struct Clockwork {
    world: World,
    redis: Redis,
    offset: std::path::PathBuf,
    steps: u32,
    _folder: tempfile::TempDir,
}

impl Clockwork {
    async fn start(further: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let offset = folder.path().join("offset");
        std::fs::write(&offset, "+0").expect("written");
        let redis = Redis::with_clock(&offset);
        let store = format!("[store]\nurl = {:?}\n{further}", redis.url());
        let world = World::builder()
            .store(StoreKind::Memory)
            .gateways(2)
            .config(&store)
            .start()
            .await;
        Self {
            world,
            redis,
            offset,
            steps: 0,
            _folder: folder,
        }
    }

    /// Sets Redis' clock, and waits until the first gateway goes by it.
    async fn set(&mut self, by: &str) {
        std::fs::write(&self.offset, by).expect("written");
        self.steps += 1;
        let counted = async || {
            self.world
                .metric("vtnr_gateway_store_clock_steps_total")
                .await
        };
        eventually("the step is counted", async || {
            (counted().await == f64::from(self.steps)).then_some(())
        })
        .await;
    }

    fn revoke(&self, vtnr: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vtnr-gateway"));
        command
            .args(["revoke", "--config"])
            .arg(self.world.gateways[0].config())
            .arg(vtnr)
            .stdout(Stdio::null());
        assert!(command.status().expect("it runs").success());
    }
}

#[tokio::test]
async fn a_redis_whose_clock_is_set_forward_and_back_signs_nobody_out_and_it_is_told_once_each() {
    let mut clockwork = Clockwork::start("").await;
    let ada = clockwork.world.signed_in(ADA).await;
    for by in ["+40m", "+0", "-40m", "-80m", "-50m"] {
        clockwork.set(by).await;
        for gateway in &clockwork.world.gateways {
            ada.at(&gateway.base()).open("/").await.is(200);
        }
        // One that knows of it only what Redis says.
        clockwork.world.gateways[1].kill();
        clockwork.world.gateways[1].restart().await;
        ada.at(&clockwork.world.gateways[1].base())
            .open("/")
            .await
            .is(200);
        let session: Vec<String> = clockwork.redis.command(&["KEYS", "*s:*"]);
        let left: i64 = clockwork.redis.command(&["PTTL", &session[0]]);
        assert!(
            left <= 3_600_000,
            "its idle limit is no further away than it was: {left} ms, {by}"
        );
    }
    // A moment later too.
    let told = clockwork.world.gateways[0]
        .log()
        .await
        .matches("the store's clock jumped")
        .count();
    assert_eq!(told, usize::try_from(clockwork.steps).expect("small"));
}

#[tokio::test]
async fn a_revocation_ends_what_began_before_redis_clock_was_set_back_and_not_what_begins_after_it()
{
    let mut clockwork = Clockwork::start("[limits]\nmail_pause = \"9 in 1s\"").await;
    let ada = clockwork.world.signed_in(ADA).await;
    let there = ada.at(&clockwork.world.gateways[1].base());
    there.open("/").await.is(200);
    clockwork.set("-10m").await;
    for browser in [&ada, &there] {
        browser.open("/").await.is(200);
    }
    for _ in 0..2 {
        clockwork.revoke(ADA.0);
        for browser in [&ada, &there] {
            eventually("it has ended", async || {
                (browser.open("/").await.status == 303).then_some(())
            })
            .await;
        }
        // Nor is the browser trusted any more; and who signs in now stays so, at every gateway.
        let tan = clockwork.world.ask(&ada, ADA).await;
        ada.enter_tan(&tan, "/").await.leads_to("/");
        for browser in [&ada, &there] {
            browser.open("/").await.is(200);
        }
        // What began by the clock that was set back can be trusted.
        ada.claim(ADA.0, ADA.1, "/").await.leads_to("/");
        there.open("/").await.is(200);
    }
}

#[tokio::test]
async fn a_mail_that_was_put_off_goes_out_though_redis_clock_is_set_back() {
    let relay = Relay::start();
    relay.once("RCPT", Act::Say("451 4.7.1 greylisted"));
    let mail = format!("[mail]\nurl = \"smtp://127.0.0.1:{}\"", relay.port);
    let mut clockwork = Clockwork::start(&mail).await;
    let ada = clockwork.world.browser();
    ada.claim(ADA.0, ADA.1, "/")
        .await
        .leads_to("/ui/login/de/tan");
    eventually("it is delayed", async || {
        ada.open("/ui/login/de/tan")
            .await
            .text()
            .contains("verzögert sich")
            .then_some(())
    })
    .await;
    clockwork.set("-30m").await;
    let taken = eventually("it goes out", async || relay.taken().first().cloned()).await;
    ada.enter_tan(&taken.tan(), "/").await.leads_to("/");
}

/// What a gateway says that does not start on this Redis, with further keys in `[store]`.
fn refused_by(redis: &Redis, further: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("written");
        support::world::private(&folder.path().join(name));
    };
    write("brokers.csv", &format!("vtnr;email\n{};{}\n", ADA.0, ADA.1));
    write("secret", "0123456789abcdef0123456789abcdef");
    write("password", "falsch-und-vertraulich");
    let (port, admin, url) = (support::ports::free(), support::ports::free(), redis.url());
    let config = format!(
        "[listen]\nhttp = \"127.0.0.1:{port}\"\npublic_url = \"http://127.0.0.1:{port}\"\n[upstream]\nurl = \"http://127.0.0.1:9\"\n\
         [store]\nurl = \"{url}\"\n{further}\nsecret_file = \"secret\"\n[directory]\nfile = \"brokers.csv\"\n\
         [mail]\nurl = \"smtp://127.0.0.1:9\"\nfrom = \"a@insurer.example\"\n[submission]\npaths = [\"/antrag\"]\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n"
    );
    write("gateway.toml", &config);
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_vtnr-gateway"));
    gateway
        .args(["serve", "--config"])
        .arg(folder.path().join("gateway.toml"))
        .stdout(Stdio::null());
    let ended = gateway.output().expect("it runs");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(69), "{said}");
    assert!(!said.contains("vertraulich"), "{said}");
    said.lines().last().expect("a reason").to_owned()
}

#[test]
fn a_wrong_password_is_a_reason_not_to_start_and_is_not_told() {
    let redis = Redis::with(&["--requirepass", "geheim"]);
    for (given, told) in [
        (
            "password_file = \"password\"",
            "; look at store.password_file",
        ),
        (
            "password = \"falsch-und-vertraulich\"",
            "; look at store.password",
        ),
        ("", "; store.password_file is not given"),
    ] {
        let said = refused_by(&redis, given);
        let begins = "vtnr-gateway: the store cannot be used: the store refuses the user or the password: 127.0.0.1:";
        assert!(said.starts_with(begins) && said.ends_with(told), "{said}");
    }
}

#[test]
fn a_full_redis_is_a_reason_not_to_start_and_is_told_once() {
    let said = refused_by(&Redis::with(&["--maxmemory", "1"]), "");
    assert!(
        said.contains("the store cannot be used: the store is full (maxmemory): "),
        "{said}"
    );
    assert_eq!(said.matches("command not allowed").count(), 1, "{said}");
}

#[tokio::test]
async fn a_redis_whose_password_changed_is_an_outage_until_it_is_put_right() {
    let world = World::builder().store(StoreKind::OwnRedis).start().await;
    let ada = world.signed_in(ADA).await;
    ada.open("/").await.is(200);
    let (): () = tell(&world, &["CONFIG", "SET", "requirepass", "neu"]);
    // Those that are connected stay so.
    let port = world
        .redis
        .as_ref()
        .expect("a redis-server")
        .lock()
        .expect("no panic")
        .port();
    let admin =
        redis::Client::open(format!("redis://:neu@127.0.0.1:{port}/0")).expect("a sound URL");
    let mut admin = admin.get_connection().expect("redis answers");
    for kind in ["normal", "pubsub"] {
        let _: u32 = redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", kind, "SKIPME", "yes"])
            .query(&mut admin)
            .expect("cut");
    }
    eventually("it is not ready", async || {
        (world.gateways[0].readiness().await == 503).then_some(())
    })
    .await;
    let says = world.gateways[0].says().await;
    assert!(
        says.contains("store: fatal: the store refuses the user or the password: 127.0.0.1:"),
        "{says}"
    );
    assert!(
        says.ends_with("; store.password_file is not given\n"),
        "{says}"
    );
    assert!(
        world
            .metric("vtnr_gateway_store_errors_total{kind=\"authentication\"}")
            .await
            >= 1.0
    );
    assert_eq!(
        world
            .metric("vtnr_gateway_store_errors_total{kind=\"out_of_memory\"}")
            .await,
        0.0
    );
    for _ in 0..10 {
        ada.open("/").await.is(200);
        fails_in_time(&world.browser()).await;
    }
    let (): () = redis::cmd("CONFIG")
        .arg(&["SET", "requirepass", ""])
        .query(&mut admin)
        .expect("set");
    let begun = Instant::now();
    eventually("sign-ins begin", async || {
        (world.browser().claim(BEN.0, BEN.1, "/").await.status == 303).then_some(())
    })
    .await;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "after {:?}",
        begun.elapsed()
    );
    assert!(!world.log().await.contains("panicked"));
}

#[tokio::test]
async fn a_redis_that_pauses_is_answered_for_in_time() {
    let world = World::builder().store(StoreKind::OwnRedis).start().await;
    let ada = world.signed_in(ADA).await;
    ada.open("/").await.is(200);
    let (): () = tell(&world, &["CLIENT", "PAUSE", "4000", "ALL"]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        ada.open("/").await.is(200);
        fails_in_time(&world.browser()).await;
        world.browser().open(SIGN_IN).await.is(200);
    }
    eventually("sign-ins begin", async || {
        (world.browser().claim(BEN.0, BEN.1, "/").await.status == 303).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_full_redis_keeps_who_is_signed_in_and_puts_sign_ins_off() {
    let world = World::builder()
        .store(StoreKind::OwnRedis)
        .config("[store]\noutage_grace = \"0s\"")
        .start()
        .await;
    let ada = world.signed_in(ADA).await;
    let (): () = tell(&world, &["CONFIG", "SET", "maxmemory", "1"]);
    for _ in 0..5 {
        ada.open("/").await.is(200);
        fails_in_time(&world.browser()).await;
    }
    assert_eq!(
        world.gateways[0].readiness().await,
        503,
        "nobody can sign in"
    );
    let says = world.gateways[0].says().await;
    assert!(
        says.contains("store: fatal: the store is full (maxmemory): "),
        "{says}"
    );
    assert!(
        world
            .metric("vtnr_gateway_store_errors_total{kind=\"out_of_memory\"}")
            .await
            >= 5.0
    );
    assert_eq!(
        world
            .metric("vtnr_gateway_store_errors_total{kind=\"authentication\"}")
            .await,
        0.0
    );
    let (): () = tell(&world, &["CONFIG", "SET", "maxmemory", "0"]);
    world.browser().claim(BEN.0, BEN.1, "/").await.is(303);
    ada.open("/").await.is(200);
}

#[tokio::test]
async fn a_redis_that_lost_everything_leads_to_the_sign_in_and_back_to_the_page() {
    let world = World::builder().store(StoreKind::OwnRedis).start().await;
    let ada = world.signed_in(ADA).await;
    ada.open("/").await.is(200);
    {
        let mut server = world
            .redis
            .as_ref()
            .expect("a redis-server")
            .lock()
            .expect("no panic");
        server.kill();
        server.restart();
    }
    let wanted = "/kfz/angebot?id=42";
    let answer = eventually("it is asked", async || {
        Some(ada.open(wanted).await).filter(|answer| answer.status == 303)
    })
    .await;
    answer.leads_to("/ui/login/de/vtnr-login?return_to=%2Fkfz%2Fangebot%3Fid%3D42");
    // Of the trust nothing is known any more either: a TAN is asked for.
    ada.claim(ADA.0, ADA.1, wanted).await.is(303);
    let tan = tan_of(&world.postbox.next(1).await);
    ada.enter_tan(&tan, wanted).await.leads_to(wanted);
    ada.open(wanted).await.is(200);
}

#[tokio::test]
async fn a_gateway_killed_in_the_midst_of_a_sign_in_loses_nothing_of_it() {
    let mut world = World::builder()
        .store(StoreKind::OwnRedis)
        .gateways(2)
        .start()
        .await;
    let ada = world.browser();
    let tan = world.ask(&ada, ADA).await;
    ada.enter_tan("QQQQQQ", "/").await.is(200);
    world.gateways[0].kill();
    let there = ada.at(&world.gateways[1].base());
    // The wrong answer is counted still, and the mail that came holds.
    there.open("/ui/login/de/tan").await.is(200);
    there
        .enter_tan("QQQQQQ", "/")
        .await
        .is(200)
        .shows("Sie haben noch 3 Versuche");
    there.enter_tan(&tan, "/").await.leads_to("/");
    there.open("/").await.is(200);
}

#[tokio::test]
async fn with_a_full_disk_requests_go_on_and_lines_of_the_log_are_counted() {
    let full = ["sh", "-c", "exec \"$0\" \"$@\" 2>/dev/full"];
    let world = World::builder()
        .store(StoreKind::OwnRedis)
        .through(0, &full)
        .start()
        .await;
    let ada = world.signed_in(ADA).await;
    let lost = async || {
        ada.open("/kfz/angebot?id=42").await.is(200);
        (world.metric("vtnr_gateway_log_lines_dropped_total").await > 0.0).then_some(())
    };
    let begun = Instant::now();
    while lost().await.is_none() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "lines that are lost are counted"
        );
    }
}

/// The largest file that a process may write from now on, in bytes.
fn limit_files(process: u32, bytes: &str) {
    let limit = format!("--fsize={bytes}:unlimited");
    assert!(
        Command::new("prlimit")
            .args(["--pid", &process.to_string(), &limit])
            .status()
            .expect("it runs")
            .success()
    );
}

#[tokio::test]
async fn a_store_file_on_a_full_disk_refuses_what_would_be_written_and_goes_on_by_itself_once_there_is_room()
 {
    // A file that must not grow is an error like a full disk, if the signal that comes with it is ignored.
    let ignoring = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];
    let builder = World::builder()
        .store(StoreKind::Memory)
        .config("[store]\nurl = \"file:store\"\n[limits]\nmail_pause = \"99 in 1s\"\nmail_burst = \"99 in 15m\"")
        .through(0, &ignoring);
    let mut world = builder.start().await;
    let ada = world.signed_in(ADA).await;
    let process = world.gateways[0].pid();
    let size = std::fs::metadata(world.folder.path().join("store"))
        .expect("a file")
        .len();
    // It cannot grow: what is large has no room, and what is small may have some.
    limit_files(process, &size.to_string());
    let stranger = world.browser();
    for _ in 0..3 {
        let told = stranger
            .post_body(
                "/kfz",
                "application/x-www-form-urlencoded",
                vec![b'x'; 1_000_000],
            )
            .await;
        told.is(401).hides("Ihre Eingabe ist noch nicht gesendet");
        ada.open("/").await.is(200);
    }
    eventually("small things are written", async || {
        (world.browser().claim(BEN.0, BEN.1, "/").await.status == 303).then_some(())
    })
    .await;
    // Nothing can be written.
    limit_files(process, "4096");
    for _ in 0..5 {
        fails_in_time(&world.browser()).await;
        ada.open("/").await.is(200);
        world.browser().open(SIGN_IN).await.is(200);
    }
    assert_eq!(
        world.gateways[0].readiness().await,
        503,
        "nobody can sign in"
    );
    limit_files(process, "unlimited");
    eventually("it is ready again", async || {
        (world.gateways[0].readiness().await == 200).then_some(())
    })
    .await;
    let ben = world.browser();
    eventually("sign-ins begin", async || {
        (ben.claim(BEN.0, BEN.1, "/").await.status == 303).then_some(())
    })
    .await;
    ada.open("/").await.is(200);
    // What was written before is there still.
    world.gateways[0].kill();
    world.gateways[0].restart().await;
    ada.open("/").await.is(200);
}

#[tokio::test]
async fn with_too_few_file_descriptors_who_is_connected_is_served_and_all_recovers() {
    let few = ["sh", "-c", "ulimit -n 100; exec \"$0\" \"$@\""];
    let world = World::builder()
        .store(StoreKind::OwnRedis)
        .through(0, &few)
        .start()
        .await;
    let ada = world.signed_in(ADA).await;
    ada.open("/").await.is(200);
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(Raw::connect(world.gateways[0].port).await);
    }
    let before = cpu_of(world.gateways[0].pid());
    // Of the connection that is open already, and of what it needs to the calculator.
    ada.open("/").await.is(200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let spent = cpu_of(world.gateways[0].pid()) - before;
    assert!(
        spent < 0.25,
        "{spent} s of CPU in half a second with nothing to do"
    );
    drop(crowd);
    eventually("a new client is served", async || {
        let answer = world.browser().try_open(SIGN_IN).await;
        answer
            .is_ok_and(|answer| answer.status == 200)
            .then_some(())
    })
    .await;
    world.gateways[0].ready().await;
}

/// Seconds of a processor.
fn cpu_of(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it lives");
    let fields = stat.rsplit_once(") ").expect("a name").1;
    fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<f64>().expect("ticks"))
        .sum::<f64>()
        / 100.0
}

#[tokio::test]
async fn a_gateway_that_alone_cannot_reach_redis_says_that_it_is_not_ready_and_serves_nobody_beyond_the_grace()
 {
    let redis = Redis::start();
    let url = format!(
        "[store]\nurl = \"redis://127.0.0.1:{}/0\"\noutage_grace = \"1s\"",
        redis.port()
    );
    let _: String = redis.command(&[
        "ACL", "SETUSER", "two", "on", ">geheim", "~*", "&*", "+@all",
    ]);
    let world = World::builder()
        .store(StoreKind::Memory)
        .gateways(2)
        .config(&url)
        .config_of(
            1,
            &format!(
                "[store]\nurl = \"redis://two:geheim@127.0.0.1:{}/0\"",
                redis.port()
            ),
        )
        .start()
        .await;
    let ada = world.signed_in(ADA).await;
    let there = ada.at(&world.gateways[1].base());
    there.open("/").await.is(200);
    let _: String = redis.command(&["ACL", "SETUSER", "two", "off"]);
    let _: u32 = redis.command(&["CLIENT", "KILL", "USER", "two"]);
    eventually("it is not ready", async || {
        (world.gateways[1].readiness().await == 503).then_some(())
    })
    .await;
    assert_eq!(world.gateways[0].readiness().await, 200);
    eventually("the grace is over", async || {
        (there.open("/").await.status == 503).then_some(())
    })
    .await;
    // What ends meanwhile at the other gateway is not believed here.
    let copy = there.cookie("vtnr_session").expect("a session");
    ada.post("/ui/login/de/abmelden", &[]).await.is(200);
    there.set_cookie("vtnr_session", &copy);
    there.open("/").await.is(503);
    let _: String = redis.command(&["ACL", "SETUSER", "two", "on"]);
    eventually("it is ready again", async || {
        (world.gateways[1].readiness().await == 200).then_some(())
    })
    .await;
    there.open("/").await.is(303);
}
