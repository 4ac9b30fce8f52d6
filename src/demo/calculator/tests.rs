use super::*;
use futures_util::{SinkExt, StreamExt};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite;

const LONG: Duration = Duration::from_secs(10);
const MOTOR: &str = "name=J%FCrgen+Gro%DF&kennzeichen=K-%C4+1&hsn=0603&tsn=BGU&geburtsdatum=17.05.1974\
                     &beginn=01.01.2027&sf=12&km=15.000&deckung=TK&zahlung=1";

/// A running calculator and a browser that keeps its session.
struct World {
    calculator: Calculator,
    address: SocketAddr,
    cookie: String,
}

/// An answer: its head in lower case, and its body.
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        latin1::decode(&self.body)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl World {
    async fn start() -> Self {
        let calculator = Calculator::new("/ui/login/de/abmelden");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(calculator.clone().serve(listener));
        Self {
            calculator,
            address,
            cookie: String::new(),
        }
    }

    async fn get(&mut self, target: &str) -> Answer {
        self.send("GET", target, "", b"").await
    }

    async fn post(&mut self, target: &str, form: &str) -> Answer {
        self.send(
            "POST",
            target,
            "Content-Type: application/x-www-form-urlencoded\r\n",
            form.as_bytes(),
        )
        .await
    }

    async fn send(&mut self, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let (cookie, length) = (&self.cookie, body.len());
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: rechner\r\nConnection: close\r\nCookie: other=1; JSESSIONID={cookie}\r\n\
             Content-Length: {length}\r\n{headers}\r\n"
        );
        stream
            .write_all(&[head.as_bytes(), body].concat())
            .await
            .unwrap();
        let mut raw = Vec::new();
        timeout(LONG, stream.read_to_end(&mut raw))
            .await
            .unwrap()
            .unwrap();
        let end = raw.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let answer = Answer {
            head: latin1::decode(&raw[..end]).replace("HTTP/1.1 ", ""),
            body: raw[end + 4..].to_vec(),
        };
        if let Some(cookie) = answer.header("set-cookie") {
            let value = cookie
                .strip_prefix("JSESSIONID=")
                .unwrap()
                .strip_suffix("; Path=/; HttpOnly")
                .unwrap();
            self.cookie = value.to_owned();
        }
        answer
    }
}

#[tokio::test]
async fn the_start_page_is_latin1_and_knows_the_broker() {
    let mut world = World::start().await;
    let page = world.get("/").await;
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=ISO-8859-1")
    );
    assert!(
        page.body.windows(6).any(|bytes| bytes == b"Sch\xf6n,"),
        "an umlaut is one byte"
    );
    assert!(
        page.text()
            .contains("<a href=\"/ui/login/de/abmelden\">Abmelden</a>")
    );
    assert!(!page.text().contains("VTNR"));
    let page = world.send("GET", "/", "X-VTNR: 60/123/4567\r\n", b"").await;
    assert!(
        page.text().contains("Vermittlernummer <b>60/123/4567</b>"),
        "{}",
        page.text()
    );
}

#[tokio::test]
async fn the_session_cookie_is_set_once() {
    let mut world = World::start().await;
    assert!(world.get("/").await.header("set-cookie").is_some());
    assert!(
        world
            .get("/kfz/angebot")
            .await
            .header("set-cookie")
            .is_none()
    );
    world.cookie = "made-up".to_owned();
    assert!(
        world.get("/").await.header("set-cookie").is_some(),
        "an unknown session is not adopted"
    );
}

#[tokio::test]
async fn an_offer_is_computed_kept_in_its_session_and_can_be_downloaded() {
    let mut world = World::start().await;
    let answer = world.post("/kfz/angebot", MOTOR).await;
    assert!(answer.head.starts_with("302"), "{}", answer.head);
    let target = answer.header("location").unwrap().to_owned();
    assert_eq!(target, "/kfz/angebot?id=43");
    assert!(world.get(&target).await.text().contains("Jürgen Groß"));
    assert!(world.get("/").await.text().contains("Angebot 43"));

    let csv = world.get("/kfz/angebot.csv?id=43").await;
    assert_eq!(
        csv.header("content-disposition"),
        Some("attachment; filename=\"angebot-43.csv\"")
    );
    assert!(
        csv.text().contains("\"Kennzeichen\";\"K-Ä 1\"\r\n"),
        "{}",
        csv.text()
    );
    let pdf = world.get("/kfz/angebot.pdf?id=43").await;
    assert_eq!(pdf.header("content-type"), Some("application/pdf"));
    assert!(pdf.body.starts_with(b"%PDF-1.4\n") && pdf.body.ends_with(b"%%EOF\n"));

    world.cookie.clear();
    assert!(
        world.get(&target).await.head.starts_with("404"),
        "another session does not see it"
    );
    assert!(
        world
            .get("/kfz/angebot?id=42")
            .await
            .text()
            .contains("Angebot 42"),
        "but everybody sees the sample"
    );
}

#[tokio::test]
async fn a_mistake_in_the_form_keeps_what_was_typed() {
    let mut world = World::start().await;
    let page = world
        .post("/kfz/angebot", &MOTOR.replace("hsn=0603", "hsn=%22%3E"))
        .await
        .text();
    assert!(
        page.contains("hat vier Ziffern") && page.contains("value=\"&quot;&gt;\""),
        "{page}"
    );
    assert!(page.contains("value=\"Jürgen Groß\""), "{page}");
}

#[tokio::test]
async fn the_price_comes_while_typing_and_is_the_one_of_the_offer() {
    let mut world = World::start().await;
    let target = format!(
        "/kfz/preis?{}&zeit=1",
        MOTOR.replace("name=J%FCrgen+Gro%DF&kennzeichen=K-%C4+1&", "")
    );
    let price = world.get(&target).await;
    assert_eq!(
        price.header("content-type"),
        Some("text/xml; charset=ISO-8859-1")
    );
    let year = price
        .text()
        .split_once("<jahr>")
        .unwrap()
        .1
        .split_once("</jahr>")
        .unwrap()
        .0
        .to_owned();
    world.post("/kfz/angebot", MOTOR).await;
    assert!(
        world
            .get("/kfz/angebot?id=43")
            .await
            .text()
            .contains(&format!("{year} EUR")),
        "{year}"
    );
    assert!(
        world
            .get("/kfz/preis?hsn=1&tsn=BGU&geburtsdatum=1")
            .await
            .text()
            .contains("<hinweis>Die Herstellerschlüsselnummer")
    );
}

#[tokio::test]
async fn a_submission_is_counted_once_and_shown() {
    let mut world = World::start().await;
    assert!(
        world
            .get("/antrag?id=42")
            .await
            .text()
            .contains("action=\"/antrag/versand\"")
    );
    assert!(
        world
            .get("/antrag/eingang")
            .await
            .text()
            .contains("<b id=\"anzahl\">0</b>")
    );
    let form = b"id=42&name=J%FCrgen&bemerkung=a%2Bb";
    let headers = "X-VTNR: 60/123/4567\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let receipt = world.send("POST", "/antrag/versand", headers, form).await;
    assert!(receipt.text().contains("AE-000001"));

    let [submission] = world.calculator.submissions().try_into().unwrap();
    assert_eq!(
        (submission.receipt.as_str(), submission.vtnr.as_deref()),
        ("AE-000001", Some("60/123/4567"))
    );
    assert_eq!(submission.body, form);
    assert_eq!(
        submission.fields[1..],
        [
            ("name".into(), "Jürgen".into()),
            ("bemerkung".into(), "a+b".into())
        ]
    );
    let inbox = world.get("/antrag/eingang").await.text();
    assert!(
        inbox.contains("<b id=\"anzahl\">1</b>") && inbox.contains("Jürgen"),
        "{inbox}"
    );
    world.post("/antrag/versand", "id=42").await;
    assert_eq!(world.calculator.submissions().len(), 2, "sent twice is two");
    assert!(world.get("/antrag/versand").await.head.starts_with("405"));
}

#[tokio::test]
async fn requests_are_remembered_as_they_came() {
    let mut world = World::start().await;
    world
        .send(
            "GET",
            "/nichts%20da?a=%FC&b",
            "X-Test: 1\r\nX-Test: 2\r\n",
            b"",
        )
        .await;
    let [seen] = world.calculator.requests().try_into().unwrap();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("GET", "/nichts%20da?a=%FC&b")
    );
    assert_eq!(seen.headers.get_all("x-test").iter().count(), 2);
}

#[tokio::test]
async fn an_uploaded_document_of_any_size_is_measured() {
    let mut world = World::start().await;
    let document = vec![b'x'; 5 << 20];
    let body = [
        &b"--b\r\nContent-Disposition: form-data; name=\"dokument\"; filename=\"beleg.pdf\"\r\n\r\n"[..],
        &document,
        b"\r\n--b--\r\n",
    ]
    .concat();
    let answer = world
        .send(
            "POST",
            "/upload",
            "Content-Type: multipart/form-data; boundary=b\r\n",
            &body,
        )
        .await
        .text();
    let digest = ring::digest::digest(&ring::digest::SHA256, &document);
    let sha256: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert!(
        answer.contains("beleg.pdf")
            && answer.contains("5242880 Bytes")
            && answer.contains(&sha256),
        "{answer}"
    );
    let empty = world.post("/upload", "a=b").await;
    assert!(
        empty.head.starts_with("400") && empty.text().contains("kein Dokument"),
        "{}",
        empty.head
    );
}

#[tokio::test]
async fn the_ticker_speaks_at_once() {
    let world = World::start().await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream
        .write_all(b"GET /ticker HTTP/1.1\r\nHost: rechner\r\n\r\n")
        .await
        .unwrap();
    let mut heard = String::new();
    let first = async {
        while !heard.contains("Meldung 1: ") {
            let mut buffer = [0; 1024];
            let length = stream.read(&mut buffer).await.unwrap();
            heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    };
    timeout(Duration::from_millis(1_500), first)
        .await
        .expect("before the second one is due");
    assert!(heard.contains("content-type: text/event-stream"), "{heard}");
}

#[tokio::test]
async fn the_web_socket_says_back_what_it_hears_and_tells_prices() {
    let world = World::start().await;
    let url = format!("ws://{}/ws/kurse", world.address);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    for message in [
        tungstenite::Message::text("Grüße"),
        tungstenite::Message::binary(vec![0, 255]),
    ] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(
            timeout(LONG, socket.next())
                .await
                .unwrap()
                .unwrap()
                .unwrap(),
            message
        );
    }
    let price = timeout(LONG, socket.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(price, tungstenite::Message::text("Wachstum Europa;100,00"));
}

#[tokio::test]
async fn every_page_and_asset_is_there() {
    let mut world = World::start().await;
    for target in [
        "/",
        "/kfz/angebot",
        "/kfz/angebot?id=42",
        "/antrag?id=42",
        "/antrag/eingang",
        "/upload",
        "/kurse",
    ] {
        let page = world.get(target).await;
        assert!(
            page.head.starts_with("200") && page.text().trim_end().ends_with("</html>"),
            "{target}: {}",
            page.head
        );
    }
    for (target, content_type) in [
        ("/style.css", "text/css"),
        ("/skript.js", "text/javascript"),
        ("/logo.gif", "image/gif"),
        ("/favicon.ico", "image/x-icon"),
    ] {
        assert_eq!(
            world.get(target).await.header("content-type"),
            Some(content_type)
        );
    }
    assert!(world.get("/kfz/angebot?id=9").await.head.starts_with("404"));
    assert!(
        world
            .get("/gibt-es-nicht")
            .await
            .text()
            .contains("Seite nicht gefunden")
    );
}
