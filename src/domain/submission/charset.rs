//! The charset named by a request, in which Tomcat (`useBodyEncodingForURI`), ASP.NET and Django read the query.

/// Whether a request's charset is ASCII-compatible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// No charset, or one in which every ASCII byte means itself.
    AsciiCompatible,
    /// Another charset (`IBM037`, `UTF-7`, `UTF-16`, `Shift_JIS`), an unknown or an ambiguous one.
    Other,
}

/// Charsets that extend ASCII, with single bytes, or no bytes below 0x80, for other characters.
const COMPATIBLE: [&[u8]; 6] = [
    b"utf-8",
    b"utf8",
    b"us-ascii",
    b"ascii",
    b"latin1",
    b"latin-1",
];
const NUMBERED: [(&[u8], &[&[u8]]); 3] = [
    (
        b"iso-8859-",
        &[
            b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9", b"10", b"11", b"13", b"14",
            b"15", b"16",
        ],
    ),
    (
        b"windows-125",
        &[b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8"],
    ),
    (
        b"cp125",
        &[b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8"],
    ),
];
const PARAMETER: &[u8] = b"charset";

impl Charset {
    /// Reads the values of all `Content-Type` fields. Servers search for `charset=` in different ways, so every place where one
    /// could find it counts.
    pub fn of<'a>(content_types: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let all = content_types.into_iter().all(is_compatible);
        if all {
            Self::AsciiCompatible
        } else {
            Self::Other
        }
    }
}

fn is_compatible(content_type: &[u8]) -> bool {
    // .NET ignores invisible characters in comparisons: `char\xadset`.
    if !content_type
        .iter()
        .all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
    {
        return false;
    }
    let mut rest = content_type;
    while let Some(at) = rest
        .windows(PARAMETER.len())
        .position(|word| word.eq_ignore_ascii_case(PARAMETER))
    {
        rest = rest.get(at + PARAMETER.len()..).unwrap_or_default();
        if !is_followed_by_compatible(rest.trim_ascii_start()) {
            return false;
        }
    }
    true
}

/// Returns whether the text after the word `charset` names a compatible one, or shows that it is not a parameter.
fn is_followed_by_compatible(text: &[u8]) -> bool {
    let value = match text.split_first() {
        Some((b'=', value)) => value.trim_ascii_start(),
        // The end of a word, or more letters of it.
        None | Some((b';' | b',' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z', _)) => {
            return true;
        }
        // `charset*=`, as RFC 2231 writes it, `charset"=` and the like.
        Some(_) => return false,
    };
    let name = value
        .strip_prefix(b"\"")
        .or_else(|| value.strip_prefix(b"'"))
        .unwrap_or(value);
    let ends = |byte: &u8| matches!(byte, b';' | b',' | b' ' | b'\t' | b'"' | b'\'');
    let name = name
        .get(..name.iter().position(ends).unwrap_or(name.len()))
        .unwrap_or_default();
    let is_numbered = |prefix: &[u8], numbers: &[&[u8]]| {
        let (start, number) = name.split_at(prefix.len().min(name.len()));
        start.eq_ignore_ascii_case(prefix) && numbers.contains(&number)
    };
    COMPATIBLE
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
        || NUMBERED
            .iter()
            .any(|(prefix, numbers)| is_numbered(prefix, numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content_type: &str) -> Charset {
        Charset::of([content_type.as_bytes()])
    }

    #[test]
    fn what_browsers_send_is_compatible_with_ascii() {
        for content_type in [
            "",
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded; charset=UTF-8",
            "application/x-www-form-urlencoded;charset=utf8",
            "text/plain;charset=\"utf-8\"",
            "text/plain ; Charset = 'ISO-8859-15' ; x=y",
            "text/plain; charset=windows-1252",
            "text/plain; charset=CP1252; charset=latin1",
            "application/json; charset=us-ascii",
            "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
            "multipart/form-data; boundary=charset",
            "multipart/form-data; boundary=charsets-1",
        ] {
            assert_eq!(of(content_type), Charset::AsciiCompatible, "{content_type}");
        }
        assert_eq!(Charset::of([]), Charset::AsciiCompatible);
    }

    #[test]
    fn every_other_charset_is_another_one_wherever_a_server_could_find_it() {
        let names = [
            "utf-16",
            "UTF-16LE",
            "utf-7",
            "unicode-1-1-utf-7",
            "utf-32",
            "ibm037",
            "cp037",
            "IBM01140",
            "cp500",
            "ebcdic-cp-de",
            "shift_jis",
            "gbk",
            "gb18030",
            "big5",
            "iso-2022-jp",
            "euc-kr",
            "hz-gb-2312",
            "koi8-r",
            "iso-8859-12",
            "iso-8859-",
            "windows-1259",
            "cp1140",
            "unicode_escape",
            "utf-8-sig",
            "x-user-defined",
            "utf-8x",
            "",
        ];
        for name in names {
            for written in [
                format!("text/plain; charset={name}"),
                format!("text/plain;CHARSET=\"{name}\""),
                format!("text/plain; charset\t=\t'{name}'"),
                format!("text/plain; charset=utf-8; charset={name}"),
                format!("text/plain; charset={name}; charset=utf-8"),
                format!("charset={name}"),
                format!("multipart/form-data; boundary=x;xcharset={name}"),
                format!("text/plain, text/html; charset={name}"),
                format!("multipart/form-data; boundary=\"; charset={name}\""),
            ] {
                assert_eq!(of(&written), Charset::Other, "{written}");
            }
        }
        for odd in [
            "text/plain; charset*=utf-8''utf-16",
            "text/plain; charset*0=utf; charset*1=-16",
            "text/plain; charset\"=\"utf-16",
            "text/plain; charset=\"utf\\-16\"",
        ] {
            assert_eq!(of(odd), Charset::Other, "{odd}");
        }
        assert_eq!(
            Charset::of([b"text/plain; char\xadset=utf-16".as_slice()]),
            Charset::Other
        );
        assert_eq!(
            Charset::of([
                b"text/plain; charset=utf-8".as_slice(),
                b"text/plain; charset=utf-16"
            ]),
            Charset::Other
        );
    }
}
