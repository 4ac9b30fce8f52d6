//! The insurer's portal: who is signed in there, by the cookies that it gave the browser.
//!
//! It is asked with a request of its own, and its word counts for a while. What it said of one browser's cookies is never believed of
//! another's: answers are kept by a digest of all names and values that were asked about. Whatever is not a clear yes is a no, and a
//! portal that does not answer says nothing.
//!
//! # How the portal is asked
//!
//! A question is named by the SHA-256 of the names and values of all cookies that it is about, with their
//! lengths. Who asks the same at once shares one question (`answers.rs`); if the asker goes away, another one
//! of those who wait puts it. Answers have a place for the signed in and one for the others: whoever makes up
//! cookies pushes no broker out, and a broker who does so pushes out some. A yes that does not count any more
//! stays as long as there is room: the same answer anew is no new sign-in. The gateway's own session goes
//! first, and the portal is asked only where that does not suffice; a session without e-mail is lifted by the
//! portal for the same broker only.
//!
//! - **Room** (`room.rs`). A question waits for a place of its client's part first and for one of all
//!   afterwards, so that whoever waits for the part stands in nobody's way. Time that runs out before there was
//!   a place, or too soon after, is no failure of the portal (`no_room`); else strangers could have it left
//!   alone (`health.rs`).
//! - **Times** go by the machine's steady clock: no other gateway needs them, and Redis' clock may jump.
//! - **A sign-out** sets its cookie wherever there are cookies of the portal's and it has not just said that
//!   they are nobody's. What it said is looked up, never asked for: the sign-out waits for nobody and takes no
//!   seat.
//! - **A WebSocket** is looked after by a task of its own (`PortalRecheck`). That its broker signed out here
//!   cannot be seen from it: the cookie came with another request. So it ends by the portal's word, or for want
//!   of it.

mod answers;
mod health;
mod room;
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
use parking_lot::Mutex;
use reqwest::{Certificate, Client, RequestBuilder, Response, redirect};
use room::Room;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

/// So long a no counts: the images of a page are one question.
const NO_HOLDS: Duration = Duration::from_secs(2);

/// The portal's cookies of one request.
pub struct PortalClaim {
    cookies: HeaderValue,
    /// The SHA-256 of all their names and values.
    sum: [u8; 32],
}

impl PortalClaim {
    /// What tells these cookies from all others.
    pub fn sum(&self) -> &[u8; 32] {
        &self.sum
    }
}

/// Who has sent them, as the portal is told.
#[derive(Clone, Debug, Default)]
pub struct QuestionSender {
    pub address: Option<IpAddr>,
    /// What it says it is.
    pub agent: Option<HeaderValue>,
}

/// What the portal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortalAnswer {
    SignedIn(Vtnr),
    /// Nobody is, or nobody whom the answer names clearly.
    Nobody,
    Unavailable,
}

/// Nothing can be asked: the HTTP client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file with its certificates cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// Neither the system's certificates nor those of the file are of use.
    #[error("no HTTP client")]
    Client(#[from] reqwest::Error),
}

pub struct Portal {
    config: config::PortalConfig,
    client: Client,
    answers: Mutex<Answers>,
    room: Room,
    health: Mutex<PortalHealth>,
    metrics: Arc<Metrics>,
}

impl Portal {
    /// A portal that nobody has asked yet.
    ///
    /// # Errors
    /// [`Error`] if `portal.ca_file` or the system's certificates cannot be used.
    pub fn new(config: config::PortalConfig, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            // A proxy that the environment names is none of the operator's configuration, and would learn the cookies.
            .no_proxy()
            .connect_timeout(config.timeout)
            .pool_max_idle_per_host(config.connections)
            // Less than most servers keep a connection: a question that meets its end is a failure.
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
        let room = Room::new(config.connections);
        Ok(Self {
            client: client.build()?,
            config,
            answers,
            room,
            health: Mutex::default(),
            metrics,
        })
    }

    /// The portal's cookies among those of a request, if there are any. A cookie that comes twice with different values makes
    /// unclear what the portal would be asked.
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
                .position(|wanted| wanted.as_bytes() == name)
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

    /// Where one signs in at the portal.
    pub fn sign_in_url(&self) -> Option<&str> {
        self.config.sign_in_url.as_deref()
    }

    /// What the portal said of these cookies a moment ago. This and all times here go by the machine's steady clock, which nobody sets.
    pub fn known(&self, claim: &PortalClaim) -> Option<PortalAnswer> {
        self.answers.lock().find(&claim.sum, Instant::now())
    }

    /// Asks the portal, unless it has just been asked the same. `on_sign_in` is told of a broker whom the last answer about
    /// these cookies did not name already.
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
                self.put(claim, client)
            })
            .await;
        if is_first {
            self.note(claim, answer, &question).map(on_sign_in);
        }
        answer
    }

    /// Remembers the answer, and says whose sign-in it is news of.
    fn note(
        &self,
        claim: &PortalClaim,
        answer: PortalAnswer,
        question: &Arc<OnceCell<PortalAnswer>>,
    ) -> Option<Vtnr> {
        let holds = match answer {
            PortalAnswer::SignedIn(_) => self.config.cache,
            PortalAnswer::Nobody => NO_HOLDS.min(self.config.cache),
            PortalAnswer::Unavailable => Duration::ZERO,
        };
        let now = Instant::now();
        self.answers
            .lock()
            .answered(claim.sum, answer, now + holds, now, question)
    }

    async fn put(&self, claim: &PortalClaim, client: &QuestionSender) -> PortalAnswer {
        let (outcome, answer) = self.question(claim, client).await;
        self.health.lock().note(outcome, Instant::now());
        self.metrics.portal_checked(outcome);
        answer
    }

    /// One question to the portal.
    async fn question(
        &self,
        claim: &PortalClaim,
        client: &QuestionSender,
    ) -> (PortalCheck, PortalAnswer) {
        let begun = Instant::now();
        if self.health.lock().rests(begun) {
            return (PortalCheck::NotAsked, PortalAnswer::Unavailable);
        }
        // The limit is for the waiting too.
        let ends = begun + self.config.timeout;
        let address =
            ClientAddress::of(client.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        let Ok(Some(_place)) = timeout_at(ends, self.room.take(address)).await else {
            return (PortalCheck::NoRoom, PortalAnswer::Unavailable);
        };
        // Where others' questions took most of the time, that it runs out says nothing of the portal.
        let has_waited = begun.elapsed() > self.config.timeout / 2;
        match timeout_at(ends, self.request(claim, client).send()).await {
            Ok(Ok(response)) => self.read(&response),
            Ok(Err(error)) => {
                // The address may hold what nobody should read in a log.
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
            // To its page for signing in.
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
