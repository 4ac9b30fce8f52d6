//! The sign-in, step by step: what a broker claims, the TAN, the way without e-mail.
//!
//! It knows nothing of HTTP or pages: [`crate::gateway`] brings in what a browser sent and turns the answers into pages and
//! cookies. The rules are the domain's; the store makes each step atomic; this module puts them in order. A store that
//! cannot answer is an error here, never a refusal and never an admission.

mod begin;
mod check_tan;
mod password;
mod request_tan;
mod status;
mod without_email;

pub use password::{PasswordAnswer, PasswordClaim};
pub use status::{Mailing, SignInState};

use crate::clock::Rng;
use crate::config::{Config, Enumeration, Login};
use crate::directory::Directory;
use crate::in_force::InForce;
use crate::store::{
    FlowChange, RateLimits, Result, Seen, SignInCommit, SignInStore, Vault, WriteOutcome,
};
use crate::telemetry::metrics::{Label as _, Metrics, Outcome, Step};
use crate::users::Passwords;
use domain::challenge::{Challenge, Delivery};
use domain::flow::{Flow, Redeemed, SignedIn, Stage};
use domain::ids::{BrowserToken, FlowToken, SessionToken};
use domain::session::{Level, Session, SessionLimits};
use domain::tan::MalformedTan;
use domain::throttle::{Charge, ClientAddress, Counter, Limits};
use domain::time::Timestamp;
use domain::trust::Trust;
use domain::vtnr::Vtnr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How long the answer to a form is remembered, so that sending it twice is one sign-in and no error.
const REPEATABLE: Duration = Duration::from_secs(60);
/// How often a step is tried anew because another request of the same browser was faster. Of all that compete, one always
/// gets through, and an attempt allows at most ten answers (`login.tan_tries`).
const RACES: usize = 16;

/// What the operator has laid down for the sign-in.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How it goes.
    pub login: Login,
    /// How often things may happen.
    pub limits: Limits,
}

impl Rules {
    /// As the configuration says.
    pub fn of(config: &Config) -> Self {
        Self {
            login: config.login.clone(),
            limits: config.limits.clone(),
        }
    }
}

/// Takes brokers through the sign-in.
pub struct SignIns {
    /// Remembers.
    pub store: Arc<dyn SignInStore>,
    /// Knows the brokers.
    pub directory: Arc<Directory>,
    /// Draws tokens and TANs.
    pub rng: Rng,
    /// Compares passwords, where that way in is open.
    pub passwords: Option<Passwords>,
    /// The configured rules.
    pub rules: Arc<InForce<Rules>>,
    /// How long sessions live.
    pub sessions: SessionLimits,
    /// Rings when a letter was queued.
    pub wakeup: Arc<Notify>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Names brokers in the audit log without giving their numbers away.
    pub vault: Vault,
}

/// What is known of the browser that sends a form.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Its address, as counters know it.
    pub client: ClientAddress,
    /// What kind of browser it says it is, in German.
    pub family: String,
    /// Its sign-in under way.
    pub flow: Option<FlowToken>,
    /// Its token as a browser that may be trusted.
    pub browser: Option<BrowserToken>,
    /// Its session until now, which a new one replaces.
    pub session: Option<SessionToken>,
}

/// How a step ended.
#[derive(Debug)]
pub enum Answer {
    /// The broker is signed in.
    SignedIn(NewSession),
    /// A TAN was asked for, now or before: the TAN page is next.
    TanAsked(FlowToken),
    /// The address is not the one on file.
    UnknownEmail(FlowToken),
    /// The broker number is not in the directory.
    InvalidVtnr,
    /// The TAN is wrong.
    WrongTan {
        /// How many more answers will be compared; at least one.
        tries_left: u8,
    },
    /// The TAN cannot be one; it cost no try.
    MalformedTan(MalformedTan),
    /// The TAN is of no use any more.
    TanOver(TanOver),
    /// There is no sign-in under way in this browser, or no longer.
    NoSignIn,
    /// Too many mails for this broker.
    MailsExhausted {
        /// When the next is possible.
        until: Timestamp,
    },
    /// Too many attempts.
    TooMany {
        /// When the next is possible.
        until: Timestamp,
    },
    /// The way without e-mail is switched off.
    SwitchedOff,
    /// Many requests of one browser hindered each other.
    Busy,
}

/// Why a TAN is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TanOver {
    /// The tries are used up.
    Spent,
    /// Its time is over.
    Expired,
    /// A budget of wrong answers is spent, and only long TANs are compared.
    LongTanNeeded,
}

/// What a browser gets that signed in.
#[derive(Clone, Copy, Debug)]
pub struct NewSession {
    /// The session's token.
    pub session: SessionToken,
    /// The browser's new token, where it became a trusted one.
    pub browser: Option<BrowserToken>,
}

/// A sign-in that is about to succeed.
struct Admitting<'a> {
    visitor: &'a Visitor,
    flow: Option<(&'a FlowToken, &'a Seen<Flow>)>,
    vtnr: Vtnr,
    level: Level,
    trust: Option<Trust>,
    redeemed: Option<Redeemed>,
    /// The broker's revocation that was known when this was judged; a later one ends the session.
    revoked_at: Option<Timestamp>,
}

impl SignIns {
    /// Signs in if `charges` allow it and nobody was faster; all or nothing.
    async fn admit(
        &self,
        admitting: Admitting<'_>,
        rate_limits: &RateLimits,
        now: Timestamp,
    ) -> Result<(WriteOutcome, NewSession)> {
        let Admitting {
            visitor,
            flow,
            vtnr,
            level,
            trust,
            redeemed,
            revoked_at,
        } = admitting;
        let session = Session {
            signed_in_at: dated(now, revoked_at),
            ..Session::begin(vtnr, level, now)
        };
        let admission = NewSession {
            session: self.rng.session_token(),
            browser: trust.as_ref().map(|_| self.rng.browser_token()),
        };
        let signed_in = SignedIn {
            session: admission.session,
            browser: admission.browser,
            redeemed,
            at: now,
        };
        let next = flow.map(|(_, seen)| Flow {
            claim: seen.value.claim.clone(),
            stage: Stage::SignedIn(signed_in),
        });
        let flow = flow.zip(next.as_ref());
        let flow = flow.map(|((token, seen), next)| FlowChange {
            token,
            previous_token: None,
            seen: Some(seen),
            next,
            lives: REPEATABLE,
        });
        let sign_in = SignInCommit {
            flow,
            session: (&admission.session, &session),
            lives: session.remaining(&self.sessions, now),
            replaces: visitor.session.as_ref(),
            trust: admission.browser.as_ref().zip(trust.as_ref()),
            forgets: visitor.browser.as_ref().filter(|_| trust.is_some()),
            trust_lives: self.rules.now().login.trust,
        };
        let settled = self.store.sign_in(sign_in, rate_limits).await?;
        if settled == WriteOutcome::Done {
            self.metrics.session_begun(level);
        }
        Ok((settled, admission))
    }

    /// What to answer when a counter has no room.
    fn over(&self, step: Step, hit: Charge, retry_after: Duration, now: Timestamp) -> Answer {
        let until = now.plus(retry_after);
        match hit.counter {
            Counter::Mails(..) | Counter::ReserveMails(..) => {
                self.metrics.sign_in(step, Outcome::OverLimit);
                Answer::MailsExhausted { until }
            }
            Counter::WrongTans(..) | Counter::WrongTansOfKnown(..) | Counter::WrongTansOfAll => {
                self.note_breaker(hit.counter);
                self.metrics.sign_in(step, Outcome::LongTan);
                Answer::TanOver(TanOver::LongTanNeeded)
            }
            _ => {
                self.metrics.sign_in(step, Outcome::OverLimit);
                Answer::TooMany { until }
            }
        }
    }

    fn note_breaker(&self, spent: Counter) {
        if spent == Counter::WrongTansOfAll && self.metrics.guess_breaker_open() {
            tracing::error!(target: "audit", event = "tan_guess_breaker", "the budget of wrong TANs over all brokers is spent: browsers that are not known get long TANs");
        }
    }

    /// Writes a step into the audit log. Brokers are named by pseudonyms, clients by their addresses.
    fn audit(&self, step: Step, outcome: Outcome, vtnr: Vtnr, visitor: &Visitor) {
        self.note(step, outcome, Some(vtnr), visitor.client);
    }

    /// The same for a step of which this module knows nothing else. Where no broker is known, none is named.
    pub fn note(&self, step: Step, outcome: Outcome, vtnr: Option<Vtnr>, client: ClientAddress) {
        self.metrics.sign_in(step, outcome);
        let broker = vtnr.map(|vtnr| self.vault.pseudonym(vtnr));
        tracing::info!(target: "audit", event = "sign_in", step = step.as_str(), outcome = outcome.as_str(), broker, client = %client.ip());
    }

    /// What became of a challenge's mails. In neutral mode all count as taken when they were asked for: whether they were would
    /// tell a right claim from a wrong one.
    async fn deliveries(&self, challenge: &Challenge) -> Result<Vec<Delivery>> {
        let deliveries = self.store.deliveries(&challenge.letters).await?;
        Ok(if self.is_neutral() {
            vec![Delivery::Accepted {
                at: challenge.mailed_at,
            }]
        } else {
            deliveries
        })
    }

    fn is_neutral(&self) -> bool {
        self.rules.now().login.enumeration == Enumeration::Neutral
    }
}

/// When something begins that a revocation does not concern that was known before: later than that, though the clock may have been set
/// back since.
fn dated(now: Timestamp, revoked_at: Option<Timestamp>) -> Timestamp {
    revoked_at.map_or(now, |revoked_at| {
        now.max(revoked_at.plus(Duration::from_millis(1)))
    })
}
