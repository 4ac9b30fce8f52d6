//! The cookie of a sign-in under way: a new one at each claim, and worth nothing to those who knew the former one; and what the form that
//! signed in is worth when it is sent once more.

use crate::support::world::{ADA, BEN, World, not};
use crate::support::{Browser, StoreKind, on_both_stores};
use futures_util::future::join_all;
use std::collections::BTreeSet;

const SIGN_IN: &str = "/ui/login/de/vtnr-login";
const TAN: &str = "/ui/login/de/tan";
const UNKNOWN_EMAIL: &str = "/ui/login/de/unbekannte-e-mail";
const LONG_NEEDED: &str = "Sie benötigen eine längere TAN";
/// Mails and the client's address set no limits here; the broker's budgets are the product's.
const FREE: &str = "[limits]\nmail_pause = \"1000 in 1s\"\nmail_burst = \"1000 in 1m\"\nmail_day = \"1000 in 24h\"\n\
                    wrong_tans_client = \"100000 in 24h\"\nfailures_client = \"100000 in 1h\"";
/// How many are sent at once.
const AT_ONCE: usize = 50;

on_both_stores!(
    after_a_sign_in_one_wrong_tan_is_compared_and_counted_and_the_right_one_is_worth_nothing_then,
    of_right_and_wrong_tans_at_once_after_a_sign_in_one_wrong_one_is_compared_at_most,
    a_hundred_right_tans_at_once_are_one_session,
    a_spent_budget_holds_after_a_sign_in_too,
    who_planted_the_cookie_sees_and_answers_nothing_of_what_is_claimed_then,
    who_claims_under_anothers_cookie_gets_a_sign_in_of_their_own,
    the_same_claim_keeps_the_tan_and_its_tries_under_a_new_cookie,
    tabs_that_claim_the_same_at_once_go_on_with_one_tan,
    a_claim_that_is_refused_sets_no_cookie_and_leaves_the_sign_in_under_way,
);

async fn world(store: StoreKind) -> World {
    World::builder()
        .store(store)
        .https()
        .listen("max_requests = 8192")
        .config(FREE)
        .start()
        .await
}

/// The gateway over HTTP/1.1 and over HTTP/2.
fn bases(world: &World) -> [String; 2] {
    [
        world.base(),
        format!(
            "https://localhost:{}",
            world.gateways[0].https.expect("https")
        ),
    ]
}

/// The cookie of the sign-in under way, and its name.
fn flow(browser: &Browser) -> (&'static str, String) {
    let find = |name| browser.cookie(name).map(|value| (name, value));
    find("__Host-vtnr_flow")
        .or_else(|| find("vtnr_flow"))
        .expect("a sign-in")
}

fn session(browser: &Browser) -> Option<String> {
    browser
        .cookie("__Host-vtnr_session")
        .or_else(|| browser.cookie("vtnr_session"))
}

/// Another browser that has this cookie of a sign-in.
fn with(base: &str, (name, value): &(&str, String)) -> Browser {
    let browser = Browser::new(base);
    browser.set_cookie(name, value);
    browser
}

async fn wrong(world: &World) -> f64 {
    world
        .metric("vtnr_gateway_sign_ins_total{outcome=\"wrong\",step=\"tan\"}")
        .await
}

async fn signed_in(world: &World) -> f64 {
    world
        .metric("vtnr_gateway_sessions_begun_total{level=\"full\"}")
        .await
}

async fn after_a_sign_in_one_wrong_tan_is_compared_and_counted_and_the_right_one_is_worth_nothing_then(
    store: StoreKind,
) {
    let world = world(store).await;
    for (base, broker, guesses) in bases(&world)
        .into_iter()
        .zip([ADA, BEN])
        .zip([3_000, 500])
        .map(|((a, b), c)| (a, b, c))
    {
        let (victim, before) = (Browser::new(&base), wrong(&world).await);
        let tan = world.ask(&victim, broker).await;
        let guesser = with(&base, &flow(&victim));
        victim.enter_tan(&tan, "/kfz").await.leads_to("/kfz");
        for first in (0..guesses).step_by(AT_ONCE) {
            let guesses: Vec<_> = (first..first + AT_ONCE)
                .map(|number| not(&tan, number))
                .collect();
            for answer in
                join_all(guesses.iter().map(|guess| guesser.enter_tan(guess, "/kfz"))).await
            {
                answer.is(200).shows("Anmelden mit Vermittlernummer");
                assert_eq!(answer.set_cookies(), [""; 0]);
            }
        }
        assert_eq!(wrong(&world).await, before + 1.0, "{base}");
        guesser
            .enter_tan(&tan, "/kfz")
            .await
            .is(200)
            .shows("Anmelden mit Vermittlernummer");
        assert_eq!(session(&guesser), None);
        victim.open("/").await.is(200);
        // It cost the broker's budget of ten: nine are left.
        for _ in 0..2 {
            let stranger = Browser::new(&base);
            let tan = world.ask(&stranger, broker).await;
            for number in 0..5 {
                stranger.enter_tan(&not(&tan, number), "/").await.is(200);
            }
        }
        assert_eq!(wrong(&world).await, before + 10.0, "{base}");
    }
}

async fn of_right_and_wrong_tans_at_once_after_a_sign_in_one_wrong_one_is_compared_at_most(
    store: StoreKind,
) {
    let world = world(store).await;
    for (base, broker) in bases(&world).into_iter().zip([ADA, BEN]) {
        let (victim, before) = (Browser::new(&base), wrong(&world).await);
        let tan = world.ask(&victim, broker).await;
        let known = flow(&victim);
        victim.enter_tan(&tan, "/").await.leads_to("/");
        let own = session(&victim).expect("a session");
        let answers = (0..100).map(|number| {
            let (tab, entered) = (
                victim.clone_with(&known),
                if number % 2 == 0 {
                    tan.clone()
                } else {
                    not(&tan, number)
                },
            );
            async move { (number, tab.enter_tan(&entered, "/").await, session(&tab)) }
        });
        for (number, answer, session) in join_all(answers).await {
            match session {
                Some(session) => assert_eq!((number % 2, session), (0, own.clone()), "{answer:?}"),
                None => assert!(answer.status == 200, "{answer:?}"),
            }
        }
        assert_eq!(wrong(&world).await, before + 1.0, "{base}");
    }
    assert_eq!(signed_in(&world).await, 2.0);
}

async fn a_hundred_right_tans_at_once_are_one_session(store: StoreKind) {
    let world = world(store).await;
    for (base, broker) in bases(&world).into_iter().zip([ADA, BEN]) {
        let browser = Browser::new(&base);
        let tan = world.ask(&browser, broker).await;
        let known = flow(&browser);
        let posts = (0..100).map(|_| {
            let (tab, tan) = (browser.clone_with(&known), tan.clone());
            async move {
                tab.enter_tan(&tan, "/kfz").await.leads_to("/kfz");
                session(&tab).expect("a session")
            }
        });
        let sessions: BTreeSet<_> = join_all(posts).await.into_iter().collect();
        assert_eq!(sessions.len(), 1, "{base}");
    }
    assert_eq!(
        (signed_in(&world).await, wrong(&world).await),
        (2.0, 0.0),
        "a right one costs nothing"
    );
}

async fn a_spent_budget_holds_after_a_sign_in_too(store: StoreKind) {
    let world = world(store).await;
    let victim = world.browser();
    let tan = world.ask(&victim, ADA).await;
    let guesser = with(&world.base(), &flow(&victim));
    victim.enter_tan(&tan, "/").await.leads_to("/");
    for _ in 0..2 {
        let stranger = world.browser();
        let tan = world.ask(&stranger, ADA).await;
        for number in 0..5 {
            stranger
                .enter_tan(&not(&tan, number), "/")
                .await
                .is(200)
                .hides(LONG_NEEDED);
        }
    }
    assert_eq!(wrong(&world).await, 10.0);
    // Right and wrong ones get the same answer, and no session.
    for entered in [not(&tan, 0), tan.clone(), not(&tan, 1)] {
        guesser.enter_tan(&entered, "/").await.leads_to(SIGN_IN);
        assert_eq!(session(&guesser), None);
    }
    assert_eq!(wrong(&world).await, 10.0);
}

async fn who_planted_the_cookie_sees_and_answers_nothing_of_what_is_claimed_then(store: StoreKind) {
    let world = world(store).await;
    for base in bases(&world) {
        for has_tan in [true, false] {
            let attacker = Browser::new(&base);
            if has_tan {
                world.ask(&attacker, BEN).await;
            } else {
                attacker
                    .claim(BEN.0, "evil@evil.example", "/")
                    .await
                    .leads_to(UNKNOWN_EMAIL);
            }
            let planted = flow(&attacker);
            let victim = with(&base, &planted);
            let tan = world.ask(&victim, ADA).await;
            assert_ne!(flow(&victim), planted);
            nothing_for(&attacker, &planted, &tan).await;
            victim.get(TAN).await.shows(ADA.1);
            victim.enter_tan(&tan, "/kfz").await.leads_to("/kfz");
            nothing_for(&attacker, &planted, &tan).await;
            victim
                .post("/ui/login/de/abmelden", &[("forget_browser", "1")])
                .await
                .is(200);
            // Nor does a claim that leads to no TAN give anything away.
            let victim = with(&base, &planted);
            victim
                .claim(ADA.0, "ada@privat.example", "/")
                .await
                .leads_to(UNKNOWN_EMAIL);
            assert_ne!(flow(&victim), planted);
            nothing_for(&attacker, &planted, &tan).await;
        }
    }
}

/// Whoever has this cookie sees nothing of Ada and gets no session.
async fn nothing_for(attacker: &Browser, planted: &(&str, String), tan: &str) {
    attacker.set_cookie(planted.0, &planted.1);
    for page in [TAN, UNKNOWN_EMAIL, SIGN_IN] {
        let shown = attacker.get(page).await;
        // Her number is the example at its field.
        let number = format!("value=\"{}\"", ADA.0);
        assert!(
            !shown.body.contains("ada@") && !shown.body.contains(&number),
            "{page}: {}",
            shown.body
        );
    }
    let status = attacker.fetch("/ui/login/de/status").await;
    assert!(status.body.contains("\"mail\":\"none\""), "{status:?}");
    for form in [[("tan", tan)], [("action", "resend")]] {
        assert_ne!(
            attacker.post(TAN, &form).await.location().as_deref(),
            Some("/")
        );
    }
    attacker
        .post(UNKNOWN_EMAIL, &[("action", "without-email")])
        .await;
    assert_eq!(session(attacker), None);
}

async fn who_claims_under_anothers_cookie_gets_a_sign_in_of_their_own(store: StoreKind) {
    let world = world(store).await;
    for base in bases(&world) {
        let victim = Browser::new(&base);
        let tan = world.ask(&victim, ADA).await;
        let known = flow(&victim);
        let attacker = with(&base, &known);
        let own = world.ask(&attacker, BEN).await;
        assert_ne!(flow(&attacker), known);
        attacker
            .enter_tan(&tan, "/")
            .await
            .shows("Diese TAN ist falsch");
        // The victim's attempt is over, and its page says nothing of the attacker's.
        victim
            .get(TAN)
            .await
            .hides(BEN.1)
            .shows("Ihre Anmeldung hat zu lange gedauert");
        for tan in [&tan, &own] {
            victim
                .enter_tan(tan, "/")
                .await
                .shows("Anmelden mit Vermittlernummer");
            assert_eq!(session(&victim), None);
        }
        let tan = world.ask(&victim, ADA).await;
        victim.enter_tan(&tan, "/").await.leads_to("/");
    }
}

async fn the_same_claim_keeps_the_tan_and_its_tries_under_a_new_cookie(store: StoreKind) {
    let world = World::builder().store(store).start().await;
    let browser = world.browser();
    let tan = world.ask(&browser, ADA).await;
    let mut former = vec![flow(&browser)];
    for (number, left) in [
        "noch 4 Versuche",
        "noch 3 Versuche",
        "noch 2 Versuche",
        "noch einen Versuch",
    ]
    .into_iter()
    .enumerate()
    {
        browser.enter_tan(&not(&tan, number), "/").await.shows(left);
        browser.claim("601234567", ADA.1, "/").await.leads_to(TAN);
        assert!(
            !former.contains(&flow(&browser)),
            "a new token at each claim"
        );
        former.push(flow(&browser));
    }
    former.pop();
    for known in &former {
        let thief = with(&world.base(), known);
        thief
            .enter_tan(&tan, "/")
            .await
            .is(200)
            .shows("Anmelden mit Vermittlernummer");
        assert_eq!(session(&thief), None);
    }
    browser.enter_tan(&tan, "/kfz").await.leads_to("/kfz");
    assert_eq!((world.mails().await.len(), wrong(&world).await), (1, 4.0));
}

/// The second of two clicks comes with the cookie that the first one has replaced: at the same time, or a moment later.
async fn tabs_that_claim_the_same_at_once_go_on_with_one_tan(store: StoreKind) {
    let world = World::builder().store(store).start().await;
    let browser = world.browser();
    let tan = world.ask(&browser, ADA).await;
    let former = flow(&browser);
    let tabs: Vec<_> = (0..20).map(|_| browser.clone_with(&former)).collect();
    for answer in join_all(tabs.iter().map(|tab| tab.claim(ADA.0, ADA.1, "/kfz"))).await {
        answer.leads_to("/ui/login/de/tan?return_to=%2Fkfz");
    }
    let late = browser.clone_with(&former);
    late.claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
    let cookies: BTreeSet<_> = tabs.iter().chain([&late]).map(flow).collect();
    assert!(
        cookies.len() == 1 && !cookies.contains(&former),
        "{cookies:?}"
    );
    // For another claim the former cookie leads nowhere.
    let other = browser.clone_with(&former);
    other.claim(BEN.0, BEN.1, "/").await.leads_to(TAN);
    assert!(!cookies.contains(&flow(&other)));
    tabs[7].enter_tan(&tan, "/kfz").await.leads_to("/kfz");
    assert_eq!(world.mails().await.len(), 2, "one for Ada, one for Ben");
}

async fn a_claim_that_is_refused_sets_no_cookie_and_leaves_the_sign_in_under_way(store: StoreKind) {
    let world = World::builder().store(store).start().await;
    world.ask(&world.browser(), ADA).await;
    let browser = world.browser();
    let tan = world.ask(&browser, BEN).await;
    let own = flow(&browser);
    for (vtnr, email, status) in [
        (ADA.0, ADA.1, 429),
        ("60/999/9999", ADA.1, 200),
        ("60/1", ADA.1, 200),
        (ADA.0, "ada", 200),
    ] {
        let answer = browser.claim(vtnr, email, "/").await;
        assert_eq!(
            (answer.status.as_u16(), answer.set_cookies()),
            (status, vec![]),
            "{vtnr} {email}"
        );
        assert_eq!(flow(&browser), own);
    }
    browser.enter_tan(&tan, "/kfz").await.leads_to("/kfz");
}
