//! The store is down: nobody is signed out, nobody gets in, and all goes on when it is back.

mod support;

use std::time::{Duration, Instant};
use support::world::{ADA, World};
use support::{Browser, StoreKind, eventually};

const SIGN_IN: &str = "/ui/login/de/vtnr-login";

/// Without the grace, so that each request needs the store.
async fn world() -> World {
    World::builder().store(StoreKind::OwnRedis).config("[store]\noutage_grace = \"0s\"").start().await
}

fn kill(world: &World) {
    world.redis.as_ref().expect("a redis-server").lock().expect("no panic").kill();
}

fn restart(world: &World) {
    world.redis.as_ref().expect("a redis-server").lock().expect("no panic").restart();
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
    for answer in [asked(&browser).await, browser.enter_tan(&tan, "/").await, browser.open("/ui/login/de/tan").await] {
        answer.is(503).shows("Die Anmeldung ist zurzeit nicht möglich").shows("Wer schon angemeldet ist, bleibt angemeldet.");
        assert!(answer.headers.contains_key("retry-after") && answer.set_cookies().is_empty(), "{:?}", answer.headers);
    }
    world.browser().open(SIGN_IN).await.is(200).shows("Anmelden mit Vermittlernummer");
}

#[tokio::test]
async fn whoever_is_signed_in_meets_503_and_never_a_sign_in_page_or_a_cleared_cookie() {
    let world = world().await;
    let browser = world.signed_in(ADA).await;
    let session = browser.cookie("vtnr_session");
    browser.open("/").await.is(200);
    kill(&world);
    eventually("the outage is noticed", async || (browser.open("/").await.status == 503).then_some(())).await;
    let before = world.calculator.requests().len();
    for path in ["/", "/kfz?x=1", SIGN_IN, "/ui/login/de/abmelden"] {
        let answer = browser.open(path).await;
        answer.is(503);
        assert!(answer.headers.contains_key("retry-after") && answer.set_cookies().is_empty(), "{path}: {:?}", answer.headers);
        assert_eq!(browser.fetch(path).await.is(503).headers["content-type"], "application/problem+json");
    }
    let out = browser.post("/ui/login/de/abmelden", &[]).await;
    out.is(503);
    assert!(out.set_cookies().is_empty(), "a cookie that is gone while the session lives on would only look like a sign-out");
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
    eventually("a TAN can be asked for", async || (asked(&browser).await.status == 303).then_some(())).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "after {:?}", begun.elapsed());
    let tan = support::world::tan_of(&world.postbox.next(0).await);
    browser.enter_tan(&tan, "/").await.leads_to("/");
}

#[tokio::test]
async fn a_store_that_hangs_is_answered_for_in_time_and_the_session_is_still_there_afterwards() {
    let world =
        World::builder().store(StoreKind::OwnRedis).config("[store]\noutage_grace = \"0s\"\ntimeout = \"300ms\"").start().await;
    let browser = world.signed_in(ADA).await;
    let redis = world.redis.as_ref().expect("a redis-server");
    redis.lock().expect("no panic").signal("STOP");
    let begun = Instant::now();
    asked(&world.browser()).await.is(503);
    assert!(begun.elapsed() < Duration::from_secs(2), "after {:?}", begun.elapsed());
    redis.lock().expect("no panic").signal("CONT");
    eventually("the session is back", async || (browser.open("/").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn whoever_is_signed_in_goes_on_for_the_grace() {
    let world = World::builder().store(StoreKind::OwnRedis).config("[store]\noutage_grace = \"5m\"").start().await;
    let browser = world.signed_in(ADA).await;
    browser.open("/").await.is(200);
    kill(&world);
    for _ in 0..20 {
        browser.open("/kfz/angebot?id=42").await.is(200);
    }
    asked(&world.browser()).await.is(503);
    let stranger = world.browser();
    stranger.set_cookie("vtnr_session", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    stranger.open("/").await.is(503);
}
