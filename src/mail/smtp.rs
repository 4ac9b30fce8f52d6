//! Handing one mail over to the mail server.
//!
//! The connections are our own and not those of lettre's pool: that pool takes a connection back in the middle of a
//! conversation that was broken off, and then takes the late answer to one command for the answer to the next.

use super::Error;
use crate::clock::Clock;
use crate::config::{self, MailProtection};
use crate::domain::time::Timestamp;
use async_trait::async_trait;
use lettre::Message;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use parking_lot::Mutex;
use std::path::Path;
use std::time::Duration;

mod content;
mod hitch;

use content::Content;
pub use hitch::{Cause, HandOver, Hitch, Stage};

/// Hands mails over.
#[async_trait]
pub trait Sender: Send + Sync {
    /// Hands one mail over, or says why not. Comes to an end within [`Sender::longest`].
    async fn hand_over(&self, message: &Message) -> HandOver;

    /// The longest that a hand-over takes.
    fn longest(&self) -> Duration;

    /// Is called now and then when nothing is to be done.
    async fn tidy(&self) {}

    /// Takes leave of the mail server.
    async fn close(&self) {}
}

/// A mail server that is spoken to over SMTP.
pub struct Smtp {
    server: Server,
    clock: Clock,
    idle: Mutex<Vec<Idle>>,
}

struct Server {
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

/// Mail servers hang up on idle clients, some after a minute.
const LONGEST_IDLE: Duration = Duration::from_secs(30);
/// Waiting longer for a parting word serves nobody.
const FAREWELL: Duration = Duration::from_secs(1);
/// A hand-over with a new connection is some ten commands. None takes longer than `mail.timeout`, and all together
/// no longer than this many times that.
const TIMEOUTS_A_HAND_OVER: u32 = 3;

impl Smtp {
    /// Prepares; connects to nothing yet.
    ///
    /// # Errors
    /// The file of certificates or the credentials cannot be used.
    pub fn new(config: &config::Mail, clock: Clock) -> Result<Self, Error> {
        let tls = || tls_parameters(&config.host, config.ca_file.as_deref());
        let security = match config.protection {
            MailProtection::Tls => Security::Tls(tls()?),
            MailProtection::StartTls => Security::StartTls(tls()?),
            MailProtection::Plain => Security::Plain,
        };
        let server = Server {
            host: config.host.clone(),
            port: config.port,
            security,
            credentials: credentials(config)?,
            hello: ClientId::default(),
            timeout: config.timeout,
        };
        Ok(Self { server, clock, idle: Mutex::new(Vec::new()) })
    }

    async fn converse(&self, message: &Message) -> Result<(), HandOver> {
        let mut connection = self.connection().await?;
        let handed_over = self.server.send(&mut connection, message).await;
        match &handed_over {
            Ok(()) => self.idle.lock().push(Idle { connection, since: self.clock.now() }),
            Err(refusal) if refusal.is_a_reply() => leave(connection).await,
            // Whoever is silent or gone gets no parting word.
            Err(_) => drop(connection),
        }
        handed_over
    }

    /// A connection that answered just now, or a new one.
    async fn connection(&self) -> Result<AsyncSmtpConnection, HandOver> {
        loop {
            let idle = self.idle.lock().pop();
            let Some(Idle { mut connection, since }) = idle else { return self.server.connect().await };
            let is_fresh = self.clock.now().since(since) < LONGEST_IDLE;
            if is_fresh && tokio::time::timeout(FAREWELL, connection.test_connected()).await == Ok(true) {
                return Ok(connection);
            }
        }
    }

    /// The connections that have been idle for at least this long.
    fn idle_for(&self, age: Duration) -> Vec<Idle> {
        let now = self.clock.now();
        self.idle.lock().extract_if(.., |idle| now.since(idle.since) >= age).collect()
    }
}

#[async_trait]
impl Sender for Smtp {
    async fn hand_over(&self, message: &Message) -> HandOver {
        match tokio::time::timeout(self.longest(), self.converse(message)).await {
            Ok(Ok(())) => HandOver::Accepted,
            Ok(Err(refusal)) => refusal,
            Err(_) => HandOver::PutOff(Hitch { stage: Stage::Conversation, cause: Cause::TimedOut }),
        }
    }

    fn longest(&self) -> Duration {
        self.server.timeout * TIMEOUTS_A_HAND_OVER
    }

    async fn tidy(&self) {
        for idle in self.idle_for(LONGEST_IDLE) {
            leave(idle.connection).await;
        }
    }

    async fn close(&self) {
        for idle in self.idle_for(Duration::ZERO) {
            leave(idle.connection).await;
        }
    }
}

impl Server {
    async fn connect(&self) -> Result<AsyncSmtpConnection, HandOver> {
        let wrapper = match &self.security {
            Security::Tls(tls) => Some(tls.clone()),
            Security::StartTls(_) | Security::Plain => None,
        };
        let address = (self.host.as_str(), self.port);
        let connect = AsyncSmtpConnection::connect_tokio1(address, Some(self.timeout), &self.hello, wrapper, None);
        let mut connection = self.wait(Stage::Connect, connect).await?;
        if let Security::StartTls(tls) = &self.security {
            if !connection.can_starttls() {
                leave(connection).await;
                return Err(HandOver::PutOff(Hitch { stage: Stage::StartTls, cause: Cause::NotOffered }));
            }
            self.wait(Stage::StartTls, connection.starttls(tls.clone(), &self.hello)).await?;
        }
        if let Some(credentials) = &self.credentials {
            self.wait(Stage::SignIn, connection.auth(DEFAULT_MECHANISMS, credentials)).await?;
        }
        Ok(connection)
    }

    async fn send(&self, connection: &mut AsyncSmtpConnection, message: &Message) -> Result<(), HandOver> {
        let unwritable = |_| HandOver::Refused(Hitch { stage: Stage::Writing, cause: Cause::Unwritable });
        let (envelope, content) = (message.envelope(), Content::of(message).map_err(unwritable)?);
        let from = Mail::new(envelope.from().cloned(), Vec::new());
        self.wait(Stage::From, connection.command(from)).await?;
        for to in envelope.to() {
            self.wait(Stage::To, connection.command(Rcpt::new(to.clone(), Vec::new()))).await?;
        }
        let go_ahead = self.wait(Stage::Data, connection.command(Data)).await?;
        if !go_ahead.has_code(354) {
            return Err(HandOver::PutOff(Hitch { stage: Stage::Data, cause: Cause::Unintelligible }));
        }
        self.wait(Stage::Message, connection.command(content)).await?;
        Ok(())
    }

    /// Waits for one answer; lettre itself would wait for ever.
    async fn wait<T>(
        &self,
        stage: Stage,
        answer: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
    ) -> Result<T, HandOver> {
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(HandOver::from_error(stage, &error)),
            Err(_) => Err(HandOver::PutOff(Hitch { stage, cause: Cause::TimedOut })),
        }
    }
}

/// Says good-bye, so that the server does not log a broken connection.
async fn leave(mut connection: AsyncSmtpConnection) {
    // Whether the server hears it makes no difference.
    let _ = tokio::time::timeout(FAREWELL, connection.quit()).await;
}

fn credentials(config: &config::Mail) -> Result<Option<Credentials>, Error> {
    let Some((user, password)) = &config.credentials else { return Ok(None) };
    let not_text = |_| Error::Setting { key: "mail.password_file", mistake: "the password is not text in UTF-8".to_owned() };
    let password = std::str::from_utf8(password.reveal()).map_err(not_text)?;
    Ok(Some(Credentials::new(user.clone(), password.to_owned())))
}

/// TLS 1.2 or later, with the system's certificates and those of the file.
fn tls_parameters(host: &str, ca_file: Option<&Path>) -> Result<TlsParameters, Error> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = ca_file {
        let pem = std::fs::read(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        let unusable = |mistake: &str| Error::Setting { key: "mail.ca_file", mistake: mistake.to_owned() };
        // A file without a certificate would pass for one with none to add.
        if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
            return Err(unusable("holds no certificate in PEM"));
        }
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|_| unusable("holds a damaged certificate"))?);
    }
    let unusable = |_| Error::Setting { key: "mail.url", mistake: format!("TLS cannot be set up for `{host}`") };
    builder.build_rustls().map_err(unusable)
}

#[cfg(test)]
mod tests;
