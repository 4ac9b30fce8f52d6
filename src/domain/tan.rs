//! TANs: one-time codes sent by mail.

use self::constant_time::equal as equal_in_constant_time;

/// The letters of TANs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alphabet(Box<[u8]>);

/// The reason why a text cannot be the alphabet of TANs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAlphabet {
    /// Fewer than [`Alphabet::FEWEST`] different letters.
    TooFew,
    /// A letter occurs twice, which would make it more likely than the others.
    Repeated(char),
    /// Only the capital letters A to Z are allowed.
    NotACapitalLetter(char),
}

impl Alphabet {
    /// The smallest number of letters (product rule): 20^6 TANs are 25.9 bits; OWASP ASVS 5.0 (6.5.4) requires 20.
    pub const FEWEST: usize = 20;
    /// Consonants that are not mistaken for another letter or digit, and form no words.
    pub const DEFAULT: &'static str = "BCDFGHJKLMNPQRSTVWXZ";

    /// Parses an alphabet, one letter after the other.
    ///
    /// # Errors
    /// [`BadAlphabet`] names the broken rule.
    pub fn parse(text: &str) -> Result<Self, BadAlphabet> {
        let mut letters = Vec::with_capacity(text.len());
        for symbol in text.chars() {
            let letter = u8::try_from(symbol)
                .ok()
                .filter(u8::is_ascii_uppercase)
                .ok_or(BadAlphabet::NotACapitalLetter(symbol))?;
            if letters.contains(&letter) {
                return Err(BadAlphabet::Repeated(symbol));
            }
            letters.push(letter);
        }
        if letters.len() < Self::FEWEST {
            Err(BadAlphabet::TooFew)
        } else {
            Ok(Self(letters.into()))
        }
    }
}

/// The length of a TAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TanLength {
    /// Six letters, the usual length.
    Usual,
    /// Ten letters, once a budget of wrong guesses is exhausted (product rule: strangers must not be able to lock a broker out).
    Long,
}

impl TanLength {
    pub const fn letters(self) -> usize {
        match self {
            Self::Usual => 6,
            Self::Long => 10,
        }
    }
}

/// A TAN. It has no `Debug`, so that no log can show it.
#[derive(Clone)]
pub struct Tan(Box<str>);

impl Tan {
    /// Draws a TAN, each letter equally likely; `random` fills a buffer with random bytes.
    ///
    /// Bytes at or above the largest multiple of the alphabet's size are discarded, since their
    /// remainder would favour the first letters.
    pub fn draw(alphabet: &Alphabet, length: TanLength, mut random: impl FnMut(&mut [u8])) -> Self {
        let size = alphabet.0.len();
        let fair = 256 - 256 % size;
        let mut tan = String::with_capacity(length.letters());
        let mut bytes = [0_u8; 32];
        while tan.len() < length.letters() {
            random(&mut bytes);
            let letters = bytes
                .iter()
                .map(|byte| usize::from(*byte))
                .filter(|byte| *byte < fair);
            let letters = letters.filter_map(|byte| alphabet.0.get(byte % size));
            tan.extend(
                letters
                    .take(length.letters() - tan.len())
                    .map(|letter| char::from(*letter)),
            );
        }
        Self(tan.into())
    }

    /// Returns the letters, for the mail and the sealed record only.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Restores a TAN from the sealed record.
    pub fn from_record(letters: &str) -> Self {
        Self(letters.into())
    }

    /// Returns the length, which a page may show.
    pub fn length(&self) -> TanLength {
        if self.0.len() == TanLength::Long.letters() {
            TanLength::Long
        } else {
            TanLength::Usual
        }
    }

    /// Compares the TANs in constant time.
    pub fn matches(&self, entered: &EnteredTan) -> bool {
        equal_in_constant_time(self.0.as_bytes(), entered.0.as_bytes())
    }
}

/// A TAN as entered, normalized. Like [`Tan`] it has no `Debug`.
#[derive(Clone)]
pub struct EnteredTan(Box<str>);

/// The entry cannot be a TAN; it costs no try (product rule).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MalformedTan {
    Empty,
    /// Not the length of a TAN.
    WrongLength(usize),
    /// A character that does not occur in TANs.
    ForeignCharacter,
}

impl EnteredTan {
    /// Parses an entry for a TAN of `length`; accepts lower case and full-width letters, ignores blanks, hyphens and invisible characters.
    ///
    /// # Errors
    /// [`MalformedTan`] describes the mistake.
    pub fn parse(text: &str, alphabet: &Alphabet, length: TanLength) -> Result<Self, MalformedTan> {
        let mut letters = String::with_capacity(length.letters());
        for symbol in text.chars().filter(|symbol| !is_filler(*symbol)) {
            let letter = capital(symbol).ok_or(MalformedTan::ForeignCharacter)?;
            if !alphabet.0.contains(&letter) {
                return Err(MalformedTan::ForeignCharacter);
            }
            letters.push(char::from(letter));
        }
        match letters.len() {
            0 => Err(MalformedTan::Empty),
            n if n == length.letters() => Ok(Self(letters.into())),
            n => Err(MalformedTan::WrongLength(n)),
        }
    }
}

fn capital(symbol: char) -> Option<u8> {
    let narrow = match symbol {
        '\u{ff21}'..='\u{ff3a}' => char::from_u32(symbol as u32 - 0xff21 + 'A' as u32)?,
        '\u{ff41}'..='\u{ff5a}' => char::from_u32(symbol as u32 - 0xff41 + 'A' as u32)?,
        other => other.to_ascii_uppercase(),
    };
    u8::try_from(narrow).ok().filter(u8::is_ascii_uppercase)
}

/// Blanks, dashes and invisible characters, as copied from a mail.
fn is_filler(symbol: char) -> bool {
    symbol.is_whitespace()
        || matches!(
            symbol,
            '-' | '\u{ad}' | '\u{2010}'
                ..='\u{2015}' | '\u{2212}' | '\u{ff0d}' | '\u{fe58}' | '\u{fe63}'
        )
        || matches!(symbol, '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

mod constant_time {
    /// Compares all bytes; only different lengths, which are public, end it early.
    pub(super) fn equal(left: &[u8], right: &[u8]) -> bool {
        if left.len() != right.len() {
            return false;
        }
        let difference = left
            .iter()
            .zip(right)
            .fold(0_u8, |seen, (a, b)| seen | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn alphabet() -> Alphabet {
        Alphabet::parse(Alphabet::DEFAULT).expect("the default is sound")
    }

    fn counting() -> impl FnMut(&mut [u8]) {
        let mut next = 0_u8;
        move |buffer| {
            for byte in buffer {
                *byte = next;
                next = next.wrapping_add(1);
            }
        }
    }

    #[test]
    fn an_alphabet_needs_twenty_different_capital_letters() {
        assert_eq!(
            Alphabet::parse("BCDFGHJKLMNPQRSTVWX"),
            Err(BadAlphabet::TooFew)
        );
        assert_eq!(
            Alphabet::parse("BCDFGHJKLMNPQRSTVWXB"),
            Err(BadAlphabet::Repeated('B'))
        );
        assert_eq!(
            Alphabet::parse("BCDFGHJKLMNPQRSTVWX1"),
            Err(BadAlphabet::NotACapitalLetter('1'))
        );
        assert_eq!(
            Alphabet::parse("BCDFGHJKLMNPQRSTVWXÄ"),
            Err(BadAlphabet::NotACapitalLetter('Ä'))
        );
        assert!(Alphabet::parse("ABCDEFGHIJKLMNOPQRSTUVWXYZ").is_ok());
    }

    #[test]
    fn a_drawn_tan_has_its_length_and_letters_of_the_alphabet() {
        for length in [TanLength::Usual, TanLength::Long] {
            let tan = Tan::draw(&alphabet(), length, counting());
            assert_eq!(tan.reveal().len(), length.letters());
            assert_eq!(tan.length(), length);
            assert!(tan.reveal().chars().all(|c| Alphabet::DEFAULT.contains(c)));
        }
    }

    #[test]
    fn every_letter_is_equally_likely() {
        // Of the 256 values of a byte 240 are fair: each of the 20 letters comes of 12.
        let mut seen = std::collections::HashMap::new();
        for byte in 0..240 {
            let tan = Tan::draw(&alphabet(), TanLength::Usual, |buffer| buffer.fill(byte));
            *seen.entry(tan.reveal().to_owned()).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 20);
        assert!(seen.values().all(|count| *count == 12), "{seen:?}");
        let mut bytes = [255_u8; 32];
        bytes[31] = 0;
        let tan = Tan::draw(&alphabet(), TanLength::Usual, |buffer| {
            buffer.copy_from_slice(&bytes)
        });
        assert_eq!(
            tan.reveal(),
            "BBBBBB",
            "bytes from 240 up must be thrown away"
        );
    }

    #[test]
    fn an_entry_is_forgiven_how_it_is_written() {
        let tan = Tan::from_record("BCDFGH");
        let entries = [
            "BCDFGH",
            "bcdfgh",
            " BCD FGH ",
            "BCD-FGH",
            "bcd–fgh",
            "ＢＣＤｆｇｈ",
            "B\u{ad}C\u{200b}DFGH\u{feff}",
            "BCD\u{a0}FGH\r\n",
        ];
        for entry in entries {
            let entered = EnteredTan::parse(entry, &alphabet(), TanLength::Usual);
            assert!(
                entered.is_ok_and(|entered| tan.matches(&entered)),
                "{entry:?}"
            );
        }
    }

    #[test]
    fn a_malformed_entry_says_what_is_wrong() {
        let cases = [
            ("", MalformedTan::Empty),
            (" -\u{200b}", MalformedTan::Empty),
            ("BCDFG", MalformedTan::WrongLength(5)),
            ("BCDFGHJ", MalformedTan::WrongLength(7)),
            ("BCDFG1", MalformedTan::ForeignCharacter),
            ("ABCDEF", MalformedTan::ForeignCharacter),
            ("BCDFGÄ", MalformedTan::ForeignCharacter),
            ("BCDFG\u{0}", MalformedTan::ForeignCharacter),
        ];
        for (entry, expected) in cases {
            assert_eq!(
                EnteredTan::parse(entry, &alphabet(), TanLength::Usual).err(),
                Some(expected),
                "{entry:?}"
            );
        }
    }

    #[test]
    fn a_tan_of_another_length_or_letter_is_not_it() {
        let entered =
            EnteredTan::parse("BCDFGH", &alphabet(), TanLength::Usual).expect("well-formed");
        for other in ["BCDFGJ", "CBDFGH", "BCDFGHJKLM"] {
            assert!(!Tan::from_record(other).matches(&entered));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = EnteredTan::parse(&text, &alphabet(), TanLength::Usual);
        }
    }
}
