//! `[listen]`

use super::super::document::Value;
use super::super::kinds::{address, duration, hours, line, minutes, number, quoted, seconds, text};
use super::super::read::Reader;
use super::super::url::{Url, host_and_port};
use super::super::{Https, ListenConfig, PublicUrl};
use super::timeout;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

const HTTP: &str = "listen.http";
const HTTPS: &str = "listen.https";
const CERT: &str = "listen.tls.cert";
const KEY: &str = "listen.tls.key";
const PUBLIC_URL: &str = "listen.public_url";

pub(super) fn listen(reader: &mut Reader<'_>) -> Option<ListenConfig> {
    let http = reader.optional(HTTP, address);
    let https_address = reader.optional(HTTPS, address);
    let https = https(reader, https_address);
    let public_url = reader.required(PUBLIC_URL, public_url);
    let hosts = reader.list("listen.hosts", host);
    let header_timeout = timeout(reader, "listen.header_timeout", "10s");
    let body_timeout = reader.or(
        "listen.body_timeout",
        "20s",
        duration(seconds(1)..=minutes(10)),
    );
    let keepalive = reader.or("listen.keepalive", "75s", duration(seconds(1)..=hours(1)));
    let trusted_proxies = reader.list("listen.trusted_proxies", |value| {
        network(value).map(|network| network.to_string())
    });
    let max_connections = reader.or("listen.max_connections", 20_000, number(1..=1_000_000));
    let max_connections_per_client = reader.or(
        "listen.max_connections_per_client",
        512,
        number(1..=1_000_000),
    );
    let handover = reader
        .optional("listen.handover", line)
        .map(|name| reader.path(&name));
    let max_requests = reader.or("listen.max_requests", 4_096, number(1..=1_000_000));
    let threads = reader.or("listen.threads", 0, number(0..=1_024));
    if !reader.is_given(HTTP) && !reader.is_given(HTTPS) {
        reader.missing("listen", "has neither http nor https; give at least one");
    }
    let public_url = public_url?;
    if !public_url.secure && !reader.is_given(HTTP) && reader.is_given(HTTPS) {
        reader.mistake(
            PUBLIC_URL,
            "begins with http://, but only listen.https is set; use https://",
        );
    }
    Some(ListenConfig {
        http,
        https,
        public_url,
        hosts: hosts?,
        header_timeout: header_timeout?,
        body_timeout: body_timeout?,
        keepalive: keepalive?,
        trusted_proxies: trusted_proxies?
            .iter()
            .filter_map(|network| network.parse().ok())
            .collect(),
        max_connections: max_connections?,
        max_connections_per_client: max_connections_per_client?,
        handover,
        max_requests: max_requests?,
        threads: threads?,
    })
}

fn https(reader: &mut Reader<'_>, address: Option<SocketAddr>) -> Option<Https> {
    let cert = reader.optional(CERT, line).map(|name| reader.path(&name));
    let key = reader.optional(KEY, line).map(|name| reader.path(&name));
    for file in [CERT, KEY] {
        match (reader.is_given(HTTPS), reader.is_given(file)) {
            (true, false) => reader.missing(file, "is missing; listen.https requires it"),
            (false, true) => reader.mistake(file, "has no effect without listen.https"),
            _ => {}
        }
    }
    let cert = cert?;
    let key = key?;
    reader.check_tls_files(&cert, &key);
    reader.refuse_other_writers(KEY, &key);
    Some(Https {
        address: address?,
        cert,
        key,
    })
}

pub(super) fn public_url(value: &Value) -> Result<PublicUrl, String> {
    let text = text(value)?;
    let url = Url::parse(&text).map_err(str::to_owned)?;
    let (secure, usual_port) = match url.scheme {
        "https" => (true, 443),
        "http" => (false, 80),
        _ => return Err("must begin with https:// or http://".to_owned()),
    };
    if !url.is_bare() || url.user.is_some() {
        return Err(
            "must have scheme and host only, such as \"https://rechner.insurer.example\""
                .to_owned(),
        );
    }
    if !secure && !url.is_loopback() {
        return Err("must begin with https://, since browsers keep the cookies on secure connections only; \
                    http:// is allowed on loopback"
            .to_owned());
    }
    let port = url
        .port
        .filter(|port| *port != usual_port)
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    Ok(PublicUrl {
        secure,
        authority: format!("{}{port}", url.bracketed_host()),
    })
}

/// Reads a further host, with a port if requests have one.
fn host(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    match host_and_port(&text) {
        Ok(_) => Ok(text.to_ascii_lowercase()),
        Err(what) => Err(format!("{} {what}", quoted(&text))),
    }
}

/// Reads an address or a network in CIDR notation.
fn network(value: &Value) -> Result<IpNet, String> {
    let text = text(value)?;
    let shown = quoted(&text);
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let network: IpNet = text.parse().map_err(|_| {
        format!("{shown} is not an IP address or network, such as \"10.0.0.1\" or \"10.0.0.0/24\"")
    })?;
    if let IpNet::V6(v6) = network
        && v6.addr().to_ipv4_mapped().is_some()
    {
        return Err(format!(
            "{shown} is an IPv4 network; write it in IPv4 notation, such as \"10.0.0.0/24\""
        ));
    }
    if network.prefix_len() == 0 {
        return Err(format!(
            "{shown} covers all addresses, so every client could forge its address; name the proxies only"
        ));
    }
    if network != network.trunc() {
        return Err(format!(
            "{shown} has host bits set; write {} or {}",
            network.addr(),
            network.trunc()
        ));
    }
    Ok(network)
}
