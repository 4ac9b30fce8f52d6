//! Whether a query holds a parameter, whatever a server may read into it.
//!
//! Servers decode once or twice, before or after they part the query; PHP ends a name at a NUL, cuts blanks before it, takes `.` and `[`
//! for `_` and `r[x]` for `r`; frameworks trim values and merge slashes. So names are compared up to what ends them, and of values the
//! ASCII letters and digits only. Nothing here allocates.

use crate::domain::lookalikes::may_become_ascii;

/// A parameter that a rule asks for.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    name: Box<str>,
    /// Its letters and digits, in lower case.
    value: Box<str>,
}

impl Parameter {
    /// From `name=value`, or a text that any parameter's name or value may hold. `None` if every query would hold it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, value) = text.split_once('=').unwrap_or(("", text));
        let value: String = value.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| char::from(fold(byte))).collect();
        (!name.is_empty() || !value.is_empty()).then(|| Self { name: name.into(), value: value.into() })
    }

    pub(super) fn is_in(&self, query: &[u8]) -> bool {
        holds(query, self.name.as_bytes(), self.value.as_bytes())
    }
}

/// Whether the query has a parameter that some framework takes for the request's method.
pub(super) fn overrides_method(query: &[u8]) -> bool {
    holds(query, b"_method", b"")
}

fn holds(query: &[u8], name: &[u8], value: &[u8]) -> bool {
    query.split(|byte| *byte == b'&').any(|parameter| {
        let most = decodings(parameter);
        (0..=most).any(|decodings| reads_as(Decoded { rest: parameter, decodings }, name, value))
    })
}

/// How often decoding changes something: never without an escape, and again if the first time leaves a `%`.
fn decodings(parameter: &[u8]) -> u8 {
    let escapes = parameter.iter().enumerate().filter(|(_, byte)| **byte == b'%').map(|(at, _)| parameter.get(at + 1..at + 3));
    let leave = escapes.map(|digits| match digits {
        Some(b"25") => 2,
        Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => 1,
        _ => 2,
    });
    leave.max().unwrap_or(0)
}

/// Whether this reading comes by the name and then by the value, or by something after the name that may become anything.
fn reads_as(mut reading: Decoded<'_>, name: &[u8], value: &[u8]) -> bool {
    let mut name = Name::of(name);
    loop {
        if name.state == State::Found && (reading.begins_with(value) || !name.whole.is_empty() && reading.begins_oddly()) {
            return true;
        }
        let Some(byte) = reading.next() else { return false };
        name.take(byte);
        if name.state == State::Missed {
            reading.skip_to_sign();
        }
    }
}

/// How far a name was found.
struct Name<'a> {
    whole: &'a [u8],
    left: &'a [u8],
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    /// Before it; blanks are passed over.
    Before,
    Within,
    /// All of it was there; what else a name may end with is passed over, up to `=`.
    Ended,
    Missed,
    Found,
}

impl<'a> Name<'a> {
    fn of(whole: &'a [u8]) -> Self {
        let state = if whole.is_empty() { State::Found } else { State::Before };
        Self { whole, left: whole, state }
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
            Some((wanted, left)) => {
                let is_sign = !wanted.is_ascii_alphanumeric() && *wanted < 0x80;
                let is_it = if is_sign { !is_letter && byte != b'=' } else { fold(*wanted) == fold(byte) };
                self.left = left;
                if is_it { State::Within } else { State::Missed }
            }
        }
    }
}

fn fold(byte: u8) -> u8 {
    byte.to_ascii_lowercase()
}

/// A query's bytes, decoded up to so many times.
#[derive(Clone)]
struct Decoded<'a> {
    rest: &'a [u8],
    decodings: u8,
}

impl Decoded<'_> {
    /// Passes over what can neither begin a parameter nor become something that does.
    fn skip_to_sign(&mut self) {
        let sign = self.rest.iter().position(|byte| matches!(byte, b'%' | b'&' | b';' | b'?' | b'#'));
        self.rest = self.rest.get(sign.unwrap_or(self.rest.len())..).unwrap_or_default();
    }

    /// Whether these letters come next, with whatever else between them.
    fn begins_with(&self, letters: &[u8]) -> bool {
        let mut reading = self.clone();
        let mut is_first = true;
        letters.iter().all(|wanted| {
            let found = if is_first { reading.next() } else { reading.find(u8::is_ascii_alphanumeric) };
            is_first = false;
            found.is_some_and(|found| fold(found) == *wanted)
        })
    }

    /// Whether a character comes next that may become ASCII, or bytes that are none.
    fn begins_oddly(&self) -> bool {
        let mut reading = self.clone();
        let length = match reading.next() {
            Some(0xc2..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(0xf0..=0xf4) => 4,
            Some(0xc0 | 0xc1 | 0xf5..) => return true,
            // The bytes after the first of a character come with it.
            _ => return false,
        };
        let (mut bytes, mut reading) = ([0; 4], self.clone());
        for byte in bytes.iter_mut().take(length) {
            *byte = reading.next().unwrap_or(0);
        }
        let text = bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok());
        text.and_then(|text| text.chars().next()).is_none_or(may_become_ascii)
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

/// The first byte, decoded up to `decodings` times, and what follows it.
fn escaped_at(text: &[u8], decodings: u8) -> Option<(u8, &[u8])> {
    let (first, rest) = text.split_first()?;
    let Some(less) = decodings.checked_sub(1) else { return Some((*first, rest)) };
    let (outer, after) = escaped_at(text, less)?;
    if outer != b'%' {
        return Some((outer, after));
    }
    let digits = escaped_at(after, less).and_then(|(high, after)| {
        let (low, after) = escaped_at(after, less)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        u8::try_from(digit(high)? << 4 | digit(low)?).ok().map(|byte| (byte, after))
    });
    Some(digits.unwrap_or((outer, after)))
}
