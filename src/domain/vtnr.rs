//! The broker number (Vermittlernummer).

use std::fmt;

/// A well-formed broker number: nine digits, written `60/123/4567`.
///
/// One value represents all spellings, so that another spelling never gets another counter or record
/// (product rule: all spellings of a VTNR share one counter).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vtnr(u32);

/// The text is not a broker number in any usual spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAVtnr;

const DIGITS: usize = 9;
/// Positions of separators, in digits.
const GROUP_ENDS: [usize; 2] = [2, 5];

impl Vtnr {
    /// The number `00/000/0000`, for look-ups that only imitate a real one.
    pub const NOBODYS: Self = Self(0);

    /// Parses a broker number as brokers write it: with slashes, hyphens or dots between the groups,
    /// with blanks anywhere, or as bare digits; full-width digits count as digits.
    ///
    /// # Errors
    /// [`NotAVtnr`] if there are not exactly nine digits, a separator occurs elsewhere than between
    /// the groups of 2, 3 and 4, or there is any other character.
    pub fn parse(text: &str) -> Result<Self, NotAVtnr> {
        let mut value = 0_u32;
        let mut digits = 0_usize;
        let mut separated_at = None;
        for symbol in text.chars() {
            if let Some(digit) = digit(symbol) {
                digits += 1;
                if digits > DIGITS {
                    return Err(NotAVtnr);
                }
                value = value * 10 + digit;
            } else if is_separator(symbol) {
                if !GROUP_ENDS.contains(&digits) || separated_at == Some(digits) {
                    return Err(NotAVtnr);
                }
                separated_at = Some(digits);
            } else if !is_blank(symbol) {
                return Err(NotAVtnr);
            }
        }
        if digits == DIGITS {
            Ok(Self(value))
        } else {
            Err(NotAVtnr)
        }
    }

    /// Returns the nine digits as a number, for records and digests.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Restores a VTNR from [`Vtnr::number`].
    ///
    /// # Errors
    /// [`NotAVtnr`] if it has more than nine digits.
    pub const fn from_number(number: u32) -> Result<Self, NotAVtnr> {
        if number < 1_000_000_000 {
            Ok(Self(number))
        } else {
            Err(NotAVtnr)
        }
    }
}

fn digit(symbol: char) -> Option<u32> {
    match symbol {
        '0'..='9' => Some(symbol as u32 - '0' as u32),
        '\u{ff10}'..='\u{ff19}' => Some(symbol as u32 - 0xff10),
        _ => None,
    }
}

fn is_separator(symbol: char) -> bool {
    matches!(
        symbol,
        '/' | '-' | '.' | '\u{2010}'
            ..='\u{2015}' | '\u{2212}' | '\u{ff0f}' | '\u{ff0d}' | '\u{2044}' | '\u{2215}'
    )
}

fn is_blank(symbol: char) -> bool {
    symbol.is_whitespace()
        || matches!(
            symbol,
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}'
        )
}

impl fmt::Display for Vtnr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.0 / 10_000_000;
        let rest = self.0 % 10_000_000;
        write!(f, "{first:02}/{:03}/{:04}", rest / 10_000, rest % 10_000)
    }
}

impl fmt::Debug for Vtnr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vtnr({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_has_nine_digits_at_most() {
        let largest = Vtnr::from_number(999_999_999).expect("nine digits");
        assert_eq!(largest.number(), 999_999_999);
        assert_eq!(Vtnr::from_number(1_000_000_000), Err(NotAVtnr));
    }

    #[test]
    fn every_usual_spelling_is_the_same_number() {
        let spellings = [
            "60/123/4567",
            "60-123-4567",
            "601234567",
            "60 123 4567",
            " 60 / 123 / 4567 ",
            "60.123.4567",
            "６０/１２３/４５６７",
            "60\u{a0}123\u{a0}4567",
            "60–123–4567",
            "60/1234567",
            "60123/4567",
            "6 0 1 2 3 4 5 6 7",
            "\u{feff}60/123/4567\u{200b}",
        ];
        for spelling in spellings {
            assert_eq!(
                Vtnr::parse(spelling).map(|vtnr| vtnr.to_string()),
                Ok("60/123/4567".into()),
                "{spelling:?}"
            );
        }
    }

    #[test]
    fn what_is_no_broker_number_is_refused() {
        let refused = [
            "",
            " ",
            "60/123/456",
            "60/123/45678",
            "6012345678",
            "60//123/4567",
            "6/0123/4567",
            "60/123/4567/",
            "/60/123/4567",
            "60/123/456a",
            "60_123_4567",
            "+601234567",
            "60/123/4567;",
            "٦٠١٢٣٤٥٦٧",
            "60\u{0}123/4567",
        ];
        for text in refused {
            assert_eq!(Vtnr::parse(text), Err(NotAVtnr), "{text:?}");
        }
    }

    #[test]
    fn leading_zeros_are_kept() {
        assert_eq!(
            Vtnr::parse("00/000/0012").map(|v| (v.to_string(), v.number())),
            Ok(("00/000/0012".into(), 12))
        );
    }

    proptest! {
        #[test]
        fn what_is_displayed_parses_to_itself(number in 0_u32..1_000_000_000) {
            let vtnr = Vtnr::from_number(number).expect("in range");
            prop_assert_eq!(Vtnr::parse(&vtnr.to_string()), Ok(vtnr));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = Vtnr::parse(&text);
        }
    }
}
