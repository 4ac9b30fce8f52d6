//! `[mail]`

use super::super::document::Value;
use super::super::kinds::{line, number, quoted, text};
use super::super::pem::certificates;
use super::super::read::Reader;
use super::super::secret_file::{Places, Shape};
use super::super::url::Url;
use super::super::{Mail, MailProtection};
use super::timeout;
use crate::domain::email::Email;
use lettre::message::Mailbox;

const USERNAME: &str = "mail.username";
const PASSWORD: Places = Places { key: "mail.password", file_key: "mail.password_file" };

pub(super) fn mail(reader: &mut Reader<'_>) -> Option<Mail> {
    let server = reader.required("mail.url", server);
    let from = reader.required("mail.from", sender);
    let reply_to = reader.optional("mail.reply_to", sender);
    let username = reader.optional(USERNAME, line);
    let password = reader.secret(&PASSWORD, Shape::Line);
    let ca_file = reader.optional("mail.ca_file", line).map(|name| reader.path(&name));
    let timeout = timeout(reader, "mail.timeout", "10s");
    let connections = reader.or("mail.connections", 4, number(1..=64));
    let has_password = reader.is_given(PASSWORD.key) || reader.is_given(PASSWORD.file_key);
    match (reader.is_given(USERNAME), has_password) {
        (true, false) => reader.missing(USERNAME, "needs mail.password or mail.password_file"),
        (false, true) => reader.missing("mail", "has a password and no username"),
        _ => {}
    }
    if let Some(Err(what)) = ca_file.as_deref().map(certificates) {
        reader.mistake("mail.ca_file", what);
    }
    let Server { host, port, protection, is_loopback } = server?;
    if has_password && protection == MailProtection::Plain && !is_loopback {
        reader.warn("mail.url", "sends the password in plain text; use ?tls=required or smtps://");
    }
    Some(Mail {
        host,
        port,
        protection,
        credentials: username.zip(password),
        ca_file,
        from: from?,
        reply_to,
        timeout: timeout?,
        connections: connections?,
    })
}

struct Server {
    host: String,
    port: u16,
    protection: MailProtection,
    is_loopback: bool,
}

/// The ports are those of RFC 8314 (7.3), RFC 6409 (3.1) and RFC 5321 (4.5.4.2).
fn server(value: &Value) -> Result<Server, String> {
    let text = text(value)?;
    let url = Url::parse(&text)?;
    if url.user.is_some() {
        return Err("has a user name; that belongs in mail.username".to_owned());
    }
    if !matches!(url.path, "" | "/") {
        return Err("has a path, which means nothing here".to_owned());
    }
    let is_loopback = url.is_loopback();
    let (protection, usual_port) = match (url.scheme, url.query) {
        ("smtps", None | Some("tls=required")) => (MailProtection::Tls, 465),
        ("smtps", _) => return Err("has a query that means nothing with smtps://".to_owned()),
        ("smtp", Some("tls=required")) => (MailProtection::StartTls, 587),
        ("smtp", Some("tls=none")) => (MailProtection::Plain, 25),
        ("smtp", None) if is_loopback => (MailProtection::Plain, 25),
        ("smtp", None) => {
            return Err(
                "would send TANs over the network in plain text; add ?tls=required, or ?tls=none to accept that".to_owned()
            );
        }
        ("smtp", Some(_)) => return Err("has a query other than ?tls=required or ?tls=none".to_owned()),
        _ => return Err("must begin with smtp:// or smtps://".to_owned()),
    };
    Ok(Server { host: url.host, port: url.port.unwrap_or(usual_port), protection, is_loopback })
}

/// `Name <address>`, or an address alone.
fn sender(value: &Value) -> Result<String, String> {
    let text = line(value)?;
    let unreadable = || format!("{} is not a sender, such as \"Tarifrechner <noreply@insurer.example>\"", quoted(&text));
    let mailbox: Mailbox = text.parse().map_err(|_| unreadable())?;
    Email::parse(mailbox.email.as_ref()).map_err(|_| unreadable())?;
    Ok(text)
}
