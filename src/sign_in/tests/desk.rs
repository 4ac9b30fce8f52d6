//! The sign-in without a gateway around it: an embedded store, a directory file, a clock that is moved by hand.

use crate::clock::{Clock, Rng};
use crate::config::{self, Enumeration, LoginConfig, LoginMethods};
use crate::identity::directory::Directory;
use crate::live::Live;
use crate::sign_in::{Answer, Rules, SignIns, Visitor};
use crate::store::cache::Sessions;
use crate::store::embedded::Embedded;
use crate::store::{Due, OutboxStore as _, Sealed, SessionStore as _, Vault};
use crate::telemetry::metrics::Metrics;
use domain::challenge::{Challenge, ChallengeState, Delivery, TanLimits};
use domain::email::Email;
use domain::flow::{Claim, Stage};
use domain::ids::{BrowserToken, FlowToken, SessionToken};
use domain::session::{Session, SessionLimits};
use domain::tan::Alphabet;
use domain::throttle::{ClientAddress, Limits};
use domain::time::Timestamp;
use domain::trust::TrustLevel;
use domain::vtnr::Vtnr;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::Notify;

/// Brokers, and the addresses that they may have.
pub(super) const NUMBERS: [&str; 3] = ["60/123/4567", "60/123/4568", "60/123/4569"];
pub(super) const ADDRESSES: [&str; 3] = [
    "ada@makler.example",
    "ben@makler.example",
    "cem@makler.example",
];

/// Where brokers sign in.
pub(super) struct Desk {
    store: Arc<Sealed<Embedded>>,
    pub(super) sign_ins: SignIns,
    clock: Clock,
    pub(super) folder: TempDir,
    on_file: Vec<Option<usize>>,
}

/// A browser, as the sign-in knows it: its three tokens.
pub(super) struct Tab {
    pub(super) number: usize,
    pub(super) flow: Option<FlowToken>,
    pub(super) browser: Option<BrowserToken>,
    pub(super) session: Option<SessionToken>,
}

/// A TAN under way, with what nobody but a test may know.
pub(super) struct Asked {
    pub(super) challenge: Challenge,
    pub(super) broker: usize,
    pub(super) address: usize,
    /// From when on it is expired.
    pub(super) end: Timestamp,
}

/// A TAN as long as this one, and not it: its first letter is another one of the alphabet, `n` letters on.
pub(super) fn wrong_tan(tan: &str, n: usize) -> String {
    const ALPHABET: &str = "BCDFGHJKLMNPQRSTVWXZ";
    let at = ALPHABET.find(&tan[..1]).expect("a letter of TANs") + 1 + n % (ALPHABET.len() - 1);
    format!("{}{}", &ALPHABET[at % ALPHABET.len()..][..1], &tan[1..])
}

impl Tab {
    pub(super) fn new(number: usize) -> Self {
        Self {
            number,
            flow: None,
            browser: None,
            session: None,
        }
    }

    pub(super) fn visitor(&self) -> Visitor {
        let client = ClientAddress::of(IpAddr::V4(Ipv4Addr::new(
            192,
            0,
            2,
            u8::try_from(self.number).expect("few"),
        )));
        let Self {
            flow,
            browser,
            session,
            ..
        } = *self;
        Visitor {
            client,
            family: "Firefox unter Windows".into(),
            flow,
            browser,
            session,
        }
    }

    /// Keeps the cookie of the sign-in under way, as the gateway would set it.
    fn took(&mut self, answer: &Answer) {
        if let Answer::TanAsked(flow) | Answer::UnknownEmail(flow) = answer {
            self.flow = Some(*flow);
        }
    }
}

impl Desk {
    /// Each broker has the address of the same number on file.
    pub(super) fn open() -> Self {
        let (clock, folder) = (
            Clock::manual(Timestamp::from_millis(1_800_000_000_000)),
            TempDir::new().expect("a folder"),
        );
        let on_file = (0..NUMBERS.len()).map(Some).collect::<Vec<_>>();
        let file = folder.path().join("brokers.csv");
        write(&file, &on_file);
        let vault = Vault::new(b"0123456789abcdef0123456789abcdef", Rng);
        let engine = Embedded::in_memory(clock.clone()).expect("a store");
        let directory = Directory::open(
            &config::DirectoryConfig {
                file,
                poll: Duration::from_secs(1),
                certificates: None,
            },
            clock.now(),
        )
        .expect("brokers");
        let store = Arc::new(Sealed::new(engine, vault.clone(), clock.clone()));
        let sign_ins = SignIns {
            store: Arc::clone(&store) as _,
            directory: Arc::new(directory),
            rng: Rng,
            passwords: None,
            rules: Live::new(Rules {
                login: rules(),
                limits: Limits::default(),
            }),
            sessions: SessionLimits {
                idle: Duration::from_secs(3_600),
                absolute: Duration::from_secs(43_200),
            },
            wakeup: Arc::new(Notify::new()),
            metrics: Arc::new(Metrics::new().expect("sound")),
            vault,
        };
        Self {
            store,
            sign_ins,
            clock,
            folder,
            on_file,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Sets the idle limit of sessions.
    pub(super) fn idle(&mut self, millis: u64) {
        self.sign_ins.sessions.idle = Duration::from_millis(millis);
    }

    pub(super) fn pass(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }

    /// Which address is on file for a broker.
    pub(super) fn on_file(&self, broker: usize) -> Option<usize> {
        self.on_file[broker]
    }

    /// Puts another address on file; one too many takes the broker out.
    pub(super) fn change_directory(&mut self, broker: usize, address: usize) {
        self.on_file[broker] = (address < ADDRESSES.len()).then_some(address);
        write(&self.folder.path().join("brokers.csv"), &self.on_file);
        self.sign_ins
            .directory
            .reload(self.now())
            .expect("it is sound");
    }

    pub(super) async fn begin(&self, tab: &mut Tab, broker: usize, address: usize) -> Answer {
        let email = Email::parse(ADDRESSES[address]).expect("well-formed");
        let claim = Claim {
            vtnr: Vtnr::parse(NUMBERS[broker]).expect("well-formed"),
            email,
        };
        let answer = self
            .sign_ins
            .begin(&tab.visitor(), claim, self.now())
            .await
            .expect("the store works");
        tab.took(&answer);
        answer
    }

    pub(super) async fn answer(&self, tab: &mut Tab, entered: &str) -> Answer {
        let answer = self
            .sign_ins
            .answer(&tab.visitor(), entered, self.now())
            .await
            .expect("the store works");
        tab.took(&answer);
        answer
    }

    pub(super) async fn ask_again(&self, tab: &mut Tab) -> Answer {
        let answer = self
            .sign_ins
            .ask_again(&tab.visitor(), self.now())
            .await
            .expect("the store works");
        tab.took(&answer);
        answer
    }

    pub(super) async fn without_email(&self, tab: &Tab) -> Answer {
        self.sign_ins
            .without_email(&tab.visitor(), self.now())
            .await
            .expect("the store works")
    }

    /// The mail server takes whatever waits; gives how many mails that were.
    pub(super) async fn deliver(&self) -> usize {
        let mut taken = 0;
        while let Some(leased) = self
            .store
            .lease_letter(Due::All, Duration::from_secs(60))
            .await
            .expect("the store works")
        {
            let delivery = Delivery::Accepted { at: self.now() };
            self.store
                .note_delivery(leased.lease(), delivery)
                .await
                .expect("the store works");
            taken += 1;
        }
        taken
    }

    /// Whether a sign-in that can go on is found by this token.
    pub(super) async fn is_under_way(&self, token: Option<FlowToken>) -> bool {
        let Some(token) = token else { return false };
        let seen = self
            .sign_ins
            .store
            .find_flow(&token)
            .await
            .expect("the store works");
        seen.is_some_and(|seen| !matches!(seen.value.stage, Stage::SignedIn(_)))
    }

    /// The TAN that this browser was asked for.
    pub(super) async fn asked(&self, tab: &Tab) -> Option<Asked> {
        let flow = self
            .sign_ins
            .store
            .find_flow(&tab.flow?)
            .await
            .expect("the store works")?
            .value;
        let Stage::Tan(challenge) = flow.stage else {
            return None;
        };
        let deliveries = self
            .sign_ins
            .store
            .deliveries(&challenge.letters)
            .await
            .expect("the store works");
        let end = match challenge.state(
            &deliveries,
            &self.sign_ins.rules.now().login.tan,
            self.now(),
        ) {
            ChallengeState::Open { valid_until } => valid_until.unwrap_or(
                challenge
                    .asked_at
                    .plus(self.sign_ins.rules.now().login.tan.attempt),
            ),
            ChallengeState::Spent | ChallengeState::Expired => self.now(),
        };
        let broker = NUMBERS
            .iter()
            .position(|number| *number == flow.claim.vtnr.to_string())
            .expect("one of ours");
        let address = ADDRESSES
            .iter()
            .position(|address| *address == flow.claim.email.as_str())
            .expect("one of ours");
        Some(Asked {
            challenge,
            broker,
            address,
            end,
        })
    }

    /// The live session that a token stands for, looked up in the store as a gateway would that never saw it.
    pub(super) async fn session(&self, token: &SessionToken) -> Option<Session> {
        let SignIns {
            sessions: limits,
            metrics,
            vault,
            ..
        } = &self.sign_ins;
        let sessions = Sessions::new(
            Arc::clone(&self.store) as _,
            vault.clone(),
            *limits,
            Duration::ZERO,
            self.clock.clone(),
            Arc::clone(metrics),
        );
        sessions
            .find(token, self.now())
            .await
            .expect("the store works")
    }

    pub(super) async fn end(&self, token: &SessionToken) {
        self.store
            .end_session(token)
            .await
            .expect("the store works");
    }

    pub(super) async fn forget(&self, browser: &BrowserToken) {
        self.sign_ins
            .store
            .forget_browser(browser)
            .await
            .expect("the store works");
    }

    pub(super) async fn revoke(&self, broker: usize) {
        let vtnr = Vtnr::parse(NUMBERS[broker]).expect("well-formed");
        self.sign_ins
            .store
            .revoke_broker(vtnr, self.now())
            .await
            .expect("the store works");
    }
}

impl Asked {
    pub(super) fn is_stranger(&self) -> bool {
        self.challenge.trust_level == TrustLevel::Stranger
    }
}

fn rules() -> LoginConfig {
    LoginConfig {
        prefix: "/ui/login/de/".into(),
        alphabet: Alphabet::parse(Alphabet::DEFAULT).expect("sound"),
        tan: TanLimits {
            lifetime: Duration::from_secs(900),
            attempt: Duration::from_secs(3_600),
        },
        tries: 5,
        trust: Duration::from_secs(30 * 86_400),
        without_email: true,
        enumeration: Enumeration::Open,
        methods: LoginMethods::default(),
        entry_origins: Vec::new(),
        time_zone: "Europe/Berlin".into(),
    }
}

/// Besides the brokers that come and go there is one who stays: a file that names nobody is not taken.
fn write(file: &std::path::Path, on_file: &[Option<usize>]) {
    let lines = on_file
        .iter()
        .zip(NUMBERS)
        .filter_map(|(address, number)| Some(format!("{number};{}\n", ADDRESSES[(*address)?])));
    std::fs::write(
        file,
        format!("vtnr;email\n60/000/0000;\n{}", lines.collect::<String>()),
    )
    .expect("written");
}
