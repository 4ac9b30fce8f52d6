//! Recognises ways to sign in that hold for a connection and not for a request (RFC 4559, MS-NTHT).

use http::header::{AUTHORIZATION, PROXY_AUTHENTICATE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName};

/// NTLM and what may be NTLM within; Microsoft's names for the newer negotiation and for what WinRM speaks.
const SCHEMES: [&str; 5] = ["NTLM", "Negotiate", "Nego2", "Kerberos", "CredSSP"];

/// IIS says by it whether the connection stays signed in.
const PERSISTENT_AUTH: HeaderName = HeaderName::from_static("persistent-auth");
/// A proxy before the server says by it that it keeps connections apart (RFC 4559, 6).
const PROXY_SUPPORT: HeaderName = HeaderName::from_static("proxy-support");

/// Whether a request's credentials sign its connection in.
pub(crate) fn signs_a_connection_in(request: &HeaderMap) -> bool {
    request
        .get_all(AUTHORIZATION)
        .iter()
        .any(|value| names_a_scheme(value.as_bytes()))
}

/// Whether an answer says that its connection is signed in, or that it may be from the next request on.
pub(crate) fn says_that_it_is_signed_in(answer: &HeaderMap) -> bool {
    let challenges = [WWW_AUTHENTICATE, PROXY_AUTHENTICATE];
    answer.contains_key(PERSISTENT_AUTH)
        || answer.contains_key(PROXY_SUPPORT)
        || challenges
            .iter()
            .flat_map(|name| answer.get_all(name))
            .any(|value| names_a_scheme(value.as_bytes()))
}

/// Whether challenges or credentials name such a scheme. A word within a quoted text counts too: it costs no more than a connection.
fn names_a_scheme(value: &[u8]) -> bool {
    let words = value.split(|byte| *byte == b',' || byte.is_ascii_whitespace());
    words.into_iter().any(|word| {
        SCHEMES
            .iter()
            .any(|scheme| word.eq_ignore_ascii_case(scheme.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn fields(fields: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (
                HeaderName::try_from(*name).expect("a name"),
                HeaderValue::from_str(value).expect("a value"),
            )
        };
        fields
            .iter()
            .map(pair)
            .fold(HeaderMap::new(), |mut all, (name, value)| {
                all.append(name, value);
                all
            })
    }

    #[test]
    fn credentials_that_sign_a_connection_in_are_recognised() {
        let rows = [
            ("NTLM TlRMTVNTUAABAAAA", true),
            ("ntlm TlRMTVNTUAABAAAA", true),
            ("Negotiate YIIJvwYGKwYBBQUC", true),
            ("NEGOTIATE", true),
            ("NTLM\tTlRMTVNTUAABAAAA", true),
            ("  NTLM TlRMTVNTUAABAAAA", true),
            ("Nego2 TlRMTVNTUAABAAAA", true),
            ("Kerberos YIIJvw==", true),
            ("CredSSP AAAA", true),
            ("Basic TlRMTQ==", false),
            ("Basic TlRMTQ==, NTLM TlRM", true),
            ("Digest username=\"NTLM\", realm=\"x\"", false),
            ("NTLMv2 TlRMTVNTUAABAAAA", false),
            ("", false),
        ];
        for (value, expected) in rows {
            assert_eq!(
                signs_a_connection_in(&fields(&[("authorization", value)])),
                expected,
                "{value:?}"
            );
        }
        assert!(signs_a_connection_in(&fields(&[
            ("authorization", "Basic eDp5"),
            ("authorization", "NTLM TlRM")
        ])));
        assert!(!signs_a_connection_in(&fields(&[
            ("www-authenticate", "NTLM"),
            ("cookie", "NTLM")
        ])));
    }

    #[test]
    fn answers_on_a_connection_that_is_signed_in_are_recognised() {
        let rows: [(&[(&str, &str)], bool); 17] = [
            (&[("www-authenticate", "NTLM")], true),
            (&[("www-authenticate", "NTLM TlRMTVNTUAACAAAA")], true),
            (&[("www-authenticate", "negotiate")], true),
            (&[("www-authenticate", "Negotiate, NTLM")], true),
            (&[("www-authenticate", "Basic realm=\"x\", nTlM")], true),
            (
                &[("www-authenticate", "Basic realm=\"a\\\"b, c\",NTLM")],
                true,
            ),
            (
                &[(
                    "www-authenticate",
                    "Digest realm=\"x\", nonce=\"y\" , Negotiate YII=",
                )],
                true,
            ),
            (
                &[
                    ("www-authenticate", "Basic realm=\"x\""),
                    ("www-authenticate", "Negotiate"),
                ],
                true,
            ),
            (&[("proxy-authenticate", "NTLM")], true),
            (&[("persistent-auth", "true")], true),
            (&[("proxy-support", "Session-Based-Authentication")], true),
            (&[("www-authenticate", "Basic realm=\"NTLM\"")], false),
            (&[("www-authenticate", "Basic realm=\"a, NTLM\"")], false),
            (
                &[("www-authenticate", "Basic realm=\"not closed, NTLM")],
                true,
            ),
            (
                &[("www-authenticate", "Digest realm=\"x\", algorithm=MD5")],
                false,
            ),
            (
                &[("authorization", "NTLM"), ("x-persistent-auth", "true")],
                false,
            ),
            (&[], false),
        ];
        for (row, expected) in rows {
            assert_eq!(says_that_it_is_signed_in(&fields(row)), expected, "{row:?}");
        }
    }
}
