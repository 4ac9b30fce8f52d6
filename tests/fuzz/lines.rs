//! Any bytes as a line of text, and back: what is not plain ASCII is written as `\xNN`.

/// Bytes as a line.
pub(crate) fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// A line as bytes.
pub(crate) fn unescape(line: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), line);
    while let Some(symbol) = rest.chars().next() {
        rest = &rest[symbol.len_utf8()..];
        if symbol != '\\' {
            bytes.extend_from_slice(symbol.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let kind = rest.chars().next().unwrap_or('\\');
        rest = rest.get(1..).unwrap_or_default();
        match kind {
            't' => bytes.push(b'\t'),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            'x' => {
                bytes.extend(
                    rest.get(..2)
                        .and_then(|digits| u8::from_str_radix(digits, 16).ok()),
                );
                rest = rest.get(2..).unwrap_or_default();
            }
            // `\\`, `\'` and `\"`.
            other => bytes.push(u8::try_from(other).unwrap_or(b'?')),
        }
    }
    bytes
}
