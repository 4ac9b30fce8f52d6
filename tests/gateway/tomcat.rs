//! Tomcat with its own examples, of which it is not told that a gateway stands before it: every answer is the same.

use crate::support::behind::session_of;
use crate::support::tomcat::Tomcat;
use crate::support::upstream::latin1;
use crate::support::world::{ADA, StoreKind};
use crate::support::{Raw, RawAnswer, World};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// All that may differ between an answer of Tomcat's own and the same answer through the gateway. For the handbook.
const MAY_DIFFER: [(&str, &str); 5] = [
    ("Date", "the gateway's clock, not Tomcat's"),
    ("Connection", "belongs to each connection (RFC 9110, 7.6.1)"),
    (
        "Keep-Alive",
        "belongs to each connection, and is Tomcat's promise to the gateway",
    ),
    ("JSESSIONID", "each visit is a session of its own"),
    (
        "fields after the body (trailers)",
        "are dropped over HTTP/1.1, which allows it (RFC 9110, 6.5.1)",
    ),
];

/// Tomcat with its examples.
pub(crate) async fn tomcat() -> Tomcat {
    let examples = "/usr/share/tomcat10-examples/examples";
    assert!(
        std::path::Path::new(examples).join("index.html").exists(),
        "install Debian's tomcat10-examples"
    );
    let mut tomcat = Tomcat::start(
        "",
        &format!(r#"<Context path="/examples" docBase="{examples}"/>"#),
    );
    tomcat.ready("/examples/jsp/dates/date.jsp").await;
    tomcat
}

/// Tomcat, and a gateway before it.
struct Pair {
    tomcat: Tomcat,
    world: World,
    session: String,
    host: String,
}

/// Somebody who visits by one of the two ways and keeps Tomcat's cookies.
struct Visitor<'a> {
    pair: &'a Pair,
    port: u16,
    gateway: Option<&'a str>,
    cookies: Vec<String>,
    jsession: String,
}

impl Pair {
    async fn start() -> Self {
        let tomcat = tomcat().await;
        let url = format!("http://127.0.0.1:{}", tomcat.port);
        let world = World::builder()
            .store(StoreKind::Memory)
            .upstream(&url)
            .start()
            .await;
        let session = session_of(&world.signed_in(ADA).await);
        let host = format!("127.0.0.1:{}", world.gateways[0].port);
        Self {
            tomcat,
            world,
            session,
            host,
        }
    }

    fn visitors(&self) -> [Visitor<'_>; 2] {
        let visitor = |port, gateway| Visitor {
            pair: self,
            port,
            gateway,
            cookies: Vec::new(),
            jsession: String::new(),
        };
        [
            visitor(self.tomcat.port, None),
            visitor(self.world.gateways[0].port, Some(&self.session)),
        ]
    }
}

impl Visitor<'_> {
    async fn ask(&mut self, line: &str, fields: &str, body: &str) -> RawAnswer {
        let mut cookies = self.cookies.clone();
        cookies.extend(self.gateway.map(str::to_owned));
        let cookies = if cookies.is_empty() {
            String::new()
        } else {
            format!("Cookie: {}\r\n", cookies.join("; "))
        };
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let line = line.replace("@JSESSIONID", &self.jsession);
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Mozilla/5.0\r\n{cookies}{fields}{length}\r\n{body}",
            self.pair.host
        );
        let answer = Raw::connect(self.port)
            .await
            .send(request)
            .await
            .answer_to(line.split(' ').next().unwrap_or_default())
            .await;
        for cookie in answer.values("set-cookie") {
            let pair = cookie.split(';').next().unwrap_or_default().to_owned();
            if let Some(id) = pair.strip_prefix("JSESSIONID=") {
                id.clone_into(&mut self.jsession);
            }
            let name = pair.split('=').next().unwrap_or_default().to_owned();
            self.cookies
                .retain(|kept| kept.split('=').next() != Some(&name));
            self.cookies.push(pair);
        }
        answer
    }

    /// An answer without what may differ.
    fn settled(&self, answer: &RawAnswer) -> RawAnswer {
        let settle = |text: &str| {
            if self.jsession.is_empty() {
                text.to_owned()
            } else {
                text.replace(&self.jsession, "JSESSIONID")
            }
        };
        let may_differ = |name: &str| {
            MAY_DIFFER
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        let fields = answer.fields.iter().filter(|(name, _)| !may_differ(name));
        let mut fields: Vec<_> = fields
            .map(|(name, value)| (name.clone(), settle(value)))
            .collect();
        fields.sort_by_key(|(name, _)| name.to_ascii_lowercase());
        let body = match std::str::from_utf8(&answer.body) {
            Ok(text) => settle(text).into_bytes(),
            Err(_) => answer.body.clone(),
        };
        RawAnswer {
            line: answer.line.clone(),
            fields,
            body,
        }
    }
}

/// Asks both ways and asserts that both answers are the same.
async fn same(
    [direct, through]: &mut [Visitor<'_>; 2],
    line: &str,
    fields: &str,
    body: &str,
) -> RawAnswer {
    let first = direct.ask(line, fields, body).await;
    let second = through.ask(line, fields, body).await;
    let (one, two) = (direct.settled(&first), through.settled(&second));
    assert_eq!((&one.line, &one.fields), (&two.line, &two.fields), "{line}");
    assert!(
        one.body == two.body,
        "{line}\n--- direct\n{}\n--- through the gateway\n{}",
        one.text(),
        two.text()
    );
    two
}

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

#[tokio::test]
async fn tomcats_examples_are_the_same_through_the_gateway() {
    let pair = Pair::start().await;
    let list: Vec<_> = MAY_DIFFER
        .iter()
        .map(|(what, why)| format!("- `{what}`: {why}"))
        .collect();
    println!(
        "What may differ between Tomcat's answer and the gateway's:\n{}",
        list.join("\n")
    );
    tokio::join!(
        pages(&pair),
        documents(&pair),
        sessions(&pair),
        streams(&pair),
        sockets(&pair)
    );
}

async fn pages(pair: &Pair) {
    let mut both = pair.visitors();
    for line in [
        "GET /examples",
        "GET /examples/",
        "GET /",
        "GET /nicht/da",
        "GET /examples/servlets/servlet/HelloWorldExample",
        "HEAD /examples/servlets/servlet/HelloWorldExample",
        "GET /examples/servlets/servlet/RequestParamExample?firstname=J%C3%BCrgen&lastname=a%26b",
        "GET /examples/jsp/jsp2/el/basic-arithmetic.jsp",
        "GET /examples/jsp/jsp2/el/functions.jsp?foo=JSP+2.0%C3%A4",
        "GET /examples/jsp/jsp2/simpletag/book.jsp",
        "GET /examples/jsp/simpletag/foo.jsp;x=1",
        "GET /examples/jsp/error/err.jsp?name=audi&submit=Submit",
        "GET /examples/jsp/../index.html",
        "GET /examples//index.html",
        "GET /examples/%2e%2e/examples/index.html",
        "GET /examples/a%2Fb",
        "GET /examples/index.html?",
        "GET /examples/index.html?a|b",
        "OPTIONS /examples/index.html",
        "PUT /examples/index.html",
        "DELETE /examples/index.html",
        "PROPFIND /examples/index.html",
        "brew /examples/index.html",
        "GET /examples/WEB-INF/web.xml",
    ] {
        same(&mut both, line, "Accept: text/html\r\n", "").await;
    }
    let posted = same(
        &mut both,
        "POST /examples/servlets/servlet/RequestParamExample",
        FORM,
        "firstname=M%FCller&lastname=%3Cb%3E",
    )
    .await;
    assert_eq!(posted.status(), 200);
    same(
        &mut both,
        "POST /examples/jsp/checkbox/checkresult.jsp",
        FORM,
        "fruit=apples&fruit=grapes",
    )
    .await;
    same(
        &mut both,
        "POST /examples/servlets/nonblocking/bytecounter",
        FORM,
        &"zwei=drei&".repeat(20_000),
    )
    .await;
    same(
        &mut both,
        "POST /examples/servlets/servlet/RequestParamExample",
        &format!("{FORM}Expect: 200-ok\r\n"),
        "a=b",
    )
    .await;
}

async fn documents(pair: &Pair) {
    let mut both = pair.visitors();
    let image = "GET /examples/servlets/images/code.gif";
    let whole = same(&mut both, image, "", "").await;
    let (tag, modified) = (
        whole.values("etag")[0].to_owned(),
        whole.values("last-modified")[0].to_owned(),
    );
    let conditions = [
        ("Range: bytes=0-9\r\n".to_owned(), 206),
        ("Range: bytes=-5\r\n".to_owned(), 206),
        ("Range: bytes=0-1,4-5\r\n".to_owned(), 206),
        ("Range: bytes=99999999-\r\n".to_owned(), 416),
        (format!("If-None-Match: {tag}\r\n"), 304),
        (format!("If-Modified-Since: {modified}\r\n"), 304),
        ("If-Match: *\r\n".to_owned(), 200),
        ("If-Match: \"x\"\r\n".to_owned(), 412),
        (format!("If-Range: {modified}\r\nRange: bytes=1-2\r\n"), 206),
        (
            "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n".to_owned(),
            412,
        ),
        ("Accept-Encoding: gzip\r\n".to_owned(), 200),
    ];
    for (fields, status) in conditions {
        let answer = same(&mut both, image, &fields, "").await;
        assert_eq!(answer.status(), status, "{fields}");
    }
    same(&mut both, &image.replace("GET", "HEAD"), "", "").await;
}

async fn sessions(pair: &Pair) {
    let mut both = pair.visitors();
    // The gateway's cookie is not shown by the example that lists all cookies.
    let cookies = "/examples/servlets/servlet/CookieExample";
    same(&mut both, &format!("GET {cookies}"), "", "").await;
    let set = same(
        &mut both,
        &format!("POST {cookies}"),
        FORM,
        "cookiename=farbe&cookievalue=blau",
    )
    .await;
    assert_eq!(set.values("set-cookie").len(), 1, "{set:?}");
    let shown = same(&mut both, &format!("GET {cookies}"), "", "").await;
    assert!(
        shown.text().contains("farbe") && !shown.text().contains("vtnr"),
        "{}",
        shown.text()
    );
    let mut both = pair.visitors();
    let cart = "/examples/jsp/sessions/carts.jsp?submit=add&itemId=";
    let first = same(&mut both, &format!("GET {cart}0"), "", "").await;
    assert_eq!(first.values("set-cookie").len(), 1, "{first:?}");
    let second = same(&mut both, &format!("GET {cart}1"), "", "").await;
    assert_eq!(
        second.text().matches("<li>").count(),
        2,
        "Tomcat knew its session again: {}",
        second.text()
    );
    // Without cookies, by the address alone.
    for visitor in &mut both {
        visitor.cookies.clear();
    }
    let rewritten = same(
        &mut both,
        &format!(
            "GET {}2",
            cart.replace(".jsp?", ".jsp;jsessionid=@JSESSIONID?")
        ),
        "",
        "",
    )
    .await;
    assert_eq!(
        rewritten.text().matches("<li>").count(),
        3,
        "Tomcat knew the session in the address: {}",
        rewritten.text()
    );
}

async fn streams(pair: &Pair) {
    let mut both = pair.visitors();
    for line in [
        "GET /examples/async/async0",
        "GET /examples/async/async1",
        "GET /examples/async/async3",
    ] {
        let answers = [
            both[0].ask(line, "", "").await,
            both[1].ask(line, "", "").await,
        ];
        let [one, two] = [both[0].settled(&answers[0]), both[1].settled(&answers[1])];
        assert_eq!((&one.line, &one.fields), (&two.line, &two.fields), "{line}");
    }
    for (visitor, trailers) in both.iter().zip([true, false]) {
        let cookie = visitor
            .gateway
            .map(|session| format!("Cookie: {session}\r\n"))
            .unwrap_or_default();
        let request = format!(
            "GET /examples/servlets/trailers/response HTTP/1.1\r\nHost: {}\r\nTE: trailers\r\n{cookie}Connection: close\r\n\r\n",
            pair.host
        );
        let answer = latin1(
            &Raw::connect(visitor.port)
                .await
                .send(request)
                .await
                .rest()
                .await,
        );
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(answer.contains("\r\n0\r\nx-"), trailers, "{answer}");
        assert_eq!(answer.ends_with("\r\n0\r\n\r\n"), !trailers, "{answer}");
    }
    // The stock ticker never ends; its prices are made by chance. Its lines come while it is open, by both ways.
    for visitor in &both {
        let cookie = visitor
            .gateway
            .map(|session| format!("Cookie: {session}\r\n"))
            .unwrap_or_default();
        let mut client = Raw::connect(visitor.port).await;
        client
            .send(format!(
                "GET /examples/async/stockticker HTTP/1.1\r\nHost: {}\r\n{cookie}\r\n",
                pair.host
            ))
            .await;
        assert_eq!(client.head().await.expect("a header").status(), 200);
        for _ in 0..3 {
            client.until(b"STOCK#").await;
        }
    }
}

async fn sockets(pair: &Pair) {
    let messages = [
        "Gr\u{fc}\u{df}e".to_owned(),
        "x".repeat(5_000),
        "zuletzt".to_owned(),
    ];
    for path in ["echoProgrammatic", "echoAnnotation", "echoStreamAnnotation"] {
        let mut seen = Vec::new();
        for visitor in &pair.visitors() {
            let mut request = format!("ws://127.0.0.1:{}/examples/websocket/{path}", visitor.port)
                .into_client_request()
                .expect("a request");
            request
                .headers_mut()
                .insert("host", pair.host.parse().expect("a value"));
            if let Some(session) = visitor.gateway {
                request
                    .headers_mut()
                    .insert("cookie", session.parse().expect("a value"));
            }
            let (mut socket, answer) = tokio_tungstenite::connect_async(request)
                .await
                .expect("a socket");
            let mut echoes = Vec::new();
            for message in &messages {
                socket
                    .send(Message::text(message.clone()))
                    .await
                    .expect("sent");
                echoes.push(socket.next().await.expect("an echo").expect("an echo"));
            }
            socket
                .send(Message::Ping("ping".into()))
                .await
                .expect("sent");
            echoes.push(socket.next().await.expect("a pong").expect("a pong"));
            socket.close(None).await.expect("closed");
            while let Some(Ok(_)) = socket.next().await {}
            let fields: Vec<_> = answer
                .headers()
                .iter()
                .map(|(name, _)| name.clone())
                .filter(|name| name != "date" && !name.as_str().contains("accept"))
                .collect();
            seen.push((answer.status(), fields, echoes));
        }
        assert!(
            seen[0] == seen[1],
            "{path}: {:?} {:?}",
            (seen[0].0, &seen[0].1),
            (seen[1].0, &seen[1].1)
        );
    }
}
