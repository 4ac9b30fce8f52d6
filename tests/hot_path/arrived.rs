//! A gateway whose brokers are signed in, and a request of a browser's that has just arrived at it.

#[path = "browser.rs"]
mod browser;

use domain::application_session::{ApplicationSessionId, SessionOrigin};
use domain::ids::SessionToken;
use domain::session::{Level, Proof, Session};
use domain::throttle::ClientAddress;
use domain::vtnr::Vtnr;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::Notify;
use vtnr_gateway::application_sessions::{ApplicationSessions, Learnt, Ownership, Reach};
use vtnr_gateway::clock::{Clock, Rng};
use vtnr_gateway::config::Config;
use vtnr_gateway::gateway::Parts;
use vtnr_gateway::gateway::hot_path::HotPath;
use vtnr_gateway::held_forms::Forms;
use vtnr_gateway::identity::directory::Directory;
use vtnr_gateway::live::Live;
use vtnr_gateway::pages::Pages;
use vtnr_gateway::sign_in::{Rules, SignIns};
use vtnr_gateway::store::cache::Sessions;
use vtnr_gateway::store::embedded::Embedded;
use vtnr_gateway::store::{
    FullStore, RateLimits, Sealed, SignInCommit, SignInStore, Vault, WriteOutcome,
};
use vtnr_gateway::telemetry::metrics::Metrics;

pub(crate) const FULL: Level = Level::Full {
    proof: Proof::Mailbox,
};
pub(crate) const ONE_SERVER: &str = "url = \"http://127.0.0.1:9000\"";
const BROKERS: u32 = 10_000;
const LIVES: Duration = Duration::from_secs(12 * 3_600);
const CONFIG: &str = r#"
[listen]
http = "127.0.0.1:8080"
public_url = "https://rechner.example"
[upstream]
vtnr_header = "X-VTNR"
level_header = "X-VTNR-Level"
public_paths = ["/impressum", "/datenschutz", "/favicon.ico"]
[store]
url = "memory:"
secret = "the operator's secret, 32 bytes."
[directory]
file = "brokers.csv"
[mail]
url = "smtp://127.0.0.1:2525"
from = "Tarifrechner <noreply@rechner.example>"
[submission]
paths = ["/antrag/versand", "/index.php?r=antrag/versand"]
[admin]
listen = "127.0.0.1:9090"
"#;

/// The fields of the calculator's answer.
pub(crate) const ANSWER: [(&str, &str); 7] = [
    ("Content-Type", "text/html;charset=UTF-8"),
    ("Content-Length", "14327"),
    ("Date", "Tue, 29 Sep 2026 12:02:30 GMT"),
    ("Set-Cookie", "ansicht=kompakt; Path=/; HttpOnly"),
    ("Cache-Control", "private, no-store"),
    ("Vary", "Accept-Encoding"),
    ("Keep-Alive", "timeout=20"),
];

const APPLICATION_SESSION: &str = "0A1B2C3D4E5F60718293A4B5C6D7E8F9.node-1";

/// The whole arrangement.
pub(crate) struct Arrived {
    pub(crate) hot: HotPath,
    pub(crate) token: SessionToken,
    _folder: TempDir,
}

impl Arrived {
    /// A request of a broker's whose session is of this level, and is in memory, for a calculator with these keys in `[upstream]`.
    pub(crate) async fn new(level: Level, calculator: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("brokers.csv"), brokers()).expect("written");
        let config = CONFIG.replace("[upstream]\n", &format!("[upstream]\n{calculator}\n"));
        let config =
            Config::parse(&config, folder.path()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let (parts, store) = parts(&config);
        let (sessions, token) = (Arc::clone(&parts.sessions), Rng.session_token());
        sign_in(&*store, &token, level, parts.clock.now()).await;
        tokio::spawn(Arc::clone(&sessions).listen());
        while sessions.is_empty() {
            assert!(
                sessions
                    .find(&token, parts.clock.now())
                    .await
                    .expect("the store answers")
                    .is_some()
            );
            tokio::task::yield_now().await;
        }
        // The calculator's own session is the broker's, and known to be.
        let session = ApplicationSessionId {
            name: b"JSESSIONID",
            value: APPLICATION_SESSION.as_bytes(),
        };
        let learnt = Learnt {
            origin: SessionOrigin::Request,
            client: ClientAddress::of([192, 0, 2, 7].into()),
        };
        let owner = parts
            .application_sessions
            .claim(&session, vtnr(BROKERS / 3), learnt, Reach::Up, |_| false)
            .await;
        assert_eq!(owner, Ownership::Own);
        let hot = HotPath::new(&config, parts, &request(&token))
            .await
            .expect("a sound request");
        Self {
            hot,
            token,
            _folder: folder,
        }
    }
}

fn brokers() -> String {
    let mut file = String::from("vtnr;email\n");
    for number in 0..BROKERS {
        writeln!(file, "{};broker{number}@makler.example", vtnr(number))
            .expect("a String takes all");
    }
    file
}

fn vtnr(number: u32) -> Vtnr {
    Vtnr::from_number(600_000_000 + number * 7_919).expect("nine digits")
}

fn parts(config: &Config) -> (Parts, Arc<dyn FullStore>) {
    let (clock, rng, metrics) = (
        Clock::default(),
        Rng,
        Arc::new(Metrics::new().expect("sound")),
    );
    let vault = Vault::new(config.store.secret.reveal(), rng);
    let engine = Embedded::in_memory(clock.clone()).expect("memory suffices");
    let store: Arc<dyn FullStore> = Arc::new(Sealed::new(engine, vault.clone(), clock.clone()));
    let grace = config.store.outage_grace;
    let sessions = Sessions::new(
        Arc::clone(&store) as _,
        vault.clone(),
        config.session,
        grace,
        clock.clone(),
        Arc::clone(&metrics),
    );
    let directory = Arc::new(Directory::open(&config.directory, clock.now()).expect("a directory"));
    let sign_ins = SignIns {
        store: Arc::clone(&store) as _,
        directory: Arc::clone(&directory),
        rng,
        passwords: None,
        rules: Live::new(Rules::of(config)),
        sessions: config.session,
        wakeup: Arc::new(Notify::new()),
        metrics: Arc::clone(&metrics),
        vault: vault.clone(),
    };
    let held_forms = Forms::new(
        Arc::clone(&store) as _,
        config.parking,
        rng,
        Arc::clone(&metrics),
        vault,
    );
    let pages = Pages::load(&config.brand, &config.login, &config.parking).expect("our own pages");
    let parts = Parts {
        sessions: Arc::new(sessions),
        sign_ins: Arc::new(sign_ins),
        directory,
        held_forms: Arc::new(held_forms),
        application_sessions: Arc::new(ApplicationSessions::new(Arc::clone(&store) as _)),
        certificates: None,
        portal: None,
        pages: Live::new(pages),
        submission: Live::new(config.submission.clone()),
        metrics,
        clock,
        rng,
    };
    (parts, store)
}

async fn sign_in(
    store: &dyn SignInStore,
    token: &SessionToken,
    level: Level,
    now: domain::time::Timestamp,
) {
    let session = Session::begin(vtnr(BROKERS / 3), level, now);
    let bare = SignInCommit {
        flow: None,
        session: (token, &session),
        lives: LIVES,
        replaces: None,
        trust: None,
        forgets: None,
        trust_lives: LIVES,
    };
    assert_eq!(
        store
            .sign_in(bare, &RateLimits::none())
            .await
            .expect("the store answers"),
        WriteOutcome::Done
    );
}

/// With our session and trust, the calculator's session, and what else such sites set.
fn request(session: &SessionToken) -> Vec<u8> {
    let (session, trust) = (
        encoded(session.reveal()),
        encoded(Rng.browser_token().reveal()),
    );
    let fields: String = browser::FIELDS
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!(
        "GET /kfz/angebot?id=42&schritt=3 HTTP/1.1\r\nHost: rechner.example\r\nConnection: keep-alive\r\n{fields}Cookie: JSESSIONID={APPLICATION_SESSION}; \
         __Host-vtnr_trust={trust}; __Host-vtnr_session={session}; _pk_id.7.1fff=4c1d3f0a9b2e7c58.1758000000.; \
         zustimmung=notwendig%2Cstatistik; ansicht=kompakt\r\n\r\n"
    )
    .into_bytes()
}

fn encoded(token: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token)
}
