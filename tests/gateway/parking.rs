//! What a broker typed is not lost: a form that came without a session, or an application without a confirmed address, is kept,
//! and goes to the calculator once, byte for byte, when the broker says so.

use crate::support::behind::session_of;
use crate::support::raw::whole;
use crate::support::upstream::Request;
use crate::support::world::{ADA, BEN, Builder, NO_EMAIL, StoreKind, tan_of};
use crate::support::{
    Answer, Browser, H2, Raw, Upstream, World, eventually, on_both_stores, ports,
};
use reqwest::Method;
use std::collections::BTreeSet;
use tokio::net::TcpListener;

const FORM: &str = "application/x-www-form-urlencoded";
const SEND: &str = "Eingabe jetzt absenden";
const KEPT: &str = "Ihre Eingabe ist noch nicht gesendet";
const SESSION: &str = "vtnr_session";
const PARKED: &str = "vtnr_parked";

/// A gateway before an application written by hand.
struct Desk {
    world: World,
    upstream: Upstream,
}

impl Desk {
    async fn on(store: StoreKind) -> Self {
        Self::with(World::builder().store(store)).await
    }

    async fn with(builder: Builder) -> Self {
        let upstream = Upstream::fine().await;
        let world = builder.upstream(&upstream.url()).start().await;
        Self { world, upstream }
    }

    /// A browser whose session has just ended: it was signed in, and is known.
    async fn signed_out(&self) -> Browser {
        let browser = self.world.signed_in(ADA).await;
        browser.drop_cookie(SESSION);
        browser
    }

    fn posts(&self) -> Vec<Request> {
        self.upstream
            .requests()
            .into_iter()
            .filter(|request| request.line.starts_with("POST "))
            .collect()
    }
}

/// Signs in as Ada on a browser that is trusted, from a page that says that a form is kept, and gives the page it leads to.
async fn sign_in(browser: &Browser, told: &Answer) -> Answer {
    let link = told.href_of("ZUR ANMELDUNG");
    let answer = browser
        .post(&link, &[("vtnr", ADA.0), ("email", ADA.1)])
        .await;
    browser.follow(answer).await
}

/// The same on a browser that is not trusted yet.
async fn sign_in_with_tan(world: &World, browser: &Browser, told: &Answer) -> Answer {
    let before = world.postbox.mails().len();
    let claimed = browser
        .post(
            &told.href_of("ZUR ANMELDUNG"),
            &[("vtnr", ADA.0), ("email", ADA.1)],
        )
        .await;
    let tan = tan_of(&world.postbox.next(before).await);
    let welcome = browser
        .post(&claimed.location().expect("the TAN page"), &[("tan", &tan)])
        .await;
    browser.follow(welcome).await
}

/// A page's address on its host.
fn path_of(page: &Answer) -> &str {
    page.url
        .find("/ui/")
        .and_then(|at| page.url.get(at..))
        .expect("a page of ours")
}

async fn without_email(browser: &Browser, vtnr: &str) {
    browser
        .claim(vtnr, "somebody@else.example", "/")
        .await
        .leads_to("/ui/login/de/unbekannte-e-mail");
    browser
        .post(
            "/ui/login/de/unbekannte-e-mail",
            &[("action", "without-email")],
        )
        .await
        .leads_to("/");
}

/// All byte values, several times.
fn bytes(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| u8::try_from(at * 7 % 256).expect("a byte"))
        .collect()
}

async fn a_form_posted_after_the_session_ended_is_sent_once_as_it_was(store: StoreKind) {
    let desk = Desk::on(store).await;
    let multipart = [
        b"------x\r\nContent-Disposition: form-data; name=\"foto\"; filename=\"a.jpg\"\r\n\r\n",
        &bytes(300_000)[..],
    ]
    .concat();
    let bodies = [
        (FORM, b"hsn=0603&tsn=BNH&name=M%FCller".to_vec()),
        ("multipart/form-data; boundary=----x", multipart),
        ("application/json;charset=utf-8", bytes(1 << 20)),
        (FORM, Vec::new()),
    ];
    let browser = desk.signed_out().await;
    for (number, (content_type, body)) in bodies.into_iter().enumerate() {
        let target = format!("/kfz/antrag?schritt={number}&x=%C3%BC");
        browser.drop_cookie(SESSION);
        let told = browser.post_body(&target, content_type, body.clone()).await;
        told.is(401).shows(KEPT).shows("verschlüsselt bis");
        assert_eq!(desk.posts().len(), number, "nothing arrives yet");
        let page = sign_in(&browser, &told).await;
        page.is(200).shows(SEND).shows(ADA.0);
        assert_eq!(
            desk.posts().len(),
            number,
            "nothing arrives before the broker says so"
        );
        browser.press(&page, SEND).await.is(200);
        let sent = desk.upstream.last();
        assert_eq!(sent.line, format!("POST {target} HTTP/1.1"));
        assert!(
            sent.body == body,
            "{} of {} bytes",
            sent.body.len(),
            body.len()
        );
        assert_eq!(sent.values("content-type"), [content_type]);
        assert_eq!(sent.values("content-length"), [body.len().to_string()]);
        assert_eq!(
            sent.values("referer"),
            [format!("{}/kfz/antrag", desk.world.base())]
        );
        assert_eq!(
            (sent.values("x-vtnr"), sent.values("x-vtnr-level")),
            (vec![ADA.0], vec!["full"])
        );
        let others = desk
            .upstream
            .requests()
            .iter()
            .filter(|other| other.connection == sent.connection)
            .count();
        assert_eq!(
            others, 1,
            "on a connection of its own, which cannot be about to end"
        );
        assert!(
            !sent.values("cookie").join(";").contains("vtnr_"),
            "{sent:?}"
        );
        // A second press, a reload, and a way back to the page.
        browser
            .press(&page, SEND)
            .await
            .is(409)
            .shows("Diese Eingabe wurde bereits gesendet");
        browser
            .open(&told.href_of("ZUR ANMELDUNG"))
            .await
            .leads_to(path_of(&page));
        browser.post(path_of(&page), &[]).await.leads_to("/");
        browser
            .open(path_of(&page))
            .await
            .is(409)
            .shows("bereits gesendet");
        browser.open(&page.action_of(SEND)).await.leads_to(&target);
        assert_eq!(desk.posts().len(), number + 1, "never twice");
    }
    assert!(
        desk.upstream
            .requests()
            .iter()
            .all(|request| !request.line.contains("vtnr-eingabe")),
        "the mark never arrives"
    );
}

async fn the_application_that_was_blocked_goes_out_once_the_address_is_confirmed(store: StoreKind) {
    let desk = Desk::on(store).await;
    let browser = desk.world.browser();
    without_email(&browser, ADA.0).await;
    let reduced = browser.cookie(SESSION).expect("signed in");
    let told = browser
        .post_body("/antrag/versand", FORM, "fahrer=Ada")
        .await;
    told.is(403)
        .shows("Ihr Antrag wurde nicht versendet")
        .shows("senden Sie den Antrag mit einem Klick ab")
        .shows(ADA.0);
    assert_eq!(told.field("vtnr"), ADA.0);
    // Pressing the button by hand does not help.
    let nr = browser
        .cookie(PARKED)
        .map(|_| told.action_of("BESTÄTIGEN"))
        .expect("kept");
    let page = unquoted(nr.split_once("return_to=").expect("a way back").1);
    browser
        .open(&page)
        .await
        .is(403)
        .shows("Antragsversand noch nicht möglich");
    let mark = page.replace("/ui/login/de/eingabe?nr=", "/antrag/versand?vtnr-eingabe=");
    browser
        .press_at(&mark)
        .await
        .is(403)
        .shows("Antragsversand noch nicht möglich");
    assert!(desk.posts().is_empty());
    // The address is confirmed: typed wrong, typed right, TAN.
    let action = told.action_of("BESTÄTIGEN");
    browser
        .open(&action)
        .await
        .is(200)
        .shows("E-Mail-Adresse bestätigen")
        .hides("Vermittlernummer ist ungültig");
    browser
        .post(&action, &[("vtnr", ADA.0), ("email", "ada")])
        .await
        .is(200)
        .shows("E-Mail-Adresse bestätigen")
        .shows("vollständige");
    let before = desk.world.postbox.mails().len();
    let tan_page = browser
        .post(&action, &[("vtnr", ADA.0), ("email", ADA.1)])
        .await
        .location()
        .expect("the TAN page");
    let tan = tan_of(&desk.world.postbox.next(before).await);
    let confirmed = browser.post(&tan_page, &[("tan", &tan)]).await;
    confirmed.leads_to(&page);
    assert_ne!(
        browser.cookie(SESSION),
        Some(reduced.clone()),
        "a new token"
    );
    let shown = browser.follow(confirmed).await;
    shown.is(200).shows(SEND);
    assert!(desk.posts().is_empty(), "not before the broker says so");
    browser.press(&shown, SEND).await.is(200);
    browser.press(&shown, SEND).await.is(409);
    let posts = desk.posts();
    assert_eq!(posts.len(), 1, "{posts:#?}");
    assert_eq!(
        (posts[0].line.as_str(), &posts[0].body[..]),
        ("POST /antrag/versand HTTP/1.1", &b"fahrer=Ada"[..])
    );
    // The session without submission is dead, whoever replays it.
    let replayed = desk.world.browser();
    replayed.set_cookie(SESSION, &reduced);
    replayed.open("/").await.leads_to("/ui/login/de/vtnr-login");
}

fn unquoted(text: &str) -> String {
    form_urlencoded::parse(format!("x={text}").as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .expect("a value")
}

async fn what_was_posted_under_one_number_is_not_sent_under_another(store: StoreKind) {
    let desk = Desk::on(store).await;
    let browser = desk.world.browser();
    without_email(&browser, ADA.0).await;
    let told = browser
        .post_body("/antrag/versand", FORM, "fahrer=Ada")
        .await;
    let page = unquoted(
        told.action_of("BESTÄTIGEN")
            .split_once("return_to=")
            .expect("a way back")
            .1,
    );
    // Another broker of the house signs in on the same browser.
    let before = desk.world.postbox.mails().len();
    browser.claim(BEN.0, BEN.1, &page).await;
    let tan = tan_of(&desk.world.postbox.next(before).await);
    browser.enter_tan(&tan, &page).await.leads_to(&page);
    browser
        .open(&page)
        .await
        .is(403)
        .shows("gehört zu einer anderen Vermittlernummer")
        .hides("Ada");
    let mark = page.replace("/ui/login/de/eingabe?nr=", "/antrag/versand?vtnr-eingabe=");
    browser
        .press_at(&mark)
        .await
        .is(403)
        .shows("gehört zu einer anderen Vermittlernummer");
    assert!(desk.posts().is_empty());
}

async fn a_kept_application_needs_a_confirmed_address_like_any_other(store: StoreKind) {
    let desk = Desk::on(store).await;
    let browser = desk.world.browser();
    let told = browser
        .post_body("/antrag/versand", FORM, "fahrer=Ada")
        .await;
    told.is(401).shows(KEPT);
    without_email(&browser, NO_EMAIL).await;
    let page = unquoted(
        told.href_of("ZUR ANMELDUNG")
            .split_once("return_to=")
            .expect("a way back")
            .1,
    );
    let blocked = browser.open(&page).await;
    blocked
        .is(403)
        .shows("keine E-Mail-Adresse hinterlegt")
        .shows("Maklerbetreuer")
        .hides(SEND);
    let mark = page.replace("/ui/login/de/eingabe?nr=", "/antrag/versand?vtnr-eingabe=");
    browser
        .press_at(&mark)
        .await
        .is(403)
        .shows("Antragsversand noch nicht möglich");
    assert!(desk.posts().is_empty());
    browser
        .open("/ui/login/de/vtnr-login")
        .await
        .is(200)
        .shows("keine E-Mail-Adresse hinterlegt")
        .shows("Maklerbetreuer");
}

async fn each_tab_has_its_own_form(store: StoreKind) {
    let desk = Desk::on(store).await;
    let browser = desk.signed_out().await;
    let (first, second) = (
        browser.post_body("/kfz/1", FORM, "a=1").await,
        browser.post_body("/kfz/2", "application/json", "[2]").await,
    );
    let (second, first) = (
        sign_in(&browser, &second).await,
        browser.get(&first.href_of("ZUR ANMELDUNG")).await,
    );
    browser.press(&first, SEND).await.is(200);
    browser.press(&second, SEND).await.is(200);
    browser.press(&first, SEND).await.is(409);
    let sent: Vec<_> = desk
        .posts()
        .into_iter()
        .map(|sent| (sent.line, sent.body))
        .collect();
    assert_eq!(
        sent,
        [
            ("POST /kfz/1 HTTP/1.1".into(), b"a=1".to_vec()),
            ("POST /kfz/2 HTTP/1.1".into(), b"[2]".to_vec())
        ]
    );
    let outcomes = ["kept", "kept", "sent", "sent", "missed"]
        .map(|outcome| format!("\"outcome\":\"{outcome}\""));
    let log = desk.world.log().await;
    let audit: Vec<_> = log
        .lines()
        .filter(|line| line.contains("kept_form"))
        .collect();
    assert_eq!(audit.len(), outcomes.len(), "{audit:#?}");
    for (line, outcome) in audit.iter().zip(outcomes) {
        assert!(
            line.contains(&outcome)
                && line.contains("\"client\":\"127.0.0.1\"")
                && !line.contains("/kfz"),
            "{line}"
        );
    }
    assert!(
        audit[2].contains("\"broker\":\"") && !audit[0].contains("\"broker\":\""),
        "{audit:#?}"
    );
}

async fn only_the_browser_that_typed_it_sends_or_discards_it(store: StoreKind) {
    let desk = Desk::on(store).await;
    let browser = desk.signed_out().await;
    let told = browser.post_body("/kfz", FORM, "a=1").await;
    let page = sign_in(&browser, &told).await;
    let (send, discard) = (page.action_of(SEND), path_of(&page).to_owned());
    assert!(page.body.contains(">Eingabe verwerfen</button>"));
    let other = desk.world.browser();
    let session = browser.cookie(SESSION).expect("signed in");
    other.set_cookie(SESSION, &session);
    other
        .open(&discard)
        .await
        .is(410)
        .shows("nicht mehr gespeichert");
    other.press_at(&send).await.is(410);
    other.post(&discard, &[]).await.leads_to("/");
    // Another site cannot press the buttons either.
    for (action, content_type) in [(&send, "text/plain"), (&discard, FORM)] {
        let fields = [
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-site", "cross-site"),
            ("content-type", content_type),
        ];
        let fields = fields.map(|(name, value)| (name, value.to_owned()));
        browser
            .send(Method::POST, action, &fields, Some(Vec::new()))
            .await
            .is(403)
            .shows("Dieses Formular kam nicht von uns");
    }
    assert!(desk.posts().is_empty());
    // It is discarded, and gone.
    browser.open(&discard).await.is(200).shows(SEND);
    browser.post(&discard, &[]).await.leads_to("/");
    browser.post(&discard, &[]).await.leads_to("/");
    browser
        .press_at(&send)
        .await
        .is(410)
        .shows("nicht mehr gespeichert");
    let discarded = "vtnr_gateway_parked_forms_total{outcome=\"discarded\"}";
    assert_eq!(
        desk.world.metric(discarded).await,
        1.0,
        "what was not there, or another browser's, was not discarded"
    );
    // After a sign-out nobody finds what was kept.
    browser.drop_cookie(SESSION);
    let told = browser.post_body("/kfz", FORM, "a=1").await;
    let page = sign_in(&browser, &told).await;
    browser
        .post("/ui/login/de/abmelden", &[])
        .await
        .is(200)
        .shows("können nun nicht mehr gesendet werden");
    assert_eq!(browser.cookie(PARKED), None);
    browser.press(&page, SEND).await.is(410);
    assert!(desk.posts().is_empty());
}

on_both_stores!(
    a_form_posted_after_the_session_ended_is_sent_once_as_it_was,
    the_application_that_was_blocked_goes_out_once_the_address_is_confirmed,
    what_was_posted_under_one_number_is_not_sent_under_another,
    a_kept_application_needs_a_confirmed_address_like_any_other,
    only_the_browser_that_typed_it_sends_or_discards_it,
    each_tab_has_its_own_form,
);

#[tokio::test]
async fn what_cannot_be_kept_is_told_before_the_broker_leaves_the_page() {
    let limits = "[parking]\nlargest = \"64KiB\"\nper_client = \"128KiB\"\ntotal = \"256KiB\"";
    let desk = Desk::with(World::builder().store(StoreKind::Memory).config(limits)).await;
    let browser = desk.world.browser();
    let navigation = |site: &str, content_type: &str| {
        let fields = [
            ("accept", "text/html"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-site", site),
            ("content-type", content_type),
        ];
        fields.map(|(name, value)| (name, value.to_owned()))
    };
    let post = async |fields: &[(&str, String)], length: usize| {
        browser
            .send(Method::POST, "/kfz", fields, Some(bytes(length)))
            .await
    };
    for (fields, length, why) in [
        (
            navigation("none", FORM),
            10,
            "Ihre Eingabe konnten wir leider nicht aufbewahren",
        ),
        (
            navigation("same-origin", "text/plain"),
            10,
            "Ihre Eingabe konnten wir leider nicht aufbewahren",
        ),
        (
            navigation("same-origin", FORM),
            (64 << 10) + 1,
            "größer als 64 KB",
        ),
        (navigation("same-origin", FORM), 3 << 20, "größer als 64 KB"),
    ] {
        let answer = post(&fields, length).await;
        answer
            .is(401)
            .shows("Ihre Eingabe wurde nicht gesendet")
            .shows(why)
            .shows("Zurück-Taste")
            .shows("ZURÜCK ZUM FORMULAR");
        assert_eq!(answer.set_cookies(), [""; 0], "{why}");
    }
    for site in ["cross-site", "same-site"] {
        // Going back would lead here again.
        let answer = post(&navigation(site, FORM), 10).await;
        answer
            .is(403)
            .shows("Die Eingabe kam von einer anderen Website")
            .hides("Zurück-Taste")
            .hides("ZURÜCK ZUM FORMULAR");
        assert_eq!(answer.set_cookies(), [""; 0], "{site}");
    }
    // Neither field: it is not known whose page it was.
    let unknown = [
        ("accept", "text/html".to_owned()),
        ("content-type", FORM.to_owned()),
    ];
    post(&unknown, 10)
        .await
        .is(401)
        .shows("Ihre Eingabe konnten wir leider nicht aufbewahren");
    // With another method, which would be sent as POST; of a type longer than any is.
    let fields = navigation("same-origin", FORM);
    let put = browser
        .send(Method::PUT, "/kfz", &fields, Some(bytes(10)))
        .await;
    put.is(401)
        .shows("Ihre Eingabe konnten wir leider nicht aufbewahren");
    let long = format!("multipart/form-data; boundary={}", "x".repeat(300));
    post(&navigation("same-origin", &long), 10)
        .await
        .is(401)
        .shows("Ihre Eingabe konnten wir leider nicht aufbewahren");
    // Compressed, as no browser posts a form.
    let [accept, mode, site, kind] = navigation("same-origin", FORM);
    let compressed = [
        accept,
        mode,
        site,
        kind,
        ("content-encoding", "gzip".to_owned()),
    ];
    post(&compressed, 10)
        .await
        .is(401)
        .shows("Ihre Eingabe konnten wir leider nicht aufbewahren");
    // An older browser says so with Origin.
    let older = |origin: &str| {
        [
            ("accept", "text/html".to_owned()),
            ("content-type", FORM.to_owned()),
            ("origin", origin.to_owned()),
        ]
    };
    post(&older("https://evil.example"), 10)
        .await
        .is(403)
        .shows("Die Eingabe kam von der Website evil.example");
    post(&older(&desk.world.base()), 10)
        .await
        .is(401)
        .shows(KEPT);
    // What is no form is told so as a program.
    let script = [
        ("sec-fetch-mode", "cors".to_owned()),
        ("sec-fetch-site", "same-origin".to_owned()),
        ("content-type", FORM.to_owned()),
    ];
    let answer = post(&script, 10).await;
    assert_eq!(
        answer.is(401).headers["content-type"],
        "application/problem+json"
    );
    assert_eq!(answer.set_cookies(), [""; 0]);
    // The room is used up: 4 KiB are, 64 more, and then there are not 64 left.
    post(&navigation("same-origin", FORM), 64 << 10)
        .await
        .is(401)
        .shows(KEPT);
    post(&navigation("same-origin", FORM), 64 << 10)
        .await
        .is(401)
        .shows("Der Platz, den wir dafür vorsehen, ist zurzeit belegt");
    post(&navigation("same-origin", FORM), 4 << 10)
        .await
        .is(401)
        .shows(KEPT);
    assert!(desk.posts().is_empty());
    for (outcome, count) in [
        ("kept", 3.0),
        ("foreign", 3.0),
        ("unfit", 6.0),
        ("too_large", 2.0),
        ("no_room", 1.0),
    ] {
        let line = format!("vtnr_gateway_parked_forms_total{{outcome=\"{outcome}\"}}");
        assert_eq!(desk.world.metric(&line).await, count, "{outcome}");
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_kept_up_to_the_limit_too() {
    let desk = Desk::with(
        World::builder()
            .store(StoreKind::Memory)
            .config("[parking]\nlargest = \"64KiB\""),
    )
    .await;
    let port = desk.world.gateways[0].port;
    for (length, shown) in [(64 << 10, KEPT), ((64 << 10) + 1, "größer als 64 KB")] {
        let mut client = Raw::connect(port).await;
        let head = format!(
            "POST /kfz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\nAccept: text/html\r\n\
             Content-Type: {FORM}\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n"
        );
        client
            .send(head)
            .await
            .send(vec![b'x'; length])
            .await
            .send("\r\n0\r\n\r\n")
            .await;
        let answer = client.answer().await;
        assert!(
            answer.status() == 401 && answer.text().contains(shown),
            "{length}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn of_60_presses_at_two_gateways_one_goes_up() {
    let desk = Desk::with(World::builder().store(StoreKind::Redis).gateways(2)).await;
    let browser = desk.signed_out().await;
    let told = browser.post_body("/kfz/antrag", FORM, "a=1").await;
    let page = sign_in(&browser, &told).await;
    let action = page.action_of(SEND);
    let presses = (0..60).map(|number| {
        let (tab, action) = (
            browser.at(&desk.world.gateways[number % 2].base()),
            action.clone(),
        );
        tokio::spawn(async move { tab.press_at(&action).await.status.as_u16() })
    });
    let presses: Vec<_> = presses.collect();
    let mut answers = Vec::new();
    for press in presses {
        answers.push(press.await.expect("no panic"));
    }
    assert_eq!(desk.posts().len(), 1);
    assert_eq!(
        answers.iter().filter(|status| **status == 200).count(),
        1,
        "{answers:?}"
    );
    // Who pressed before it had gone up is led back to the page that tells.
    let others: BTreeSet<_> = answers
        .iter()
        .copied()
        .filter(|status| *status != 200)
        .collect();
    assert!(others.is_subset(&BTreeSet::from([303, 409])), "{answers:?}");
}

#[tokio::test]
async fn a_form_that_the_calculator_could_not_be_reached_for_is_kept_on() {
    let port = ports::free();
    let world = World::builder()
        .store(StoreKind::OwnRedis)
        .upstream(&format!("http://127.0.0.1:{port}"))
        .start()
        .await;
    let browser = world.browser();
    let told = browser.post_body("/kfz/antrag", FORM, "a=1").await;
    let kept_for = life_of_body(&world);
    let page = sign_in_with_tan(&world, &browser, &told).await;
    for _ in 0..2 {
        let answer = browser.press(&page, SEND).await;
        answer
            .is(502)
            .waits(5)
            .shows("Ihre Eingabe ist nicht verloren")
            .hides("prüfen Sie bitte zuerst");
        browser
            .open(&answer.href_of("ZURÜCK ZU IHRER EINGABE"))
            .await
            .is(200)
            .shows(SEND);
        assert!(
            life_of_body(&world) <= kept_for,
            "for what was left of its time"
        );
    }
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .expect("the port");
    let upstream = Upstream::at(listener, |mut wire| async move {
        // The first is taken and not answered: whether it was carried out is not known.
        wire.request().await;
    });
    eventually("it is noticed", async || {
        (world.metric("vtnr_gateway_upstream_breaker").await == 0.0).then_some(())
    })
    .await;
    browser
        .press(&page, SEND)
        .await
        .is(502)
        .shows("prüfen Sie bitte zuerst")
        .hides("nicht verloren");
    browser
        .press(&page, SEND)
        .await
        .is(409)
        .shows("bereits gesendet");
    assert_eq!(upstream.only().body, b"a=1");
}

#[tokio::test]
async fn over_http2_a_form_is_kept_and_sent_as_well() {
    let upstream = Upstream::fine().await;
    let world = World::builder()
        .store(StoreKind::Memory)
        .https()
        .upstream(&upstream.url())
        .start()
        .await;
    let session = session_of(&world.signed_in(ADA).await);
    let host = format!("localhost:{}", world.gateways[0].https.expect("https"));
    let mut client = H2::connect(&world).await;
    let request = |target: &str, content_type: &str, cookies: &str| {
        http::Request::builder()
            .method("POST")
            .uri(format!("https://{host}{target}"))
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-site", "same-origin")
            .header("content-type", content_type)
            .header("cookie", cookies)
            .body(())
            .expect("a request")
    };
    let (answer, mut body) = client
        .begin(request("/kfz?x=1", "application/json", "a=b"))
        .await;
    body.send_data(bytes(100_000).into(), true).expect("sent");
    let told = whole(answer).await.expect("an answer");
    assert_eq!(told.status(), 401);
    let parked = told.headers()["set-cookie"]
        .to_str()
        .expect("ASCII")
        .split(';')
        .next()
        .expect("a cookie")
        .to_owned();
    assert!(parked.starts_with("__Host-vtnr_parked="), "{parked}");
    let text = String::from_utf8_lossy(told.body()).into_owned();
    let id = text.split_once("eingabe%3Fnr%3D").expect("a way back").1[..16].to_owned();
    let press = request(
        &format!("/kfz?x=1&vtnr-eingabe={id}"),
        "text/plain",
        &format!("{session}; {parked}"),
    );
    let (answer, mut body) = client.begin(press).await;
    body.send_data("".into(), true).expect("sent");
    assert_eq!(
        whole(answer).await.expect("an answer").status(),
        400,
        "what may have a body is no press"
    );
    let mut press = request(
        &format!("/kfz?x=1&vtnr-eingabe={id}"),
        "text/plain",
        &format!("{session}; {parked}"),
    );
    press
        .headers_mut()
        .insert("content-length", http::HeaderValue::from_static("0"));
    let (answer, mut body) = client.begin(press).await;
    body.send_data("".into(), true).expect("sent");
    assert_eq!(whole(answer).await.expect("an answer").status(), 200);
    let sent = upstream.last();
    assert!(
        sent.line == "POST /kfz?x=1 HTTP/1.1" && sent.body == bytes(100_000),
        "{}",
        sent.line
    );
    assert_eq!(
        (sent.values("content-length"), sent.values("host")),
        (vec!["100000"], vec![host.as_str()])
    );
}

#[tokio::test]
async fn who_goes_away_while_a_form_is_sent_does_not_break_it_off() {
    let upstream = Upstream::start(|mut wire| async move {
        while wire.request().await.is_some() {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
    })
    .await;
    let world = World::builder()
        .store(StoreKind::Memory)
        .upstream(&upstream.url())
        .start()
        .await;
    let desk = Desk { world, upstream };
    let browser = desk.signed_out().await;
    let told = browser
        .post_body("/kfz", "application/json", bytes(1 << 20))
        .await;
    let page = sign_in(&browser, &told).await;
    let (port, action) = (desk.world.gateways[0].port, page.action_of(SEND));
    let cookies = format!(
        "{}; {PARKED}={}",
        session_of(&browser),
        browser.cookie(PARKED).expect("kept")
    );
    let mut client = Raw::connect(port).await;
    client
        .send(format!("POST {action} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nSec-Fetch-Site: same-origin\r\nCookie: {cookies}\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n"))
        .await
        .half_close()
        .await;
    drop(client);
    let sent = eventually("the form arrives whole", async || {
        desk.upstream
            .requests()
            .into_iter()
            .find(|request| request.line.starts_with("POST /kfz"))
    })
    .await;
    assert!(sent.body == bytes(1 << 20));
}

#[tokio::test]
async fn while_the_store_is_down_an_application_is_not_promised_to_be_kept() {
    let desk = Desk::on(StoreKind::OwnRedis).await;
    let browser = desk.world.browser();
    without_email(&browser, ADA.0).await;
    browser.open("/").await.is(200);
    desk.world
        .redis
        .as_ref()
        .expect("a redis-server")
        .lock()
        .expect("no panic")
        .kill();
    let answer = browser
        .post_body("/antrag/versand", FORM, "fahrer=Ada")
        .await;
    answer
        .is(403)
        .shows("Ihr Antrag wurde nicht versendet")
        .shows("Wegen einer technischen Störung konnten wir Ihre Eingabe");
    assert_eq!(answer.set_cookies(), [""; 0]);
    assert!(desk.posts().is_empty());
}

#[tokio::test]
async fn what_is_kept_cannot_be_read_in_the_store_or_the_log() {
    let desk = Desk::on(StoreKind::OwnRedis).await;
    let browser = desk.signed_out().await;
    let told = browser
        .post_body(
            "/kfz?geheimnis=kanarienvogel",
            FORM,
            "name=Kanarienvogel&geheim=1234567890abc",
        )
        .await;
    let token = browser.cookie(PARKED).expect("kept");
    let page = sign_in(&browser, &told).await;
    let kept = kept_records(&desk.world);
    assert!(kept.len() > 100, "{} bytes", kept.len());
    browser.press(&page, SEND).await.is(200);
    let redis = desk.world.redis.as_ref().expect("a redis-server");
    let bodies = redis.lock().expect("no panic").raw("KEYS *:b:*");
    assert_eq!(bodies, b"*0\r\n", "what was sent is not kept");
    let log = desk.world.log_has_times("\"path\":\"/kfz\"", 2).await;
    for secret in ["anarienvogel", "1234567890abc", &token] {
        let found = kept
            .windows(secret.len())
            .any(|part| part == secret.as_bytes());
        assert!(!found && !log.contains(secret), "{secret}");
    }
}

/// How many milliseconds Redis will keep the body of the only form that is kept.
fn life_of_body(world: &World) -> u64 {
    let redis = world
        .redis
        .as_ref()
        .expect("a redis-server")
        .lock()
        .expect("no panic");
    let keys = String::from_utf8_lossy(&redis.raw("KEYS *:b:*")).into_owned();
    let key = keys
        .lines()
        .find(|line| line.contains(":b:"))
        .expect("a body")
        .trim();
    let life = String::from_utf8_lossy(&redis.raw(&format!("PTTL {key}"))).into_owned();
    life.trim()
        .trim_start_matches(':')
        .parse()
        .expect("milliseconds")
}

/// The records of the only form that is kept, names and all, as they lie in Redis.
fn kept_records(world: &World) -> Vec<u8> {
    let redis = world
        .redis
        .as_ref()
        .expect("a redis-server")
        .lock()
        .expect("no panic");
    let record = |kind: &str| {
        let keys = redis.raw(&format!("KEYS *:{kind}:*"));
        let keys = String::from_utf8_lossy(&keys).into_owned();
        let key = keys
            .lines()
            .find(|line| line.contains(&format!(":{kind}:")))
            .expect("a record")
            .trim()
            .to_owned();
        [key.clone().into_bytes(), redis.raw(&format!("GET {key}"))].concat()
    };
    [record("p"), record("b")].concat()
}

#[tokio::test]
async fn what_a_page_posts_to_itself_after_a_form_was_sent_is_a_request_like_any_other() {
    let desk = Desk::on(StoreKind::Memory).await;
    let browser = desk.signed_out().await;
    let told = browser.post_body("/kfz?x=1", FORM, "a=1").await;
    let page = sign_in(&browser, &told).await;
    let address = page.action_of(SEND);
    browser.press(&page, SEND).await.is(200);
    // The answer may be a form without an address of its own: it posts to where the page is.
    browser
        .post_body(&address, FORM, "name=M%FCller&schritt=2")
        .await
        .is(200);
    browser.post_body(&address, FORM, "").await.is(200);
    browser.fetch(&address).await.is(200);
    for method in [Method::PUT, Method::DELETE] {
        browser.send(method, &address, &[], None).await.is(200);
    }
    let lines: Vec<_> = desk
        .upstream
        .requests()
        .into_iter()
        .filter(|seen| seen.line.contains("/kfz"))
        .map(|seen| seen.line)
        .collect();
    let expected = ["POST", "POST", "POST", "GET", "PUT", "DELETE"]
        .map(|method| format!("{method} /kfz?x=1 HTTP/1.1"));
    assert_eq!(lines, expected, "and the mark never arrives");
    assert_eq!(desk.posts()[1].body, b"name=M%FCller&schritt=2");
    // And it is kept like any other when the session has ended meanwhile.
    browser.drop_cookie(SESSION);
    let told = browser.post_body(&address, FORM, "schritt=3").await;
    told.is(401).shows(KEPT);
    let page = sign_in(&browser, &told).await;
    browser.press(&page, SEND).await.is(200);
    assert_eq!(
        (
            desk.upstream.last().line.as_str(),
            &desk.upstream.last().body[..]
        ),
        ("POST /kfz?x=1 HTTP/1.1", &b"schritt=3"[..])
    );
}

#[tokio::test]
async fn a_press_that_carries_anything_sends_nothing_and_the_form_stays() {
    let desk = Desk::on(StoreKind::Memory).await;
    let browser = desk.signed_out().await;
    let told = browser.post_body("/kfz", FORM, "a=1").await;
    let page = sign_in(&browser, &told).await;
    let (port, action) = (desk.world.gateways[0].port, page.action_of(SEND));
    let cookies = format!(
        "{}; {PARKED}={}",
        session_of(&browser),
        browser.cookie(PARKED).expect("kept")
    );
    for framing in [
        "Content-Length: 10\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ] {
        let mut client = Raw::connect(port).await;
        let head = format!(
            "POST {action} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nSec-Fetch-Site: same-origin\r\nCookie: {cookies}\r\n"
        );
        client
            .send(format!("{head}Content-Type: text/plain\r\n{framing}"))
            .await
            .half_close()
            .await;
        assert_eq!(client.answer().await.status(), 400, "{framing:?}");
    }
    assert!(desk.posts().is_empty());
    browser.press(&page, SEND).await.is(200);
    assert_eq!(desk.upstream.last().body, b"a=1");
}

#[tokio::test]
async fn announcing_forms_keeps_nobody_elses_from_being_kept() {
    let desk = Desk::on(StoreKind::Memory).await;
    let port = desk.world.gateways[0].port;
    let head = format!(
        "POST /kfz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\nContent-Type: {FORM}\r\n\
         Content-Length: {}\r\n\r\na=",
        1 << 20
    );
    let mut idle = Vec::new();
    for _ in 0..100 {
        let mut client = Raw::connect(port).await;
        client.send(&head).await;
        idle.push(client);
    }
    desk.world
        .browser()
        .post_body("/kfz", FORM, "a=1")
        .await
        .is(401)
        .shows(KEPT);
}

#[tokio::test]
async fn while_the_store_is_down_what_was_typed_is_not_lost_sight_of() {
    let desk = Desk::on(StoreKind::OwnRedis).await;
    let browser = desk.signed_out().await;
    let told = browser.post_body("/kfz", FORM, "a=1").await;
    let page = sign_in(&browser, &told).await;
    let redis = || {
        desk.world
            .redis
            .as_ref()
            .expect("a redis-server")
            .lock()
            .expect("no panic")
    };
    redis().kill();
    let stranger = desk.world.browser();
    stranger.set_cookie(SESSION, &"A".repeat(43));
    let posted = stranger.post_body("/kfz", FORM, "a=2").await;
    posted
        .is(503)
        .waits(5)
        .shows("Ihre Eingabe wurde nicht gesendet")
        .shows("laden Sie diese Seite dann neu")
        .shows("ZURÜCK ZUM FORMULAR");
    for answer in [
        browser.press(&page, SEND).await,
        browser.open(path_of(&page)).await,
    ] {
        answer
            .is(503)
            .shows("Ihre Eingabe kann gerade nicht gesendet werden");
        assert_eq!(answer.href_of("ERNEUT VERSUCHEN"), path_of(&page));
        answer.waits(5);
    }
    assert!(desk.posts().is_empty());
}

#[tokio::test]
async fn what_comes_with_a_form_takes_room_too() {
    let limits = "[parking]\nlargest = \"4KiB\"\nper_client = \"64KiB\"\ntotal = \"128KiB\"";
    let desk = Desk::with(World::builder().store(StoreKind::Memory).config(limits)).await;
    let browser = desk.world.browser();
    let post = async |referer: usize| {
        let fields = [
            ("sec-fetch-mode", "navigate".to_owned()),
            ("sec-fetch-site", "same-origin".to_owned()),
            ("content-type", FORM.to_owned()),
            ("referer", "\"".repeat(referer)),
        ];
        browser
            .send(Method::POST, "/kfz", &fields, Some(Vec::new()))
            .await
    };
    // One that is too long to be kept is left out, and the form counts as a small one.
    post(60_000).await.is(401).shows(KEPT);
    for _ in 0..3 {
        post(8_000).await.is(401).shows(KEPT);
    }
    post(8_000).await.is(401).shows("ist zurzeit belegt");
    post(0).await.is(401).shows(KEPT);
}

#[tokio::test]
async fn while_it_is_not_known_whether_the_calculator_can_be_reached_nobody_is_told_that_a_form_was_sent()
 {
    // A queue for one connection, which is taken: whoever connects now is left hanging.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket
        .bind("127.0.0.1:0".parse().expect("an address"))
        .expect("a port");
    let listener = socket.listen(0).expect("it listens");
    let address = listener.local_addr().expect("bound");
    let _waiting = tokio::net::TcpStream::connect(address)
        .await
        .expect("there is room for one");
    let builder = World::builder()
        .store(StoreKind::Memory)
        .config("[upstream]\nconnect_timeout = \"3s\"\nhealth_timeout = \"1m\"");
    let world = builder.upstream(&format!("http://{address}")).start().await;
    let browser = world.browser();
    let told = browser.post_body("/kfz/antrag", FORM, "a=1").await;
    let page = sign_in_with_tan(&world, &browser, &told).await;
    let (tab, action) = (browser.clone(), page.action_of(SEND));
    let first = tokio::spawn(async move { tab.press_at(&action).await });
    eventually("the form is taken", async || {
        let shown = browser.open(path_of(&page)).await;
        shown
            .text()
            .contains("Ihre Eingabe wird gerade gesendet")
            .then_some(())
    })
    .await;
    browser.press(&page, SEND).await.leads_to(path_of(&page));
    first
        .await
        .expect("no panic")
        .is(504)
        .waits(60)
        .shows("Ihre Eingabe ist nicht verloren");
    browser.open(path_of(&page)).await.is(200).shows(SEND);
}

#[tokio::test]
async fn of_presses_at_once_none_is_told_that_a_form_is_gone_that_could_not_be_sent() {
    let builder = World::builder().store(StoreKind::Redis).gateways(2);
    let world = builder
        .upstream(&format!("http://127.0.0.1:{}", ports::free()))
        .start()
        .await;
    let browser = world.browser();
    let told = browser.post_body("/kfz/antrag", FORM, "a=1").await;
    let page = sign_in_with_tan(&world, &browser, &told).await;
    let other = browser.at(&world.gateways[1].base());
    for _ in 0..20 {
        let (first, second) = tokio::join!(browser.press(&page, SEND), other.press(&page, SEND));
        for answer in [first, second] {
            assert!(
                matches!(answer.status.as_u16(), 303 | 502),
                "{} {}",
                answer.status,
                answer.text()
            );
        }
        browser.open(path_of(&page)).await.is(200).shows(SEND);
    }
}
