//! Forms that a page of another site posts into the calculator: said to be what they are, and, from a listed site, kept until the broker
//! presses the button.

use crate::support::chromium::Chromium;
use crate::support::raw::whole;
use crate::support::upstream::Request;
use crate::support::world::{ADA, Builder, StoreKind, tan_of};
use crate::support::{Answer, Browser, H2, Upstream, World};
use axum::Router;
use axum::response::Html;
use axum::routing::get;
use reqwest::Method;
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

const FORM: &str = "application/x-www-form-urlencoded";
const SEND: &str = "Eingabe jetzt absenden";
const PARTNER: &str = "https://vergleich.example";
/// The application has answered.
const ANSWERED: &str = "document.body.innerText.trim() === 'ok'";
const KEPT: &str = "vtnr_gateway_parked_forms_total{outcome=\"kept\"}";

/// Another site, with a page that posts into the calculator.
struct Partner {
    origin: String,
    page: Arc<Mutex<String>>,
}

impl Partner {
    /// On a host that browsers take for another site than the gateway's.
    async fn on(host: &str) -> Self {
        let page = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&page);
        let router = Router::new().route(
            "/",
            get(async move || Html(shown.lock().expect("no panic").clone())),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!(
            "http://{host}:{}",
            listener.local_addr().expect("bound").port()
        );
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { origin, page }
    }

    /// Has a page with forms for the calculator at `base`.
    fn shows_forms_for(&self, base: &str) {
        let form = |id: &str, more: &str| {
            format!(
                "<form method=post action='{base}/kfz/uebernahme?tarif=1' accept-charset=ISO-8859-1 {more}>\
                 <input name=name value='Müller'><input name=hsn value=0603><button id={id}>Übernehmen</button></form>"
            )
        };
        let page = [
            "<!doctype html><meta charset=utf-8><title>Vergleich</title>".to_owned(),
            form("top", ""),
            form("file", "enctype=multipart/form-data"),
            form("framed", "target=frame"),
            format!(
                "<a id=link href='{base}/kfz/angebot?id=42'>Angebot</a><iframe name=frame></iframe>"
            ),
        ];
        *self.page.lock().expect("no panic") = page.concat();
    }
}

/// A gateway that takes forms of these origins, before an application written by hand.
struct Desk {
    world: World,
    upstream: Upstream,
}

impl Desk {
    async fn with(builder: Builder, origins: &[&str]) -> Self {
        let upstream = Upstream::fine().await;
        let builder = builder.store(StoreKind::Memory).upstream(&upstream.url());
        let world = builder
            .config(&format!("[login]\nentry_origins = {origins:?}"))
            .start()
            .await;
        Self { world, upstream }
    }

    fn posts(&self) -> Vec<Request> {
        self.upstream
            .requests()
            .into_iter()
            .filter(|seen| seen.line.starts_with("POST "))
            .collect()
    }

    /// A real browser with the cookies of this one.
    async fn chromium(&self, base: &str, browser: &Browser) -> Chromium {
        let chromium = Chromium::builder()
            .flag("--ignore-certificate-errors")
            .start()
            .await;
        for name in ["vtnr_session", "__Host-vtnr_session"] {
            let Some(value) = browser.cookie(name) else {
                continue;
            };
            let secure = base.starts_with("https");
            let cookie = json!({ "url": base, "name": name, "value": value, "httpOnly": true, "secure": secure, "sameSite": "Lax", "path": "/" });
            chromium.cdp("Network.setCookie", cookie).await;
        }
        chromium
    }
}

fn id_in(page: &str) -> String {
    page.split_once("eingabe?nr=")
        .expect("a form's page")
        .1
        .chars()
        .take(16)
        .collect()
}

async fn is_sent_by_one_press(desk: &Desk, base: &str, partner: &Partner) {
    partner.shows_forms_for(base);
    let chromium = desk.chromium(base, &desk.world.signed_in(ADA).await).await;
    chromium.open(&partner.origin).await;
    chromium.click("#top").await;
    let host = partner.origin.split_once("://").expect("an origin").1;
    chromium
        .shows(&format!("von der Website {host}"))
        .await
        .shows("nur, wenn Sie sie dort selbst gemacht haben")
        .await;
    chromium.shows(ADA.0).await.shows(SEND).await;
    chromium.is_accessible("kept-form-of-another-site").await;
    assert!(
        desk.posts().is_empty(),
        "the site alone makes nothing happen"
    );
    chromium.click("form[data-once] button").await;
    chromium.comes_to(ANSWERED).await;
    let sent = desk.posts().pop().expect("it was sent");
    assert_eq!(
        (sent.line.as_str(), &sent.body[..]),
        (
            "POST /kfz/uebernahme?tarif=1 HTTP/1.1",
            &b"name=M%FCller&hsn=0603"[..]
        )
    );
    assert_eq!(sent.values("origin"), [partner.origin.as_str()]);
    assert_eq!(sent.values("x-vtnr"), [ADA.0]);
    assert!(
        !sent.values("cookie").join(";").contains("vtnr_"),
        "{sent:?}"
    );
    // Back to the button, and once more.
    chromium.back().await;
    chromium.shows("Diese Eingabe wurde bereits gesendet").await;
    assert_eq!(desk.posts().len(), 1);
    // Another one, of another type.
    chromium.open(&partner.origin).await;
    chromium.click("#file").await;
    chromium
        .shows(SEND)
        .await
        .click("form[data-once] button")
        .await;
    chromium.comes_to(ANSWERED).await;
    let sent = desk.posts().pop().expect("it was sent");
    assert!(
        sent.values("content-type")[0].starts_with("multipart/form-data; boundary="),
        "{sent:?}"
    );
    assert!(
        sent.body.windows(8).any(|part| part == b"M\xfcller\r\n"),
        "{:?}",
        String::from_utf8_lossy(&sent.body)
    );
    assert_eq!(desk.posts().len(), 2);
}

#[tokio::test]
async fn a_listed_sites_form_goes_out_once_when_the_broker_who_is_signed_in_presses_the_button() {
    let partner = Partner::on("localhost").await;
    let desk = Desk::with(World::builder(), &[&partner.origin]).await;
    is_sent_by_one_press(&desk, &desk.world.base(), &partner).await;
}

#[tokio::test]
async fn over_https_and_http2_a_listed_sites_form_goes_out_once_as_well() {
    let partner = Partner::on("127.0.0.1").await;
    let desk = Desk::with(World::builder().https(), &[&partner.origin]).await;
    let base = format!(
        "https://localhost:{}",
        desk.world.gateways[0].https.expect("https")
    );
    is_sent_by_one_press(&desk, &base, &partner).await;
}

#[tokio::test]
async fn whoever_is_not_signed_in_yet_signs_in_and_sends_a_listed_sites_form_then() {
    let partner = Partner::on("localhost").await;
    let desk = Desk::with(World::builder(), &[&partner.origin]).await;
    partner.shows_forms_for(&desk.world.base());
    let chromium = Chromium::start().await;
    chromium.open(&partner.origin).await;
    chromium.click("#top").await;
    chromium.shows("Anmelden mit Vermittlernummer").await;
    chromium.type_into("#vtnr", ADA.0).await;
    chromium.type_into("#email", ADA.1).await;
    chromium.click("form button").await;
    chromium.shows("Überprüfen Sie Ihren Posteingang").await;
    chromium
        .type_into("#tan", &tan_of(&desk.world.postbox.next(0).await))
        .await;
    chromium.click("form button").await;
    chromium
        .shows(SEND)
        .await
        .shows("von der Website localhost")
        .await;
    assert!(desk.posts().is_empty());
    chromium.click("form[data-once] button").await;
    chromium.comes_to(ANSWERED).await;
    let sent: Vec<_> = desk.posts().into_iter().map(|sent| sent.body).collect();
    assert_eq!(sent, [b"name=M%FCller&hsn=0603".to_vec()]);
}

#[tokio::test]
async fn of_a_site_that_is_not_listed_nothing_is_kept_and_the_page_says_why() {
    let partner = Partner::on("localhost").await;
    let desk = Desk::with(World::builder(), &[PARTNER]).await;
    let base = desk.world.base();
    partner.shows_forms_for(&base);
    let chromium = desk.chromium(&base, &desk.world.signed_in(ADA).await).await;
    chromium.open(&partner.origin).await;
    chromium.click("#top").await;
    let host = partner.origin.split_once("://").expect("an origin").1;
    chromium
        .shows(&format!(
            "von der Website {host} und nicht aus dem Online-Rechner"
        ))
        .await;
    chromium
        .shows("Waren Sie angemeldet, so sind Sie es noch immer")
        .await
        .hides("nicht angemeldet")
        .await;
    chromium.is_accessible("form-of-another-site").await;
    chromium.click("a.button").await;
    chromium.arrives_at("/").await.comes_to(ANSWERED).await;
    // A link from there just works.
    chromium.open(&partner.origin).await;
    chromium.click("#link").await;
    chromium
        .arrives_at("/kfz/angebot?id=42")
        .await
        .comes_to(ANSWERED)
        .await;
    assert!(desk.posts().is_empty() && desk.world.metric(KEPT).await == 0.0);
}

#[tokio::test]
async fn a_form_that_a_site_posts_into_a_frame_of_its_own_is_not_kept() {
    let partner = Partner::on("localhost").await;
    let desk = Desk::with(World::builder(), &[&partner.origin]).await;
    let base = desk.world.base();
    partner.shows_forms_for(&base);
    let chromium = desk.chromium(&base, &desk.world.signed_in(ADA).await).await;
    chromium.open(&partner.origin).await;
    chromium.click("#framed").await;
    let foreign = "vtnr_gateway_parked_forms_total{outcome=\"foreign\"}";
    crate::support::eventually("it is refused", async || {
        (desk.world.metric(foreign).await == 1.0).then_some(())
    })
    .await;
    assert!(desk.posts().is_empty() && desk.world.metric(KEPT).await == 0.0);
}

/// Posts as a page of another site has a browser post, which sends none of our cookies along.
async fn post_from(
    browser: &Browser,
    origin: &str,
    target: &str,
    content_type: &str,
    body: impl Into<Vec<u8>>,
) -> Answer {
    let fields = [
        ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-site", "cross-site"),
        ("origin", origin),
        ("content-type", content_type),
    ];
    browser
        .send(
            Method::POST,
            target,
            &fields.map(|(name, value)| (name, value.to_owned())),
            Some(body.into()),
        )
        .await
}

/// The same, and the browser keeps the cookie that it gets.
async fn post_and_keep(desk: &Desk, browser: &Browser, target: &str, body: &str) -> Answer {
    let answer = post_from(&desk.world.browser(), PARTNER, target, FORM, body).await;
    for cookie in answer.set_cookies() {
        let (name, value) = cookie
            .split(';')
            .next()
            .and_then(|pair| pair.split_once('='))
            .expect("a cookie");
        browser.set_cookie(name, value);
    }
    answer
}

#[tokio::test]
async fn each_form_of_a_listed_site_has_its_own_cookie_and_displaces_no_other() {
    let desk = Desk::with(World::builder(), &[PARTNER]).await;
    let browser = desk.world.signed_in(ADA).await;
    browser.drop_cookie("vtnr_session");
    let own = browser.post_body("/kfz/1", FORM, "a=1").await;
    let (second, third) = (
        post_and_keep(&desk, &browser, "/kfz/2", "a=2").await,
        post_and_keep(&desk, &browser, "/kfz/3", "a=3").await,
    );
    let pages = [&second, &third].map(|answer| answer.location().expect("a page"));
    for (answer, page) in [&second, &third].into_iter().zip(&pages) {
        let name = format!("vtnr_parked_{}", id_in(page));
        answer.is(303);
        assert!(page.starts_with("/ui/login/de/eingabe?nr="), "{page}");
        let [cookie] = answer.set_cookies().try_into().expect("one cookie");
        assert!(
            cookie.starts_with(&format!("{name}="))
                && cookie.ends_with("HttpOnly; SameSite=Lax; Path=/; Max-Age=900"),
            "{cookie}"
        );
    }
    let welcome = browser
        .post(
            &own.href_of("ZUR ANMELDUNG"),
            &[("vtnr", ADA.0), ("email", ADA.1)],
        )
        .await;
    let own = browser.follow(welcome).await;
    own.shows(SEND).hides("Website");
    let second = browser.open(&pages[0]).await;
    second
        .is(200)
        .shows(SEND)
        .shows("von der Website vergleich.example");
    browser.press(&second, SEND).await.is(200);
    browser.press(&second, SEND).await.is(409);
    browser.press(&own, SEND).await.is(200);
    let sent: Vec<_> = desk
        .posts()
        .into_iter()
        .map(|sent| (sent.target().to_owned(), sent.body))
        .collect();
    assert_eq!(
        sent,
        [
            ("/kfz/2".to_owned(), b"a=2".to_vec()),
            ("/kfz/1".to_owned(), b"a=1".to_vec())
        ]
    );
    assert!(
        desk.upstream
            .requests()
            .iter()
            .all(|seen| !seen.values("cookie").join(";").contains("vtnr_")),
        "none goes up"
    );
    // The site cannot press the button, nor can who has another browser; and a sign-out forgets all of them.
    let third = browser.open(&pages[1]).await.action_of(SEND);
    post_from(&browser, PARTNER, &third, "text/plain", "")
        .await
        .is(403)
        .shows("Dieses Formular kam nicht von uns");
    desk.world
        .signed_in(crate::support::world::BEN)
        .await
        .open(&pages[1])
        .await
        .is(410);
    let out = browser.post("/ui/login/de/abmelden", &[]).await;
    out.is(200).shows("können nun nicht mehr gesendet werden");
    assert!(
        browser
            .cookie(&format!("vtnr_parked_{}", id_in(&pages[1])))
            .is_none(),
        "{:?}",
        out.set_cookies()
    );
    assert_eq!(desk.posts().len(), 2);
}

#[tokio::test]
async fn a_listed_sites_application_needs_a_confirmed_address_like_any_other() {
    let desk = Desk::with(World::builder(), &[PARTNER]).await;
    let browser = desk.world.signed_in_without_email().await;
    let page = post_and_keep(&desk, &browser, "/antrag/versand", "fahrer=Ada")
        .await
        .location()
        .expect("a page");
    browser
        .open(&page)
        .await
        .is(403)
        .shows("Antragsversand noch nicht möglich")
        .hides(SEND);
    browser
        .press_at(&format!("/antrag/versand?vtnr-eingabe={}", id_in(&page)))
        .await
        .is(403);
    assert!(desk.posts().is_empty());
}

#[tokio::test]
async fn only_a_form_of_the_very_origin_that_is_listed_is_kept() {
    let desk = Desk::with(
        World::builder().config("[parking]\nlargest = \"4KiB\""),
        &[PARTNER],
    )
    .await;
    let browser = desk.world.browser();
    for (origin, content_type, length, why) in [
        (
            "https://vergleich.example.evil.example",
            FORM,
            3,
            "nehmen wir nur Eingaben an, die Sie im Online-Rechner selbst machen",
        ),
        (
            "http://vergleich.example",
            FORM,
            3,
            "nehmen wir nur Eingaben an",
        ),
        (
            "https://vergleich.example:8443",
            FORM,
            3,
            "von der Website vergleich.example:8443",
        ),
        (
            "https://sub.vergleich.example",
            FORM,
            3,
            "nehmen wir nur Eingaben an",
        ),
        ("null", FORM, 3, "von einer anderen Website"),
        ("https://<b>.example", FORM, 3, "von einer anderen Website"),
        (
            PARTNER,
            "text/plain",
            3,
            "Ihre Eingabe konnten wir leider nicht aufbewahren",
        ),
        (PARTNER, FORM, 4_097, "größer als 4 KB"),
    ] {
        let answer = post_from(&browser, origin, "/kfz", content_type, "x".repeat(length)).await;
        answer
            .is(403)
            .shows("Wir haben sie nicht an den Online-Rechner weitergegeben")
            .shows(why)
            .hides("nicht angemeldet");
        assert_eq!(answer.set_cookies(), [""; 0], "{origin}");
        assert_eq!(answer.href_of("ZUM ONLINE-RECHNER"), "/");
    }
    // A script of the site's is told so as a program.
    let fields = [
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-site", "cross-site"),
        ("origin", PARTNER),
        ("content-type", FORM),
    ];
    let script = browser
        .send(
            Method::POST,
            "/kfz",
            &fields.map(|(name, value)| (name, value.to_owned())),
            Some(b"a=1".to_vec()),
        )
        .await;
    assert_eq!(
        (
            script.is(401).headers["content-type"].as_bytes(),
            script.set_cookies().len()
        ),
        (&b"application/problem+json"[..], 0)
    );
    assert_eq!(desk.world.metric(KEPT).await, 0.0);
    post_from(&browser, PARTNER, "/kfz", FORM, "a=1")
        .await
        .is(303);
    assert_eq!(desk.world.metric(KEPT).await, 1.0);
    assert!(desk.posts().is_empty());
}

#[tokio::test]
async fn older_browsers_say_with_origin_or_referer_which_site_a_form_is_of() {
    let desk = Desk::with(World::builder(), &[PARTNER]).await;
    let browser = desk.world.browser();
    for (name, value, status) in [
        ("origin", PARTNER.to_owned(), 303),
        ("referer", format!("{PARTNER}/rechner?x=1"), 303),
        ("origin", "https://evil.example".to_owned(), 403),
        (
            "referer",
            "https://evil.example/https://vergleich.example".to_owned(),
            403,
        ),
    ] {
        let fields = [
            ("accept", "*/*".to_owned()),
            ("content-type", FORM.to_owned()),
            (name, value.clone()),
        ];
        browser
            .send(Method::POST, "/kfz", &fields, Some(b"a=1".to_vec()))
            .await
            .is(status);
    }
}

#[tokio::test]
async fn over_http2_a_listed_sites_form_is_kept_and_anothers_is_not() {
    let desk = Desk::with(World::builder().https(), &[PARTNER]).await;
    let host = format!("localhost:{}", desk.world.gateways[0].https.expect("https"));
    let mut client = H2::connect(&desk.world).await;
    for (origin, status) in [(PARTNER, 303), ("https://evil.example", 403)] {
        let request = http::Request::builder()
            .method("POST")
            .uri(format!("https://{host}/kfz"));
        let request = request
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-site", "cross-site");
        let request = request
            .header("origin", origin)
            .header("content-type", FORM)
            .body(())
            .expect("a request");
        let (answer, mut body) = client.begin(request).await;
        body.send_data("a=1".into(), true).expect("sent");
        let answer = whole(answer).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{origin}");
        let cookie = answer
            .headers()
            .get("set-cookie")
            .map(|cookie| cookie.to_str().expect("ASCII").to_owned());
        assert_eq!(
            cookie.is_some_and(|cookie| cookie.starts_with("__Host-vtnr_parked_")),
            status == 303,
            "{origin}"
        );
    }
}

#[tokio::test]
async fn what_another_host_of_the_insurers_posts_into_a_session_goes_on_as_it_always_did() {
    let desk = Desk::with(World::builder(), &[]).await;
    let browser = desk.world.signed_in(ADA).await;
    // Hosts below one domain are one site, so that the browser sends its cookies along.
    let fields = [
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://www.insurer.example"),
        ("content-type", FORM),
    ];
    let fields = fields.map(|(name, value)| (name, value.to_owned()));
    browser
        .send(Method::POST, "/kfz", &fields, Some(b"a=1".to_vec()))
        .await
        .is(200);
    assert_eq!(desk.posts()[0].body, b"a=1");
    browser.drop_cookie("vtnr_session");
    browser
        .send(Method::POST, "/kfz", &fields, Some(b"a=1".to_vec()))
        .await
        .is(403)
        .shows("www.insurer.example");
}
