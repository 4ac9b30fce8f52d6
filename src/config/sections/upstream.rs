//! `[upstream]`

use super::super::Upstream;
use super::super::document::Value;
use super::super::kinds::{duration, hours, number, path, quoted, seconds, text};
use super::super::read::Reader;
use super::super::url::Url;
use super::timeout;
use http::HeaderName;
use std::time::Duration;

/// Fields that frame a message, belong to one connection, or mean something else to the calculator.
const TAKEN_HEADERS: [&str; 18] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn upstream(reader: &mut Reader<'_>) -> Option<Upstream> {
    let target = reader.required("upstream.url", target);
    let connect_timeout = timeout(reader, "upstream.connect_timeout", "5s");
    let read_timeout = reader.or("upstream.read_timeout", "5m", duration(seconds(1)..=hours(1)));
    let keepalive = reader.or("upstream.keepalive", "4s", duration(Duration::ZERO..=hours(1)));
    let pool_size = reader.or("upstream.pool_size", 512, number(1..=65_536));
    let vtnr_header = reader.optional("upstream.vtnr_header", header);
    let level_header = reader.optional("upstream.level_header", header);
    let public_paths = reader.list("upstream.public_paths", path);
    if let (Some(vtnr), Some(level)) = (&vtnr_header, &level_header)
        && vtnr.eq_ignore_ascii_case(level)
    {
        reader.mistake("upstream.level_header", "is the same field as upstream.vtnr_header");
    }
    let Target { tls, host, port } = target?;
    Some(Upstream {
        tls,
        host,
        port,
        connect_timeout: connect_timeout?,
        read_timeout: read_timeout?,
        keepalive: keepalive?,
        pool_size: pool_size?,
        vtnr_header,
        level_header,
        public_paths: public_paths?,
    })
}

struct Target {
    tls: bool,
    host: String,
    port: u16,
}

fn target(value: &Value) -> Result<Target, String> {
    let text = text(value)?;
    let url = Url::parse(&text).map_err(str::to_owned)?;
    let (tls, usual_port) = match url.scheme {
        "https" => (true, 443),
        "http" => (false, 80),
        _ => return Err("must begin with http:// or https://".to_owned()),
    };
    if !url.is_bare() || url.user.is_some() {
        return Err(
            "must be scheme, host and port only, such as \"http://127.0.0.1:9000\"; paths are passed on as they are".to_owned()
        );
    }
    Ok(Target { tls, host: url.host, port: url.port.unwrap_or(usual_port) })
}

fn header(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    let name =
        HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("{} is not the name of a header field", quoted(&text)))?;
    if TAKEN_HEADERS.contains(&name.as_str()) {
        return Err(format!("{} has a meaning of its own in HTTP; choose another, such as \"X-VTNR\"", quoted(&text)));
    }
    Ok(text)
}
