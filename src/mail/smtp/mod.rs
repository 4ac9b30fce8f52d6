//! Handing one mail over to a mail server: to the first of the configured relays that takes it.
//!
//! A relay that fails hands on to the next one at once and then rests for a while, so that not every mail waits for it.
//! A relay's "no" for good to the mail itself is final, and a mail that one relay may have is given to no other.

use super::Error;
use crate::clock::Clock;
use crate::config;
use async_trait::async_trait;
use lettre::Message;

mod data;
mod error;
mod relay;

pub use error::{DeliveryResult, SmtpError, SmtpErrorKind, SmtpStage};
use relay::Relay;

/// Hands mails over.
#[async_trait]
pub trait MailSender: Send + Sync {
    /// Hands one mail over, or says why not, after a time that is bounded.
    async fn send(&self, message: &Message, guard: &dyn SendGuard) -> DeliveryResult;

    /// The mail servers, and how they were found.
    fn relays(&self) -> Vec<RelayState> {
        Vec::new()
    }

    /// Is called now and then when nothing is to be done.
    async fn tidy(&self) {}

    /// Takes leave of the mail server.
    async fn close(&self) {}
}

/// The hold on a letter that is being handed over.
#[async_trait]
pub trait SendGuard: Send + Sync {
    /// Is asked right before the mail server gets the mail; from then on it may be out.
    ///
    /// # Errors
    /// It must not go out; this becomes of the hand-over instead.
    async fn confirm(&self) -> Result<(), DeliveryResult>;
}

/// How a mail server was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayState {
    /// Host and port.
    pub relay: String,
    /// What went wrong there last, until it takes a mail; nothing secret is in it.
    pub trouble: Option<String>,
}

/// Mail servers that are spoken to over SMTP.
pub struct Smtp {
    relays: Vec<Relay>,
}

impl Smtp {
    /// Prepares; connects to nothing yet.
    ///
    /// # Errors
    /// The file of certificates or the credentials cannot be used.
    pub fn new(config: &config::Mail, clock: Clock) -> Result<Self, Error> {
        let relays = config
            .relays
            .iter()
            .map(|relay| Relay::new(relay, config, clock.clone()));
        Ok(Self {
            relays: relays.collect::<Result<_, _>>()?,
        })
    }

    /// In the configured order, but those that failed a moment ago come last.
    fn in_order(&self) -> impl Iterator<Item = &Relay> {
        let (resting, others): (Vec<_>, Vec<_>) =
            self.relays.iter().partition(|relay| relay.rests());
        others.into_iter().chain(resting)
    }
}

#[async_trait]
impl MailSender for Smtp {
    async fn send(&self, message: &Message, guard: &dyn SendGuard) -> DeliveryResult {
        let mut put_off = None;
        let mut refused = None;
        for relay in self.in_order() {
            let result = relay.send(message, guard).await;
            if !result.is_worth_another_relay() {
                return result;
            }
            if let (true, Some(error)) = (self.relays.len() > 1, result.error()) {
                tracing::warn!(target: "mail", relay = relay.name(), reason = %error, "a mail server did not take a mail");
            }
            match result {
                DeliveryResult::Refused(_) => refused = Some(result),
                _ => put_off = Some(result),
            }
        }
        // As long as one of them may take it later, it is not refused.
        put_off
            .or(refused)
            .unwrap_or(DeliveryResult::Deferred(SmtpError {
                stage: SmtpStage::Connect,
                cause: SmtpErrorKind::NotOffered,
            }))
    }

    fn relays(&self) -> Vec<RelayState> {
        self.relays.iter().map(Relay::state).collect()
    }

    async fn tidy(&self) {
        for relay in &self.relays {
            relay.tidy().await;
        }
    }

    async fn close(&self) {
        for relay in &self.relays {
            relay.close().await;
        }
    }
}

#[cfg(test)]
mod tests;
