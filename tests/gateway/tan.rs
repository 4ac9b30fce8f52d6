//! The TAN page and the mail: right, wrong, malformed, used up, expired, asked for again.

use crate::support::browser::page;
use crate::support::world::{ADA, World, not, tan_of};
use crate::support::{Browser, StoreKind, eventually, on_both_stores};
use std::time::Duration;

const SIGN_IN: &str = "/ui/login/de/vtnr-login";
const TAN: &str = "/ui/login/de/tan";
const RESEND: [(&str, &str); 1] = [("action", "resend")];
/// The pause between two mails is configurable; tests do not wait for half a minute.
const SHORT_PAUSE: &str = "[limits]\nmail_pause = \"1 in 1s\"\nmail_burst = \"100 in 15m\"";

on_both_stores!(
    a_wrong_tan_says_how_many_tries_are_left_and_a_malformed_one_costs_none,
    a_used_up_tan_is_replaced_with_one_click_and_the_deep_link_is_kept,
    an_older_mail_still_works_after_another_was_asked_for,
    tries_are_shared_by_all_mails,
    looking_at_pages_changes_nothing,
    sending_the_right_tan_twice_is_one_sign_in,
    a_tan_works_once,
);

#[tokio::test]
async fn the_page_names_the_address_and_the_time() {
    let world = World::start().await;
    let browser = world.browser();
    browser
        .claim(ADA.0, ADA.1, "/kfz")
        .await
        .leads_to(&page("tan", "/kfz"));
    world.postbox.next(0).await;
    let shown = accepted(&browser).await;
    assert!(
        shown.contains("Überprüfen Sie Ihren Posteingang") && shown.contains(ADA.1),
        "{shown}"
    );
    assert!(
        shown.contains("E-MAIL-ADRESSE KORRIGIEREN")
            && shown.contains("Sie haben die E-Mail nicht erhalten?"),
        "{shown}"
    );
    let time = shown.split_once("Sie ist gültig bis ").expect("the time").1;
    let time = time.split_once(" Uhr").expect("a clock time").0;
    assert!(
        time.split(':').all(|part| part.parse::<u8>().is_ok()),
        "{time}"
    );
    let back = browser.get(&page("vtnr-login", "/kfz")).await;
    assert_eq!(
        (back.field("vtnr"), back.field("email")),
        (ADA.0.to_owned(), ADA.1.to_owned())
    );
}

/// The TAN page's text once the mail server took the mail.
async fn accepted(browser: &Browser) -> String {
    eventually("the mail is taken", async || {
        let shown = browser.get(TAN).await.text();
        shown.contains("gültig bis").then_some(shown)
    })
    .await
}

#[tokio::test]
async fn the_mail_says_what_it_must_and_nothing_to_click() {
    let world = World::start().await;
    world.browser().claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
    let mail = world.postbox.next(0).await;
    let text = mail.text.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "persönlichen Zugang zu den Tarifrechnern",
        "15 Minuten gültig",
        "nur alle 30 Tage",
        "Firefox unter Windows",
        "keine TAN angefordert?",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    let raw = String::from_utf8_lossy(&mail.raw).into_owned();
    let html = mail.html.clone().expect("an HTML part");
    assert!(html.contains(&tan_of(&mail)));
    assert!(
        raw.contains("Auto-Submitted: auto-generated") && raw.contains("noreply@insurer.example"),
        "{raw}"
    );
    assert!(
        !html.contains("<a ") && !html.contains("http") && !html.contains("<img"),
        "{html}"
    );
    assert!(
        !text.contains("http") && !raw.contains("Content-Disposition: attachment"),
        "{raw}"
    );
    assert!(
        !text.contains(ADA.0) && !html.contains("60/123"),
        "number and address never together"
    );
}

async fn a_wrong_tan_says_how_many_tries_are_left_and_a_malformed_one_costs_none(store: StoreKind) {
    let world = World::builder().store(store).start().await;
    let browser = world.browser();
    let tan = world.ask(&browser, ADA).await;
    browser
        .enter_tan(&not(&tan, 0), "/")
        .await
        .is(200)
        .shows("Diese TAN ist falsch. Sie haben noch 4 Versuche.");
    for _ in 0..3 {
        for malformed in [
            "",
            "   ",
            "BCD",
            "BCDFGHJ",
            "AAAAAA",
            "BCDFG1",
            "ÄÖÜÄÖÜ",
            "<b>BCD",
            "BCDFGH BCDFGH",
        ] {
            let page = browser.enter_tan(malformed, "/").await;
            page.is(200).hides("falsch");
        }
    }
    browser
        .enter_tan("BCD", "/")
        .await
        .shows("Die TAN hat 6 Buchstaben, Ihre Eingabe hat 3. Das zählt nicht als Versuch.");
    browser
        .enter_tan("AAAAAA", "/")
        .await
        .shows("in keiner TAN vorkommt")
        .shows("Das zählt nicht als Versuch.");
    browser
        .enter_tan("", "/")
        .await
        .shows("Bitte geben Sie die TAN aus der E-Mail ein.");
    browser
        .enter_tan(&not(&tan, 1), "/")
        .await
        .shows("noch 3 Versuche");
    browser
        .enter_tan(&not(&tan, 2), "/")
        .await
        .shows("noch 2 Versuche");
    browser
        .enter_tan(&not(&tan, 3), "/")
        .await
        .shows("noch einen Versuch");
    browser.enter_tan(&tan, "/").await.leads_to("/");
}

#[tokio::test]
async fn what_was_entered_is_read_kindly() {
    let world = World::builder()
        .config(SHORT_PAUSE)
        .config("mail_day = \"100 in 24h\"")
        .start()
        .await;
    let forms: [fn(&str) -> String; 5] = [
        str::to_lowercase,
        |tan| format!("  {} - {}\t", &tan[..3], &tan[3..]),
        |tan| {
            tan.chars()
                .filter_map(|letter| char::from_u32(letter as u32 - 'A' as u32 + 0xff21))
                .collect()
        },
        |tan| format!("\u{feff}{}\u{200b}{}\u{ad}", &tan[..2], &tan[2..]),
        |tan| tan.chars().flat_map(|letter| [letter, '\u{a0}']).collect(),
    ];
    for form in forms {
        let browser = world.browser();
        let tan = asked_when_possible(&world, &browser).await;
        browser.enter_tan(&form(&tan), "/").await.leads_to("/");
    }
}

/// Asks for a TAN as soon as the pause allows it.
async fn asked_when_possible(world: &World, browser: &Browser) -> String {
    let before = world.postbox.mails().len();
    eventually("a TAN can be asked for", async || {
        (browser.claim(ADA.0, ADA.1, "/").await.status == 303).then_some(())
    })
    .await;
    tan_of(&world.postbox.next(before).await)
}

async fn a_used_up_tan_is_replaced_with_one_click_and_the_deep_link_is_kept(store: StoreKind) {
    let world = World::builder()
        .store(store)
        .config(SHORT_PAUSE)
        .start()
        .await;
    let browser = world.browser();
    let tan = world.ask(&browser, ADA).await;
    for n in 0..4 {
        browser
            .enter_tan(&not(&tan, n), "/kfz")
            .await
            .shows("Diese TAN ist falsch");
    }
    let over = browser.enter_tan(&not(&tan, 4), "/kfz").await;
    over.is(200)
        .shows("Diese TAN gilt nicht mehr")
        .shows("zu oft falsch eingegeben")
        .shows("NEUE TAN ANFORDERN");
    browser
        .enter_tan(&tan, "/kfz")
        .await
        .is(200)
        .shows("Diese TAN gilt nicht mehr");
    browser
        .get(&page("tan", "/kfz"))
        .await
        .shows("Diese TAN gilt nicht mehr");
    let new = resent(&world, &browser, 1).await;
    assert_ne!(new, tan);
    browser
        .enter_tan(&tan, "/kfz")
        .await
        .shows("noch 4 Versuche");
    browser.enter_tan(&new, "/kfz").await.leads_to("/kfz");
}

/// Presses the button that sends again as soon as it works, and reads mail number `index`.
async fn resent(world: &World, browser: &Browser, index: usize) -> String {
    eventually("a mail can be sent again", async || {
        let answer = browser.post(&page("tan", "/kfz"), &RESEND).await;
        (answer.status == 303).then(|| answer.leads_to(&page("tan", "/kfz")).status)
    })
    .await;
    tan_of(&world.postbox.next(index).await)
}

async fn an_older_mail_still_works_after_another_was_asked_for(store: StoreKind) {
    let world = World::builder()
        .store(store)
        .config(SHORT_PAUSE)
        .start()
        .await;
    let browser = world.browser();
    let first = world.ask(&browser, ADA).await;
    let again = resent(&world, &browser, 1).await;
    browser
        .get(TAN)
        .await
        .is(200)
        .shows("noch einmal angefordert");
    assert_eq!(first, again, "whichever mail arrives, its TAN works");
    browser.enter_tan(&first, "/").await.leads_to("/");
}

async fn tries_are_shared_by_all_mails(store: StoreKind) {
    let world = World::builder()
        .store(store)
        .config(SHORT_PAUSE)
        .start()
        .await;
    let browser = world.browser();
    let tan = world.ask(&browser, ADA).await;
    browser
        .enter_tan(&not(&tan, 0), "/")
        .await
        .shows("noch 4 Versuche");
    resent(&world, &browser, 1).await;
    browser
        .enter_tan(&not(&tan, 1), "/")
        .await
        .shows("noch 3 Versuche");
    resent(&world, &browser, 2).await;
    browser
        .enter_tan(&not(&tan, 2), "/")
        .await
        .shows("noch 2 Versuche");
}

#[tokio::test]
async fn sending_again_waits_half_a_minute_on_the_server() {
    let world = World::start().await;
    let browser = world.browser();
    let tan = world.ask(&browser, ADA).await;
    let wait = browser
        .get(TAN)
        .await
        .number_after("Erneut senden ist in")
        .expect("a countdown");
    assert!((20..=30).contains(&wait), "{wait}");
    let refused = browser.post(TAN, &RESEND).await;
    refused.is(429).shows("eine weitere können Sie ab");
    let after: u64 = refused.headers["retry-after"]
        .to_str()
        .expect("ASCII")
        .parse()
        .expect("seconds");
    assert!((1..=30).contains(&after), "{after}");
    assert_eq!(world.mails().await.len(), 1);
    browser.enter_tan(&tan, "/").await.leads_to("/");
}

#[tokio::test]
async fn claiming_the_same_again_sends_no_second_mail() {
    let world = World::start().await;
    let browser = world.browser();
    let tan = world.ask(&browser, ADA).await;
    for _ in 0..3 {
        browser
            .claim("601234567", ADA.1, "/kfz")
            .await
            .leads_to(&page("tan", "/kfz"));
    }
    browser.enter_tan(&tan, "/kfz").await.leads_to("/kfz");
    assert_eq!(world.mails().await.len(), 1);
}

async fn looking_at_pages_changes_nothing(store: StoreKind) {
    let world = World::builder().store(store).start().await;
    let browser = world.browser();
    let tan = world.ask(&browser, ADA).await;
    browser
        .enter_tan(&not(&tan, 0), "/")
        .await
        .shows("noch 4 Versuche");
    let cookie = browser.cookie("vtnr_flow");
    for path in [
        "",
        "vtnr-login",
        "tan",
        "unbekannte-e-mail",
        "abmelden",
        "hilfe",
        "status",
        "nichts",
        "tan?action=resend",
        "tan?tan=BCDFGH",
    ] {
        for method in [
            reqwest::Method::GET,
            reqwest::Method::HEAD,
            reqwest::Method::GET,
            reqwest::Method::HEAD,
        ] {
            let headers = [
                ("accept", "text/html".to_owned()),
                ("sec-fetch-mode", "navigate".into()),
            ];
            let answer = browser
                .send(method, &format!("/ui/login/de/{path}"), &headers, None)
                .await;
            assert!(
                answer.set_cookies().is_empty(),
                "{path}: {:?}",
                answer.set_cookies()
            );
        }
    }
    assert_eq!(browser.cookie("vtnr_flow"), cookie);
    browser
        .enter_tan(&not(&tan, 1), "/")
        .await
        .shows("noch 3 Versuche");
    browser.enter_tan(&tan, "/").await.leads_to("/");
    assert_eq!(world.mails().await.len(), 1);
    world
        .metric_is("vtnr_gateway_mails_total{outcome=\"accepted\"}", 1.0)
        .await;
}

async fn sending_the_right_tan_twice_is_one_sign_in(store: StoreKind) {
    let world = World::builder().store(store).start().await;
    let browser = world.browser();
    let tan = world.ask(&browser, ADA).await;
    let flow = browser.cookie("vtnr_flow").expect("a sign-in");
    browser.enter_tan(&tan, "/kfz").await.leads_to("/kfz");
    let session = browser.cookie("vtnr_session");
    browser.set_cookie("vtnr_flow", &flow);
    browser
        .enter_tan(&tan.to_lowercase(), "/kfz")
        .await
        .leads_to("/kfz");
    assert_eq!(browser.cookie("vtnr_session"), session, "the same session");
    browser.enter_tan(&tan, "/kfz").await.leads_to("/kfz");
    browser.get(&page("tan", "/kfz")).await.hides("Posteingang");
    assert_eq!(
        world
            .metric("vtnr_gateway_sessions_begun_total{level=\"full\"}")
            .await,
        1.0
    );
}

async fn a_tan_works_once(store: StoreKind) {
    let world = World::builder().store(store).start().await;
    let browser = world.browser();
    let tan = world.ask(&browser, ADA).await;
    browser.enter_tan(&tan, "/").await.leads_to("/");
    let other = world.browser();
    other
        .enter_tan(&tan, "/")
        .await
        .is(200)
        .shows("Anmelden mit Vermittlernummer");
    other.open("/").await.leads_to(SIGN_IN);
}

#[tokio::test]
async fn a_mail_server_that_is_down_delays_the_mail_and_no_more() {
    use demo::postbox::PostboxFault;
    let world = World::start().await;
    world.postbox.set_fault(PostboxFault::PutOff);
    let browser = world.browser();
    browser.claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
    eventually("the page says that the mail is delayed", async || {
        browser
            .get(TAN)
            .await
            .text()
            .contains("verzögert sich")
            .then_some(())
    })
    .await;
    world.postbox.set_fault(PostboxFault::None);
    let mail = tokio::time::timeout(Duration::from_secs(20), world.postbox.next(0))
        .await
        .expect("the mail comes later");
    accepted(&browser).await;
    browser.enter_tan(&tan_of(&mail), "/").await.leads_to("/");
}

#[tokio::test]
async fn a_mail_server_that_refuses_the_address_is_said_so() {
    use demo::postbox::PostboxFault;
    let world = World::start().await;
    world.postbox.set_fault(PostboxFault::Refuse);
    let browser = world.browser();
    browser.claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
    eventually("the page says so", async || {
        browser
            .get(TAN)
            .await
            .text()
            .contains("konnte nicht zugestellt werden")
            .then_some(())
    })
    .await;
}
