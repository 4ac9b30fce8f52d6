//! Lists the keys that a reload puts in force; all others need a restart.

use super::read::TakesEffect;

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
