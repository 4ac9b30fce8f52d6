//! The store is down: nobody is signed out, nobody gets in, and all goes on when it is back.

#[path = "../support/mod.rs"]
mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::users::{COST, PAGE, UsersFile};
use support::world::{ADA, World};
use support::{Browser, StoreKind, Upstream, eventually};
use tokio::task::JoinSet;

const SIGN_IN: &str = "/ui/login/de/vtnr-login";

/// Without the grace, so that each request needs the store.
async fn world() -> World {
    World::builder()
        .store(StoreKind::OwnRedis)
        .config("[store]\noutage_grace = \"0s\"")
        .start()
        .await
}

fn kill(world: &World) {
    world
        .redis
        .as_ref()
        .expect("a redis-server")
        .lock()
        .expect("no panic")
        .kill();
}

fn restart(world: &World) {
    world
        .redis
        .as_ref()
        .expect("a redis-server")
        .lock()
        .expect("no panic")
        .restart();
}

fn signal(world: &World, signal: &str) {
    world
        .redis
        .as_ref()
        .expect("a redis-server")
        .lock()
        .expect("no panic")
        .signal(signal);
}

async fn asked(browser: &Browser) -> support::Answer {
    browser.claim(ADA.0, ADA.1, "/").await
}

#[tokio::test]
async fn a_sign_in_is_told_to_come_back_and_touches_no_cookie() {
    let world = world().await;
    let browser = world.browser();
    let tan = world.ask(&browser, ADA).await;
    kill(&world);
    let sign_in = asked(&browser).await;
    sign_in
        .is(503)
        .shows("Die Anmeldung ist zurzeit nicht möglich")
        .shows("Wer schon angemeldet ist, bleibt angemeldet.");
    sign_in.hides("TAN").hides("abmelden");
    for answer in [
        sign_in,
        browser.enter_tan(&tan, "/").await,
        browser.open("/ui/login/de/tan").await,
    ] {
        answer.is(503).waits(5);
        assert!(answer.set_cookies().is_empty(), "{:?}", answer.headers);
    }
    world
        .browser()
        .open(SIGN_IN)
        .await
        .is(200)
        .shows("Anmelden mit Vermittlernummer");
}

#[tokio::test]
async fn the_page_leads_back_to_the_sign_in_that_keeps_where_the_broker_wants_to_go() {
    let world = world().await;
    kill(&world);
    let told = world.browser().claim(ADA.0, ADA.1, "/kfz?x=1").await;
    assert_eq!(
        told.is(503).href_of("ZURÜCK ZUR ANMELDUNG"),
        "/ui/login/de/vtnr-login?return_to=%2Fkfz%3Fx%3D1"
    );
}

#[tokio::test]
async fn a_tan_that_could_not_be_compared_is_entered_once_more() {
    let world = World::builder()
        .store(StoreKind::DurableRedis)
        .config("[store]\noutage_grace = \"0s\"")
        .start()
        .await;
    let browser = world.browser();
    let tan = world.ask(&browser, ADA).await;
    kill(&world);
    let page = "/ui/login/de/tan?return_to=%2Fkfz";
    let asked_again = browser.post(page, &[("action", "resend")]).await;
    for answer in [
        browser.enter_tan(&tan, "/kfz").await,
        asked_again,
        browser.open(page).await,
    ] {
        answer
            .is(503)
            .waits(5)
            .shows("Die TAN-Eingabe ist zurzeit nicht möglich");
        answer
            .shows("Eine TAN, die Sie schon erhalten haben, gilt weiter")
            .hides("angemeldet");
        assert_eq!(answer.href_of("ZURÜCK ZUR TAN-EINGABE"), page);
    }
    restart(&world);
    eventually("the TAN's page is back", async || {
        (browser.open(page).await.status == 200).then_some(())
    })
    .await;
    browser.enter_tan(&tan, "/kfz").await.leads_to("/kfz");
}

#[tokio::test]
async fn a_page_that_nobody_can_be_known_for_is_asked_for_again() {
    let world = World::builder()
        .store(StoreKind::DurableRedis)
        .config("[store]\noutage_grace = \"0s\"")
        .start()
        .await;
    let browser = world.signed_in(ADA).await;
    kill(&world);
    let told = eventually("the outage is noticed", async || {
        let told = browser.open("/kfz/angebot?id=42&t=b").await;
        (told.status == 503).then_some(told)
    })
    .await;
    told.waits(5)
        .shows("Ihre Anmeldung lässt sich gerade nicht prüfen")
        .shows("Waren Sie angemeldet, so bleiben Sie es");
    told.hides("ANMELDUNG")
        .hides("TAN")
        .hides("niemanden anmelden");
    let again = told.href_of("ERNEUT VERSUCHEN");
    assert_eq!(again, "/kfz/angebot?id=42&t=b");
    browser
        .open("//kfz")
        .await
        .is(503)
        .hides("ERNEUT VERSUCHEN");
    let words = [
        "request failed",
        "the store cannot be reached: ",
        "Connection",
    ];
    let says = |log: &str| {
        log.lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
            .then_some(())
    };
    world
        .log_shows("why, with what the system said", says)
        .await;
    let form = browser.post("/kfz/angebot?id=42", &[("a", "1")]).await;
    form.is(503)
        .waits(5)
        .shows("Ihre Eingabe wurde nicht gesendet")
        .hides("ERNEUT VERSUCHEN");
    restart(&world);
    eventually("the page is back", async || {
        (browser.open(&again).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_log_tells_how_an_outage_begins_and_ends_and_not_each_of_its_failures() {
    let world = world().await;
    kill(&world);
    for _ in 0..20 {
        asked(&world.browser()).await.is(503);
    }
    restart(&world);
    // The outage ends for the log when the operation succeeds that failed last, which may be this one.
    eventually("the store answers", async || {
        let answer = asked(&world.browser()).await;
        (answer.status != 503).then_some(())
    })
    .await;
    let again = "\"message\":\"store recovered\"";
    world.log_has(again).await;
    let (log, failures) = (
        world.log().await,
        world
            .metric("vtnr_gateway_store_errors_total{kind=\"unreachable\"}")
            .await,
    );
    assert!(
        failures >= 20.0 && log.matches(again).count() == 1,
        "{failures}"
    );
    let told = log
        .matches("\"message\":\"store operation failed\"")
        .count();
    assert!((1..10).contains(&told), "{told} lines");
}

#[tokio::test]
async fn a_sign_out_that_failed_says_so_and_is_pressed_again() {
    const SIGN_OUT: &str = "/ui/login/de/abmelden";
    let world = World::builder()
        .store(StoreKind::DurableRedis)
        .config("[store]\noutage_grace = \"0s\"")
        .start()
        .await;
    let browser = world.signed_in(ADA).await;
    kill(&world);
    let told = browser.post(SIGN_OUT, &[]).await;
    told.is(503)
        .waits(5)
        .shows("Die Abmeldung ist zurzeit nicht möglich")
        .shows("Möglicherweise sind Sie noch angemeldet");
    told.shows("löschen Sie bitte die Cookies dieser Website")
        .shows("NOCH EINMAL ABMELDEN")
        .hides("ANMELDUNG")
        .hides("BROWSER VERGESSEN");
    assert!(
        told.body.contains("<form method=\"post\">") && !told.body.contains("forget_browser"),
        "{}",
        told.body
    );
    let told = browser.post(SIGN_OUT, &[("forget_browser", "1")]).await;
    told.is(503)
        .shows("NOCH EINMAL ABMELDEN UND BROWSER VERGESSEN");
    let field = told.field("forget_browser");
    let page = browser.open(SIGN_OUT).await;
    assert_eq!(
        page.is(503)
            .shows("Die Abmeldung ist zurzeit nicht möglich")
            .href_of("ERNEUT VERSUCHEN"),
        SIGN_OUT
    );
    restart(&world);
    eventually("the sign-out is back", async || {
        (browser.open(SIGN_OUT).await.status == 200).then_some(())
    })
    .await;
    browser
        .post(SIGN_OUT, &[("forget_browser", &field)])
        .await
        .is(200)
        .shows("Sie sind abgemeldet");
    assert!(browser.cookie("vtnr_session").is_none() && browser.cookie("vtnr_trust").is_none());
}

#[tokio::test]
async fn the_sign_ins_forms_tell_of_an_outage_that_is_known() {
    let users = UsersFile::of_two();
    let world = users.world(COST).store(StoreKind::OwnRedis).start().await;
    let pages = [SIGN_IN, PAGE];
    let notice = "Zurzeit gibt es eine technische Störung";
    let tell = async |shown: bool| {
        for page in pages {
            let what = format!(
                "{page} {}",
                if shown {
                    "tells of it"
                } else {
                    "tells of nothing"
                }
            );
            let told = async || {
                let answer = world.browser().open(page).await;
                (answer.is(200).text().contains(notice) == shown).then_some(())
            };
            eventually(&what, told).await;
        }
    };
    tell(false).await;
    kill(&world);
    tell(true).await;
    restart(&world);
    tell(false).await;
}

#[tokio::test]
async fn whoever_is_signed_in_meets_503_and_never_a_sign_in_page_or_a_cleared_cookie() {
    let world = world().await;
    let browser = world.signed_in(ADA).await;
    let session = browser.cookie("vtnr_session");
    browser.open("/").await.is(200);
    kill(&world);
    eventually("the outage is noticed", async || {
        (browser.open("/").await.status == 503).then_some(())
    })
    .await;
    let before = world.calculator.requests().len();
    for path in ["/", "/kfz?x=1", SIGN_IN, "/ui/login/de/abmelden"] {
        let answer = browser.open(path).await;
        answer.is(503);
        assert!(
            answer.headers.contains_key("retry-after") && answer.set_cookies().is_empty(),
            "{path}: {:?}",
            answer.headers
        );
        assert_eq!(
            browser.fetch(path).await.is(503).headers["content-type"],
            "application/problem+json"
        );
    }
    let out = browser.post("/ui/login/de/abmelden", &[]).await;
    out.is(503);
    assert!(
        out.set_cookies().is_empty(),
        "a cookie that is gone while the session lives on would only look like a sign-out"
    );
    assert_eq!(browser.cookie("vtnr_session"), session);
    assert_eq!(world.calculator.requests().len(), before);
}

#[tokio::test]
async fn it_goes_on_within_two_seconds_of_the_stores_return() {
    let world = world().await;
    let browser = world.browser();
    kill(&world);
    asked(&browser).await.is(503);
    restart(&world);
    let begun = Instant::now();
    eventually("a TAN can be asked for", async || {
        (asked(&browser).await.status == 303).then_some(())
    })
    .await;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "after {:?}",
        begun.elapsed()
    );
    let tan = support::world::tan_of(&world.postbox.next(0).await);
    browser.enter_tan(&tan, "/").await.leads_to("/");
}

#[tokio::test]
async fn a_store_that_hangs_is_answered_for_in_time_and_the_session_is_still_there_afterwards() {
    let world = World::builder()
        .store(StoreKind::OwnRedis)
        .config("[store]\noutage_grace = \"0s\"\ntimeout = \"300ms\"")
        .start()
        .await;
    let browser = world.signed_in(ADA).await;
    let redis = world.redis.as_ref().expect("a redis-server");
    redis.lock().expect("no panic").signal("STOP");
    let begun = Instant::now();
    asked(&world.browser()).await.is(503);
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "after {:?}",
        begun.elapsed()
    );
    redis.lock().expect("no panic").signal("CONT");
    eventually("the session is back", async || {
        (browser.open("/").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn whoever_is_signed_in_goes_on_for_the_grace() {
    let world = World::builder()
        .store(StoreKind::OwnRedis)
        .config("[store]\noutage_grace = \"5m\"")
        .start()
        .await;
    let browser = world.signed_in(ADA).await;
    browser.open("/").await.is(200);
    kill(&world);
    for _ in 0..20 {
        browser.open("/kfz/angebot?id=42").await.is(200);
    }
    asked(&world.browser()).await.is(503);
    let stranger = world.browser();
    stranger.set_cookie(
        "vtnr_session",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    );
    stranger.open("/").await.is(503);
}

/// Two gateways on one Redis, a broker who works at the first, and how the second sees them.
async fn at_another_gateway() -> (World, Browser, Browser) {
    at_another_gateway_with("").await
}

async fn at_another_gateway_with(config: &str) -> (World, Browser, Browser) {
    let world = World::builder()
        .store(StoreKind::OwnRedis)
        .gateways(2)
        .config(config)
        .start()
        .await;
    world.gateways[1].ready().await;
    let browser = world.signed_in(ADA).await;
    // What a ticket says is believed from its second sign of life on, four a second.
    let heard_by_both = clock(&world) + 2_000;
    eventually("a ticket that both gateways believe", async || {
        browser.drop_cookie("vtnr_ticket");
        browser.open("/").await.is(200);
        (as_of(&browser)? > heard_by_both).then_some(())
    })
    .await;
    let there = browser.at(&world.gateways[1].base());
    (world, browser, there)
}

/// The store's clock.
fn clock(world: &World) -> u64 {
    millis_of(
        world
            .redis
            .as_ref()
            .expect("a redis-server")
            .lock()
            .expect("no panic")
            .command(&["TIME"]),
    )
}

/// All gateways have heard what ends for longer than a busy machine may keep one from it: tickets written from now on are believed.
async fn have_heard_for_a_while(world: &World) {
    let enough = clock(world) + 2_000;
    eventually("the store's clock goes on", async || {
        (clock(world) > enough).then_some(())
    })
    .await;
}

fn millis_of((seconds, micros): (u64, u64)) -> u64 {
    seconds * 1_000 + micros / 1_000
}

fn as_of(browser: &Browser) -> Option<u64> {
    browser
        .cookie("vtnr_ticket")?
        .split('.')
        .next()?
        .parse()
        .ok()
}

#[tokio::test]
async fn whoever_is_signed_in_goes_on_at_a_gateway_that_never_saw_the_session() {
    let (world, _, there) = at_another_gateway().await;
    signal(&world, "STOP");
    for _ in 0..20 {
        there.open("/kfz/angebot?id=42").await.is(200);
        there.fetch("/kfz/angebot?id=42").await.is(200);
        there
            .post("/antrag/versand", &[("antrag", "1")])
            .await
            .is(200);
    }
    let last = world.calculator.requests().pop().expect("requests");
    assert!(
        !format!("{:?}", last.headers).contains("vtnr_ticket"),
        "{last:?}"
    );
    there.drop_cookie("vtnr_ticket");
    there.open("/").await.is(503);
    signal(&world, "CONT");
    eventually("it goes on", async || {
        (there.open("/").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn whoever_signed_out_before_the_outage_is_not_let_in_by_a_copy_of_the_cookies() {
    let (world, browser, there) = at_another_gateway().await;
    let copy = Browser::new(&world.gateways[1].base());
    for name in ["vtnr_session", "vtnr_ticket"] {
        copy.set_cookie(name, &there.cookie(name).expect("a cookie"));
    }
    browser.post("/ui/login/de/abmelden", &[]).await.is(200);
    assert_eq!(
        (
            browser.cookie("vtnr_session"),
            browser.cookie("vtnr_ticket")
        ),
        (None, None)
    );
    // The end is heard before the outage is.
    eventually("it is heard", async || {
        (copy.open("/").await.status == 303).then_some(())
    })
    .await;
    kill(&world);
    let before = world.calculator.requests().len();
    eventually("the outage is noticed", async || {
        (copy.open("/").await.status == 503).then_some(())
    })
    .await;
    copy.fetch("/kfz/tarife").await.is(503);
    assert_eq!(world.calculator.requests().len(), before);
}

#[tokio::test]
async fn whoever_was_revoked_before_the_outage_is_not_let_in_by_a_ticket() {
    let (world, browser, there) = at_another_gateway().await;
    let cookies =
        ["vtnr_session", "vtnr_ticket"].map(|name| (name, browser.cookie(name).expect("set")));
    let mut revoke = Command::new(env!("CARGO_BIN_EXE_vtnr-gateway"));
    let revoke = revoke
        .args(["revoke", "--config"])
        .arg(world.gateways[0].config())
        .arg(ADA.0);
    assert!(revoke.status().expect("it runs").success());
    eventually("the session is dead", async || {
        (browser.fetch("/").await.status == 401).then_some(())
    })
    .await;
    have_heard_for_a_while(&world).await;
    kill(&world);
    for (name, value) in &cookies {
        there.set_cookie(name, value);
    }
    eventually("the outage is noticed", async || {
        (there.fetch("/").await.status == 503).then_some(())
    })
    .await;
    for _ in 0..20 {
        there.fetch("/").await.is(503);
    }
}

#[tokio::test]
async fn a_ticket_lets_nobody_go_on_beyond_the_grace() {
    let (world, _, there) = at_another_gateway_with("[store]\noutage_grace = \"3s\"").await;
    kill(&world);
    let begun = Instant::now();
    eventually(
        "the gateway that never saw the session goes by the ticket",
        async || (there.fetch("/").await.status == 200).then_some(()),
    )
    .await;
    eventually("the grace is over", async || {
        (there.fetch("/").await.status == 503).then_some(())
    })
    .await;
    assert!(
        begun.elapsed() > Duration::from_secs(2),
        "after {:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn only_pages_bring_a_ticket_and_none_that_others_may_be_given() {
    let calculator = Upstream::start(|mut wire| async move {
        while let Some(request) = wire.request().await {
            let shared = if request.line.contains("shared") {
                "Cache-Control: max-age=60, Public\r\n"
            } else {
                ""
            };
            wire.send(format!(
                "HTTP/1.1 200 OK\r\n{shared}Content-Length: 0\r\n\r\n"
            ))
            .await;
        }
    })
    .await;
    let world = World::builder()
        .store(StoreKind::OwnRedis)
        .upstream(&calculator.url())
        .start()
        .await;
    let browser = world.signed_in(ADA).await;
    let brings_ticket = |answer: &support::Answer| {
        answer
            .set_cookies()
            .iter()
            .any(|cookie| cookie.starts_with("vtnr_ticket="))
    };
    eventually("a page brings a ticket", async || {
        brings_ticket(browser.open("/kfz").await.is(200)).then_some(())
    })
    .await;
    eventually("the one it has will do", async || {
        (!brings_ticket(browser.open("/kfz").await.is(200))).then_some(())
    })
    .await;
    browser.drop_cookie("vtnr_ticket");
    for _ in 0..3 {
        assert!(!brings_ticket(browser.fetch("/kfz/tarife").await.is(200)));
        assert!(!brings_ticket(browser.open("/shared").await.is(200)));
    }
    assert!(brings_ticket(browser.open("/kfz").await.is(200)));
}

/// Opens pages at one gateway for a while and then at the other one until it is over; gives how many, and what went wrong.
async fn browse(
    tabs: [Browser; 2],
    moves_on: Instant,
    over: Arc<AtomicBool>,
) -> (usize, Vec<String>) {
    let (mut requests, mut failures) = (0, Vec::new());
    while !over.load(Ordering::SeqCst) {
        let tab = &tabs[usize::from(Instant::now() >= moves_on)];
        let answer = tab.open("/kfz/angebot?id=42").await;
        requests += 1;
        if answer.status != 200 {
            failures.push(format!(
                "{}: {} {:?}",
                answer.url,
                answer.status,
                answer.location()
            ));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (requests, failures)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_brokers_at_two_gateways_do_not_notice_that_redis_is_gone_for_twenty_seconds() {
    const OUTAGE: Duration = Duration::from_secs(20);
    let builder = World::builder().store(StoreKind::DurableRedis).gateways(2);
    let world = builder
        .config("[limits]\nvtnrs_client = \"1000 in 1h\"")
        .start()
        .await;
    let broker = |number: usize| {
        (
            format!("60/123/{:04}", 2_000 + number),
            format!("broker{number}@makler.example"),
        )
    };
    let brokers: String = (0..20)
        .map(broker)
        .map(|(vtnr, email)| format!("{vtnr};{email}\n"))
        .collect();
    world.write_brokers(&format!("vtnr;email\n{};{}\n{brokers}", ADA.0, ADA.1));
    for gateway in &world.gateways {
        eventually("the brokers are known", async || {
            let answer = Browser::new(&gateway.base())
                .claim(&broker(19).0, "stranger@makler.example", "/")
                .await;
            answer
                .location()
                .is_some_and(|location| location.contains("unbekannte-e-mail"))
                .then_some(())
        })
        .await;
    }
    have_heard_for_a_while(&world).await;
    let (over, moves_on) = (
        Arc::new(AtomicBool::new(false)),
        Instant::now() + OUTAGE * 3 / 4,
    );
    let (mut browsing, mut sessions) = (JoinSet::new(), Vec::new());
    for number in 0..20 {
        let (vtnr, email) = broker(number);
        let browser = world.signed_in((&vtnr, &email)).await;
        let tabs = [number % 2, (number + 1) % 2]
            .map(|gateway| browser.at(&world.gateways[gateway].base()));
        tabs[0].open("/").await.is(200);
        sessions.push((number, browser.cookie("vtnr_session")));
        browsing.spawn(browse(tabs, moves_on, Arc::clone(&over)));
    }
    let begun = Instant::now();
    kill(&world);
    let mut put_off = 0;
    while begun.elapsed() < OUTAGE {
        for gateway in &world.gateways {
            let answer = Browser::new(&gateway.base()).claim(ADA.0, ADA.1, "/").await;
            answer
                .is(503)
                .shows("Die Anmeldung ist zurzeit nicht möglich");
            assert!(answer.headers.contains_key("retry-after"));
            put_off += 1;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    restart(&world);
    let back = Instant::now();
    eventually("a sign-in begins", async || {
        (asked(&world.browser()).await.status == 303).then_some(())
    })
    .await;
    let again_after = back.elapsed();
    assert!(again_after < Duration::from_secs(10), "{again_after:?}");
    over.store(true, Ordering::SeqCst);
    let (requests, failures): (Vec<_>, Vec<_>) = browsing.join_all().await.into_iter().unzip();
    let (requests, failures): (usize, Vec<String>) = (
        requests.iter().sum(),
        failures.into_iter().flatten().collect(),
    );
    assert!(
        failures.is_empty(),
        "{} of {requests} failed: {failures:#?}",
        failures.len()
    );
    // All sessions are in Redis still.
    for (number, session) in sessions {
        let browser = Browser::new(&world.gateways[number % 2].base());
        browser.set_cookie("vtnr_session", &session.expect("a session"));
        browser.open("/").await.is(200);
    }
    println!(
        "0 of {requests} requests failed, {put_off} sign-ins were put off, the next one began {again_after:?} after the return"
    );
}
