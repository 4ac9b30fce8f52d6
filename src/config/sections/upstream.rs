//! `[upstream]`

use super::super::document::Value;
use super::super::kinds::{duration, hours, minutes, number, path, quoted, seconds, text};
use super::super::read::Reader;
use super::super::url::Url;
use super::super::{HostPort, UpstreamConfig, WebSocketOriginsConfig};
use super::client_fields::client_fields;
use super::timeout;
use domain::client_fields::covers;
use http::HeaderName;
use std::time::Duration;

const URL: &str = "upstream.url";
const ROUTES: &str = "upstream.routes";
const WEBSOCKET_ORIGINS: &str = "upstream.websocket_origins";
/// Upper bound: each gateway checks each server.
const MAX_SERVERS: usize = 64;

/// Header fields with a meaning of their own in HTTP.
pub(super) const RESERVED_HEADERS: [&str; 18] = [
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

pub(super) fn upstream(reader: &mut Reader<'_>) -> Option<UpstreamConfig> {
    let targets = reader.required_one_or_more(URL, target);
    let routes = reader.list(ROUTES, route);
    let affinity_cookies = reader.one_or_more("upstream.affinity_cookie", cookie);
    let session_cookies = reader.list("upstream.session_cookies", cookie_pattern);
    let connect_timeout = timeout(reader, "upstream.connect_timeout", "5s");
    let write_timeout = reader.or(
        "upstream.write_timeout",
        "1m",
        duration(seconds(1)..=hours(1)),
    );
    let read_timeout = reader.or(
        "upstream.read_timeout",
        "5m",
        duration(seconds(1)..=hours(1)),
    );
    let keepalive = reader.or(
        "upstream.keepalive",
        "4s",
        duration(Duration::ZERO..=hours(1)),
    );
    let pool_size = reader.or("upstream.pool_size", 512, number(1..=65_536));
    let vtnr_header = reader.optional("upstream.vtnr_header", header);
    let level_header = reader.optional("upstream.level_header", header);
    let client_fields = client_fields(reader, &[vtnr_header.as_deref(), level_header.as_deref()]);
    let public_paths = reader.list("upstream.public_paths", path);
    let websocket_origins = websocket_origins(reader);
    let health_interval = reader.or(
        "upstream.health_interval",
        "5s",
        duration(Duration::from_millis(100)..=minutes(5)),
    );
    let health_timeout = timeout(reader, "upstream.health_timeout", "2s");
    let health_path = reader.optional("upstream.health_path", path);
    if let (Some(vtnr), Some(level)) = (&vtnr_header, &level_header)
        && covers(vtnr, level)
    {
        reader.mistake(
            "upstream.level_header",
            "must not be the same field as upstream.vtnr_header",
        );
    }
    let (tls, servers) = servers(reader, targets?);
    let routes = routes?;
    let affinity_cookies = affinity_cookies?;
    let session_cookies = session_cookies?;
    let (strip, pass_fields) = client_fields?;
    routes_fit(reader, &routes, &affinity_cookies, servers.len());
    Some(UpstreamConfig {
        tls,
        servers,
        routes,
        session_cookies,
        affinity_cookies,
        connect_timeout: connect_timeout?,
        write_timeout: write_timeout?,
        read_timeout: read_timeout?,
        keepalive: keepalive?,
        pool_size: pool_size?,
        vtnr_header,
        level_header,
        strip,
        pass_fields,
        public_paths: public_paths?,
        websocket_origins: websocket_origins?,
        health_interval: health_interval?,
        health_timeout: health_timeout?,
        health_path,
    })
}

fn websocket_origins(reader: &mut Reader<'_>) -> Option<WebSocketOriginsConfig> {
    const ALL: &str = "*";
    let origins = reader.list(WEBSOCKET_ORIGINS, |value| match text(value)? {
        all if all == ALL => Ok(all),
        origin => sound_origin(&origin),
    })?;
    if !origins.iter().any(|origin| origin == ALL) {
        return Some(WebSocketOriginsConfig::Listed(origins));
    }
    if origins.len() > 1 {
        reader.mistake(
            WEBSOCKET_ORIGINS,
            "has \"*\", which allows every origin, besides others; give either",
        );
    }
    Some(WebSocketOriginsConfig::All)
}

/// Reads an origin as browsers write it (RFC 6454, 6.2).
fn sound_origin(text: &str) -> Result<String, String> {
    let wrong = || {
        format!(
            "{} is not an origin, such as \"https://partner.example\"",
            quoted(text)
        )
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let is_sound = matches!(url.scheme, "https" | "http")
        && url.user.is_none()
        && url.path.is_empty()
        && url.query.is_none();
    if is_sound {
        Ok(text.to_owned())
    } else {
        Err(wrong())
    }
}

pub(super) struct Target {
    pub(super) tls: bool,
    pub(super) server: HostPort,
}

/// Checks the servers against each other.
fn servers(reader: &mut Reader<'_>, targets: Vec<Target>) -> (bool, Vec<HostPort>) {
    let tls = targets.first().is_some_and(|first| first.tls);
    if targets.iter().any(|target| target.tls != tls) {
        reader.mistake(
            URL,
            "mixes http:// and https://; use the same for all servers",
        );
    }
    if targets.len() > MAX_SERVERS {
        reader.mistake(URL, format!("has more than {MAX_SERVERS} servers"));
    }
    let mut servers: Vec<HostPort> = Vec::with_capacity(targets.len());
    for Target { server, .. } in targets {
        if servers.contains(&server) {
            reader.mistake(URL, format!("names {server} twice"));
        }
        servers.push(server);
    }
    (tls, servers)
}

fn routes_fit(reader: &mut Reader<'_>, routes: &[String], cookies: &[String], servers: usize) {
    if routes.is_empty() {
        return;
    }
    if routes.len() != servers {
        reader.mistake(
            ROUTES,
            format!(
                "has {} routes for {servers} servers; give one per server, in the order of {URL}",
                routes.len()
            ),
        );
    }
    if let Some(twice) = routes
        .iter()
        .enumerate()
        .find_map(|(at, route)| routes.iter().take(at).find(|other| *other == route))
    {
        reader.mistake(ROUTES, format!("names {} twice", quoted(twice)));
    }
    if cookies.is_empty() {
        reader.mistake(
            ROUTES,
            "has no effect without upstream.affinity_cookie, whose values end with the routes",
        );
    }
}

pub(super) fn target(value: &Value) -> Result<Target, String> {
    let text = text(value)?;
    let url = Url::parse(&text).map_err(str::to_owned)?;
    let (tls, usual_port) = match url.scheme {
        "https" => (true, 443),
        "http" => (false, 80),
        _ => return Err("must begin with http:// or https://".to_owned()),
    };
    if !url.is_bare() || url.user.is_some() {
        return Err(
            "must have scheme, host and port only, such as \"http://127.0.0.1:9000\"; paths are forwarded unchanged".to_owned()
        );
    }
    Ok(Target {
        tls,
        server: HostPort {
            host: url.host,
            port: url.port.unwrap_or(usual_port),
        },
    })
}

/// Reads a server's route (`jvmRoute`): the session cookie's suffix after its last dot.
fn route(value: &Value) -> Result<String, String> {
    const LONGEST: usize = 64;
    let text = text(value)?;
    let sound = (1..=LONGEST).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if sound {
        Ok(text)
    } else {
        Err(format!(
            "{} is not a route: 1 to {LONGEST} characters of A-Z a-z 0-9 _ -",
            quoted(&text)
        ))
    }
}

pub(super) fn cookie(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    // Like field names, cookie names are tokens (RFC 6265, 4.1.1), but case-sensitive.
    if HeaderName::from_bytes(text.as_bytes()).is_err() {
        return Err(format!(
            "{} is not a cookie name, such as \"JSESSIONID\"",
            quoted(&text)
        ));
    }
    Ok(text)
}

/// Reads a cookie name with `*` at one end for any text.
fn cookie_pattern(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    let name = text
        .strip_suffix('*')
        .or_else(|| text.strip_prefix('*'))
        .unwrap_or(&text);
    if name.is_empty() || name.contains('*') {
        return Err(format!(
            "{} is not a cookie name, optionally with \"*\" at one end",
            quoted(&text)
        ));
    }
    cookie(&Value::Text(name.to_owned())).map(|_| text)
}

pub(super) fn header(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    let name = HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| format!("{} is not a header field name", quoted(&text)))?;
    if RESERVED_HEADERS.contains(&name.as_str()) {
        return Err(format!(
            "{} is reserved in HTTP; choose another, such as \"X-VTNR\"",
            quoted(&text)
        ));
    }
    Ok(text)
}
