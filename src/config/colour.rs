//! Brand colours and the contrast between them.

use super::document::Value;
use super::kinds::{quoted, text};

/// Reads a colour such as `#1d4f7c`.
pub(super) fn colour(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    channels(&text)
        .map(|_| text.to_ascii_lowercase())
        .ok_or_else(|| format!("{} is not a colour, such as \"#1d4f7c\"", quoted(&text)))
}

/// Contrast of two colours (WCAG 2.2), from 1 to 21; AA requires 4.5 (1.4.3).
pub(super) fn contrast(a: &str, b: &str) -> Option<f64> {
    let a = luminance(a)?;
    let b = luminance(b)?;
    Some((a.max(b) + 0.05) / (a.min(b) + 0.05))
}

fn channels(colour: &str) -> Option<[u8; 3]> {
    let digits = colour
        .strip_prefix('#')
        .filter(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let [_, r, g, b] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
    Some([r, g, b])
}

/// Relative luminance as WCAG 2.2 defines it.
fn luminance(colour: &str) -> Option<f64> {
    let linear = |channel: u8| {
        let share = f64::from(channel) / 255.0;
        if share <= 0.04045 {
            share / 12.92
        } else {
            ((share + 0.055) / 1.055).powf(2.4)
        }
    };
    let [r, g, b] = channels(colour)?.map(linear);
    Some(0.2126 * r + 0.7152 * g + 0.0722 * b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrast_is_that_of_the_recommendation() {
        assert_eq!(contrast("#000000", "#ffffff").map(f64::round), Some(21.0));
        assert_eq!(
            contrast("#777777", "#ffffff").map(|c| (c * 100.0).round()),
            Some(448.0)
        );
        assert_eq!(contrast("red", "#ffffff"), None);
    }
}
