//! The insurer's portal as a way in.

use crate::support::authority::{Authority, Identity};
use crate::support::browser::Browser;
use crate::support::upstream::{Request, Upstream};
use crate::support::world::{ADA, BEN, Builder, World};
use crate::support::{Raw, Socket, eventually};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

const SIGN_OUT: &str = "/ui/login/de/abmelden";

/// A portal that knows `PORTAL=ada` and `PORTAL=ben`, and what befell it. Answers about cookies and below paths named `langsam` wait until
/// they may go.
struct Portal {
    server: Upstream,
    told: Told,
}

/// What a portal is told, and tells.
#[derive(Clone, Default)]
struct Told {
    is_ill: Arc<AtomicBool>,
    has_ended: Arc<AtomicBool>,
    checks: Arc<AtomicUsize>,
    go: watch::Sender<bool>,
}

impl Deref for Portal {
    type Target = Told;

    fn deref(&self) -> &Told {
        &self.told
    }
}

impl Portal {
    async fn start() -> Self {
        let told = Told::default();
        let all = told.clone();
        let server = Upstream::start(move |mut wire| {
            let told = all.clone();
            async move {
                while let Some(request) = wire.request().await {
                    wire.send(told.answer(&request).await).await;
                }
            }
        })
        .await;
        Self { server, told }
    }

    /// The least that a gateway must know of it.
    fn least(&self, further: &str) -> String {
        format!(
            "[portal]\ncheck_url = \"{}/wer\"\ncookies = [\"PORTAL\"]\n{further}\n",
            self.server.url()
        )
    }

    fn config(&self, further: &str) -> String {
        format!(
            "{}sign_in_url = \"https://portal.insurer.example/an?ziel={{return_to}}\"\n\
             sign_out_url = \"https://portal.insurer.example/ab\"\n{further}\n",
            self.least("")
        )
    }
}

impl Told {
    async fn answer(&self, request: &Request) -> String {
        let cookie = request
            .values("cookie")
            .first()
            .copied()
            .unwrap_or_default();
        if request.target() == "/wer" {
            self.checks.fetch_add(1, Ordering::AcqRel);
        }
        if request.target().contains("langsam") || cookie.contains("langsam") {
            let _ = self.go.subscribe().wait_for(|go| *go).await;
        }
        match request.target() {
            "/wer" if self.is_ill.load(Ordering::Acquire) => {
                "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned()
            }
            "/wer" => check(cookie, self.has_ended.load(Ordering::Acquire)),
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPortal".to_owned(),
        }
    }

    fn checks(&self) -> usize {
        self.checks.load(Ordering::Acquire)
    }
}

fn check(cookie: &str, has_ended: bool) -> String {
    let named =
        |vtnr: &str| format!("HTTP/1.1 200 OK\r\nX-VTNR: {vtnr}\r\nContent-Length: 0\r\n\r\n");
    match cookie {
        _ if has_ended => "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "PORTAL=ada" => named(ADA.0),
        "PORTAL=ben" => named(BEN.0),
        "PORTAL=nobody" => named("60/999/9999"),
        "PORTAL=unclear" => {
            "HTTP/1.1 200 OK\r\nX-VTNR: 60/123/4567\r\nX-VTNR: 60/123/4568\r\nContent-Length: 0\r\n\r\n".to_owned()
        }
        "PORTAL=silent" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "PORTAL=lost" => "HTTP/1.1 302 On\r\nLocation: /anmelden\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n".to_owned(),
    }
}

async fn world(portal: &Portal, further: &str) -> World {
    built(World::builder(), portal, further).await
}

async fn built(builder: Builder, portal: &Portal, further: &str) -> World {
    builder.config(&portal.config(further)).start().await
}

fn with(world: &World, portal: &str) -> Browser {
    let browser = world.browser();
    browser.set_cookie("PORTAL", portal);
    browser
}

#[tokio::test]
async fn who_is_signed_in_at_the_portal_has_a_full_session_and_sees_no_page_of_ours() {
    let (portal, upstream) = (Portal::start().await, Upstream::fine().await);
    let world = built(World::builder().upstream(&upstream.url()), &portal, "").await;
    let ada = with(&world, "ada");
    ada.set_cookie("JSESSIONID", "calculator");
    ada.get("/kfz/angebot?id=42").await.is(200);
    ada.post("/antrag/versand", &[("angebot", "42")])
        .await
        .is(200);
    for request in upstream.requests() {
        assert_eq!(
            (request.values("x-vtnr"), request.values("x-vtnr-level")),
            (vec![ADA.0], vec!["full"]),
            "{request:?}"
        );
    }
    ada.get("/ui/login/de/vtnr-login?return_to=%2Fkfz")
        .await
        .is(200);
    assert_eq!(ada.cookie("vtnr_session"), None);
    assert!(world.mails().await.is_empty());
    let asked = portal.server.requests();
    assert_eq!(asked.len(), 1, "its word counts for a minute");
    assert_eq!(
        asked[0].values("cookie"),
        ["PORTAL=ada"],
        "other systems' cookies are none of its business"
    );
    world.log_has(r#""step":"portal","outcome":"ok""#).await;
    assert_eq!(
        world
            .metric("vtnr_gateway_portal_checks_total{outcome=\"signed_in\"}")
            .await,
        1.0
    );
}

#[tokio::test]
async fn whatever_is_not_a_clear_yes_is_a_no() {
    let (portal, upstream) = (Portal::start().await, Upstream::fine().await);
    let world = built(World::builder().upstream(&upstream.url()), &portal, "").await;
    for cookie in ["eve", "nobody", "unclear", "silent", "lost", ""] {
        let browser = with(&world, cookie);
        browser
            .get("/kfz")
            .await
            .shows("Anmelden mit Vermittlernummer")
            .shows("Anmelden im Portal");
        browser.fetch("/kfz").await.is(401);
        browser
            .post("/antrag/versand", &[("angebot", "42")])
            .await
            .is(401);
    }
    // Whom the portal knows and we do not would be sent back and forth.
    let nobody = with(&world, "nobody")
        .open("/ui/login/de/portal?return_to=%2F")
        .await;
    nobody.is(403).shows("keiner Vermittlernummer zugeordnet");
    // Operators are told of answers that name nobody.
    world.log_has("its answers name no broker").await;
    upstream.saw_nothing("doubtful answers of the portal");
}

#[tokio::test]
async fn two_browsers_never_share_an_answer() {
    let (portal, upstream) = (Portal::start().await, Upstream::fine().await);
    let world = Arc::new(built(World::builder().upstream(&upstream.url()), &portal, "").await);
    let each = (0..60).map(|number| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let (cookie, status) = [("ada", 200), ("ben", 200), ("eve", 401)][number % 3];
            with(&world, cookie)
                .fetch(&format!("/{cookie}"))
                .await
                .is(status);
        })
    });
    for task in each.collect::<Vec<_>>() {
        task.await.expect("each got its own");
    }
    let requests = upstream.requests();
    assert_eq!(requests.len(), 40);
    for request in requests {
        let vtnr = if request.target() == "/ada" {
            ADA.0
        } else {
            BEN.0
        };
        assert_eq!(request.values("x-vtnr"), [vtnr], "{}", request.target());
    }
    assert!(
        portal.checks() <= 6,
        "who asks the same at once asks once: {}",
        portal.checks()
    );
}

#[tokio::test]
async fn its_word_counts_for_the_configured_time_and_no_longer() {
    let portal = Portal::start().await;
    let world = world(&portal, "cache = \"1s\"").await;
    let ada = with(&world, "ada");
    ada.get("/").await.is(200);
    portal.has_ended.store(true, Ordering::Release);
    eventually("she is signed out here too", async || {
        (ada.fetch("/").await.status == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_portal_that_is_down_means_our_own_pages() {
    let portal = Portal::start().await;
    let world = world(&portal, "cache = \"0s\"\ntimeout = \"500ms\"").await;
    let ada = with(&world, "ada");
    ada.get("/").await.is(200);
    portal.is_ill.store(true, Ordering::Release);
    ada.get("/kfz")
        .await
        .is(200)
        .shows("Anmelden mit Vermittlernummer");
    ada.fetch("/kfz").await.is(401);
    ada.get("/ui/login/de/portal")
        .await
        .is(503)
        .waits(5)
        .shows("Das Portal antwortet zurzeit nicht");
    // Nobody waits for it once it has failed several times, and others are not kept from signing in.
    world.signed_in(BEN).await.get("/").await.is(200);
    portal.is_ill.store(false, Ordering::Release);
    eventually("it is asked again", async || {
        (ada.fetch("/").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_portal_that_hangs_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/wer", listener.local_addr().expect("bound"));
    let config = format!(
        "[portal]\ncheck_url = \"{url}\"\ncookies = [\"PORTAL\"]\ntimeout = \"300ms\"\nconnections = 2\n"
    );
    let world = World::builder().config(&config).start().await;
    let ask = async |number: u32| {
        with(&world, &number.to_string())
            .get("/")
            .await
            .is(200)
            .shows("Anmelden mit Vermittlernummer");
    };
    // More at once than may ask at once: the time limit is for the waiting too.
    let ten = futures_util::future::join_all((0..10).map(ask));
    tokio::time::timeout(Duration::from_secs(8), ten)
        .await
        .expect("nobody waits for long");
    drop(listener);
}

#[tokio::test]
async fn what_another_sites_page_sends_has_nothing_of_the_portal() {
    let (portal, upstream) = (Portal::start().await, Upstream::fine().await);
    let login = "[login]\nentry_origins = [\"https://vergleich.example\"]";
    let world = built(
        World::builder().upstream(&upstream.url()).config(login),
        &portal,
        "",
    )
    .await;
    let ada = with(&world, "ada");
    let foreign = [
        ("sec-fetch-site", "cross-site".to_owned()),
        ("sec-fetch-mode", "no-cors".to_owned()),
    ];
    ada.send(
        http::Method::POST,
        "/antrag/versand",
        &foreign,
        Some(b"angebot=42".to_vec()),
    )
    .await
    .is(401);
    ada.send(http::Method::GET, "/kunden.json", &foreign, None)
        .await
        .is(401);
    // Not even with a form in a window of its own; Internet Explorer says with `Referer` alone whose it is.
    let form = |name, value: &str| {
        let fields = [
            ("accept", "*/*"),
            ("content-type", "application/x-www-form-urlencoded"),
            (name, value),
        ];
        fields.map(|(name, value)| (name, value.to_owned()))
    };
    let post = async |fields: &[(&'static str, String)]| {
        ada.send(
            http::Method::POST,
            "/antrag/versand",
            fields,
            Some(b"angebot=42".to_vec()),
        )
        .await
    };
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("referer", "https://evil.example/"),
        ("sec-fetch-site", "cross-site"),
    ] {
        post(&form(name, value))
            .await
            .is(403)
            .shows("Wir haben sie nicht an den Online-Rechner weitergegeben");
    }
    upstream.saw_nothing("another site's requests");
    // A listed site's is kept, and the portal's word counts on the page with the button.
    let kept = post(&form("origin", "https://vergleich.example")).await;
    assert_eq!(kept.is(303).set_cookies().len(), 1);
    upstream.saw_nothing("a form that nobody has confirmed");
    let page = ada.follow(kept).await;
    page.is(200).shows("von der Website vergleich.example");
    ada.press(&page, "Eingabe jetzt absenden").await.is(200);
    let sent = upstream.only();
    assert_eq!(
        (sent.line.as_str(), &sent.body[..]),
        ("POST /antrag/versand HTTP/1.1", &b"angebot=42"[..])
    );
}

#[tokio::test]
async fn who_signs_out_here_is_out_until_they_say_otherwise() {
    let portal = Portal::start().await;
    let world = world(&portal, "").await;
    let ada = with(&world, "ada");
    ada.get("/").await.is(200);
    ada.get(SIGN_OUT).await.shows(ADA.0);
    let out = ada.post("/ui/login/de/abmelden", &[]).await;
    out.is(200).shows("Im Portal sind Sie noch angemeldet");
    assert_eq!(
        out.href_of("Im Portal abmelden"),
        "https://portal.insurer.example/ab"
    );
    ada.get("/")
        .await
        .is(200)
        .shows("Anmelden mit Vermittlernummer");
    ada.fetch("/").await.is(401);
    ada.open("/ui/login/de/portal?return_to=%2F")
        .await
        .is(200)
        .shows("im Portal noch angemeldet");
    ada.post("/ui/login/de/portal?return_to=%2F", &[])
        .await
        .leads_to("/");
    ada.get("/")
        .await
        .is(200)
        .hides("Anmelden mit Vermittlernummer");
    // Signed out once more, and in again at the portal: with a new cookie of the portal's it counts again.
    ada.post("/ui/login/de/abmelden", &[]).await.is(200);
    ada.set_cookie("PORTAL", "ben");
    ada.fetch("/").await.is(200);
}

#[tokio::test]
async fn the_way_to_the_portal_keeps_where_the_broker_wants_to_go() {
    let portal = Portal::start().await;
    let world = world(&portal, "").await;
    let page = world.browser().get("/kfz/angebot?id=42").await;
    let there = world
        .browser()
        .open(&page.href_of("Anmelden im Portal"))
        .await;
    let target = format!(
        "https://portal.insurer.example/an?ziel={}",
        urlencoded(&format!("{}/kfz/angebot?id=42", world.base()))
    );
    assert_eq!(there.is(303).location(), Some(target));
}

/// As `encodeURIComponent` does, and a little more.
fn urlencoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[tokio::test]
async fn the_portals_own_paths_pass_through_and_lead_nowhere_else() {
    let (portal, upstream) = (Portal::start().await, Upstream::fine().await);
    let paths = format!(
        "paths = [\"/portal/\"]\nserver = \"{}\"",
        portal.server.url()
    );
    let world = built(World::builder().upstream(&upstream.url()), &portal, &paths).await;
    let stranger = world.browser();
    stranger
        .get("/portal/anmelden?x=1")
        .await
        .is(200)
        .shows("Portal");
    stranger
        .post("/portal/anmelden", &[("user", "ada")])
        .await
        .is(200)
        .shows("Portal");
    for escape in [
        "/portal/..;/antrag/versand",
        "/portal/%2e%2e/antrag/versand",
        "/portal//antrag/versand",
        "/portal/.%2e/antrag",
    ] {
        stranger.fetch(escape).await.is(401);
    }
    upstream.saw_nothing("the portal's paths");
    let request = portal.server.requests();
    assert!(
        request
            .iter()
            .all(|request| request.target().starts_with("/portal/anmelden")),
        "{request:?}"
    );
    assert!(
        request
            .iter()
            .all(|request| request.values("x-vtnr").is_empty())
    );
}

#[tokio::test]
async fn a_page_of_the_portals_that_cannot_be_had_names_the_portal() {
    let (mut portal, upstream) = (Portal::start().await, Upstream::fine().await);
    let paths = format!(
        "paths = [\"/portal/\"]\nserver = \"{}\"",
        portal.server.url()
    );
    let world = built(World::builder().upstream(&upstream.url()), &portal, &paths).await;
    let stranger = world.browser();
    portal.server.kill().await;
    for _ in 0..2 {
        let page = stranger.get("/portal/anmelden?x=1").await;
        page.is(502)
            .waits(5)
            .shows("Das Portal ist zurzeit nicht erreichbar")
            .hides("Online-Rechner")
            .hides("angemeldet");
        assert_eq!(page.href_of("ERNEUT VERSUCHEN"), "/portal/anmelden?x=1");
        let form = stranger.post("/portal/anmelden", &[("user", "ada")]).await;
        form.is(502)
            .shows("Ihre Eingabe haben wir nicht weitergegeben")
            .hides("Online-Rechner")
            .hides("angemeldet");
    }
}

#[tokio::test]
async fn a_session_without_e_mail_submits_as_the_same_broker_only() {
    let (portal, upstream) = (Portal::start().await, Upstream::fine().await);
    let world = built(World::builder().upstream(&upstream.url()), &portal, "").await;
    let browser = world.browser();
    browser
        .claim(ADA.0, "other@makler.example", "/")
        .await
        .leads_to("/ui/login/de/unbekannte-e-mail");
    browser
        .post(
            "/ui/login/de/unbekannte-e-mail",
            &[("action", "without-email")],
        )
        .await
        .leads_to("/");
    browser
        .post("/antrag/versand", &[("angebot", "42")])
        .await
        .is(403);
    browser.set_cookie("PORTAL", "ben");
    browser
        .post("/antrag/versand", &[("angebot", "42")])
        .await
        .is(403);
    upstream.saw_nothing("another broker's word");
    browser.set_cookie("PORTAL", "ada");
    browser
        .post("/antrag/versand", &[("angebot", "42")])
        .await
        .is(200);
    assert_eq!(upstream.only().values("x-vtnr-level"), ["full"]);
    // The calculator is told the same on every page.
    browser.open("/kfz").await.is(200);
    browser.fetch("/kfz.js").await.is(200);
    assert!(
        upstream
            .requests()
            .iter()
            .all(|request| request.values("x-vtnr-level") == ["full"])
    );
}

/// The portal was down for a moment, and what was posted then was kept.
#[tokio::test]
async fn a_form_that_was_kept_while_the_portal_was_down_goes_out_by_its_word() {
    let (portal, upstream) = (Portal::start().await, Upstream::fine().await);
    let world = built(
        World::builder().upstream(&upstream.url()),
        &portal,
        "cache = \"0s\"",
    )
    .await;
    let ada = with(&world, "ada");
    portal.is_ill.store(true, Ordering::Release);
    let page = ada.post("/antrag/versand", &[("angebot", "42")]).await;
    page.is(401).shows("bewahren");
    upstream.saw_nothing("a form that nobody may send");
    portal.is_ill.store(false, Ordering::Release);
    eventually("it is asked again", async || {
        (ada.fetch("/").await.status == 200).then_some(())
    })
    .await;
    let form = ada.get(&page.href_of("ZUR ANMELDUNG")).await;
    form.is(200).shows("Eingabe jetzt absenden").shows(ADA.0);
    ada.press(&form, "Eingabe jetzt absenden").await.is(200);
    assert_eq!(upstream.last().body, b"angebot=42");
}

#[tokio::test]
async fn a_sign_out_counts_though_the_portal_does_not_answer_then() {
    let portal = Portal::start().await;
    let world = world(&portal, "cache = \"0s\"").await;
    let ada = with(&world, "ada");
    ada.fetch("/").await.is(200);
    portal.is_ill.store(true, Ordering::Release);
    ada.get(SIGN_OUT)
        .await
        .is(200)
        .shows("Möglicherweise sind Sie über das Portal angemeldet")
        .shows("ABMELDEN");
    ada.post(SIGN_OUT, &[])
        .await
        .is(200)
        .shows("Im Portal sind Sie möglicherweise noch angemeldet");
    // The certificates' host may have the same cookies, and one of its own for this.
    assert!(ada.cookie("vtnr_left_portal").is_some() && ada.cookie("vtnr_left").is_none());
    portal.is_ill.store(false, Ordering::Release);
    ada.get(SIGN_OUT)
        .await
        .is(200)
        .shows("Sie sind zurzeit nicht angemeldet");
    let back = async || ada.get("/ui/login/de/portal").await;
    eventually("the portal is asked again", async || {
        (back().await.status == 200).then_some(())
    })
    .await;
    ada.fetch("/").await.is(401);
    // Who is nobody there has nothing to leave.
    let eve = with(&world, "eve");
    eve.fetch("/").await.is(401);
}

#[tokio::test]
async fn who_signed_out_here_finds_back_where_the_portal_has_no_page_for_it() {
    let portal = Portal::start().await;
    let world = World::builder().config(&portal.least("")).start().await;
    let ada = with(&world, "ada");
    ada.get("/").await.is(200);
    let out = ada.post(SIGN_OUT, &[]).await;
    let back = ada.get(&out.href_of("WIEDER ANMELDEN")).await;
    back.is(200)
        .shows("Wenn Sie im Portal noch angemeldet sind");
    let page = ada.get("/kfz").await;
    let back = ada
        .get(&page.href_of("Weiter mit der Anmeldung im Portal"))
        .await;
    back.is(200).shows("WEITER MIT DER ANMELDUNG IM PORTAL");
    ada.post(&page.href_of("Weiter mit der Anmeldung im Portal"), &[])
        .await
        .leads_to("/kfz");
    ada.fetch("/").await.is(200);
    let stranger = world.browser();
    stranger.get("/ui/login/de/portal").await.is(404);
    stranger.get("/kfz").await.is(200).hides("im Portal");
}

/// So many requests below the portal's own paths that it holds.
async fn under_way(world: &World, portal: &Portal, requests: usize) -> Vec<Raw> {
    let before = portal.server.requests().len();
    let mut all = Vec::new();
    for _ in 0..requests {
        let (port, mut client) = (
            world.gateways[0].port,
            Raw::connect(world.gateways[0].port).await,
        );
        client
            .send(format!(
                "GET /portal/langsam HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
            ))
            .await;
        all.push(client);
    }
    portal.server.has_seen(before + requests).await;
    all
}

/// Of eight seats two are strangers'.
#[tokio::test]
async fn the_sign_out_asks_nobody_and_needs_no_seat_and_the_portals_server_shares_none_with_the_calculators()
 {
    let (portal, one, other) = (
        Portal::start().await,
        Upstream::fine().await,
        Upstream::fine().await,
    );
    let builder = World::builder()
        .listen("max_requests = 8")
        .config(&format!(
            "[upstream]\nurl = [\"{}\", \"{}\"]",
            one.url(),
            other.url()
        ))
        .config(&portal.config(&format!(
            "paths = [\"/portal/\"]\nserver = \"{}\"",
            portal.server.url()
        )));
    let world = builder.start().await;
    let held = under_way(&world, &portal, 2).await;
    let ada = with(&world, "ada");
    let page = ada.open("/ui/login/de/vtnr-login?return_to=%2Fkfz").await;
    assert_eq!(
        page.is(503).waits(5).href_of("ERNEUT VERSUCHEN"),
        "/ui/login/de/vtnr-login?return_to=%2Fkfz"
    );
    let form = ada.post("/portal/anmelden", &[("user", "ada")]).await;
    form.is(503)
        .waits(5)
        .shows("es wurde nichts ausgeführt")
        .shows("Ihr Browser hat Ihre Eingabe noch")
        .hides("ERNEUT VERSUCHEN");
    ada.open(SIGN_OUT).await.is(200).shows("ABMELDEN");
    ada.post(SIGN_OUT, &[]).await.is(200);
    assert_eq!(portal.checks(), 0);
    portal.go.send_replace(true);
    for mut client in held {
        assert_eq!(client.answer().await.status(), 200);
    }
}

#[tokio::test]
async fn a_websocket_is_cut_when_the_portal_says_that_nobody_is_signed_in() {
    let portal = Portal::start().await;
    let world = world(&portal, "cache = \"0s\"").await;
    let (mut ada, mut ben) = (
        Socket::with_cookies(&world, 0, "PORTAL=ada").await,
        Socket::with_cookies(&world, 0, "PORTAL=ben").await,
    );
    // Once it has been asked about both, both are open still.
    let before = portal.checks();
    eventually("it is asked about them", async || {
        (portal.checks() >= before + 2).then_some(())
    })
    .await;
    ada.is_open().await;
    ben.is_open().await;
    portal.has_ended.store(true, Ordering::Release);
    assert_eq!((ada.closed().await, ben.closed().await), (4401, 4401));
    world
        .metric_is("vtnr_gateway_websockets_cut_total", 2.0)
        .await;
}

#[tokio::test]
async fn a_crowd_that_waits_for_the_portal_is_no_failure_of_its() {
    let portal = Portal::start().await;
    let world = world(&portal, "timeout = \"4s\"\nconnections = 1").await;
    // Making a browser takes longer than asking.
    let crowd: Vec<_> = (0..6)
        .map(|number| with(&world, &format!("langsam{number}")))
        .collect();
    for answer in
        futures_util::future::join_all(crowd.iter().map(|browser| browser.fetch("/"))).await
    {
        answer.is(401);
    }
    portal.go.send_replace(true);
    with(&world, "ada").fetch("/").await.is(200);
    let checks = async |outcome: &str| {
        world
            .metric(&format!(
                "vtnr_gateway_portal_checks_total{{outcome=\"{outcome}\"}}"
            ))
            .await
    };
    assert_eq!(
        (
            checks("failed").await,
            checks("no_room").await,
            checks("not_asked").await
        ),
        (1.0, 5.0, 0.0)
    );
}

/// Of eight places one address gets two.
#[tokio::test]
async fn one_address_does_not_keep_the_others_from_the_portal() {
    let portal = Portal::start().await;
    let config = portal.config("timeout = \"20s\"\nconnections = 8");
    let world = Arc::new(
        World::builder()
            .listen("trusted_proxies = [\"127.0.0.1\"]")
            .config(&config)
            .start()
            .await,
    );
    let from = |address: &str| {
        vec![
            ("x-forwarded-for", address.to_owned()),
            ("sec-fetch-mode", "cors".to_owned()),
        ]
    };
    let crowd: Vec<_> = (0..20)
        .map(|number| {
            let (world, fields) = (Arc::clone(&world), from(&format!("2001:db8:1:2::{number}")));
            tokio::spawn(async move {
                with(&world, &format!("langsam{number}"))
                    .send(http::Method::GET, "/", &fields, None)
                    .await
            })
        })
        .collect();
    eventually("two are asked about", async || {
        (portal.checks() == 2).then_some(())
    })
    .await;
    with(&world, "ada")
        .send(http::Method::GET, "/", &from("192.0.2.1"), None)
        .await
        .is(200);
    assert_eq!(portal.checks(), 3);
    portal.go.send_replace(true);
    for stranger in crowd {
        stranger.await.expect("no panic").is(401);
    }
}

#[tokio::test]
async fn a_sign_in_is_counted_once_however_often_the_portal_is_asked() {
    let portal = Portal::start().await;
    let world = world(&portal, "cache = \"0s\"").await;
    for _ in 0..3 {
        with(&world, "ada").fetch("/").await.is(200);
    }
    with(&world, "ben").fetch("/").await.is(200);
    assert_eq!(portal.checks(), 4);
    assert_eq!(
        world
            .metric("vtnr_gateway_sign_ins_total{outcome=\"ok\",step=\"portal\"}")
            .await,
        2.0
    );
}

/// Its certificate is of the insurer's own authority, and the environment names a proxy that is not there.
#[tokio::test]
async fn a_portal_with_a_certificate_of_the_insurers_own_is_asked_directly() {
    let authority = Authority::named("Insurer CA");
    let identity = authority.issue("portal", 1, |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName(
            "localhost".try_into().expect("a name"),
        )];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!(
        "https://localhost:{}/wer",
        listener.local_addr().expect("bound").port()
    );
    tokio::spawn(serve_tls(listener, acceptor(&identity)));
    let config = |ca_file: &str| {
        format!("[portal]\ncheck_url = \"{url}\"\ncookies = [\"PORTAL\"]\n{ca_file}\n")
    };
    let proxy = [
        "env",
        "HTTPS_PROXY=http://127.0.0.1:9",
        "HTTP_PROXY=http://127.0.0.1:9",
        "ALL_PROXY=http://127.0.0.1:9",
    ];
    let ca_file = format!("ca_file = {:?}", authority.file("ca.pem"));
    for (ca_file, status) in [(ca_file.as_str(), 200), ("", 401)] {
        let world = World::builder()
            .config(&config(ca_file))
            .through(0, &proxy)
            .start()
            .await;
        with(&world, "ada").fetch("/").await.is(status);
    }
}

fn acceptor(identity: &Identity) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(&identity.cert)
        .expect("a file")
        .collect::<Result<Vec<_>, _>>()
        .expect("PEM");
    let key = PrivateKeyDer::from_pem_file(&identity.key).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions");
    TlsAcceptor::from(Arc::new(
        config
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a pair"),
    ))
}

/// Says of everybody who asks that Ada is signed in.
async fn serve_tls(listener: TcpListener, acceptor: TlsAcceptor) {
    while let Ok((tcp, _)) = listener.accept().await {
        let Ok(mut stream) = acceptor.accept(tcp).await else {
            continue;
        };
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n")
            && stream.read_buf(&mut asked).await.is_ok_and(|read| read > 0)
        {}
        let answer = format!(
            "HTTP/1.1 200 OK\r\nX-VTNR: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            ADA.0
        );
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}
