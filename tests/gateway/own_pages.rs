//! What our own answers carry and the calculator's do not, and what the calculator's cannot do to ours.

use crate::support::world::{ADA, NO_EMAIL, StoreKind, World};
use crate::support::{Answer, Behind, Upstream};
use reqwest::Method;

const PREFIX: &str = "/ui/login/de/";
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'self'";

fn carries_what_pages_need(answer: &Answer, what: &str) {
    let value = |name: &str| {
        answer
            .headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().expect("ASCII"))
            .collect::<Vec<_>>()
    };
    assert_eq!(value("content-security-policy"), [POLICY], "{what}");
    assert_eq!(value("x-frame-options"), ["SAMEORIGIN"], "{what}");
    assert_eq!(value("referrer-policy"), ["same-origin"], "{what}");
    assert_eq!(value("x-content-type-options"), ["nosniff"], "{what}");
    assert_eq!(value("cache-control"), ["no-store"], "{what}");
    assert_eq!(
        value("strict-transport-security"),
        ["max-age=31536000"],
        "{what}"
    );
    let hostile = [
        "<script>",
        "onclick=",
        "onload=",
        "style=\"",
        "javascript:",
        " src=\"http",
        "<base",
        "<iframe",
        "<object",
    ];
    assert!(
        hostile.iter().all(|part| !answer.body.contains(part)),
        "{what}: nothing that the policy forbids\n{}",
        answer.body
    );
}

#[tokio::test]
async fn every_page_of_ours_is_shut_to_strangers_and_no_answer_of_the_calculators_is_touched() {
    let limits = "[limits]\nmail_pause = \"100 in 1s\"\nmail_burst = \"100 in 1s\"";
    let world = World::builder()
        .store(StoreKind::Memory)
        .https()
        .config(limits)
        .start()
        .await;
    let (full, reduced, nobody) = (
        world.signed_in(ADA).await,
        world.signed_in_without_email().await,
        world.browser(),
    );
    let asking = world.browser();
    world.ask(&asking, ADA).await;
    let unknown = world.browser();
    unknown.claim(NO_EMAIL, "nobody@makler.example", "/").await;
    let path = |page: &str| format!("{PREFIX}{page}");
    let navigation = [
        ("accept", "text/html".to_owned()),
        ("sec-fetch-mode", "navigate".to_owned()),
    ];
    let elsewhere = [&navigation[..], &[("host", "boese.example".to_owned())]].concat();
    for (what, answer) in [
        ("the first page", nobody.open(&path("vtnr-login")).await),
        (
            "a mistake on it",
            nobody.claim("60/999/9999", "a@b.example", "/").await,
        ),
        ("the TAN's page", asking.open(&path("tan")).await),
        ("a wrong TAN", asking.enter_tan("BCDFGH", "/").await),
        (
            "an unknown address",
            unknown.open(&path("unbekannte-e-mail")).await,
        ),
        ("help", nobody.open(&path("hilfe")).await),
        ("sign-out", full.open(&path("abmelden")).await),
        ("no such page", nobody.open(&path("gibt-es-nicht")).await),
        (
            "a method that is none",
            nobody
                .send(Method::PUT, &path("tan"), &navigation, None)
                .await,
        ),
        (
            "a blocked submission",
            reduced.post("/antrag/versand", &[("a", "b")]).await,
        ),
        ("a doubtful request", reduced.post("/a%2fb", &[]).await),
        (
            "another host",
            nobody.send(Method::GET, "/", &elsewhere, None).await,
        ),
        ("signed out", full.post(&path("abmelden"), &[]).await),
    ] {
        carries_what_pages_need(&answer, what);
        let clears = answer
            .headers
            .get("clear-site-data")
            .map(|value| value.to_str().expect("ASCII"));
        assert_eq!(
            clears,
            (what == "signed out").then_some("\"cache\", \"storage\""),
            "{what}"
        );
    }
    let program = nobody.fetch("/").await;
    program.is(401);
    assert_eq!(program.headers["x-content-type-options"], "nosniff");
    let full = world.signed_in(ADA).await;
    for (target, status) in [("/", 200), ("/gibt-es-nicht", 404)] {
        let answer = full.open(target).await;
        answer.is(status);
        for name in [
            "content-security-policy",
            "x-frame-options",
            "referrer-policy",
            "strict-transport-security",
            "clear-site-data",
        ] {
            assert!(answer.headers.get(name).is_none(), "{target} {name}");
        }
    }
}

#[tokio::test]
async fn no_form_of_ours_takes_what_another_site_posts() {
    let world = World::builder().store(StoreKind::Memory).start().await;
    let browser = world.signed_in(ADA).await;
    let session = browser.cookie("vtnr_session").expect("a session");
    let claims = [
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site")],
        vec![
            ("sec-fetch-site", "cross-site"),
            ("origin", "http://127.0.0.1"),
        ],
        vec![("origin", "https://boese.example")],
        vec![("origin", "null")],
        vec![("origin", "http://127.0.0.1:1")],
    ];
    for page in ["vtnr-login", "tan", "unbekannte-e-mail", "abmelden"] {
        for claim in &claims {
            let mut fields = vec![(
                "content-type",
                "application/x-www-form-urlencoded".to_owned(),
            )];
            fields.extend(
                claim
                    .iter()
                    .map(|(name, value)| (*name, (*value).to_owned())),
            );
            let body =
                b"vtnr=60%2F123%2F4567&email=ada%40makler.example&tan=BCDFGH&action=without-email&forget_browser=1".to_vec();
            let answer = browser
                .send(
                    Method::POST,
                    &format!("{PREFIX}{page}"),
                    &fields,
                    Some(body),
                )
                .await;
            answer.is(403);
            assert_eq!(answer.set_cookies(), [""; 0], "{page} {claim:?}");
        }
    }
    assert_eq!(browser.cookie("vtnr_session"), Some(session));
    browser.open("/").await.is(200);
    assert_eq!(world.mails().await.len(), 1);
}

#[tokio::test]
async fn fields_by_which_servers_have_files_sent_do_nothing_here() {
    let answer = "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /ui/login/de/hilfe\r\nX-Sendfile: /etc/passwd\r\nX-LIGHTTPD-send-file: /etc/passwd\r\n\
                  X-Reproxy-URL: http://127.0.0.1/\r\nX-Accel-Buffering: no\r\nContent-Length: 2\r\n\r\nok";
    let behind = Behind::http(Upstream::answering(answer).await).await;
    let seen = behind.ask("GET /", "").await;
    assert_eq!((seen.status(), seen.text().as_str()), (200, "ok"));
    for (name, value) in [
        ("x-accel-redirect", "/ui/login/de/hilfe"),
        ("x-sendfile", "/etc/passwd"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(seen.values(name), [value], "it arrives as it was sent");
    }
}

/// Names as browsers treat them: exact but for the blanks around them, and a cookie without a name is sent as its value alone.
#[tokio::test]
async fn no_answer_of_the_calculators_sets_a_cookie_of_ours_in_any_way_that_a_browser_would_take() {
    let ours = [
        "vtnr_session=x",
        "__Host-vtnr_session=x; Secure; Path=/",
        "__Secure-vtnr_trust=x; Secure",
        "\t__Host-vtnr_flow \t=\t x; Secure; Path=/",
        "=__Host-vtnr_session=x",
        " = vtnr_session=x",
        "vtnr_flow",
        "vtnr_trust; Domain=127.0.0.1",
        "__Host-vtnr_session=; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    ];
    let theirs = [
        "VTNR_SESSION=x",
        "\"vtnr_session\"=x",
        "vtnr_sessions=x",
        "x=vtnr_session=x",
        "xvtnr_session=x",
        "__Host-mine=x; Secure; Path=/",
    ];
    let fields: String = ours
        .iter()
        .chain(&theirs)
        .map(|cookie| format!("Set-Cookie: {cookie}\r\n"))
        .collect();
    let hints = format!("HTTP/1.1 103 Early Hints\r\n{fields}\r\n");
    let behind = Behind::http(
        Upstream::answering(format!(
            "{hints}HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok"
        ))
        .await,
    )
    .await;
    let mut client = behind.connect().await;
    client.send(behind.request("GET /", "")).await;
    for status in [103, 200] {
        let seen = client.head().await.expect("an answer");
        assert_eq!(
            (seen.status(), seen.values("set-cookie")),
            (status, theirs.to_vec())
        );
    }
    // Nor does it see ours, under whatever names a browser or a program may send them; what is not ours goes on.
    behind.ask("GET /", "Cookie: a=1; __Host-vtnr_session=x; __Secure-vtnr_trust=y; vtnr_flow; VTNR_SESSION=z\r\n").await;
    assert_eq!(
        behind.upstream.last().values("cookie"),
        ["a=1; VTNR_SESSION=z"]
    );
}
