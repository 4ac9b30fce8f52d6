//! One mail server: its connections, the conversation, and whether it works.
//!
//! The connections are our own and not those of lettre's pool: that pool takes a connection back in the middle of a
//! conversation that was broken off, and then takes the late answer to one command for the answer to the next.

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

/// A mail server.
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

/// A connection that waits for the next mail.
struct Idle {
    connection: AsyncSmtpConnection,
    since: Timestamp,
}

/// What the last mails told of the server.
#[derive(Default)]
struct RelayHealth {
    trouble: Option<SmtpError>,
    /// Until then others come first.
    rests_until: Option<Timestamp>,
}

/// How long an answer and the whole conversation may take.
struct Deadlines {
    each: Duration,
    end: Instant,
}

/// Mail servers hang up on idle clients, some after a minute.
pub(super) const LONGEST_IDLE: Duration = Duration::from_secs(30);
/// Waiting longer for a parting word serves nobody.
pub(super) const QUIT_TIMEOUT: Duration = Duration::from_secs(1);
/// A hand-over with a new connection is some ten commands. None takes longer than `mail.timeout`, and all together
/// no longer than this many times that.
const TIMEOUTS_A_HAND_OVER: u32 = 3;
/// How long a server that failed is asked after the others; then one mail tries it again.
pub(super) const REST: Duration = Duration::from_secs(60);

impl Relay {
    /// Prepares; connects to nothing yet.
    pub(super) fn new(
        relay: &config::MailRelay,
        config: &config::Mail,
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

    /// Whether it failed a moment ago.
    pub(super) fn rests(&self) -> bool {
        self.health
            .lock()
            .rests_until
            .is_some_and(|until| self.clock.now() < until)
    }

    /// Hands one mail over, or says why not, within [`Relay::longest`] and a farewell.
    pub(super) async fn send(&self, message: &Message, guard: &dyn SendGuard) -> DeliveryResult {
        self.try_again();
        let result = self
            .converse(message, guard)
            .await
            .err()
            .unwrap_or(DeliveryResult::Accepted);
        self.learn(&result);
        result
    }

    /// The longest that a conversation takes.
    pub(super) fn longest(&self) -> Duration {
        self.server.timeout * TIMEOUTS_A_HAND_OVER
    }

    /// Host and port.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.server.host, self.server.port)
    }

    /// How it was found.
    pub(super) fn state(&self) -> RelayState {
        RelayState {
            relay: self.name(),
            trouble: self.health.lock().trouble.as_ref().map(ToString::to_string),
        }
    }

    /// Takes leave on connections that nobody needs.
    pub(super) async fn tidy(&self) {
        for idle in self.idle_for(LONGEST_IDLE) {
            quit(idle.connection).await;
        }
    }

    /// Takes leave on all connections.
    pub(super) async fn close(&self) {
        for idle in self.idle_for(Duration::ZERO) {
            quit(idle.connection).await;
        }
    }

    /// While one mail finds out whether a server works again, the others go elsewhere.
    fn try_again(&self) {
        let mut health = self.health.lock();
        if health.rests_until.is_some() {
            health.rests_until = Some(self.clock.now().plus(REST));
        }
    }

    fn learn(&self, result: &DeliveryResult) {
        let mut health = self.health.lock();
        match result {
            _ if result.is_the_relays_fault() => {
                health.rests_until = Some(self.clock.now().plus(REST));
                health.trouble = result.error().cloned();
            }
            // It works, even if it does not want this mail now.
            DeliveryResult::Deferred(error)
                if matches!(error.cause, SmtpErrorKind::Reply { .. }) =>
            {
                *health = RelayHealth {
                    trouble: Some(error.clone()),
                    rests_until: None,
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
            // Whoever is silent or gone gets no parting word.
            Err(_) => drop(connection),
        }
        result
    }

    /// A connection that answered just now, or a new one.
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

    /// The connections that have been idle for at least this long.
    fn idle_for(&self, age: Duration) -> Vec<Idle> {
        let now = self.clock.now();
        self.idle
            .lock()
            .extract_if(.., |idle| now.since(idle.since) >= age)
            .collect()
    }

    /// How many connections wait.
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
        let (envelope, content) = (
            message.envelope(),
            DataPayload::of(message).map_err(unwritable)?,
        );
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
        // Until now hanging up undoes everything. The server may have let us wait for long.
        guard.confirm().await?;
        deadlines
            .wait(SmtpStage::Message, connection.command(content))
            .await?;
        Ok(())
    }
}

impl Deadlines {
    /// Waits for one answer; lettre itself would wait for ever.
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

/// Says good-bye, so that the server does not log a broken connection.
async fn quit(mut connection: AsyncSmtpConnection) {
    // Whether the server hears it makes no difference.
    let _ = tokio::time::timeout(QUIT_TIMEOUT, connection.quit()).await;
}

fn credentials(relay: &config::MailRelay) -> Result<Option<Credentials>, Error> {
    let Some((user, password)) = &relay.credentials else {
        return Ok(None);
    };
    let not_text = |_| Error::Setting {
        key: "mail.password_file",
        mistake: "the password is not text in UTF-8".to_owned(),
    };
    let password = std::str::from_utf8(password.reveal()).map_err(not_text)?;
    Ok(Some(Credentials::new(user.clone(), password.to_owned())))
}

/// TLS 1.2 or later, with the system's certificates and those of the file.
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
        // A file without a certificate would pass for one with none to add.
        if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
            return Err(unusable("holds no certificate in PEM"));
        }
        builder = builder.add_root_certificate(
            Certificate::from_pem(&pem).map_err(|_| unusable("holds a damaged certificate"))?,
        );
    }
    let unusable = |_| Error::Setting {
        key: "mail.url",
        mistake: format!("TLS cannot be set up for `{host}`"),
    };
    builder.build_rustls().map_err(unusable)
}
