//! The page that a broker requested before the sign-in.

/// A path on this host, with its query, to which a browser may be redirected after the sign-in.
///
/// Anything that a browser could read as another host is refused: `//host`, `/\host`, control characters
/// (browsers drop tabs and line ends before they read a URL) and anything that does not begin with `/`.
/// To browsers a backslash is a slash before the query, and a character like any other within it (WHATWG URL, path state), where old
/// applications have paths of Windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnTo(Box<str>);

/// The text is not a path on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAReturnPath;

impl ReturnTo {
    /// The maximum length in bytes; the path travels in a query and in a hidden field.
    pub const LONGEST: usize = 8_192;

    /// Parses a path with its query.
    ///
    /// # Errors
    /// [`NotAReturnPath`] for anything that a browser might not read as a path on this host.
    pub fn parse(text: &str) -> Result<Self, NotAReturnPath> {
        let mut bytes = text.bytes();
        let begins_like_a_path =
            bytes.next() == Some(b'/') && !matches!(bytes.next(), Some(b'/' | b'\\'));
        let is_plain =
            text.bytes().all(|byte| matches!(byte, 0x21..=0x7e)) && !path_of(text).contains('\\');
        if begins_like_a_path && is_plain && text.len() <= Self::LONGEST {
            Ok(Self(text.into()))
        } else {
            Err(NotAReturnPath)
        }
    }

    /// The calculator's first page.
    pub fn start() -> Self {
        Self("/".into())
    }

    /// Returns path and query, safe for a `Location` field.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns everything before the first `?`, including a fragment.
fn path_of(text: &str) -> &str {
    text.split('?').next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_on_this_host_are_kept_as_they_are() {
        for text in [
            "/",
            "/kfz/angebot?id=42",
            "/a//b?x=//evil.example",
            "/%2F%2Fevil",
            "/?url=https://x.example/",
            "/a;b=c",
            "/.//x",
            "/kfz?pfad=C:\\dok\\a.pdf",
            "/?\\evil.example",
            "/?\\\\evil.example#\\",
        ] {
            assert_eq!(
                ReturnTo::parse(text).as_ref().map(ReturnTo::as_str),
                Ok(text)
            );
        }
    }

    #[test]
    fn what_could_lead_to_another_host_is_refused() {
        let refused = [
            "",
            "kfz",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "/\r/evil.example",
            " //evil.example",
            "\u{0}/x",
            "https://evil.example",
            "https:evil.example",
            "javascript:alert(1)",
            "/a\\b",
            "/a\\b?x=\\",
            "/#\\evil.example",
            "/\\?x",
            "/\\/evil.example?x",
            "/a b",
            "/\u{a0}x",
            "/x\u{7f}",
            "?x",
            "#x",
            "/\u{2028}x",
            "http:/\\evil.example",
            ".//evil.example",
        ];
        for text in refused {
            assert_eq!(ReturnTo::parse(text), Err(NotAReturnPath), "{text:?}");
        }
        assert_eq!(
            ReturnTo::parse(&format!("/{}", "a".repeat(ReturnTo::LONGEST))),
            Err(NotAReturnPath)
        );
    }

    proptest! {
        #[test]
        fn what_is_accepted_stays_on_this_host(text in "[/\\\\.:@?#a-z\\t\\r\\n %]{0,24}") {
            if let Ok(target) = ReturnTo::parse(&text) {
                prop_assert!(target.as_str().starts_with('/'));
                prop_assert!(!target.as_str().starts_with("//") && !path_of(target.as_str()).contains('\\'));
                prop_assert!(target.as_str().bytes().all(|b| b.is_ascii_graphic()));
            }
        }
    }
}
