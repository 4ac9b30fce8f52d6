//! A session of the calculator's own belongs to one broker: its cookie never goes up with another broker's request.

use crate::support::browser::{Browser, page};
use crate::support::chromium::Chromium;
use crate::support::upstream::{Request, Upstream};
use crate::support::world::{ADA, BEN, Builder, NO_EMAIL, World, tan_of};
use crate::support::{StoreKind, eventually, on_both_stores};
use crate::tomcat::tomcat;
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const ENTER: &str = "\u{e007}";
const SIGN_OUT: &str = "/ui/login/de/abmelden";
const WITHOUT_EMAIL: &str = "/ui/login/de/unbekannte-e-mail";

on_both_stores!(
    the_next_broker_in_a_browser_never_meets_the_session_of_the_one_before,
    nor_after_a_session_that_ran_out,
    a_planted_session_is_of_no_use_to_who_planted_it,
    confirming_the_address_keeps_the_calculators_session,
    a_session_that_nobody_owns_becomes_the_first_brokers,
);

/// An application that keeps a session by a cookie, and takes the broker whom it first sees in it for its owner for ever.
struct Application {
    server: Upstream,
    sessions: Arc<Mutex<Sessions>>,
}

#[derive(Default)]
struct Sessions {
    /// Who was first seen in each.
    owners: BTreeMap<String, String>,
    /// Requests that brought a session of another broker's.
    mixed_up: Vec<String>,
}

impl Application {
    /// Its cookies are set with these attributes.
    async fn start(cookie: &'static str, attributes: &'static str) -> Self {
        let (sessions, drawn) = (
            Arc::<Mutex<Sessions>>::default(),
            Arc::new(AtomicUsize::new(0)),
        );
        let all = Arc::clone(&sessions);
        let server = Upstream::start(move |mut wire| {
            let (sessions, drawn) = (Arc::clone(&all), Arc::clone(&drawn));
            async move {
                while let Some(request) = wire.request().await {
                    let known = session_in(&request, cookie);
                    let broker = request
                        .values("x-vtnr")
                        .first()
                        .map_or("nobody".to_owned(), |vtnr| (*vtnr).to_owned());
                    let (session, set) = match known {
                        Some(session) => (session, String::new()),
                        None => {
                            let session =
                                format!("sitzung-{}", drawn.fetch_add(1, Ordering::SeqCst));
                            let set = format!("Set-Cookie: {cookie}={session}{attributes}\r\n");
                            (session, set)
                        }
                    };
                    let owner =
                        sessions
                            .lock()
                            .expect("no panic")
                            .meet(&session, &broker, &request.line);
                    let body = format!("{session} of {owner}");
                    wire.send(format!(
                        "HTTP/1.1 200 OK\r\n{set}Content-Length: {}\r\n\r\n{body}",
                        body.len()
                    ))
                    .await;
                }
            }
        })
        .await;
        Self { server, sessions }
    }

    fn never_mixed_brokers_up(&self, what: &str) {
        let mixed_up = &self.sessions.lock().expect("no panic").mixed_up;
        assert!(mixed_up.is_empty(), "{what}: {mixed_up:#?}");
    }
}

impl Sessions {
    fn meet(&mut self, session: &str, broker: &str, line: &str) -> String {
        let owner = self
            .owners
            .entry(session.to_owned())
            .or_insert_with(|| broker.to_owned())
            .clone();
        if owner != broker && owner != "nobody" {
            self.mixed_up
                .push(format!("{line}: {session} of {owner} with {broker}"));
        }
        owner
    }
}

fn session_in(request: &Request, cookie: &str) -> Option<String> {
    let fields = request.values("cookie");
    let mut pairs = fields
        .iter()
        .flat_map(|field| field.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find(|(name, _)| *name == cookie)
        .map(|(_, value)| value.to_owned())
}

/// A world before this application, in which mails may be asked for often.
fn world(application: &Application, store: StoreKind) -> Builder {
    let often = "[limits]\nmail_pause = \"99 in 1s\"\nmail_burst = \"99 in 1s\"";
    World::builder()
        .store(store)
        .upstream(&application.server.url())
        .config(often)
}

async fn shows(browser: &Browser) -> String {
    browser.open("/kfz").await.is(200).body.clone()
}

/// Signs in on this browser with a TAN, whatever it did before.
async fn signs_in(world: &World, browser: &Browser, broker: (&str, &str)) {
    let before = world.postbox.mails().len();
    let answer = browser.claim(broker.0, broker.1, "/").await;
    if answer.location().as_deref() == Some("/") {
        return;
    }
    answer.leads_to("/ui/login/de/tan");
    let tan = tan_of(&world.postbox.next(before).await);
    browser.enter_tan(&tan, "/").await.leads_to("/");
}

async fn signs_in_without_email(browser: &Browser) {
    browser
        .claim(NO_EMAIL, "nobody@makler.example", "/")
        .await
        .leads_to(WITHOUT_EMAIL);
    browser
        .post(WITHOUT_EMAIL, &[("action", "without-email")])
        .await
        .leads_to("/");
}

/// How a broker's session may end, or the next one's begin.
#[derive(Clone, Copy, Debug)]
enum End {
    SignOut,
    SignOutAndForget,
    AnotherSignsIn,
    AnotherSignsInByTrust,
    AnotherSignsInWithoutEmail,
    CookieLost,
    Removed,
    Idle,
}

const AT_ONCE: [End; 7] = [
    End::SignOut,
    End::SignOutAndForget,
    End::AnotherSignsIn,
    End::AnotherSignsInByTrust,
    End::AnotherSignsInWithoutEmail,
    End::CookieLost,
    End::Removed,
];

impl End {
    fn limits(self) -> &'static str {
        match self {
            Self::Idle => "[session]\nidle = \"1m\"",
            _ => "",
        }
    }

    async fn befalls(self, world: &World, browser: &Browser) {
        match self {
            Self::SignOut => drop(browser.post(SIGN_OUT, &[]).await),
            Self::SignOutAndForget => {
                drop(browser.post(SIGN_OUT, &[("forget_browser", "1")]).await)
            }
            Self::AnotherSignsIn
            | Self::AnotherSignsInByTrust
            | Self::AnotherSignsInWithoutEmail => {}
            Self::CookieLost => browser.drop_cookie("vtnr_session"),
            Self::Removed => {
                world.write_brokers(&format!("vtnr;email\n{};{}\n{NO_EMAIL};\n", BEN.0, BEN.1));
                is_over(browser).await;
            }
            // To ask sooner would be to use it.
            Self::Idle => {
                tokio::time::sleep(Duration::from_secs(61)).await;
                is_over(browser).await;
            }
        }
    }
}

/// Waits until the session has ended. The sign-in's page sends those on who are signed in.
async fn is_over(browser: &Browser) {
    let begun = Instant::now();
    while browser
        .open(&page("vtnr-login", "/"))
        .await
        .location()
        .is_some()
    {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the session does not end"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn the_next_broker_in_a_browser_never_meets_the_session_of_the_one_before(store: StoreKind) {
    for end in AT_ONCE {
        never_meets_it_after(end, store).await;
    }
}

async fn nor_after_a_session_that_ran_out(store: StoreKind) {
    never_meets_it_after(End::Idle, store).await;
}

async fn never_meets_it_after(end: End, store: StoreKind) {
    let application = Application::start("JSESSIONID", "; Path=/; HttpOnly").await;
    let world = world(&application, store)
        .config(end.limits())
        .start()
        .await;
    let browser = world.browser();
    if matches!(end, End::AnotherSignsInByTrust) {
        signs_in(&world, &browser, BEN).await;
    }
    signs_in(&world, &browser, ADA).await;
    let adas = shows(&browser).await;
    assert_eq!(
        shows(&browser).await,
        adas,
        "{end:?}: a broker keeps their own"
    );
    let session = browser
        .cookie("JSESSIONID")
        .expect("a session of the calculator's");
    end.befalls(&world, &browser).await;
    // A browser that does not do as it is told sends the cookie all the same.
    browser.set_cookie("JSESSIONID", &session);
    match end {
        End::AnotherSignsInWithoutEmail => signs_in_without_email(&browser).await,
        _ => signs_in(&world, &browser, BEN).await,
    }
    let bens = shows(&browser).await;
    assert_ne!(bens, adas, "{end:?}");
    assert_ne!(
        browser.cookie("JSESSIONID").expect("a session"),
        session,
        "{end:?}: the old cookie is gone"
    );
    assert_eq!(
        shows(&browser).await,
        bens,
        "{end:?}: the new broker keeps theirs"
    );
    for spelling in [
        session.clone(),
        session.to_uppercase(),
        format!("\"{session}\""),
        session.replace('-', "%2D"),
    ] {
        browser.set_cookie("JSESSIONID", &spelling);
        assert_ne!(shows(&browser).await, adas, "{end:?} {spelling}");
    }
    application.never_mixed_brokers_up(&format!("{end:?}"));
}

async fn a_planted_session_is_of_no_use_to_who_planted_it(store: StoreKind) {
    let application = Application::start("PHPSESSID", "; path=/").await;
    let world = world(&application, store).start().await;
    let (attacker, victim) = (world.browser(), world.browser());
    signs_in_without_email(&attacker).await;
    let planted = shows(&attacker).await;
    victim.set_cookie(
        "PHPSESSID",
        &attacker.cookie("PHPSESSID").expect("a session"),
    );
    signs_in(&world, &victim, ADA).await;
    assert_ne!(shows(&victim).await, planted);
    // Nor does it hide in another cookie, for servers that part cookies at commas.
    victim.set_cookie(
        "theme",
        &format!(
            "x,PHPSESSID={}",
            attacker.cookie("PHPSESSID").expect("a session")
        ),
    );
    shows(&victim).await;
    assert!(
        !application
            .server
            .last()
            .values("cookie")
            .concat()
            .contains("theme")
    );
    application.never_mixed_brokers_up("planted");
}

async fn confirming_the_address_keeps_the_calculators_session(store: StoreKind) {
    let application = Application::start("JSESSIONID", "; Path=/").await;
    let world = world(&application, store).start().await;
    let browser = world.browser();
    browser
        .claim(ADA.0, "nobody@makler.example", "/")
        .await
        .leads_to(WITHOUT_EMAIL);
    browser
        .post(WITHOUT_EMAIL, &[("action", "without-email")])
        .await
        .leads_to("/");
    let before = shows(&browser).await;
    signs_in(&world, &browser, ADA).await;
    assert_eq!(shows(&browser).await, before);
    // In every tab, and when signed in anew.
    assert_eq!(shows(&browser.clone()).await, before);
    let session = browser.cookie("JSESSIONID").expect("a session");
    browser.post(SIGN_OUT, &[]).await.is(200);
    assert_eq!(
        browser.cookie("JSESSIONID"),
        None,
        "the sign-out ends the calculator's session too"
    );
    browser.set_cookie("JSESSIONID", &session);
    signs_in(&world, &browser, ADA).await;
    assert_eq!(shows(&browser).await, before);
    application.never_mixed_brokers_up("unlocked");
}

async fn a_session_that_nobody_owns_becomes_the_first_brokers(store: StoreKind) {
    let application = Application::start("JSESSIONID", "; Path=/").await;
    let world = world(&application, store).start().await;
    let (ada, ben) = (world.browser(), world.browser());
    for browser in [&ada, &ben] {
        browser.set_cookie("JSESSIONID", "from-before-the-gateway");
    }
    signs_in(&world, &ada, ADA).await;
    signs_in(&world, &ben, BEN).await;
    assert_eq!(
        shows(&ada).await,
        format!("from-before-the-gateway of {}", ADA.0)
    );
    assert_ne!(
        shows(&ben).await,
        format!("from-before-the-gateway of {}", ADA.0)
    );
    application.never_mixed_brokers_up("first seen");
}

#[tokio::test]
async fn a_foreign_session_is_deleted_where_the_calculator_set_it() {
    for (cookie, attributes, expected) in [
        ("JSESSIONID", "; Path=/rechner; HttpOnly", "; Path=/rechner"),
        (
            "ASP.NET_SessionId",
            "; path=/; Domain=127.0.0.1; HttpOnly",
            "; Path=/; Domain=127.0.0.1",
        ),
        ("meine_session", "", "; Path=/"),
    ] {
        let application = Application::start(cookie, attributes).await;
        let world = world(&application, StoreKind::Redis)
            .gateways(2)
            .start()
            .await;
        let browser = world.browser();
        signs_in(&world, &browser, ADA).await;
        browser.open("/kfz").await.is(200);
        let session = browser.cookie(cookie).expect("a session");
        let deletion =
            format!("{cookie}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{expected}");
        // At the second gateway, which has never seen it set.
        let there = browser.at(&world.gateways[1].base());
        let signed_out = there.post(SIGN_OUT, &[]).await;
        assert!(
            signed_out.set_cookies().contains(&deletion),
            "{:?}",
            signed_out.set_cookies()
        );
        there.set_cookie(cookie, &session);
        signs_in(&world, &there, BEN).await;
        let answer = there.open("/kfz").await;
        let set = answer.set_cookies();
        let (deleted, begun) = (
            set.iter().position(|field| *field == deletion),
            set.iter().position(|field| field.contains("sitzung-1")),
        );
        assert!(
            deleted.is_some() && deleted < begun,
            "deleted first, then set anew: {set:?}"
        );
        application.never_mixed_brokers_up(cookie);
    }
}

#[tokio::test]
async fn nobody_uses_a_brokers_session_on_a_public_path_and_the_broker_does() {
    let application = Application::start("JSESSIONID", "; Path=/").await;
    let public = "[upstream]\npublic_paths = [\"/hilfe\"]";
    let world = world(&application, StoreKind::Redis)
        .config(public)
        .start()
        .await;
    let browser = world.browser();
    // What begins for nobody is the first broker's who comes with it.
    browser.open("/hilfe").await.is(200);
    let session = browser.cookie("JSESSIONID").expect("a session");
    signs_in(&world, &browser, ADA).await;
    assert!(shows(&browser).await.starts_with(&session));
    assert!(
        browser.open("/hilfe").await.body.starts_with(&session),
        "the broker's own, on a public path too"
    );
    let stranger = world.browser();
    stranger.set_cookie("JSESSIONID", &session);
    assert!(!stranger.open("/hilfe").await.body.starts_with(&session));
    assert_eq!(application.server.last().values("cookie").len(), 0);
}

#[tokio::test]
async fn the_configuration_says_which_cookies_are_sessions() {
    let application = Application::start("RECHNER", "; Path=/").await;
    for (names, is_session) in [
        ("", false),
        ("[upstream]\nsession_cookies = [\"rech*\"]", true),
        ("[upstream]\naffinity_cookie = \"RECHNER\"", true),
    ] {
        let world = world(&application, StoreKind::Memory)
            .config(names)
            .start()
            .await;
        let browser = world.browser();
        signs_in(&world, &browser, ADA).await;
        let adas = shows(&browser).await;
        signs_in(&world, &browser, BEN).await;
        assert_eq!(shows(&browser).await != adas, is_session, "{names}");
    }
}

#[tokio::test]
async fn while_redis_is_down_brokers_keep_their_sessions_at_every_gateway_and_nobody_gets_anothers()
{
    let application = Application::start("JSESSIONID", "; Path=/").await;
    let world = world(&application, StoreKind::OwnRedis)
        .gateways(2)
        .start()
        .await;
    let (ada, ben) = (world.browser(), world.browser());
    signs_in(&world, &ada, ADA).await;
    signs_in(&world, &ben, BEN).await;
    let (adas, bens) = (shows(&ada).await, shows(&ben).await);
    // A gateway believes tickets that were written since it hears of ends: both do so by now.
    for gateway in &world.gateways {
        ada.at(&gateway.base()).open("/kfz").await.is(200);
    }
    let begun = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_millis()
        + 500;
    for browser in [&ada, &ben] {
        let has_ticket = async || {
            browser.drop_cookie("vtnr_ticket");
            shows(browser).await;
            let ticket = browser.cookie("vtnr_ticket")?;
            ticket
                .split('.')
                .next()?
                .parse()
                .ok()
                .filter(|as_of: &u128| *as_of > begun)
        };
        eventually("a ticket, which names the calculator's session", has_ticket).await;
    }
    let redis = world.redis.clone().expect("a Redis");
    redis.lock().expect("no panic").kill();
    for gateway in &world.gateways {
        let (ada, ben) = (ada.at(&gateway.base()), ben.at(&gateway.base()));
        assert_eq!(shows(&ada).await, adas);
        assert_eq!(shows(&ben).await, bens);
        // Planted, and of another broker.
        let thief = Browser::new(&gateway.base());
        for name in ["vtnr_session", "vtnr_ticket"] {
            thief.set_cookie(name, &ben.cookie(name).expect("a cookie"));
        }
        thief.set_cookie("JSESSIONID", &ada.cookie("JSESSIONID").expect("a session"));
        assert_ne!(shows(&thief).await, adas);
    }
    application.never_mixed_brokers_up("in the outage");
    assert!(
        world
            .metric("vtnr_gateway_calculator_cookies_withheld_total{reason=\"unproven\"}")
            .await
            >= 1.0
    );
}

#[tokio::test]
async fn a_session_is_withheld_over_http2_and_from_a_websocket_and_a_kept_form_too() {
    let application = Application::start("JSESSIONID", "; Path=/").await;
    let world = world(&application, StoreKind::Redis).start().await;
    let browser = world.browser();
    signs_in(&world, &browser, ADA).await;
    shows(&browser).await;
    let adas = browser.cookie("JSESSIONID").expect("a session");
    signs_in(&world, &browser, BEN).await;
    browser.set_cookie("JSESSIONID", &adas);
    let handshake = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ];
    let handshake = handshake.map(|(name, value)| (name, value.to_owned()));
    browser
        .send(Method::GET, "/kfz/socket", &handshake, None)
        .await;
    assert!(
        !application
            .server
            .last()
            .values("cookie")
            .concat()
            .contains(&adas)
    );
    browser.set_cookie("JSESSIONID", &adas);
    browser
        .post_body("/kfz", "application/x-www-form-urlencoded", "a=b")
        .await
        .is(200);
    assert!(
        !application
            .server
            .last()
            .values("cookie")
            .concat()
            .contains(&adas)
    );
    application.never_mixed_brokers_up("other requests");
}

/// Tomcat's own example keeps what is entered in a session whose cookie has a path of its own, which the sign-out's page never sees.
#[tokio::test]
async fn what_one_broker_entered_at_a_real_tomcat_the_next_one_in_that_chromium_does_not_see() {
    let (tomcat, chromium) = (tomcat().await, Chromium::start().await);
    let world = World::builder()
        .upstream(&format!("http://127.0.0.1:{}", tomcat.port))
        .start()
        .await;
    let example = "/examples/servlets/servlet/SessionExample";
    let open = async |query: &str| {
        chromium
            .open(&format!("{}{example}{query}", world.base()))
            .await
    };
    let sign_in = async |broker: (&str, &str)| {
        let before = world.postbox.mails().len();
        chromium.type_into("#vtnr", broker.0).await;
        chromium.type_into("#email", broker.1).await;
        chromium.press(ENTER).await;
        chromium.shows("Überprüfen Sie Ihren Posteingang").await;
        chromium
            .type_into("#tan", &tan_of(&world.postbox.next(before).await))
            .await;
        chromium.press(ENTER).await;
        chromium.shows("Session ID").await;
    };
    open("?dataname=kunde&datavalue=Meier").await;
    sign_in(ADA).await;
    open("").await;
    chromium.shows("kunde = Meier").await;
    let all = chromium.cdp("Network.getAllCookies", json!({})).await;
    let adas = all["cookies"]
        .as_array()
        .expect("cookies")
        .iter()
        .find(|cookie| cookie["name"] == "JSESSIONID")
        .cloned();
    let adas = adas.expect("Tomcat's session");
    assert_eq!(adas["path"], "/examples");
    chromium.open(&format!("{}{SIGN_OUT}", world.base())).await;
    chromium.click("main form button").await;
    chromium.shows("Sie sind abgemeldet").await;
    let left = chromium.cdp("Network.getAllCookies", json!({})).await;
    assert!(!left.to_string().contains("JSESSIONID"), "{left}");
    // As if the browser had kept it.
    let again = json!({ "name": "JSESSIONID", "value": adas["value"], "url": world.base(), "path": "/examples" });
    chromium.cdp("Network.setCookie", again).await;
    open("").await;
    sign_in(BEN).await;
    chromium.hides("Meier").await;
    open("?dataname=kunde&datavalue=Huber").await;
    open("").await;
    chromium.shows("kunde = Huber").await.hides("Meier").await;
}

/// What a calculator gives to everybody, or takes back, is nobody's session, and gives away no other.
#[tokio::test]
async fn what_the_calculator_deletes_or_gives_to_all_passes_no_session_on() {
    for (deletion, value) in [
        (
            "PHPSESSID=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=0; path=/",
            "deleted",
        ),
        ("PHPSESSID=\"\"; Path=/", "\"\""),
        ("PHPSESSID=constant-for-all; Path=/", "constant-for-all"),
    ] {
        let upstream = Upstream::answering(format!(
            "HTTP/1.1 200 OK\r\nSet-Cookie: {deletion}\r\nContent-Length: 2\r\n\r\nok"
        ))
        .await;
        let world = World::builder().upstream(&upstream.url()).start().await;
        let (ada, ben) = (world.signed_in(ADA).await, world.signed_in(BEN).await);
        ada.open("/abmelden").await.is(200);
        ben.set_cookie("PHPSESSID", "sitzung-of-ben");
        ben.open("/abmelden").await.is(200);
        ada.set_cookie("PHPSESSID", "sitzung-of-ben");
        ada.open("/").await.is(200);
        assert_eq!(upstream.last().values("cookie"), [""; 0], "{value}");
    }
}

#[tokio::test]
async fn a_planted_session_does_not_sign_a_broker_out_of_their_own_and_floods_nothing() {
    let application = Application::start("JSESSIONID", "; Path=/").await;
    let world = world(&application, StoreKind::Redis)
        .config("[upstream]\npublic_paths = [\"/hilfe\"]")
        .start()
        .await;
    let (ada, ben) = (world.browser(), world.browser());
    signs_in(&world, &ada, ADA).await;
    signs_in(&world, &ben, BEN).await;
    let (adas, bens) = (shows(&ada).await, shows(&ben).await);
    assert_eq!((shows(&ada).await, shows(&ben).await), (adas.clone(), bens));
    let own = ada.cookie("JSESSIONID").expect("a session");
    // A sibling host has planted it for the whole domain; the broker's own comes first or last.
    let planted = ben.cookie("JSESSIONID").expect("a session");
    for both in [
        format!("{own}; JSESSIONID={planted}"),
        format!("{planted}; JSESSIONID={own}"),
    ] {
        ada.set_cookie("JSESSIONID", &both);
        let answer = ada.open("/kfz").await;
        // A new ticket may come along where the browser's is old.
        let cookies = answer.set_cookies();
        let changes = |cookie: &&String| cookie.starts_with("JSESSIONID");
        assert_eq!(
            (answer.body.as_str(), cookies.iter().filter(changes).count()),
            (adas.as_str(), 0),
            "{both}: {cookies:?}"
        );
    }
    // As a separator, in the name, and in the value.
    for (name, value) in [
        ("theme", format!("x JSESSIONID={planted}")),
        ("%4aSESSIONID", planted.clone()),
        ("JSESSIONID", format!("{planted}.node1")),
        ("JSESSIONID", format!("{}*{}", &planted[..4], &planted[4..])),
    ] {
        let thief = ada.clone();
        thief.drop_cookie("JSESSIONID");
        thief.set_cookie(name, &value);
        thief.open("/kfz").await.is(200);
        let sent = application.server.last().values("cookie").concat();
        assert!(!sent.contains(&planted[..4]), "{name}={value}: {sent}");
        thief.drop_cookie(name);
    }
    let stranger = world.browser();
    let many: Vec<String> = (0..2_000)
        .map(|number| format!("sid=made-up-{number:05}"))
        .collect();
    stranger
        .send(Method::GET, "/hilfe", &[("cookie", many.join("; "))], None)
        .await;
    assert_eq!(
        application.server.last().values("cookie"),
        [""; 0],
        "none of so many goes up"
    );
    let lines = world
        .log()
        .await
        .matches("withheld the calculator's session cookies")
        .count();
    assert!(lines < 20, "{lines} lines");
    application.never_mixed_brokers_up("planted beside the own");
}
