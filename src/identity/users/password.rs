//! Passwords: never shown, never cut short, gone from memory once they were compared.

use super::key::UserKey;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// A password in the form that is hashed: NFC, blanks and all (NIST SP 800-63B-4, 3.1.1.2).
///
/// It has no `Debug` and no `Display`, and its memory is overwritten when it is dropped.
pub struct Password(Zeroizing<String>);

/// What is no password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MalformedPassword {
    Empty,
    /// Longer than what is hashed.
    TooLong,
}

/// Why a password must not be chosen. There are no rules of composition (NIST SP 800-63B-4, 3.1.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Too short where nothing else is asked for.
    #[error("the password has fewer than {} characters", Password::FEWEST)]
    TooShort,
    /// Among the first guesses of anybody who knows the user key.
    #[error("the password contains the user key")]
    HasUserKey,
    #[error("the password is one short piece over and over")]
    Repeats,
}

impl Password {
    /// Bytes of the longest, as it was entered.
    pub const LONGEST: usize = 1_024;
    /// Characters of the shortest that can be chosen (NIST SP 800-63B-4, 3.1.1.2: for a password that is the only factor).
    pub const FEWEST: usize = 15;
    /// A piece of so many characters, repeated, is no better than the piece.
    const SHORT_PIECE: usize = 4;

    /// Reads a password as it was entered.
    ///
    /// # Errors
    /// [`MalformedPassword`] if it can be nobody's.
    pub fn parse(text: &str) -> Result<Self, MalformedPassword> {
        if text.is_empty() {
            return Err(MalformedPassword::Empty);
        }
        if text.len() > Self::LONGEST {
            return Err(MalformedPassword::TooLong);
        }
        // Composing makes a text at most three times as long (UAX 15), so that no copy is left behind where it grew.
        let mut composed = Zeroizing::new(String::with_capacity(3 * text.len()));
        composed.extend(text.nfc());
        Ok(Self(composed))
    }

    /// Why this user must not choose it, if there is a reason.
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
