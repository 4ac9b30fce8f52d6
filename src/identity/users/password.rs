//! Passwords: never shown, never truncated, wiped from memory after the comparison.

use super::key::UserKey;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// A password in the form that is hashed: NFC, blanks and all (NIST SP 800-63B-4, 3.1.1.2).
///
/// It has no `Debug` and no `Display`, and its memory is overwritten when it is dropped.
pub struct Password(Zeroizing<String>);

/// The text cannot be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MalformedPassword {
    Empty,
    TooLong,
}

/// Why a password must not be chosen. There are no rules of composition (NIST SP 800-63B-4, 3.1.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Too short for a password that is the only factor.
    #[error("the password has fewer than {} characters", Password::FEWEST)]
    TooShort,
    /// A likely guess for anybody who knows the user key.
    #[error("the password contains the user key")]
    HasUserKey,
    #[error("the password only repeats a short piece")]
    Repeats,
}

impl Password {
    /// The maximum length in bytes, as entered.
    pub const LONGEST: usize = 1_024;
    /// The minimum length in characters of a chosen password (NIST SP 800-63B-4, 3.1.1.2: for a password that is the only factor).
    pub const FEWEST: usize = 15;
    /// A repeated piece of up to this length is as weak as the piece alone.
    const SHORT_PIECE: usize = 4;

    /// Reads a password as it was entered.
    ///
    /// # Errors
    /// [`MalformedPassword`] if it cannot be anybody's password.
    pub fn parse(text: &str) -> Result<Self, MalformedPassword> {
        if text.is_empty() {
            return Err(MalformedPassword::Empty);
        }
        if text.len() > Self::LONGEST {
            return Err(MalformedPassword::TooLong);
        }
        // NFC makes a text at most three times as long (UAX 15): with this capacity, no reallocation leaves a copy behind.
        let mut composed = Zeroizing::new(String::with_capacity(3 * text.len()));
        composed.extend(text.nfc());
        Ok(Self(composed))
    }

    /// Returns the reason why this user must not choose the password, if there is one.
    pub fn unfit_for(&self, user: &UserKey) -> Option<Unfit> {
        let characters: Zeroizing<Vec<char>> = Zeroizing::new(self.0.chars().collect());
        if characters.len() < Self::FEWEST {
            return Some(Unfit::TooShort);
        }
        let lower = Zeroizing::new(self.0.to_lowercase());
        if user.as_str().chars().count() >= Self::SHORT_PIECE && lower.contains(user.as_str()) {
            return Some(Unfit::HasUserKey);
        }
        let repeats = |piece: usize| {
            characters
                .iter()
                .zip(characters.iter().skip(piece))
                .all(|(one, other)| one == other)
        };
        (1..=Self::SHORT_PIECE)
            .any(repeats)
            .then_some(Unfit::Repeats)
    }

    pub(super) fn reveal(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<MalformedPassword> {
        Password::parse(text).err()
    }

    #[test]
    fn a_password_is_taken_as_it_is_but_for_its_composition() {
        let revealed = |text: &str| {
            Password::parse(text)
                .map(|password| password.reveal().to_vec())
                .unwrap_or_default()
        };
        assert_eq!(revealed(" a B "), b" a B ");
        assert_eq!(revealed("u\u{308}"), "\u{fc}".as_bytes());
        assert_ne!(
            revealed("\u{ff41}"),
            b"a",
            "compatibility characters are not taken for others"
        );
    }

    #[test]
    fn only_nothing_and_what_is_too_long_is_no_password() {
        assert_eq!(parsed(""), Some(MalformedPassword::Empty));
        assert_eq!(parsed(" "), None);
        assert_eq!(parsed(&"x".repeat(1_024)), None);
        assert_eq!(parsed(&"x".repeat(1_025)), Some(MalformedPassword::TooLong));
        assert_eq!(
            parsed(&"\u{fc}".repeat(513)),
            Some(MalformedPassword::TooLong)
        );
    }

    #[test]
    fn a_password_can_be_chosen_if_it_is_long_and_not_the_first_to_be_tried() {
        let user = UserKey::parse("Mueller7").expect("a user key");
        let unfit = |text: &str| {
            Password::parse(text)
                .ok()
                .and_then(|password| password.unfit_for(&user))
        };
        assert_eq!(unfit("fourteen chars"), Some(Unfit::TooShort));
        assert_eq!(
            unfit("fünfzehn \u{e4}\u{f6}\u{fc} \u{df}e"),
            None,
            "characters count, not bytes, and none is demanded"
        );
        assert_eq!(unfit("ich bin MUELLER7 und du"), Some(Unfit::HasUserKey));
        for repeated in [
            "aaaaaaaaaaaaaaaaaaaa",
            "abababababababab",
            "1234123412341234123",
        ] {
            assert_eq!(unfit(repeated), Some(Unfit::Repeats), "{repeated}");
        }
        assert_eq!(unfit("correct horse battery staple"), None);
    }
}
