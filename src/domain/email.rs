//! E-mail addresses, as typed by brokers and as on file.

use std::fmt;
use std::hash::{Hash, Hasher};

/// A well-formed e-mail address, kept as written and compared without regard to letter case.
///
/// Stricter than RFC 5321: exactly one `@`, no quoted local part, no comment, no address literal.
/// A refused address can neither reach a mail header nor add a second recipient.
#[derive(Clone)]
pub struct Email {
    written: Box<str>,
    canonical: Box<str>,
}

/// The text is not an e-mail address that the gateway would write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnEmail;

/// Maximum octets of local part, domain and address (RFC 5321, 4.5.3.1).
const MAX_LOCAL: usize = 64;
const MAX_DOMAIN: usize = 253;
const MAX_TOTAL: usize = 254;
const MAX_LABEL: usize = 63;

impl Email {
    /// Parses an address; ignores blanks and invisible characters around it.
    ///
    /// # Errors
    /// [`NotAnEmail`] for anything but `local@domain` with a dot in the domain.
    pub fn parse(text: &str) -> Result<Self, NotAnEmail> {
        let text = text.trim_matches(|c: char| c.is_whitespace() || is_invisible(c));
        let (local, domain) = text.split_once('@').ok_or(NotAnEmail)?;
        if text.len() > MAX_TOTAL || !is_local_part(local) || !is_domain(domain) {
            return Err(NotAnEmail);
        }
        Ok(Self {
            written: text.into(),
            canonical: text.to_lowercase().into(),
        })
    }

    /// Returns the address as written, for pages and mails.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Returns the form in which all spellings of an address are equal.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// Returns the domain, which may be logged.
    pub fn domain(&self) -> &str {
        self.written
            .split_once('@')
            .map_or("", |(_, domain)| domain)
    }
}

fn is_local_part(local: &str) -> bool {
    let atoms_are_sound = local
        .split('.')
        .all(|atom| !atom.is_empty() && atom.bytes().all(is_atext));
    local.len() <= MAX_LOCAL && atoms_are_sound
}

fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

fn is_domain(domain: &str) -> bool {
    domain.len() <= MAX_DOMAIN && domain.contains('.') && domain.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let edges_are_sound = !label.starts_with('-') && !label.ends_with('-');
    !label.is_empty()
        && label.len() <= MAX_LABEL
        && edges_are_sound
        && label.chars().all(|c| c.is_alphanumeric() || c == '-')
}

fn is_invisible(symbol: char) -> bool {
    matches!(
        symbol,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}'
    )
}

impl PartialEq for Email {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for Email {}

impl Hash for Email {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

/// Shows the domain only: `Debug` texts may be logged, full addresses may not.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Email(…@{})", self.domain())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn letter_case_and_surrounding_blanks_make_no_difference() {
        let on_file = Email::parse("Ada.Lovelace@Makler.example").expect("well-formed");
        for typed in [
            "ada.lovelace@makler.example",
            " ADA.LOVELACE@MAKLER.EXAMPLE\u{a0}",
            "\u{200b}Ada.Lovelace@makler.example",
        ] {
            assert_eq!(Email::parse(typed).as_ref(), Ok(&on_file), "{typed:?}");
        }
        assert_eq!(on_file.as_str(), "Ada.Lovelace@Makler.example");
    }

    #[test]
    fn what_could_name_another_recipient_or_header_is_refused() {
        let refused = [
            "",
            "@",
            "a@",
            "@b.de",
            "a@b",
            "a@@b.de",
            "a@evil@makler.de",
            "a@b.de,c@d.de",
            "a b@c.de",
            "a@b.de\r\nBcc: x@y.de",
            "a@b.de\n.",
            "\"a b\"@c.de",
            "a(comment)@b.de",
            "<a@b.de>",
            "a@[127.0.0.1]",
            "a.@b.de",
            ".a@b.de",
            "a..b@c.de",
            "a@-b.de",
            "a@b-.de",
            "a@b..de",
            "a@b.de.",
            "a@b_c.de",
            "a:b@c.de",
            "a;b@c.de",
            "a\\b@c.de",
            "ä@makler.de",
        ];
        for text in refused {
            assert_eq!(Email::parse(text), Err(NotAnEmail), "{text:?}");
        }
        assert_eq!(
            Email::parse(&format!("{}@b.de", "a".repeat(65))),
            Err(NotAnEmail)
        );
        assert_eq!(
            Email::parse(&format!("a@{}.de", "b".repeat(64))),
            Err(NotAnEmail)
        );
        assert_eq!(
            Email::parse(&format!("a@{}de", "bbbb.".repeat(51))),
            Err(NotAnEmail)
        );
    }

    #[test]
    fn honest_addresses_are_accepted() {
        for text in [
            "a@b.de",
            "o'neill+tag@sub.makler-haus.example",
            "info@müller-makler.de",
            "1_x@2.co",
        ] {
            assert!(Email::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn debug_hides_the_local_part() {
        let email = Email::parse("ada@makler.example").expect("well-formed");
        assert_eq!(format!("{email:?}"), "Email(…@makler.example)");
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_one_line_with_one_at_sign(text in "[a-zA-Z0-9@.,;<>\\r\\n\\t \"-]{0,40}") {
            if let Ok(email) = Email::parse(&text) {
                prop_assert_eq!(email.as_str().matches('@').count(), 1);
                prop_assert!(!email.as_str().contains(|c: char| c.is_control() || c.is_whitespace() || ",;<>\"".contains(c)));
            }
        }
    }
}
