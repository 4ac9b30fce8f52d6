//! A users file, for gateways that take user keys and passwords.

use super::Builder;
use super::browser::{Answer, Browser, page};
use super::world::{ADA, BEN, World};
use domain::vtnr::Vtnr;
use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use vtnr_gateway::clock::Rng;
use vtnr_gateway::config::HashCost;
use vtnr_gateway::identity::users::{Hash, Password, Put, User, UserKey, put, remove};

/// The page that asks for user key and password.
pub const PAGE: &str = "/ui/login/de/benutzerschluessel";

/// User keys of every such world, with their passwords: Ada's and Ben's.
pub const ADA_KEY: (&str, &str) = ("Löwe-7", "Ein langer Satz über Löwen");
pub const BEN_KEY: (&str, &str) = ("ben", " correct horse battery staple ");
/// That nobody has.
pub const NO_KEY: &str = "Wolf-7";

/// Cheap, since tests are many.
pub const COST: HashCost = HashCost {
    memory: 64,
    iterations: 1,
    lanes: 1,
};

/// A file with users.
pub struct UsersFile {
    folder: TempDir,
}

impl UsersFile {
    /// Ada and Ben.
    pub fn of_two() -> Self {
        let file = Self {
            folder: TempDir::new().expect("a folder"),
        };
        file.add(ADA_KEY, ADA.0, COST);
        file.add(BEN_KEY, BEN.0, COST);
        file
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("users.csv")
    }

    /// What is in it.
    pub fn text(&self) -> String {
        fs::read_to_string(self.path()).expect("it is there")
    }

    /// Puts another text in its place.
    pub fn replace(&self, text: &str) {
        let new = self.folder.path().join("users.new");
        fs::write(&new, text).expect("written");
        fs::set_permissions(&new, Permissions::from_mode(0o600)).expect("permissions");
        fs::rename(new, self.path()).expect("renamed");
    }

    /// Puts a user in.
    pub fn add(&self, (user, password): (&str, &str), vtnr: &str, cost: HashCost) {
        let password =
            Password::parse(password).unwrap_or_else(|malformed| panic!("{malformed:?}"));
        let hash = Hash::of(&password, cost, Rng).expect("hashes");
        let vtnr = Vtnr::parse(vtnr).expect("well-formed");
        let done = put(
            &self.path(),
            user,
            User { vtnr, hash },
            UserKey::parse(user).expect("a user key"),
            Put::Added,
        );
        done.expect("writes").expect("is new");
    }

    /// Takes a user out.
    pub fn remove(&self, (user, _): (&str, &str)) {
        let key = UserKey::parse(user).expect("a user key");
        remove(&self.path(), &key)
            .expect("writes")
            .expect("was there");
    }

    /// Gateways that take these users.
    pub fn world(&self, cost: HashCost) -> Builder {
        let HashCost {
            memory,
            iterations,
            lanes,
        } = cost;
        World::builder().config(&format!(
            "[password]\nfile = \"{}\"\nmemory = \"{memory}KiB\"\niterations = {iterations}\nlanes = {lanes}\n",
            self.path().display()
        ))
    }
}

impl Browser {
    /// Enters user key and password, for a path to go to afterwards, without following.
    pub async fn enter_password(&self, (user, password): (&str, &str), return_to: &str) -> Answer {
        self.post(
            &page("benutzerschluessel", return_to),
            &[("user", user), ("password", password)],
        )
        .await
    }
}

/// Runs `vtnr-gateway users` with this configuration, and this on its stdin.
pub fn users(config: &Path, arguments: &[&str], stdin: &str) -> Output {
    let (command, rest) = arguments.split_first().expect("a command");
    let mut child = Command::new(env!("CARGO_BIN_EXE_vtnr-gateway"))
        .args(["users", command, "--config"])
        .arg(config)
        .args(rest)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // A command that asks for nothing may be over already.
    let _ = child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(stdin.as_bytes());
    child.wait_with_output().expect("it ends")
}

/// A command on a terminal of its own, which `script` gives it.
pub struct Terminal {
    child: std::process::Child,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Terminal {
    pub fn start(command: &str) -> Self {
        let mut child = Command::new("script")
            .args([
                "--quiet",
                "--return",
                "--flush",
                "--command",
                command,
                "/dev/null",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("script runs");
        let (mut output, shown) = (
            child.stdout.take().expect("a pipe"),
            Arc::new(Mutex::new(Vec::new())),
        );
        let kept = Arc::clone(&shown);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 1_024];
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                kept.lock()
                    .expect("no panic")
                    .extend_from_slice(&buffer[..read]);
            }
        });
        Self {
            child,
            shown,
            reader: Some(reader),
        }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().expect("no panic")).into_owned()
    }

    /// Waits until this was asked for last.
    pub fn waits_for(&self, words: &str) {
        let begun = Instant::now();
        while !self.shown().contains(words) {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{words}: {}",
                self.shown()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Types a line.
    pub fn type_in(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("a pipe");
        input
            .write_all(format!("{line}\n").as_bytes())
            .and_then(|()| input.flush())
            .expect("it reads");
    }

    /// The exit code and all that was shown.
    pub fn ends(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().expect("it ends").code();
        self.reader.take().map(std::thread::JoinHandle::join);
        (code, self.shown())
    }
}
