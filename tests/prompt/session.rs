//! Sessions: tokens, ends, cookies, deep links, and what is not a navigation.

use crate::support;
use crate::support::browser::page;
use crate::support::world::{ADA, BEN, World};
use crate::support::{Browser, StoreKind, eventually, on_both_stores};
use reqwest::Method;
use std::time::{Duration, Instant};

const SIGN_IN: &str = "/ui/login/de/vtnr-login";
const TAN: &str = "/ui/login/de/tan";
const SIGN_OUT: &str = "/ui/login/de/abmelden";

on_both_stores!(
    a_new_token_at_every_sign_in_and_the_old_one_is_dead,
    a_session_without_submission_cannot_be_had_back_after_confirming,
    a_broker_removed_from_the_directory_is_refused_at_the_next_request,
    cookies_of_one_kind_are_worth_nothing_as_another,
    a_planted_session_cookie_is_never_made_valid,
    tabs_share_one_sign_in_and_keep_their_own_targets,
);

async fn is_out(browser: &Browser) {
    browser.open("/").await.leads_to(SIGN_IN);
}

async fn a_new_token_at_every_sign_in_and_the_old_one_is_dead(store: StoreKind) {
    let world = World::builder().store(store).start().await;
    let browser = world.signed_in(ADA).await;
    let mut tokens = vec![browser.cookie("vtnr_session").expect("a session")];
    for _ in 0..3 {
        browser.claim(ADA.0, ADA.1, "/").await.leads_to("/");
        tokens.push(browser.cookie("vtnr_session").expect("a session"));
    }
    let last = tokens.pop().expect("the last");
    for old in tokens {
        assert_ne!(old, last);
        let thief = world.browser();
        thief.set_cookie("vtnr_session", &old);
        is_out(&thief).await;
    }
    browser.open("/").await.is(200);
}

#[tokio::test]
async fn a_new_sign_in_and_a_sign_out_reach_every_gateway_within_a_second() {
    let world = World::builder().gateways(2).start().await;
    let browser = world.signed_in(ADA).await;
    let there = world.gateways[1].base();
    let replaced = Browser::new(&there);
    replaced.set_cookie(
        "vtnr_session",
        &browser.cookie("vtnr_session").expect("a session"),
    );
    replaced.open("/").await.is(200);
    browser.claim(ADA.0, ADA.1, "/").await.leads_to("/");
    within_a_second(&replaced).await;
    let other = browser.at(&there);
    other.open("/").await.is(200);
    let token = browser.cookie("vtnr_session").expect("a session");
    browser.post(SIGN_OUT, &[]).await.is(200);
    other.set_cookie("vtnr_session", &token);
    within_a_second(&other).await;
}

#[tokio::test]
async fn a_session_that_was_unlocked_is_dead_at_every_gateway_and_the_new_one_has_its_level() {
    let world = World::builder().gateways(2).start().await;
    let browser = world.signed_in_without_email().await;
    let there = Browser::new(&world.gateways[1].base());
    there.set_cookie(
        "vtnr_session",
        &browser.cookie("vtnr_session").expect("a session"),
    );
    there.open("/").await.is(200);
    let tan = world.ask(&browser, ADA).await;
    browser.enter_tan(&tan, "/").await.leads_to("/");
    within_a_second(&there).await;
    there.set_cookie(
        "vtnr_session",
        &browser.cookie("vtnr_session").expect("a session"),
    );
    there.open("/").await.is(200);
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

async fn within_a_second(browser: &Browser) {
    let begun = Instant::now();
    eventually("the session is dead", async || {
        browser
            .open("/")
            .await
            .location()
            .filter(|to| to == SIGN_IN)
    })
    .await;
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "after {:?}",
        begun.elapsed()
    );
}

async fn a_session_without_submission_cannot_be_had_back_after_confirming(store: StoreKind) {
    let world = World::builder().store(store).start().await;
    let browser = world.signed_in_without_email().await;
    let old = browser.cookie("vtnr_session").expect("a session");
    let tan = world.ask(&browser, ADA).await;
    browser.open("/").await.is(200);
    assert_eq!(
        browser.cookie("vtnr_session").as_deref(),
        Some(&*old),
        "asking for a TAN changes nothing yet"
    );
    browser.enter_tan(&tan, "/").await.leads_to("/");
    let thief = world.browser();
    thief.set_cookie("vtnr_session", &old);
    is_out(&thief).await;
    browser.open("/").await.is(200);
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

async fn a_broker_removed_from_the_directory_is_refused_at_the_next_request(store: StoreKind) {
    let world = World::builder().store(store).start().await;
    let (ada, ben) = (world.signed_in(ADA).await, world.signed_in(BEN).await);
    world.write_brokers(&format!("vtnr;email\n{};{}\n", BEN.0, BEN.1));
    world.log_has("directory reloaded").await;
    let before = world.calculator.requests().len();
    is_out(&ada).await;
    ada.fetch("/").await.is(401);
    assert_eq!(world.calculator.requests().len(), before);
    ben.open("/").await.is(200);
}

async fn cookies_of_one_kind_are_worth_nothing_as_another(store: StoreKind) {
    let world = World::builder()
        .store(store)
        .config("[limits]\nmail_pause = \"9 in 1s\"")
        .start()
        .await;
    let signed_in = world.signed_in(ADA).await;
    let asking = world.browser();
    let tan = world.ask(&asking, ADA).await;
    let (flow, session) = (
        asking.cookie("vtnr_flow").expect("a flow"),
        signed_in.cookie("vtnr_session").expect("a session"),
    );
    let thief = world.browser();
    for value in [&flow, &signed_in.cookie("vtnr_trust").expect("trust")] {
        thief.set_cookie("vtnr_session", value);
        is_out(&thief).await;
        thief.fetch("/").await.is(401);
    }
    let thief = world.browser();
    for value in [&session, &signed_in.cookie("vtnr_trust").expect("trust")] {
        thief.set_cookie("vtnr_flow", value);
        thief
            .enter_tan(&tan, "/")
            .await
            .shows("Anmelden mit Vermittlernummer");
        thief.set_cookie("vtnr_trust", value);
    }
    thief.set_cookie("vtnr_trust", &session);
    thief.claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
}

async fn a_planted_session_cookie_is_never_made_valid(store: StoreKind) {
    let world = World::builder().store(store).start().await;
    let victim = world.browser();
    let planted = "A".repeat(43);
    victim.set_cookie("vtnr_session", &planted);
    let tan = world.ask(&victim, ADA).await;
    victim.enter_tan(&tan, "/").await.leads_to("/");
    assert_ne!(victim.cookie("vtnr_session").as_ref(), Some(&planted));
    let attacker = world.browser();
    attacker.set_cookie("vtnr_session", &planted);
    is_out(&attacker).await;
}

async fn tabs_share_one_sign_in_and_keep_their_own_targets(store: StoreKind) {
    let world = World::builder().store(store).start().await;
    let one = world.browser();
    let two = one.clone();
    one.open("/kfz/angebot?id=42")
        .await
        .leads_to(&page("vtnr-login", "/kfz/angebot?id=42"));
    two.open("/upload")
        .await
        .leads_to(&page("vtnr-login", "/upload"));
    one.claim(ADA.0, ADA.1, "/kfz/angebot?id=42")
        .await
        .leads_to(&page("tan", "/kfz/angebot?id=42"));
    two.claim(ADA.0, ADA.1, "/upload")
        .await
        .leads_to(&page("tan", "/upload"));
    let tan = support::world::tan_of(&world.postbox.next(0).await);
    assert_eq!(status(&one).await["signed_in"], false);
    two.enter_tan(&tan, "/upload").await.leads_to("/upload");
    let told = status(&one).await;
    assert_eq!(
        (told["signed_in"].as_bool(), told["level"].as_str()),
        (Some(true), Some("full"))
    );
    for name in ["tan", "vtnr-login", "unbekannte-e-mail"] {
        one.open(&page(name, "/kfz/angebot?id=42"))
            .await
            .leads_to("/kfz/angebot?id=42");
    }
    one.enter_tan(&tan, "/kfz/angebot?id=42")
        .await
        .leads_to("/kfz/angebot?id=42");
    one.open("/kfz/angebot?id=42").await.is(200);
    assert_eq!(world.mails().await.len(), 1);
}

async fn status(browser: &Browser) -> serde_json::Value {
    let answer = browser.fetch("/ui/login/de/status").await;
    answer.is(200);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(answer.set_cookies().is_empty());
    serde_json::from_str(&answer.body).expect("JSON")
}

#[tokio::test]
async fn the_status_says_what_became_of_the_mail() {
    let world = World::start().await;
    let browser = world.browser();
    let nothing = serde_json::json!({"mail": "none", "accepted_at": null, "valid_until": null, "next_try_at": null});
    let with = |signed_in: bool, level: Option<&str>| {
        let mut told = nothing.clone();
        told["signed_in"] = signed_in.into();
        told["level"] = level.into();
        told
    };
    assert_eq!(status(&browser).await, with(false, None));
    let tan = world.ask(&browser, ADA).await;
    let told = eventually("the mail is taken", async || {
        Some(status(&browser).await).filter(|told| told["mail"] == "accepted")
    })
    .await;
    let colons = |time: &str| told[time].as_str().map(|time| time.matches(':').count());
    assert_eq!(
        (
            colons("accepted_at"),
            colons("valid_until"),
            colons("next_try_at")
        ),
        (Some(2), Some(1), None),
        "{told}"
    );
    browser.enter_tan(&tan, "/").await.leads_to("/");
    let told = status(&browser).await;
    assert_eq!(told, with(true, Some("full")));
    let reduced = world.signed_in_without_email().await;
    assert_eq!(status(&reduced).await["level"], "without-submission");
}

#[tokio::test]
async fn cookies_are_fit_for_https_and_for_nothing_less() {
    let world = World::builder().https().start().await;
    let base = format!(
        "https://localhost:{}",
        world.gateways[0].https.expect("https")
    );
    let browser = Browser::new(&base);
    let asked = browser.claim(ADA.0, ADA.1, "/").await;
    let tan = support::world::tan_of(&world.postbox.next(0).await);
    let signed_in = browser.enter_tan(&tan, "/").await;
    let cookies = [asked.set_cookies(), signed_in.set_cookies()].concat();
    for name in [
        "__Host-vtnr_flow",
        "__Host-vtnr_session",
        "__Host-vtnr_trust",
    ] {
        let cookie = cookies
            .iter()
            .find(|cookie| cookie.starts_with(&format!("{name}=")))
            .unwrap_or_else(|| panic!("{name}: {cookies:?}"));
        for attribute in ["; HttpOnly", "; Secure", "; SameSite=Lax", "; Path=/"] {
            assert!(cookie.contains(attribute), "{attribute}: {cookie}");
        }
        assert!(!cookie.contains("Domain"), "{cookie}");
    }
    let value = browser.cookie("__Host-vtnr_session").expect("a session");
    assert_eq!(value.len(), 43, "256 bits in base64url");
    browser.open("/").await.is(200);
    let plain = Browser::new(&base);
    plain.set_cookie("vtnr_session", &value);
    is_out(&plain).await;
}

#[tokio::test]
async fn deep_links_keep_their_query_and_lead_nowhere_else() {
    let world = World::start().await;
    let browser = world.signed_in(ADA).await;
    for target in [
        "/kfz/angebot?id=42&x=%C3%A4",
        "/a//b?next=https://x.example/",
        "/a;b=c?d=/ui/login/de/tan",
        "/.well-known/x",
        "/ui/login/den",
    ] {
        world
            .browser()
            .open(target)
            .await
            .leads_to(&page("vtnr-login", target));
        browser.claim(ADA.0, ADA.1, target).await.leads_to(target);
    }
    let hostile = [
        "//evil.example",
        "///evil.example",
        "////evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/\r\n/evil.example",
        "\t//evil.example",
        " //evil.example",
        "/ /evil.example",
        "https://evil.example",
        "HTTPS://evil.example",
        "https:evil.example",
        "https:/evil.example",
        "http:/\\evil.example",
        "//evil.example@localhost",
        "javascript:alert(1)",
        "data:text/html,x",
        "/\u{2028}/evil",
        "/\u{a0}/evil.example",
        "evil.example",
        "",
        "?x",
        "#x",
        "./x",
        "../x",
        "/a\\..\\b",
        "/\0",
        "/a\r\nSet-Cookie: x=y",
        SIGN_IN,
        "/ui/login/de/",
        "/ui/login/de",
        "/ui/login/de?x",
        TAN,
        "/ui/login/de/tan?return_to=/x",
        SIGN_OUT,
    ];
    for target in hostile {
        browser.claim(ADA.0, ADA.1, target).await.leads_to("/");
    }
    let twice = format!("{SIGN_IN}?return_to=%2Fkfz&return_to=%2F%2Fevil.example");
    browser
        .post(&twice, &[("vtnr", ADA.0), ("email", ADA.1)])
        .await
        .leads_to("/kfz");
}

#[tokio::test]
async fn what_is_no_navigation_is_told_401_and_never_redirected() {
    let world = World::start().await;
    let browser = world.browser();
    browser.set_cookie("vtnr_session", &"A".repeat(43));
    let kinds: [&[(&str, &str)]; 6] = [
        &[("sec-fetch-mode", "cors"), ("accept", "*/*")],
        &[("sec-fetch-mode", "same-origin"), ("accept", "text/html")],
        &[
            ("sec-fetch-mode", "no-cors"),
            ("sec-fetch-dest", "image"),
            ("accept", "image/avif,image/webp,*/*"),
        ],
        &[
            ("accept", "text/html"),
            ("x-requested-with", "XMLHttpRequest"),
        ],
        &[("accept", "application/json")],
        &[
            ("upgrade", "websocket"),
            ("connection", "upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ],
    ];
    for headers in kinds {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        for method in [Method::GET, Method::POST, Method::HEAD] {
            let answer = browser.send(method.clone(), "/kfz", &headers, None).await;
            answer.is(401);
            assert_eq!(
                answer.headers["content-type"], "application/problem+json",
                "{headers:?}"
            );
            assert!(
                answer.set_cookies().is_empty() && !answer.headers.contains_key("location"),
                "{:?}",
                answer.headers
            );
            assert!(
                method == Method::HEAD
                    || serde_json::from_str::<serde_json::Value>(&answer.body).expect("JSON")["status"]
                        == 401
            );
        }
    }
    assert_eq!(world.calculator.requests().len(), 0);
}

#[tokio::test]
async fn a_session_that_ended_is_said_so_and_its_cookie_is_cleared() {
    let world = World::start().await;
    let browser = world.signed_in(ADA).await;
    let other = world.browser();
    other.set_cookie(
        "vtnr_session",
        &browser.cookie("vtnr_session").expect("a session"),
    );
    browser.post(SIGN_OUT, &[]).await.is(200);
    let led = other.open("/kfz?x=1").await;
    led.leads_to(&page("vtnr-login", "/kfz?x=1"));
    assert!(led.set_cookies().is_empty());
    other
        .follow(led)
        .await
        .is(200)
        .shows("Ihre Sitzung ist beendet");
    assert_eq!(other.cookie("vtnr_session"), None);
    other
        .get("/kfz?x=1")
        .await
        .hides("Ihre Sitzung ist beendet");
}
