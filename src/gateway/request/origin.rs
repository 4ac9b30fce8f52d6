//! Where pages come from, as browsers say in `Origin` (RFC 6454, 6.2): scheme, host and port.

use crate::config::{self, Config, PublicUrl};
use crate::gateway::request::conformance::{authority, split_port};
use crate::gateway::request::cookies::CookieNames;
use crate::telemetry::metrics::Refusal;
use http::HeaderMap;
use http::header::{ORIGIN, UPGRADE};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

/// The scheme of a page's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// An origin, read from text; hosts are compared without regard to case and to the root's dot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    scheme: Scheme,
    host: &'a str,
    port: u16,
}

impl PartialEq for Origin<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.scheme == other.scheme
            && self.port == other.port
            && self.host.eq_ignore_ascii_case(other.host)
    }
}

impl<'a> Origin<'a> {
    /// Reads `scheme://host` with or without a port. `null` is none.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
            _ if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
            _ => return None,
        };
        let (host, port) = split_port(authority);
        let port = match port.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok()?
            }
            Some(_) => return None,
            None => scheme.default_port(),
        };
        Some(Self {
            scheme,
            host: named(host)?,
            port,
        })
    }

    /// The origin of this host's pages. A port that either scheme has by default is this scheme's: a front proxy may name its own.
    fn of_host(scheme: Scheme, authority: &'a str) -> Option<Self> {
        let (host, port) = split_port(authority);
        let port = match port {
            "" | ":" | ":80" | ":443" => scheme.default_port(),
            given => given.strip_prefix(':')?.parse().ok()?,
        };
        Some(Self {
            scheme,
            host: named(host)?,
            port,
        })
    }

    fn is_loopback(&self) -> bool {
        matches!(self.host, "127.0.0.1" | "[::1]") || self.host.eq_ignore_ascii_case("localhost")
    }
}

/// A host without the root's dot; none if it could be anything but a name or an address.
fn named(host: &str) -> Option<&str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.[:]".contains(&byte);
    (!host.is_empty() && host.bytes().all(is_part)).then_some(host)
}

/// What a request says of the page that made it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OriginHeader<'a> {
    /// Nothing: it has no `Origin`.
    Nothing,
    Origin(Origin<'a>),
    /// `null`, several, or what is no origin.
    Nonsense,
}

/// What a request's `Origin` says.
pub(crate) fn origin_header(headers: &HeaderMap) -> OriginHeader<'_> {
    let mut fields = headers.get_all(ORIGIN).iter();
    match (fields.next(), fields.next()) {
        (None, _) => OriginHeader::Nothing,
        (Some(only), None) => only
            .to_str()
            .ok()
            .and_then(Origin::parse)
            .map_or(OriginHeader::Nonsense, OriginHeader::Origin),
        (Some(_), Some(_)) => OriginHeader::Nonsense,
    }
}

/// Whether this is the origin of the pages of the host that a request is for, which are reached by this scheme. On loopback they may be
/// reached by the other one as well.
pub(crate) fn is_of_own_host(origin: Origin<'_>, request: &RequestHeader, scheme: Scheme) -> bool {
    let own = |scheme| {
        authority(request).and_then(|authority| Origin::of_host(scheme, authority)) == Some(origin)
    };
    own(scheme) || origin.is_loopback() && own(origin.scheme)
}

/// Whose pages may open WebSockets.
///
/// A handshake is no request that a page of another site could not make: browsers send cookies along and let any page read the answer.
pub(crate) struct WebSocketOrigins {
    allowed: Option<Vec<String>>,
}

impl WebSocketOrigins {
    pub(crate) fn new(config: &Config) -> Self {
        let config::WebSocketOriginsConfig::Listed(listed) = &config.upstream.websocket_origins
        else {
            return Self { allowed: None };
        };
        let listen = &config.listen;
        let certificate = config
            .certificate
            .as_ref()
            .map(|certificate| certificate.public_url.origin());
        let host = |host: &String| {
            PublicUrl {
                secure: listen.public_url.secure,
                authority: host.clone(),
            }
            .origin()
        };
        let own = std::iter::once(listen.public_url.origin())
            .chain(certificate)
            .chain(listen.hosts.iter().map(host));
        Self {
            allowed: Some(own.chain(listed.iter().cloned()).collect()),
        }
    }

    /// Refuses a handshake that a page made which may not, where pages of this host have this scheme.
    pub(crate) fn check(&self, request: &RequestHeader, scheme: Scheme) -> Result<(), Refusal> {
        let Some(allowed) = self
            .allowed
            .as_ref()
            .filter(|_| request.headers.contains_key(UPGRADE))
        else {
            return Ok(());
        };
        match origin_header(&request.headers) {
            OriginHeader::Nothing => Ok(()),
            OriginHeader::Origin(origin) if is_of_own_host(origin, request, scheme) => Ok(()),
            OriginHeader::Origin(origin)
                if allowed
                    .iter()
                    .any(|allowed| Origin::parse(allowed) == Some(origin)) =>
            {
                Ok(())
            }
            OriginHeader::Origin(_) | OriginHeader::Nonsense => Err(Refusal::Origin),
        }
    }
}

/// The scheme of the pages on this host, whose forms may come. Behind a front proxy that ends TLS it is that of
/// `listen.public_url`.
pub(crate) fn page_scheme(names: CookieNames, http: &Session) -> Scheme {
    let is_tls = || {
        http.digest()
            .is_some_and(|digest| digest.ssl_digest.is_some())
    };
    if names == CookieNames::Secure || is_tls() {
        Scheme::Https
    } else {
        Scheme::Http
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn is_own(scheme: Scheme, host: &str, origins: &[&str]) -> bool {
        let mut request = RequestHeader::build("POST", b"/", None).expect("a request");
        request.insert_header("Host", host).expect("a field");
        for origin in origins {
            request
                .append_header("Origin", HeaderValue::from_str(origin).expect("a value"))
                .expect("a field");
        }
        matches!(origin_header(&request.headers), OriginHeader::Origin(origin) if is_of_own_host(origin, &request, scheme))
    }

    #[test]
    fn scheme_host_and_port_are_compared_in_every_spelling() {
        for (host, origin) in [
            ("rechner.example", "https://rechner.example"),
            ("rechner.example", "https://rechner.example:443"),
            ("rechner.example:443", "https://rechner.example"),
            ("rechner.example:80", "https://rechner.example"),
            ("RECHNER.example", "HTTPS://Rechner.Example"),
            ("rechner.example.", "https://rechner.example"),
            ("rechner.example", "https://rechner.example."),
            ("rechner.example:8443", "https://rechner.example:8443"),
            ("[2001:db8::1]", "https://[2001:DB8::1]"),
            ("[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
        ] {
            assert!(is_own(Scheme::Https, host, &[origin]), "{host} {origin}");
        }
        for (host, origin) in [
            ("rechner.example", "http://rechner.example"),
            ("rechner.example", "http://rechner.example:443"),
            ("rechner.example", "https://rechner.example:80"),
            ("rechner.example:8443", "https://rechner.example"),
            ("rechner.example", "https://rechner.example:8443"),
            ("rechner.example", "https://evil.example"),
            ("rechner.example", "https://rechner.example.evil.example"),
            ("rechner.example", "https://rechner.example@evil.example"),
            ("rechner.example", "https://evil.example@rechner.example"),
            ("rechner.example", "https://rechner.example/"),
            ("rechner.example", "https://rechner.example:"),
            ("rechner.example", "https://rechner.example:+443"),
            (
                "rechner.example",
                "https://rechner.example https://rechner.example",
            ),
            ("rechner.example", "ws://rechner.example"),
            ("rechner.example", "rechner.example"),
            ("rechner.example", "null"),
            ("rechner.example", ""),
            ("[2001:db8::1]", "https://[2001:db8::2]"),
            ("127.0.0.1:8080", "http://127.0.0.1:8081"),
        ] {
            assert!(!is_own(Scheme::Https, host, &[origin]), "{host} {origin}");
        }
    }

    #[test]
    fn over_http_pages_of_https_are_others_but_on_loopback() {
        assert!(is_own(
            Scheme::Http,
            "rechner.example",
            &["http://rechner.example"]
        ));
        assert!(!is_own(
            Scheme::Http,
            "rechner.example",
            &["https://rechner.example"]
        ));
        assert!(is_own(
            Scheme::Http,
            "localhost:8443",
            &["https://localhost:8443"]
        ));
    }

    #[test]
    fn several_origins_are_none() {
        let twice = ["https://rechner.example", "https://rechner.example"];
        assert!(!is_own(Scheme::Https, "rechner.example", &twice));
        assert!(!is_own(
            Scheme::Https,
            "rechner.example",
            &["https://rechner.example", "https://evil.example"]
        ));
    }
}
