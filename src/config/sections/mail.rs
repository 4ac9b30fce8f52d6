//! `[mail]`

use super::super::document::Value;
use super::super::kinds::{line, number, quoted, text};
use super::super::pem::certificates;
use super::super::read::Reader;
use super::super::secret::Secret;
use super::super::secret_file::{Places, Shape};
use super::super::url::Url;
use super::super::{MailConfig, MailProtection, MailRelay};
use super::timeout;
use domain::email::Email;
use lettre::message::Mailbox;

const URL: &str = "mail.url";
const USERNAME: &str = "mail.username";
const PASSWORD: Places = Places {
    key: "mail.password",
    file_key: "mail.password_file",
};
/// Brokers wait while servers are tried in turn.
const MAX_RELAYS: usize = 5;

pub(super) fn mail(reader: &mut Reader<'_>) -> Option<MailConfig> {
    let servers = reader.required_one_or_more(URL, server);
    let from = reader.required("mail.from", sender);
    let reply_to = reader.optional("mail.reply_to", sender);
    let usernames = reader.optional_one_or_more(USERNAME, username);
    let passwords = reader.secrets(&PASSWORD, Shape::Line);
    let ca_file = reader
        .optional("mail.ca_file", line)
        .map(|name| reader.path(&name));
    let timeout = timeout(reader, "mail.timeout", "10s");
    let connections = reader.or("mail.connections", 4, number(1..=64));
    if let Some(Err(what)) = ca_file.as_deref().map(certificates) {
        reader.mistake("mail.ca_file", what);
    }
    let credentials = credentials(reader, servers.as_ref().map(Vec::len), usernames, passwords);
    let servers = servers?;
    check_relays(reader, &servers);
    let relays: Vec<_> = servers
        .into_iter()
        .zip(credentials?)
        .map(|(server, credentials)| server.with(credentials))
        .collect();
    if relays.iter().any(|(relay, is_far)| {
        relay.credentials.is_some() && relay.protection == MailProtection::Plain && *is_far
    }) {
        reader.warn(
            URL,
            "sends the password unencrypted; use ?tls=required or smtps://",
        );
    }
    Some(MailConfig {
        relays: relays.into_iter().map(|(relay, _)| relay).collect(),
        ca_file,
        from: from?,
        reply_to,
        timeout: timeout?,
        connections: connections?,
    })
}

/// Pairs user names and passwords, one per server; empty entries mean no authentication.
fn credentials(
    reader: &mut Reader<'_>,
    servers: Option<usize>,
    usernames: Option<Vec<Option<String>>>,
    passwords: Option<Vec<Option<Secret>>>,
) -> Option<Vec<Option<(String, Secret)>>> {
    let password = [PASSWORD.key, PASSWORD.file_key]
        .into_iter()
        .find(|key| reader.is_given(key));
    match (reader.is_given(USERNAME), password) {
        (false, None) => return servers.map(|servers| vec![None; servers]),
        (true, None) => reader.missing(USERNAME, "requires mail.password or mail.password_file"),
        (false, Some(_)) => {
            reader.missing("mail", "has a password but no username; give mail.username")
        }
        (true, Some(_)) => {}
    }
    let servers = servers?;
    let usernames = spread(reader, USERNAME, servers, usernames?)?;
    let passwords = spread(reader, password?, servers, passwords?)?;
    let mut all = Vec::with_capacity(servers);
    for (number, pair) in (1..).zip(usernames.into_iter().zip(passwords)) {
        match pair {
            (Some(username), Some(password)) => all.push(Some((username, password))),
            (None, None) => all.push(None),
            (Some(_), None) => reader.mistake(
                USERNAME,
                format!("has a user for server {number}, but no password"),
            ),
            (None, Some(_)) => reader.mistake(
                USERNAME,
                format!("has no user for server {number}, which has a password"),
            ),
        }
    }
    Some(all)
}

/// Repeats a single entry for all servers.
fn spread<T: Clone>(
    reader: &mut Reader<'_>,
    key: &str,
    servers: usize,
    given: Vec<T>,
) -> Option<Vec<T>> {
    match given.as_slice() {
        [one] => Some(vec![one.clone(); servers]),
        several if several.len() == servers => Some(given),
        several => {
            let entries = several.len();
            reader.mistake(
                key,
                format!(
                    "has {entries} entries for {servers} servers; give one for all or one per server"
                ),
            );
            None
        }
    }
}

fn check_relays(reader: &mut Reader<'_>, servers: &[MailServer]) {
    if servers.len() > MAX_RELAYS {
        reader.mistake(
            URL,
            format!(
                "has {} servers; at most {MAX_RELAYS} are allowed",
                servers.len()
            ),
        );
    }
    let address = |server: &MailServer| (server.host.clone(), server.port);
    let twice = servers.iter().enumerate().find(|(at, one)| {
        servers
            .iter()
            .take(*at)
            .any(|other| address(other) == address(one))
    });
    if let Some((_, MailServer { host, port, .. })) = twice {
        reader.mistake(URL, format!("names {host}:{port} twice"));
    }
}

struct MailServer {
    host: String,
    port: u16,
    protection: MailProtection,
    is_loopback: bool,
}

impl MailServer {
    /// Returns the relay and whether it is on another machine.
    fn with(self, credentials: Option<(String, Secret)>) -> (MailRelay, bool) {
        let Self {
            host,
            port,
            protection,
            is_loopback,
        } = self;
        (
            MailRelay {
                host,
                port,
                protection,
                credentials,
            },
            !is_loopback,
        )
    }
}

/// Reads a server URL; default ports: RFC 8314 (7.3), RFC 6409 (3.1), RFC 5321 (4.5.4.2).
fn server(value: &Value) -> Result<MailServer, String> {
    let text = text(value)?;
    let url = Url::parse(&text)?;
    if url.user.is_some() {
        return Err("contains a user name; use mail.username instead".to_owned());
    }
    if !matches!(url.path, "" | "/") {
        return Err("has a path, which is not supported".to_owned());
    }
    let is_loopback = url.is_loopback();
    let (protection, usual_port) = match (url.scheme, url.query) {
        ("smtps", None | Some("tls=required")) => (MailProtection::Tls, 465),
        ("smtps", _) => return Err("has a query that smtps:// does not support".to_owned()),
        ("smtp", Some("tls=required")) => (MailProtection::StartTls, 587),
        ("smtp", Some("tls=none")) => (MailProtection::Plain, 25),
        ("smtp", None) if is_loopback => (MailProtection::Plain, 25),
        ("smtp", None) => {
            return Err(
                "would send TANs unencrypted over the network; add ?tls=required, or ?tls=none to accept that".to_owned()
            );
        }
        ("smtp", Some(_)) => {
            return Err("has a query other than ?tls=required or ?tls=none".to_owned());
        }
        _ => return Err("must begin with smtp:// or smtps://".to_owned()),
    };
    Ok(MailServer {
        host: url.host,
        port: url.port.unwrap_or(usual_port),
        protection,
        is_loopback,
    })
}

/// Reads a user name; an empty text means no authentication.
fn username(value: &Value) -> Result<Option<String>, String> {
    if text(value)?.is_empty() {
        Ok(None)
    } else {
        line(value).map(Some)
    }
}

/// Reads `Name <address>`, or an address alone.
fn sender(value: &Value) -> Result<String, String> {
    let text = line(value)?;
    let unreadable = || {
        format!(
            "{} is not a sender, such as \"Tarifrechner <noreply@insurer.example>\"",
            quoted(&text)
        )
    };
    let mailbox: Mailbox = text.parse().map_err(|_| unreadable())?;
    Email::parse(mailbox.email.as_ref()).map_err(|_| unreadable())?;
    Ok(text)
}
