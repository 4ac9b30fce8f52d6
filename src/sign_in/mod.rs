//! The steps of a sign-in: a claim (`begin`), asking for a TAN (`request_tan`), comparing it
//! (`check_tan`), and the ways in with a password (`password`) and without e-mail
//! (`without_email`). `status` describes a sign-in in progress for the pages.
//!
//! This module knows neither HTTP nor pages: [`crate::gateway`] passes in what a browser sent, and
//! turns answers into pages and cookies. The domain holds the rules, the store makes each step
//! atomic, and this module orders them. A store that cannot answer is an error here, never a
//! refusal and never an admission.

mod begin;
mod check_tan;
mod password;
mod request_tan;
mod status;
#[cfg(test)]
mod tests;
mod without_email;

pub use password::{PasswordAnswer, PasswordClaim};
pub use status::SignInState;

use crate::clock::Rng;
use crate::config::{Config, Enumeration, LoginConfig};
use crate::identity::directory::Directory;
use crate::identity::users::Passwords;
use crate::live::Live;
use crate::store::{
    FlowChange, RateLimits, Result, Seen, SignInCommit, SignInStore, Vault, WriteOutcome,
};
use crate::telemetry::metrics::{Label as _, Metrics, Outcome, Step};
use domain::challenge::{Challenge, Delivery, TanOver};
use domain::flow::{Flow, Redeemed, SignedIn, Stage};
use domain::ids::{BrowserToken, FlowToken, SessionToken};
use domain::session::{Level, Session, SessionLimits};
use domain::tan::MalformedTan;
use domain::throttle::{ClientAddress, Counter, Limits, RateLimitHit};
use domain::time::Timestamp;
use domain::trust::Trust;
use domain::vtnr::Vtnr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How long a completed sign-in is kept, so that a form submitted twice is one sign-in and no
/// error.
const REPEATABLE: Duration = Duration::from_secs(60);
/// Limits the retries of a step that loses a race with another request of the same browser. One of
/// the competing requests always succeeds, and an attempt allows at most ten answers
/// (`login.tan_tries`).
const RACES: usize = 16;

/// The configured rules of the sign-in.
#[derive(Clone, Debug)]
pub struct Rules {
    pub login: LoginConfig,
    pub limits: Limits,
}

impl Rules {
    /// Takes the rules from the configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            login: config.login.clone(),
            limits: config.limits.clone(),
        }
    }
}

/// Takes brokers through the sign-in.
pub struct SignIns {
    pub store: Arc<dyn SignInStore>,
    pub directory: Arc<Directory>,
    pub rng: Rng,
    /// Set where the sign-in with a password is enabled.
    pub passwords: Option<Passwords>,
    pub rules: Arc<Live<Rules>>,
    pub sessions: SessionLimits,
    /// Notified when a letter was queued.
    pub wakeup: Arc<Notify>,
    pub metrics: Arc<Metrics>,
    /// Provides the brokers' pseudonyms for the audit log.
    pub vault: Vault,
}

/// The browser that submits a form, as far as it is known.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The client's address, as counters identify it.
    pub client: ClientAddress,
    /// The browser's family and system by its user agent, in German.
    pub family: String,
    pub flow: Option<FlowToken>,
    /// The token of a browser that may be trusted.
    pub browser: Option<BrowserToken>,
    /// The browser's current session, which a new one replaces.
    pub session: Option<SessionToken>,
}

/// The result of a step.
#[derive(Debug)]
pub enum Answer {
    SignedIn(NewSession),
    /// A TAN was sent, now or before: the TAN page is next.
    TanAsked(FlowToken),
    /// The address differs from the one on file.
    UnknownEmail(FlowToken),
    /// The broker number is not in the directory.
    InvalidVtnr,
    WrongTan {
        /// The number of answers left, at least one.
        tries_left: u8,
    },
    /// The input cannot be a TAN, and cost no try.
    MalformedTan(MalformedTan),
    /// The TAN is no longer accepted.
    TanOver(TanOver),
    /// The browser has no sign-in in progress.
    NoSignIn,
    /// Too many mails were sent to this broker.
    MailsExhausted {
        /// When the next attempt is possible.
        until: Timestamp,
    },
    /// Too many attempts came from this client.
    TooMany {
        /// When the next attempt is possible.
        until: Timestamp,
    },
    /// The sign-in without e-mail is disabled.
    SwitchedOff,
    /// Concurrent requests of one browser kept conflicting.
    Busy,
}

/// The tokens that a browser receives after a sign-in.
#[derive(Clone, Copy, Debug)]
pub struct NewSession {
    pub session: SessionToken,
    /// Set if the browser became a trusted one.
    pub browser: Option<BrowserToken>,
}

/// A sign-in that is about to be completed.
struct Admitting<'a> {
    visitor: &'a Visitor,
    flow: Option<(&'a FlowToken, &'a Seen<Flow>)>,
    vtnr: Vtnr,
    level: Level,
    trust: Option<Trust>,
    redeemed: Option<Redeemed>,
    /// The broker's revocation known at the decision; a later one ends the session.
    revoked_at: Option<Timestamp>,
}

impl SignIns {
    /// Completes a sign-in if the rate limits allow it and no other request was faster, all or
    /// nothing.
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
        let written = self.store.sign_in(sign_in, rate_limits).await?;
        if written == WriteOutcome::Done {
            self.metrics.session_begun(level);
        }
        Ok((written, admission))
    }

    /// Returns the answer when a counter has no room.
    fn over(&self, step: Step, hit: RateLimitHit, retry_after: Duration, now: Timestamp) -> Answer {
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
            tracing::error!(target: "audit", event = "tan_guess_breaker", "the global budget of wrong TANs is spent: unknown browsers get long TANs");
        }
    }

    /// Writes a step to the audit log, with the broker's pseudonym and the client's address.
    fn audit(&self, step: Step, outcome: Outcome, vtnr: Vtnr, visitor: &Visitor) {
        self.note(step, outcome, Some(vtnr), visitor.client);
    }

    /// Counts a step and writes it to the audit log, also for steps outside this module. `vtnr` is
    /// `None` where no broker is known.
    pub fn note(&self, step: Step, outcome: Outcome, vtnr: Option<Vtnr>, client: ClientAddress) {
        self.metrics.sign_in(step, outcome);
        let broker = vtnr.map(|vtnr| self.vault.pseudonym(vtnr));
        tracing::info!(target: "audit", event = "sign_in", step = step.as_str(), outcome = outcome.as_str(), broker, client = %client.ip());
    }

    /// Returns the deliveries of a challenge's mails. In neutral mode all count as accepted when
    /// they were queued, because the truth would tell a right claim from a wrong one.
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

/// Dates a session or trust later than the revocation known before it, even if the clock was set
/// back since.
fn dated(now: Timestamp, revoked_at: Option<Timestamp>) -> Timestamp {
    revoked_at.map_or(now, |revoked_at| {
        now.max(revoked_at.plus(Duration::from_millis(1)))
    })
}
