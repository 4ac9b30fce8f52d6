//! The insurer's portal as a way in.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use support::browser::Browser;
use support::eventually;
use support::upstream::Upstream;
use support::world::{ADA, BEN, Builder, World};
use tokio::net::TcpListener;

/// A portal that knows `PORTAL=ada` and `PORTAL=ben`, and what befell it.
struct Portal {
    server: Upstream,
    is_ill: Arc<AtomicBool>,
    has_ended: Arc<AtomicBool>,
    checks: Arc<AtomicUsize>,
}

impl Portal {
    async fn start() -> Self {
        let (is_ill, has_ended, checks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)), Arc::default());
        let (ill, ended, counted): (_, _, Arc<AtomicUsize>) = (Arc::clone(&is_ill), Arc::clone(&has_ended), Arc::clone(&checks));
        let server = Upstream::start(move |mut wire| {
            let (ill, ended, counted) = (Arc::clone(&ill), Arc::clone(&ended), Arc::clone(&counted));
            async move {
                while let Some(request) = wire.request().await {
                    let cookie = request.values("cookie").first().copied().unwrap_or_default().to_owned();
                    let answer = if request.target() != "/wer" {
                        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPortal".to_owned()
                    } else {
                        counted.fetch_add(1, Ordering::AcqRel);
                        if ill.load(Ordering::Acquire) {
                            "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned()
                        } else {
                            check(&cookie, ended.load(Ordering::Acquire))
                        }
                    };
                    wire.send(answer).await;
                }
            }
        })
        .await;
        Self { server, is_ill, has_ended, checks }
    }

    fn checks(&self) -> usize {
        self.checks.load(Ordering::Acquire)
    }

    fn config(&self, further: &str) -> String {
        format!(
            "[portal]\ncheck_url = \"{}/wer\"\ncookies = [\"PORTAL\"]\nsign_in_url = \"https://portal.insurer.example/an?ziel={{return_to}}\"\n\
             sign_out_url = \"https://portal.insurer.example/ab\"\n{further}\n",
            self.server.url()
        )
    }
}

fn check(cookie: &str, has_ended: bool) -> String {
    let named = |vtnr: &str| format!("HTTP/1.1 200 OK\r\nX-VTNR: {vtnr}\r\nContent-Length: 0\r\n\r\n");
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
    ada.post("/antrag/versand", &[("angebot", "42")]).await.is(200);
    for request in upstream.requests() {
        assert_eq!((request.values("x-vtnr"), request.values("x-vtnr-level")), (vec![ADA.0], vec!["full"]), "{request:?}");
    }
    ada.get("/ui/login/de/vtnr-login?return_to=%2Fkfz").await.is(200);
    assert_eq!(ada.cookie("vtnr_session"), None);
    assert!(world.postbox.mails().is_empty());
    let asked = portal.server.requests();
    assert_eq!(asked.len(), 1, "its word counts for a minute");
    assert_eq!(asked[0].values("cookie"), ["PORTAL=ada"], "other systems' cookies are none of its business");
    assert!(world.log().contains(r#""step":"portal","outcome":"ok""#));
    assert_eq!(world.metric("vtnr_gateway_portal_checks_total{outcome=\"signed_in\"}").await, 1.0);
}

#[tokio::test]
async fn whatever_is_not_a_clear_yes_is_a_no() {
    let (portal, upstream) = (Portal::start().await, Upstream::fine().await);
    let world = built(World::builder().upstream(&upstream.url()), &portal, "").await;
    for cookie in ["eve", "nobody", "unclear", "silent", "lost", ""] {
        let browser = with(&world, cookie);
        browser.get("/kfz").await.shows("Anmelden mit Vermittlernummer").shows("Anmelden im Portal");
        browser.fetch("/kfz").await.is(401);
        browser.post("/antrag/versand", &[("angebot", "42")]).await.is(401);
    }
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
            with(&world, cookie).fetch(&format!("/{cookie}")).await.is(status);
        })
    });
    for task in each.collect::<Vec<_>>() {
        task.await.expect("each got its own");
    }
    let requests = upstream.requests();
    assert_eq!(requests.len(), 40);
    for request in requests {
        let vtnr = if request.target() == "/ada" { ADA.0 } else { BEN.0 };
        assert_eq!(request.values("x-vtnr"), [vtnr], "{}", request.target());
    }
    assert!(portal.checks() <= 6, "who asks the same at once asks once: {}", portal.checks());
}

#[tokio::test]
async fn its_word_counts_for_the_configured_time_and_no_longer() {
    let portal = Portal::start().await;
    let world = world(&portal, "cache = \"1s\"").await;
    let ada = with(&world, "ada");
    ada.get("/").await.is(200);
    portal.has_ended.store(true, Ordering::Release);
    eventually("she is signed out here too", async || (ada.fetch("/").await.status == 401).then_some(())).await;
}

#[tokio::test]
async fn a_portal_that_is_down_means_our_own_pages() {
    let portal = Portal::start().await;
    let world = world(&portal, "cache = \"0s\"\ntimeout = \"500ms\"").await;
    let ada = with(&world, "ada");
    ada.get("/").await.is(200);
    portal.is_ill.store(true, Ordering::Release);
    ada.get("/kfz").await.is(200).shows("Anmelden mit Vermittlernummer");
    ada.fetch("/kfz").await.is(401);
    ada.get("/ui/login/de/portal").await.is(503).shows("Das Portal antwortet zurzeit nicht");
    // Nobody waits for it once it has failed several times, and others are not kept from signing in.
    world.signed_in(BEN).await.get("/").await.is(200);
    portal.is_ill.store(false, Ordering::Release);
    eventually("it is asked again", async || (ada.fetch("/").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn a_portal_that_hangs_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/wer", listener.local_addr().expect("bound"));
    let config = format!("[portal]\ncheck_url = \"{url}\"\ncookies = [\"PORTAL\"]\ntimeout = \"300ms\"\nconnections = 2\n");
    let world = World::builder().config(&config).start().await;
    let ask = async |number: u32| {
        with(&world, &number.to_string()).get("/").await.is(200).shows("Anmelden mit Vermittlernummer");
    };
    // More at once than may ask at once: the time limit is for the waiting too.
    let ten = futures_util::future::join_all((0..10).map(ask));
    tokio::time::timeout(Duration::from_secs(8), ten).await.expect("nobody waits for long");
    drop(listener);
}

#[tokio::test]
async fn what_another_sites_page_sends_has_nothing_of_the_portal() {
    let (portal, upstream) = (Portal::start().await, Upstream::fine().await);
    let world = built(World::builder().upstream(&upstream.url()), &portal, "").await;
    let ada = with(&world, "ada");
    let foreign = [("sec-fetch-site", "cross-site".to_owned()), ("sec-fetch-mode", "no-cors".to_owned())];
    ada.send(http::Method::POST, "/antrag/versand", &foreign, Some(b"angebot=42".to_vec())).await.is(401);
    ada.send(http::Method::GET, "/kunden.json", &foreign, None).await.is(401);
    upstream.saw_nothing("another site's requests");
}

#[tokio::test]
async fn who_signs_out_here_is_out_until_they_say_otherwise() {
    let portal = Portal::start().await;
    let world = world(&portal, "").await;
    let ada = with(&world, "ada");
    ada.get("/ui/login/de/abmelden").await.shows(ADA.0);
    let out = ada.post("/ui/login/de/abmelden", &[]).await;
    out.is(200).shows("Im Portal sind Sie noch angemeldet");
    assert_eq!(out.href_of("Im Portal abmelden"), "https://portal.insurer.example/ab");
    ada.get("/").await.is(200).shows("Anmelden mit Vermittlernummer");
    ada.fetch("/").await.is(401);
    ada.open("/ui/login/de/portal?return_to=%2F").await.is(200).shows("im Portal noch angemeldet");
    ada.post("/ui/login/de/portal?return_to=%2F", &[]).await.leads_to("/");
    ada.get("/").await.is(200).hides("Anmelden mit Vermittlernummer");
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
    let there = world.browser().open(&page.href_of("Anmelden im Portal")).await;
    let target = format!("https://portal.insurer.example/an?ziel={}", urlencoded(&format!("{}/kfz/angebot?id=42", world.base())));
    assert_eq!(there.is(303).location(), Some(target));
}

/// As `encodeURIComponent` does, and a little more.
fn urlencoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[tokio::test]
async fn the_portals_own_paths_pass_through_and_lead_nowhere_else() {
    let (portal, upstream) = (Portal::start().await, Upstream::fine().await);
    let paths = format!("paths = [\"/portal/\"]\nserver = \"{}\"", portal.server.url());
    let world = built(World::builder().upstream(&upstream.url()), &portal, &paths).await;
    let stranger = world.browser();
    stranger.get("/portal/anmelden?x=1").await.is(200).shows("Portal");
    stranger.post("/portal/anmelden", &[("user", "ada")]).await.is(200).shows("Portal");
    for escape in
        ["/portal/..;/antrag/versand", "/portal/%2e%2e/antrag/versand", "/portal//antrag/versand", "/portal/.%2e/antrag"]
    {
        stranger.fetch(escape).await.is(401);
    }
    upstream.saw_nothing("the portal's paths");
    let request = portal.server.requests();
    assert!(request.iter().all(|request| request.target().starts_with("/portal/anmelden")), "{request:?}");
    assert!(request.iter().all(|request| request.values("x-vtnr").is_empty()));
}

#[tokio::test]
async fn a_session_without_e_mail_submits_as_the_same_broker_only() {
    let (portal, upstream) = (Portal::start().await, Upstream::fine().await);
    let world = built(World::builder().upstream(&upstream.url()), &portal, "").await;
    let browser = world.browser();
    browser.claim(ADA.0, "other@makler.example", "/").await.leads_to("/ui/login/de/unbekannte-e-mail");
    browser.post("/ui/login/de/unbekannte-e-mail", &[("action", "without-email")]).await.leads_to("/");
    browser.post("/antrag/versand", &[("angebot", "42")]).await.is(403);
    browser.set_cookie("PORTAL", "ben");
    browser.post("/antrag/versand", &[("angebot", "42")]).await.is(403);
    upstream.saw_nothing("another broker's word");
    browser.set_cookie("PORTAL", "ada");
    browser.post("/antrag/versand", &[("angebot", "42")]).await.is(200);
    assert_eq!(upstream.only().values("x-vtnr-level"), ["full"]);
}

/// The portal was down for a moment, and what was posted then was kept.
#[tokio::test]
async fn a_form_that_was_kept_while_the_portal_was_down_goes_out_by_its_word() {
    let (portal, upstream) = (Portal::start().await, Upstream::fine().await);
    let world = built(World::builder().upstream(&upstream.url()), &portal, "cache = \"0s\"").await;
    let ada = with(&world, "ada");
    portal.is_ill.store(true, Ordering::Release);
    let page = ada.post("/antrag/versand", &[("angebot", "42")]).await;
    page.is(401).shows("bewahren");
    upstream.saw_nothing("a form that nobody may send");
    portal.is_ill.store(false, Ordering::Release);
    eventually("it is asked again", async || (ada.fetch("/").await.status == 200).then_some(())).await;
    let form = ada.get(&page.href_of("ZUR ANMELDUNG")).await;
    form.is(200).shows("Eingabe jetzt absenden").shows(ADA.0);
    ada.press(&form, "Eingabe jetzt absenden").await.is(200);
    assert_eq!(upstream.last().body, b"angebot=42");
}
