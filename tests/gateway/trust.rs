//! The 30-day rule: which browsers need no TAN, for whom, and when that ends.

use crate::support::world::{ADA, BEN, World};
use crate::support::{Browser, StoreKind, eventually, on_both_stores};
use std::process::Command;

const SIGN_IN: &str = "/ui/login/de/vtnr-login";
const TAN: &str = "/ui/login/de/tan";
const SIGN_OUT: &str = "/ui/login/de/abmelden";
const FREE: &str = "[limits]\nmail_pause = \"100 in 1s\"\nmail_burst = \"100 in 1s\"\n";

on_both_stores!(
    the_second_sign_in_on_a_browser_needs_no_mail,
    another_browser_needs_one,
    trust_never_serves_another_broker_and_one_browser_can_be_trusted_for_several,
    trust_ends_when_another_address_is_on_file,
    trust_ends_when_the_broker_is_removed_and_comes_back_with_another_address,
    trust_that_the_operator_switched_off_is_asked_for_every_time,
    a_planted_trust_cookie_gains_nothing,
);

async fn world(store: StoreKind) -> World {
    World::builder().store(store).config(FREE).start().await
}

/// Signs out, so that only trust is left.
async fn out(browser: &Browser) {
    browser.post(SIGN_OUT, &[]).await.is(200);
    assert_eq!(browser.cookie("vtnr_session"), None);
}

async fn brokers_are(world: &World, text: &str, reloads: usize) {
    world.write_brokers(text);
    world.log_has_times("directory reloaded", reloads).await;
}

async fn the_second_sign_in_on_a_browser_needs_no_mail(store: StoreKind) {
    let world = world(store).await;
    let browser = world.signed_in(ADA).await;
    for spelling in ["60/123/4567", "601234567"] {
        out(&browser).await;
        browser
            .claim(spelling, "Ada@makler.example", "/kfz?x=1")
            .await
            .leads_to("/kfz?x=1");
        browser.open("/kfz").await;
        assert_eq!(
            world
                .calculator
                .requests()
                .last()
                .expect("a request")
                .headers["x-vtnr-level"],
            "full"
        );
    }
    assert_eq!(world.mails().await.len(), 1);
}

async fn another_browser_needs_one(store: StoreKind) {
    let world = world(store).await;
    let _ = world.signed_in(ADA).await;
    let other = world.browser();
    other.claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
    other.open("/").await.leads_to(SIGN_IN);
}

async fn trust_never_serves_another_broker_and_one_browser_can_be_trusted_for_several(
    store: StoreKind,
) {
    let world = world(store).await;
    let browser = world.signed_in(ADA).await;
    out(&browser).await;
    let tan = world.ask(&browser, BEN).await;
    browser.open("/").await.leads_to(SIGN_IN);
    browser.enter_tan(&tan, "/").await.leads_to("/");
    for broker in [ADA, BEN, ADA] {
        out(&browser).await;
        browser.claim(broker.0, broker.1, "/").await.leads_to("/");
        browser.open("/").await.is(200);
        assert_eq!(
            world
                .calculator
                .requests()
                .last()
                .expect("a request")
                .headers["x-vtnr"],
            broker.0
        );
    }
    browser
        .claim(ADA.0, BEN.1, "/")
        .await
        .leads_to("/ui/login/de/unbekannte-e-mail");
}

async fn trust_ends_when_another_address_is_on_file(store: StoreKind) {
    let world = world(store).await;
    let browser = world.signed_in(ADA).await;
    out(&browser).await;
    brokers_are(
        &world,
        &format!("vtnr;email\n{};neu@makler.example\n", ADA.0),
        1,
    )
    .await;
    browser
        .claim(ADA.0, ADA.1, "/")
        .await
        .leads_to("/ui/login/de/unbekannte-e-mail");
    browser
        .claim(ADA.0, "neu@makler.example", "/")
        .await
        .leads_to(TAN);
    browser.open("/").await.leads_to(SIGN_IN);
}

async fn trust_ends_when_the_broker_is_removed_and_comes_back_with_another_address(
    store: StoreKind,
) {
    let world = world(store).await;
    let browser = world.signed_in(ADA).await;
    out(&browser).await;
    brokers_are(&world, &format!("vtnr;email\n{};{}\n", BEN.0, BEN.1), 1).await;
    browser
        .claim(ADA.0, ADA.1, "/")
        .await
        .is(200)
        .shows("Diese Vermittlernummer ist ungültig.");
    brokers_are(
        &world,
        &format!("vtnr;email\n{};neu@makler.example\n", ADA.0),
        2,
    )
    .await;
    browser
        .claim(ADA.0, "neu@makler.example", "/")
        .await
        .leads_to(TAN);
}

async fn trust_that_the_operator_switched_off_is_asked_for_every_time(store: StoreKind) {
    let world = World::builder()
        .store(store)
        .config(FREE)
        .config("[login]\ntrust_lifetime = \"0s\"")
        .start()
        .await;
    let browser = world.signed_in(ADA).await;
    out(&browser).await;
    let tan = world.ask(&browser, ADA).await;
    browser.enter_tan(&tan, "/").await.leads_to("/");
}

async fn a_planted_trust_cookie_gains_nothing(store: StoreKind) {
    let world = world(store).await;
    // What nobody was ever given, and what the attacker was given for a broker of their own.
    let mallory = world.signed_in(BEN).await;
    for planted in ["A".repeat(43), mallory.cookie("vtnr_trust").expect("trust")] {
        let victim = world.browser();
        victim.set_cookie("vtnr_trust", &planted);
        let tan = world.ask(&victim, ADA).await;
        victim.enter_tan(&tan, "/").await.leads_to("/");
        assert_ne!(
            victim.cookie("vtnr_trust").as_ref(),
            Some(&planted),
            "a new cookie at every TAN"
        );
        let attacker = world.browser();
        attacker.set_cookie("vtnr_trust", &planted);
        world.ask(&attacker, ADA).await;
        attacker.open("/").await.leads_to(SIGN_IN);
    }
    out(&mallory).await;
    mallory.claim(BEN.0, BEN.1, "/").await.leads_to(TAN);
}

#[tokio::test]
async fn the_cookie_of_a_browser_changes_with_every_tan_and_the_old_one_is_dead() {
    let world = world(StoreKind::Redis).await;
    let browser = world.signed_in(ADA).await;
    let old = browser.cookie("vtnr_trust").expect("trust");
    out(&browser).await;
    let tan = world.ask(&browser, BEN).await;
    browser.enter_tan(&tan, "/").await.leads_to("/");
    let thief = world.browser();
    thief.set_cookie("vtnr_trust", &old);
    thief.claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
}

#[tokio::test]
async fn a_stolen_trust_cookie_alone_opens_nothing() {
    let world = world(StoreKind::Redis).await;
    let browser = world.signed_in(ADA).await;
    let thief = world.browser();
    for name in ["vtnr_trust", "vtnr_session", "vtnr_flow"] {
        thief.set_cookie(name, &browser.cookie("vtnr_trust").expect("trust"));
        thief.open("/").await.leads_to(SIGN_IN);
    }
    thief
        .claim(ADA.0, "x@makler.example", "/")
        .await
        .leads_to("/ui/login/de/unbekannte-e-mail");
    thief
        .claim("60/999/9999", ADA.1, "/")
        .await
        .shows("ungültig");
}

#[tokio::test]
async fn trust_lasts_30_days_in_the_browser_too() {
    let world = world(StoreKind::Redis).await;
    let browser = world.browser();
    let tan = world.ask(&browser, ADA).await;
    let cookies = browser.enter_tan(&tan, "/").await.set_cookies();
    let trust = cookies
        .iter()
        .find(|cookie| cookie.starts_with("vtnr_trust="))
        .expect("trust");
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=2592000"] {
        assert!(trust.contains(attribute), "{attribute}: {trust}");
    }
}

#[tokio::test]
async fn an_operator_ends_all_trust_and_all_sessions_of_a_broker_on_every_gateway() {
    let world = World::builder().gateways(2).config(FREE).start().await;
    let (first, ben) = (world.signed_in(ADA).await, world.signed_in(BEN).await);
    let second = first.at(&world.gateways[1].base());
    for browser in [&first, &second, &ben] {
        browser.open("/").await.is(200);
    }
    let revoked = Command::new(env!("CARGO_BIN_EXE_vtnr-gateway"))
        .args(["revoke", "--config"])
        .arg(world.folder.path().join("gateway-0.toml"))
        .arg("60 123 4567")
        .output()
        .expect("it runs");
    assert!(revoked.status.success(), "{revoked:?}");
    for browser in [&first, &second] {
        eventually("the session is dead", async || {
            browser
                .open("/")
                .await
                .location()
                .filter(|to| to == SIGN_IN)
        })
        .await;
    }
    ben.open("/").await.is(200);
    first.claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
    let tan = world.ask(&world.browser(), ADA).await;
    assert_eq!(tan.len(), 6, "a new sign-in is as good as ever");
}
