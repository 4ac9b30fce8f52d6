//! Tokens, which are secrets that only a browser holds, and ids.

use std::fmt;

/// Bytes in a token: 256 bits (product rule), twice the requirement of OWASP ASVS 5.0 (7.2.3).
pub const TOKEN_BYTES: usize = 32;

/// Declares a token type: no `Display`, no serialization, and a redacted `Debug`.
macro_rules! token {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name([u8; TOKEN_BYTES]);

        impl $name {
            /// Creates the token from random bytes.
            pub const fn from_bytes(bytes: [u8; TOKEN_BYTES]) -> Self {
                Self(bytes)
            }

            /// Returns the bytes, for the cookie and for key derivation only.
            pub const fn reveal(&self) -> &[u8; TOKEN_BYTES] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

token! {
    /// The value of the session cookie.
    SessionToken
}
token! {
    /// The value of a trusted browser's cookie.
    BrowserToken
}
token! {
    /// The value of the cookie of a sign-in in progress.
    FlowToken
}
token! {
    /// The value of a device's cookie.
    DeviceToken
}

token! {
    /// The value of the cookie for held forms.
    FormToken
}

/// Identifies one of a browser's held forms. Not a secret: it is useless without the browser's [`FormToken`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FormId(u64);

impl FormId {
    /// The number of digits in its text form.
    pub const DIGITS: usize = 16;

    /// Creates the id from random bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Parses the text form: sixteen hexadecimal digits in lower case.
    pub fn parse(text: &str) -> Option<Self> {
        let is_ours = text.len() == Self::DIGITS
            && text
                .bytes()
                .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        is_ours
            .then(|| u64::from_str_radix(text, 16).ok().map(Self))
            .flatten()
    }
}

impl fmt::Display for FormId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0width$x}", self.0, width = Self::DIGITS)
    }
}

/// Identifies a TAN mail in the outbox and its delivery status. Not a secret, but hard to guess.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LetterId(u128);

impl LetterId {
    /// Creates the id from random bits.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    pub const fn bits(self) -> u128 {
        self.0
    }
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LetterId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_form_has_its_bits_in_its_text() {
        let id = FormId::from_bits(0x0123_4567_89ab_cdef);
        assert_eq!(id.bits(), 0x0123_4567_89ab_cdef);
        assert_eq!(FormId::parse("0123456789abcdef"), Some(id));
    }

    #[test]
    fn a_token_never_shows_in_a_debug_text() {
        let text = format!(
            "{:?}{:?}{:?}",
            SessionToken([7; 32]),
            BrowserToken([7; 32]),
            FlowToken([7; 32])
        );
        assert_eq!(text, "SessionToken(…)BrowserToken(…)FlowToken(…)");
        assert_eq!(format!("{:?}", FormToken([7; 32])), "FormToken(…)");
    }

    #[test]
    fn a_forms_name_is_read_back_and_nothing_else_is() {
        let id = FormId::from_bits(0xab);
        assert_eq!(FormId::parse(&id.to_string()), Some(id));
        for other in [
            "",
            "ab",
            "00000000000000AB",
            "00000000000000abc",
            "+0000000000000ab",
            "0x000000000000ab",
        ] {
            assert_eq!(FormId::parse(other), None, "{other}");
        }
    }
}
