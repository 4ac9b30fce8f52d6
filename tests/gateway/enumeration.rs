//! `enumeration = "neutral"`: a stranger cannot tell a right claim from a wrong one.

use crate::support::world::{ADA, NO_EMAIL, UNKNOWN, World, tan_of};
use crate::support::{Answer, Browser, StoreKind, on_both_stores};
use std::time::{Duration, Instant};

const SIGN_IN: &str = "/ui/login/de/vtnr-login";
const TAN: &str = "/ui/login/de/tan";
const UNKNOWN_EMAIL: &str = "/ui/login/de/unbekannte-e-mail";
const RESEND: [(&str, &str); 1] = [("action", "resend")];
/// As long as Ada's, so that pages are as long too.
const WRONG: &str = "eda@makler.example";

on_both_stores!(
    every_page_of_a_wrong_claim_is_that_of_a_right_one,
    nobody_is_sent_a_mail_for_a_wrong_claim_and_no_tan_is_right,
    limits_are_reached_by_right_claims_as_by_wrong_ones,
);

async fn world(store: StoreKind, limits: &str) -> World {
    World::builder()
        .store(store)
        .config(&format!(
            "[login]\nenumeration = \"neutral\"\n[limits]\n{limits}"
        ))
        .start()
        .await
}

/// What a stranger sees of an answer: status, header fields but for dates and cookies' values, and the page but for what was typed,
/// incident numbers and times of day. The page's length is that of the page.
fn seen(answer: &Answer, email: &str) -> String {
    let mut fields: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| !["date", "content-length"].contains(&name.as_str()))
        .collect();
    fields.sort_by_key(|(name, value)| (name.as_str(), value.as_bytes()));
    let fields = fields.iter().map(|(name, value)| {
        let value = value.to_str().expect("ASCII");
        let value = if *name == "set-cookie" {
            value.split_once('=').map_or(
                value,
                |(name, rest)| if rest.starts_with(';') { value } else { name },
            )
        } else {
            value
        };
        format!("{name}: {value}\n")
    });
    let fields: String = fields.collect();
    let mut body = answer.body.replace(email, "ADDRESS");
    if let Some(at) = body.find("Vorgangsnummer <strong class=\"whole\">") {
        body.replace_range(at..at + 48, "");
    }
    without_times(&format!("{}\n{fields}\n{body}", answer.status))
}

/// Times of day, countdowns and `Retry-After` go on between two requests; their form must be the same.
fn without_times(text: &str) -> String {
    let mut stilled = String::new();
    for line in text.lines() {
        let tells_time = ["Uhr", "Sekunde", "data-wait", "retry-after", "valid_until"]
            .iter()
            .any(|word| line.contains(word));
        stilled.extend(line.chars().map(|symbol| {
            if tells_time && symbol.is_ascii_digit() {
                '0'
            } else {
                symbol
            }
        }));
        stilled.push('\n');
    }
    stilled
}

/// A sign-in from the first page to the last try, as a stranger sees it.
async fn walk(browser: &Browser, vtnr: &str, email: &str) -> Vec<String> {
    let mut answers = vec![
        browser.claim(vtnr, email, "/kfz").await,
        browser.get(TAN).await,
    ];
    for tan in ["", "BCD", "AAAAAA", "BBBBBB", "CCCCCC"] {
        answers.push(browser.enter_tan(tan, "/kfz").await);
    }
    answers.push(browser.post(TAN, &RESEND).await);
    answers.push(browser.claim(vtnr, email, "/kfz").await);
    answers.push(browser.get(SIGN_IN).await);
    answers.push(browser.get(UNKNOWN_EMAIL).await);
    answers.push(
        browser
            .post(UNKNOWN_EMAIL, &[("action", "without-email")])
            .await,
    );
    for tan in ["DDDDDD", "FFFFFF", "GGGGGG", "HHHHHH"] {
        answers.push(browser.enter_tan(tan, "/kfz").await);
    }
    answers.push(browser.get(TAN).await);
    answers.push(browser.fetch("/ui/login/de/status").await);
    answers.push(browser.post(TAN, &RESEND).await);
    answers
        .iter()
        .map(|answer| seen(answer, email).replace(&format!("value=\"{vtnr}\""), "value=NUMBER"))
        .collect()
}

async fn every_page_of_a_wrong_claim_is_that_of_a_right_one(store: StoreKind) {
    let world = world(store, "").await;
    let right = walk(&world.browser(), ADA.0, ADA.1).await;
    assert!(
        right[1].contains("Wenn diese E-Mail-Adresse zu Ihrer Vermittlernummer hinterlegt ist"),
        "{}",
        right[1]
    );
    assert!(
        right[5].contains("noch 4 Versuche") && right[15].contains("zu oft falsch"),
        "{}\n{}",
        right[5],
        right[15]
    );
    // `NO_EMAIL` is a broker without an address, `UNKNOWN` is none at all; Ada's own number with another address is the third.
    for vtnr in [UNKNOWN, NO_EMAIL, ADA.0] {
        let email = if vtnr == ADA.0 { WRONG } else { ADA.1 };
        let wrong = walk(&world.browser(), vtnr, email).await;
        for (step, (wrong, right)) in wrong.iter().zip(&right).enumerate() {
            for (wrong, right) in wrong.lines().zip(right.lines()) {
                assert_eq!(wrong, right, "step {step} for {vtnr} {email}");
            }
            assert_eq!(wrong, right, "step {step} for {vtnr} {email}");
        }
    }
    assert_eq!(world.mails().await.len(), 1, "one mail and no more");
}

async fn nobody_is_sent_a_mail_for_a_wrong_claim_and_no_tan_is_right(store: StoreKind) {
    let world = world(store, "").await;
    let (decoy, honest) = (world.browser(), world.browser());
    for (vtnr, email) in [(ADA.0, WRONG), (NO_EMAIL, ADA.1), (UNKNOWN, ADA.1)] {
        world.browser().claim(vtnr, email, "/").await.leads_to(TAN);
    }
    decoy
        .claim(ADA.0, "ada2@makler.example", "/")
        .await
        .leads_to(TAN);
    // A wrong address costs the broker no mail.
    honest.claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
    let tan = tan_of(&world.postbox.next(0).await);
    decoy
        .enter_tan(&tan, "/")
        .await
        .shows("Diese TAN ist falsch");
    assert_eq!(world.mails().await.len(), 1);
    honest.enter_tan(&tan, "/").await.leads_to("/");
    decoy.open("/").await.leads_to(SIGN_IN);
}

async fn limits_are_reached_by_right_claims_as_by_wrong_ones(store: StoreKind) {
    for limit in [
        "failures_client = \"3 in 1h\"",
        "vtnrs_client = \"3 in 1h\"",
    ] {
        let world = world(store, limit).await;
        for vtnr in ["60/900/0001", "60/900/0002"] {
            world.browser().claim(vtnr, ADA.1, "/").await.leads_to(TAN);
        }
        world.browser().claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
        world
            .browser()
            .claim("60/900/0003", ADA.1, "/")
            .await
            .is(429);
        world
            .browser()
            .claim("60/123/4568", "ben@makler.example", "/")
            .await
            .is(429);
    }
}

#[tokio::test]
async fn the_time_for_right_and_wrong_claims_is_printed() {
    let limits = "mail_pause = \"1000 in 1s\"\nmail_burst = \"1000 in 1m\"\nmail_day = \"1000 in 24h\"\nfailures_client = \"10000 in 1h\"\nvtnrs_client = \"10000 in 1h\"";
    let world = world(StoreKind::Redis, limits).await;
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        right.push(took(&world, ADA.0, ADA.1).await);
        wrong.push(took(&world, ADA.0, WRONG).await);
    }
    println!(
        "median of a right claim: {:?}, of a wrong one: {:?}",
        median(right),
        median(wrong)
    );
}

async fn took(world: &World, vtnr: &str, email: &str) -> Duration {
    let (browser, begun) = (world.browser(), Instant::now());
    browser.claim(vtnr, email, "/").await.leads_to(TAN);
    begun.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
