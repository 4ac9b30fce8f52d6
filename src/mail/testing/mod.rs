//! A mail server, a store and a letter for the tests of this folder.

use crate::config;
use domain::challenge::TanLimits;
use domain::email::Email;
use domain::ids::LetterId;
use domain::letter::Letter;
use domain::tan::{Alphabet, Tan};
use domain::time::Timestamp;
use std::time::Duration;

mod fake_store;
mod relay;

pub(super) use fake_store::FakeStore;
pub(super) use relay::{Relay, ScriptedFault};

pub(super) const TAN: &str = "BCDFGH";
pub(super) const ADDRESS: &str = "ada.lovelace@makler.example";
/// 29 September 2026, 14:02:30 in Berlin.
pub(super) const ASKED_AT: Timestamp = Timestamp::from_millis(1_790_683_350_000);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);

pub(super) fn letter(id: u128) -> Letter {
    Letter {
        id: LetterId::from_bits(id),
        to: Some(Email::parse(ADDRESS).expect("well-formed")),
        tan: Tan::from_record(TAN),
        asked_at: ASKED_AT,
        browser: "Firefox/Windows".to_owned(),
        not_after: ASKED_AT.plus(HOUR),
    }
}

pub(super) fn mail(port: u16) -> config::MailConfig {
    config::MailConfig {
        relays: vec![relay_at(port)],
        ca_file: None,
        from: "Tarifrechner Müller <noreply@insurer.example>".to_owned(),
        reply_to: None,
        timeout: Duration::from_secs(5),
        connections: 2,
    }
}

/// Configures a mail server at this port of localhost.
pub(super) fn relay_at(port: u16) -> config::MailRelay {
    config::MailRelay {
        host: "localhost".to_owned(),
        port,
        protection: config::MailProtection::Plain,
        credentials: None,
    }
}

pub(super) fn login() -> config::LoginConfig {
    config::LoginConfig {
        prefix: "/ui/login/de/".to_owned(),
        alphabet: Alphabet::parse(Alphabet::DEFAULT).expect("sound"),
        tan: TanLimits {
            lifetime: Duration::from_secs(900),
            attempt: HOUR,
        },
        tries: 5,
        trust: HOUR * 24 * 30,
        without_email: true,
        enumeration: config::Enumeration::Open,
        methods: config::LoginMethods::default(),
        entry_origins: Vec::new(),
        time_zone: "Europe/Berlin".to_owned(),
    }
}

pub(super) fn brand() -> config::Brand {
    config::Brand {
        name: "Muster & Söhne".to_owned(),
        product: "Tarifrechner".to_owned(),
        color: "#005ca9".to_owned(),
        on_color: "#ffffff".to_owned(),
        logo: None,
        imprint_url: "/impressum".to_owned(),
        privacy_url: "/datenschutz".to_owned(),
        support_phone: Some("0800 123456".to_owned()),
        support_email: Some("hilfe@insurer.example".to_owned()),
        templates: None,
    }
}

/// Polls until the condition holds, and fails if it never does.
pub(super) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never happened: {what}");
}
