//! Finds parameters in a query, in every way that a server may read it.
//!
//! Servers decode once or twice, before or after they split the query. PHP ends a name at a NUL, removes blanks before it, and takes `.`
//! and `[` for `_` and `r[x]` for `r`. Frameworks trim values and merge slashes. So names are compared up to any terminator, and values by
//! their ASCII letters and digits only. Nothing here allocates.

use crate::lookalikes::may_become_ascii;

/// A parameter that a rule requires.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    name: Box<str>,
    /// Letters and digits, in lower case.
    value: Box<str>,
}

impl Parameter {
    /// Parses `name=value`, or a text to find in any parameter's name or value. `None` if every query would match.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, value) = text.split_once('=').unwrap_or(("", text));
        let value: String = value
            .bytes()
            .filter(u8::is_ascii_alphanumeric)
            .map(|byte| char::from(fold(byte)))
            .collect();
        (!name.is_empty() || !value.is_empty()).then(|| Self {
            name: name.into(),
            value: value.into(),
        })
    }

    pub(super) fn is_in(&self, query: &[u8]) -> bool {
        holds(query, self.name.as_bytes(), self.value.as_bytes())
    }
}

/// Returns whether the query has a parameter that some framework takes for the method.
pub(super) fn overrides_method(query: &[u8]) -> bool {
    holds(query, b"_method", b"")
}

/// Returns whether a path contains a line end, with which a server that rewrites requests would begin another one.
pub(super) fn breaks_line(path: &[u8]) -> bool {
    (0..=decodings(path))
        .any(|decodings| Decoded::of(path, decodings).any(|byte| matches!(byte, b'\r' | b'\n')))
}

/// Returns whether the query contains `%uXXXX`, which only some servers decode.
pub(super) fn has_numbered_escape(query: &[u8]) -> bool {
    // If every `%` begins an escape of a byte other than `%`, no decoding leaves a `%`.
    let most = decodings(query);
    let mut escapes = query
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'%')
        .map(|(at, _)| query.get(at..));
    most > 1
        && escapes.any(|rest| {
            (0..=most)
                .any(|decodings| is_numbered(Decoded::of(rest.unwrap_or_default(), decodings)))
        })
}

fn is_numbered(mut reading: Decoded<'_>) -> bool {
    reading.next() == Some(b'%')
        && reading
            .next()
            .is_some_and(|byte| matches!(byte, b'u' | b'U'))
        && (0..4).all(|_| reading.next().is_some_and(|byte| byte.is_ascii_hexdigit()))
}

fn holds(query: &[u8], name: &[u8], value: &[u8]) -> bool {
    let mut parameters = query.split(|byte| *byte == b'&');
    parameters.any(|parameter| {
        let signs = if first(parameter, is_sign).is_none() {
            Signs::None
        } else {
            Signs::Some
        };
        if signs == Signs::None && parameter.len() < name.len() + value.len() {
            return false;
        }
        let most = if signs == Signs::None {
            0
        } else {
            decodings(parameter)
        };
        (0..=most).any(|decodings| {
            reads_as(
                Decoded {
                    rest: parameter,
                    decodings,
                    signs,
                },
                name,
                value,
            )
        })
    })
}

/// Bytes that begin a new parameter, or may decode to that or to a character beyond ASCII.
fn is_sign(byte: u8) -> bool {
    (byte == b'%')
        | (byte == b'&')
        | (byte == b';')
        | (byte == b'?')
        | (byte == b'#')
        | (byte >= 0x80)
}

/// Returns the position of the first such byte; checks several bytes at once.
fn first(text: &[u8], is_one: impl Fn(u8) -> bool) -> Option<usize> {
    let (chunks, rest) = text.as_chunks::<16>();
    let found = chunks.iter().position(|chunk| {
        chunk
            .iter()
            .fold(0, |found, byte| found | u8::from(is_one(*byte)))
            > 0
    });
    let start = found.unwrap_or(chunks.len()) * 16;
    let within = if found.is_some() {
        text.get(start..).unwrap_or_default()
    } else {
        rest
    };
    within
        .iter()
        .position(|byte| is_one(*byte))
        .map(|at| start + at)
}

/// Returns how often decoding changes the text: never without an escape, twice if the first decoding leaves a `%`.
fn decodings(text: &[u8]) -> u8 {
    let mut most = 0;
    let mut rest = text;
    while let Some(at) = first(rest, |byte| byte == b'%') {
        rest = rest.get(at + 1..).unwrap_or_default();
        match rest {
            [b'2', b'5', ..] => return 2,
            [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => most = 1,
            _ => return 2,
        }
    }
    most
}

/// Returns whether this reading contains the name and then the value, or after the name something that may become anything.
fn reads_as(mut reading: Decoded<'_>, name: &[u8], value: &[u8]) -> bool {
    let mut name = Name::of(name);
    // The remaining bytes of a character beyond ASCII.
    let mut left = 0_u8;
    loop {
        let is_found = name.state == State::Found;
        if is_found
            && (reading.begins_with(value)
                || !name.whole.is_empty() && left == 0 && reading.begins_oddly())
        {
            return true;
        }
        let Some(byte) = reading.next() else {
            return false;
        };
        left = if matches!(byte, 0x80..=0xbf) {
            left.saturating_sub(1)
        } else {
            length_of(byte).saturating_sub(1)
        };
        name.take(byte);
        if name.state == State::Missed {
            reading.skip_to_sign();
        }
    }
}

/// Returns the length of a UTF-8 character by its first byte.
fn length_of(first: u8) -> u8 {
    match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    }
}

/// The progress in matching a name.
struct Name<'a> {
    whole: &'a [u8],
    left: &'a [u8],
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    /// Before the name; skips blanks.
    Before,
    Within,
    /// After the whole name; skips other endings up to `=`.
    Ended,
    Missed,
    Found,
}

impl<'a> Name<'a> {
    fn of(whole: &'a [u8]) -> Self {
        let state = if whole.is_empty() {
            State::Found
        } else {
            State::Before
        };
        Self {
            whole,
            left: whole,
            state,
        }
    }

    fn take(&mut self, byte: u8) {
        self.state = match (&self.state, byte) {
            (State::Found, _) | (State::Ended, b'=') => State::Found,
            (State::Ended, _) => State::Ended,
            (_, b'&' | b';' | b'?' | b'#') => {
                self.left = self.whole;
                State::Before
            }
            (State::Before, 0..=b' ' | b'+') => State::Before,
            (State::Before | State::Within, _) => self.compare(byte),
            (State::Missed, _) => State::Missed,
        };
    }

    fn compare(&mut self, byte: u8) -> State {
        let is_letter = byte.is_ascii_alphanumeric() || byte >= 0x80;
        match self.left.split_first() {
            None if byte == b'=' => State::Found,
            None if is_letter => State::Missed,
            None => State::Ended,
            Some((expected, left)) => {
                let is_sign = !expected.is_ascii_alphanumeric() && *expected < 0x80;
                let is_it = if is_sign {
                    !is_letter && byte != b'='
                } else {
                    fold(*expected) == fold(byte)
                };
                self.left = left;
                if is_it { State::Within } else { State::Missed }
            }
        }
    }
}

fn fold(byte: u8) -> u8 {
    byte.to_ascii_lowercase()
}

/// A query's bytes, decoded up to a number of times.
#[derive(Clone)]
struct Decoded<'a> {
    rest: &'a [u8],
    decodings: u8,
    signs: Signs,
}

/// Returns whether anything begins a new parameter, or may decode to that.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signs {
    None,
    Some,
}

impl<'a> Decoded<'a> {
    fn of(rest: &'a [u8], decodings: u8) -> Self {
        Self {
            rest,
            decodings,
            signs: Signs::Some,
        }
    }

    /// Skips bytes that can neither begin a parameter nor decode to something that does.
    fn skip_to_sign(&mut self) {
        let mut next = if self.signs == Signs::None {
            None
        } else {
            first(self.rest, is_sign)
        };
        while let Some(at) = next {
            self.rest = self.rest.get(at..).unwrap_or_default();
            let is_letter = match self.rest {
                [b'%', ..] if self.decodings == 0 => true,
                // However often it is decoded, the result is beyond ASCII.
                [b'%', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F', ..] | [0x80..=0xff, ..] => true,
                _ => false,
            };
            if !is_letter {
                return;
            }
            self.rest = self.rest.get(1..).unwrap_or_default();
            next = first(self.rest, is_sign);
        }
        self.rest = &[];
    }

    /// Returns whether these letters follow, with anything else in between.
    fn begins_with(&self, letters: &[u8]) -> bool {
        let mut reading = self.clone();
        let mut is_first = true;
        letters.iter().all(|letter| {
            let found = if is_first {
                reading.next()
            } else {
                reading.find(u8::is_ascii_alphanumeric)
            };
            is_first = false;
            found.is_some_and(|found| fold(found) == *letter)
        })
    }

    /// Returns whether a character follows that may become ASCII, also when read as Latin-1, or invalid bytes.
    fn begins_oddly(&self) -> bool {
        let mut reading = self.clone();
        let length = match reading.next() {
            Some(alone @ 0x80..=0xbf) => return may_become_ascii(char::from(alone)),
            Some(0xc0 | 0xc1 | 0xf5..) => return true,
            Some(first @ 0xc2..) => usize::from(length_of(first)),
            _ => return false,
        };
        let mut bytes = [0; 4];
        let mut reading = self.clone();
        for byte in bytes.iter_mut().take(length) {
            *byte = reading.next().unwrap_or(0);
        }
        let text = bytes
            .get(..length)
            .and_then(|bytes| std::str::from_utf8(bytes).ok());
        text.and_then(|text| text.chars().next())
            .is_none_or(may_become_ascii)
    }
}

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = escaped_at(self.rest, self.decodings)?;
        self.rest = rest;
        Some(byte)
    }
}

/// Returns the first byte, decoded up to `decodings` times, and the rest.
fn escaped_at(text: &[u8], decodings: u8) -> Option<(u8, &[u8])> {
    let (first, rest) = text.split_first()?;
    let Some(less) = decodings.checked_sub(1) else {
        return Some((*first, rest));
    };
    let (outer, after) = escaped_at(text, less)?;
    if outer != b'%' {
        return Some((outer, after));
    }
    Some(
        byte_at(after, less)
            .or_else(|| numbered_at(after, less))
            .unwrap_or((outer, after)),
    )
}

/// A byte of two hexadecimal digits.
fn byte_at(text: &[u8], decodings: u8) -> Option<(u8, &[u8])> {
    let (high, after) = escaped_at(text, decodings)?;
    let (low, after) = escaped_at(after, decodings)?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?)
        .ok()
        .map(|byte| (byte, after))
}

/// Decodes an escape of ASP.NET, Jetty and Perl's CGI module: `u` and four digits. Leaves a value above a byte
/// unchanged.
fn numbered_at(text: &[u8], decodings: u8) -> Option<(u8, &[u8])> {
    let (letter, after) = escaped_at(text, decodings)?;
    if !letter.eq_ignore_ascii_case(&b'u') {
        return None;
    }
    let (high, after) = byte_at(after, decodings)?;
    if high == 0 {
        byte_at(after, decodings)
    } else {
        None
    }
}
