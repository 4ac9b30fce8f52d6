//! User keys: all spellings of a user key are equal.

use domain::device::UserMark;
use ring::digest::{SHA256, digest};
use unicode_normalization::UnicodeNormalization as _;

/// A user key in its one canonical form: compatibility characters as their usual ones (NFKC), lower case, no blanks around.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UserKey(String);

/// The text is not a user key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MalformedUser {
    Empty,
    /// Longer than any user key, or with control characters.
    Unusable,
}

impl UserKey {
    /// The maximum number of characters, in canonical form.
    pub const LONGEST: usize = 128;
    /// Longer texts are refused unread.
    const MAX_BYTES: usize = 4 * Self::LONGEST;

    /// Reads a user key in any spelling.
    ///
    /// # Errors
    /// [`MalformedUser`] if it cannot be a user key.
    pub fn parse(text: &str) -> Result<Self, MalformedUser> {
        let text = text.trim();
        if text.is_empty() {
            return Err(MalformedUser::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(MalformedUser::Unusable);
        }
        // Lower case can yield characters that NFKC composes again.
        let lower: String = text.nfkc().collect::<String>().to_lowercase();
        let canonical = lower.nfkc().collect::<String>().trim().to_owned();
        let is_sound =
            canonical.chars().count() <= Self::LONGEST && !canonical.chars().any(char::is_control);
        match canonical.is_empty() {
            true => Err(MalformedUser::Empty),
            false if is_sound => Ok(Self(canonical)),
            false => Err(MalformedUser::Unusable),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the digest that identifies the key in counters and devices.
    pub fn mark(&self) -> UserMark {
        let mut mark = [0; 32];
        for (byte, from) in mark
            .iter_mut()
            .zip(digest(&SHA256, self.0.as_bytes()).as_ref())
        {
            *byte = *from;
        }
        UserMark::from_digest(mark)
    }
}

/// No log is to have one.
impl std::fmt::Debug for UserKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UserKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_user_key_are_one() {
        let one = UserKey::parse("mueller-7").expect("a user key");
        for spelling in [
            "MUELLER-7",
            "  Mueller-7\t",
            "\u{ff4d}\u{ff55}\u{ff45}\u{ff4c}\u{ff4c}\u{ff45}\u{ff52}-\u{ff17}",
            "mueller-\u{2077}",
        ] {
            let other = UserKey::parse(spelling).expect("a user key");
            assert_eq!(
                (other.as_str(), other.mark()),
                (one.as_str(), one.mark()),
                "{spelling}"
            );
        }
        assert_ne!(
            UserKey::parse("mueller-8").expect("a user key").mark(),
            one.mark()
        );
        assert_eq!(
            UserKey::parse("M\u{dc}LLER"),
            UserKey::parse("mu\u{308}ller"),
            "composed or not"
        );
    }

    #[test]
    fn the_canonical_form_of_a_canonical_form_is_itself() {
        for text in [
            "\u{130}stanbul",
            "\u{1e9e}traße",
            "Ａ\u{3000}b",
            "ﬁ\u{345}",
            "Σίσυφος ς",
        ] {
            let once = UserKey::parse(text).expect("a user key");
            assert_eq!(UserKey::parse(once.as_str()).as_ref(), Ok(&once), "{text}");
        }
    }

    #[test]
    fn what_nobody_can_have_is_no_user_key() {
        assert_eq!(UserKey::parse(" \u{3000}\n"), Err(MalformedUser::Empty));
        for text in [
            "a\u{0}b".to_owned(),
            "a\nb".to_owned(),
            "x".repeat(129),
            "\u{fdfa}".repeat(100),
            "x".repeat(100_000),
        ] {
            assert_eq!(
                UserKey::parse(&text),
                Err(MalformedUser::Unusable),
                "{} bytes",
                text.len()
            );
        }
        assert!(UserKey::parse(&"x".repeat(128)).is_ok());
    }
}
