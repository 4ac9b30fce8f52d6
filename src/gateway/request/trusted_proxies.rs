//! Which peers are front proxies of the operator's, and whose requests they pass on.

use http::HeaderMap;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// Front proxies whose `X-Forwarded-For` is believed. Nobody's is by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    pub(crate) fn new(networks: &[IpNet]) -> Self {
        Self(networks.to_vec())
    }

    /// Whether this address is one of them.
    pub(crate) fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Who sent a request that came from `peer`. Each front appends the address that it saw to the list; so from its end, what trusted
    /// front proxies wrote is true, up to and with the first address that is not theirs. What stands before that is the client's own tale.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trust(client) {
            return client;
        }
        for field in headers
            .get_all("x-forwarded-for")
            .iter()
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            for element in field.as_bytes().rsplit(|byte| *byte == b',') {
                // What cannot be read was not written by a front: the last that could be read is as far as can be told.
                let Some(address) = address(element) else {
                    return client;
                };
                client = address;
                if !self.trust(client) {
                    return client;
                }
            }
        }
        client
    }
}

/// An address as front proxies write it: some with a port, and IPv6 in brackets.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?.trim_matches([' ', '\t']);
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = match bare {
        Some(bare) => bare.parse().ok().filter(IpAddr::is_ipv6),
        None => text.parse().ok().or_else(|| {
            text.parse::<SocketAddr>()
                .ok()
                .map(|with_port| with_port.ip())
        }),
    };
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn trusted_proxies() -> TrustedProxies {
        TrustedProxies::new(
            &["10.0.0.0/8", "192.0.2.1/32", "2001:db8:f::/48"]
                .map(|network| network.parse().expect("a network")),
        )
    }

    fn client(peer: &str, fields: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(
                "x-forwarded-for",
                HeaderValue::from_bytes(field).expect("a value"),
            );
        }
        trusted_proxies()
            .client(peer.parse().expect("an address"), &headers)
            .to_string()
    }

    #[test]
    fn the_client_is_the_last_that_no_front_is() {
        let rows: [(&str, &[&[u8]], &str); 18] = [
            ("198.51.100.7", &[b"203.0.113.9"], "198.51.100.7"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[b"203.0.113.9"], "203.0.113.9"),
            ("::ffff:10.0.0.1", &[b"203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &[b"198.51.100.1, 203.0.113.9"], "203.0.113.9"),
            (
                "10.0.0.1",
                &[b"198.51.100.1", b"203.0.113.9"],
                "203.0.113.9",
            ),
            (
                "10.0.0.1",
                &[b"203.0.113.9", b"10.9.9.9 ,192.0.2.1"],
                "203.0.113.9",
            ),
            ("10.0.0.1", &[b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &[b"203.0.113.9, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &[b"203.0.113.9, , 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[b"203.0.113.9, \xff, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[b"203.0.113.9:4711"], "203.0.113.9"),
            ("10.0.0.1", &[b"[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &[b"[2001:db8::1]"], "2001:db8::1"),
            ("2001:db8:f::1", &[b"2001:DB8:0:0::1\t"], "2001:db8::1"),
            (
                "2001:db8:f::1",
                &[b"198.51.100.1, ::ffff:203.0.113.9, 2001:db8:f:9::1"],
                "203.0.113.9",
            ),
            ("10.0.0.1", &[b"[203.0.113.9]"], "10.0.0.1"),
            ("10.0.0.1", &[b"fe80::1%eth0"], "10.0.0.1"),
        ];
        for (peer, fields, expected) in rows {
            assert_eq!(client(peer, fields), expected, "{peer} {fields:?}");
        }
    }

    proptest! {
        /// Whatever a client writes, what the front appends decides.
        #[test]
        fn nothing_that_a_client_wrote_is_believed(tale in prop::collection::vec("[ -~]{0,40}", 0..4)) {
            let mut fields: Vec<&[u8]> = tale.iter().map(|field| field.as_bytes()).collect();
            fields.push(b"203.0.113.9");
            prop_assert_eq!(client("10.0.0.1", &fields), "203.0.113.9");
            prop_assert_eq!(client("198.51.100.7", &fields), "198.51.100.7");
        }
    }
}
