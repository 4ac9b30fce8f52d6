//! The hosts for which the admin listener responds.
//!
//! An attacker's page, in a browser within the operator's network, can point its own name to this listener (DNS rebinding) and read
//! the response as same-origin. Such a request names the attacker's host.

use http::{HeaderMap, Uri, Version, header};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Names of the admin listener, in lower case.
#[derive(Clone)]
pub(super) struct AdminHosts(Arc<[String]>);

impl AdminHosts {
    pub(super) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| canonical(name)).collect())
    }

    /// Returns whether a request names one of these hosts, an IP address, or `localhost`.
    pub(super) fn take(&self, version: Version, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut fields = headers.get_all(header::HOST).iter();
        let target = uri
            .authority()
            .is_none_or(|authority| self.contain(authority.as_str()));
        target
            && match (fields.next(), fields.next()) {
                // Browsers always send it.
                (None, _) => version == Version::HTTP_10 || uri.authority().is_some(),
                (Some(only), None) => only.to_str().is_ok_and(|host| self.contain(host)),
                (Some(_), Some(_)) => false,
            }
    }

    fn contain(&self, authority: &str) -> bool {
        let Some(host) = without_port(authority) else {
            return false;
        };
        if let Some(v6) = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
        {
            return v6.parse::<Ipv6Addr>().is_ok();
        }
        let name = canonical(host);
        name.parse::<Ipv4Addr>().is_ok() || name == "localhost" || self.0.contains(&name)
    }
}

/// Normalizes a host name: lower case, without the final dot.
fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn without_port(authority: &str) -> Option<&str> {
    let end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at_checked(end)?;
    let is_port = |port: &str| {
        port.strip_prefix(':')
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    (port.is_empty() || is_port(port)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn takes(version: Version, target: &str, fields: &[&str]) -> bool {
        let hosts = AdminHosts::new(&["VTNR-metrics.internal".to_owned()]);
        let fields = fields
            .iter()
            .map(|host| (header::HOST, HeaderValue::from_str(host).expect("a value")));
        hosts.take(
            version,
            &target.parse().expect("a target"),
            &fields.collect(),
        )
    }

    #[test]
    fn its_own_names_addresses_and_localhost_are_taken_in_every_spelling() {
        for host in [
            "vtnr-metrics.internal",
            "VTNR-METRICS.internal:9090",
            "vtnr-metrics.internal.",
            "vtnr-metrics.internal.:9090",
            "localhost",
            "LocalHost.:9090",
            "127.0.0.1:9090",
            "10.0.0.5",
            "[::1]",
            "[::1]:9090",
            "[2001:DB8::5]:9090",
        ] {
            assert!(takes(Version::HTTP_11, "/metrics", &[host]), "{host}");
            assert!(
                takes(Version::HTTP_11, &format!("http://{host}/metrics"), &[host]),
                "{host}"
            );
        }
    }

    #[test]
    fn every_other_host_is_refused() {
        for host in [
            "evil.example",
            "evil.example:9090",
            "vtnr-metrics.internal.evil.example",
            "evil.vtnr-metrics.internal",
            "localhost.evil.example",
            "evil.localhost",
            "127.0.0.1.evil.example",
            "127.1",
            "2130706433",
            "0x7f000001",
            "evil.example@127.0.0.1",
            "127.0.0.1@evil.example",
            "[::1].evil.example",
            "[evil.example]",
            "::1",
            "",
            ":9090",
            "vtnr-metrics.internal:evil.example",
            "vtnr-metrics.internal, evil.example",
        ] {
            assert!(!takes(Version::HTTP_11, "/metrics", &[host]), "{host}");
        }
        assert!(
            !takes(
                Version::HTTP_11,
                "http://evil.example/metrics",
                &["127.0.0.1"]
            ),
            "the target names a host too"
        );
        assert!(!takes(
            Version::HTTP_11,
            "/metrics",
            &["127.0.0.1", "evil.example"]
        ));
        assert!(!takes(Version::HTTP_11, "/metrics", &[]));
        assert!(
            takes(Version::HTTP_10, "/metrics", &[]),
            "no browser speaks HTTP/1.0, and probes do"
        );
        assert!(!takes(Version::HTTP_10, "/metrics", &["evil.example"]));
    }
}
