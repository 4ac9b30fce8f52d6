//! Guessing TANs: what is compared, what is counted, and that nobody is locked out by a stranger.

use crate::support::world::{ADA, BEN, World, not, tan_of};
use crate::support::{Browser, StoreKind, on_both_stores};
use futures_util::future::join_all;
use std::collections::BTreeSet;

const SIGN_IN: &str = "/ui/login/de/vtnr-login";
const TAN: &str = "/ui/login/de/tan";
const LONG_NEEDED: &str = "Sie benötigen eine längere TAN";
/// Mails and the client's address set no limits here; the broker's budgets are the product's.
const FREE: &str = "[limits]\nmail_pause = \"1000 in 1s\"\nmail_burst = \"1000 in 1m\"\nmail_day = \"1000 in 24h\"\n\
                    wrong_tans_client = \"100000 in 24h\"\nfailures_client = \"100000 in 1h\"";

on_both_stores!(
    forty_posts_of_the_right_tan_are_one_sign_in,
    of_two_hundred_wrong_tans_at_once_as_many_are_compared_as_there_are_tries,
    of_many_browsers_guessing_at_once_the_brokers_budget_is_compared_and_no_more,
    a_tan_from_another_browser_is_worth_nothing,
    a_spent_budget_asks_for_a_long_tan_and_locks_nobody_out,
    browsers_that_are_known_have_a_budget_of_their_own,
    the_breaker_over_all_brokers_raises_an_alarm,
);

async fn world(store: StoreKind, further: &str) -> World {
    // All come from one address, which gets a part of the seats only.
    World::builder()
        .store(store)
        .listen("max_requests = 8192")
        .config(FREE)
        .config(further)
        .start()
        .await
}

/// Wrong TANs that were compared, by the gateway's own count.
async fn compared(world: &World) -> f64 {
    world
        .metric("vtnr_gateway_sign_ins_total{outcome=\"wrong\",step=\"tan\"}")
        .await
}

async fn forty_posts_of_the_right_tan_are_one_sign_in(store: StoreKind) {
    let world = world(store, "").await;
    let browser = world.browser();
    let tan = world.ask(&browser, ADA).await;
    let flow = browser.cookie("vtnr_flow").expect("a sign-in");
    let posts = (0..40).map(|_| {
        let tab = world.browser();
        tab.set_cookie("vtnr_flow", &flow);
        let tan = tan.clone();
        async move {
            tab.enter_tan(&tan, "/kfz").await.leads_to("/kfz");
            (
                tab.cookie("vtnr_session").expect("a session"),
                tab.cookie("vtnr_trust").expect("trust"),
            )
        }
    });
    let tokens: BTreeSet<_> = join_all(posts).await.into_iter().collect();
    assert_eq!(tokens.len(), 1, "one sign-in");
    assert_eq!(
        world
            .metric("vtnr_gateway_sessions_begun_total{level=\"full\"}")
            .await,
        1.0
    );
}

async fn of_two_hundred_wrong_tans_at_once_as_many_are_compared_as_there_are_tries(
    store: StoreKind,
) {
    let world = world(store, "").await;
    let browser = world.browser();
    let tan = world.ask(&browser, ADA).await;
    let guesses: Vec<_> = (0..200).map(|n| not(&tan, n)).collect();
    let answers = join_all(guesses.iter().map(|guess| browser.enter_tan(guess, "/"))).await;
    assert_eq!(compared(&world).await, 5.0);
    let told: Vec<_> = answers
        .iter()
        .map(|answer| answer.text())
        .filter(|text| text.contains("ist falsch"))
        .collect();
    // A page is drawn after the comparison: by then the tries may be used up, and it says so.
    for left in [
        "noch 4 Versuche",
        "noch 3 Versuche",
        "noch 2 Versuche",
        "noch einen Versuch",
    ] {
        assert!(
            told.iter().filter(|text| text.contains(left)).count() <= 1,
            "{left}"
        );
    }
    assert!(told.len() <= 4);
    assert!(
        answers.iter().all(|answer| answer.status == 200),
        "{:?}",
        answers
            .iter()
            .map(|answer| answer.status)
            .collect::<Vec<_>>()
    );
    browser
        .enter_tan(&tan, "/")
        .await
        .shows("Diese TAN gilt nicht mehr");
    browser.open("/").await.leads_to(SIGN_IN);
}

async fn of_many_browsers_guessing_at_once_the_brokers_budget_is_compared_and_no_more(
    store: StoreKind,
) {
    let world = world(store, "").await;
    let mut browsers = Vec::new();
    for _ in 0..8 {
        let browser = world.browser();
        browsers.push((world.ask(&browser, ADA).await, browser));
    }
    let guesses = browsers
        .iter()
        .flat_map(|(tan, browser)| (0..10).map(move |n| (not(tan, n), browser)));
    let guesses: Vec<_> = guesses.collect();
    let answers = join_all(
        guesses
            .iter()
            .map(|(guess, browser)| browser.enter_tan(guess, "/")),
    )
    .await;
    assert_eq!(compared(&world).await, 10.0);
    assert!(answers.iter().all(|answer| answer.status == 200));
    for (tan, browser) in &browsers {
        let answer = browser.enter_tan(tan, "/").await;
        assert!(
            answer.location().is_none(),
            "a short TAN was compared beyond the budget"
        );
    }
}

async fn a_tan_from_another_browser_is_worth_nothing(store: StoreKind) {
    let world = world(store, "").await;
    let (owner, thief) = (world.browser(), world.browser());
    let tan = world.ask(&owner, ADA).await;
    thief
        .enter_tan(&tan, "/")
        .await
        .shows("Anmelden mit Vermittlernummer");
    let own = world.ask(&thief, ADA).await;
    assert_ne!(own, tan);
    thief
        .enter_tan(&tan, "/")
        .await
        .shows("Diese TAN ist falsch");
    thief.open("/").await.leads_to(SIGN_IN);
    owner.enter_tan(&tan, "/").await.leads_to("/");
}

/// Spends the broker's budget of wrong TANs from browsers that nobody knows.
async fn spend(world: &World, broker: (&str, &str), tries: usize) {
    for _ in 0..tries / 5 {
        let stranger = world.browser();
        let tan = world.ask(&stranger, broker).await;
        for n in 0..5 {
            stranger.enter_tan(&not(&tan, n), "/").await.is(200);
        }
    }
}

async fn a_spent_budget_asks_for_a_long_tan_and_locks_nobody_out(store: StoreKind) {
    let world = world(store, "").await;
    let browser = world.browser();
    let short = world.ask(&browser, ADA).await;
    spend(&world, ADA, 10).await;
    browser
        .enter_tan(&short, "/kfz")
        .await
        .is(200)
        .shows(LONG_NEEDED)
        .shows("NEUE TAN ANFORDERN");
    let before = world.postbox.mails().len();
    browser
        .post(TAN, &[("action", "resend")])
        .await
        .leads_to(TAN);
    let long = tan_of(&world.postbox.next(before).await);
    assert_eq!(long.len(), 10);
    browser.get(TAN).await.is(200).shows("10 Buchstaben");
    browser
        .enter_tan(&short, "/")
        .await
        .shows("Die TAN hat 10 Buchstaben, Ihre Eingabe hat 6.");
    browser
        .enter_tan(&not(&long, 0), "/")
        .await
        .shows("noch 4 Versuche");
    browser
        .enter_tan(&format!("{} {}", &long[..5], &long[5..]), "/")
        .await
        .leads_to("/");
    let other = world.browser();
    assert_eq!(
        world.ask(&other, BEN).await.len(),
        6,
        "other brokers notice nothing"
    );
}

async fn browsers_that_are_known_have_a_budget_of_their_own(store: StoreKind) {
    let world = world(store, "").await;
    let own = world.signed_in(ADA).await;
    own.post("/ui/login/de/abmelden", &[]).await.is(200);
    world.write_brokers(&format!("vtnr;email\n{};ada.neu@makler.example\n", ADA.0));
    world.log_has("directory reloaded").await;
    spend(&world, (ADA.0, "ada.neu@makler.example"), 10).await;
    let tan = world.ask(&own, (ADA.0, "ada.neu@makler.example")).await;
    assert_eq!(
        tan.len(),
        6,
        "a browser that was trusted keeps short TANs whatever strangers do"
    );
    own.enter_tan(&not(&tan, 0), "/")
        .await
        .shows("noch 4 Versuche");
    own.enter_tan(&tan, "/").await.leads_to("/");
}

async fn the_breaker_over_all_brokers_raises_an_alarm(store: StoreKind) {
    let world = world(store, "wrong_tans_all = \"5 in 24h\"").await;
    let waiting = world.browser();
    let short = world.ask(&waiting, BEN).await;
    spend(&world, ADA, 5).await;
    assert_eq!(
        world.metric("vtnr_gateway_tan_guess_breaker").await,
        0.0,
        "the budget is spent, and nobody asked for more"
    );
    waiting.enter_tan(&short, "/").await.shows(LONG_NEEDED);
    assert_eq!(world.metric("vtnr_gateway_tan_guess_breaker").await, 1.0);
    assert_eq!(
        world
            .metric("vtnr_gateway_tan_guess_breaker_trips_total")
            .await,
        1.0
    );
    world.log_has("\"tan_guess_breaker\"").await;
    assert_eq!(world.ask(&world.browser(), BEN).await.len(), 10);
}

#[tokio::test]
async fn all_spellings_of_a_number_share_one_counter() {
    let world = World::builder()
        .config("[limits]\nmail_pause = \"2 in 1h\"")
        .start()
        .await;
    world
        .browser()
        .claim("60/123/4567", ADA.1, "/")
        .await
        .leads_to(TAN);
    world
        .browser()
        .claim("60 123 4567", "ADA@makler.example", "/")
        .await
        .leads_to(TAN);
    world.browser().claim("601234567", ADA.1, "/").await.is(429);
    world
        .browser()
        .claim("６０-123-4567", ADA.1, "/")
        .await
        .is(429);
}

#[tokio::test]
async fn a_client_that_fails_too_often_is_told_when_to_come_back() {
    let world = World::builder()
        .config("[limits]\nfailures_client = \"3 in 1h\"\nvtnrs_client = \"100 in 1h\"")
        .start()
        .await;
    for _ in 0..3 {
        world
            .browser()
            .claim(ADA.0, "x@makler.example", "/")
            .await
            .leads_to("/ui/login/de/unbekannte-e-mail");
    }
    let refused = world.browser().claim(ADA.0, "y@makler.example", "/").await;
    refused
        .is(429)
        .shows("Zu viele Versuche")
        .shows("geht es ab");
    let after: u64 = refused.headers["retry-after"]
        .to_str()
        .expect("ASCII")
        .parse()
        .expect("seconds");
    assert!((3_500..=3_600).contains(&after), "{after}");
}

#[tokio::test]
async fn a_client_may_try_only_so_many_different_numbers_and_the_same_one_counts_once() {
    let world = World::builder()
        .config("[limits]\nvtnrs_client = \"2 in 1h\"")
        .start()
        .await;
    for _ in 0..4 {
        world
            .browser()
            .claim("60/900/0001", ADA.1, "/")
            .await
            .is(200);
        world
            .browser()
            .claim("60 900 0002", ADA.1, "/")
            .await
            .is(200);
    }
    world
        .browser()
        .claim("60/900/0003", ADA.1, "/")
        .await
        .is(429);
    world
        .browser()
        .claim("60/900/0001", ADA.1, "/")
        .await
        .is(200);
}

#[tokio::test]
async fn sign_ins_that_succeed_do_not_count() {
    let world = World::builder()
        .config("[limits]\nfailures_client = \"2 in 1h\"\nvtnrs_client = \"1 in 1h\"\nwrong_tans_client = \"1 in 24h\"")
        .start()
        .await;
    let (ada, ben) = (world.signed_in(ADA).await, world.signed_in(BEN).await);
    for _ in 0..4 {
        ada.claim(ADA.0, ADA.1, "/").await.leads_to("/");
        ben.claim(BEN.0, BEN.1, "/").await.leads_to("/");
    }
    world
        .browser()
        .claim("60/900/0001", ADA.1, "/")
        .await
        .is(200)
        .shows("ungültig");
}

#[tokio::test]
async fn a_browser_that_is_trusted_signs_in_whatever_others_at_its_address_did() {
    let world = World::builder()
        .config("[limits]\nfailures_client = \"1 in 1h\"")
        .start()
        .await;
    let ada = world.signed_in(ADA).await;
    world
        .browser()
        .claim("60/900/0001", ADA.1, "/")
        .await
        .is(200);
    world
        .browser()
        .claim("60/900/0001", ADA.1, "/")
        .await
        .is(429);
    ada.claim(ADA.0, ADA.1, "/").await.leads_to("/");
}

#[tokio::test]
async fn wrong_tans_of_one_client_are_limited_over_all_brokers() {
    let world = World::builder()
        .config("[limits]\nwrong_tans_client = \"3 in 24h\"")
        .start()
        .await;
    let (one, two) = (world.browser(), world.browser());
    let (first, second) = (world.ask(&one, ADA).await, world.ask(&two, BEN).await);
    one.enter_tan(&not(&first, 0), "/")
        .await
        .shows("noch 4 Versuche");
    one.enter_tan(&not(&first, 1), "/")
        .await
        .shows("noch 3 Versuche");
    two.enter_tan(&not(&second, 0), "/")
        .await
        .shows("noch 4 Versuche");
    two.enter_tan(&not(&second, 1), "/")
        .await
        .is(429)
        .shows("Zu viele Versuche");
    assert_eq!(compared(&world).await, 3.0);
}

#[tokio::test]
async fn the_way_without_e_mail_is_limited_and_touches_no_tan_budget() {
    let world = World::builder()
        .config("[limits]\nwithout_email_vtnr = \"2 in 1h\"")
        .start()
        .await;
    let press = async |browser: Browser| {
        browser
            .claim(ADA.0, "x@makler.example", "/")
            .await
            .leads_to("/ui/login/de/unbekannte-e-mail");
        browser
            .post(
                "/ui/login/de/unbekannte-e-mail",
                &[("action", "without-email")],
            )
            .await
    };
    press(world.browser()).await.leads_to("/");
    press(world.browser()).await.leads_to("/");
    let refused = press(world.browser()).await;
    refused.is(429).shows("Zu viele Versuche");
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(world.ask(&world.browser(), ADA).await.len(), 6);
}
