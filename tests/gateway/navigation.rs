//! Clients that do not say whether they go to a page: Internet Explorer mode, Office, old WebViews, programs. A person is led to the
//! sign-in and a program sees a failure, whatever went wrong.

use crate::support::behind::{Behind, session_of};
use crate::support::raw::whole;
use crate::support::world::{ADA, StoreKind};
use crate::support::{Answer, Browser, H2, Raw, Upstream, World, ports};
use http::HeaderMap;
use reqwest::Method;
use std::process::Command;
use tempfile::TempDir;

const FORM: &str = "application/x-www-form-urlencoded";
const TARGET: &str = "/kfz/angebot?id=42&x=%C3%BC";
const SIGN_IN: &str =
    "/ui/login/de/vtnr-login?return_to=%2Fkfz%2Fangebot%3Fid%3D42%26x%3D%25C3%25BC";
const LIST: &str =
    "image/gif, image/jpeg, image/pjpeg, application/x-ms-application, application/x-ms-xbap, */*";
const SAFARI: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const JAVA: &str = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2";

/// What a client gets that nobody is signed in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// It is redirected to the sign-in.
    Redirected,
    /// A page that leads to the sign-in, with a status of failure.
    Page,
    /// A small JSON text.
    Json,
}

type Fields = &'static [(&'static str, &'static str)];

/// Who asks, with which method and fields, and what it is told.
const CLIENTS: [(&str, &str, Fields, Told); 27] = [
    (
        "Chrome",
        "GET",
        &[
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
            ("accept", SAFARI),
        ],
        Told::Redirected,
    ),
    (
        "Firefox, a frame",
        "GET",
        &[
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "iframe"),
            ("accept", SAFARI),
        ],
        Told::Redirected,
    ),
    ("Safari 15", "GET", &[("accept", SAFARI)], Told::Redirected),
    (
        "Safari 15, preview",
        "HEAD",
        &[("accept", SAFARI)],
        Told::Redirected,
    ),
    (
        "IE mode, typed",
        "GET",
        &[("accept", "text/html, application/xhtml+xml, image/jxr, */*")],
        Told::Redirected,
    ),
    (
        "IE mode, a link",
        "GET",
        &[("accept", "*/*"), ("referer", "https://mail.example/")],
        Told::Page,
    ),
    (
        "IE mode, a link in a document",
        "GET",
        &[("accept", LIST)],
        Told::Page,
    ),
    (
        "IE mode, refresh",
        "GET",
        &[("accept", "*/*"), ("cache-control", "no-cache")],
        Told::Page,
    ),
    (
        "IE 8",
        "GET",
        &[(
            "accept",
            "image/gif, image/x-xbitmap, image/jpeg, image/pjpeg, */*",
        )],
        Told::Page,
    ),
    (
        "Word",
        "OPTIONS",
        &[("user-agent", "Microsoft Office Protocol Discovery")],
        Told::Page,
    ),
    (
        "Word, existence",
        "HEAD",
        &[("user-agent", "Microsoft Office Existence Discovery")],
        Told::Page,
    ),
    (
        "Excel",
        "GET",
        &[
            (
                "user-agent",
                "Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
            ),
            ("accept", "*/*"),
        ],
        Told::Page,
    ),
    (
        "a WebView",
        "GET",
        &[
            ("user-agent", "Mozilla/5.0 (Linux; Android 7.0; wv)"),
            ("accept", "*/*"),
        ],
        Told::Page,
    ),
    (
        "Android's WebView",
        "GET",
        &[("x-requested-with", "com.makler.app"), ("accept", SAFARI)],
        Told::Redirected,
    ),
    ("a client without Accept", "GET", &[], Told::Page),
    ("Java", "GET", &[("accept", JAVA)], Told::Page),
    (
        "Java 21",
        "GET",
        &[("accept", "text/html, image/gif, image/jpeg, */*; q=0.2")],
        Told::Page,
    ),
    (
        "an old image",
        "GET",
        &[(
            "accept",
            "image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5",
        )],
        Told::Page,
    ),
    (
        "Flash",
        "GET",
        &[
            ("x-requested-with", "ShockwaveFlash/32.0.0.465"),
            ("accept", "*/*"),
        ],
        Told::Page,
    ),
    (
        "Chrome, an image",
        "GET",
        &[
            ("sec-fetch-mode", "no-cors"),
            ("accept", "image/avif,*/*;q=0.8"),
        ],
        Told::Json,
    ),
    (
        "Chrome, fetch",
        "GET",
        &[("sec-fetch-mode", "cors"), ("accept", "text/html")],
        Told::Json,
    ),
    (
        "Chrome, fetch",
        "DELETE",
        &[("sec-fetch-mode", "cors"), ("accept", "*/*")],
        Told::Json,
    ),
    (
        "jQuery",
        "GET",
        &[
            ("x-requested-with", "XMLHttpRequest"),
            ("accept", "text/html, */*; q=0.01"),
        ],
        Told::Json,
    ),
    (
        "jQuery",
        "POST",
        &[("x-requested-with", "XMLHttpRequest"), ("accept", "*/*")],
        Told::Json,
    ),
    (
        "axios",
        "GET",
        &[("accept", "application/json, text/plain, */*")],
        Told::Json,
    ),
    (
        "an API's client",
        "GET",
        &[("accept", "application/hal+json")],
        Told::Json,
    ),
    (
        "an event stream",
        "GET",
        &[("accept", "text/event-stream")],
        Told::Json,
    ),
];

fn field<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers
        .get(name)
        .map_or("", |value| value.to_str().expect("ASCII"))
}

/// Asserts that an answer tells a client this.
fn assert_told(
    who: &str,
    told: Told,
    status: u16,
    headers: &HeaderMap,
    body: &str,
    has_body: bool,
) {
    let kind = field(headers, "content-type");
    assert!(headers.get("set-cookie").is_none(), "{who}: {headers:?}");
    assert_eq!(
        headers.contains_key("refresh"),
        told == Told::Page,
        "{who}: {headers:?}"
    );
    match told {
        Told::Redirected => assert_eq!(
            (status, field(headers, "location")),
            (303, SIGN_IN),
            "{who}"
        ),
        Told::Page => {
            assert_eq!((status, kind), (401, "text/html; charset=utf-8"), "{who}");
            assert_eq!(
                field(headers, "refresh"),
                format!("0;url={SIGN_IN}"),
                "{who}"
            );
            assert_eq!(
                field(headers, "www-authenticate"),
                "Session",
                "{who}: a scheme that no browser asks a password for"
            );
            let link = "href=\"/ui/login/de/vtnr-login?return_to=/kfz/angebot%3Fid%3D42%26x%3D%25C3%25BC\"";
            assert!(
                !has_body
                    || body.contains("<h1>Bitte melden Sie sich an</h1>") && body.contains(link),
                "{who}: {body}"
            );
        }
        Told::Json => assert_eq!((status, kind), (401, "application/problem+json"), "{who}"),
    }
}

#[tokio::test]
async fn whoever_is_not_signed_in_is_told_so_in_words_that_they_understand() {
    let behind = Behind::https(Upstream::fine().await).await;
    let (host, mut h2) = (behind.host.clone(), H2::connect(&behind.world).await);
    let https = format!(
        "https://localhost:{}",
        behind.world.gateways[0].https.expect("https")
    );
    for (who, method, fields, told) in CLIENTS {
        let lines: String = fields
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let mut client = behind.connect().await;
        client
            .send(format!(
                "{method} {TARGET} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n"
            ))
            .await;
        let answer = client.answer_to(method).await;
        let pair = |(name, value): &(String, String)| {
            (
                name.parse().expect("a name"),
                value.parse().expect("a value"),
            )
        };
        let headers: HeaderMap = answer.fields.iter().map(pair).collect();
        assert_told(
            who,
            told,
            answer.status(),
            &headers,
            &answer.text(),
            method != "HEAD",
        );
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{https}{TARGET}"));
        let request = fields.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        let answer = h2
            .get(request.body(()).expect("a request"))
            .await
            .expect("an answer");
        let body = String::from_utf8_lossy(answer.body()).into_owned();
        assert_told(
            who,
            told,
            answer.status().as_u16(),
            answer.headers(),
            &body,
            method != "HEAD",
        );
    }
    behind.upstream.saw_nothing("nobody's requests");
}

#[tokio::test]
async fn programs_see_that_nobody_is_signed_in() {
    let behind = Behind::http(Upstream::fine().await).await;
    let url = format!("http://{}{TARGET}", behind.host);
    let folder = TempDir::new().expect("a folder");
    let java = folder.path().join("Fetch.java");
    let source = "import java.net.*; public class Fetch { public static void main(String[] a) throws Exception {\
                  HttpURLConnection c = (HttpURLConnection) new URL(a[0]).openConnection();\
                  System.out.println(c.getResponseCode() + \" \" + c.getContentType() + \" \" + c.getURL().getPath()); } }";
    std::fs::write(&java, source).expect("written");
    let java = java.display().to_string();
    let python = "import sys, urllib.request as r, urllib.error as e\n\
                  try: a = r.urlopen(sys.argv[1])\n\
                  except e.HTTPError as error: a = error\n\
                  print(a.status, a.headers['content-type'], a.url.partition('?')[0][-12:])";
    let clients = [
        (
            "java",
            vec!["-Djava.net.useSystemProxies=false", &java, &url],
        ),
        ("python3", vec!["-c", python, &url]),
        (
            "curl",
            vec![
                "-sL",
                "--noproxy",
                "*",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code} %{content_type} %{url_effective}",
                &url,
            ],
        ),
    ];
    for (program, words) in clients {
        let mut command = Command::new(program);
        command.args(words).env("no_proxy", "*");
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .expect("not broken off")
            .expect("it runs");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            told.starts_with("401 text/html") && told.contains("/kfz/angebot"),
            "{program}: {output:?}"
        );
    }
    behind.upstream.saw_nothing("nobody's requests");
}

#[tokio::test]
async fn a_page_is_shown_to_them_in_every_failure() {
    let world = World::builder()
        .store(StoreKind::OwnRedis)
        .upstream(&format!("http://127.0.0.1:{}", ports::free()))
        .start()
        .await;
    let (full, reduced) = (
        world.signed_in(ADA).await,
        world.signed_in_without_email().await,
    );
    let ask = async |browser: &Browser, method: Method, target: &str, accept: &str| {
        let fields = [
            ("accept", accept.to_owned()),
            ("content-type", FORM.to_owned()),
        ];
        let body = (method == Method::POST).then(|| b"a=1".to_vec());
        browser.send(method, target, &fields, body).await
    };
    for accept in ["*/*", LIST, JAVA] {
        ask(&reduced, Method::POST, "/antrag/versand", accept)
            .await
            .is(403)
            .shows("Antragsversand noch nicht möglich");
        ask(&reduced, Method::GET, "/a%2fb;%x?_method=POST", accept)
            .await
            .is(400)
            .shows("Diese Anfrage ist nicht eindeutig");
        ask(&full, Method::GET, "/kfz", accept)
            .await
            .is(502)
            .shows("Online-Rechner ist zurzeit nicht erreichbar");
        ask(&full, Method::GET, "/ui/login/de/nirgends", accept)
            .await
            .is(404)
            .shows("Diese Seite gibt es nicht");
    }
    world
        .redis
        .as_ref()
        .expect("a redis-server")
        .lock()
        .expect("no panic")
        .kill();
    let stranger = world.browser();
    stranger.set_cookie("vtnr_session", &"A".repeat(43));
    for accept in ["*/*", LIST, JAVA] {
        ask(&stranger, Method::GET, "/kfz", accept)
            .await
            .is(503)
            .shows("Ihre Anmeldung lässt sich gerade nicht prüfen");
    }
    let script = ask(&stranger, Method::GET, "/kfz", "application/json").await;
    assert_eq!(
        field(&script.is(503).headers, "content-type"),
        "application/problem+json"
    );
}

/// Posts a form as Internet Explorer does: no `Origin`, no `Sec-Fetch-Site`.
async fn post_as_ie(browser: &Browser, referer: Option<&str>, content_type: &str) -> Answer {
    let mut fields = vec![
        ("accept", LIST.to_owned()),
        ("content-type", content_type.to_owned()),
    ];
    fields.extend(referer.map(|referer| ("referer", referer.to_owned())));
    browser
        .send(
            Method::POST,
            "/kfz?schritt=2",
            &fields,
            Some(b"name=M%FCller".to_vec()),
        )
        .await
}

#[tokio::test]
async fn a_form_that_only_its_referer_tells_the_calculators_is_kept_and_sent_once() {
    let behind = Behind::http(Upstream::fine().await).await;
    let (browser, base) = (&behind.browser, behind.world.base());
    let posts = || {
        behind
            .upstream
            .requests()
            .into_iter()
            .filter(|seen| seen.line.starts_with("POST "))
            .count()
    };
    browser.drop_cookie("vtnr_session");
    let own = format!("{base}/kfz?schritt=1");
    let told = post_as_ie(browser, Some(&own), FORM).await;
    told.is(401).shows("Ihre Eingabe ist noch nicht gesendet");
    // What is said of itself to be JSON, a script posted; and of what says nothing nobody knows whose it is.
    for (referer, content_type) in [
        (Some(own.as_str()), "application/json"),
        (None, FORM),
        (Some("about:blank"), FORM),
    ] {
        let answer = post_as_ie(browser, referer, content_type).await;
        answer
            .is(401)
            .shows("Ihre Eingabe konnten wir leider nicht aufbewahren");
        assert_eq!(answer.set_cookies(), [""; 0], "{referer:?}");
    }
    // Another site's.
    for referer in [
        "https://evil.example/",
        "https://127.0.0.1.evil.example/",
        &base.replace("127.0.0.1", "127.0.0.1@evil.example"),
    ] {
        let answer = post_as_ie(browser, Some(referer), FORM).await;
        answer.is(403).shows("nicht aus dem Online-Rechner");
        assert_eq!(answer.set_cookies(), [""; 0], "{referer}");
    }
    assert_eq!(posts(), 0);
    let welcome = browser
        .post(
            &told.href_of("ZUR ANMELDUNG"),
            &[("vtnr", ADA.0), ("email", ADA.1)],
        )
        .await;
    let page = browser.follow(welcome).await;
    browser.press(&page, "Eingabe jetzt absenden").await.is(200);
    browser.press(&page, "Eingabe jetzt absenden").await.is(409);
    assert_eq!(posts(), 1);
    let sent = behind.upstream.last();
    assert_eq!(
        (sent.line.as_str(), &sent.body[..]),
        ("POST /kfz?schritt=2 HTTP/1.1", &b"name=M%FCller"[..])
    );
    assert_eq!(sent.values("referer"), [own]);
}

#[tokio::test]
async fn over_http2_too_the_referer_tells_whose_a_form_is() {
    let behind = Behind::https(Upstream::fine().await).await;
    let port = behind.world.gateways[0].https.expect("https");
    let mut client = H2::connect(&behind.world).await;
    for (referer, status) in [
        (format!("https://localhost:{port}/kfz"), 401),
        (format!("https://localhost:{}/kfz", port - 1), 403),
        (format!("https://evil.example:{port}/kfz"), 403),
    ] {
        let request = http::Request::builder()
            .method("POST")
            .uri(format!("https://localhost:{port}/kfz"));
        let request = request
            .header("accept", "*/*")
            .header("referer", &referer)
            .header("content-type", FORM);
        let (answer, mut body) = client.begin(request.body(()).expect("a request")).await;
        body.send_data("a=1".into(), true).expect("sent");
        let answer = whole(answer).await.expect("an answer");
        assert_eq!(
            (
                answer.status().as_u16(),
                answer.headers().contains_key("set-cookie")
            ),
            (status, status == 401),
            "{referer}"
        );
    }
}

#[tokio::test]
async fn a_deep_link_with_odd_signs_in_its_query_leads_where_it_said() {
    let behind = Behind::https(Upstream::fine().await).await;
    let port = behind.world.gateways[0].port;
    for (sent, arrives) in [
        (&b"/kfz?pfad=C:\\dok\\a.pdf"[..], "/kfz?pfad=C:\\dok\\a.pdf"),
        (b"/kfz?\\\\evil.example/x", "/kfz?\\\\evil.example/x"),
        (b"/kfz?a=|^'%5C&b=%", "/kfz?a=|^'%5C&b=%"),
        (b"/kfz?name=M\xc3\xbcller\\x", "/kfz?name=M%C3%BCller\\x"),
    ] {
        let ask = async |fields: &str| {
            let mut client = Raw::connect(port).await;
            client.send([b"GET ", sent].concat()).await;
            client
                .send(format!(
                    " HTTP/1.1\r\nHost: {}\r\n{fields}\r\n",
                    behind.host
                ))
                .await
                .answer()
                .await
        };
        let led = ask(&format!("Accept: {SAFARI}\r\n")).await;
        assert_eq!(led.values("location").len(), 1, "{arrives}: {led:?}");
        let sign_in = led.values("location")[0].to_owned();
        assert!(
            ask("Accept: */*\r\n")
                .await
                .text()
                .contains("vtnr-login?return_to=/kfz%3F"),
            "{arrives}"
        );
        let browser = behind.browser.clone();
        let welcome = browser
            .post(&sign_in, &[("vtnr", ADA.0), ("email", ADA.1)])
            .await;
        assert_eq!(welcome.location().as_deref(), Some(arrives));
        let followed = format!(
            "GET {arrives} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n\r\n",
            behind.host,
            session_of(&browser)
        );
        Raw::connect(port).await.send(followed).await.answer().await;
        assert_eq!(behind.upstream.last().target(), arrives);
    }
    // Before the query a backslash is a slash to browsers.
    let mut client = Raw::connect(port).await;
    client
        .send(format!(
            "GET /\\evil.example?x HTTP/1.1\r\nHost: {}\r\nAccept: {SAFARI}\r\n\r\n",
            behind.host
        ))
        .await;
    assert_eq!(client.answer().await.status(), 400);
    let mut h2 = H2::connect(&behind.world).await;
    let target = format!(
        "https://localhost:{}/kfz?pfad=C:\\dok",
        behind.world.gateways[0].https.expect("https")
    );
    if let Ok(uri) = target.parse::<http::Uri>() {
        let request = http::Request::builder()
            .uri(uri)
            .header("accept", SAFARI)
            .body(())
            .expect("a request");
        let led = h2.get(request).await.expect("an answer");
        assert_eq!(
            field(led.headers(), "location"),
            "/ui/login/de/vtnr-login?return_to=%2Fkfz%3Fpfad%3DC%3A%5Cdok"
        );
    }
}
