//! A session without e-mail never gets the Antragsversand, however it is written; all else, and all of a full session, passes.

use crate::support::behind::session_of;
use crate::support::raw::whole;
use crate::support::world::{ADA, NO_EMAIL, StoreKind};
use crate::support::{Browser, H2, Raw, Upstream, World, eventually};
use reqwest::Method;

/// Spellings that at least one server in use runs as `POST /antrag/versand`, and some that only look like it.
const SPELLINGS: [&str; 44] = [
    "/antrag/versand",
    "/antrag/versand/",
    "/antrag/versand?x=/public",
    "/ANTRAG/VERSAND",
    "/antrag/Versand",
    "/antrag/%76ersand",
    "/%61ntrag/versand",
    "/%61%6e%74%72%61%67/versand",
    "/antrag%2fversand",
    "/antrag%2Fversand",
    "/antrag%5cversand",
    "/antrag%252fversand",
    "//antrag/versand",
    "///antrag/versand",
    "/antrag//versand",
    "/./antrag/versand",
    "/antrag/./versand",
    "/x/../antrag/versand",
    "/x/%2e%2e/antrag/versand",
    "/x/..%2fantrag/versand",
    "/x/..;/antrag/versand",
    "/antrag;x/versand",
    "/antrag;jsessionid=1/versand",
    "/antrag/versand;x",
    "/antrag/;x/versand",
    "/antrag/.;/versand",
    "/antrag/versand.",
    "/antrag/versand..",
    "/antrag/versand.json",
    "/antrag/versand.php::$DATA",
    "/antrag/versand%00",
    "/antrag/versand%0a",
    "/antrag/versand%20",
    "/antrag/versand%3b",
    "/antrag/versand%3fx",
    "/antrag/versand%23x",
    "/antrag%u002fversand",
    "/%u0061ntrag/versand",
    "/antrag%c0%afversand",
    "/antrag/ver%c5%bfand",
    "/antrag%ef%bc%8fversand",
    "/%ef%bd%81ntrag/versand",
    "/antrag/versand?/../x",
    "/antrag/versand%09",
];

async fn status(world: &World, browser: &Browser, request: &str) -> u16 {
    let mut client = Raw::connect(world.gateways[0].port).await;
    let session = browser.cookie("vtnr_session").expect("signed in");
    let body = "fahrer=Ada";
    client
        .send(format!(
            "{request} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nCookie: vtnr_session={session}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            world.gateways[0].port,
            body.len()
        ))
        .await;
    client.answer().await.status()
}

#[tokio::test]
async fn no_spelling_of_the_submission_arrives_without_a_confirmed_address() {
    let world = World::builder().store(StoreKind::Memory).start().await;
    let browser = world.signed_in_without_email().await;
    let before = world.calculator.requests().len();
    for method in ["POST", "PUT", "post", "JEFF", "GET"] {
        for target in SPELLINGS {
            let status = status(&world, &browser, &format!("{method} {target}")).await;
            assert!(matches!(status, 400 | 403), "{method} {target}: {status}");
        }
    }
    assert_eq!(
        world.calculator.requests().len(),
        before,
        "something arrived"
    );
    assert!(world.calculator.submissions().is_empty());
    assert_eq!(status(&world, &browser, "POST /antrag/versand").await, 403);
    assert_eq!(status(&world, &browser, "POST //antrag/versand").await, 400);
}

#[tokio::test]
async fn over_http2_a_body_that_no_field_announces_is_seen() {
    let world = World::builder()
        .store(StoreKind::Memory)
        .https()
        .start()
        .await;
    let session = session_of(&world.signed_in_without_email().await);
    let before = world.calculator.requests().len();
    let mut client = H2::connect(&world).await;
    let host = format!("localhost:{}", world.gateways[0].https.expect("https"));
    let request = http::Request::builder()
        .method("GET")
        .uri(format!("https://{host}/antrag/versand"))
        .header("cookie", session);
    let (answer, mut body) = client.begin(request.body(()).expect("a request")).await;
    body.send_data("_method=POST".into(), true).expect("sent");
    assert_eq!(whole(answer).await.expect("an answer").status(), 400);
    assert_eq!(world.calculator.requests().len(), before, "it arrived");
}

#[tokio::test]
async fn honest_requests_without_a_confirmed_address_pass() {
    let world = World::builder().store(StoreKind::Memory).start().await;
    let browser = world.signed_in_without_email().await;
    for target in [
        "/kfz/angebot?x=a+b%20c&y=//z",
        "/Stra%C3%9Fe/M%C3%BCnchen",
        "/a;jsessionid=0A1B.node-1",
        "/f(1)/[x]/a'b/*,!$&@:~",
        "/antrag",
    ] {
        let before = world.calculator.requests().len();
        status(&world, &browser, &format!("POST {target}")).await;
        assert_eq!(
            world.calculator.requests()[before..]
                .iter()
                .map(|seen| seen.target.as_str())
                .collect::<Vec<_>>(),
            [target]
        );
    }
}

#[tokio::test]
async fn with_a_confirmed_address_every_spelling_is_the_calculators_affair() {
    let world = World::builder().store(StoreKind::Memory).start().await;
    let browser = world.signed_in(ADA).await;
    for target in [
        "/antrag//versand",
        "/antrag/%76ersand",
        "/antrag/versand;x",
        "/x/%2e%2e/antrag/versand",
    ] {
        let before = world.calculator.requests().len();
        status(&world, &browser, &format!("POST {target}")).await;
        assert_eq!(
            world.calculator.requests()[before..]
                .iter()
                .map(|seen| seen.target.as_str())
                .collect::<Vec<_>>(),
            [target]
        );
    }
    status(&world, &browser, "POST /antrag/versand").await;
    assert_eq!(world.calculator.submissions().len(), 1);
}

/// Bodies as they may come: none, small, one more than Pingora buffers, and large.
const LENGTHS: [usize; 4] = [0, 10, 64 * 1_024 + 1, 3 * 1_024 * 1_024];

/// A gateway of several, and a session that speaks to it.
struct Desk<'a> {
    world: &'a World,
    number: usize,
    session: String,
}

impl Desk<'_> {
    async fn connect(&self) -> Raw {
        Raw::connect(self.world.gateways[self.number].port).await
    }

    /// A request's header; `fields` each with its line end.
    fn head(&self, line: &str, fields: &str) -> String {
        let port = self.world.gateways[self.number].port;
        format!(
            "{line} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {}\r\n{fields}\r\n",
            self.session
        )
    }

    fn h2(&self, method: &str, target: &str) -> http::request::Builder {
        let port = self.world.gateways[self.number].https.expect("https");
        http::Request::builder()
            .method(method)
            .uri(format!("https://localhost:{port}{target}"))
            .header("cookie", &self.session)
    }

    /// Sends the submission and tells how it was answered.
    async fn submits(&self) -> u16 {
        let body = "fahrer=Ada";
        let fields = format!(
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
            body.len()
        );
        let request = format!("{}{body}", self.head("POST /antrag/versand", &fields));
        self.connect()
            .await
            .send(request)
            .await
            .answer()
            .await
            .status()
    }

    /// On one connection, between requests that pass.
    async fn blocks_on_a_kept_connection(&self) {
        let mut client = self.connect().await;
        for fields in [
            "Content-Length: 10\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Content-Length: 0\r\n",
            "Content-Length: 10\r\n",
        ] {
            let body = match fields {
                "Content-Length: 0\r\n" => "",
                "Content-Length: 10\r\n" => "fahrer=Ada",
                _ => "a\r\nfahrer=Ada\r\n0\r\n\r\n",
            };
            assert_eq!(
                client
                    .send(self.head("GET /", ""))
                    .await
                    .answer()
                    .await
                    .status(),
                200
            );
            let request = format!("{}{body}", self.head("POST /antrag/versand", fields));
            assert_eq!(
                client.send(request).await.answer().await.status(),
                403,
                "{fields}"
            );
        }
    }

    async fn blocks_bodies_of_every_length(&self) {
        for length in LENGTHS {
            let sized = self.head(
                "POST /antrag/versand",
                &format!("Content-Length: {length}\r\n"),
            );
            let chunked = self.head("POST /antrag/versand", "Transfer-Encoding: chunked\r\n");
            let chunk = if length == 0 {
                String::new()
            } else {
                format!("{length:x}\r\n{}\r\n", "x".repeat(length))
            };
            for request in [
                format!("{sized}{}", "x".repeat(length)),
                format!("{chunked}{chunk}0\r\n\r\n"),
            ] {
                let mut client = self.connect().await;
                let answer = client.send(&request).await.answer().await;
                assert_eq!(answer.status(), 403, "{length} bytes, {}", &request[..200]);
            }
        }
    }

    /// Nor does what comes with it in one piece, before the first answer, go further.
    async fn blocks_what_is_pipelined(&self) {
        let submission = self.head("POST /antrag/versand", "Content-Length: 0\r\n");
        for first in [self.head("GET /", ""), submission.clone()] {
            let mut client = self.connect().await;
            client
                .send(format!("{first}{submission}{submission}"))
                .await
                .half_close()
                .await;
            while let Some(answer) = client.try_answer().await {
                assert!(
                    first.starts_with("GET") || answer.status() != 200,
                    "{answer:?}"
                );
            }
        }
    }

    async fn blocks_upgrades(&self) {
        let websocket = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let h2c = "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
        for upgrade in [
            websocket,
            h2c,
            "Upgrade: websocket, h2c\r\nConnection: upgrade\r\n",
        ] {
            // With a body it is refused whatever it asks for.
            for (expected, framing, body) in [
                (403, "", ""),
                (400, "Content-Length: 10\r\n", "fahrer=Ada"),
                (400, "Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            ] {
                let request = format!(
                    "{}{body}",
                    self.head("POST /antrag/versand", &format!("{upgrade}{framing}"))
                );
                let answer = self.connect().await.send(request).await.answer().await;
                assert_eq!(answer.status(), expected, "{upgrade}{framing}");
            }
        }
    }

    async fn blocks_over_http2(&self) {
        let mut client = H2::connect_to(self.world, self.number).await;
        for length in LENGTHS {
            for sized in [true, false] {
                let passed = client
                    .get(self.h2("GET", "/").body(()).expect("a request"))
                    .await
                    .expect("an answer");
                assert_eq!(passed.status(), 200);
                let request = self.h2("POST", "/antrag/versand");
                let request = if sized {
                    request.header("content-length", length)
                } else {
                    request
                };
                let (answer, mut body) = client.begin(request.body(()).expect("a request")).await;
                // The answer may come before the body has gone.
                let _ = body.send_data(vec![b'x'; length].into(), true);
                assert_eq!(
                    whole(answer).await.expect("an answer").status(),
                    403,
                    "{length} bytes, sized: {sized}"
                );
            }
        }
    }
}

#[tokio::test]
async fn three_gateways_block_alike_until_the_address_is_confirmed_and_then_none_does() {
    let world = World::builder().gateways(3).https().start().await;
    let browser = world.browser();
    browser
        .claim(ADA.0, "nobody@makler.example", "/")
        .await
        .leads_to("/ui/login/de/unbekannte-e-mail");
    browser
        .post(
            "/ui/login/de/unbekannte-e-mail",
            &[("action", "without-email")],
        )
        .await
        .leads_to("/");
    let at_each = |session: String| {
        [0, 1, 2].map(|number| Desk {
            world: &world,
            number,
            session: session.clone(),
        })
    };
    let before = at_each(session_of(&browser));
    for desk in &before {
        tokio::join!(
            desk.blocks_on_a_kept_connection(),
            desk.blocks_bodies_of_every_length(),
            desk.blocks_what_is_pipelined(),
            desk.blocks_upgrades(),
            desk.blocks_over_http2()
        );
    }
    let arrived = world.calculator.requests();
    assert!(
        arrived
            .iter()
            .all(|request| request.method == http::Method::GET),
        "{arrived:?}"
    );
    assert!(world.calculator.submissions().is_empty());

    let tan = world.ask(&browser, ADA).await;
    for desk in &before {
        assert_eq!(
            desk.submits().await,
            403,
            "asking for a TAN changes nothing yet"
        );
    }
    browser.enter_tan(&tan, "/").await.leads_to("/");
    let after = at_each(session_of(&browser));
    for (desk, sent) in after.iter().zip(1..) {
        assert_eq!(desk.submits().await, 200);
        assert_eq!(world.calculator.submissions().len(), sent);
    }
    // The older cookie is dead, and was never raised meanwhile.
    for desk in &before {
        eventually("the older session is dead", async || {
            let status = desk.submits().await;
            assert!(matches!(status, 401 | 403), "{status}");
            (status == 401).then_some(())
        })
        .await;
        let fields = "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n";
        let led = desk
            .connect()
            .await
            .send(desk.head("GET /", fields))
            .await
            .answer()
            .await;
        assert_eq!(led.status(), 303, "{led:?}");
    }
    for desk in after {
        assert_eq!(desk.submits().await, 200, "the new session stays");
    }
    assert_eq!(world.calculator.submissions().len(), 6);
}

#[tokio::test]
async fn who_is_refused_for_a_doubtful_request_is_told_what_is_doubtful() {
    let world = World::builder()
        .store(StoreKind::Memory)
        .config(ROUTES)
        .start()
        .await;
    let browser = world.signed_in_without_email().await;
    for (target, why) in [
        ("/kfz//angebot", "zwischen zwei Schrägstrichen ist leer"),
        ("/(S(x))/antrag/versand", "beginnt mit einer Klammer"),
        ("/kfz%2fangebot", "zum Beispiel „%2F“"),
        (
            "/main?%u006dodule=%u0061ntrag&action=versand",
            "eine fehlerhafte Verschlüsselung",
        ),
        ("/kfz;x=(1)", "nach einem Semikolon ungewöhnliche Zeichen"),
        (
            "/kfz/ver%C5%BFand",
            "das manche Server durch ein anderes ersetzen",
        ),
    ] {
        let answer = browser.post(target, &[("fahrer", "Ada")]).await;
        answer
            .is(400)
            .shows("Diese Anfrage ist nicht eindeutig")
            .shows(why)
            .shows("Es wurde nichts ausgeführt.");
        let fetched = browser
            .send(
                Method::POST,
                target,
                &[("sec-fetch-mode", "cors".to_owned())],
                Some(b"x".into()),
            )
            .await;
        assert_eq!(
            fetched.is(400).headers["content-type"],
            "application/problem+json",
            "{target}"
        );
    }
    let foreign = browser
        .post_body("/main", &format!("{FORM}; charset=ibm037"), "fahrer=Ada")
        .await;
    foreign
        .is(400)
        .shows("nennt einen Zeichensatz, in dem die Adresse anders zu lesen wäre");
    browser
        .open("/kfz?_method=POST")
        .await
        .is(400)
        .shows("eine zweite Methode");
    assert!(world.calculator.requests().is_empty());
}

const FORM: &str = "application/x-www-form-urlencoded";
/// Rules by the query.
const ROUTES: &str = "[submission]\npaths = [\"/antrag/versand\", \"/main?module=antrag&action=versand\", \"/amt/index.php?r=antrag/versand\"]";

/// What a safe method asks for is its own affair: the calculator sees the very bytes.
#[tokio::test]
async fn safe_methods_arrive_byte_for_byte_whatever_their_path() {
    let upstream = Upstream::fine().await;
    let world = World::builder()
        .store(StoreKind::Memory)
        .config(ROUTES)
        .https()
        .upstream(&upstream.url())
        .start()
        .await;
    let browser = world.signed_in_without_email().await;
    let desk = Desk {
        world: &world,
        number: 0,
        session: session_of(&browser),
    };
    let mut h2 = H2::connect(&world).await;
    for method in ["GET", "HEAD", "OPTIONS"] {
        for target in [
            "/dok/Antr%E4ge/P.pdf",
            "/kfz/a%zz",
            "/kfz/50%",
            "/x/../y",
            "//x//y",
            "/a%2Fb%5Cc",
            "/a./b%20",
            "/(S(x))/antrag/versand.aspx",
            "/a;x=(1)",
            "/ver%C5%BFand",
            "/x%00y",
            "/main?module=antrag&action=versand&p=%u20AC",
            "/main?text=a%0d%0ab",
            "/antrag/versand",
        ] {
            let answer = desk
                .connect()
                .await
                .send(desk.head(&format!("{method} {target}"), ""))
                .await
                .answer_to(method)
                .await;
            assert_eq!(answer.status(), 200, "{method} {target}");
            let answer = h2
                .get(desk.h2(method, target).body(()).expect("a request"))
                .await
                .expect("an answer");
            assert_eq!(answer.status(), 200, "{method} {target} over HTTP/2");
            let line = format!("{method} {target} HTTP/1.1");
            let arrived = upstream
                .requests()
                .into_iter()
                .filter(|request| request.line == line)
                .count();
            assert_eq!(arrived, 2, "{line}");
        }
    }
}

/// What could make another method of a safe one.
#[tokio::test]
async fn safe_methods_that_may_become_another_do_not_arrive() {
    let upstream = Upstream::fine().await;
    let world = World::builder()
        .store(StoreKind::Memory)
        .https()
        .upstream(&upstream.url())
        .start()
        .await;
    let browser = world.signed_in_without_email().await;
    let desk = Desk {
        world: &world,
        number: 0,
        session: session_of(&browser),
    };
    let mut h2 = H2::connect(&world).await;
    let foreign = "application/x-www-form-urlencoded; charset=IBM037";
    for (target, content_type) in [
        ("/antrag/versand?_method=POST", FORM),
        ("/antrag/versand?%u005fmethod=POST", FORM),
        ("/antrag/versand?.method=POST", FORM),
        ("/antrag/versand%3f_method=POST", FORM),
        (
            "/x%20HTTP/1.1%0d%0aHost:x%0d%0a%0d%0aPOST%20/antrag/versand",
            FORM,
        ),
        (
            "/antrag/versand?%6d%94%85%a3%88%96%84=%d7%d6%e2%e3",
            foreign,
        ),
    ] {
        for method in ["GET", "HEAD", "OPTIONS"] {
            let fields = format!("Content-Type: {content_type}\r\n");
            let request = desk.head(&format!("{method} {target}"), &fields);
            assert_eq!(
                desk.connect()
                    .await
                    .send(request)
                    .await
                    .answer_to(method)
                    .await
                    .status(),
                400,
                "{method} {target}"
            );
            let request = desk
                .h2(method, target)
                .header("content-type", content_type)
                .body(())
                .expect("a request");
            assert_eq!(
                h2.get(request).await.expect("an answer").status(),
                400,
                "{method} {target} over HTTP/2"
            );
        }
    }
    upstream.saw_nothing("a request that may become another");
}

/// Rules by the query hold in every charset and spelling that some server reads, and for the folder that a file stands for.
#[tokio::test]
async fn no_spelling_of_a_route_in_the_query_arrives_without_a_confirmed_address() {
    let upstream = Upstream::fine().await;
    let world = World::builder()
        .store(StoreKind::Memory)
        .config(ROUTES)
        .https()
        .upstream(&upstream.url())
        .start()
        .await;
    let browser = world.signed_in_without_email().await;
    let desk = Desk {
        world: &world,
        number: 0,
        session: session_of(&browser),
    };
    let mut h2 = H2::connect(&world).await;
    let mut rows: Vec<(String, String, u16)> = Vec::new();
    for charset in [
        "IBM037",
        "utf-7",
        "\"UTF-16\"",
        "Shift_JIS",
        "unicode_escape",
        "utf-8; charset=utf-16",
        "nonsense",
        "",
    ] {
        rows.push((
            "/main?x=1".to_owned(),
            format!("{FORM}; charset={charset}"),
            400,
        ));
        rows.push((
            "/tarif".to_owned(),
            format!("multipart/form-data; boundary=x;CHARSET = {charset}"),
            400,
        ));
    }
    for target in [
        "/main?%u006dodule=%u0061ntrag&action=versand",
        "/main?module=antrag&action=ver%25u0073and",
        "/tarif?%U0061",
    ] {
        rows.push((target.to_owned(), FORM.to_owned(), 400));
    }
    for path in [
        "/amt",
        "/amt/",
        "/AMT/",
        "/amt/index.php",
        "/amt/index",
        "/amt/x",
        "/amt;y",
    ] {
        rows.push((format!("{path}?r=antrag%2fversand"), FORM.to_owned(), 403));
    }
    for charset in [
        "utf-8",
        "UTF-8",
        "\"iso-8859-1\"",
        "windows-1252",
        "ISO-8859-15",
    ] {
        rows.push((
            "/main?action=versand&module=antrag".to_owned(),
            format!("{FORM};charset={charset}"),
            403,
        ));
    }
    for (target, content_type, status) in &rows {
        let fields = format!("Content-Type: {content_type}\r\nContent-Length: 0\r\n");
        let answer = desk
            .connect()
            .await
            .send(desk.head(&format!("POST {target}"), &fields))
            .await
            .answer()
            .await;
        assert_eq!(answer.status(), *status, "{target} {content_type}");
        let request = desk
            .h2("POST", target)
            .header("content-type", content_type)
            .body(())
            .expect("a request");
        assert_eq!(
            h2.get(request).await.expect("an answer").status(),
            *status,
            "{target} {content_type} over HTTP/2"
        );
    }
    let twice = format!(
        "Content-Type: {FORM}\r\nContent-Type: {FORM};charset=utf-16\r\nContent-Length: 0\r\n"
    );
    assert_eq!(
        desk.connect()
            .await
            .send(desk.head("POST /main?x=1", &twice))
            .await
            .answer()
            .await
            .status(),
        400
    );
    upstream.saw_nothing("the submission");

    let honest = format!("Content-Type: {FORM}; charset=UTF-8\r\nContent-Length: 0\r\n");
    for target in [
        "/main?module=antrag&action=speichern",
        "/main?rabatt=5%25und",
        "/amt/?r=tarif",
        "/x?r=antrag/versand",
    ] {
        assert_eq!(
            desk.connect()
                .await
                .send(desk.head(&format!("POST {target}"), &honest))
                .await
                .answer()
                .await
                .status(),
            200,
            "{target}"
        );
        assert_eq!(upstream.last().target(), target);
    }
    // ASP.NET takes it for the charset of browsers on old telephones.
    let telephone =
        "User-Agent: UP.Browser\r\nX-Up-Devcap-Post-Charset: utf-16\r\nContent-Length: 0\r\n";
    assert_eq!(
        desk.connect()
            .await
            .send(desk.head("POST /main?y=1", telephone))
            .await
            .answer()
            .await
            .status(),
        200
    );
    assert_eq!(
        (
            upstream.last().target(),
            upstream.last().values("x-up-devcap-post-charset").len()
        ),
        ("/main?y=1", 0)
    );
}

#[tokio::test]
async fn a_kept_form_is_judged_by_the_charset_that_it_came_with() {
    let world = World::builder()
        .store(StoreKind::Memory)
        .config(ROUTES)
        .start()
        .await;
    let browser = world.browser();
    let told = browser
        .post_body(
            "/main?x=1",
            &format!("{FORM}; charset=ibm037"),
            "fahrer=Ada",
        )
        .await;
    let claimed = browser
        .post(
            &told.href_of("ZUR ANMELDUNG"),
            &[("vtnr", NO_EMAIL), ("email", "nobody@makler.example")],
        )
        .await;
    let unknown = claimed.location().expect("the page of an unknown address");
    let welcome = browser.post(&unknown, &[("action", "without-email")]).await;
    browser
        .follow(welcome)
        .await
        .is(400)
        .shows("nennt einen Zeichensatz");
    assert!(
        world
            .calculator
            .requests()
            .iter()
            .all(|request| request.method != http::Method::POST)
    );
}

/// What needs no sign-in never sends an application, whatever its query.
#[tokio::test]
async fn the_submission_is_never_public() {
    let upstream = Upstream::fine().await;
    let routes = "[submission]\npaths = [\"/index.php?r=antrag/versand\"]\n[upstream]\npublic_paths = [\"/favicon.ico\"]";
    let world = World::builder()
        .store(StoreKind::Memory)
        .config(routes)
        .upstream(&upstream.url())
        .start()
        .await;
    let ask = async |line: &str| {
        let port = world.gateways[0].port;
        let request =
            format!("{line} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\n\r\n");
        Raw::connect(port)
            .await
            .send(request)
            .await
            .answer()
            .await
            .status()
    };
    for line in [
        "POST /favicon.ico?r=antrag/versand",
        "POST /favicon.ico?%u0072=antrag/versand",
        "post /favicon.ico?r=antrag/versand",
        "GET /favicon.ico?r=antrag/versand&_method=POST",
    ] {
        assert_eq!(ask(line).await, 401, "{line}");
    }
    upstream.saw_nothing("the submission");
    assert_eq!(ask("GET /favicon.ico?r=antrag/versand").await, 200);
    assert_eq!(ask("POST /favicon.ico").await, 200);
}
