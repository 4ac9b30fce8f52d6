//! URL and host parsing for configuration values.

use std::net::IpAddr;

const NO_HOST: &str = "has no valid host name or address";

/// Lower-case host without brackets, and its port if given.
pub(super) type HostAndPort = (String, Option<u16>);

/// URL components; escapes are not decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url<'t> {
    pub(super) scheme: &'t str,
    pub(super) user: Option<&'t str>,
    pub(super) password: Option<&'t str>,
    /// Lower-case host; IPv6 without brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// Absolute path, or empty if absent.
    pub(super) path: &'t str,
    pub(super) query: Option<&'t str>,
}

impl<'t> Url<'t> {
    /// Parses `scheme://user:password@host:port/path?query`.
    ///
    /// # Errors
    /// The mistake, never with the text, which may contain a password.
    pub(super) fn parse(text: &'t str) -> Result<Self, &'static str> {
        match Self::parse_several(text)? {
            (url, others) if others.is_empty() => Ok(url),
            _ => Err(NO_HOST),
        }
    }

    /// Like [`Url::parse`] for several hosts separated by commas: the URL with the first one, and the others with
    /// their ports.
    ///
    /// # Errors
    /// As with [`Url::parse`].
    pub(super) fn parse_several(text: &'t str) -> Result<(Self, Vec<HostAndPort>), &'static str> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has spaces or non-ASCII characters");
        }
        let (scheme, rest) = text
            .split_once("://")
            .ok_or("has no scheme, such as http://")?;
        if rest.contains('#') {
            return Err("has a fragment");
        }
        let (rest, query) = rest
            .split_once('?')
            .map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (login, hosts) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(login, hosts)| (Some(login), hosts));
        let (user, password) = login.map_or((None, None), |login| match login.split_once(':') {
            Some((user, password)) => (Some(user), Some(password)),
            None => (Some(login), None),
        });
        let mut hosts = hosts.split(',').map(host_and_port);
        let (host, port) = hosts.next().ok_or(NO_HOST)??;
        Ok((
            Self {
                scheme,
                user,
                password,
                host,
                port,
                path,
                query,
            },
            hosts.collect::<Result<_, _>>()?,
        ))
    }

    /// Whether path and query are empty.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self.path, "" | "/") && self.query.is_none()
    }

    /// Host as in a URL or a `Host` field.
    pub(super) fn bracketed_host(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        }
    }

    /// Whether the host is a loopback name or address.
    pub(super) fn is_loopback(&self) -> bool {
        let named = self.host == "localhost" || self.host.ends_with(".localhost");
        named
            || self
                .host
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`; the host in lower case without brackets.
pub(super) fn host_and_port(text: &str) -> Result<HostAndPort, &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or(NO_HOST)?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let sound = if text.starts_with('[') {
        host.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        is_host_name(host)
    };
    if !sound {
        return Err(NO_HOST);
    }
    if port.is_empty() {
        return Ok((host.to_ascii_lowercase(), None));
    }
    let digits = port
        .strip_prefix(':')
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let port: u16 = digits
        .and_then(|digits| digits.parse().ok())
        .filter(|port| *port > 0)
        .ok_or("has no valid port")?;
    Ok((host.to_ascii_lowercase(), Some(port)))
}

fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let edges_are_sound = !label.starts_with('-') && !label.ends_with('-');
        !label.is_empty()
            && label.len() <= 63
            && edges_are_sound
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    host.len() <= 253 && host.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        let url = Url::parse("redis://ada:s%40c@[2001:DB8::1]:6380/2?x=1").expect("well-formed");
        assert_eq!(
            (url.scheme, url.user, url.password),
            ("redis", Some("ada"), Some("s%40c"))
        );
        assert_eq!(
            (url.host.as_str(), url.port, url.path, url.query),
            ("2001:db8::1", Some(6380), "/2", Some("x=1"))
        );
        let url = Url::parse("http://Rechner.Insurer.example").expect("well-formed");
        assert_eq!(
            (url.host.as_str(), url.port, url.path, url.query),
            ("rechner.insurer.example", None, "", None)
        );
    }

    #[test]
    fn what_names_no_host_is_refused() {
        for text in [
            "",
            "host",
            "http://",
            "http://:80",
            "http://a:",
            "http://a:0",
            "http://a:65536",
            "http://a:+1",
            "http://[::1",
            "http://[x]",
            "http://::1",
            "http://a b",
            "http://ü.de",
            "http://a..b",
            "http://-a",
            "http://a/#f",
            "http://[::1]x",
            "http://a,b",
        ] {
            assert!(Url::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn loopback_is_this_machine_only() {
        let loopback = |text| Url::parse(text).expect("well-formed").is_loopback();
        for text in [
            "http://localhost",
            "http://127.9.9.9:1",
            "http://[::1]:2",
            "http://a.localhost",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert!(loopback(text), "{text}");
        }
        for text in [
            "http://localhost.example",
            "http://128.0.0.1",
            "http://[::2]",
            "http://127.0.0.1.example",
            "http://0.0.0.0",
        ] {
            assert!(!loopback(text), "{text}");
        }
    }
}
