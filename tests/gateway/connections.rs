//! Connections to the calculator: what was signed in or broken on one reaches no other broker.

use crate::support::behind::session_of;
use crate::support::ntlm::{self, Intranet, Manner, NTLM};
use crate::support::world::{ADA, BEN, Builder, StoreKind};
use crate::support::{H2, Raw, Upstream, World, eventually};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One thread: each request finds what any other left. No connection ends because a machine is busy.
const KEPT: &str = "[upstream]\nkeepalive = \"5m\"\npublic_paths = [\"/oeffentlich\"]";

fn world(upstream: &Upstream) -> Builder {
    World::builder()
        .store(StoreKind::Memory)
        .upstream(&upstream.url())
        .listen("threads = 1")
        .config(KEPT)
}

/// Somebody who asks on one connection, over HTTP/1.1 or HTTP/2.
struct Client {
    wire: Protocol,
    host: String,
    cookie: String,
}

enum Protocol {
    Http1(Raw),
    Http2(H2),
}

/// Status, fields, text.
struct Got {
    status: u16,
    fields: Vec<(String, String)>,
    text: String,
}

const PROTOCOLS: [&str; 2] = ["HTTP/1.1", "HTTP/2"];

impl Client {
    async fn connect(world: &World, protocol: &str, cookie: &str) -> Self {
        let host = format!("localhost:{}", world.gateways[0].https.expect("https"));
        let wire = match protocol {
            "HTTP/2" => Protocol::Http2(H2::connect(world).await),
            _ => Protocol::Http1(Raw::tls(world).await),
        };
        Self {
            wire,
            host,
            cookie: cookie.to_owned(),
        }
    }

    async fn ask(&mut self, method: &str, target: &str, fields: &[(&str, &str)]) -> Got {
        match &mut self.wire {
            Protocol::Http1(raw) => {
                let fields: String = fields
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}\r\n"))
                    .collect();
                let head = format!(
                    "{method} {target} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n{fields}\r\n",
                    self.host, self.cookie
                );
                let answer = raw.send(head).await.answer_to(method).await;
                Got {
                    status: answer.status(),
                    text: answer.text(),
                    fields: answer.fields,
                }
            }
            Protocol::Http2(h2) => {
                let request = http::Request::builder()
                    .version(http::Version::HTTP_2)
                    .method(method);
                let request = request
                    .uri(format!("https://{}{target}", self.host))
                    .header("cookie", &self.cookie);
                let request = fields.iter().fold(request, |request, (name, value)| {
                    request.header(*name, *value)
                });
                let answer = h2
                    .get(request.body(()).expect("a request"))
                    .await
                    .expect("an answer");
                let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                    (name.to_string(), value.to_str().expect("text").to_owned())
                };
                let fields = answer.headers().iter().map(field).collect();
                Got {
                    status: answer.status().as_u16(),
                    fields,
                    text: String::from_utf8_lossy(answer.body()).into_owned(),
                }
            }
        }
    }

    async fn get(&mut self, target: &str) -> Got {
        self.ask("GET", target, &[]).await
    }

    /// Signs this connection in, step by step.
    async fn sign_in(&mut self, manner: Manner, user: &str) {
        let asked = self.get("/intern").await;
        assert_eq!((asked.status, &asked.text[..]), (401, "Anmeldung"));
        assert!(!asked.challenges().is_empty(), "the challenge arrives");
        let challenged = self
            .ask(
                "GET",
                "/intern",
                &[(
                    "Authorization",
                    &format!("{} {}", manner.scheme, ntlm::begin()),
                )],
            )
            .await;
        assert_eq!(challenged.status, 401);
        let begins = format!("{} TlRMTVNTUAAC", manner.scheme);
        assert!(
            challenged
                .challenges()
                .iter()
                .any(|value| value.starts_with(&begins)),
            "{:?}",
            challenged.fields
        );
        let last = format!("{} {}", manner.scheme, ntlm::end(user));
        self.ask("GET", "/intern", &[("Authorization", &last)])
            .await
            .is(user);
    }
}

impl Got {
    fn challenges(&self) -> Vec<&str> {
        let fields = self
            .fields
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"));
        fields.map(|(_, value)| value.as_str()).collect()
    }

    #[track_caller]
    fn is(&self, user: &str) {
        assert_eq!(
            (self.status, &self.text[..]),
            (200, &format!("user={user}")[..])
        );
    }
}

async fn is_signed_in(world: &World, broker: (&str, &str)) -> String {
    session_of(&world.signed_in(broker).await)
}

/// A world whose brokers sign in as often as a test likes.
async fn before(intranet: &Intranet, listen: &str) -> World {
    let builder = world(&intranet.upstream).https().listen(listen);
    builder
        .config("[limits]\nmail_pause = \"100 in 1s\"\nmail_burst = \"100 in 1s\"")
        .start()
        .await
}

const MANNERS: [Manner; 5] = [
    NTLM,
    Manner {
        scheme: "Negotiate",
        asks: "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\n",
        knows: "",
    },
    Manner {
        scheme: "negotiate",
        asks: "www-authenticate: Basic realm=\"a, b\", negotiate\r\n",
        knows: "",
    },
    // Schemes that the gateway does not know, on connections that the application says are signed in.
    Manner {
        scheme: "Sonder",
        asks: "WWW-Authenticate: Sonder\r\n",
        knows: "Persistent-Auth: true\r\n",
    },
    Manner {
        scheme: "Sonder",
        asks: "WWW-Authenticate: Sonder\r\n",
        knows: "WWW-Authenticate: Negotiate oYG2MIGz\r\n",
    },
];

#[tokio::test]
async fn of_two_hundred_requests_of_others_none_comes_on_a_connection_that_is_signed_in() {
    for manner in MANNERS {
        let intranet = Intranet::start(manner).await;
        let world = before(&intranet, "").await;
        let (ada, colleague) = (
            is_signed_in(&world, ADA).await,
            is_signed_in(&world, ADA).await,
        );
        let ben = is_signed_in(&world, BEN).await;
        for protocol in PROTOCOLS {
            let mut alice = Client::connect(&world, protocol, &ada).await;
            alice.sign_in(manner, "ALICE").await;
            for round in 0..50 {
                for (cookie, target) in [
                    (&ben, "/offen"),
                    (&colleague, "/offen"),
                    (&ada, "/offen"),
                    (&String::new(), "/oeffentlich"),
                ] {
                    // Each on another connection of its own.
                    Client::connect(&world, PROTOCOLS[round % 2], cookie)
                        .await
                        .get(target)
                        .await
                        .is("nobody");
                }
                alice
                    .get(if round % 2 == 0 { "/intern" } else { "/offen" })
                    .await
                    .is("ALICE");
            }
            let of_alice = intranet
                .seen()
                .into_iter()
                .filter(|seen| seen.user == "ALICE");
            assert!(
                of_alice
                    .map(|seen| seen.target)
                    .all(|target| target != "/oeffentlich"),
                "{manner:?} {protocol}"
            );
        }
    }
}

#[tokio::test]
async fn a_connection_is_kept_from_others_from_the_first_challenge_on_and_the_handshake_goes_on_upon_it()
 {
    let intranet = Intranet::start(NTLM).await;
    let world = before(&intranet, "").await;
    let (ada, ben) = (
        is_signed_in(&world, ADA).await,
        is_signed_in(&world, BEN).await,
    );
    for protocol in PROTOCOLS {
        let mut alice = Client::connect(&world, protocol, &ada).await;
        let mut other = Client::connect(&world, protocol, &ben).await;
        assert_eq!(alice.get("/intern").await.status, 401);
        let challenged = intranet.seen().last().expect("a request").connection;
        for _ in 0..5 {
            other.get("/offen").await.is("nobody");
            assert_ne!(
                intranet.seen().last().expect("a request").connection,
                challenged,
                "{protocol}"
            );
        }
        alice.sign_in(NTLM, "ALICE").await;
        other.get("/offen").await.is("nobody");
        // What is unchanged is not asked for by name once more.
        assert_eq!(alice.get("/intern/unchanged").await.status, 304);
        alice.get("/intern").await.is("ALICE");
        let all = intranet.seen();
        let of_alice = all
            .iter()
            .filter(|seen| seen.connection == challenged)
            .map(|seen| seen.user.as_str());
        let of_alice: Vec<_> = of_alice.collect();
        // It was anybody's until it was challenged.
        assert!(
            of_alice.ends_with(&["nobody", "nobody", "nobody", "ALICE", "ALICE", "ALICE"]),
            "{protocol}: {of_alice:?}"
        );
    }
}

#[tokio::test]
async fn credentials_that_come_first_do_not_go_up_on_a_connection_that_others_use() {
    let intranet = Intranet::start(NTLM).await;
    let world = before(&intranet, "").await;
    let (ada, ben) = (
        is_signed_in(&world, ADA).await,
        is_signed_in(&world, BEN).await,
    );
    for protocol in PROTOCOLS {
        let mut other = Client::connect(&world, protocol, &ben).await;
        other.get("/offen").await.is("nobody");
        let shared = intranet.seen().last().expect("a request").connection;
        let mut alice = Client::connect(&world, protocol, &ada).await;
        let first = format!("NTLM {}", ntlm::begin());
        assert_eq!(
            alice
                .ask("GET", "/intern", &[("Authorization", &first)])
                .await
                .status,
            401
        );
        assert_ne!(
            intranet.seen().last().expect("a request").connection,
            shared,
            "{protocol}"
        );
        other.get("/offen").await.is("nobody");
        assert_eq!(
            intranet.seen().last().expect("a request").connection,
            shared,
            "{protocol}: it is used again"
        );
    }
}

#[tokio::test]
async fn who_signs_out_and_in_as_another_broker_on_one_connection_is_nobody_to_the_application() {
    let intranet = Intranet::start(NTLM).await;
    let world = before(&intranet, "").await;
    let ben = is_signed_in(&world, BEN).await;
    for protocol in PROTOCOLS {
        let mut client = Client::connect(&world, protocol, &is_signed_in(&world, ADA).await).await;
        client.sign_in(NTLM, "ALICE").await;
        let fields = [
            ("Sec-Fetch-Site", "same-origin"),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Content-Length", "0"),
        ];
        let left = client.ask("POST", "/ui/login/de/abmelden", &fields).await;
        assert!(
            left.status < 400,
            "{protocol}: {} {}",
            left.status,
            left.text
        );
        client.cookie = String::new();
        client.get("/oeffentlich").await.is("nobody");
        client.cookie.clone_from(&ben);
        for _ in 0..3 {
            client.get("/offen").await.is("nobody");
            assert_eq!(client.get("/intern").await.status, 401, "{protocol}");
        }
        client.sign_in(NTLM, "BOB").await;
        client.get("/intern").await.is("BOB");
    }
}

#[tokio::test]
async fn a_strangers_handshake_on_a_public_path_is_his_connections_alone() {
    let intranet = Intranet::start(NTLM).await;
    let world = before(&intranet, "").await;
    let ben = is_signed_in(&world, BEN).await;
    for protocol in PROTOCOLS {
        let mut stranger = Client::connect(&world, protocol, "").await;
        for (message, status) in [(ntlm::begin(), 401), (ntlm::end("ALICE"), 200)] {
            let credentials = format!("NTLM {message}");
            let answer = stranger
                .ask("GET", "/oeffentlich", &[("Authorization", &credentials)])
                .await;
            assert_eq!(answer.status, status, "{protocol}");
        }
        for _ in 0..5 {
            stranger.get("/oeffentlich").await.is("ALICE");
            Client::connect(&world, protocol, "")
                .await
                .get("/oeffentlich")
                .await
                .is("nobody");
            Client::connect(&world, protocol, &ben)
                .await
                .get("/offen")
                .await
                .is("nobody");
        }
    }
}

#[tokio::test]
async fn those_who_come_by_turns_on_one_connection_of_a_front_proxy_are_told_apart() {
    let intranet = Intranet::start(NTLM).await;
    let world = before(&intranet, "trusted_proxies = [\"127.0.0.1\"]").await;
    let (ada, colleague) = (
        is_signed_in(&world, ADA).await,
        is_signed_in(&world, ADA).await,
    );
    let ben = is_signed_in(&world, BEN).await;
    for protocol in PROTOCOLS {
        let mut front = Client::connect(&world, protocol, &ada).await;
        front.sign_in(NTLM, "ALICE").await;
        for _ in 0..5 {
            for (cookie, target) in [
                (&ben, "/offen"),
                (&colleague, "/offen"),
                (&String::new(), "/oeffentlich"),
            ] {
                front.cookie.clone_from(cookie);
                front.get(target).await.is("nobody");
            }
            front.cookie.clone_from(&ada);
            front.get("/intern").await.is("ALICE");
            let elsewhere = [("X-Forwarded-For", "198.51.100.9")];
            front.ask("GET", "/offen", &elsewhere).await.is("nobody");
        }
        // Strangers cannot be told apart there: none of them is ever signed in.
        front.cookie.clear();
        for message in [ntlm::begin(), ntlm::end("ALICE")] {
            let answer = front
                .ask(
                    "GET",
                    "/oeffentlich",
                    &[("Authorization", &format!("NTLM {message}"))],
                )
                .await;
            assert_eq!(answer.status, 401, "{protocol}");
        }
        front.get("/oeffentlich").await.is("nobody");
    }
}

/// What curl got, an answer a line.
async fn curl(words: Vec<String>) -> String {
    let mut command = Command::new("curl");
    command
        .args([
            "-sk",
            "--noproxy",
            "*",
            "--max-time",
            "20",
            "-w",
            " %{http_code}\n",
        ])
        .args(words);
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("not broken off")
        .expect("curl runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn curl_signs_in_by_ntlm_through_the_gateway() {
    let intranet = Intranet::start(NTLM).await;
    let world = before(&intranet, "").await;
    let (ada, ben) = (
        is_signed_in(&world, ADA).await,
        is_signed_in(&world, BEN).await,
    );
    let bases = [
        world.base(),
        format!(
            "https://localhost:{}",
            world.gateways[0].https.expect("https")
        ),
    ];
    for base in bases {
        for auth in ["--ntlm", "--anyauth"] {
            let words = [
                auth,
                "-u",
                "ALICE:geheim",
                "-b",
                &ada,
                &format!("{base}/intern/1"),
                &format!("{base}/intern/2"),
            ];
            let got = curl(words.map(ToOwned::to_owned).to_vec()).await;
            assert_eq!(
                got.replace("Anmeldung", ""),
                "user=ALICE 200\nuser=ALICE 200\n",
                "{base} {auth}"
            );
            let got = curl(
                ["-b", &ben, &format!("{base}/offen")]
                    .map(ToOwned::to_owned)
                    .to_vec(),
            )
            .await;
            assert_eq!(got, "user=nobody 200\n", "{base} {auth}");
        }
    }
}

/// Answers of applications that send a body where there is none.
const BODILESS: [(&str, &str); 9] = [
    ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
    (
        "HEAD",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    ("HEAD", "HTTP/1.1 404 Not Found\r\n\r\n"),
    ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
    (
        "POST",
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    ),
    (
        "DELETE",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    ("GET", "HTTP/1.1 304 Not Modified\r\n\r\n"),
    (
        "GET",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    ),
    (
        "GET",
        "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
];

/// What the application says late, after it has got another request on the connection.
const STRAY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nuser=ALICE";

/// An application that answers `/bodiless/N` so, and the next request on that connection with stray bytes; all others rightly. How many
/// of its connections are open is counted.
async fn broken(open: Arc<AtomicUsize>) -> Upstream {
    Upstream::start(move |mut wire| {
        let open = Arc::clone(&open);
        async move {
            open.fetch_add(1, Ordering::SeqCst);
            while let Some(request) = wire.request().await {
                let row = request
                    .target()
                    .strip_prefix("/bodiless/")
                    .and_then(|row| row.parse::<usize>().ok());
                if let Some(row) = row {
                    wire.send(BODILESS[row].1).await;
                    if wire.request().await.is_some() {
                        wire.send(STRAY).await;
                    }
                    break;
                }
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nuser=nobody")
                    .await;
            }
            open.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await
}

#[tokio::test]
async fn what_a_broken_application_sends_late_after_an_answer_without_a_body_reaches_nobody() {
    let open = Arc::new(AtomicUsize::new(0));
    let upstream = broken(Arc::clone(&open)).await;
    let world = world(&upstream).https().start().await;
    let (ada, ben) = (
        is_signed_in(&world, ADA).await,
        is_signed_in(&world, BEN).await,
    );
    for protocol in PROTOCOLS {
        let mut first = Client::connect(&world, protocol, &ada).await;
        let mut next = Client::connect(&world, protocol, &ben).await;
        for (row, (method, answer)) in BODILESS.iter().enumerate() {
            let length = [("Content-Length", "0")];
            let before = upstream.connections();
            let got = first
                .ask(
                    method,
                    &format!("/bodiless/{row}"),
                    if *method == "POST" { &length } else { &[] },
                )
                .await;
            assert!(
                answer.contains(&got.status.to_string()),
                "{protocol} {method} {answer:?}: {}",
                got.status
            );
            for client in [&mut next, &mut first] {
                client.get("/offen").await.is("nobody");
            }
            assert!(
                upstream.connections() > before,
                "{protocol} {method} {answer:?}: the next took another connection"
            );
            eventually(
                "the connection ends long before it would for being idle",
                async || (open.load(Ordering::SeqCst) <= 1).then_some(()),
            )
            .await;
        }
    }
}

#[tokio::test]
async fn hundreds_of_unchanged_pages_leave_no_connection_behind_and_end_none_of_the_others() {
    let open = Arc::new(AtomicUsize::new(0));
    let upstream = broken(Arc::clone(&open)).await;
    let builder = World::builder()
        .store(StoreKind::Memory)
        .upstream(&upstream.url())
        .listen("threads = 1");
    let world = builder
        .config(&format!("{KEPT}\npool_size = 4"))
        .https()
        .start()
        .await;
    let ada = is_signed_in(&world, ADA).await;
    for protocol in PROTOCOLS {
        let (mut client, before) = (
            Client::connect(&world, protocol, &ada).await,
            upstream.connections(),
        );
        for _ in 0..100 {
            assert_eq!(client.get("/bodiless/6").await.status, 304);
        }
        eventually("they end", async || {
            (open.load(Ordering::SeqCst) <= 1).then_some(())
        })
        .await;
        let after = upstream.connections();
        assert!(
            (99..=100).contains(&(after - before)),
            "one each: {}",
            after - before
        );
        for _ in 0..50 {
            client.get("/offen").await.is("nobody");
        }
        assert!(upstream.connections() - after <= 1, "then one for all");
    }
}

#[tokio::test]
async fn two_hundred_answers_with_a_body_or_a_length_of_none_come_on_one_connection() {
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 301 Moved Permanently\r\nLocation: /dort\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"NTLM\"\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nok",
    ];
    let upstream = Upstream::start(move |mut wire| async move {
        while let Some(request) = wire.request().await {
            let row: usize = request
                .target()
                .trim_start_matches('/')
                .parse()
                .expect("a number");
            wire.send(answers[row % answers.len()]).await;
        }
    })
    .await;
    let world = world(&upstream).https().start().await;
    let brokers = [
        is_signed_in(&world, ADA).await,
        is_signed_in(&world, BEN).await,
    ];
    for protocol in PROTOCOLS {
        let mut clients = Vec::new();
        for cookie in &brokers {
            clients.push(Client::connect(&world, protocol, cookie).await);
        }
        for number in 0..200 {
            let method = if number % 3 == 0 { "POST" } else { "GET" };
            let fields = [
                ("Content-Length", "0"),
                ("Authorization", "Basic QUxJQ0U6Z2VoZWlt"),
            ];
            let got = clients[number % 2]
                .ask(method, &format!("/{number}"), &fields)
                .await;
            assert!(
                answers[number % answers.len()].contains(&format!(" {} ", got.status)),
                "{protocol} {number}"
            );
        }
    }
    assert_eq!(
        upstream.connections(),
        1,
        "all four clients, both methods, every answer"
    );
}
