//! The insurer's portal: who is signed in there, by the cookies that it gave the browser.
//!
//! It is asked with a request of its own, and its word counts for a while. What it said of one browser's cookies is never believed of
//! another's: answers are kept by a digest of all names and values that were asked about. Whatever is not a clear yes is a no, and a
//! portal that does not answer says nothing.

mod answers;
#[cfg(test)]
mod tests;

use crate::clock::Clock;
use crate::config;
use crate::digest::sha256;
use crate::domain::time::Timestamp;
use crate::domain::vtnr::Vtnr;
use crate::telemetry::metrics::{Metrics, PortalCheck};
use answers::Answers;
use http::header::{COOKIE, USER_AGENT};
use http::{HeaderValue, StatusCode};
use parking_lot::Mutex;
use reqwest::{Client, Response, redirect};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore};

/// So long a no counts: the images of a page are one question.
const NO_HOLDS: Duration = Duration::from_secs(2);
/// After so many failures in a row the portal is left alone for a while.
const FAILURES: u32 = 3;
const REST: Duration = Duration::from_secs(1);

/// The portal's cookies of one request.
pub struct Claim {
    cookies: HeaderValue,
    /// The SHA-256 of all their names and values.
    sum: [u8; 32],
}

impl Claim {
    /// What tells these cookies from all others.
    pub fn sum(&self) -> &[u8; 32] {
        &self.sum
    }
}

/// Who has sent them, as the portal is told.
#[derive(Clone, Debug, Default)]
pub struct Sender {
    /// Its address.
    pub address: Option<IpAddr>,
    /// What it says it is.
    pub agent: Option<HeaderValue>,
}

/// What the portal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This broker is signed in.
    SignedIn(Vtnr),
    /// Nobody is, or nobody whom the answer names clearly.
    Nobody,
    /// Nothing.
    Unavailable,
}

/// The cookies cannot be asked about: the HTTP client cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("portal: {0}")]
pub struct Error(#[from] reqwest::Error);

/// The portal.
pub struct Portal {
    config: config::Portal,
    client: Client,
    answers: Mutex<Answers>,
    /// Room for questions at once.
    room: Semaphore,
    /// Failures in a row.
    failures: AtomicU32,
    /// Until then it is left alone, in milliseconds.
    rests_until: AtomicU64,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Portal {
    /// A portal that nobody has asked yet.
    ///
    /// # Errors
    /// [`Error`] if the system's certificates cannot be used.
    pub fn new(config: config::Portal, clock: Clock, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(config.timeout)
            .pool_max_idle_per_host(config.connections)
            // Less than most servers keep a connection: a question that meets its end is a failure.
            .pool_idle_timeout(Duration::from_secs(4))
            .build()?;
        let answers = Mutex::new(Answers::new(config.cache_size));
        let room = Semaphore::new(config.connections);
        let (failures, rests_until) = (AtomicU32::new(0), AtomicU64::new(0));
        Ok(Self { config, client, answers, room, failures, rests_until, clock, metrics })
    }

    /// The portal's cookies among those of a request, if there are any. A cookie that comes twice with different values makes
    /// unclear what the portal would be asked.
    pub fn claim<'c>(&self, cookies: impl Iterator<Item = (&'c [u8], &'c [u8])>) -> Option<Claim> {
        let mut found: Vec<Option<&[u8]>> = vec![None; self.config.cookies.len()];
        for (name, value) in cookies {
            let Some(place) = self.config.cookies.iter().position(|wanted| wanted.as_bytes() == name) else { continue };
            let place = found.get_mut(place)?;
            if place.is_some_and(|before| before != value) {
                return None;
            }
            *place = Some(value);
        }
        let (mut text, mut all) = (Vec::new(), Vec::new());
        for (name, value) in self.config.cookies.iter().zip(found) {
            let Some(value) = value else { continue };
            text.extend_from_slice(if text.is_empty() { b"" } else { b"; " });
            for part in [name.as_bytes(), value] {
                all.extend_from_slice(&part.len().to_be_bytes());
                all.extend_from_slice(part);
            }
            text.extend_from_slice(name.as_bytes());
            text.push(b'=');
            text.extend_from_slice(value);
        }
        let cookies = HeaderValue::from_bytes(&text).ok().filter(|_| !text.is_empty())?;
        Some(Claim { cookies, sum: sha256(&all) })
    }

    /// Where one signs in at the portal.
    pub fn sign_in_url(&self) -> Option<&str> {
        self.config.sign_in_url.as_deref()
    }

    /// What the portal said of these cookies a moment ago.
    pub fn known(&self, claim: &Claim, now: Timestamp) -> Option<Answer> {
        self.answers.lock().find(&claim.sum, now)
    }

    /// Asks the portal, unless it has just been asked the same. `on_sign_in` is told of a broker who was not known to be signed in.
    pub async fn ask(&self, claim: &Claim, client: &Sender, on_sign_in: impl FnOnce(Vtnr)) -> Answer {
        let question = {
            let mut answers = self.answers.lock();
            if let Some(known) = answers.find(&claim.sum, self.clock.now()) {
                return known;
            }
            answers.question(claim.sum)
        };
        let mut is_first = false;
        let answer = *question
            .get_or_init(|| {
                is_first = true;
                self.put(claim, client)
            })
            .await;
        if is_first {
            self.note(claim, answer, &question);
            if let Answer::SignedIn(vtnr) = answer {
                on_sign_in(vtnr);
            }
        }
        answer
    }

    fn note(&self, claim: &Claim, answer: Answer, question: &Arc<OnceCell<Answer>>) {
        let holds = match answer {
            Answer::SignedIn(_) => self.config.cache,
            Answer::Nobody => NO_HOLDS.min(self.config.cache),
            Answer::Unavailable => Duration::ZERO,
        };
        let now = self.clock.now();
        self.answers.lock().answered(claim.sum, answer, now.plus(holds), now, question);
    }

    /// One question to the portal.
    async fn put(&self, claim: &Claim, client: &Sender) -> Answer {
        if self.clock.now().as_millis() < self.rests_until.load(Ordering::Acquire) {
            self.metrics.portal_checked(PortalCheck::NotAsked);
            return Answer::Unavailable;
        }
        let asked = async {
            // Never closed.
            let _room = self.room.acquire().await.ok()?;
            let mut request = self.client.get(&self.config.check_url).header(COOKIE, claim.cookies.clone());
            if let Some(address) = client.address {
                request = request.header("X-Forwarded-For", address.to_string());
            }
            if let Some(agent) = &client.agent {
                request = request.header(USER_AGENT, agent.clone());
            }
            // The address may hold what nobody should read in a log.
            let tell = |error: reqwest::Error| tracing::debug!(target: "portal", error = %error.without_url(), "no answer");
            request.send().await.map_err(tell).ok()
        };
        let answer = tokio::time::timeout(self.config.timeout, asked).await.ok().flatten();
        let outcome = answer.as_ref().map_or((PortalCheck::Failed, Answer::Unavailable), |response| self.read(response));
        self.note_health(outcome.0);
        self.metrics.portal_checked(outcome.0);
        outcome.1
    }

    fn read(&self, response: &Response) -> (PortalCheck, Answer) {
        match response.status() {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return (PortalCheck::Nobody, Answer::Nobody),
            // To its page for signing in.
            status if status.is_redirection() => return (PortalCheck::Nobody, Answer::Nobody),
            _ => return (PortalCheck::Failed, Answer::Unavailable),
        }
        let mut named = response.headers().get_all(&self.config.vtnr_header).iter();
        let vtnr = match (named.next(), named.next()) {
            (Some(only), None) => only.to_str().ok().and_then(|text| Vtnr::parse(text).ok()),
            _ => None,
        };
        vtnr.map_or((PortalCheck::Unfit, Answer::Nobody), |vtnr| (PortalCheck::SignedIn, Answer::SignedIn(vtnr)))
    }

    fn note_health(&self, outcome: PortalCheck) {
        if outcome != PortalCheck::Failed {
            self.failures.store(0, Ordering::Release);
            return;
        }
        if self.failures.fetch_add(1, Ordering::AcqRel) + 1 >= FAILURES {
            self.rests_until.store(self.clock.now().plus(REST).as_millis(), Ordering::Release);
        }
    }
}
