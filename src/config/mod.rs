//! The configuration: what the operator said, checked and typed.
//!
//! [`Config::load`] turns TOML into a [`Config`] or into every mistake at once, each with its line; `check`
//! and `serve` call it. It never guesses: an unknown key, a missing file, a value out of range is a mistake.
//! Nothing else in this crate reads a configuration file.

mod colour;
mod document;
mod kinds;
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

pub use self::load::known_keys;
pub use self::mistakes::{Mistake, Mistakes};
pub use self::read::{Absent, KeyDoc};
pub use self::secret::Secret;
pub use self::servers::{Credentials, Deployment, RedisServers, Server, Transport};
pub use self::templates::templates;

use crate::certificate::Identity;
use domain::challenge::TanLimits;
use domain::parking::ParkingLimits;
use domain::session::SessionLimits;
use domain::submission::SubmissionRules;
use domain::tan::Alphabet;
use domain::throttle::Limits;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

/// Everything the gateway was told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where brokers reach the gateway.
    pub listen: ListenConfig,
    pub upstream: UpstreamConfig,
    /// Where sessions and sign-ins are remembered.
    pub store: StoreConfig,
    /// Who is a broker.
    pub directory: DirectoryConfig,
    /// How TAN mails leave.
    pub mail: MailConfig,
    /// Which requests send an application electronically.
    pub submission: SubmissionRules,
    /// How forms are kept that could not be forwarded, `[parking]`.
    pub parking: ParkingLimits,
    pub login: LoginConfig,
    /// The way in with user key and password, where it is open.
    pub password: Option<PasswordConfig>,
    /// How long sessions live.
    pub session: SessionLimits,
    /// How often things may happen.
    pub limits: Limits,
    /// The insurer's portal, `[portal]`.
    pub portal: Option<PortalConfig>,
    /// The way in with a certificate, `[certificate]`.
    pub certificate: Option<Certificate>,
    /// How the pages look.
    pub brand: Brand,
    /// Where operators reach the gateway, `admin.listen`.
    pub admin_listen: SocketAddr,
    /// Names under which they may, `admin.hosts`, in lower case; addresses and `localhost` are always taken.
    pub admin_hosts: Vec<String>,
    /// What is logged, and how.
    pub log: Log,
    /// What SIGTERM leads to.
    pub shutdown: Shutdown,
    /// What is allowed and yet unwise, one line each, for the log and for `check`.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ListenConfig {
    /// Plain HTTP, behind a TLS front or for the demo.
    pub http: Option<SocketAddr>,
    /// HTTPS with the files of `[listen.tls]`.
    pub https: Option<Https>,
    /// The address that brokers type.
    pub public_url: PublicUrl,
    /// Host names other than that of `public_url` under which requests are accepted.
    pub hosts: Vec<String>,
    /// From the first byte of a request until its header is complete.
    pub header_timeout: Duration,
    /// How long a client is waited for that sends a body, before what it sends earns it more.
    pub body_timeout: Duration,
    /// How long an idle connection is kept open.
    pub keepalive: Duration,
    /// Front proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    pub max_connections: usize,
    /// Connections at once from one client address.
    pub max_connections_per_client: usize,
    /// Where a process waits that is to take this one's place.
    pub handover: Option<PathBuf>,
    /// Requests that are served at once.
    pub max_requests: usize,
    /// Threads that serve clients; 0 stands for one a core.
    pub threads: usize,
}

impl ListenConfig {
    /// As many threads as serve clients.
    pub fn workers(&self) -> NonZero<usize> {
        let one_a_core = || std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        NonZero::new(self.threads).unwrap_or_else(one_a_core)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Https {
    /// The address to listen on.
    pub address: SocketAddr,
    /// PEM file with the certificate chain.
    pub cert: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// `listen.public_url`: scheme and authority, no path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// `https`, or `http` on loopback.
    pub secure: bool,
    /// Host and, unless it is the scheme's own, port, in lower case: as in a `Host` field.
    pub authority: String,
}

impl PublicUrl {
    /// The address as it is written: `https://rechner.insurer.example`.
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
    /// Speak TLS to the calculator.
    pub tls: bool,
    /// At least one.
    pub servers: Vec<Server>,
    /// What the application's session cookies end with on each of the servers, after a dot; empty if they do not.
    pub routes: Vec<String>,
    /// Names of the application's session cookies.
    pub affinity_cookies: Vec<String>,
    /// Names of the application's session cookies, each of which belongs to one broker, besides those above; `*` stands for any text. The
    /// usual ones if empty.
    pub session_cookies: Vec<String>,
    /// Until a connection is established, TLS included.
    pub connect_timeout: Duration,
    /// Longest time that the calculator takes nothing of what is sent to it.
    pub write_timeout: Duration,
    /// Longest silence of the calculator within an answer; streams and WebSockets are exempt.
    pub read_timeout: Duration,
    /// Idle connections are closed after this long: less than the calculator's own keep-alive time.
    pub keepalive: Duration,
    /// Idle connections that are kept at most.
    pub pool_size: usize,
    /// Header field that tells the calculator who is signed in, such as `X-VTNR`.
    pub vtnr_header: Option<String>,
    /// Header field that tells it the level: `full` or `without-submission`.
    pub level_header: Option<String>,
    /// Request fields of clients that the calculator does not get, besides those that it never gets; `*` at the end stands for any rest.
    pub strip: Vec<String>,
    /// Request fields that it gets although their names have other characters than letters, digits and `-`.
    pub pass_fields: Vec<String>,
    /// Exact paths that need no sign-in, such as `/favicon.ico`.
    pub public_paths: Vec<String>,
    /// Whose pages may open WebSockets here, besides those of the gateway's own hosts.
    pub websocket_origins: WebSocketOriginsConfig,
    /// How often each server is looked over.
    pub health_interval: Duration,
    /// How long that may take.
    pub health_timeout: Duration,
    /// What a server is asked for then; if there is none, it only has to accept a connection.
    pub health_path: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebSocketOriginsConfig {
    /// Pages of these origins, such as `https://partner.example`.
    Listed(Vec<String>),
    All,
}

impl UpstreamConfig {
    /// One request asks for so many connections at most, as long as none comes about.
    pub const TRIES: u32 = 4;

    /// How long it may take until it is known whether a connection to any server comes about.
    pub fn connecting(&self) -> Duration {
        // A name may have several addresses.
        let is_one =
            matches!(self.servers.as_slice(), [only] if only.host.parse::<IpAddr>().is_ok());
        if is_one {
            self.connect_timeout
        } else {
            self.connect_timeout.saturating_mul(Self::TRIES)
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct StoreConfig {
    pub url: StoreUrl,
    /// The secret that all keys are derived from; at least 32 bytes.
    pub secret: Secret,
    /// What each key in Redis begins with.
    pub key_prefix: String,
    /// How long one command may take, its copies included.
    pub timeout: Duration,
    /// How many of Redis's replicas must have what is not to be lost before it is told as done; 0 waits for none.
    pub replicas: u32,
    /// How long signed-in brokers go on working while the store cannot answer.
    pub outage_grace: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// `redis://`, `redis+sentinel://`, `redis+cluster://`, and the same with `rediss`: with the passwords of keys of their own filled in.
    Redis(RedisServers),
    File(PathBuf),
    Memory,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DirectoryConfig {
    pub file: PathBuf,
    /// How often it is looked at for changes.
    pub poll: Duration,
    /// Where it says whose certificate is whose, if certificates are accepted.
    pub certificates: Option<CertificateColumns>,
}

/// The directory's columns that say which certificate stands for a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateColumns {
    /// What the certificate says in the field of `certificate.identity`: `certificate.column`.
    pub name: String,
    /// The name of the issuer: `certificate.issuer_column`.
    pub issuer: Option<String>,
    /// The SHA-256 of the public key, where the cell is not empty: `certificate.key_column`.
    pub key: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// The address to listen on, and what the host is like to TLS.
    pub https: Https,
    /// The address that brokers with a certificate type.
    pub public_url: PublicUrl,
    /// PEM file with the issuers that are trusted.
    pub ca_file: PathBuf,
    /// Files with lists of revoked certificates; without any, none is known to be revoked.
    pub crl_files: Vec<PathBuf>,
    /// The field that names the holder.
    pub identity: Identity,
    /// Where the directory says whose they are.
    pub columns: CertificateColumns,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PortalConfig {
    /// What is asked who is signed in.
    pub check_url: String,
    /// PEM file with certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The portal's cookies: what it is asked about.
    pub cookies: Vec<String>,
    /// The field of its answer that names the broker, in lower case.
    pub vtnr_header: String,
    /// How long one question may take.
    pub timeout: Duration,
    /// How long a yes counts.
    pub cache: Duration,
    /// So many are remembered.
    pub cache_size: usize,
    pub connections: usize,
    /// Where one signs in there; `{return_to}` in it stands for where the broker wants to go.
    pub sign_in_url: Option<String>,
    /// Where one signs out there.
    pub sign_out_url: Option<String>,
    /// Paths of the portal: a request below one of them needs no sign-in.
    pub paths: Vec<String>,
    /// The server that has these paths, and whether it speaks TLS; the calculator's if there is none.
    pub server: Option<(bool, Server)>,
}

impl PortalConfig {
    /// The portal's server as the calculator's are described: with the same patience, and nobody named to it.
    pub fn as_upstream(&self, calculator: &UpstreamConfig) -> Option<UpstreamConfig> {
        let (tls, server) = self.server.clone()?;
        let routes = Vec::new();
        let affinity_cookies = Vec::new();
        let public_paths = Vec::new();
        let health_path = None;
        Some(UpstreamConfig {
            tls,
            servers: vec![server],
            routes,
            affinity_cookies,
            public_paths,
            health_path,
            ..calculator.clone()
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct MailConfig {
    /// The mail servers, in the order in which they are tried; at least one.
    pub relays: Vec<MailRelay>,
    /// PEM file with certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// `Name <address>` of the sender.
    pub from: String,
    /// Where answers go, `Name <address>`.
    pub reply_to: Option<String>,
    /// How long one command of the conversation may take.
    pub timeout: Duration,
    pub connections: usize,
}

/// A mail server that takes our mails and sees them on.
#[derive(Clone, Debug, PartialEq)]
pub struct MailRelay {
    pub host: String,
    pub port: u16,
    /// How the connection is protected.
    pub protection: MailProtection,
    /// User name and password, where the server wants them.
    pub credentials: Option<(String, Secret)>,
}

/// How mails travel to the mail server.
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
    /// The path that all pages lie under; begins and ends with `/`.
    pub prefix: String,
    pub alphabet: Alphabet,
    /// Lives of TANs and attempts.
    pub tan: TanLimits,
    /// Wrong answers that an attempt survives.
    pub tries: u8,
    pub trust: Duration,
    /// Whether brokers may sign in without e-mail.
    pub without_email: bool,
    /// What a stranger learns.
    pub enumeration: Enumeration,
    /// The other ways in.
    pub doors: LoginMethods,
    /// Origins of other sites that may post forms into the calculator, in lower case and without a usual port.
    pub entry_origins: Vec<String>,
    /// IANA name of the time zone that pages and mails give times in.
    pub time_zone: String,
}

/// The ways in besides the broker number, those that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginMethods {
    /// User key and password: `[password]`, or `login.password_url`.
    pub password: Option<LoginMethod>,
    /// A client certificate: `[certificate]`, or `login.certificate_url`.
    pub certificate: Option<LoginMethod>,
    /// The insurer's portal, if `portal.sign_in_url` is given.
    pub portal: Option<LoginMethod>,
    /// Where one signs out there: `portal.sign_out_url`.
    pub portal_sign_out: Option<String>,
}

/// Where a way in begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginMethod {
    /// A page of ours, by its name under the prefix.
    Page(&'static str),
    /// Another host of ours, by scheme and authority, which has the calculator too.
    Host(String),
    Elsewhere(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordConfig {
    /// The users and the hashes of their passwords.
    pub file: PathBuf,
    /// What hashing a password is to cost.
    pub cost: HashCost,
    /// How many passwords are hashed at once.
    pub hashers: NonZero<usize>,
    /// How many may wait for that.
    pub queue: usize,
}

/// What hashing a password costs whoever does it, with argon2id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HashCost {
    pub memory: u32,
    /// How often all of it is gone through.
    pub iterations: u32,
    /// Into how many parts it is divided.
    pub lanes: u32,
}

impl HashCost {
    /// What a guess costs: all memory, as often as it is gone through.
    pub fn work(&self) -> u64 {
        u64::from(self.memory) * u64::from(self.iterations)
    }

    /// What a hash in the users file may cost at most: else whoever writes one there could bring the gateway to a stop.
    pub const MOST: Self = Self {
        memory: 1_024 * 1_024,
        iterations: 64,
        lanes: 16,
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enumeration {
    /// The pages say which of the two was wrong.
    Open,
    /// Every well-formed sign-in gets the same answer.
    Neutral,
}

#[derive(Clone, Debug)]
pub struct Brand {
    pub name: String,
    /// What brokers call the calculator, in the title and in mails.
    pub product: String,
    /// Colour of bar, button and links, `#rrggbb`.
    pub color: String,
    /// Colour of text upon it.
    pub on_color: String,
    /// SVG or PNG file for the bar.
    pub logo: Option<PathBuf>,
    /// Address of the Impressum.
    pub imprint_url: String,
    /// Address of the Datenschutz page.
    pub privacy_url: String,
    /// Telephone number of the support, as brokers are to read it.
    pub support_phone: Option<String>,
    /// E-mail address of the support.
    pub support_email: Option<String>,
    /// Folder with templates that take the place of the built-in ones of the same name.
    pub templates: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shutdown {
    /// How long clients are still let in once the gateway says that it is not ready any more.
    pub delay: Duration,
    /// How long requests under way may take afterwards.
    pub grace: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// One JSON object a line, or text.
    pub json: bool,
    /// Filter such as `info` or `vtnr_gateway=debug,info`.
    pub filter: String,
    /// Whether each request is logged.
    pub access: bool,
}
