//! curl, for what broker software that is no browser does.

use super::authority::Identity;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// A client that asks one host.
#[derive(Clone)]
pub struct Curl {
    base: String,
    identity: Option<Identity>,
    words: Vec<String>,
}

/// What it got.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// `1.1` or `2`.
    pub version: String,
    pub head: String,
    pub body: String,
}

impl Curl {
    pub fn at(base: &str) -> Self {
        Self {
            base: base.to_owned(),
            identity: None,
            words: Vec::new(),
        }
    }

    /// With this certificate.
    pub fn with(&self, identity: &Identity) -> Self {
        Self {
            identity: Some(identity.clone()),
            ..self.clone()
        }
    }

    /// With further words.
    pub fn and(&self, words: &[&str]) -> Self {
        let words = self
            .words
            .iter()
            .cloned()
            .chain(words.iter().map(ToString::to_string))
            .collect();
        Self {
            words,
            ..self.clone()
        }
    }

    /// As a browser that goes to a page.
    pub fn navigating(&self) -> Self {
        self.and(&["-H", "Accept: text/html", "-H", "Sec-Fetch-Mode: navigate"])
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.try_get(path)
            .await
            .unwrap_or_else(|code| panic!("curl ended with {code:?}"))
    }

    /// The answer, or curl's exit code.
    pub async fn try_get(&self, path: &str) -> Result<Answer, Option<i32>> {
        let mut command = Command::new("curl");
        command.args([
            "-sk",
            "--noproxy",
            "*",
            "--max-time",
            "20",
            "-D",
            "-",
            "-w",
            "\n%{http_version}",
        ]);
        // The oldest kinds of keys are not for curl to refuse.
        command.env("OPENSSL_CONF", lenient());
        if let Some(Identity { cert, key }) = &self.identity {
            command.arg("--cert").arg(cert).arg("--key").arg(key);
        }
        command
            .args(&self.words)
            .arg(format!("{}{path}", self.base));
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .expect("not broken off")
            .expect("curl runs");
        if !output.status.success() {
            return Err(output.status.code());
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (text, version) = text.rsplit_once('\n').expect("a version");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head
            .split_whitespace()
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status");
        Ok(Answer {
            status,
            version: version.to_owned(),
            head: head.to_owned(),
            body: body.to_owned(),
        })
    }
}

impl Answer {
    #[track_caller]
    pub fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        self
    }

    #[track_caller]
    pub fn shows(&self, text: &str) -> &Self {
        assert!(self.body.contains(text), "no {text:?} in\n{}", self.body);
        self
    }

    #[track_caller]
    pub fn hides(&self, text: &str) -> &Self {
        assert!(!self.body.contains(text), "{text:?} in\n{}", self.body);
        self
    }

    /// A header field.
    pub fn field(&self, name: &str) -> Option<&str> {
        let is_it = |line: &&str| {
            line.split(':')
                .next()
                .is_some_and(|found| found.eq_ignore_ascii_case(name))
        };
        self.head
            .lines()
            .find(is_it)
            .and_then(|line| line.split_once(": "))
            .map(|(_, value)| value)
    }

    /// The cookies that it sets, as a client sends them.
    pub fn cookies(&self) -> String {
        let lines = self
            .head
            .lines()
            .filter(|line| line.to_ascii_lowercase().starts_with("set-cookie:"));
        let pairs = lines.filter_map(|line| line.split_once(": ")?.1.split(';').next());
        pairs.collect::<Vec<_>>().join("; ")
    }
}

/// Settings of OpenSSL with which it uses whatever it is given.
fn lenient() -> &'static Path {
    static FILE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, file) = FILE.get_or_init(|| {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("openssl.cnf");
        let text = "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = lenient\n[lenient]\nCipherString = DEFAULT@SECLEVEL=0\n";
        std::fs::write(&file, text).expect("written");
        (folder, file)
    });
    file
}
