//! Filters a client's request fields on the way to the calculator.
//!
//! It drops the fields by which a trusted front tells a server the client's identity or the target (`untrusted.rs`), and every field
//! whose name has other characters than letters, digits and `-`: CGI, WSGI and PHP confuse `SCRIPT_NAME`, `script.name` and `Script-Name`.

mod untrusted;

use self::untrusted::UNTRUSTED;

/// Decides by field name, without allocation.
#[derive(Clone, Debug)]
pub struct ClientFields {
    /// Sorted; no pattern is covered by a prefix pattern, so that only the last one up to a name can match it.
    patterns: Vec<Pattern>,
    passed: Vec<Box<[u8]>>,
    openings: Openings,
}

/// A pattern of dropped names: an exact name, or a prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pattern {
    /// In the form of [`normal`].
    name: Vec<u8>,
    extent: Extent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    Beginning,
    Whole,
}

/// A prefilter over first bytes and lengths of dropped names, with false positives; few of a browser's fields pass it.
#[derive(Clone, Debug)]
struct Openings([u64; 256]);

impl ClientFields {
    /// Drops all untrusted fields, names that may be taken for one of `reserved`, and names that a pattern in `strip` covers. Passes the names in
    /// `pass` despite their other characters.
    pub fn new<'n>(
        reserved: impl IntoIterator<Item = &'n str>,
        strip: &'n [String],
        pass: &[String],
    ) -> Self {
        let untrusted = UNTRUSTED
            .iter()
            .flat_map(|(_, patterns)| patterns.iter().copied());
        let patterns = untrusted
            .chain(reserved)
            .chain(strip.iter().map(String::as_str))
            .map(Pattern::new);
        let patterns = without_covered(patterns.collect());
        let openings = Openings::of(&patterns);
        let passed = pass
            .iter()
            .map(|name| name.to_ascii_lowercase().into_bytes().into_boxed_slice())
            .collect();
        Self {
            patterns,
            passed,
            openings,
        }
    }

    /// Returns whether a field is dropped, by its name in lower case.
    #[must_use]
    pub fn drops(&self, name: &[u8]) -> bool {
        if !is_plain(name) {
            return !self.passed.iter().any(|passed| **passed == *name);
        }
        self.openings.may_hold(name) && self.is_covered(name)
    }

    fn is_covered(&self, name: &[u8]) -> bool {
        let after = self
            .patterns
            .partition_point(|pattern| pattern.name.as_slice() <= name);
        after
            .checked_sub(1)
            .and_then(|at| self.patterns.get(at))
            .is_some_and(|pattern| pattern.covers(name))
    }
}

/// Returns the reason why a field of this name is never passed: the pattern, and the products that use it.
#[must_use]
pub fn untrusted(name: &str) -> Option<(&'static str, &'static str)> {
    let in_group = |(source, patterns): &(&'static str, &'static [&'static str])| {
        patterns
            .iter()
            .find(|pattern| covers(pattern, name))
            .map(|pattern| (*pattern, *source))
    };
    UNTRUSTED.iter().find_map(in_group)
}

/// Returns whether a pattern covers a name, or one that may be taken for it.
#[must_use]
pub fn covers(pattern: &str, name: &str) -> bool {
    Pattern::new(pattern).covers(&normal(name))
}

/// Returns whether a name consists of letters, digits and `-`.
#[must_use]
pub fn is_plain_name(name: &str) -> bool {
    is_plain(name.to_ascii_lowercase().as_bytes())
}

/// Returns whether all bytes are lower-case letters, digits and `-`. Checks eight bytes at a time, since it runs for every field.
fn is_plain(name: &[u8]) -> bool {
    let Some(last) = name.last_chunk::<8>() else {
        return name
            .iter()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-');
    };
    // The last eight bytes may overlap the previous ones.
    let (eights, _) = name.as_chunks::<8>();
    are_plain(last) && eights.iter().all(are_plain)
}

fn are_plain(eight: &[u8; 8]) -> bool {
    let eight = u64::from_le_bytes(*eight);
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let low = eight & !HIGH;
    // Sets the high bit of each byte that is at least `least`. No sum carries into the next byte.
    let from = |least: u8| low + (0x80 - u64::from(least)) * EACH;
    let is_between = |first: u8, last: u8| from(first) & !from(last + 1);
    let plain = is_between(b'a', b'z') | is_between(b'0', b'9') | is_between(b'-', b'-');
    plain & !eight & HIGH == HIGH
}

/// Maps characters to a common form, equal for names that applications confuse: WSGI, CGI and PHP replace hyphens by underscores, some
/// replace dots, and servers as old as Apache 2.2 every character that is not a letter or digit.
fn normal(name: &str) -> Vec<u8> {
    name.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                byte.to_ascii_lowercase()
            } else {
                b'-'
            }
        })
        .collect()
}

impl Pattern {
    fn new(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(beginning) => Self {
                name: normal(beginning),
                extent: Extent::Beginning,
            },
            None => Self {
                name: normal(text),
                extent: Extent::Whole,
            },
        }
    }

    fn covers(&self, name: &[u8]) -> bool {
        match self.extent {
            Extent::Whole => name == self.name,
            Extent::Beginning => name.starts_with(&self.name),
        }
    }
}

/// Sorts the patterns and removes those that another one covers.
fn without_covered(mut patterns: Vec<Pattern>) -> Vec<Pattern> {
    patterns.sort();
    patterns.dedup_by(|later, kept| kept.covers(&later.name));
    patterns
}

impl Openings {
    fn of(patterns: &[Pattern]) -> Self {
        let is_short =
            |pattern: &Pattern| pattern.extent == Extent::Beginning && pattern.name.len() < 3;
        if patterns.iter().any(is_short) {
            return Self([u64::MAX; 256]);
        }
        let mut all = Self([0; 256]);
        for pattern in patterns {
            let length = if pattern.extent == Extent::Whole {
                pattern.name.len()
            } else {
                0
            };
            let (place, bit) = place(&pattern.name, length);
            if let Some(word) = all.0.get_mut(place) {
                *word |= bit;
            }
        }
        all
    }

    fn may_hold(&self, name: &[u8]) -> bool {
        let has =
            |(place, bit): (usize, u64)| self.0.get(place).is_some_and(|word| word & bit != 0);
        has(place(name, 0)) || has(place(name, name.len()))
    }
}

/// Returns the prefilter's word and bit for names with these first three bytes and this length, or 0 for any length (a multiplicative hash).
fn place(name: &[u8], length: usize) -> (usize, u64) {
    let byte = |at: usize| name.get(at).copied().unwrap_or_default();
    let length = u8::try_from(length).unwrap_or(u8::MAX);
    let hash =
        u32::from_le_bytes([byte(0), byte(1), byte(2), length]).wrapping_mul(0x9e37_79b1) >> 18;
    (
        usize::try_from(hash / 64).unwrap_or_default(),
        1 << (hash % 64),
    )
}

#[cfg(test)]
mod tests;
