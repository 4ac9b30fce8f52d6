//! User key and password: who comes in, what is counted, and that nobody is locked out by a stranger.

use crate::support;
use crate::support::browser::page;
use crate::support::users::{ADA_KEY, BEN_KEY, COST, NO_KEY, PAGE, UsersFile};
use crate::support::world::{ADA, BEN, MOMENT, NO_EMAIL, World};
use crate::support::{Answer, Browser, StoreKind, eventually, on_both_stores};
use futures_util::future::join_all;
use std::process::Command;
use vtnr_gateway::config::HashCost;

const SIGN_IN: &str = "/ui/login/de/vtnr-login";
const TAN: &str = "/ui/login/de/tan";
const SIGN_OUT: &str = "/ui/login/de/abmelden";
const WRONG: &str = "Benutzerschlüssel oder Passwort ist falsch.";
const SPENT: &str = "Zu viele falsche Passwörter";
/// What a client's address does sets no limits; the budgets of the user key are the product's.
const FREE: &str = "[limits]\nfailures_client = \"100000 in 1h\"\nmail_pause = \"100 in 1s\"\nmail_burst = \"100 in 1s\"";

on_both_stores!(
    the_password_opens_the_deep_link_and_the_antragsversand,
    a_wrong_password_and_an_unknown_user_get_the_same_answer,
    all_spellings_and_all_addresses_share_the_budget_of_a_user_key,
    a_browser_that_is_known_goes_on_when_strangers_have_spent_the_budget,
    of_a_hundred_wrong_passwords_at_once_as_many_are_told_as_the_budget_allows,
    a_password_is_no_trust_and_trust_is_no_password,
);

async fn world(store: StoreKind, users: &UsersFile) -> World {
    users.world(COST).store(store).config(FREE).start().await
}

/// Sign-ins with a password that ended so, by the gateway's own count.
async fn counted(world: &World, outcome: &str) -> f64 {
    world
        .metric(&format!(
            "vtnr_gateway_sign_ins_total{{outcome=\"{outcome}\",step=\"password\"}}"
        ))
        .await
}

/// Passwords that were hashed, by the gateway's own count.
async fn hashed(world: &World) -> f64 {
    world
        .metric("vtnr_gateway_password_hash_seconds_count")
        .await
}

/// Enters a wrong password as many times as this.
async fn guess(browser: &Browser, user: &str, times: usize) {
    for n in 0..times {
        browser
            .enter_password((user, &format!("falsch {n}")), "/")
            .await
            .is(200)
            .shows(WRONG);
    }
}

async fn the_password_opens_the_deep_link_and_the_antragsversand(store: StoreKind) {
    let users = UsersFile::of_two();
    let world = world(store, &users).await;
    let browser = world.browser();
    let first = browser.get("/kfz/angebot?id=42").await;
    let link = first.href_of("Anmelden mit Benutzerschlüssel und Passwort");
    assert_eq!(link.split('?').next(), Some(PAGE));
    let form = browser.open(&link).await;
    form.is(200)
        .shows("Anmelden mit Benutzerschlüssel und Passwort")
        .shows("ANMELDEN");
    assert_eq!(form.set_cookies(), [""; 0], "a look changes nothing");
    assert_eq!(
        form.href_of("Anmelden mit Vermittlernummer"),
        page("vtnr-login", "/kfz/angebot?id=42").replace("%2F", "/")
    );
    let (user, password) = ADA_KEY;
    browser
        .post(&link, &[("user", user), ("password", password)])
        .await
        .leads_to("/kfz/angebot?id=42");
    browser.open("/kfz/angebot?id=42").await.is(200);
    browser
        .post("/antrag/versand", &[("angebot", "42")])
        .await
        .is(200);
    let seen = world.calculator.requests();
    let sent = seen.last().expect("a request");
    assert_eq!(
        (&sent.headers["x-vtnr"], &sent.headers["x-vtnr-level"]),
        (
            &ADA.0.parse().expect("a value"),
            &"full".parse().expect("a value")
        )
    );
    let cookies = |request: &demo::calculator::SeenRequest| {
        format!("{:?}", request.headers.get_all("cookie"))
    };
    assert!(
        seen.iter()
            .all(|request| !cookies(request).contains("vtnr_")),
        "no cookie of ours goes up"
    );
    browser.open(PAGE).await.leads_to("/");
    browser.open(&link).await.leads_to("/kfz/angebot?id=42");
    assert_eq!(
        (world.mails().await.len(), counted(&world, "ok").await),
        (0, 1.0)
    );
    let audited = world
        .log()
        .await
        .lines()
        .any(|line| line.contains("\"step\":\"password\"") && line.contains("\"broker\":"));
    assert!(audited, "the audit log names the broker by a pseudonym");
}

/// What must be the same, whoever asked: all but the date and what was typed.
fn alike(answer: &Answer, user: &str) -> (u16, Vec<(String, Vec<u8>)>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "date");
    let mut headers: Vec<_> = headers
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect();
    headers.sort();
    (
        answer.status.as_u16(),
        headers,
        answer.body.replace(user, "…"),
    )
}

async fn a_wrong_password_and_an_unknown_user_get_the_same_answer(store: StoreKind) {
    let users = UsersFile::of_two();
    // With the second, every claim gets the same answer on the first page; here there is no difference anyway.
    for enumeration in ["open", "neutral"] {
        let neutral = format!("[login]\nenumeration = \"{enumeration}\"");
        let world = users
            .world(COST)
            .store(store)
            .config(FREE)
            .config(&neutral)
            .start()
            .await;
        let ask = async |user: &str| {
            alike(
                &world
                    .browser()
                    .enter_password((user, "falsch"), "/kfz?x=1")
                    .await,
                user,
            )
        };
        // As long as Ada's, since the page says it again.
        let (unknown, other) = (ask("loewe7").await, ask("wolf77").await);
        assert_eq!(unknown, other);
        assert_eq!(
            hashed(&world).await,
            2.0,
            "for nobody a password is hashed as for anybody"
        );
        let wrong = world
            .browser()
            .enter_password((ADA_KEY.0, "falsch"), "/")
            .await;
        let nobody = world
            .browser()
            .enter_password((NO_KEY, "falsch"), "/")
            .await;
        assert_eq!(alike(&wrong, ADA_KEY.0).0, 200);
        assert_eq!(alike(&wrong, ADA_KEY.0).2, alike(&nobody, NO_KEY).2);
        assert_eq!(hashed(&world).await, 4.0);
        assert_eq!(
            (wrong.field("user"), wrong.field("password")),
            (ADA_KEY.0.into(), String::new()),
            "the user key is kept"
        );
        for browser in [world.browser(), world.browser()] {
            guess(&browser, NO_KEY, 1).await;
            guess(&browser, "Löwe-7", 1).await;
        }
        // Whoever is not in the directory any more is nobody, whatever the password.
        world.write_brokers(&format!("vtnr;email\n{};{}\n", BEN.0, BEN.1));
        world.log_has("directory reloaded").await;
        let gone = world.browser().enter_password(ADA_KEY, "/").await;
        assert_eq!(alike(&gone, ADA_KEY.0).2, alike(&nobody, NO_KEY).2);
        world
            .browser()
            .enter_password(BEN_KEY, "/")
            .await
            .leads_to("/");
    }
}

async fn all_spellings_and_all_addresses_share_the_budget_of_a_user_key(store: StoreKind) {
    let users = UsersFile::of_two();
    let world = users
        .world(COST)
        .store(store)
        .listen("trusted_proxies = [\"127.0.0.1\"]")
        .start()
        .await;
    let from = async |n: usize, user: &str, password: &str| {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("user", user), ("password", password)])
            .finish();
        let headers = [
            ("x-forwarded-for", format!("203.0.113.{n}")),
            ("accept", "text/html".into()),
            ("content-type", "application/x-www-form-urlencoded".into()),
        ];
        world
            .browser()
            .send(reqwest::Method::POST, PAGE, &headers, Some(body.into()))
            .await
    };
    for spellings in [
        [
            "Löwe-7",
            "LÖWE-7",
            " löwe-7 ",
            "lo\u{308}we-\u{ff17}",
            "Ｌöwe-7",
        ],
        ["Wolf-7", "WOLF-7", " wolf-7", "wolf-\u{ff17}", "Ｗolf-7"],
    ] {
        for n in 0..10 {
            from(n, spellings[n % 5], &format!("falsch {n}"))
                .await
                .is(200)
                .shows(WRONG);
        }
        let spent = from(99, spellings[2], ADA_KEY.1).await;
        spent
            .is(429)
            .shows(SPENT)
            .shows("Haben Sie sich in einem anderen Browser schon einmal");
        assert_eq!(spent.href_of("MIT VERMITTLERNUMMER ANMELDEN"), SIGN_IN);
        let seconds: u64 = spent.headers["retry-after"]
            .to_str()
            .expect("ASCII")
            .parse()
            .expect("seconds");
        assert!((80_000..=86_400).contains(&seconds), "{seconds}");
    }
    from(99, BEN_KEY.0, BEN_KEY.1).await.leads_to("/");
    assert_eq!(
        (
            counted(&world, "wrong").await,
            counted(&world, "over_limit").await
        ),
        (20.0, 2.0)
    );
    assert_eq!(
        hashed(&world).await,
        21.0,
        "once the budget is spent none is hashed"
    );
    // The methods that remain.
    world.signed_in(ADA).await.open("/").await.is(200);
}

async fn a_browser_that_is_known_goes_on_when_strangers_have_spent_the_budget(store: StoreKind) {
    let users = UsersFile::of_two();
    let world = world(store, &users).await;
    let own = world.browser();
    own.enter_password(ADA_KEY, "/").await.leads_to("/");
    let first = own.cookie("vtnr_device").expect("the browser is known");
    own.post(SIGN_OUT, &[]).await.is(200);
    guess(&world.browser(), ADA_KEY.0, 10).await;
    world
        .browser()
        .enter_password(ADA_KEY, "/")
        .await
        .is(429)
        .shows(SPENT);
    own.enter_password(ADA_KEY, "/").await.leads_to("/");
    assert_ne!(
        own.cookie("vtnr_device").expect("the browser is known"),
        first,
        "each sign-in has a token of its own"
    );
    let thief = world.browser();
    thief.set_cookie("vtnr_device", &first);
    thief.enter_password(ADA_KEY, "/").await.is(429);
    // Known for Ada is not known for Ben.
    guess(&world.browser(), BEN_KEY.0, 10).await;
    own.post(SIGN_OUT, &[]).await.is(200);
    own.enter_password(BEN_KEY, "/").await.is(429);
    // And its own budget has an end too.
    guess(&own, ADA_KEY.0, 10).await;
    own.enter_password(ADA_KEY, "/")
        .await
        .is(429)
        .shows(SPENT)
        .hides("in einem anderen Browser schon einmal");
}

async fn of_a_hundred_wrong_passwords_at_once_as_many_are_told_as_the_budget_allows(
    store: StoreKind,
) {
    let users = UsersFile::of_two();
    let gateways = if store == StoreKind::Redis { 2 } else { 1 };
    let world = users
        .world(COST)
        .store(store)
        .config(FREE)
        .gateways(gateways);
    let queue = "[password]\nqueue = 200";
    let world = (0..gateways)
        .fold(world, |world, number| world.config_of(number, queue))
        .start()
        .await;
    let bases: Vec<_> = world.gateways.iter().map(support::Gateway::base).collect();
    let guesses = (0..100).map(|n| {
        let browser = world.browser().at(&bases[n % gateways]);
        async move {
            browser
                .enter_password((ADA_KEY.0, &format!("falsch {n}")), "/")
                .await
        }
    });
    let answers = join_all(guesses).await;
    let told = |status: u16, words: &str| {
        answers
            .iter()
            .filter(|answer| answer.status == status && answer.text().contains(words))
            .count()
    };
    assert_eq!((told(200, WRONG), told(429, SPENT)), (10, 90));
    for base in &bases {
        world
            .browser()
            .at(base)
            .enter_password(ADA_KEY, "/")
            .await
            .is(429)
            .shows(SPENT);
    }
}

async fn a_password_is_no_trust_and_trust_is_no_password(store: StoreKind) {
    let users = UsersFile::of_two();
    let world = world(store, &users).await;
    let browser = world.browser();
    browser.enter_password(ADA_KEY, "/").await.leads_to("/");
    assert_eq!(browser.cookie("vtnr_trust"), None);
    browser.post(SIGN_OUT, &[]).await.is(200);
    let tan = world.ask(&browser, ADA).await;
    browser.enter_tan(&tan, "/").await.leads_to("/");
    let trust = browser.cookie("vtnr_trust").expect("trust");
    browser.post(SIGN_OUT, &[]).await.is(200);
    browser.enter_password(ADA_KEY, "/").await.leads_to("/");
    assert_eq!(
        browser.cookie("vtnr_trust"),
        Some(trust),
        "the 30 days stay as they are"
    );
    browser.post(SIGN_OUT, &[]).await.is(200);
    browser.claim(ADA.0, ADA.1, "/").await.leads_to("/");
    // A browser that confirmed the address is a stranger for the user key, and the cookies do not stand for each other.
    let trusted = world.signed_in(ADA).await;
    trusted.post(SIGN_OUT, &[]).await.is(200);
    trusted.set_cookie("vtnr_device", &trusted.cookie("vtnr_trust").expect("trust"));
    guess(&world.browser(), ADA_KEY.0, 10).await;
    trusted.enter_password(ADA_KEY, "/").await.is(429);
    let known = world.browser();
    known.set_cookie(
        "vtnr_trust",
        &browser.cookie("vtnr_device").expect("the browser is known"),
    );
    known.claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
}

#[tokio::test]
async fn without_the_section_there_is_no_such_door() {
    let world = World::start().await;
    let browser = world.browser();
    browser.open(PAGE).await.is(404);
    browser.enter_password(ADA_KEY, "/").await.is(404);
    browser
        .open(SIGN_IN)
        .await
        .is(200)
        .hides("Benutzerschlüssel");
}

#[tokio::test]
async fn what_can_be_nobodys_costs_no_try_and_says_what_is_missing() {
    let users = UsersFile::of_two();
    let world = world(StoreKind::Redis, &users).await;
    let browser = world.browser();
    let (no_user, no_password) = (
        "Bitte geben Sie Ihren Benutzerschlüssel ein.",
        "Bitte geben Sie Ihr Passwort ein.",
    );
    for _ in 0..12 {
        browser
            .enter_password(("", ""), "/")
            .await
            .is(200)
            .shows(no_user)
            .shows(no_password);
        browser
            .enter_password(("  ", "x"), "/")
            .await
            .is(200)
            .shows(no_user)
            .hides(no_password);
        browser
            .enter_password((ADA_KEY.0, ""), "/")
            .await
            .is(200)
            .shows(no_password)
            .hides(no_user);
        browser
            .enter_password((ADA_KEY.0, &"x".repeat(1_025)), "/")
            .await
            .is(200)
            .shows("Dieses Passwort ist zu lang.");
        browser
            .enter_password((&"x".repeat(500), "x"), "/")
            .await
            .is(200)
            .shows(WRONG);
    }
    assert_eq!(counted(&world, "malformed").await, 60.0);
    // Blanks belong to a password, and composed characters are those of the file.
    browser
        .enter_password((BEN_KEY.0, BEN_KEY.1.trim()), "/")
        .await
        .is(200)
        .shows(WRONG);
    browser.enter_password(BEN_KEY, "/").await.leads_to("/");
    world
        .browser()
        .enter_password(
            ("lo\u{308}we-7", "Ein langer Satz u\u{308}ber Lo\u{308}wen"),
            "/",
        )
        .await
        .leads_to("/");
    browser
        .send(reqwest::Method::DELETE, PAGE, &[], None)
        .await
        .is(405);
}

#[tokio::test]
async fn other_peoples_failures_at_an_address_end_the_guessing_and_not_a_known_browsers_work() {
    let users = UsersFile::of_two();
    let world = users
        .world(COST)
        .config("[limits]\nfailures_client = \"3 in 1h\"")
        .start()
        .await;
    let own = world.browser();
    for _ in 0..5 {
        own.enter_password(ADA_KEY, "/").await.leads_to("/");
        own.post(SIGN_OUT, &[]).await.is(200);
        world
            .browser()
            .enter_password(BEN_KEY, "/")
            .await
            .leads_to("/");
    }
    for n in 0..3 {
        guess(&world.browser(), &format!("nobody-{n}"), 1).await;
    }
    world
        .browser()
        .enter_password(BEN_KEY, "/")
        .await
        .is(429)
        .hides(SPENT);
    own.enter_password(ADA_KEY, "/").await.leads_to("/");
}

#[tokio::test]
async fn a_form_that_was_posted_too_late_goes_out_once_after_the_password() {
    let users = UsersFile::of_two();
    let world = world(StoreKind::Redis, &users).await;
    let browser = world.browser();
    let late = browser
        .post_body(
            "/kfz/angebot",
            "application/x-www-form-urlencoded",
            "typ=kombi",
        )
        .await;
    late.is(401);
    let back = late.href_of("ZUR ANMELDUNG");
    let link = browser
        .open(&back)
        .await
        .href_of("Anmelden mit Benutzerschlüssel und Passwort");
    let answer = browser
        .post(&link, &[("user", ADA_KEY.0), ("password", ADA_KEY.1)])
        .await;
    let kept = browser.follow(answer).await;
    browser.press(&kept, "Eingabe jetzt absenden").await.is(200);
    let sent = world.calculator.requests();
    assert_eq!(
        sent.iter()
            .filter(|request| request.method == "POST")
            .count(),
        1
    );
}

#[tokio::test]
async fn an_application_that_was_blocked_goes_out_once_after_the_password_of_the_same_broker() {
    let users = UsersFile::of_two();
    users.add(("cem", BEN_KEY.1), NO_EMAIL, COST);
    let world = world(StoreKind::Redis, &users).await;
    let browser = world.signed_in_without_email().await;
    let blocked = browser
        .post_body(
            "/antrag/versand",
            "application/x-www-form-urlencoded",
            "angebot=42",
        )
        .await;
    let link = blocked
        .is(403)
        .href_of("Anmelden mit Benutzerschlüssel und Passwort");
    // Another broker's user key does not send it.
    let other = browser
        .post(&link, &[("user", ADA_KEY.0), ("password", ADA_KEY.1)])
        .await;
    browser.follow(other).await.is(403).shows("60/123/4567");
    let own = browser
        .post(&link, &[("user", "cem"), ("password", BEN_KEY.1)])
        .await;
    let kept = browser.follow(own).await;
    browser.press(&kept, "Eingabe jetzt absenden").await.is(200);
    browser.press(&kept, "Eingabe jetzt absenden").await.is(409);
    let sent = world.calculator.requests();
    assert_eq!(
        sent.iter()
            .filter(|request| request.method == "POST")
            .count(),
        1
    );
}

#[tokio::test]
async fn a_session_without_submission_becomes_a_full_one_with_another_token() {
    let users = UsersFile::of_two();
    let world = world(StoreKind::Redis, &users).await;
    let browser = world.signed_in_without_email().await;
    let (before, other_tab) = (
        browser.cookie("vtnr_session").expect("a session"),
        world.browser(),
    );
    other_tab.set_cookie("vtnr_session", &before);
    browser
        .open(PAGE)
        .await
        .is(200)
        .shows("Anmelden mit Benutzerschlüssel und Passwort");
    browser.enter_password(ADA_KEY, "/").await.leads_to("/");
    assert_ne!(browser.cookie("vtnr_session"), Some(before));
    browser
        .post("/antrag/versand", &[("angebot", "42")])
        .await
        .is(200);
    other_tab.open("/").await.leads_to(SIGN_IN);
}

#[tokio::test]
async fn a_tan_that_was_asked_for_is_of_no_use_after_the_password() {
    let users = UsersFile::of_two();
    let world = world(StoreKind::Redis, &users).await;
    let browser = world.browser();
    let tan = world.ask(&browser, BEN).await;
    let flow = browser.cookie("vtnr_flow").expect("a sign-in");
    browser.enter_password(ADA_KEY, "/").await.leads_to("/");
    assert_eq!(browser.cookie("vtnr_flow"), None);
    let tab = world.browser();
    tab.set_cookie("vtnr_flow", &flow);
    tab.enter_tan(&tan, "/")
        .await
        .shows("Anmelden mit Vermittlernummer");
}

#[tokio::test]
async fn hashes_with_other_parameters_are_renewed_at_the_sign_in() {
    let users = UsersFile::of_two();
    let stronger = HashCost {
        memory: 128,
        iterations: 2,
        lanes: 1,
    };
    let world = users.world(stronger).config(FREE).start().await;
    let before = users.text();
    let ben = before
        .lines()
        .find(|line| line.starts_with("ben;"))
        .expect("Ben")
        .to_owned();
    guess(&world.browser(), ADA_KEY.0, 1).await;
    assert_eq!(users.text(), before, "a wrong password changes nothing");
    world
        .browser()
        .enter_password(ADA_KEY, "/")
        .await
        .leads_to("/");
    let after = users.text();
    assert!(
        after.contains("Löwe-7;60/123/4567;$argon2id$v=19$m=128,t=2,p=1$") && after.contains(&ben),
        "{after}"
    );
    world.log_has("users file loaded").await;
    world
        .browser()
        .enter_password(ADA_KEY, "/")
        .await
        .leads_to("/");
    assert_eq!(users.text(), after);
}

#[tokio::test]
async fn changed_users_come_into_force_and_a_bad_file_leaves_the_former_ones() {
    let users = UsersFile::of_two();
    let world = world(StoreKind::Redis, &users).await;
    let ada = world.browser();
    ada.enter_password(ADA_KEY, "/").await.leads_to("/");
    let sound = users.text();
    users.replace("user;vtnr;hash\nnonsense;1;2\n");
    eventually("it was judged", async || {
        (world
            .metric("vtnr_gateway_users_reload_failures_total")
            .await
            >= 1.0)
            .then_some(())
    })
    .await;
    world.metric_is("vtnr_gateway_users_reload_ok", 0.0).await;
    assert_eq!(world.metric("vtnr_gateway_users").await, 2.0);
    world.log_has("line 2: not a VTNR").await;
    assert!(!world.log().await.contains("nonsense"));
    world
        .browser()
        .enter_password(BEN_KEY, "/")
        .await
        .leads_to("/");
    let without_ada: String = sound
        .lines()
        .filter(|line| !line.starts_with("Löwe"))
        .map(|line| format!("{line}\n"))
        .collect();
    users.replace(&without_ada);
    eventually("Ada has no user key any more", async || {
        (world.metric("vtnr_gateway_users").await == 1.0).then_some(())
    })
    .await;
    world
        .browser()
        .enter_password(ADA_KEY, "/")
        .await
        .is(200)
        .shows(WRONG);
    world.metric_is("vtnr_gateway_users_reload_ok", 1.0).await;
    ada.open("/").await.leads_to(SIGN_IN);
    let ben = world.browser();
    ben.enter_password(BEN_KEY, "/").await.leads_to("/");
    // Ben's user key goes to another broker: that session is nobody's any more either.
    users.replace(&without_ada.replace(BEN.0, ADA.0));
    eventually("Ben is another broker's", async || {
        ben.open("/").await.location().filter(|to| to == SIGN_IN)
    })
    .await;
    ben.enter_password(BEN_KEY, "/").await.leads_to("/");
    let revoked = Command::new(env!("CARGO_BIN_EXE_vtnr-gateway"))
        .args(["revoke", "--config"])
        .arg(world.gateways[0].config())
        .arg(ADA.0)
        .output()
        .expect("it runs");
    assert!(revoked.status.success(), "{revoked:?}");
    eventually("the session is dead", async || {
        ben.open("/").await.location().filter(|to| to == SIGN_IN)
    })
    .await;
}

#[tokio::test]
async fn a_signal_has_the_users_read_at_once() {
    let users = UsersFile::of_two();
    let world = users.world(COST).slow_to_look().start().await;
    users.add(("cem", BEN_KEY.1), BEN.0, COST);
    tokio::time::sleep(MOMENT).await;
    world
        .browser()
        .enter_password(("cem", BEN_KEY.1), "/")
        .await
        .is(200)
        .shows(WRONG);
    world.gateways[0].signal("HUP");
    eventually("Cem is known", async || {
        world
            .browser()
            .enter_password(("cem", BEN_KEY.1), "/")
            .await
            .location()
            .filter(|to| to == "/")
    })
    .await;
}

#[tokio::test]
async fn a_revoked_broker_is_a_stranger_in_every_browser() {
    let users = UsersFile::of_two();
    let world = world(StoreKind::Redis, &users).await;
    let browser = world.browser();
    browser.enter_password(ADA_KEY, "/").await.leads_to("/");
    let revoked = Command::new(env!("CARGO_BIN_EXE_vtnr-gateway"))
        .args(["revoke", "--config"])
        .arg(world.gateways[0].config())
        .arg(ADA.0)
        .output()
        .expect("it runs");
    assert!(revoked.status.success(), "{revoked:?}");
    guess(&world.browser(), ADA_KEY.0, 10).await;
    browser.enter_password(ADA_KEY, "/").await.is(429);
}

#[tokio::test]
async fn signing_out_ends_the_session_and_forgetting_the_browser_what_it_is_known_by() {
    let users = UsersFile::of_two();
    let world = world(StoreKind::Redis, &users).await;
    let browser = world.browser();
    browser.enter_password(ADA_KEY, "/").await.leads_to("/");
    let device = browser.cookie("vtnr_device").expect("the browser is known");
    let page = browser.open(SIGN_OUT).await;
    page.shows("Sie sind mit der Vermittlernummer 60/123/4567 angemeldet.")
        .shows("180 Tage")
        .hides("TAN");
    browser
        .post(SIGN_OUT, &[("forget_browser", "1")])
        .await
        .is(200)
        .shows("Diesen Browser haben wir vergessen.")
        .hides("TAN");
    assert_eq!(
        (
            browser.cookie("vtnr_session"),
            browser.cookie("vtnr_device")
        ),
        (None, None)
    );
    browser.open("/").await.leads_to(SIGN_IN);
    browser.set_cookie("vtnr_device", &device);
    guess(&world.browser(), ADA_KEY.0, 10).await;
    browser.enter_password(ADA_KEY, "/").await.is(429);
}

#[tokio::test]
async fn while_the_store_is_down_nobody_is_told_anything() {
    let users = UsersFile::of_two();
    let world = users.world(COST).store(StoreKind::OwnRedis).start().await;
    let browser = world.browser();
    world
        .redis
        .as_ref()
        .expect("a redis-server")
        .lock()
        .expect("no panic")
        .kill();
    eventually("it is down", async || {
        (browser.enter_password(ADA_KEY, "/").await.status == 503).then_some(())
    })
    .await;
    for claim in [ADA_KEY, (ADA_KEY.0, "falsch"), (NO_KEY, "falsch")] {
        let answer = browser.enter_password(claim, "/").await;
        answer.is(503).shows("können wir gerade niemanden anmelden");
        assert!(answer.headers.contains_key("retry-after") && answer.set_cookies().is_empty());
    }
}

/// Who may have waited for long knew nothing of what came meanwhile.
#[tokio::test]
async fn a_password_that_waits_while_its_broker_is_revoked_opens_nothing_that_lasts() {
    let users = UsersFile::of_two();
    users.add(
        ("cem", BEN_KEY.1),
        BEN.0,
        HashCost {
            memory: 64 * 1_024,
            iterations: 10,
            lanes: 1,
        },
    );
    let world = users
        .world(COST)
        .config(FREE)
        .config_of(0, "[password]\nhashers = 1\nqueue = 8")
        .start()
        .await;
    let (first, second) = (world.browser(), world.browser());
    let (before, waiting) = (first.at(&world.base()), second.at(&world.base()));
    let both = tokio::spawn(async move {
        let key = ("cem", BEN_KEY.1);
        tokio::join!(
            before.enter_password(key, "/"),
            waiting.enter_password(key, "/")
        )
    });
    eventually("one waits for the other", async || {
        (world.metric("vtnr_gateway_passwords_waiting").await >= 1.0).then_some(())
    })
    .await;
    let mut revoke = Command::new(env!("CARGO_BIN_EXE_vtnr-gateway"));
    let revoke = revoke
        .args(["revoke", "--config"])
        .arg(world.gateways[0].config())
        .arg(BEN.0);
    assert!(revoke.status().expect("it runs").success());
    assert!(!both.is_finished(), "they were at it while that was done");
    both.await.expect("no panic");
    for browser in [first, second] {
        browser.fetch("/").await.is(401);
    }
}

/// A hash that takes long to compare with, and is of no password that anybody knows.
fn endless() -> String {
    let text = UsersFile::of_two().text();
    let hash = text
        .lines()
        .nth(1)
        .and_then(|line| line.rsplit(';').next())
        .expect("a hash");
    hash.replace("m=64,t=1,p=1", "m=262144,t=64,p=1")
}

/// A gateway with one thread that hashes and no queue, whose thread is taken: the answer that others get, and the request that has it.
async fn taken(users: &UsersFile, further: &str) -> (World, Answer, tokio::task::JoinHandle<bool>) {
    users.replace(&format!("{}slow;{};{}\n", users.text(), BEN.0, endless()));
    let world = users
        .world(COST)
        .config(further)
        .config_of(0, "[password]\nhashers = 1\nqueue = 0")
        .start()
        .await;
    let slow = world.browser();
    let under_way = tokio::spawn(async move {
        loop {
            match slow
                .try_post(PAGE, &[("user", "slow"), ("password", "falsch")])
                .await
            {
                // The one who is asked about below was before it.
                Ok(answer) if answer.status == 503 => {}
                answer => return answer.is_ok(),
            }
        }
    });
    let busy = eventually("its thread is taken", async || {
        Some(world.browser().enter_password(ADA_KEY, "/").await)
            .filter(|answer| answer.status == 503)
    })
    .await;
    (world, busy, under_way)
}

#[tokio::test]
async fn a_full_queue_is_told_at_once_and_all_else_goes_on() {
    let users = UsersFile::of_two();
    let (world, busy, under_way) = taken(&users, FREE).await;
    busy.waits(5)
        .shows("Gerade sind sehr viele Anfragen unterwegs");
    assert_eq!(
        busy.href_of("ERNEUT VERSUCHEN"),
        format!("{PAGE}?return_to=%2F")
    );
    assert!(counted(&world, "shed").await >= 1.0);
    let signed_in = world.signed_in(ADA).await;
    for _ in 0..10 {
        world.browser().open(PAGE).await.is(200);
        world.browser().open(SIGN_IN).await.is(200);
        signed_in.open("/").await.is(200);
    }
    assert!(
        !under_way.is_finished(),
        "all that was answered while a password was being compared"
    );
    under_way.abort();
}

#[tokio::test]
async fn a_gateway_that_is_to_end_waits_no_longer_for_a_hash_than_for_any_request() {
    let users = UsersFile::of_two();
    let (mut world, _, under_way) = taken(&users, "[shutdown]\ngrace = \"1s\"").await;
    world.gateways[0].signal("TERM");
    assert_eq!(world.gateways[0].end().await, Some(0));
    assert!(!under_way.await.expect("no panic"), "there was no answer");
}
