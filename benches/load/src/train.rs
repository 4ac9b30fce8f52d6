//! What a gateway does all day, for a build that is led by a profile: brokers sign in, look around in the demo's calculator, post
//! forms, upload, sign out. None of it is what the bench measures: another application, other paths, other clients.

use crate::browser::Browser;
use crate::ground::gateway::{self, EMAIL, Gateway, With};
use crate::ground::{Ground, VTNR, servers};
use demo::calculator::Calculator;
use reqwest::{Client, Method};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// How long brokers go on.
const DAY: Duration = Duration::from_secs(25);
/// What Firefox sends with a page.
const FIREFOX: [(&str, &str); 9] = [
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    ),
    (
        "Accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ),
    ("Accept-Language", "de,en-US;q=0.7,en;q=0.3"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("DNT", "1"),
    ("Upgrade-Insecure-Requests", "1"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "same-origin"),
];
/// Brokers at a time.
const BROKERS: usize = 24;

/// Uses the program with a Redis until its day is over; it writes its profile when it ends.
pub(crate) async fn train(ground: &Ground, program: &str) {
    let (redis, _store) = servers::redis(ground);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = listener.local_addr().expect("bound");
    tokio::spawn(Calculator::new("/ui/login/de/abmelden").serve(listener));
    let gateway = gateway::start(
        ground,
        "trained",
        program,
        With {
            store: &format!("redis://{redis}/0"),
            access_log: true,
        },
        upstream,
    )
    .await;
    let until = Instant::now() + DAY;
    let brokers = (0..BROKERS).map(|nr| work(nr, &gateway, until));
    futures_util::future::join_all(brokers).await;
}

/// One broker's day. They differ in the protocol that they speak and in how they signed in.
async fn work(nr: usize, gateway: &Gateway, until: Instant) {
    let (http, https) = (
        format!("http://{}", gateway.doors.http),
        format!("https://{}", gateway.doors.https),
    );
    while Instant::now() < until {
        let browser = without_email(&https).await;
        let token = if nr.is_multiple_of(2) {
            gateway.held.token.clone()
        } else {
            browser.cookie("__Host-vtnr_session").expect("a session")
        };
        let (client, base) = match nr % 4 {
            0 | 1 => (client(|builder| builder), &http),
            2 => (client(|builder| builder), &https),
            _ => (client(reqwest::ClientBuilder::http1_only), &https),
        };
        for _ in 0..100 {
            look_around(&client, base, &token).await;
        }
        browser.post("/ui/login/de/abmelden", &[]).await;
    }
}

async fn without_email(https: &str) -> Browser {
    let browser = Browser::new(https);
    browser.get("/kfz/angebot?id=42").await.is(200);
    browser.open("/ui/login/de/hilfe").await.is(200);
    browser.fetch("/kfz/preis").await.is(401);
    browser.claim("60/999/9999", EMAIL, "/").await;
    browser.claim(VTNR, "other@makler.example", "/").await;
    browser
        .post(
            "/ui/login/de/unbekannte-e-mail",
            &[("action", "without-email")],
        )
        .await;
    browser
}

fn client(version: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> Client {
    let builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .tls_danger_accept_invalid_certs(true);
    version(builder).build().expect("a client")
}

/// Pages with what belongs to them, a form, a price by script, a file up and a file down.
async fn look_around(client: &Client, base: &str, token: &str) {
    let send = async |method: Method, path: &str, body: Option<(&str, Vec<u8>)>| {
        let mut request = client.request(method, format!("{base}{path}"));
        for (name, value) in FIREFOX {
            request = request.header(name, value);
        }
        request = request.header(
            "Cookie",
            format!("JSESSIONID=6F1E; ansicht=kompakt; __Host-vtnr_session={token}"),
        );
        if let Some((content_type, body)) = body {
            request = request.header("Content-Type", content_type).body(body);
        }
        let answer = request
            .send()
            .await
            .unwrap_or_else(|error| panic!("{path}: {error:?}"));
        // The calculator may find the form wanting; that it did is an answer too.
        let _ = answer.bytes().await;
    };
    for path in [
        "/",
        "/style.css",
        "/skript.js",
        "/logo.gif",
        "/kfz/angebot",
        "/kfz/preis?sf=12&plz=80331",
        "/kfz/angebot.csv",
    ] {
        send(Method::GET, path, None).await;
    }
    let form = b"vorname=Erika&nachname=Mustermann&plz=80331&sf=12&beginn=2026-07-01".to_vec();
    send(
        Method::POST,
        "/kfz/angebot",
        Some(("application/x-www-form-urlencoded", form)),
    )
    .await;
    send(
        Method::POST,
        "/upload",
        Some(("application/octet-stream", vec![b'x'; 40_000])),
    )
    .await;
    send(Method::GET, "/kfz/angebot.pdf", None).await;
}
