//! The law of the guard, for the fuzzer, the replay of its corpus and the property test: whatever the bytes, the rule does not
//! panic, and what it allows no model of a server reads as the Antragsversand.
//!
//! The models are written from what servers did in tests and from their advisories. They know nothing of the guard.

use super::submission::{
    Body, Charset, Intent, LetterCase, PathAlphabet, Request, SubmissionRules,
};
use unicode_normalization::UnicodeNormalization;

/// The Antragsversand: by its path, and by a front controller's route.
pub(crate) fn rules() -> SubmissionRules {
    let paths = ["/antrag/versand", "/index.php?r=antrag/versand"].map(str::to_owned);
    SubmissionRules::new(paths, LetterCase::Folded, PathAlphabet::Unicode).expect("sound rules")
}

/// Judges the request `METHOD TARGET`, and says what server would run it if it is allowed and one would.
///
/// # Errors
/// The law is broken: who reads what into it.
pub(crate) fn holds(rules: &SubmissionRules, bytes: &[u8]) -> Result<(), String> {
    let blank = bytes
        .iter()
        .position(|byte| *byte == b' ')
        .unwrap_or(bytes.len());
    let (method, target) = (
        String::from_utf8_lossy(&bytes[..blank]),
        bytes.get(blank + 1..).unwrap_or_default(),
    );
    for (body, charset) in [Body::None, Body::Some]
        .into_iter()
        .flat_map(|body| [Charset::AsciiCompatible, Charset::Other].map(|charset| (body, charset)))
    {
        let judged = rules.classify(&Request {
            method: &method,
            target,
            body,
            charset,
        });
        if judged == Intent::Use
            && let Some(reader) = submits(&method, target, body, charset)
        {
            let target = target.escape_ascii().to_string();
            return Err(format!(
                "{method} {target:?} with {body:?} and {charset:?} is allowed, and {reader}"
            ));
        }
    }
    Ok(())
}

/// Who runs the Antragsversand for this, if anybody does.
fn submits(method: &str, target: &[u8], body: Body, charset: Charset) -> Option<String> {
    let end = target
        .iter()
        .position(|byte| *byte == b'?')
        .unwrap_or(target.len());
    let (path, query) = (&target[..end], target.get(end + 1..).unwrap_or_default());
    let is_safe = ["GET", "HEAD", "OPTIONS"].contains(&method.to_ascii_uppercase().as_str());
    if is_safe && body == Body::Some {
        return Some("the body may name another method".to_owned());
    }
    let parameters = queries::of(query, charset);
    if is_safe {
        return becomes_another(path, &parameters);
    }
    let read = paths::of(target);
    let is_submission = |(_, path): &&(&str, String)| path.starts_with("/antrag/versand");
    if let Some((server, path)) = read.iter().find(is_submission) {
        return Some(format!("{server} reads {path:?}"));
    }
    // Where a server leads every address to its front controller, the route alone counts.
    let route = parameters
        .iter()
        .filter(|(name, _)| name == b"r")
        .find(|(_, value)| is_route(value));
    route.map(|(_, value)| {
        format!(
            "a front controller reads the route {}",
            value.escape_ascii()
        )
    })
}

/// Who makes another method of a safe one.
fn becomes_another(path: &[u8], parameters: &[(Vec<u8>, Vec<u8>)]) -> Option<String> {
    let decoded = queries::decode(path);
    let behind = decoded
        .iter()
        .position(|byte| *byte == b'?')
        .map(|at| queries::of(&decoded[at + 1..], Charset::AsciiCompatible));
    let all = parameters.iter().chain(behind.iter().flatten());
    let mut named = all.filter(|(name, value)| name == b"_method" && !value.is_empty());
    if let Some((_, value)) = named.next() {
        return Some(format!(
            "some framework takes {} for the method",
            value.escape_ascii()
        ));
    }
    // As nginx does with `proxy_pass http://server$uri`.
    let mut lines = decoded.split(|byte| *byte == b'\n').skip(1);
    let begins = |line: &[u8]| {
        line.split(|byte| *byte == b' ')
            .next()
            .is_some_and(|method| method == b"POST")
    };
    lines
        .any(begins)
        .then(|| "a server that writes the decoded path begins another request".to_owned())
}

/// Whether a front controller that tidies its routes takes this for the Antragsversand.
fn is_route(value: &[u8]) -> bool {
    let text = paths::lenient(value).replace('\\', "/");
    let text = paths::plain(&text);
    let trimmed = text.trim_matches(|symbol: char| symbol == '/' || symbol <= ' ');
    let merged = trimmed
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect::<Vec<_>>()
        .join("/");
    merged.starts_with("antrag/versand")
        || paths::resolved(&format!("/{merged}")).starts_with("/antrag/versand")
}

/// What servers of several kinds read as the path.
mod paths {
    use super::UnicodeNormalization;

    type Step = fn(&str) -> String;

    /// Each server by what it does to a path, in its order.
    const SERVERS: [(&str, &[Step]); 20] = [
        ("one that compares raw bytes", &[]),
        (
            "Tomcat",
            &[without_parameters, decoded, backslashes, resolved],
        ),
        (
            "Jetty",
            &[
                without_parameters,
                decoded_with_u,
                resolved,
                without_parameters,
            ],
        ),
        ("nginx", &[decoded, resolved]),
        (
            "nginx before Tomcat",
            &[
                decoded,
                resolved,
                encoded,
                without_parameters,
                decoded,
                resolved,
            ],
        ),
        (
            "nginx before Jetty",
            &[
                decoded,
                resolved,
                without_parameters,
                decoded_with_u,
                resolved,
            ],
        ),
        ("two that decode", &[decoded, decoded, resolved]),
        (
            "two that decode and cut",
            &[
                decoded,
                without_parameters,
                decoded,
                without_parameters,
                resolved,
            ],
        ),
        ("three that decode", &[decoded, decoded, decoded, resolved]),
        (
            "IIS",
            &[decoded_with_u, backslashes, windows, resolved, windows],
        ),
        ("WHATWG", &[without_controls, backslashes, dots, resolved]),
        ("PHP", &[decoded, up_to_nul, resolved]),
        (
            "one that drops controls",
            &[decoded, without_controls, resolved],
        ),
        ("one that trims", &[decoded, trimmed, resolved]),
        (
            "one that cuts at ? and # after decoding",
            &[decoded, cut, resolved],
        ),
        ("one that normalises", &[decoded, normalised, resolved]),
        (
            "one that resolves first",
            &[resolved, decoded, without_parameters, resolved],
        ),
        (
            "ASP.NET without cookies",
            &[
                decoded_with_u,
                backslashes,
                windows,
                resolved,
                without_session,
            ],
        ),
        (
            "ASP.NET behind one that decodes",
            &[decoded, decoded_with_u, without_session, resolved],
        ),
        ("SAP", &[decoded, without_marks, resolved]),
    ];

    /// All readings, in lower case, with who has them.
    pub(super) fn of(target: &[u8]) -> Vec<(&'static str, String)> {
        let end = target
            .iter()
            .position(|byte| matches!(byte, b'?' | b'#'))
            .unwrap_or(target.len());
        // Each byte as a character, so that nothing is lost.
        let path: String = target[..end].iter().map(|byte| char::from(*byte)).collect();
        let mut all = Vec::new();
        for (server, steps) in SERVERS {
            for path in [path.clone(), without_authority(&path)] {
                let read = steps.iter().fold(path, |path, step| step(&path));
                let bytes: Vec<u8> = read
                    .chars()
                    .map(|symbol| u8::try_from(u32::from(symbol)).unwrap_or(b'?'))
                    .collect();
                all.push((server, String::from_utf8_lossy(&bytes).to_lowercase()));
                all.push((server, plain(&lenient(&bytes))));
            }
        }
        all
    }

    /// Of an absolute or opaque target, or one with an authority only: the path.
    fn without_authority(path: &str) -> String {
        let scheme = path.find(':').filter(|at| {
            path[..*at]
                .chars()
                .all(|symbol| symbol.is_ascii_alphanumeric())
                && *at > 0
        });
        let rest = scheme.map_or(path, |at| &path[at + 1..]);
        let path = match rest.strip_prefix("//") {
            Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => rest,
        };
        if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        }
    }

    fn unescaped(text: &str, with_u: bool) -> String {
        let (mut out, mut rest) = (String::new(), text);
        while let Some(first) = rest.chars().next() {
            let hex = |from: usize, to: usize| {
                rest.get(from..to)
                    .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            };
            let after_u = rest.get(1..2).is_some_and(|u| u.eq_ignore_ascii_case("u"));
            let (symbol, length) = match first {
                '%' if with_u && after_u && hex(2, 6).is_some() => (hex(2, 6), 6),
                '%' if hex(1, 3).is_some() && !rest[1..].starts_with('+') => (hex(1, 3), 3),
                other => (Some(u32::from(other)), other.len_utf8()),
            };
            match symbol.and_then(char::from_u32) {
                // Beyond a byte: as the bytes of its UTF-8.
                Some(symbol) if symbol as u32 > 0xff => {
                    out.extend(symbol.to_string().bytes().map(char::from))
                }
                Some(symbol) => out.push(symbol),
                None => out.push('?'),
            }
            rest = &rest[length..];
        }
        out
    }

    fn decoded(path: &str) -> String {
        unescaped(path, false)
    }

    fn decoded_with_u(path: &str) -> String {
        unescaped(path, true)
    }

    /// As nginx writes a path anew: all but `;` and other signs that stay as they are.
    fn encoded(path: &str) -> String {
        let stays = |symbol: char| symbol.is_ascii_graphic() && !"%?#\" ".contains(symbol);
        path.chars()
            .map(|symbol| {
                if stays(symbol) {
                    symbol.to_string()
                } else {
                    format!("%{:02X}", symbol as u32 & 0xff)
                }
            })
            .collect()
    }

    fn without_parameters(path: &str) -> String {
        path.split('/')
            .map(|segment| segment.split(';').next().unwrap_or_default())
            .collect::<Vec<_>>()
            .join("/")
    }

    /// Without what ASP.NET takes for the session's number: from `/(` to `)/`, or to `)` at the end.
    fn without_session(path: &str) -> String {
        let Some(start) = path.find("/(") else {
            return path.to_owned();
        };
        let end = path[start..]
            .find(")/")
            .map(|end| start + end + 1)
            .or_else(|| path.ends_with(')').then_some(path.len()));
        end.map_or_else(
            || path.to_owned(),
            |end| format!("{}{}", &path[..start], &path[end..]),
        )
    }

    /// Without what SAP puts into a segment: `sap(bD1kZQ==)`.
    fn without_marks(path: &str) -> String {
        path.split('/')
            .map(|segment| segment.split('(').next().unwrap_or_default())
            .collect::<Vec<_>>()
            .join("/")
    }

    pub(super) fn resolved(path: &str) -> String {
        let mut kept: Vec<&str> = Vec::new();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            match segment {
                "." => {}
                ".." => _ = kept.pop(),
                other => kept.push(other),
            }
        }
        format!("/{}", kept.join("/"))
    }

    fn backslashes(path: &str) -> String {
        path.replace('\\', "/")
    }

    /// Only dots, as URL parsers do.
    fn dots(path: &str) -> String {
        path.replace("%2e", ".").replace("%2E", ".")
    }

    /// Windows drops dots and blanks at the ends of names, and the name of a stream.
    fn windows(path: &str) -> String {
        let name = |segment: &str| match segment.trim_start() {
            "." | ".." => segment.trim().to_owned(),
            _ => segment
                .split("::$")
                .next()
                .unwrap_or_default()
                .trim_matches(' ')
                .trim_end_matches(['.', ' '])
                .to_owned(),
        };
        path.split('/').map(name).collect::<Vec<_>>().join("/")
    }

    fn without_controls(path: &str) -> String {
        path.chars().filter(|symbol| !symbol.is_control()).collect()
    }

    fn trimmed(path: &str) -> String {
        path.split('/')
            .map(|segment| {
                segment.trim_matches(|symbol: char| {
                    symbol <= ' ' || ('\u{80}'..='\u{a0}').contains(&symbol)
                })
            })
            .collect::<Vec<_>>()
            .join("/")
    }

    fn up_to_nul(path: &str) -> String {
        path.split('\0').next().unwrap_or_default().to_owned()
    }

    fn cut(path: &str) -> String {
        path.split(['?', '#']).next().unwrap_or_default().to_owned()
    }

    /// By compatibility, which makes slashes and dots of some characters; back to bytes.
    fn normalised(path: &str) -> String {
        let bytes: Vec<u8> = path
            .chars()
            .map(|symbol| u8::try_from(u32::from(symbol)).unwrap_or(b'?'))
            .collect();
        plain(&lenient(&bytes)).bytes().map(char::from).collect()
    }

    /// UTF-8 as old decoders read it: overlong forms too, what is none byte by byte.
    pub(super) fn lenient(bytes: &[u8]) -> String {
        let (mut out, mut rest) = (String::new(), bytes);
        while let Some((first, after)) = rest.split_first() {
            let (length, start) = match first {
                0xc0..=0xdf => (1, u32::from(first & 0x1f)),
                0xe0..=0xef => (2, u32::from(first & 0x0f)),
                0xf0..=0xf7 => (3, u32::from(first & 0x07)),
                _ => (0, u32::from(*first)),
            };
            let more = after
                .get(..length)
                .filter(|more| more.iter().all(|byte| byte & 0xc0 == 0x80));
            let value = more.map(|more| {
                more.iter()
                    .fold(start, |value, byte| value << 6 | u32::from(byte & 0x3f))
            });
            out.push(value.and_then(char::from_u32).unwrap_or(char::from(*first)));
            rest = &after[more.map_or(0, <[u8]>::len)..];
        }
        out
    }

    /// Without what cannot be seen, by compatibility, through upper case to lower case.
    pub(super) fn plain(text: &str) -> String {
        let hidden = |symbol: &char| matches!(*symbol, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}');
        text.chars()
            .filter(|symbol| !hidden(symbol))
            .nfkc()
            .flat_map(char::to_uppercase)
            .flat_map(char::to_lowercase)
            .collect()
    }
}

/// What frameworks of several kinds read as a query's parameters.
mod queries {
    use super::Charset;

    type Parameter = (Vec<u8>, Vec<u8>);

    /// All readings of all parameters.
    pub(super) fn of(query: &[u8], charset: Charset) -> Vec<Parameter> {
        let mut all = Vec::new();
        let decoded = decode(query);
        // Parted before decoding, as they should; decoded before parting, and twice, as some do; with `%uXXXX`.
        for (query, is_decoded) in [
            (query, false),
            (&decoded, true),
            (&decode_with_u(query), true),
            (&decode_with_u(&decoded), true),
        ] {
            for parameter in query
                .split(|byte| *byte == b'&')
                .chain(query.split(|byte| matches!(byte, b'&' | b';')))
            {
                let at = parameter
                    .iter()
                    .position(|byte| *byte == b'=')
                    .unwrap_or(parameter.len());
                let (name, value) = (
                    &parameter[..at],
                    parameter.get(at + 1..).unwrap_or_default(),
                );
                let (name, value) = if is_decoded {
                    (name.to_vec(), value.to_vec())
                } else {
                    (decode(name), decode(value))
                };
                all.push((php(&name), value.clone()));
                all.push((nested(&name), value.clone()));
                all.push((name.to_ascii_lowercase(), value.clone()));
                all.push((decode(&name).to_ascii_lowercase(), decode(&value)));
                if charset == Charset::Other {
                    let read = [utf16, ibm037, utf7]
                        .map(|read| (read(&name).to_ascii_lowercase(), read(&value)));
                    all.extend(read);
                }
            }
        }
        all
    }

    /// UTF-16 of either order, without a mark, as far as it is ASCII.
    fn utf16(text: &[u8]) -> Vec<u8> {
        text.iter().copied().filter(|byte| *byte != 0).collect()
    }

    /// The letters and signs of EBCDIC that a route needs.
    fn ibm037(text: &[u8]) -> Vec<u8> {
        let read = |byte: &u8| match byte {
            0x81..=0x89 => byte - 0x81 + b'a',
            0x91..=0x99 => byte - 0x91 + b'j',
            0xa2..=0xa9 => byte - 0xa2 + b's',
            0x6d => b'_',
            0x61 => b'/',
            other => *other,
        };
        text.iter().map(read).collect()
    }

    /// `+AGE-` is `a`; as far as it is ASCII, a character each.
    fn utf7(text: &[u8]) -> Vec<u8> {
        let (mut out, mut rest) = (Vec::new(), text);
        while let Some((first, after)) = rest.split_first() {
            let digit = |at: usize| {
                after.get(at).and_then(|digit| {
                    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
                        .iter()
                        .position(|known| known == digit)
                })
            };
            rest = match (first, digit(0), digit(1), digit(2)) {
                // Sixteen bits in three digits, the first of them nought.
                (b'+' | b' ', Some(0), Some(second), Some(third)) => {
                    out.push(u8::try_from((second & 0xf) << 4 | third >> 2).unwrap_or(0));
                    after[3..].strip_prefix(b"-").unwrap_or(&after[3..])
                }
                _ => {
                    out.push(*first);
                    after
                }
            };
        }
        out
    }

    /// With `%uXXXX` up to a byte.
    fn decode_with_u(text: &[u8]) -> Vec<u8> {
        let (mut plain, mut rest) = (Vec::new(), text);
        while let Some((first, after)) = rest.split_first() {
            let is_numbered = *first == b'%'
                && after.len() > 4
                && after[0].eq_ignore_ascii_case(&b'u')
                && after[1..3] == *b"00"
                && after[3..5].iter().all(u8::is_ascii_hexdigit);
            rest = if is_numbered {
                plain.extend([b'%', after[3], after[4]]);
                &after[5..]
            } else {
                plain.push(*first);
                after
            };
        }
        decode(&plain)
    }

    pub(super) fn decode(text: &[u8]) -> Vec<u8> {
        let (mut out, mut rest) = (Vec::new(), text);
        while let Some((first, after)) = rest.split_first() {
            let digit = |at: usize| {
                after
                    .get(at)
                    .and_then(|digit| char::from(*digit).to_digit(16))
            };
            rest = match (first, digit(0), digit(1)) {
                (b'%', Some(high), Some(low)) => {
                    out.push(u8::try_from(high << 4 | low).unwrap_or(0));
                    &after[2..]
                }
                _ => {
                    out.push(if *first == b'+' { b' ' } else { *first });
                    after
                }
            };
        }
        out
    }

    /// PHP ends a name at a NUL, drops blanks before it, and has `_` for what variables cannot have.
    fn php(name: &[u8]) -> Vec<u8> {
        let end = name
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(name.len());
        let name = &name[..end];
        let start = name
            .iter()
            .position(|byte| *byte != b' ')
            .unwrap_or(name.len());
        let name = &name[start..];
        let bracket = name
            .iter()
            .position(|byte| *byte == b'[')
            .filter(|at| *at > 0 && name[*at..].contains(&b']'));
        let name = &name[..bracket.unwrap_or(name.len())];
        name.iter()
            .map(|byte| {
                if matches!(byte, b' ' | b'.' | b'[') {
                    b'_'
                } else {
                    byte.to_ascii_lowercase()
                }
            })
            .collect()
    }

    /// `r[]`, `r[x]`: qs, Rack.
    fn nested(name: &[u8]) -> Vec<u8> {
        let bracket = name
            .iter()
            .position(|byte| *byte == b'[')
            .filter(|at| *at > 0)
            .unwrap_or(name.len());
        name[..bracket].to_ascii_lowercase()
    }
}
