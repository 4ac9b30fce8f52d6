//! The payload of the DATA command.

use lettre::Message;
use std::fmt;
use std::string::FromUtf8Error;

/// A mail on the wire, with its end, in one piece.
///
/// lettre sends the end of a mail separately. The kernel holds such a short second segment back
/// until the server has acknowledged the first (Nagle's algorithm), which a server with delayed
/// acknowledgements does up to 40 ms later, for every mail.
pub(super) struct DataPayload(String);

impl DataPayload {
    /// Encodes a mail.
    ///
    /// # Errors
    /// The mail is not UTF-8.
    pub(super) fn of(message: &Message) -> Result<Self, FromUtf8Error> {
        String::from_utf8(message.formatted()).map(|text| Self::of_text(&text))
    }

    /// Doubles the dot at the beginning of a line, so that no line ends the mail (RFC 5321, 4.5.2).
    fn of_text(text: &str) -> Self {
        let mut content = String::with_capacity(text.len() + 64);
        for line in text.split_inclusive("\r\n") {
            if line.starts_with('.') {
                content.push('.');
            }
            content.push_str(line);
        }
        if !content.ends_with("\r\n") {
            content.push_str("\r\n");
        }
        content.push_str(".\r\n");
        Self(content)
    }
}

impl fmt::Display for DataPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::DataPayload;

    #[test]
    fn only_the_last_line_is_a_single_dot() {
        let cases = [
            ("", "\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            (".\r\n..\r\n.a\r\na.\r\n", "..\r\n...\r\n..a\r\na.\r\n.\r\n"),
            ("a\n.\r\n", "a\n.\r\n.\r\n"),
        ];
        for (text, content) in cases {
            assert_eq!(DataPayload::of_text(text).to_string(), content, "{text:?}");
        }
    }
}
