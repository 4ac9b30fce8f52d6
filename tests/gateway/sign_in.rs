//! Brokers sign in: the first page, the page for unknown addresses, and the way out.

use crate::support::browser::page;
use crate::support::world::{ADA, BEN, NO_EMAIL, UNKNOWN, World, tan_of};
use crate::support::{Answer, StoreKind, on_both_stores};

const SIGN_IN: &str = "/ui/login/de/vtnr-login";
const TAN: &str = "/ui/login/de/tan";
const UNKNOWN_EMAIL: &str = "/ui/login/de/unbekannte-e-mail";
const SIGN_OUT: &str = "/ui/login/de/abmelden";
const INVALID: &str = "Diese Vermittlernummer ist ungültig.";

on_both_stores!(
    a_broker_comes_back_to_the_deep_link_after_the_tan,
    a_broker_without_the_right_address_uses_the_calculator_without_submission,
    a_wrong_address_is_corrected_with_the_fields_filled,
    signing_out_ends_the_session_and_keeps_the_browser_known,
    signing_out_can_forget_the_browser,
    confirming_the_address_later_makes_the_session_full,
);

async fn a_broker_comes_back_to_the_deep_link_after_the_tan(store: StoreKind) {
    let world = World::builder().store(store).start().await;
    let browser = world.browser();
    browser
        .get("/kfz/angebot?id=42")
        .await
        .is(200)
        .shows("Anmelden mit Vermittlernummer");
    browser
        .claim(ADA.0, ADA.1, "/kfz/angebot?id=42")
        .await
        .leads_to("/ui/login/de/tan?return_to=%2Fkfz%2Fangebot%3Fid%3D42");
    let letter = world.postbox.next(0).await;
    assert_eq!(letter.to, [ADA.1]);
    browser
        .enter_tan(&tan_of(&letter), "/kfz/angebot?id=42")
        .await
        .leads_to("/kfz/angebot?id=42");
    browser.get("/kfz/angebot?id=42").await.is(200);
    let seen = world.calculator.requests();
    assert_eq!(seen.len(), 1, "nothing reached the calculator before");
    assert_eq!(seen[0].headers["x-vtnr"], ADA.0);
    assert_eq!(seen[0].headers["x-vtnr-level"], "full");
}

#[tokio::test]
async fn the_first_page_says_what_is_needed() {
    let world = World::start().await;
    let page = world.browser().get("/").await;
    page.is(200)
        .shows("Anmelden mit Vermittlernummer")
        .shows("Bitte melden Sie sich an")
        .shows("60/123/4567");
    page.shows("Zugriff auf das Postfach")
        .shows("einzelne Funktionen eingeschränkt")
        .shows("ANMELDEN");
    page.shows("Impressum")
        .shows("Datenschutz")
        .shows("Unterstützung beim Login");
    assert_eq!(
        page.set_cookies(),
        [""; 0],
        "a look at the page needs no cookie"
    );
}

#[tokio::test]
async fn a_number_may_be_written_in_any_usual_way() {
    let world = World::builder()
        .config("[limits]\nmail_pause = \"100 in 1s\"\nmail_burst = \"100 in 1m\"")
        .start()
        .await;
    for (sent, spelling) in [
        "60/123/4567",
        "60 123 4567",
        "60-123-4567",
        "601234567",
        " 60/123/4567 ",
        "６０/123/4567",
    ]
    .iter()
    .enumerate()
    {
        world
            .browser()
            .claim(spelling, ADA.1, "/")
            .await
            .leads_to(TAN);
        assert_eq!(world.postbox.next(sent).await.to, [ADA.1], "{spelling}");
    }
    for spelling in [
        "",
        "60/123/456",
        "60/123/45678",
        "6/0123/4567",
        "60_123_4567",
        "60/123/456O",
        "60/123/4567/1",
    ] {
        let page = world.browser().claim(spelling, ADA.1, "/").await;
        page.is(200).shows(INVALID);
        assert_eq!(
            (page.field("vtnr"), page.field("email")),
            (spelling.to_owned(), ADA.1.to_owned())
        );
    }
}

#[tokio::test]
async fn an_address_may_be_written_in_another_case_and_goes_to_the_one_on_file() {
    let world = World::start().await;
    world
        .browser()
        .claim(ADA.0, " Ada@Makler.Example ", "/")
        .await
        .leads_to(TAN);
    assert_eq!(world.postbox.next(0).await.to, [ADA.1]);
}

#[tokio::test]
async fn a_number_that_is_not_in_the_directory_is_told_at_the_field_and_what_was_typed_is_kept() {
    let world = World::start().await;
    let page = world.browser().claim(UNKNOWN, ADA.1, "/kfz").await;
    page.is(200)
        .shows(INVALID)
        .hides("vollständige E-Mail-Adresse");
    assert_eq!(
        (page.field("vtnr"), page.field("email")),
        (UNKNOWN.to_owned(), ADA.1.to_owned())
    );
    assert!(
        page.body.contains(r#"aria-invalid="true""#) && page.body.contains("vtnr-error"),
        "{}",
        page.body
    );
    assert!(page.body.contains("<title>Fehler: "), "{}", page.body);
}

#[tokio::test]
async fn what_is_no_address_is_told_at_its_field() {
    let world = World::start().await;
    for email in [
        "",
        "ada",
        "ada@",
        "@makler.example",
        "ada@makler.example\r\nBcc: x@y.example",
        "a@b@c.example",
    ] {
        let page = world.browser().claim(ADA.0, email, "/").await;
        page.is(200)
            .shows("vollständige E-Mail-Adresse")
            .hides(INVALID);
    }
    assert_eq!(world.mails().await.len(), 0);
}

#[tokio::test]
async fn hostile_input_is_shown_and_does_nothing() {
    let world = World::start().await;
    let (vtnr, email) = (
        r#""><script>alert(1)</script>{{7*7}}"#,
        r#"'"><img src=x onerror=alert(1)>@b.example"#,
    );
    let page = world.browser().claim(vtnr, email, "/").await;
    page.is(200).shows(INVALID);
    assert_eq!(
        (page.field("vtnr"), page.field("email")),
        (vtnr.to_owned(), email.to_owned())
    );
    assert!(
        !page.body.contains("<script>alert") && !page.body.contains("<img src=x"),
        "{}",
        page.body
    );
    let quoted = r#"a"b<b>'c@makler.example"#;
    let browser = world.browser();
    let page = browser
        .follow(browser.claim(ADA.0, quoted, "/").await)
        .await;
    assert!(!page.body.contains("<b>"), "{}", page.body);
    let page = world.browser().get(&page_with("\"><script>")).await;
    assert!(!page.body.contains("\"><script>"), "{}", page.body);
    let long = "9".repeat(15_000);
    assert_eq!(
        world
            .browser()
            .claim(&long, ADA.1, "/")
            .await
            .is(200)
            .field("vtnr")
            .len(),
        320
    );
    world
        .browser()
        .claim(&"9".repeat(17_000), ADA.1, "/")
        .await
        .is(413);
}

fn page_with(return_to: &str) -> String {
    page("vtnr-login", &format!("/kfz?x={return_to}"))
}

async fn a_wrong_address_is_corrected_with_the_fields_filled(store: StoreKind) {
    let world = World::builder().store(store).start().await;
    let browser = world.browser();
    browser
        .claim(ADA.0, "ida@makler.example", "/kfz")
        .await
        .leads_to(&page("unbekannte-e-mail", "/kfz"));
    let told = browser.get(&page("unbekannte-e-mail", "/kfz")).await;
    told.is(200)
        .shows("Unbekannte E-Mail-Adresse")
        .shows("ida@makler.example")
        .shows("Maklerbetreuer");
    told.shows("E-MAIL-ADRESSE KORRIGIEREN")
        .shows("Sie möchten sich ohne E-Mail anmelden?")
        .shows("WEITER ZUM ONLINE-RECHNER");
    assert!(
        !told.body.contains(ADA.1),
        "the address on file is nobody's business"
    );
    assert!(
        told.body
            .contains(r#"href="/ui/login/de/vtnr-login?return_to=/kfz""#),
        "{}",
        told.body
    );
    let first = browser.get(&page("vtnr-login", "/kfz")).await;
    assert_eq!(
        (first.field("vtnr"), first.field("email")),
        (ADA.0.to_owned(), "ida@makler.example".to_owned())
    );
    browser
        .claim(ADA.0, ADA.1, "/kfz")
        .await
        .leads_to(&page("tan", "/kfz"));
    let tan = tan_of(&world.postbox.next(0).await);
    browser.enter_tan(&tan, "/kfz").await.leads_to("/kfz");
}

async fn a_broker_without_the_right_address_uses_the_calculator_without_submission(
    store: StoreKind,
) {
    let world = World::builder().store(store).start().await;
    let browser = world.browser();
    browser
        .claim(NO_EMAIL, "x@makler.example", "/kfz")
        .await
        .leads_to(&page("unbekannte-e-mail", "/kfz"));
    browser
        .post(
            &page("unbekannte-e-mail", "/kfz"),
            &[("action", "without-email")],
        )
        .await
        .leads_to("/kfz");
    browser.get("/kfz").await;
    let seen = world.calculator.requests().pop().expect("a request");
    assert_eq!(
        (
            seen.headers["x-vtnr"].as_bytes(),
            seen.headers["x-vtnr-level"].as_bytes()
        ),
        (NO_EMAIL.as_bytes(), &b"without-submission"[..])
    );
    browser
        .post("/antrag/versand", &[("angebot", "42")])
        .await
        .is(403)
        .shows("Antragsversand noch nicht möglich");
    assert_eq!(world.calculator.submissions().len(), 0);
    assert_eq!(world.mails().await.len(), 0);
}

#[tokio::test]
async fn pressing_twice_on_the_way_without_e_mail_is_one_sign_in() {
    let world = World::start().await;
    let browser = world.browser();
    browser
        .claim(NO_EMAIL, "x@makler.example", "/kfz")
        .await
        .leads_to(&page("unbekannte-e-mail", "/kfz"));
    let press = || browser.post(UNKNOWN_EMAIL, &[("action", "without-email")]);
    let (one, two) = tokio::join!(press(), press());
    one.leads_to("/");
    two.leads_to("/");
    let tokens = [&one, &two].map(session_cookie);
    assert_eq!(tokens[0], tokens[1], "two sessions for one press");
    press().await.leads_to("/");
    assert_eq!(
        world
            .metric("vtnr_gateway_sessions_begun_total{level=\"without_submission\"}")
            .await,
        1.0
    );
}

fn session_cookie(answer: &Answer) -> String {
    let cookies = answer.set_cookies();
    cookies
        .iter()
        .find(|cookie| cookie.starts_with("vtnr_session="))
        .unwrap_or_else(|| panic!("no session in {cookies:?}"))
        .clone()
}

#[tokio::test]
async fn the_operator_can_switch_off_the_way_without_e_mail() {
    let world = World::builder()
        .config("[login]\nwithout_email = false")
        .start()
        .await;
    let browser = world.browser();
    browser
        .claim(NO_EMAIL, "x@makler.example", "/")
        .await
        .leads_to(UNKNOWN_EMAIL);
    browser
        .get(UNKNOWN_EMAIL)
        .await
        .is(200)
        .shows("E-MAIL-ADRESSE KORRIGIEREN")
        .hides("ohne E-Mail");
    browser
        .post(UNKNOWN_EMAIL, &[("action", "without-email")])
        .await
        .leads_to(SIGN_IN);
    browser
        .get("/")
        .await
        .shows("Anmelden mit Vermittlernummer");
    assert_eq!(world.calculator.requests().len(), 0);
}

#[tokio::test]
async fn nobody_gets_in_without_e_mail_but_from_the_page_that_offers_it() {
    let world = World::start().await;
    let browser = world.browser();
    browser
        .post(UNKNOWN_EMAIL, &[("action", "without-email")])
        .await
        .leads_to(SIGN_IN);
    world.ask(&browser, ADA).await;
    browser
        .post(UNKNOWN_EMAIL, &[("action", "without-email")])
        .await
        .leads_to(TAN);
    browser.open("/").await.leads_to(SIGN_IN);
}

async fn confirming_the_address_later_makes_the_session_full(store: StoreKind) {
    let world = World::builder().store(store).start().await;
    let browser = world.browser();
    browser
        .claim(ADA.0, "ida@makler.example", "/")
        .await
        .leads_to(UNKNOWN_EMAIL);
    browser
        .post(UNKNOWN_EMAIL, &[("action", "without-email")])
        .await
        .leads_to("/");
    let old = browser.cookie("vtnr_session").expect("a session");
    browser
        .post("/antrag/versand", &[("angebot", "42")])
        .await
        .is(403)
        .shows("E-MAIL-ADRESSE JETZT BESTÄTIGEN");
    browser
        .get(SIGN_IN)
        .await
        .is(200)
        .shows("E-Mail-Adresse bestätigen")
        .shows(ADA.0);
    let tan = world.ask(&browser, ADA).await;
    browser
        .get(TAN)
        .await
        .is(200)
        .shows("Überprüfen Sie Ihren Posteingang");
    browser.enter_tan(&tan, "/").await.leads_to("/");
    assert_ne!(
        browser.cookie("vtnr_session").as_deref(),
        Some(&*old),
        "a new token"
    );
    assert!(
        browser
            .post("/antrag/versand", &[("angebot", "42")])
            .await
            .status
            != 403
    );
    let thief = world.browser();
    thief.set_cookie("vtnr_session", &old);
    thief.open("/").await.leads_to(SIGN_IN);
}

async fn signing_out_ends_the_session_and_keeps_the_browser_known(store: StoreKind) {
    let world = World::builder().store(store).start().await;
    let browser = world.signed_in(ADA).await;
    let stolen = browser.cookie("vtnr_session").expect("a session");
    browser
        .get(SIGN_OUT)
        .await
        .is(200)
        .shows(ADA.0)
        .shows("ABMELDEN")
        .shows("BROWSER VERGESSEN");
    browser
        .get("/")
        .await
        .is(200)
        .hides("Anmelden mit Vermittlernummer");
    let out = browser.post(SIGN_OUT, &[]).await;
    out.is(200).shows("Sie sind abgemeldet").hides("vergessen:");
    assert_eq!(browser.cookie("vtnr_session"), None);
    browser.set_cookie("vtnr_session", &stolen);
    browser.open("/").await.leads_to(SIGN_IN);
    browser.claim(ADA.0, ADA.1, "/kfz").await.leads_to("/kfz");
    assert_eq!(world.mails().await.len(), 1);
}

async fn signing_out_can_forget_the_browser(store: StoreKind) {
    let world = World::builder()
        .store(store)
        .config("[limits]\nmail_pause = \"9 in 1s\"")
        .start()
        .await;
    let browser = world.signed_in(ADA).await;
    let trust = browser.cookie("vtnr_trust").expect("trust");
    browser
        .post(SIGN_OUT, &[("forget_browser", "1")])
        .await
        .is(200)
        .shows("Diesen Browser haben wir vergessen");
    assert_eq!(
        (browser.cookie("vtnr_session"), browser.cookie("vtnr_trust")),
        (None, None)
    );
    browser.set_cookie("vtnr_trust", &trust);
    world.ask(&browser, ADA).await;
}

#[tokio::test]
async fn a_page_in_the_midst_of_a_sign_in_leads_to_its_beginning_and_works_from_there() {
    let world = World::start().await;
    for path in [page("tan", "/kfz"), page("unbekannte-e-mail", "/kfz")] {
        let browser = world.browser();
        let shown = browser.get(&path).await;
        shown
            .is(200)
            .shows("Anmelden mit Vermittlernummer")
            .shows("kein Cookie gesendet");
        let action = shown
            .body
            .split("<form method=\"post\"")
            .nth(1)
            .expect("a form")
            .split('>')
            .next()
            .expect("a tag");
        let action = action
            .split("action=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .unwrap_or(&path);
        browser
            .post(action, &[("vtnr", ADA.0), ("email", "ida@makler.example")])
            .await
            .leads_to(&page("unbekannte-e-mail", "/kfz"));
        let stale = world.browser();
        stale.set_cookie("vtnr_flow", &"A".repeat(43));
        let shown = stale.get(&path).await;
        shown
            .is(200)
            .shows("Ihre Anmeldung hat zu lange gedauert")
            .hides("stehen bereits in den Feldern");
        assert_eq!(
            shown.set_cookies(),
            [""; 0],
            "another tab may have got a new one meanwhile"
        );
        stale
            .claim(ADA.0, "ida@makler.example", "/kfz")
            .await
            .leads_to(&page("unbekannte-e-mail", "/kfz"));
        assert_ne!(stale.cookie("vtnr_flow"), Some("A".repeat(43)));
    }
}

#[tokio::test]
async fn forms_of_other_sites_are_refused() {
    let world = World::start().await;
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("vtnr", BEN.0), ("email", BEN.1)])
        .finish();
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        let headers = [
            ("content-type", "application/x-www-form-urlencoded".into()),
            ("sec-fetch-mode", "navigate".into()),
            (name, value.into()),
        ];
        let answer = world
            .browser()
            .send(
                reqwest::Method::POST,
                SIGN_IN,
                &headers,
                Some(body.clone().into()),
            )
            .await;
        answer.is(403).shows("Dieses Formular kam nicht von uns");
    }
    assert_eq!(world.mails().await.len(), 0);
}
