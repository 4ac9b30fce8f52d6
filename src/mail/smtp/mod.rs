//! Delivers one mail over SMTP to the first configured relay that accepts it.
//!
//! After a relay fails, the next one is tried at once, and the failed one is tried last for a
//! while, so that not every mail waits for it. A permanent refusal of the mail itself is final, and
//! a mail that one relay may have is offered to no other.

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

/// Delivers mails to a mail server.
#[async_trait]
pub trait MailSender: Send + Sync {
    /// Delivers one mail within a bounded time.
    async fn send(&self, message: &Message, guard: &dyn SendGuard) -> DeliveryResult;

    /// Returns the mail servers with their last errors.
    fn relays(&self) -> Vec<RelayState> {
        Vec::new()
    }

    /// Closes idle connections; called while no letter is due.
    async fn tidy(&self) {}

    /// Closes all connections at shutdown.
    async fn close(&self) {}
}

/// Guards the point of no return of a delivery.
#[async_trait]
pub trait SendGuard: Send + Sync {
    /// Confirms, right before the mail server gets the mail, that it must still be sent. From then
    /// on it may be out.
    ///
    /// # Errors
    /// The mail must not be sent; the error is the result of the delivery.
    async fn confirm(&self) -> Result<(), DeliveryResult>;
}

/// The state of a mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayState {
    /// Host and port, separated by a colon.
    pub relay: String,
    /// The last error, until the server accepts a mail; contains nothing secret.
    pub trouble: Option<String>,
}

/// Delivers mails over SMTP to the configured relays.
pub struct Smtp {
    relays: Vec<Relay>,
}

impl Smtp {
    /// Reads certificates and credentials, without connecting.
    ///
    /// # Errors
    /// [`Error`] if the certificate file or the credentials cannot be used.
    pub fn new(config: &config::MailConfig, clock: Clock) -> Result<Self, Error> {
        let relays = config
            .relays
            .iter()
            .map(|relay| Relay::new(relay, config, clock.clone()));
        Ok(Self {
            relays: relays.collect::<Result<_, _>>()?,
        })
    }

    /// Returns the relays in configured order, those that failed lately last.
    fn in_order(&self) -> impl Iterator<Item = &Relay> {
        let (resting, others): (Vec<_>, Vec<_>) =
            self.relays.iter().partition(|relay| relay.is_resting());
        others.into_iter().chain(resting)
    }
}

#[async_trait]
impl MailSender for Smtp {
    async fn send(&self, message: &Message, guard: &dyn SendGuard) -> DeliveryResult {
        let mut deferred = None;
        let mut refused = None;
        for relay in self.in_order() {
            let result = relay.send(message, guard).await;
            if !result.is_worth_another_relay() {
                return result;
            }
            if let (true, Some(error)) = (self.relays.len() > 1, result.error()) {
                tracing::warn!(target: "mail", relay = relay.name(), reason = %error, "a mail server did not accept a mail");
            }
            match result {
                DeliveryResult::Refused(_) => refused = Some(result),
                _ => deferred = Some(result),
            }
        }
        // While any relay may accept the mail later, it is not refused.
        deferred
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
