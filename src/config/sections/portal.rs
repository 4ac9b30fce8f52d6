//! `[portal]`

use super::super::PortalConfig;
use super::super::document::Value;
use super::super::kinds::{duration, line, minutes, number, path, quoted};
use super::super::pem::certificates;
use super::super::read::Reader;
use super::super::url::Url;
use super::login::link;
use super::timeout;
use super::upstream::{cookie, header, target};
use std::time::Duration;

const SECTION: &str = "portal";
const CHECK_URL: &str = "portal.check_url";
const CA: &str = "portal.ca_file";
const COOKIES: &str = "portal.cookies";
const PATHS: &str = "portal.paths";
const SERVER: &str = "portal.server";

pub(super) fn portal(reader: &mut Reader<'_>) -> Option<PortalConfig> {
    let check_url = reader.optional(CHECK_URL, check_url);
    let ca_file = reader.optional(CA, line).map(|name| reader.path(&name));
    let cookies = reader.list(COOKIES, foreign_cookie);
    let vtnr_header = reader.or("portal.vtnr_header", "X-VTNR", header);
    let timeout = timeout(reader, "portal.timeout", "2s");
    let cache = reader.or(
        "portal.cache",
        "60s",
        duration(Duration::ZERO..=minutes(15)),
    );
    let cache_size = reader.or("portal.cache_size", 16_384, number(1..=1_048_576));
    let connections = reader.or("portal.connections", 64, number(1..=4_096));
    let sign_in_url = reader.optional("portal.sign_in_url", address);
    let sign_out_url = reader.optional("portal.sign_out_url", link);
    let paths = reader.list(PATHS, prefix);
    let server = reader.optional(SERVER, target);
    if !reader.has_section(SECTION) {
        return None;
    }
    if !reader.is_given(CHECK_URL) {
        reader.missing(CHECK_URL, "is missing; [portal] requires it");
    }
    if let Some(Err(what)) = ca_file.as_deref().map(certificates) {
        reader.mistake(CA, what);
    }
    let cookies = cookies?;
    let paths = paths?;
    if cookies.is_empty() {
        reader.missing(
            COOKIES,
            "is missing or empty; the portal recognises brokers by its cookies",
        );
    }
    if server.is_some() && !reader.is_given(PATHS) {
        reader.mistake(SERVER, "is of no use without portal.paths");
    }
    let server = server.map(|target| (target.tls, target.server));
    Some(PortalConfig {
        check_url: check_url?,
        ca_file,
        cookies,
        vtnr_header: vtnr_header?.to_ascii_lowercase(),
        timeout: timeout?,
        cache: cache?,
        cache_size: cache_size?,
        connections: connections?,
        sign_in_url,
        sign_out_url,
        paths,
        server,
    })
}

/// An address that the gateway itself asks.
fn check_url(value: &Value) -> Result<String, String> {
    let text = line(value)?;
    let url = Url::parse(&text).map_err(str::to_owned)?;
    if !matches!(url.scheme, "http" | "https") || url.user.is_some() {
        return Err(format!(
            "{} is no address with http:// or https://, without a user",
            quoted(&text)
        ));
    }
    Ok(text)
}

/// A link in which `{return_to}` may stand for where the broker wants to go.
fn address(value: &Value) -> Result<String, String> {
    let text = line(value)?;
    link(&Value::Text(text.replace("{return_to}", "x"))).map(|_| text)
}

/// A cookie that is not the gateway's own.
fn foreign_cookie(value: &Value) -> Result<String, String> {
    let name = cookie(value)?;
    let bare = name
        .strip_prefix("__Host-")
        .or_else(|| name.strip_prefix("__Secure-"))
        .unwrap_or(&name);
    if bare.starts_with("vtnr_") {
        Err(format!("{name:?} is one of the gateway's own cookies"))
    } else {
        Ok(name)
    }
}

/// Reads a path prefix.
fn prefix(value: &Value) -> Result<String, String> {
    let text = path(value)?;
    if text == "/" || !text.ends_with('/') {
        return Err(format!(
            "{} must end with / and not be \"/\" itself, as in \"/portal/\"",
            quoted(&text)
        ));
    }
    if text.contains(['%', ';']) || text.contains("//") {
        return Err(format!(
            "{} has %, ; or //, which servers interpret differently; no request would match it",
            quoted(&text)
        ));
    }
    Ok(text)
}
