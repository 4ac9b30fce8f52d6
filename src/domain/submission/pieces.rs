//! Splits a path into decoded characters, with path parameters removed, and checks its segments.

use super::Doubt;

/// Iterates over a path after the first `/`, decoded and without parameters.
pub(super) enum Piece {
    Slash,
    Character(char),
}

pub(super) struct Pieces<'a> {
    rest: std::slice::Iter<'a, u8>,
}

impl<'a> Pieces<'a> {
    pub(super) fn of(path: &'a [u8]) -> Self {
        Self {
            rest: path.get(1..).unwrap_or_default().iter(),
        }
    }

    pub(super) fn skip_parameters(&mut self) -> Result<(), Doubt> {
        loop {
            match self.rest.as_slice().first() {
                None | Some(b'/') => return Ok(()),
                Some(byte) if byte.is_ascii_alphanumeric() || b"_.!=~,;-".contains(byte) => {
                    _ = self.rest.next()
                }
                Some(_) => return Err(Doubt::Parameters),
            }
        }
    }

    pub(super) fn escaped(&mut self) -> Result<u8, Doubt> {
        let mut digit = || {
            self.rest
                .next()
                .and_then(|digit| char::from(*digit).to_digit(16))
                .ok_or(Doubt::Escape)
        };
        let high = digit()?;
        let low = digit()?;
        u8::try_from(high << 4 | low).map_err(|_| Doubt::Escape)
    }

    /// Reads the character that begins with this escaped byte.
    pub(super) fn character(&mut self, first: u8) -> Result<char, Doubt> {
        match first {
            b'/' | b'\\' | b'.' | b';' | b'?' | b'#' | 0..=0x1f | 0x7f => Err(Doubt::Escape),
            b'%' if matches!(self.rest.as_slice().first(), Some(b'%' | b'u' | b'U')) => {
                Err(Doubt::Escape)
            }
            b'%' if self
                .rest
                .as_slice()
                .first()
                .is_some_and(u8::is_ascii_hexdigit) =>
            {
                Err(Doubt::Escape)
            }
            0x20..=0x7e => Ok(char::from(first)),
            0x80..=0xff => self.beyond_ascii(first),
        }
    }

    /// Reads a character of two to four escaped bytes.
    pub(super) fn beyond_ascii(&mut self, first: u8) -> Result<char, Doubt> {
        let length = match first {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return Err(Doubt::Escape),
        };
        let mut bytes = [first, 0, 0, 0];
        for byte in bytes.iter_mut().take(length).skip(1) {
            if self.rest.next() != Some(&b'%') {
                return Err(Doubt::Escape);
            }
            *byte = self.escaped()?;
        }
        let text = bytes
            .get(..length)
            .and_then(|bytes| std::str::from_utf8(bytes).ok());
        text.and_then(|text| text.chars().next())
            .ok_or(Doubt::Escape)
    }
}

impl Iterator for Pieces<'_> {
    type Item = Result<Piece, Doubt>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let piece = match *self.rest.next()? {
                b'/' => Ok(Piece::Slash),
                b';' => match self.skip_parameters() {
                    Ok(()) => continue,
                    Err(doubt) => Err(doubt),
                },
                b'%' => self
                    .escaped()
                    .and_then(|byte| self.character(byte))
                    .map(Piece::Character),
                b'\\'
                | b'"'
                | b'<'
                | b'>'
                | b'^'
                | b'{'
                | b'|'
                | b'}'
                | b'`'
                | b'#'
                | 0..=0x20
                | 0x7f..=0xff => Err(Doubt::RawByte),
                plain => Ok(Piece::Character(char::from(plain))),
            };
            return Some(piece);
        }
    }
}

/// The position of a segment.
#[derive(PartialEq, Eq)]
pub(super) enum SegmentPosition {
    Inner,
    Last,
}

/// The part of a segment read so far.
#[derive(Default)]
pub(super) struct Segment {
    first: Option<char>,
    last: Option<char>,
    /// Whether `:$` occurs, which names a stream on Windows (`antrag::$INDEX_ALLOCATION` is `antrag`).
    names_a_stream: bool,
    /// Whether anything but dots and blanks occurs.
    has_name: bool,
    /// Whether SAP, which cuts a segment at its `(`, would be left with a segment that ends in a dot.
    hides_dots: bool,
}

impl Segment {
    pub(super) fn push(&mut self, symbol: char) {
        self.first = self.first.or(Some(symbol));
        self.hides_dots |= symbol == '(' && (!self.has_name || self.last == Some('.'));
        self.has_name |= !matches!(symbol, '.' | ' ');
        self.names_a_stream |= symbol == '$' && self.last == Some(':');
        self.last = Some(symbol);
    }

    /// Ends the segment and begins the next. Only the last one may be empty. Windows ignores a dot at the end of a segment. ASP.NET
    /// removes a session mark from `(` at the beginning of a segment up to the next `)/`.
    pub(super) fn end(&mut self, place: SegmentPosition) -> Result<(), Doubt> {
        let Self {
            first,
            last,
            names_a_stream,
            hides_dots,
            has_name: _,
        } = std::mem::take(self);
        let is_sound = match (first, last) {
            (Some(first), Some(last)) => {
                !names_a_stream && !hides_dots && first != ' ' && last != ' ' && last != '.'
            }
            _ => place == SegmentPosition::Last,
        };
        if is_sound {
            Ok(())
        } else {
            Err(Doubt::Segment)
        }
    }
}
