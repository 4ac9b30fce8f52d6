//! A real redis-server.

use super::ports;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A redis-server of its own, stopped when dropped.
pub struct Redis {
    child: Child,
    port: u16,
    folder: TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    secure: Option<u16>,
}

/// A certificate for `localhost` and 127.0.0.1, which servers that speak TLS trust among themselves.
#[derive(Clone)]
pub struct Certificate {
    folder: Arc<TempDir>,
}

impl Certificate {
    /// A new one.
    pub fn make() -> Self {
        let folder = Arc::new(TempDir::new().expect("a folder"));
        let certified =
            rcgen::generate_simple_self_signed(["localhost", "127.0.0.1"].map(str::to_owned))
                .expect("a certificate");
        std::fs::write(folder.path().join("redis.pem"), certified.cert.pem()).expect("written");
        std::fs::write(
            folder.path().join("redis.key"),
            certified.signing_key.serialize_pem(),
        )
        .expect("written");
        Self { folder }
    }

    /// The file that others are to trust.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("redis.pem")
    }

    /// What Redis is told, each a key and its value, so that it speaks TLS on this port, and with its like nothing else.
    pub fn settings(&self, port: u16) -> Vec<(&'static str, String)> {
        let path = |name| {
            self.folder
                .path()
                .join(name)
                .to_str()
                .expect("UTF-8")
                .to_owned()
        };
        vec![
            ("tls-port", port.to_string()),
            ("tls-cert-file", path("redis.pem")),
            ("tls-key-file", path("redis.key")),
            ("tls-ca-cert-file", path("redis.pem")),
            ("tls-auth-clients", "no".to_owned()),
            ("tls-replication", "yes".to_owned()),
        ]
    }
}

/// What moves a process's clock.
pub const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

impl Redis {
    /// Starts one.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with further arguments, such as `["--requirepass", "geheim"]`.
    pub fn with(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        Self::spawned(TempDir::new().expect("a folder"), arguments, Vec::new())
    }

    /// Starts one whose clock goes by this file, which holds by how much it is wrong, such as `+10m`.
    pub fn with_clock(file: &Path) -> Self {
        let file = file.to_str().expect("UTF-8");
        // Debian's redis-server allocates by jemalloc, which asks for the time before libfaketime can tell it; so libc does.
        let preload = format!("{FAKETIME} libc.so.6");
        let environment = [
            ("LD_PRELOAD", preload.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_NO_CACHE", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ];
        let environment = environment
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        Self::spawned(TempDir::new().expect("a folder"), Vec::new(), environment)
    }

    /// Starts one that also speaks TLS, where there is a certificate, and with its like nothing else.
    pub fn perhaps_secure(arguments: &[&str], certificate: Option<&Certificate>) -> Self {
        let Some(certificate) = certificate else {
            return Self::with(arguments);
        };
        let port = ports::free();
        let settings = certificate
            .settings(port)
            .into_iter()
            .flat_map(|(key, value)| [format!("--{key}"), value]);
        let arguments: Vec<String> = arguments
            .iter()
            .map(ToString::to_string)
            .chain(settings)
            .collect();
        let mut redis = Self::spawned(TempDir::new().expect("a folder"), arguments, Vec::new());
        redis.secure = Some(port);
        redis
    }

    /// The same of a sentinel.
    pub fn perhaps_secure_sentinel(configuration: &str, certificate: Option<&Certificate>) -> Self {
        let Some(certificate) = certificate else {
            return Self::sentinel(configuration);
        };
        let port = ports::free();
        let settings: String = certificate
            .settings(port)
            .into_iter()
            .map(|(key, value)| format!("{key} {value}\n"))
            .collect();
        let mut sentinel = Self::sentinel(&format!("{settings}{configuration}"));
        sentinel.secure = Some(port);
        sentinel
    }

    /// Starts a sentinel with these lines of configuration.
    pub fn sentinel(configuration: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, configuration).expect("written");
        Self::spawned(
            folder,
            vec![
                file.to_str().expect("UTF-8").to_owned(),
                "--sentinel".to_owned(),
            ],
            Vec::new(),
        )
    }

    fn spawned(
        folder: TempDir,
        arguments: Vec<String>,
        environment: Vec<(String, String)>,
    ) -> Self {
        let port = ports::free();
        let child = spawn(port, folder.path().into(), &arguments, &environment);
        let redis = Self {
            child,
            port,
            folder,
            arguments,
            environment,
            secure: None,
        };
        redis.wait();
        redis
    }

    /// Starts one that ends when this process does.
    pub fn dying_with_us() -> Self {
        let redis = Self::start();
        redis.die_with_us();
        redis
    }

    /// Sees to it that it ends when this process does, however that ends: a shell watches over it, and clears up after it.
    #[expect(
        clippy::zombie_processes,
        reason = "the shell outlives this process, which is what it is for"
    )]
    pub fn die_with_us(&self) {
        let watch = format!(
            "while kill -0 {} 2>/dev/null; do sleep 0.2; done; kill -9 {}",
            std::process::id(),
            self.child.id()
        );
        Command::new("sh")
            .args(["-c", &format!(r#"{watch}; rm -rf "$0""#)])
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh runs");
    }

    /// An administrator's connection.
    pub fn admin(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).expect("a sound URL");
        client
            .get_connection_with_timeout(Duration::from_secs(5))
            .expect("redis answers")
    }

    /// What a command gives.
    pub fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        redis::cmd(words[0])
            .arg(&words[1..])
            .query(&mut self.admin())
            .unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Whether it is a `master` or a `slave`, by its own account; neither while it lets nobody ask, as when it is demoted.
    pub fn is(&self, role: &str) -> bool {
        let client = redis::Client::open(self.url()).expect("a sound URL");
        let asked = client.get_connection_with_timeout(Duration::from_secs(5));
        let answer = asked.and_then(|mut connection| {
            redis::cmd("ROLE").query::<Vec<redis::Value>>(&mut connection)
        });
        answer.is_ok_and(|answer| answer.first() == Some(&redis::Value::BulkString(role.into())))
    }

    /// Its address for `store.url`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port on which gateways and its like reach it: the one for TLS, if it speaks that.
    pub fn reached_at(&self) -> u16 {
        self.secure.unwrap_or(self.port)
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it would write its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("redis.log")).unwrap_or_default()
    }

    /// Kills it, as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Starts it again, empty, on the same port.
    pub fn restart(&mut self) {
        self.child = spawn(
            self.port,
            self.folder.path().into(),
            &self.arguments,
            &self.environment,
        );
        self.wait();
    }

    /// Sends it a signal: `STOP`, `CONT`.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([format!("-{signal}"), self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Sends one command in the inline protocol and gives the raw answer, as far as it has come within a moment.
    pub fn raw(&self, command: &str) -> Vec<u8> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        connection
            .set_read_timeout(Some(Duration::from_millis(300)))
            .expect("a timeout");
        write!(connection, "{command}\r\n").expect("it takes commands");
        let (mut answer, mut buffer) = (Vec::new(), [0; 65_536]);
        while let Ok(read) = connection.read(&mut buffer) {
            if read == 0 {
                break;
            }
            answer.extend_from_slice(&buffer[..read]);
        }
        answer
    }

    fn wait(&self) {
        let begun = Instant::now();
        while !self.answers() {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "redis-server does not answer:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn answers(&self) -> bool {
        let Ok(mut connection) = TcpStream::connect(("127.0.0.1", self.port)) else {
            return false;
        };
        let mut answer = [0; 64];
        connection
            .set_read_timeout(Some(Duration::from_secs(1)))
            .is_ok()
            && connection.write_all(b"PING\r\n").is_ok()
            && connection.read(&mut answer).is_ok_and(|read| {
                answer[..read].starts_with(b"+PONG") || answer[..read].starts_with(b"-NOAUTH")
            })
    }
}

fn spawn(
    port: u16,
    folder: PathBuf,
    arguments: &[String],
    environment: &[(String, String)],
) -> Child {
    // A file of configuration must come first.
    let (first, arguments) = arguments.split_at(usize::from(
        arguments
            .first()
            .is_some_and(|first| !first.starts_with("--")),
    ));
    Command::new("redis-server")
        .args(first)
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--logfile",
            "redis.log",
        ])
        .arg("--dir")
        .arg(folder)
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed (Debian: redis-server)")
}

impl Drop for Redis {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- redis-server on port {} wrote:\n{}---",
                self.port,
                self.log()
            );
        }
        // It may be dead already, or stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
