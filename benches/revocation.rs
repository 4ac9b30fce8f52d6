//! How long a session lives on at one gateway once it was ended at another: two gateways on one Redis, both under load, and 10,000
//! sessions, each in the memory of both, that end by a sign-out, by a sign-in that takes their place, or since their broker was revoked.
//!
//! The time is counted until the other gateway's refusal has come back. Fails if it is above 50 ms at p99. As an argument it takes another number
//! of sessions.

#[path = "../tests/support/mod.rs"]
mod support;

use domain::email::Email;
use domain::ids::{BrowserToken, SessionToken};
use domain::session::{Level, Session};
use domain::trust::{Trust, TrustEntry};
use domain::vtnr::Vtnr;
use futures_util::future::join_all;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{Raw, StoreKind, World, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use vtnr_gateway::app;
use vtnr_gateway::clock::{Clock, Rng};
use vtnr_gateway::config::Config;
use vtnr_gateway::store::{FullStore, RateLimits, SignInCommit, Vault, WriteOutcome};
use vtnr_gateway::telemetry::metrics::Metrics;

const ENDED: usize = 10_000;
/// Promised.
const MAX: Duration = Duration::from_millis(50);
/// Sessions that end at the same time.
const WORKERS: usize = 8;
/// Of each gateway: connections that ask again as soon as they are answered, and the sessions that they ask for in turn.
const LOAD: usize = 2;
const ALIVE: usize = 2_000;
const LIVES: Duration = Duration::from_secs(12 * 3_600);
const CONFIG: &str = "[limits]\nvtnrs_client = \"1000000 in 1h\"\n[log]\nfilter = \"info\"\n";

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    SignOut,
    /// A broker whose session was without submission signs in with the address on file.
    Level,
    /// What `vtnr-gateway revoke` does, without the start of a process. Both gateways forget all their sessions.
    Revocation,
}

impl End {
    const ALL: [Self; 3] = [Self::SignOut, Self::Level, Self::Revocation];

    fn of(number: usize) -> Self {
        match number % 100 {
            0 => Self::Revocation,
            odd if odd % 2 == 1 => Self::Level,
            _ => Self::SignOut,
        }
    }
}

/// A broker's browser.
#[derive(Clone, Copy)]
struct Visitor {
    number: u32,
    session: SessionToken,
    browser: BrowserToken,
}

/// How long it took until the session was refused.
struct Took {
    end: End,
    /// Since it was asked to end.
    sent: Duration,
    /// Since that was said to be done.
    answered: Duration,
}

/// A client's connection to a gateway.
struct Connection {
    raw: Raw,
    port: u16,
}

struct Scene {
    world: World,
    store: Arc<dyn FullStore>,
    visitors: Vec<Visitor>,
    next: AtomicUsize,
    is_over: AtomicBool,
}

fn main() -> ExitCode {
    let ended = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(ENDED);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let took = runtime.block_on(async {
        let scene = Scene::set(ended).await;
        let (begun, load) = (Instant::now(), async { join_all((0..2 * LOAD).map(|number| scene.load(number))).await });
        let ends = async {
            let took = join_all((0..WORKERS).map(|_| scene.end_sessions(ended))).await;
            scene.is_over.store(true, Ordering::Relaxed);
            took
        };
        let (took, answered) = tokio::join!(ends, load);
        let (seconds, answered) = (begun.elapsed().as_secs_f64(), answered.iter().sum::<usize>());
        println!(
            "{ended} sessions ended in {seconds:.1} s, while {:.0} other requests a second were answered",
            answered as f64 / seconds
        );
        // What went wrong with the store or the subscription would explain long times.
        let log = scene.world.log().await;
        log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).for_each(|line| println!("{line}"));
        took.into_iter().flatten().collect::<Vec<_>>()
    });
    println!(
        "{:<12} {:>8}  {:>26}  {:>26}",
        "", "sessions", "since the answer", "since the asking"
    );
    println!(
        "{:<21}  {:>8} {:>8} {:>8}  {:>8} {:>8} {:>8}",
        "", "p50", "p99", "max", "p50", "p99", "max"
    );
    for end in End::ALL {
        report(
            &format!("{end:?}"),
            took.iter().filter(|took| took.end == end),
        );
    }
    if report("all", took.iter()) <= MAX {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints a row and gives the p99 since the answer.
fn report<'a>(what: &str, took: impl Iterator<Item = &'a Took> + Clone) -> Duration {
    let of = |which: fn(&Took) -> Duration| {
        let mut all: Vec<_> = took.clone().map(which).collect();
        all.sort();
        let at = |part: f64| {
            all.get((all.len() as f64 * part) as usize)
                .or(all.last())
                .copied()
                .unwrap_or_default()
        };
        [at(0.5), at(0.99), at(1.0)]
    };
    let (answered, sent) = (of(|took| took.answered), of(|took| took.sent));
    let ms = |times: [Duration; 3]| {
        times
            .map(|time| format!("{:>5.1} ms", time.as_secs_f64() * 1e3))
            .join(" ")
    };
    println!(
        "{what:<12} {:>8}  {}  {}",
        took.clone().count(),
        ms(answered),
        ms(sent)
    );
    answered[1]
}

impl Scene {
    /// Two gateways, and brokers who are signed in without submission and whose browsers are trusted.
    async fn set(ended: usize) -> Self {
        let calculator = calculator().await;
        let world = World::builder()
            .gateways(2)
            .store(StoreKind::OwnRedis)
            .upstream(&calculator)
            .config(CONFIG)
            .start()
            .await;
        let config = Config::load(&world.folder.path().join("gateway-0.toml"))
            .unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let vault = Vault::new(config.store.secret.reveal(), Rng);
        let metrics = Arc::new(Metrics::new().expect("sound"));
        let store = app::open_store(&config, vault, Clock::System, metrics).expect("a store");
        let brokers = u32::try_from(ended + ALIVE).expect("it fits");
        let visitors = (0..brokers).map(Visitor::new).collect();
        let scene = Self {
            world,
            store,
            visitors,
            next: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        };
        let file = scene
            .visitors
            .iter()
            .fold("vtnr;email\n".to_owned(), |mut file, visitor| {
                writeln!(file, "{};{}", visitor.vtnr(), visitor.email())
                    .expect("a String takes all");
                file
            });
        scene.world.write_brokers(&file);
        join_all(
            scene
                .visitors
                .iter()
                .map(|visitor| visitor.sign_in(&*scene.store)),
        )
        .await;
        for port in scene.ports() {
            let last = scene.visitors.last().expect("somebody");
            eventually("the brokers are known", async || {
                (Connection::to(port).await.ask(last).await == 200).then_some(())
            })
            .await;
        }
        scene
    }

    fn ports(&self) -> [u16; 2] {
        [self.world.gateways[0].port, self.world.gateways[1].port]
    }

    /// Asks a gateway for the sessions that stay alive, in turn, and gives how many were answered.
    async fn load(&self, number: usize) -> usize {
        let mut connection = Connection::to(self.ports()[number % 2]).await;
        let mut answered = 0;
        for visitor in self.visitors.iter().rev().take(ALIVE).cycle() {
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
            assert_eq!(
                connection.ask(visitor).await,
                200,
                "a session that was not ended"
            );
            answered += 1;
        }
        answered
    }

    async fn end_sessions(&self, ended: usize) -> Vec<Took> {
        let [here, there] = self.ports();
        let (mut here, mut there) = (Connection::to(here).await, Connection::to(there).await);
        let mut took = Vec::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= ended {
                return took;
            }
            let (visitor, end) = (&self.visitors[number], End::of(number));
            for connection in [&mut here, &mut there] {
                assert_eq!(
                    connection.ask(visitor).await,
                    200,
                    "it is alive, and in memory from now on"
                );
            }
            let sent = Instant::now();
            self.end(&mut here, visitor, end).await;
            let answered = Instant::now();
            loop {
                match there.ask(visitor).await {
                    200 => {}
                    401 => break,
                    other => panic!(
                        "an ended session is answered with {other} after {:?}",
                        answered.elapsed()
                    ),
                }
            }
            took.push(Took {
                end,
                sent: sent.elapsed(),
                answered: answered.elapsed(),
            });
        }
    }

    async fn end(&self, here: &mut Connection, visitor: &Visitor, end: End) {
        match end {
            End::SignOut => assert_eq!(here.post("abmelden", "", visitor).await, 200),
            End::Level => {
                let claim = [
                    ("vtnr", visitor.vtnr().to_string()),
                    ("email", visitor.email()),
                ];
                let form = form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(claim)
                    .finish();
                assert_eq!(here.post("vtnr-login", &form, visitor).await, 303);
            }
            End::Revocation => self
                .store
                .revoke_broker(visitor.vtnr(), Clock::System.now())
                .await
                .expect("it is revoked"),
        }
    }
}

impl Visitor {
    fn new(number: u32) -> Self {
        Self {
            number,
            session: Rng.session_token(),
            browser: Rng.browser_token(),
        }
    }

    fn vtnr(&self) -> Vtnr {
        Vtnr::from_number(600_000_000 + self.number).expect("nine digits")
    }

    fn email(&self) -> String {
        format!("broker{}@makler.example", self.number)
    }

    fn cookies(&self) -> String {
        use base64::Engine as _;
        let text = |token: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token);
        format!(
            "vtnr_session={}; vtnr_trust={}",
            text(self.session.reveal()),
            text(self.browser.reveal())
        )
    }

    async fn sign_in(&self, store: &dyn FullStore) {
        let now = Clock::System.now();
        let email = Email::parse(&self.email()).expect("well-formed");
        let trust = Trust::default().granting(TrustEntry {
            vtnr: self.vtnr(),
            email,
            granted_at: now,
        });
        let sign_in = SignInCommit {
            flow: None,
            session: (
                &self.session,
                &Session::begin(self.vtnr(), Level::WithoutSubmission, now),
            ),
            lives: LIVES,
            replaces: None,
            trust: Some((&self.browser, &trust)),
            forgets: None,
            trust_lives: LIVES,
        };
        assert_eq!(
            store
                .sign_in(sign_in, &RateLimits::none())
                .await
                .expect("the store answers"),
            WriteOutcome::Done
        );
    }
}

impl Connection {
    async fn to(port: u16) -> Self {
        Self {
            raw: Raw::connect(port).await,
            port,
        }
    }

    /// Fetches something, and gives the status: 401 where nobody is signed in.
    async fn ask(&mut self, visitor: &Visitor) -> u16 {
        self.send(
            "GET /kfz/angebot?id=42",
            "Sec-Fetch-Mode: cors\r\n",
            "",
            visitor,
        )
        .await
    }

    /// Posts a form of the sign-in's pages, and gives the status.
    async fn post(&mut self, page: &str, form: &str, visitor: &Visitor) -> u16 {
        let fields = format!(
            "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
            form.len()
        );
        self.send(&format!("POST /ui/login/de/{page}"), &fields, form, visitor)
            .await
    }

    async fn send(&mut self, what: &str, fields: &str, body: &str, visitor: &Visitor) -> u16 {
        let (port, cookies) = (self.port, visitor.cookies());
        let request = format!(
            "{what} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookies}\r\n{fields}\r\n{body}"
        );
        self.raw.send(request).await.answer().await.status()
    }
}

/// A calculator that takes as little time as can be.
async fn calculator() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(answer(connection));
        }
    });
    url
}

async fn answer(mut connection: TcpStream) {
    connection.set_nodelay(true).expect("an option");
    let mut header = Vec::new();
    while connection
        .read_buf(&mut header)
        .await
        .is_ok_and(|read| read > 0)
    {
        if header.ends_with(b"\r\n\r\n") {
            header.clear();
            if connection
                .write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok",
                )
                .await
                .is_err()
            {
                return;
            }
        }
    }
}
