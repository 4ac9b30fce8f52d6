//! The insurer's portal: checks whether a browser is signed in there, by the cookies that the portal set.
//!
//! The gateway sends a check request of its own and caches the answer for a while. An answer never applies to other cookies: the
//! cache key is a digest of all names and values that were checked. Anything but a clear yes is a no; a portal that cannot answer
//! decides nothing.
//!
//! # How a check works
//!
//! A check is identified by the SHA-256 of the names and values of its cookies, with their lengths. Concurrent
//! callers share one check (`answers.rs`); if the caller that sends it goes away, another waiting caller sends it.
//! Positive and negative answers are cached apart: made-up cookies evict no broker's answer, and a broker who makes
//! up cookies evicts only a few. An expired positive answer stays while there is room: the same answer again is not
//! a new sign-in. The gateway's own session comes first; the portal is asked only if that does not suffice. The
//! portal lifts a session without e-mail for the same broker only.
//!
//! - **Limits** (`limit.rs`). A check waits for a slot of its client's share first, then for one of all, so that a
//!   waiting client delays nobody else. A timeout before a slot was free, or soon after, is not a failure of the
//!   portal (`no_room`); otherwise strangers could open the circuit breaker (`health.rs`).
//! - **Times** use the machine's monotonic clock: no other gateway needs them, and Redis' clock may jump.
//! - **A sign-out** sets its cookie if the request has portal cookies, unless a cached answer says that they are
//!   nobody's. It reads the cache and never sends a check: a sign-out waits for nobody and takes no slot.
//! - **A WebSocket** has its own task (`PortalRecheck`). It cannot see that its broker signed out here, because the
//!   cookie came with another request. So it closes when the portal says no, or does not answer.

mod answers;
mod health;
mod limit;
#[cfg(test)]
mod tests;

use crate::config;
use crate::digest::sha256;
use crate::telemetry::metrics::{Metrics, PortalCheck};
use answers::Answers;
use domain::throttle::ClientAddress;
use domain::vtnr::Vtnr;
use health::PortalHealth;
use http::header::{COOKIE, USER_AGENT};
use http::{HeaderValue, StatusCode};
use limit::PortalLimit;
use parking_lot::Mutex;
use reqwest::{Certificate, Client, RequestBuilder, Response, redirect};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

/// How long a negative answer is cached, so that a page with its images causes one check.
const NEGATIVE_LIFETIME: Duration = Duration::from_secs(2);

/// The portal's cookies of one request.
pub struct PortalClaim {
    cookies: HeaderValue,
    /// The SHA-256 of all their names and values.
    sum: [u8; 32],
}

impl PortalClaim {
    /// Returns the digest that identifies these cookies.
    pub fn sum(&self) -> &[u8; 32] {
        &self.sum
    }
}

/// The browser behind a check, forwarded to the portal.
#[derive(Clone, Debug, Default)]
pub struct QuestionSender {
    pub address: Option<IpAddr>,
    pub agent: Option<HeaderValue>,
}

/// The portal's answer to a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortalAnswer {
    SignedIn(Vtnr),
    /// Nobody is signed in, or the answer names no single broker.
    Nobody,
    Unavailable,
}

/// The HTTP client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `portal.ca_file` cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// Neither the system's certificates nor those of the file can be used.
    #[error("no HTTP client")]
    Client(#[from] reqwest::Error),
}

pub struct Portal {
    config: config::PortalConfig,
    client: Client,
    answers: Mutex<Answers>,
    limit: PortalLimit,
    health: Mutex<PortalHealth>,
    metrics: Arc<Metrics>,
}

impl Portal {
    /// Creates the client, with an empty cache.
    ///
    /// # Errors
    /// [`Error`] if `portal.ca_file` or the system's certificates cannot be used.
    pub fn new(config: config::PortalConfig, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            // A proxy from the environment is not the operator's configuration, and would see the cookies.
            .no_proxy()
            .connect_timeout(config.timeout)
            .pool_max_idle_per_host(config.connections)
            // Shorter than most servers' keep-alive: a check on a connection that is just closing fails.
            .pool_idle_timeout(Duration::from_secs(4));
        let client = match &config.ca_file {
            Some(path) => {
                let pem = std::fs::read(path).map_err(|source| Error::Unreadable {
                    path: path.clone(),
                    source,
                })?;
                client.tls_certs_merge(Certificate::from_pem_bundle(&pem)?)
            }
            None => client,
        };
        let answers = Mutex::new(Answers::new(config.cache_size));
        let limit = PortalLimit::new(config.connections);
        Ok(Self {
            client: client.build()?,
            config,
            answers,
            limit,
            health: Mutex::default(),
            metrics,
        })
    }

    /// Extracts the portal's cookies from those of a request. Returns `None` if there are none, or if one comes twice with
    /// different values.
    pub fn claim<'c>(
        &self,
        cookies: impl Iterator<Item = (&'c [u8], &'c [u8])>,
    ) -> Option<PortalClaim> {
        let mut found: Vec<Option<&[u8]>> = vec![None; self.config.cookies.len()];
        for (name, value) in cookies {
            let Some(place) = self
                .config
                .cookies
                .iter()
                .position(|configured| configured.as_bytes() == name)
            else {
                continue;
            };
            let place = found.get_mut(place)?;
            if place.is_some_and(|before| before != value) {
                return None;
            }
            *place = Some(value);
        }
        let mut text = Vec::new();
        let mut all = Vec::new();
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
        let cookies = HeaderValue::from_bytes(&text)
            .ok()
            .filter(|_| !text.is_empty())?;
        Some(PortalClaim {
            cookies,
            sum: sha256(&all),
        })
    }

    /// The portal's sign-in page.
    pub fn sign_in_url(&self) -> Option<&str> {
        self.config.sign_in_url.as_deref()
    }

    /// Returns the cached answer for these cookies.
    pub fn known(&self, claim: &PortalClaim) -> Option<PortalAnswer> {
        self.answers.lock().find(&claim.sum, Instant::now())
    }

    /// Checks the cookies at the portal, unless the answer is cached. Calls `on_sign_in` with the broker, unless the previous
    /// answer for these cookies named the same one.
    pub async fn ask(
        &self,
        claim: &PortalClaim,
        client: &QuestionSender,
        on_sign_in: impl FnOnce(Vtnr),
    ) -> PortalAnswer {
        let question = {
            let mut answers = self.answers.lock();
            if let Some(known) = answers.find(&claim.sum, Instant::now()) {
                return known;
            }
            answers.question(claim.sum)
        };
        let mut is_first = false;
        let answer = *question
            .get_or_init(|| {
                is_first = true;
                self.check(claim, client)
            })
            .await;
        if is_first {
            self.note(claim, answer, &question).map(on_sign_in);
        }
        answer
    }

    /// Caches the answer. Returns the broker if this is a new sign-in.
    fn note(
        &self,
        claim: &PortalClaim,
        answer: PortalAnswer,
        question: &Arc<OnceCell<PortalAnswer>>,
    ) -> Option<Vtnr> {
        let holds = match answer {
            PortalAnswer::SignedIn(_) => self.config.cache,
            PortalAnswer::Nobody => NEGATIVE_LIFETIME.min(self.config.cache),
            PortalAnswer::Unavailable => Duration::ZERO,
        };
        let now = Instant::now();
        self.answers
            .lock()
            .answered(claim.sum, answer, now + holds, now, question)
    }

    async fn check(&self, claim: &PortalClaim, client: &QuestionSender) -> PortalAnswer {
        let (outcome, answer) = self.send(claim, client).await;
        self.health.lock().note(outcome, Instant::now());
        self.metrics.portal_checked(outcome);
        answer
    }

    /// Sends one check to the portal.
    async fn send(
        &self,
        claim: &PortalClaim,
        client: &QuestionSender,
    ) -> (PortalCheck, PortalAnswer) {
        let begun = Instant::now();
        if self.health.lock().rests(begun) {
            return (PortalCheck::NotAsked, PortalAnswer::Unavailable);
        }
        // The timeout includes the wait for a slot.
        let ends = begun + self.config.timeout;
        let address =
            ClientAddress::of(client.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        let Ok(Some(_slot)) = timeout_at(ends, self.limit.take(address)).await else {
            return (PortalCheck::NoRoom, PortalAnswer::Unavailable);
        };
        // If the wait for a slot took most of the time, a timeout says nothing about the portal.
        let has_waited = begun.elapsed() > self.config.timeout / 2;
        match timeout_at(ends, self.request(claim, client).send()).await {
            Ok(Ok(response)) => self.read(&response),
            Ok(Err(error)) => {
                // The URL may contain secrets.
                tracing::debug!(target: "portal", error = %error.without_url(), "no answer");
                (PortalCheck::Failed, PortalAnswer::Unavailable)
            }
            Err(_) if has_waited => (PortalCheck::NoRoom, PortalAnswer::Unavailable),
            Err(_) => (PortalCheck::Failed, PortalAnswer::Unavailable),
        }
    }

    fn request(&self, claim: &PortalClaim, client: &QuestionSender) -> RequestBuilder {
        let mut request = self
            .client
            .get(&self.config.check_url)
            .header(COOKIE, claim.cookies.clone());
        if let Some(address) = client.address {
            request = request.header("X-Forwarded-For", address.to_string());
        }
        if let Some(agent) = &client.agent {
            request = request.header(USER_AGENT, agent.clone());
        }
        request
    }

    fn read(&self, response: &Response) -> (PortalCheck, PortalAnswer) {
        match response.status() {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return (PortalCheck::Nobody, PortalAnswer::Nobody);
            }
            // A redirect to the portal's sign-in page.
            status if status.is_redirection() => {
                return (PortalCheck::Nobody, PortalAnswer::Nobody);
            }
            _ => return (PortalCheck::Failed, PortalAnswer::Unavailable),
        }
        let mut named = response.headers().get_all(&self.config.vtnr_header).iter();
        let vtnr = match (named.next(), named.next()) {
            (Some(only), None) => only.to_str().ok().and_then(|text| Vtnr::parse(text).ok()),
            _ => None,
        };
        vtnr.map_or((PortalCheck::Unfit, PortalAnswer::Nobody), |vtnr| {
            (PortalCheck::SignedIn, PortalAnswer::SignedIn(vtnr))
        })
    }
}
