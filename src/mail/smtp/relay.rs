//! One mail server: its connections, the SMTP conversation, and its health.
//!
//! Idle connections are kept here rather than in lettre's pool, which takes back a connection in
//! the middle of an aborted conversation and then reads the late reply to one command as the reply
//! to the next.

use super::super::Error;
use super::data::DataPayload;
use super::{DeliveryResult, RelayState, SendGuard, SmtpError, SmtpErrorKind, SmtpStage};
use crate::clock::Clock;
use crate::config::{self, MailProtection};
use domain::time::Timestamp;
use lettre::Message;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use parking_lot::Mutex;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// A mail server with its idle connections.
pub(super) struct Relay {
    server: RelaySettings,
    clock: Clock,
    idle: Mutex<Vec<Idle>>,
    health: Mutex<RelayHealth>,
}

struct RelaySettings {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<Credentials>,
    hello: ClientId,
    timeout: Duration,
}

enum Security {
    Tls(TlsParameters),
    StartTls(TlsParameters),
    Plain,
}

/// A connection kept for the next mail.
struct Idle {
    connection: AsyncSmtpConnection,
    since: Timestamp,
}

/// The health of a server, as observed by the last deliveries.
#[derive(Default)]
struct RelayHealth {
    trouble: Option<SmtpError>,
    /// Until then other relays are tried first.
    resting_until: Option<Timestamp>,
}

/// Limits each reply and the whole conversation.
struct Deadlines {
    each: Duration,
    end: Instant,
}

/// Mail servers disconnect idle clients, some after a minute.
pub(super) const LONGEST_IDLE: Duration = Duration::from_secs(30);
/// Limits the QUIT, whose reply changes nothing.
pub(super) const QUIT_TIMEOUT: Duration = Duration::from_secs(1);
/// A delivery on a new connection takes about ten commands, each limited to `mail.timeout`, and all
/// together to this multiple of it.
const TIMEOUTS_PER_DELIVERY: u32 = 3;
/// How long a failed server is tried last; then one mail probes it.
pub(super) const REST: Duration = Duration::from_secs(60);

impl Relay {
    /// Reads certificates and credentials, without connecting.
    pub(super) fn new(
        relay: &config::MailRelay,
        config: &config::MailConfig,
        clock: Clock,
    ) -> Result<Self, Error> {
        let tls = || tls_parameters(&relay.host, config.ca_file.as_deref());
        let security = match relay.protection {
            MailProtection::Tls => Security::Tls(tls()?),
            MailProtection::StartTls => Security::StartTls(tls()?),
            MailProtection::Plain => Security::Plain,
        };
        let server = RelaySettings {
            host: relay.host.clone(),
            port: relay.port,
            security,
            credentials: credentials(relay)?,
            hello: ClientId::default(),
            timeout: config.timeout,
        };
        Ok(Self {
            server,
            clock,
            idle: Mutex::default(),
            health: Mutex::default(),
        })
    }

    /// Returns whether the server failed lately.
    pub(super) fn is_resting(&self) -> bool {
        self.health
            .lock()
            .resting_until
            .is_some_and(|until| self.clock.now() < until)
    }

    /// Delivers one mail within [`Relay::longest`] and a QUIT.
    pub(super) async fn send(&self, message: &Message, guard: &dyn SendGuard) -> DeliveryResult {
        self.keep_resting();
        let result = self
            .converse(message, guard)
            .await
            .err()
            .unwrap_or(DeliveryResult::Accepted);
        self.update_health(&result);
        result
    }

    /// Returns the limit of a whole conversation.
    pub(super) fn longest(&self) -> Duration {
        self.server.timeout * TIMEOUTS_PER_DELIVERY
    }

    /// Returns host and port for logs.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.server.host, self.server.port)
    }

    /// Returns the state for `/readyz` and the metrics.
    pub(super) fn state(&self) -> RelayState {
        RelayState {
            relay: self.name(),
            trouble: self.health.lock().trouble.as_ref().map(ToString::to_string),
        }
    }

    /// Closes connections that have been idle for too long.
    pub(super) async fn tidy(&self) {
        for idle in self.idle_for(LONGEST_IDLE) {
            quit(idle.connection).await;
        }
    }

    /// Closes all idle connections.
    pub(super) async fn close(&self) {
        for idle in self.idle_for(Duration::ZERO) {
            quit(idle.connection).await;
        }
    }

    /// Keeps a resting server last for all other mails while this one probes it.
    fn keep_resting(&self) {
        let mut health = self.health.lock();
        if health.resting_until.is_some() {
            health.resting_until = Some(self.clock.now().plus(REST));
        }
    }

    fn update_health(&self, result: &DeliveryResult) {
        let mut health = self.health.lock();
        match result {
            _ if result.is_the_relays_fault() => {
                health.resting_until = Some(self.clock.now().plus(REST));
                health.trouble = result.error().cloned();
            }
            // The server works, although it does not accept this mail now.
            DeliveryResult::Deferred(error)
                if matches!(error.cause, SmtpErrorKind::Reply { .. }) =>
            {
                *health = RelayHealth {
                    trouble: Some(error.clone()),
                    resting_until: None,
                };
            }
            DeliveryResult::Accepted | DeliveryResult::Refused(_) => {
                *health = RelayHealth::default()
            }
            DeliveryResult::Deferred(_) | DeliveryResult::Withdrawn => {}
        }
    }

    async fn converse(
        &self,
        message: &Message,
        guard: &dyn SendGuard,
    ) -> Result<(), DeliveryResult> {
        let deadlines = Deadlines {
            each: self.server.timeout,
            end: Instant::now() + self.longest(),
        };
        let mut connection = self.connection(&deadlines).await?;
        let result = self
            .server
            .send(&mut connection, message, guard, &deadlines)
            .await;
        match &result {
            Ok(()) => self.idle.lock().push(Idle {
                connection,
                since: self.clock.now(),
            }),
            Err(refusal) if refusal.is_a_reply() => quit(connection).await,
            // A silent or closed connection gets no QUIT.
            Err(_) => drop(connection),
        }
        result
    }

    /// Returns an idle connection that still answers, or a new one.
    async fn connection(
        &self,
        deadlines: &Deadlines,
    ) -> Result<AsyncSmtpConnection, DeliveryResult> {
        loop {
            let idle = self.idle.lock().pop();
            let Some(Idle {
                mut connection,
                since,
            }) = idle
            else {
                return self.server.connect(deadlines).await;
            };
            let is_fresh = self.clock.now().since(since) < LONGEST_IDLE;
            if is_fresh
                && tokio::time::timeout(QUIT_TIMEOUT, connection.test_connected()).await == Ok(true)
            {
                return Ok(connection);
            }
        }
    }

    /// Removes the connections that have been idle for at least this long.
    fn idle_for(&self, age: Duration) -> Vec<Idle> {
        let now = self.clock.now();
        self.idle
            .lock()
            .extract_if(.., |idle| now.since(idle.since) >= age)
            .collect()
    }

    /// Returns the number of idle connections.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.idle.lock().len()
    }
}

impl RelaySettings {
    async fn connect(&self, deadlines: &Deadlines) -> Result<AsyncSmtpConnection, DeliveryResult> {
        let wrapper = match &self.security {
            Security::Tls(tls) => Some(tls.clone()),
            Security::StartTls(_) | Security::Plain => None,
        };
        let address = (self.host.as_str(), self.port);
        let connect = AsyncSmtpConnection::connect_tokio1(
            address,
            Some(self.timeout),
            &self.hello,
            wrapper,
            None,
        );
        let mut connection = deadlines.wait(SmtpStage::Connect, connect).await?;
        if let Security::StartTls(tls) = &self.security {
            if !connection.can_starttls() {
                quit(connection).await;
                return Err(DeliveryResult::Deferred(SmtpError {
                    stage: SmtpStage::StartTls,
                    cause: SmtpErrorKind::NotOffered,
                }));
            }
            deadlines
                .wait(
                    SmtpStage::StartTls,
                    connection.starttls(tls.clone(), &self.hello),
                )
                .await?;
        }
        if let Some(credentials) = &self.credentials {
            deadlines
                .wait(
                    SmtpStage::SignIn,
                    connection.auth(DEFAULT_MECHANISMS, credentials),
                )
                .await?;
        }
        Ok(connection)
    }

    async fn send(
        &self,
        connection: &mut AsyncSmtpConnection,
        message: &Message,
        guard: &dyn SendGuard,
        deadlines: &Deadlines,
    ) -> Result<(), DeliveryResult> {
        let unwritable = |_| {
            DeliveryResult::Refused(SmtpError {
                stage: SmtpStage::Writing,
                cause: SmtpErrorKind::Unwritable,
            })
        };
        let envelope = message.envelope();
        let content = DataPayload::of(message).map_err(unwritable)?;
        let from = Mail::new(envelope.from().cloned(), Vec::new());
        deadlines
            .wait(SmtpStage::From, connection.command(from))
            .await?;
        for to in envelope.to() {
            deadlines
                .wait(
                    SmtpStage::To,
                    connection.command(Rcpt::new(to.clone(), Vec::new())),
                )
                .await?;
        }
        let go_ahead = deadlines
            .wait(SmtpStage::Data, connection.command(Data))
            .await?;
        if !go_ahead.has_code(354) {
            return Err(DeliveryResult::Deferred(SmtpError {
                stage: SmtpStage::Data,
                cause: SmtpErrorKind::Unintelligible,
            }));
        }
        // Until now disconnecting cancels the mail, and the conversation may have taken long:
        // confirm the lease.
        guard.confirm().await?;
        deadlines
            .wait(SmtpStage::Message, connection.command(content))
            .await?;
        Ok(())
    }
}

impl Deadlines {
    /// Waits for one reply; lettre itself would wait forever.
    async fn wait<T>(
        &self,
        stage: SmtpStage,
        answer: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
    ) -> Result<T, DeliveryResult> {
        let end = self.end.min(Instant::now() + self.each);
        match tokio::time::timeout_at(end, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(DeliveryResult::from_error(stage, &error)),
            Err(_) => Err(DeliveryResult::Deferred(SmtpError {
                stage,
                cause: SmtpErrorKind::TimedOut,
            })),
        }
    }
}

/// Sends QUIT, so that the server does not log a broken connection.
async fn quit(mut connection: AsyncSmtpConnection) {
    // The reply makes no difference.
    let _ = tokio::time::timeout(QUIT_TIMEOUT, connection.quit()).await;
}

fn credentials(relay: &config::MailRelay) -> Result<Option<Credentials>, Error> {
    let Some((user, password)) = &relay.credentials else {
        return Ok(None);
    };
    let not_text = |_| Error::Setting {
        key: "mail.password_file",
        mistake: "the password is not UTF-8 text".to_owned(),
    };
    let password = std::str::from_utf8(password.reveal()).map_err(not_text)?;
    Ok(Some(Credentials::new(user.clone(), password.to_owned())))
}

/// Sets up TLS 1.2 or later, trusting the system's certificates and those of the file.
fn tls_parameters(host: &str, ca_file: Option<&Path>) -> Result<TlsParameters, Error> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = ca_file {
        let pem = std::fs::read(path).map_err(|source| Error::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let unusable = |mistake: &str| Error::Setting {
            key: "mail.ca_file",
            mistake: mistake.to_owned(),
        };
        // Without this check a file without certificates would be accepted silently.
        if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
            return Err(unusable("contains no PEM certificate"));
        }
        builder = builder.add_root_certificate(
            Certificate::from_pem(&pem).map_err(|_| unusable("contains a damaged certificate"))?,
        );
    }
    let unusable = |_| Error::Setting {
        key: "mail.url",
        mistake: format!("cannot set up TLS for `{host}`"),
    };
    builder.build_rustls().map_err(unusable)
}
