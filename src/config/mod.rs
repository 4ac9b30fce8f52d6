//! Configuration: parses and validates the operator's TOML file.
//!
//! [`Config::load`] returns a [`Config`], or all mistakes at once, each with its line. `check` and `serve` call
//! it. Unknown keys, missing files and values out of range are mistakes; nothing is guessed. No other module
//! reads a configuration file.
//!
//! A new key is read in `sections/`, described in `config/vtnr-gateway.toml` and, if a reload puts it in force,
//! listed in `live.rs`; `make docs` then updates the handbook.

mod colour;
mod document;
mod kinds;
mod live;
mod load;
mod mistakes;
mod pem;
mod read;
mod secret;
mod secret_file;
mod sections;
mod servers;
mod templates;
#[cfg(test)]
mod tests;
mod url;

pub use self::live::KeyDigests;
pub use self::load::known_keys;
pub use self::mistakes::{Mistake, Mistakes};
pub use self::read::{Absent, KeyDoc, TakesEffect};
pub use self::secret::Secret;
pub use self::servers::{Credentials, Deployment, HostPort, RedisServers, Transport};
pub use self::templates::templates;

use crate::identity::certificate::Identity;
use domain::challenge::TanLimits;
use domain::held_form::HeldFormLimits;
use domain::session::SessionLimits;
use domain::submission::SubmissionRules;
use domain::tan::Alphabet;
use domain::throttle::Limits;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

/// Validated configuration of the whole gateway.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: ListenConfig,
    pub upstream: UpstreamConfig,
    pub store: StoreConfig,
    pub directory: DirectoryConfig,
    pub mail: MailConfig,
    pub submission: SubmissionRules,
    pub parking: HeldFormLimits,
    pub login: LoginConfig,
    pub password: Option<PasswordConfig>,
    pub session: SessionLimits,
    pub limits: Limits,
    pub portal: Option<PortalConfig>,
    pub certificate: Option<Certificate>,
    pub brand: Brand,
    pub admin_listen: SocketAddr,
    /// Lower-case host names besides IP addresses and `localhost`.
    pub admin_hosts: Vec<String>,
    pub log: Log,
    pub shutdown: Shutdown,
    /// Risky but valid settings, one line each, for the log and for `check`.
    pub warnings: Vec<String>,
    pub keys: KeyDigests,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ListenConfig {
    pub http: Option<SocketAddr>,
    pub https: Option<Https>,
    pub public_url: PublicUrl,
    /// Host names besides that of `public_url`.
    pub hosts: Vec<String>,
    /// From the first byte of a request to the end of its header.
    pub header_timeout: Duration,
    /// Time budget for a stalled request body, before transferred bytes refill it.
    pub body_timeout: Duration,
    pub keepalive: Duration,
    /// Front proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<IpNet>,
    pub max_connections: usize,
    pub max_connections_per_client: usize,
    /// Unix socket that hands the listeners over to a new process.
    pub handover: Option<PathBuf>,
    pub max_requests: usize,
    /// Worker threads; 0 means one per core.
    pub threads: usize,
}

impl ListenConfig {
    /// Resolves `threads` to the number of worker threads.
    pub fn workers(&self) -> NonZero<usize> {
        let one_a_core = || std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        NonZero::new(self.threads).unwrap_or_else(one_a_core)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Https {
    pub address: SocketAddr,
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Public origin of the gateway: scheme and authority, no path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// True for `https`; `http` is allowed on loopback only.
    pub secure: bool,
    /// Lower-case host, with the port unless it is the scheme's default, as in a `Host` field.
    pub authority: String,
}

impl PublicUrl {
    /// Formats the origin, such as `https://rechner.insurer.example`.
    pub fn origin(&self) -> String {
        format!(
            "{}://{}",
            if self.secure { "https" } else { "http" },
            self.authority
        )
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamConfig {
    pub tls: bool,
    pub servers: Vec<HostPort>,
    /// Suffix of the application's session cookies per server, after a dot; empty if unused.
    pub routes: Vec<String>,
    pub affinity_cookies: Vec<String>,
    /// Patterns of session cookies that belong to one broker, besides the affinity cookies; the usual
    /// names if empty.
    pub session_cookies: Vec<String>,
    pub connect_timeout: Duration,
    pub write_timeout: Duration,
    pub read_timeout: Duration,
    pub keepalive: Duration,
    pub pool_size: usize,
    pub vtnr_header: Option<String>,
    pub level_header: Option<String>,
    /// Patterns of client header fields to remove besides the built-in list.
    pub strip: Vec<String>,
    /// Client header fields to pass despite unusual characters in their names.
    pub pass_fields: Vec<String>,
    pub public_paths: Vec<String>,
    pub websocket_origins: WebSocketOriginsConfig,
    pub health_interval: Duration,
    pub health_timeout: Duration,
    /// Path that health checks GET; without one they only connect.
    pub health_path: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebSocketOriginsConfig {
    Listed(Vec<String>),
    All,
}

impl UpstreamConfig {
    /// Connection attempts per request, as long as none is established.
    pub const TRIES: u32 = 4;

    /// Upper bound for establishing a connection to any server.
    pub fn connecting(&self) -> Duration {
        // A host name may resolve to several addresses.
        let is_single_address =
            matches!(self.servers.as_slice(), [only] if only.host.parse::<IpAddr>().is_ok());
        if is_single_address {
            self.connect_timeout
        } else {
            self.connect_timeout.saturating_mul(Self::TRIES)
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct StoreConfig {
    pub url: StoreUrl,
    /// Root secret of all derived keys; at least 32 bytes.
    pub secret: Secret,
    pub key_prefix: String,
    pub timeout: Duration,
    /// Replicas that must confirm a write that must not be lost; 0 waits for none.
    pub replicas: u32,
    pub outage_grace: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// Includes passwords from their own keys.
    Redis(RedisServers),
    File(PathBuf),
    Memory,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DirectoryConfig {
    pub file: PathBuf,
    pub poll: Duration,
    pub certificates: Option<CertificateColumns>,
}

/// Columns of the directory that assign certificates to brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateColumns {
    /// Column with the value of the certificate field `certificate.identity`.
    pub name: String,
    /// Column with the issuer's common name.
    pub issuer: Option<String>,
    /// Column with the SHA-256 of the public key; empty cells pin nothing.
    pub key: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    pub https: Https,
    pub public_url: PublicUrl,
    pub ca_file: PathBuf,
    /// Revocation lists; without any, revoked certificates count until they expire.
    pub crl_files: Vec<PathBuf>,
    pub identity: Identity,
    pub columns: CertificateColumns,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PortalConfig {
    pub check_url: String,
    pub ca_file: Option<PathBuf>,
    pub cookies: Vec<String>,
    /// Lower-case response field that names the broker.
    pub vtnr_header: String,
    pub timeout: Duration,
    pub cache: Duration,
    pub cache_size: usize,
    pub connections: usize,
    /// The portal's sign-in page; `{return_to}` is replaced by the broker's target.
    pub sign_in_url: Option<String>,
    pub sign_out_url: Option<String>,
    /// Path prefixes of the portal, which need no sign-in.
    pub paths: Vec<String>,
    /// Server of these paths, with whether it uses TLS; the calculator's if `None`.
    pub server: Option<(bool, HostPort)>,
}

impl PortalConfig {
    /// Describes the portal's server like the calculator's: same timeouts, no identity fields.
    pub fn as_upstream(&self, calculator: &UpstreamConfig) -> Option<UpstreamConfig> {
        let (tls, server) = self.server.clone()?;
        Some(UpstreamConfig {
            tls,
            servers: vec![server],
            routes: Vec::new(),
            affinity_cookies: Vec::new(),
            public_paths: Vec::new(),
            health_path: None,
            ..calculator.clone()
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct MailConfig {
    /// Mail servers in order of preference; at least one.
    pub relays: Vec<MailRelay>,
    pub ca_file: Option<PathBuf>,
    pub from: String,
    pub reply_to: Option<String>,
    pub timeout: Duration,
    pub connections: usize,
}

/// Mail server that accepts the TAN mails and relays them.
#[derive(Clone, Debug, PartialEq)]
pub struct MailRelay {
    pub host: String,
    pub port: u16,
    pub protection: MailProtection,
    pub credentials: Option<(String, Secret)>,
}

/// Transport security towards a mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailProtection {
    /// `smtps://`: TLS from the first byte.
    Tls,
    /// `smtp://...?tls=required`: STARTTLS, or no mail.
    StartTls,
    /// `smtp://` to loopback, or with `?tls=none` elsewhere.
    Plain,
}

#[derive(Clone, Debug)]
pub struct LoginConfig {
    /// Path prefix of all pages; begins and ends with `/`.
    pub prefix: String,
    pub alphabet: Alphabet,
    pub tan: TanLimits,
    pub tries: u8,
    pub trust: Duration,
    pub without_email: bool,
    pub enumeration: Enumeration,
    pub methods: LoginMethods,
    /// Lower-case origins of other sites whose forms are held, without default ports.
    pub entry_origins: Vec<String>,
    /// IANA name, such as `Europe/Berlin`.
    pub time_zone: String,
}

/// Sign-in methods besides the broker number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginMethods {
    pub password: Option<LoginMethod>,
    pub certificate: Option<LoginMethod>,
    pub portal: Option<LoginMethod>,
    pub portal_sign_out: Option<String>,
}

/// Start of a sign-in method, which the pages link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginMethod {
    /// One of the gateway's own pages, by its name under the prefix.
    Page(&'static str),
    /// Another host of the gateway, which serves the calculator too: scheme and authority.
    Host(String),
    Elsewhere(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordConfig {
    pub file: PathBuf,
    pub cost: HashCost,
    pub hashers: NonZero<usize>,
    pub queue: usize,
}

/// Cost parameters of argon2id; memory in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HashCost {
    pub memory: u32,
    pub iterations: u32,
    pub lanes: u32,
}

impl HashCost {
    /// Cost of one guess: memory times iterations.
    pub fn work(&self) -> u64 {
        u64::from(self.memory) * u64::from(self.iterations)
    }

    /// Upper bound for hashes in the users file, so that none can stall the gateway.
    pub const MAX: Self = Self {
        memory: 1_024 * 1_024,
        iterations: 64,
        lanes: 16,
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enumeration {
    /// Pages report whether number or address was wrong.
    Open,
    /// Every well-formed claim gets the same answer.
    Neutral,
}

#[derive(Clone, Debug)]
pub struct Brand {
    pub name: String,
    /// The calculator's name in titles and mails.
    pub product: String,
    /// `#rrggbb`, as is `on_color`.
    pub color: String,
    pub on_color: String,
    pub logo: Option<PathBuf>,
    pub imprint_url: String,
    pub privacy_url: String,
    pub support_phone: Option<String>,
    pub support_email: Option<String>,
    /// Folder of templates that replace built-in ones of the same name.
    pub templates: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shutdown {
    /// How long new clients are accepted while `/readyz` is already 503.
    pub delay: Duration,
    /// How long in-flight requests may take afterwards.
    pub grace: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub json: bool,
    pub filter: String,
    pub access: bool,
}
