//! Colours of the brand, and whether they can be read.

use std::fmt;

/// A colour, as `#rrggbb` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color {
    red: u8,
    green: u8,
    blue: u8,
}

/// The text is not a colour of the form `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAColor;

/// The least contrast that text needs (WCAG 2.2, 1.4.3).
pub const READABLE: f64 = 4.5;

impl Color {
    pub const WHITE: Self = Self {
        red: 255,
        green: 255,
        blue: 255,
    };
    /// The colour that the card lies on.
    pub const GROUND: Self = Self {
        red: 0xf1,
        green: 0xf3,
        blue: 0xf5,
    };
    /// The colour of plain text.
    pub const INK: Self = Self {
        red: 0x1b,
        green: 0x22,
        blue: 0x2b,
    };

    /// Reads `#rrggbb`.
    ///
    /// # Errors
    /// [`NotAColor`] for any other form, `#rgb` and names included.
    pub fn parse(text: &str) -> Result<Self, NotAColor> {
        let digits = text
            .strip_prefix('#')
            .filter(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let value = u32::from_str_radix(digits.ok_or(NotAColor)?, 16).map_err(|_| NotAColor)?;
        let [_, red, green, blue] = value.to_be_bytes();
        Ok(Self { red, green, blue })
    }

    /// A tenth nearer to `other`, for a button under the pointer.
    pub(super) fn towards(self, other: Self) -> Self {
        let mix = |from: u8, to: u8| {
            u8::try_from((u16::from(from) * 9 + u16::from(to)) / 10).unwrap_or(from)
        };
        Self {
            red: mix(self.red, other.red),
            green: mix(self.green, other.green),
            blue: mix(self.blue, other.blue),
        }
    }

    /// Relative luminance (WCAG 2.2, definition), 0 for black to 1 for white.
    pub(super) fn luminance(self) -> f64 {
        let linear = |channel: u8| match f64::from(channel) / 255.0 {
            low if low <= 0.040_45 => low / 12.92,
            high => ((high + 0.055) / 1.055).powf(2.4),
        };
        0.2126 * linear(self.red) + 0.7152 * linear(self.green) + 0.0722 * linear(self.blue)
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.red, self.green, self.blue)
    }
}

/// The contrast of two colours, from 1 (none) to 21 (black on white); text needs [`READABLE`] (WCAG 2.2, 1.4.3).
pub fn contrast(a: Color, b: Color) -> f64 {
    let a = a.luminance();
    let b = b.luminance();
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrast_is_that_of_the_wcag_definition() {
        let black = Color::parse("#000000").expect("a colour");
        assert!((contrast(black, Color::WHITE) - 21.0).abs() < 0.001);
        assert!((contrast(Color::WHITE, Color::WHITE) - 1.0).abs() < 0.001);
        let grey = Color::parse("#767676").expect("a colour");
        assert!(
            (contrast(grey, Color::WHITE) - 4.54).abs() < 0.01,
            "{}",
            contrast(grey, Color::WHITE)
        );
    }

    #[test]
    fn only_six_hexadecimal_digits_are_a_colour() {
        assert_eq!(
            Color::parse("#0a4B78").map(|color| color.to_string()),
            Ok("#0a4b78".into())
        );
        for text in [
            "", "#", "#fff", "0a4b78", "#0a4b7", "#0a4b788", "#0a4b7g", "#+a4b78", "red",
            "#fff;}*{", "#ä4b78",
        ] {
            assert_eq!(Color::parse(text), Err(NotAColor), "{text:?}");
        }
    }
}
