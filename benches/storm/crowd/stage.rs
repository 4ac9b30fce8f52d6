//! Everything that a crowd meets, on loopback.

use super::browser::{Browser, Purpose};
use super::post_office::PostOffice;
use super::process::Process;
use super::redis_server::Redis;
use super::{brokers, calculator, ports};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The operator's secret.
pub const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
/// What names in Redis begin with.
pub const KEY_PREFIX: &str = "vtnr:";
/// Longer than a gateway needs to read a million brokers.
const START: Duration = Duration::from_secs(60);

/// What to start.
pub struct Setting {
    /// The gateway's program.
    pub program: PathBuf,
    /// How many brokers the directory has.
    pub brokers: u32,
    /// How long the mail server takes over a mail.
    pub mail_takes: Duration,
}

/// A gateway with all that it needs. Ends when dropped.
pub struct Stage {
    pub address: SocketAddr,
    pub office: PostOffice,
    pub redis: Redis,
    admin: SocketAddr,
    gateway: Child,
    folder: TempDir,
    _servers: JoinSet<()>,
}

impl Stage {
    /// Starts it all, and waits until brokers can sign in.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn start(setting: &Setting) -> Result<Self> {
        let (folder, redis, office, mut servers) = (
            TempDir::new()?,
            Redis::start(),
            PostOffice::default(),
            JoinSet::new(),
        );
        let mails = TcpListener::bind("127.0.0.1:0").await?;
        let application = TcpListener::bind("127.0.0.1:0").await?;
        let (mail, upstream) = (mails.local_addr()?, application.local_addr()?);
        servers.spawn(office.clone().serve(mails, setting.mail_takes));
        servers.spawn(calculator::serve(application));
        let [address, admin] =
            [ports::free(), ports::free()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        fs::write(
            folder.path().join("brokers.csv"),
            brokers::directory(setting.brokers),
        )?;
        fs::write(folder.path().join("secret"), SECRET)?;
        private(&folder.path().join("secret"))?;
        let config = format!(
            "[listen]\nhttp = \"{address}\"\npublic_url = \"http://{address}\"\n\
             [upstream]\nurl = \"http://{upstream}\"\nvtnr_header = \"X-VTNR\"\nlevel_header = \"X-VTNR-Level\"\n\
             [store]\nurl = \"{}\"\nkey_prefix = \"{KEY_PREFIX}\"\nsecret_file = \"secret\"\n\
             [directory]\nfile = \"brokers.csv\"\n\
             [mail]\nurl = \"smtp://{mail}\"\nfrom = \"Tarifrechner <noreply@insurer.example>\"\n\
             [submission]\npaths = [\"/antrag/versand\"]\n[admin]\nlisten = \"{admin}\"\n",
            redis.url()
        );
        fs::write(folder.path().join("gateway.toml"), config)?;
        let log = fs::File::create(folder.path().join("gateway.log"))?;
        let gateway = Command::new(&setting.program)
            .args(["serve", "--config"])
            .arg(folder.path().join("gateway.toml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} does not start", setting.program.display()))?;
        let stage = Self {
            address,
            office,
            redis,
            admin,
            gateway,
            folder,
            _servers: servers,
        };
        stage.ready().await?;
        Ok(stage)
    }

    /// The gateway's process.
    pub fn gateway(&self) -> Process {
        Process(self.gateway.id())
    }

    /// Redis's process.
    pub fn redis(&self) -> Process {
        Process(self.redis.pid())
    }

    /// Replaces the directory file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_directory(&self, text: &str) -> Result<()> {
        let new = self.folder.path().join("brokers.new");
        fs::write(&new, text)?;
        Ok(fs::rename(new, self.folder.path().join("brokers.csv"))?)
    }

    /// The sum of a metric over all its labels.
    ///
    /// # Errors
    /// The gateway does not tell, or has no such metric.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let answer = Browser::new(self.admin, 0)
            .get("/metrics", Purpose::Asset)
            .await?;
        let is_it = |line: &&str| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        let value = |line: &str| {
            line.rsplit(' ')
                .next()
                .and_then(|value| value.parse::<f64>().ok())
        };
        let text = answer.text();
        // A counter by labels has no line before it counts for the first time.
        ensure!(
            text.contains(&format!("# TYPE {name} ")),
            "there is no metric {name}"
        );
        Ok(text.lines().filter(is_it).filter_map(value).sum())
    }

    async fn ready(&self) -> Result<()> {
        let begun = Instant::now();
        while !self.is_ready().await {
            let log =
                || fs::read_to_string(self.folder.path().join("gateway.log")).unwrap_or_default();
            ensure!(
                begun.elapsed() < START,
                "the gateway does not become ready:\n{}",
                log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    async fn is_ready(&self) -> bool {
        Browser::new(self.admin, 0)
            .get("/readyz", Purpose::Asset)
            .await
            .is_ok_and(|answer| answer.status == 200)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.gateway.kill();
        let _ = self.gateway.wait();
    }
}

fn private(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(
        file,
        fs::Permissions::from_mode(0o600),
    )?)
}
