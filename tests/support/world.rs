//! A world of its own for each test: one or more gateways, a store, a calculator, a postbox.

use super::{Browser, eventually, ports, redis::Redis};
use demo::calculator::Calculator;
use demo::postbox::{Postbox, ReceivedMail};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Brokers of every world, with their addresses on file.
pub const ADA: (&str, &str) = ("60/123/4567", "ada@makler.example");
pub const BEN: (&str, &str) = ("60/123/4568", "ben@makler.example");
pub const NO_EMAIL: &str = "60/123/4569";
pub const UNKNOWN: &str = "60/999/9999";

/// Which store the gateways share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A redis-server that all worlds of this process share, each with keys of its own.
    Redis,
    /// A redis-server for this world alone.
    OwnRedis,
    /// One of the test's own that keeps on disk what it has answered.
    DurableRedis,
    /// Embedded, in memory: for one gateway.
    Memory,
}

/// What a world is to be like.
pub struct Builder {
    store: StoreKind,
    gateways: usize,
    upstream: Option<String>,
    further: String,
    listen: String,
    https: bool,
    brokers: Option<String>,
    trusted: Option<PathBuf>,
    through: Vec<(usize, Vec<String>)>,
    further_of: Vec<(usize, String)>,
}

/// Everything around the gateways, and they.
pub struct World {
    pub gateways: Vec<Gateway>,
    pub calculator: Calculator,
    pub postbox: Postbox,
    pub redis: Option<Arc<Mutex<Redis>>>,
    pub folder: TempDir,
    pub key_prefix: String,
    pub mail_port: u16,
}

/// One gateway process.
pub struct Gateway {
    child: Child,
    pub port: u16,
    pub admin: u16,
    pub https: Option<u16>,
    log: PathBuf,
    config: PathBuf,
    trusted: Option<PathBuf>,
    through: Vec<String>,
}

impl World {
    /// One gateway on the shared Redis.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A world to one's own wishes.
    pub fn builder() -> Builder {
        Builder {
            store: StoreKind::Redis,
            gateways: 1,
            upstream: None,
            further: String::new(),
            listen: String::new(),
            https: false,
            brokers: None,
            trusted: None,
            through: Vec::new(),
            further_of: Vec::new(),
        }
    }

    /// A new browser, before the first gateway.
    pub fn browser(&self) -> Browser {
        Browser::new(&self.base())
    }

    /// The first gateway's address.
    pub fn base(&self) -> String {
        self.gateways[0].base()
    }

    /// A browser that is signed in with a TAN.
    pub async fn signed_in(&self, (vtnr, email): (&str, &str)) -> Browser {
        let (browser, before) = (self.browser(), self.postbox.mails().len());
        browser
            .claim(vtnr, email, "/")
            .await
            .leads_to("/ui/login/de/tan");
        let tan = tan_of(&self.postbox.next(before).await);
        browser.enter_tan(&tan, "/").await.leads_to("/");
        browser
    }

    /// Claims to be this broker on this browser and waits for the TAN that is mailed.
    pub async fn ask(&self, browser: &Browser, (vtnr, email): (&str, &str)) -> String {
        let before = self.postbox.mails().len();
        browser
            .claim(vtnr, email, "/")
            .await
            .leads_to("/ui/login/de/tan");
        tan_of(&self.postbox.next(before).await)
    }

    /// A browser that is signed in without e-mail.
    pub async fn signed_in_without_email(&self) -> Browser {
        let browser = self.browser();
        browser
            .claim(NO_EMAIL, "nobody@makler.example", "/")
            .await
            .leads_to("/ui/login/de/unbekannte-e-mail");
        browser
            .post(
                "/ui/login/de/unbekannte-e-mail",
                &[("action", "without-email")],
            )
            .await
            .leads_to("/");
        browser
    }

    /// A metric's value on the first gateway, by its line's beginning; 0 if there is none.
    pub async fn metric(&self, line: &str) -> f64 {
        value(&self.gateways[0].metrics().await, line).unwrap_or(0.0)
    }

    /// Waits until a metric of the first gateway has this value: some are counted beside what the browser sees.
    pub async fn metric_is(&self, line: &str, value: f64) {
        eventually(&format!("{line} is not {value}"), async || {
            (self.metric(line).await == value).then_some(())
        })
        .await;
    }

    /// Waits until a metric of the first gateway has this value or a greater one.
    pub async fn metric_reaches(&self, line: &str, value: f64) {
        eventually(&format!("{line} is less than {value}"), async || {
            (self.metric(line).await >= value).then_some(())
        })
        .await;
    }

    /// All mails, once the gateways are done with every letter that was asked for up to now. Where letters were withdrawn before they left, or
    /// wait for a mail server that does not take them, this does not come to be.
    pub async fn mails(&self) -> Vec<ReceivedMail> {
        let asked_for = self
            .log()
            .await
            .matches("\"outcome\":\"mail_queued\"")
            .count();
        eventually("letters are in the outbox", async || {
            (self.letters_done().await >= asked_for).then_some(())
        })
        .await;
        self.postbox.mails()
    }

    /// Of how many letters it is settled what became of them.
    async fn letters_done(&self) -> usize {
        let (mut done, outcomes) = (0.0, ["accepted", "decoy", "dropped", "refused"]);
        for gateway in &self.gateways {
            let metrics = gateway.metrics().await;
            let lines = outcomes
                .map(|outcome| format!("vtnr_gateway_mails_total{{outcome=\"{outcome}\"}}"));
            done += lines
                .iter()
                .filter_map(|line| value(&metrics, line))
                .sum::<f64>();
        }
        done as usize
    }

    /// Replaces the directory file.
    pub fn write_brokers(&self, text: &str) {
        let (new, file) = (
            self.folder.path().join("brokers.new"),
            self.folder.path().join("brokers.csv"),
        );
        std::fs::write(&new, text).expect("the file can be written");
        std::fs::rename(new, file).expect("the file can be replaced");
    }
}

/// A metric's value, by its line's beginning.
fn value(metrics: &str, line: &str) -> Option<f64> {
    metrics
        .lines()
        .find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
}

/// The TAN in a mail: alone on its line.
pub fn tan_of(mail: &ReceivedMail) -> String {
    let is_tan = |line: &&str| {
        matches!(line.len(), 6 | 10) && line.bytes().all(|byte| byte.is_ascii_uppercase())
    };
    mail.text
        .lines()
        .map(str::trim)
        .find(is_tan)
        .unwrap_or_else(|| panic!("no TAN in\n{}", mail.text))
        .to_owned()
}

/// A TAN as long as this one, and not it: its first letter is the next one of the alphabet, `n` letters on.
pub fn not(tan: &str, n: usize) -> String {
    const ALPHABET: &str = "BCDFGHJKLMNPQRSTVWXZ";
    let at = ALPHABET.find(&tan[..1]).expect("a letter of TANs") + 1 + n % (ALPHABET.len() - 1);
    format!("{}{}", &ALPHABET[at % ALPHABET.len()..][..1], &tan[1..])
}

impl Builder {
    /// With this store.
    pub fn store(self, store: StoreKind) -> Self {
        Self { store, ..self }
    }

    /// With so many gateways.
    pub fn gateways(self, gateways: usize) -> Self {
        Self { gateways, ..self }
    }

    /// With another application behind it, such as `http://127.0.0.1:1234`.
    pub fn upstream(self, url: &str) -> Self {
        Self {
            upstream: Some(url.to_owned()),
            ..self
        }
    }

    /// With further sections of configuration, such as `[session]\nidle = "2s"`. Keys of sections that every world has come by [`Builder::listen`].
    pub fn config(self, further: &str) -> Self {
        Self {
            further: format!("{}{further}\n", self.further),
            ..self
        }
    }

    /// With further sections for the gateway of this number alone.
    pub fn config_of(mut self, gateway: usize, further: &str) -> Self {
        self.further_of.push((gateway, further.to_owned()));
        self
    }

    /// With further keys in `[listen]`.
    pub fn listen(self, further: &str) -> Self {
        Self {
            listen: format!("{}{further}\n", self.listen),
            ..self
        }
    }

    /// With an https listener as well (a self-signed certificate for localhost).
    pub fn https(self) -> Self {
        Self {
            https: true,
            ..self
        }
    }

    /// With other brokers, or more columns.
    pub fn brokers(self, text: &str) -> Self {
        Self {
            brokers: Some(text.to_owned()),
            ..self
        }
    }

    /// With a certificate that the gateways' machine trusts.
    pub fn trusting(self, certificate: PathBuf) -> Self {
        Self {
            trusted: Some(certificate),
            ..self
        }
    }

    /// With gateways that look after their files once an hour.
    pub fn slow_to_look(self) -> Self {
        self.config("[directory]\npoll = \"1h\"")
    }

    /// With the gateway of this number started by another program, such as `["env", "NAME=value"]`.
    pub fn through(mut self, gateway: usize, program: &[&str]) -> Self {
        self.through
            .push((gateway, program.iter().map(ToString::to_string).collect()));
        self
    }

    /// Starts it, and waits until it is ready.
    pub async fn start(self) -> World {
        let folder = TempDir::new().expect("a folder");
        let (calculator, postbox) = (Calculator::new("/ui/login/de/abmelden"), Postbox::new());
        let mails = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mail_port = mails.local_addr().expect("bound").port();
        tokio::spawn(postbox.clone().serve_smtp(mails));
        let application = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let upstream = self
            .upstream
            .clone()
            .unwrap_or_else(|| format!("http://{}", application.local_addr().expect("bound")));
        tokio::spawn(calculator.clone().serve(application));
        let brokers = format!(
            "vtnr;email\n{};{}\n{};{}\n{NO_EMAIL};\n",
            ADA.0, ADA.1, BEN.0, BEN.1
        );
        std::fs::write(
            folder.path().join("brokers.csv"),
            self.brokers.as_ref().unwrap_or(&brokers),
        )
        .expect("written");
        std::fs::write(
            folder.path().join("secret"),
            "0123456789abcdef0123456789abcdef",
        )
        .expect("written");
        private(&folder.path().join("secret"));
        if self.https {
            write_certificate(&folder);
        }
        let redis = match self.store {
            StoreKind::Redis => Some(shared_redis()),
            StoreKind::OwnRedis => Some(Arc::new(Mutex::new(Redis::start()))),
            StoreKind::DurableRedis => Some(Arc::new(Mutex::new(Redis::with(&[
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
            ])))),
            StoreKind::Memory => None,
        };
        let key_prefix = format!("test-{}:", ports::free());
        let mut world = World {
            gateways: Vec::new(),
            calculator,
            postbox,
            redis,
            folder,
            key_prefix,
            mail_port,
        };
        for number in 0..self.gateways {
            let gateway = self.spawn(&world, number, &upstream);
            world.gateways.push(gateway);
        }
        for gateway in &world.gateways {
            gateway.ready().await;
        }
        world
    }

    fn spawn(&self, world: &World, number: usize, upstream: &str) -> Gateway {
        let (port, admin, https) = (ports::free(), ports::free(), self.https.then(ports::free));
        let folder = world.folder.path();
        let store = world.redis.as_ref().map_or_else(
            || "memory:".to_owned(),
            |redis| redis.lock().expect("no panic").url(),
        );
        let tls = https.map_or_else(String::new, |https| {
            format!("https = \"127.0.0.1:{https}\"\n[listen.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n")
        });
        let public = https.map_or_else(
            || format!("http://127.0.0.1:{port}"),
            |https| format!("https://localhost:{https}"),
        );
        let hosts = if self.https {
            format!("hosts = [\"127.0.0.1:{port}\"]\n")
        } else {
            String::new()
        };
        let text = format!(
            "{}\n[listen]\nhttp = \"127.0.0.1:{port}\"\npublic_url = \"{public}\"\n{}{hosts}{tls}\n[upstream]\nurl = \"{upstream}\"\nvtnr_header = \"X-VTNR\"\nlevel_header = \"X-VTNR-Level\"\n\
             [store]\nurl = \"{store}\"\nkey_prefix = \"{}\"\nsecret_file = \"secret\"\n[directory]\nfile = \"brokers.csv\"\npoll = \"100ms\"\n\
             [mail]\nurl = \"smtp://127.0.0.1:{}\"\nfrom = \"Tarifrechner <noreply@insurer.example>\"\n[submission]\npaths = [\"/antrag/versand\"]\n\
             [admin]\nlisten = \"127.0.0.1:{admin}\"\n[log]\nfilter = \"trace\"\n",
            "", self.listen, world.key_prefix, world.mail_port
        );
        let further_of = self
            .further_of
            .iter()
            .filter(|(gateway, _)| *gateway == number);
        let text = further_of.fold(merge(&text, &self.further), |text, (_, further)| {
            merge(&text, further)
        });
        let (config, log) = (
            folder.join(format!("gateway-{number}.toml")),
            folder.join(format!("gateway-{number}.log")),
        );
        std::fs::write(&config, text).expect("written");
        let trusted = self.trusted.clone();
        let through = self
            .through
            .iter()
            .find(|(gateway, _)| *gateway == number)
            .map(|(_, program)| program.clone());
        let through = through.unwrap_or_default();
        let child = start(&config, &log, trusted.as_ref(), &through);
        Gateway {
            child,
            port,
            admin,
            https,
            log,
            config,
            trusted,
            through,
        }
    }
}

/// Puts further keys into sections that are there already, and appends the others.
fn merge(base: &str, further: &str) -> String {
    let mut base: toml::Table = base.parse().expect("a configuration");
    let further: toml::Table = further.parse().expect("further configuration");
    for (section, keys) in further {
        match (
            base.get_mut(&section).and_then(toml::Value::as_table_mut),
            keys,
        ) {
            (Some(there), toml::Value::Table(keys)) => there.extend(keys),
            (_, keys) => {
                base.insert(section, keys);
            }
        }
    }
    base.to_string()
}

fn start(config: &PathBuf, log: &PathBuf, trusted: Option<&PathBuf>, through: &[String]) -> Child {
    start_with(config, log, trusted, through, &[])
}

fn start_with(
    config: &PathBuf,
    log: &PathBuf,
    trusted: Option<&PathBuf>,
    through: &[String],
    further: &[&str],
) -> Child {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .expect("a log");
    let mut words = through.iter().map(String::as_str).chain([
        env!("CARGO_BIN_EXE_vtnr-gateway"),
        "serve",
        "--config",
    ]);
    Command::new(words.next().expect("a program"))
        .args(words)
        .arg(config)
        .args(further)
        .envs(trusted.map(|file| ("SSL_CERT_FILE", file)))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the gateway starts")
}

fn shared_redis() -> Arc<Mutex<Redis>> {
    static SHARED: OnceLock<Arc<Mutex<Redis>>> = OnceLock::new();
    let redis = SHARED.get_or_init(|| {
        // Statics are never dropped; the server goes when this process does.
        Arc::new(Mutex::new(Redis::dying_with_us()))
    });
    Arc::clone(redis)
}

/// Nobody but the owner may read it.
pub fn private(file: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("permissions");
}

fn write_certificate(folder: &TempDir) {
    let certified =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(folder.path().join("cert.pem"), certified.cert.pem()).expect("written");
    std::fs::write(
        folder.path().join("key.pem"),
        certified.signing_key.serialize_pem(),
    )
    .expect("written");
    private(&folder.path().join("key.pem"));
}

impl Gateway {
    /// Its address.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The lines that are in its log by now; more may be on its way.
    pub(super) fn log_so_far(&self) -> String {
        let written = std::fs::read(&self.log).unwrap_or_default();
        // The last line may be half written.
        let lines = written
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        String::from_utf8_lossy(&written[..lines]).into_owned()
    }

    /// What its admin listener shows of its metrics.
    pub async fn metrics(&self) -> String {
        let url = format!("http://127.0.0.1:{}/metrics", self.admin);
        Browser::new(&url).open(&url).await.body
    }

    /// Its configuration file.
    pub fn config(&self) -> &std::path::Path {
        &self.config
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says that it can sign people in.
    pub async fn ready(&self) {
        let url = format!("http://127.0.0.1:{}/readyz", self.admin);
        let client = super::browser::client();
        eventually(
            &format!("the gateway is not ready\n{}", self.log_so_far()),
            async || {
                client
                    .get(&url)
                    .send()
                    .await
                    .ok()
                    .filter(|answer| answer.status().is_success())
                    .map(|_| ())
            },
        )
        .await;
    }

    /// Whether it says that it can sign people in: 200 or 503; 0 if it says nothing.
    pub async fn readiness(&self) -> u16 {
        let url = format!("http://127.0.0.1:{}/readyz", self.admin);
        super::browser::client()
            .get(&url)
            .send()
            .await
            .map_or(0, |answer| answer.status().as_u16())
    }

    /// What it says of itself: the body of `/readyz`.
    pub async fn says(&self) -> String {
        let url = format!("http://127.0.0.1:{}/readyz", self.admin);
        let answer = super::browser::client()
            .get(&url)
            .send()
            .await
            .expect("an answer");
        answer.text().await.expect("text")
    }

    /// Sends it a signal: `TERM`, `STOP`.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([format!("-{signal}"), self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for its end.
    pub async fn end(&mut self) -> Option<i32> {
        let (child, begun) = (&mut self.child, Instant::now());
        // A hand-over to a mail server that hangs is waited for, for as long as the grace lasts.
        while begun.elapsed() < ENDS_WITHIN {
            if let Some(status) = child.try_wait().expect("a child") {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the gateway does not end within {ENDS_WITHIN:?}")
    }

    /// Kills it, as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Starts another process that takes its place, with this configuration or its own; gives the former one's exit code once it has ended.
    pub async fn take_over(&mut self, config: Option<&std::path::Path>) -> Option<i32> {
        let config = config.map_or_else(|| self.config.clone(), std::path::Path::to_path_buf);
        let mut successor = start_with(
            &config,
            &self.log,
            self.trusted.as_ref(),
            &self.through,
            &["--takeover"],
        );
        let former = &mut self.child;
        let ended = eventually("one of the two ends", async || {
            let (former, successor) = (
                former.try_wait().expect("a child"),
                successor.try_wait().expect("a child"),
            );
            former
                .map(|code| (true, code))
                .or(successor.map(|code| (false, code)))
        })
        .await;
        match ended {
            (true, code) => {
                self.child = successor;
                code.code()
            }
            (false, _) => None,
        }
    }

    /// Starts it anew with the same configuration.
    pub async fn restart(&mut self) {
        self.child = start(
            &self.config,
            &self.log,
            self.trusted.as_ref(),
            &self.through,
        );
        self.ready().await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let config = std::fs::read_to_string(&self.config).unwrap_or_default();
            let log = self.log_so_far();
            let from = log.len().saturating_sub(20_000);
            let from = (from..log.len())
                .find(|at| log.is_char_boundary(*at))
                .unwrap_or(0);
            eprintln!("--- configuration\n{config}\n--- log\n{}", &log[from..]);
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for mail in self.postbox.mails() {
                eprintln!("--- mail to {:?}: {}", mail.to, mail.subject);
            }
        }
    }
}

/// Longer than any gateway may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(40);
/// How long a test waits for what must not come.
pub const MOMENT: Duration = Duration::from_millis(300);
