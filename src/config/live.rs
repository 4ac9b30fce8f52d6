//! Which changed keys a reload puts in force, and which need a restart.

use super::read::TakesEffect;
use crate::digest::sha256;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

const SECTIONS: [&str; 4] = ["submission.", "login.", "limits.", "brand."];

/// Changes the path of every page, so that open sign-ins would lose theirs.
const NOT_IN_THEM: &str = "login.prefix";

const KEYS: [&str; 8] = [
    "listen.tls.cert",
    "listen.tls.key",
    "mail.from",
    "mail.reply_to",
    "certificate.cert",
    "certificate.key",
    "certificate.ca_file",
    "certificate.crl_files",
];

pub(super) fn takes_effect(key: &str) -> TakesEffect {
    let in_section = SECTIONS.iter().any(|section| key.starts_with(section));
    if KEYS.contains(&key) || in_section && key != NOT_IN_THEM {
        TakesEffect::Live
    } else {
        TakesEffect::Restart
    }
}

/// Digests of the values of all keys, to find the keys that changed. A secret in a file counts by its content.
#[derive(Clone, Default)]
pub struct KeyDigests(BTreeMap<&'static str, [u8; 32]>);

/// Shows no digest: that of a weak secret would reveal it.
impl fmt::Debug for KeyDigests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigests(…)")
    }
}

impl KeyDigests {
    /// Adds a value to the digest of a key.
    pub(super) fn add(&mut self, key: &'static str, value: &[u8]) {
        let digest = self.0.entry(key).or_default();
        let mut all = digest.to_vec();
        all.extend_from_slice(value);
        *digest = sha256(&all);
    }

    /// The keys that differ and take effect at a restart only.
    pub fn restart_required(&self, next: &Self) -> Vec<&'static str> {
        let keys: BTreeSet<_> = self.0.keys().chain(next.0.keys()).copied().collect();
        let waits = |key: &&str| {
            self.0.get(key) != next.0.get(key) && takes_effect(key) == TakesEffect::Restart
        };
        keys.into_iter().filter(waits).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, known_keys};

    const LEAST: &str = "listen.http = \"127.0.0.1:1\"\nlisten.public_url = \"http://127.0.0.1:1\"\nupstream.url = \"http://a\"\n\
        store.url = \"redis+sentinel://a,b/m\"\nstore.secret = \"0123456789abcdef0123456789abcdef\"\ndirectory.file = \"b.csv\"\n\
        mail.url = \"smtp://127.0.0.1\"\nmail.from = \"a@b.example\"\nsubmission.paths = [\"/a\"]\nadmin.listen = \"127.0.0.1:2\"\n\
        password.file = \"users\"\nportal.check_url = \"https://p.example/\"\nportal.cookies = [\"SSO\"]\n";

    fn with(lines: &[&str]) -> Config {
        let is_replaced = |line: &&str| {
            !lines
                .iter()
                .any(|new| new.split(" = ").next() == line.split(" = ").next())
        };
        let text: Vec<&str> = LEAST
            .lines()
            .filter(is_replaced)
            .chain(lines.iter().copied())
            .collect();
        Config::parse(&text.join("\n"), std::path::Path::new(""))
            .unwrap_or_else(|mistakes| panic!("{lines:?}: {mistakes}"))
    }

    fn restart_required(old: &Config, new: &Config) -> Vec<&'static str> {
        old.keys.restart_required(&new.keys)
    }

    #[test]
    fn each_key_that_waits_is_named_alone_and_by_its_own_name() {
        let cases: &[(&[&str], &str)] = &[
            (&["listen.http = \"127.0.0.1:3\""], "listen.http"),
            (&["listen.hosts = [\"b.example\"]"], "listen.hosts"),
            (&["listen.max_requests = 9"], "listen.max_requests"),
            (&["upstream.url = \"http://b\""], "upstream.url"),
            (
                &["upstream.websocket_origins = [\"*\"]"],
                "upstream.websocket_origins",
            ),
            (
                &["upstream.affinity_cookie = \"JSESSIONID\""],
                "upstream.affinity_cookie",
            ),
            (&["store.url = \"redis+sentinel://a,b/n\""], "store.url"),
            (&["store.url = \"memory:\""], "store.url"),
            (&["store.url = \"redis+sentinel://ada@a,b/m\""], "store.url"),
            (
                &["store.url = \"redis+sentinel://:geheim@a,b/m\""],
                "store.url",
            ),
            (&["store.password = \"geheim\""], "store.password"),
            (&["store.sentinel_user = \"ada\""], "store.sentinel_user"),
            (
                &["store.sentinel_password = \"geheim\""],
                "store.sentinel_password",
            ),
            (
                &["store.secret = \"fedcba9876543210fedcba9876543210\""],
                "store.secret",
            ),
            (&["store.timeout = \"2s\""], "store.timeout"),
            (&["directory.poll = \"3s\""], "directory.poll"),
            (&["mail.url = \"smtp://127.0.0.2\""], "mail.url"),
            (
                &["mail.url = [\"smtp://127.0.0.1\", \"smtp://127.0.0.2\"]"],
                "mail.url",
            ),
            (&["mail.timeout = \"9s\""], "mail.timeout"),
            (&["parking.largest = \"2MiB\""], "parking.largest"),
            (&["login.prefix = \"/a/b/\""], "login.prefix"),
            (&["password.lanes = 2"], "password.lanes"),
            (&["portal.cache = \"9s\""], "portal.cache"),
            (&["session.idle = \"9m\""], "session.idle"),
            (&["admin.listen = \"127.0.0.1:9\""], "admin.listen"),
            (&["admin.hosts = [\"m.internal\"]"], "admin.hosts"),
            (&["log.access = false"], "log.access"),
            (&["shutdown.delay = \"9s\""], "shutdown.delay"),
        ];
        let (before, known) = (with(&[]), known_keys());
        for (lines, key) in cases {
            assert_eq!(restart_required(&before, &with(lines)), [*key], "{lines:?}");
            assert!(
                known.iter().any(|known| known.name == *key),
                "{key} is no key"
            );
        }
        let both = with(&["mail.username = \"ada\"", "mail.password = \"geheim\""]);
        assert_eq!(
            restart_required(&before, &both),
            ["mail.password", "mail.username"]
        );
        assert_eq!(
            restart_required(
                &with(&["mail.username = \"ada\"", "mail.password = \"alt\""]),
                &both
            ),
            ["mail.password"]
        );
        for now in [
            "brand.name = \"Haus\"",
            "mail.from = \"c@b.example\"",
            "login.tan_tries = 3",
            "limits.mail_day = \"9 in 24h\"",
        ] {
            assert_eq!(restart_required(&before, &with(&[now])), [""; 0], "{now}");
        }
    }

    #[test]
    fn a_secret_in_a_file_counts_by_its_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let with_secret = |secret: &str| {
            std::fs::write(folder.path().join("secret"), secret).expect("written");
            let text = LEAST.replace(
                "store.secret = \"0123456789abcdef0123456789abcdef\"",
                "store.secret_file = \"secret\"",
            );
            Config::parse(&text, folder.path()).expect("sound")
        };
        let first = with_secret("0123456789abcdef0123456789abcdef");
        let same = with_secret("0123456789abcdef0123456789abcdef\n");
        let other = with_secret("0123456789abcdef0123456789abcdeX");
        assert_eq!(restart_required(&first, &same), [""; 0]);
        assert_eq!(restart_required(&first, &other), ["store.secret_file"]);
        let shown = format!("{:?}", other.keys);
        assert_eq!(shown, "KeyDigests(…)");
    }
}
