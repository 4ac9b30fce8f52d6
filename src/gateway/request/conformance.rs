//! What every request must be before anything else is asked of it: refused is what two servers could read differently.
//!
//! Pingora hands on what it received, not what it understood: `uri.path()` and the bytes that go to the calculator can differ.
//! So the raw target is judged, and whatever is judged goes up unchanged.

use crate::telemetry::metrics::Refusal;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Version};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession as HttpSession;

/// All header fields together, in bytes.
const MAX_HEADER: usize = 64 * 1_024;
/// No method in use has as many letters; what is longer only fills logs.
const LONGEST_METHOD: usize = 32;
/// Methods that echo or tunnel. `CONNECT` is refused by Pingora itself.
const REFUSED_METHODS: [&str; 2] = ["TRACE", "TRACK"];

/// Host names that requests may name.
pub(crate) struct Hosts(Vec<Host>);

/// A name, without the root's dot, and a port with its colon, or nothing.
struct Host {
    name: String,
    port: String,
}

impl Hosts {
    /// Takes authorities. A loopback address brings every name of the loopback along, for the demo.
    pub(crate) fn new(public: &str, others: &[String]) -> Self {
        let host = |authority| {
            let (name, port) = canonical(authority);
            Host {
                name: name.to_owned(),
                port: port.to_owned(),
            }
        };
        let mut hosts: Vec<_> = std::iter::once(public)
            .chain(others.iter().map(String::as_str))
            .map(host)
            .collect();
        let (name, port) = split_port(public);
        if matches!(name, "localhost" | "127.0.0.1" | "[::1]") {
            hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(|name| Host {
                name: name.to_owned(),
                port: port.to_owned(),
            }));
        }
        Self(hosts)
    }

    fn contain(&self, authority: &str) -> bool {
        let (name, port) = canonical(authority);
        // A port that goes without saying may be said.
        let is_port = |ours: &str| ours == port || ours.is_empty() && is_default(port);
        self.0
            .iter()
            .any(|ours| ours.name.eq_ignore_ascii_case(name) && is_port(&ours.port))
    }
}

fn is_default(port: &str) -> bool {
    matches!(port, ":80" | ":443")
}

/// A name without the root's dot, and the port.
fn canonical(authority: &str) -> (&str, &str) {
    let (name, port) = split_port(authority);
    (name.strip_suffix('.').unwrap_or(name), port)
}

/// The host, and the port with its colon.
pub(crate) fn split_port(authority: &str) -> (&str, &str) {
    match authority.rfind(':') {
        Some(at) if !authority.ends_with(']') => authority.split_at(at),
        _ => (authority, ""),
    }
}

/// Looks at a request before it is routed.
pub(crate) fn check(request: &RequestHeader, hosts: &Hosts) -> Result<(), Refusal> {
    if !is_sound_target(request.raw_path()) {
        return Err(Refusal::Target);
    }
    let method = request.method.as_str();
    if method.len() > LONGEST_METHOD
        || REFUSED_METHODS
            .iter()
            .any(|refused| method.eq_ignore_ascii_case(refused))
    {
        return Err(Refusal::Method);
    }
    let is_sound = has_sound_framing(&request.headers) && !upgrades_with_body(request);
    if size(&request.headers) > MAX_HEADER || !is_sound {
        return Err(Refusal::Header);
    }
    match authority(request) {
        Some(authority) if hosts.contain(authority) => Ok(()),
        Some(_) => Err(Refusal::Host),
        // RFC 9112, 3.2: none, or several, is malformed.
        None => Err(Refusal::Malformed),
    }
}

/// How long all header fields are together, in bytes.
fn size(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum()
}

/// Only targets in origin form, without what servers cut, turn or escape each in their own way.
fn is_sound_target(target: &[u8]) -> bool {
    let path = target.split(|byte| *byte == b'?').next().unwrap_or(target);
    target.first() == Some(&b'/')
        && target.iter().all(|byte| *byte > 0x20 && *byte != 0x7f)
        && !path.contains(&b'\\')
}

/// One length in digits, or chunks, and nothing else.
fn has_sound_framing(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length_is_sound = match (lengths.next(), lengths.next()) {
        (None, _) => true,
        (Some(only), None) => is_length(only.as_bytes()),
        (Some(_), Some(_)) => false,
    };
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding_is_sound = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    length_is_sound
        && coding_is_sound
        && !headers.contains_key("content_length")
        && !headers.contains_key("transfer_encoding")
}

/// A number as it is written: what has a sign, or zeros in front, is read by some and not by others, and by some as octal.
fn is_length(text: &[u8]) -> bool {
    text == b"0"
        || text.first().is_some_and(|first| *first != b'0') && text.iter().all(u8::is_ascii_digit)
}

/// Servers differ in where such a body ends and the other protocol begins; and a tunnel may pause for ever, which a body may not.
fn upgrades_with_body(request: &RequestHeader) -> bool {
    request.version == Version::HTTP_11
        && request.headers.contains_key(UPGRADE)
        && announces_body(&request.headers)
}

/// Whether the header says that a body comes with it.
pub(crate) fn announces_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers
            .get(CONTENT_LENGTH)
            .is_some_and(|length| length != "0")
}

/// Refuses a length beside chunks: Pingora drops it before anybody can see it (RFC 9112, 6.3 calls for an error).
pub(crate) fn check_length(http: &HttpSession) -> Result<(), Refusal> {
    let Some(h1) = http
        .as_http1()
        .filter(|h1| h1.req_header().headers.contains_key(TRANSFER_ENCODING))
    else {
        return Ok(());
    };
    if has_length(&h1.get_headers_raw_bytes()) {
        Err(Refusal::Header)
    } else {
        Ok(())
    }
}

fn has_length(header: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length:";
    header.split(|byte| *byte == b'\n').any(|line| {
        line.get(..NAME.len())
            .is_some_and(|name| name.eq_ignore_ascii_case(NAME))
    })
}

/// Whether a request is for this host, whichever port it names.
pub(crate) fn names_host(request: &RequestHeader, host: &str) -> bool {
    authority(request).is_some_and(|authority| {
        canonical(authority)
            .0
            .eq_ignore_ascii_case(canonical(host).0)
    })
}

/// The host that a request names, with its port.
pub(crate) fn authority(request: &RequestHeader) -> Option<&str> {
    let target = request
        .uri
        .authority()
        .filter(|_| request.version == Version::HTTP_2);
    target
        .map(|authority| authority.as_str())
        .or_else(|| host(request))
}

fn host(request: &RequestHeader) -> Option<&str> {
    let mut fields = request.headers.get_all(HOST).iter();
    match (fields.next(), fields.next()) {
        (Some(only), None) => only.to_str().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &[u8], fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", target, None).expect("a request");
        for (name, value) in fields {
            request.append_header(*name, *value).expect("a field");
        }
        request
    }

    fn checked(request: &RequestHeader) -> Result<(), Refusal> {
        check(
            request,
            &Hosts::new("rechner.example", &["alt.example:8443".to_owned()]),
        )
    }

    #[test]
    fn only_targets_that_begin_with_a_slash_pass() {
        for target in [
            &b"/"[..],
            b"/kfz/angebot?id=42&x=a\\b",
            b"/%C3%BC;jsessionid=1",
            b"//a//b",
        ] {
            assert_eq!(
                checked(&request(target, &[("Host", "rechner.example")])),
                Ok(()),
                "{target:?}"
            );
        }
        for target in [
            &b"urn:antrag/versand"[..],
            b"http://rechner.example/antrag",
            b"*",
            b"%2fantrag",
            b"?x",
            b"/a\\b",
        ] {
            let built =
                std::panic::catch_unwind(|| request(target, &[("Host", "rechner.example")]));
            if let Ok(built) = built {
                assert_eq!(checked(&built), Err(Refusal::Target), "{target:?}");
            }
        }
    }

    #[test]
    fn a_request_names_exactly_one_host_and_one_of_ours() {
        for host in [
            "rechner.example",
            "RECHNER.example.",
            "rechner.example:443",
            "alt.example:8443",
        ] {
            assert_eq!(checked(&request(b"/", &[("Host", host)])), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "rechner.example.evil.example",
            "alt.example",
            "rechner.example:8443",
            "rechner.example:443:443",
            "alt.example:8443:443",
            "",
        ] {
            assert_eq!(
                checked(&request(b"/", &[("Host", host)])),
                Err(Refusal::Host),
                "{host}"
            );
        }
        assert_eq!(checked(&request(b"/", &[])), Err(Refusal::Malformed));
        assert_eq!(
            checked(&request(
                b"/",
                &[("Host", "rechner.example"), ("Host", "rechner.example")]
            )),
            Err(Refusal::Malformed)
        );
    }

    #[test]
    fn lengths_and_codings_that_servers_read_differently_are_refused() {
        let with = |name, value| {
            checked(&request(
                b"/",
                &[("Host", "rechner.example"), (name, value)],
            ))
        };
        assert_eq!(
            (
                with("Content-Length", "5"),
                with("Content-Length", "0"),
                with("Content-Length", "50")
            ),
            (Ok(()), Ok(()), Ok(()))
        );
        assert_eq!(with("Transfer-Encoding", "chunked"), Ok(()));
        for (name, value) in [
            ("Content-Length", "5, 5"),
            ("Content-Length", "+5"),
            ("Content-Length", "-5"),
            ("Content-Length", "05"),
            ("Content-Length", "00"),
            ("Content-Length", "000000000000000005"),
            ("Content-Length", ""),
            ("Content-Length", "0x5"),
            ("Content_Length", "5"),
            ("Transfer-Encoding", "gzip, chunked"),
            ("Transfer-Encoding", "identity"),
            ("Transfer-Encoding", "xchunked"),
            ("Transfer_Encoding", "chunked"),
        ] {
            assert_eq!(with(name, value), Err(Refusal::Header), "{name}: {value}");
        }
        let twice = request(
            b"/",
            &[
                ("Host", "rechner.example"),
                ("Content-Length", "5"),
                ("Content-Length", "5"),
            ],
        );
        assert_eq!(checked(&twice), Err(Refusal::Header));
    }

    #[test]
    fn a_request_for_another_protocol_has_no_body() {
        let with = |fields: &[(&'static str, &str)]| {
            let fields = [
                &[("Host", "rechner.example"), ("Upgrade", "websocket")],
                fields,
            ]
            .concat();
            checked(&request(b"/", &fields))
        };
        assert_eq!(
            (with(&[]), with(&[("Content-Length", "0")])),
            (Ok(()), Ok(()))
        );
        for field in [
            ("Content-Length", "100"),
            ("Content-Length", "00"),
            ("Transfer-Encoding", "chunked"),
        ] {
            assert_eq!(with(&[field]), Err(Refusal::Header), "{field:?}");
        }
    }

    #[test]
    fn a_length_is_seen_in_the_header_as_it_came() {
        assert!(has_length(
            b"POST / HTTP/1.1\r\nHost: x\r\ncontent-LENGTH: 5\r\n\r\n"
        ));
        assert!(has_length(b"POST / HTTP/1.1\nContent-Length:5\n\n"));
        assert!(!has_length(
            b"POST /Content-Length: HTTP/1.1\r\nX-Content-Length: 5\r\nContent-Length-X: 5\r\n\r\n"
        ));
    }

    #[test]
    fn on_loopback_all_its_names_are_ours_and_only_with_the_port() {
        let hosts = Hosts::new("127.0.0.1:8080", &[]);
        assert!(hosts.contain("localhost:8080") && hosts.contain("[::1]:8080"));
        assert!(!hosts.contain("localhost") && !hosts.contain("localhost:8081"));
    }
}
