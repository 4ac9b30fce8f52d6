//! Sections of the configuration, one file for each of the larger ones.
//!
//! Each function reads all keys of its section before it builds anything, so that one mistake hides no other.

mod brand;
mod certificate;
mod client_fields;
mod cross_checks;
mod limits;
mod listen;
mod login;
mod mail;
mod parking;
mod password;
mod portal;
mod store;
mod submission;
mod upstream;

use self::cross_checks::Sections;
use super::document::Value;
use super::kinds::{
    address, days, duration, flag, hours, line, minutes, quoted, seconds, text, word,
};
use super::live::KeyDigests;
use super::read::Reader;
use super::url::host_and_port;
use super::{
    CertificateColumns, Config, DirectoryConfig, Log, LoginMethod, Shutdown, UpstreamConfig,
};
use domain::session::SessionLimits;
use std::time::Duration;
use tracing_subscriber::filter::{LevelFilter, Targets};

/// Reads the whole configuration; `None` only after a mistake.
pub(super) fn config(reader: &mut Reader<'_>) -> Option<Config> {
    let listen = listen::listen(reader);
    let upstream = upstream::upstream(reader);
    let store = store::store(reader);
    let certificate = certificate::certificate(reader, listen.as_ref());
    let columns = certificate
        .as_ref()
        .map(|certificate| certificate.columns.clone());
    let directory = directory(reader, columns);
    let mail = mail::mail(reader);
    let submission = submission::submission(reader);
    let parking = parking::parking(reader, upstream.as_ref().map(UpstreamConfig::connecting));
    let portal = portal::portal(reader);
    let mut login = login::login(reader);
    if let Some((login, portal)) = login.as_mut().zip(portal.as_ref()) {
        login.methods.portal = portal
            .sign_in_url
            .as_ref()
            .map(|_| LoginMethod::Page("portal"));
        login
            .methods
            .portal_sign_out
            .clone_from(&portal.sign_out_url);
    }
    if let (Some(login), Some(certificate)) = (&mut login, &certificate) {
        let method = LoginMethod::Host(format!("https://{}", certificate.public_url.authority));
        if login.methods.certificate.replace(method).is_some() {
            reader.mistake(
                "login.certificate_url",
                "conflicts with [certificate], which has an address of its own; delete one of them",
            );
        }
    }
    let password = password::password(reader, login.as_mut().map(|login| &mut login.methods));
    let session = session(reader);
    let limits = limits::limits(reader);
    let brand = brand::brand(reader);
    let admin_listen = reader.required("admin.listen", address);
    let admin_hosts = reader.list("admin.hosts", admin_host);
    let log = log(reader);
    let shutdown = shutdown(reader);
    let sections = Sections {
        listen: listen.as_ref(),
        admin: admin_listen,
        upstream: upstream.as_ref(),
        submission_paths: submission
            .as_ref()
            .map(|submission| submission.paths.as_slice())
            .unwrap_or_default(),
        login: login.as_ref(),
        certificate: certificate.as_ref(),
        portal: portal.as_ref(),
        brand: brand.as_ref(),
    };
    cross_checks::check(reader, &sections);
    Some(Config {
        listen: listen?,
        upstream: upstream?,
        store: store?,
        directory: directory?,
        mail: mail?,
        submission: submission?.rules,
        parking: parking?,
        login: login?,
        password,
        session: session?,
        limits,
        certificate,
        portal,
        brand: brand?,
        admin_listen: admin_listen?,
        admin_hosts: admin_hosts?,
        log: log?,
        shutdown: shutdown?,
        warnings: Vec::new(),
        keys: KeyDigests::default(),
    })
}

/// Reads a host name without a port.
fn admin_host(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    match host_and_port(&text) {
        Ok((host, None)) if !text.starts_with('[') => Ok(host),
        _ => Err(format!(
            "{} is not a host name without a port, such as \"vtnr-metrics.internal\"",
            quoted(&text)
        )),
    }
}

fn directory(
    reader: &mut Reader<'_>,
    certificates: Option<CertificateColumns>,
) -> Option<DirectoryConfig> {
    let file = reader
        .required("directory.file", line)
        .map(|name| reader.path(&name));
    let poll = reader.or(
        "directory.poll",
        "2s",
        duration(Duration::from_millis(100)..=hours(1)),
    );
    Some(DirectoryConfig {
        file: file?,
        poll: poll?,
        certificates,
    })
}

fn session(reader: &mut Reader<'_>) -> Option<SessionLimits> {
    let idle = reader.or("session.idle", "60m", duration(minutes(1)..=days(1)));
    let absolute = reader.or("session.absolute", "12h", duration(minutes(5)..=days(7)));
    let limits = SessionLimits {
        idle: idle?,
        absolute: absolute?,
    };
    if limits.idle > limits.absolute {
        reader.mistake("session.idle", "must not be longer than session.absolute");
    }
    Some(limits)
}

fn shutdown(reader: &mut Reader<'_>) -> Option<Shutdown> {
    let delay = reader.or(
        "shutdown.delay",
        "0s",
        duration(Duration::ZERO..=minutes(5)),
    );
    let grace = reader.or(
        "shutdown.grace",
        "20s",
        duration(Duration::ZERO..=minutes(10)),
    );
    Some(Shutdown {
        delay: delay?,
        grace: grace?,
    })
}

fn log(reader: &mut Reader<'_>) -> Option<Log> {
    let json = reader.or(
        "log.format",
        "json",
        word(&[("json", true), ("text", false)]),
    );
    let filter = reader.or("log.filter", "info", filter);
    let access = reader.or("log.access", true, flag);
    Some(Log {
        json: json?,
        filter: filter?,
        access: access?,
    })
}

/// Reads levels, alone or per target. `Targets` takes any word for a target, so that a typo in `info` would
/// silence the log.
fn filter(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let is_target = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_:-".contains(&b))
    };
    let is_sound = |part: &str| match part.split_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(part),
    };
    let sound =
        text.split(',').all(|part| is_sound(part.trim())) && text.parse::<Targets>().is_ok();
    if sound {
        Ok(text)
    } else {
        Err("is not a filter, such as \"info\" or \"vtnr_gateway=debug,info\"".to_owned())
    }
}

/// Reads a short timeout, such as for a connection.
fn timeout(reader: &mut Reader<'_>, key: &'static str, default: &'static str) -> Option<Duration> {
    reader.or(
        key,
        default,
        duration(Duration::from_millis(10)..=seconds(300)),
    )
}
