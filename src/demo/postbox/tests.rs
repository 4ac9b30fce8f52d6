use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(10);

async fn listening() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A mail client that says exactly what it is told.
struct Client {
    stream: TcpStream,
    heard: String,
}

impl Client {
    async fn connect(postbox: &Postbox) -> Self {
        let (listener, address) = listening().await;
        tokio::spawn(postbox.clone().serve_smtp(listener));
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            heard: String::new(),
        }
    }

    /// Connected, greeted, and with an envelope to ada@makler.example.
    async fn addressed(postbox: &Postbox) -> Self {
        let mut client = Self::connect(postbox).await;
        client.hears("220").await;
        client.says("EHLO test", "250").await;
        client
            .says("MAIL FROM:<noreply@insurer.example>", "250")
            .await;
        client.says("RCPT TO:<ada@makler.example>", "250").await;
        client
    }

    async fn says(&mut self, line: &str, code: &str) {
        self.sends(format!("{line}\r\n").as_bytes()).await;
        self.hears(code).await;
    }

    async fn sends(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next reply, all of its lines, begins with this code.
    async fn hears(&mut self, code: &str) -> String {
        let reply = timeout(LONG, self.reply())
            .await
            .unwrap()
            .expect("a reply, not the end");
        assert!(reply.starts_with(code), "{reply} is not {code}");
        reply
    }

    async fn reply(&mut self) -> Option<String> {
        let mut reply = String::new();
        loop {
            while let Some((line, rest)) = self.heard.split_once("\r\n") {
                let last = line.as_bytes()[3] == b' ';
                reply.push_str(&format!("{line}\n"));
                self.heard = rest.to_owned();
                if last {
                    return Some(reply);
                }
            }
            let mut buffer = [0; 1024];
            match self.stream.read(&mut buffer).await.unwrap() {
                0 => return None,
                length => self
                    .heard
                    .push_str(std::str::from_utf8(&buffer[..length]).unwrap()),
            }
        }
    }
}

#[tokio::test]
async fn a_mail_sent_can_be_read() {
    let postbox = Postbox::new();
    let mut client = Client::connect(&postbox).await;
    client.hears("220").await;
    client.sends(b"EHLO test\r\n").await;
    let hello = client.hears("250").await;
    for extension in ["SIZE 1048576", "8BITMIME", "SMTPUTF8", "PIPELINING"] {
        assert!(hello.contains(extension), "{hello}");
    }
    client
        .says(
            "MAIL FROM:<noreply@insurer.example> BODY=8BITMIME SMTPUTF8",
            "250",
        )
        .await;
    client.says("RCPT TO:<jürgen@makler.example>", "250").await;
    client.says("RCPT TO:<ada@makler.example>", "250").await;
    client.says("DATA", "354").await;
    client
        .says("Subject: Zugang\r\n\r\nIhre TAN:\r\nBCDFGH\r\n.", "250")
        .await;
    client.says("QUIT", "221").await;
    assert_eq!(client.reply().await, None);

    let mail = postbox.next(0).await;
    assert_eq!(
        (mail.index, mail.from.as_str(), mail.subject.as_str()),
        (0, "noreply@insurer.example", "Zugang")
    );
    assert_eq!(mail.to, ["jürgen@makler.example", "ada@makler.example"]);
    assert_eq!(mail.text, "Ihre TAN:\r\nBCDFGH\r\n");
    assert_eq!(postbox.mails().len(), 1);
}

#[tokio::test]
async fn stuffed_dots_are_unstuffed_and_a_bare_lf_ends_nothing() {
    let postbox = Postbox::new();
    let mut client = Client::addressed(&postbox).await;
    client.says("DATA", "354").await;
    client
        .says(
            "\r\n..\r\n...two\r\n. one\r\nend\n.\nRSET\n.\r\nstill\r\n.",
            "250",
        )
        .await;
    let expected = b"\r\n.\r\n..two\r\n one\r\nend\n.\nRSET\n.\r\nstill\r\n";
    assert_eq!(
        postbox.next(0).await.raw,
        expected,
        "only CR LF counts as the end of a line"
    );
}

#[tokio::test]
async fn an_empty_mail_is_a_mail() {
    let postbox = Postbox::new();
    let mut client = Client::addressed(&postbox).await;
    client.says("DATA", "354").await;
    client.says(".", "250").await;
    assert_eq!(postbox.next(0).await.raw, b"");
}

#[tokio::test]
async fn commands_may_come_all_at_once() {
    let postbox = Postbox::new();
    let mut client = Client::connect(&postbox).await;
    client
        .sends(b"EHLO t\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n")
        .await;
    client.sends(b"Subject: 1\r\n\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<g@h.i>\r\nDATA\r\nSubject: 2\r\n\r\n.\r\nQUIT\r\n").await;
    for code in [
        "220", "250", "250", "250", "354", "250", "250", "250", "354", "250", "221",
    ] {
        client.hears(code).await;
    }
    let subjects: Vec<String> = postbox
        .mails()
        .into_iter()
        .map(|mail| mail.subject)
        .collect();
    assert_eq!(subjects, ["1", "2"]);
}

#[tokio::test]
async fn commands_out_of_order_are_refused_and_the_conversation_goes_on() {
    let postbox = Postbox::new();
    let mut client = Client::connect(&postbox).await;
    client.hears("220").await;
    client.says("MAIL FROM:<a@b.c>", "503").await;
    client.says("HELO test", "250").await;
    client.says("RCPT TO:<a@b.c>", "503").await;
    client.says("DATA", "503").await;
    client.says("MAIL FROM:<a@b.c>", "250").await;
    client.says("MAIL FROM:<a@b.c>", "503").await;
    client.says("DATA", "503").await;
    client.says("RSET", "250").await;
    client.says("RCPT TO:<a@b.c>", "503").await;
    client.says("TURN", "500").await;
    client.says(&"X".repeat(5_000), "500").await;
    client.says("NOOP", "250").await;
    assert!(postbox.mails().is_empty());
}

#[tokio::test]
async fn a_mail_above_the_limit_is_refused_and_one_at_the_limit_is_kept() {
    let postbox = Postbox::new();
    let mut client = Client::addressed(&postbox).await;
    for (size, code) in [((1 << 20) + 1, "552"), (1 << 20, "250")] {
        client.says("RSET", "250").await;
        client.says("MAIL FROM:<a@b.c>", "250").await;
        client.says("RCPT TO:<d@e.f>", "250").await;
        client.says("DATA", "354").await;
        client.sends("x".repeat(size - 2).as_bytes()).await;
        client.says("\r\n.", code).await;
    }
    let sizes: Vec<usize> = postbox.mails().iter().map(|mail| mail.raw.len()).collect();
    assert_eq!(sizes, [1 << 20]);
}

#[tokio::test]
async fn a_mail_cut_off_in_the_middle_is_not_kept() {
    let postbox = Postbox::new();
    let mut client = Client::addressed(&postbox).await;
    client.says("DATA", "354").await;
    client.sends(b"Subject: half\r\n\r\n.").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.reply().await, None);
    assert!(postbox.mails().is_empty());
}

#[tokio::test]
async fn recipients_are_refused_or_put_off_when_told_so_and_taken_again_afterwards() {
    let postbox = Postbox::new();
    let mut client = Client::addressed(&postbox).await;
    for (fault, code) in [
        (PostboxFault::Refuse, "550"),
        (PostboxFault::PutOff, "451"),
        (PostboxFault::None, "250"),
    ] {
        postbox.set_fault(fault);
        client.says("RCPT TO:<d@e.f>", code).await;
    }
}

#[tokio::test]
async fn the_greeting_can_be_late() {
    let postbox = Postbox::new();
    postbox.set_fault(PostboxFault::BannerDelay(SHORT));
    let begun = Instant::now();
    Client::connect(&postbox).await.hears("220").await;
    assert!(begun.elapsed() >= SHORT);
}

#[tokio::test]
async fn a_mail_can_be_taken_without_the_sender_being_told() {
    let postbox = Postbox::new();
    postbox.set_fault(PostboxFault::DropAfterData);
    let mut client = Client::addressed(&postbox).await;
    client.says("DATA", "354").await;
    client.sends(b"Subject: taken\r\n\r\n.\r\n").await;
    assert_eq!(client.reply().await, None);
    assert_eq!(postbox.next(0).await.subject, "taken");
}

#[tokio::test]
async fn a_frozen_server_never_answers_old_and_new_connections() {
    let postbox = Postbox::new();
    let mut old = Client::addressed(&postbox).await;
    postbox.set_fault(PostboxFault::Freeze);
    old.sends(b"NOOP\r\n").await;
    let mut new = Client::connect(&postbox).await;
    assert!(timeout(SHORT, old.reply()).await.is_err());
    assert!(timeout(SHORT, new.reply()).await.is_err());
}

#[tokio::test]
async fn waiting_for_a_mail_ends_when_it_arrives() {
    let postbox = Postbox::new();
    let waiting = tokio::spawn({
        let postbox = postbox.clone();
        async move { postbox.next(1).await }
    });
    for subject in ["first", "second"] {
        tokio::task::yield_now().await;
        postbox.keep(
            letter::Envelope::default(),
            format!("Subject: {subject}\r\n\r\n").into_bytes(),
        );
    }
    assert_eq!(
        timeout(LONG, waiting).await.unwrap().unwrap().subject,
        "second"
    );
}

#[tokio::test]
async fn the_oldest_mails_go_when_there_are_too_many() {
    let postbox = Postbox::new();
    for _ in 0..MAILS_KEPT + 5 {
        postbox.keep(letter::Envelope::default(), Vec::new());
    }
    assert_eq!(postbox.mails().len(), MAILS_KEPT);
    assert_eq!(postbox.next(0).await.index, 5);
    for _ in 0..70 {
        postbox.keep(letter::Envelope::default(), vec![b' '; 1 << 20]);
    }
    assert_eq!(postbox.mails().len(), 64, "one MiB each");
}

async fn page(postbox: &Postbox, path: &str) -> String {
    let (listener, address) = listening().await;
    tokio::spawn(postbox.clone().serve_http(listener));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: postfach\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn the_browser_shows_the_newest_mail_first_and_keeps_its_html_in_a_sandbox() {
    let postbox = Postbox::new();
    let envelope = || letter::Envelope {
        from: "a@b.c".into(),
        to: vec!["d@e.f".into()],
    };
    postbox.keep(envelope(), b"Subject: Alt\r\n\r\nGuten Tag\r\n".to_vec());
    let html =
        b"Subject: <b>Neu</b>\r\nContent-Type: text/html\r\n\r\n<p onclick=\"x()\">Hallo</p>\r\n";
    postbox.keep(envelope(), html.to_vec());

    let list = page(&postbox, "/").await;
    assert!(
        list.find("&lt;b&gt;Neu").unwrap() < list.find("Alt").unwrap(),
        "{list}"
    );
    let mail = page(&postbox, "/mail/1").await;
    assert!(
        mail.contains("<iframe sandbox ") && mail.contains("srcdoc=\"&lt;p onclick=&quot;x()"),
        "{mail}"
    );
    assert!(mail.contains("script-src 'self'"), "{mail}");
    assert!(!page(&postbox, "/mail/0").await.contains("<iframe"));
    assert!(
        page(&postbox, "/mail/0/quelltext")
            .await
            .ends_with("Subject: Alt\r\n\r\nGuten Tag\r\n")
    );
    assert!(page(&postbox, "/anzahl").await.ends_with("\r\n2"));
    for missing in ["/mail/7", "/mail/x", "/other"] {
        assert!(
            page(&postbox, missing).await.starts_with("HTTP/1.1 404"),
            "{missing}"
        );
    }
    for asset in ["/postfach.css", "/postfach.js"] {
        assert!(
            page(&postbox, asset).await.starts_with("HTTP/1.1 200"),
            "{asset}"
        );
    }
}
