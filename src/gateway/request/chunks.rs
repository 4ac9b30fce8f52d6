//! Where a body in chunks ends, read to the letter (RFC 9112, 7.1): what two servers could read differently is malformed.
//!
//! It knows no socket. Nothing is kept but where the body stands, so that it does not matter how the bytes come.

/// The longest line of a chunk's size with its extensions, as with Pingora.
const LONGEST_LINE: usize = 8 * 1_024;
/// As much as may follow the last chunk.
const MAX_TRAILERS: usize = 64 * 1_024;
/// More digits than this are no length that anybody can count.
const MAX_DIGITS: u8 = 15;

/// Follows a body in chunks from the end of the header on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunks {
    place: ChunkPosition,
    /// How long the line of a size is so far, or all trailers are.
    line: usize,
}

/// The body is not in chunks as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MalformedChunks;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkPosition {
    /// Before or within the digits of a size.
    Size {
        size: u64,
        digits: u8,
    },
    /// Within the extensions of a chunk.
    Extension {
        size: u64,
        part: Part,
    },
    /// After the CR of the line of a size.
    SizeLf {
        size: u64,
    },
    /// Within the content of a chunk.
    Content {
        left: u64,
    },
    ContentCr,
    ContentLf,
    /// At the beginning of a line after the last chunk.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    /// After the CR of the empty line.
    EndLf,
    End,
}

/// The parts of `;name=value` and `;name="value"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    BeforeName,
    Name,
    /// After blanks that followed a name.
    AfterName,
    BeforeValue,
    Value,
    Quoted,
    /// After a backslash within quotes.
    Escaped,
    AfterQuotes,
    /// After blanks that followed a value.
    AfterValue,
}

impl Chunks {
    /// Before the first chunk.
    pub(crate) const fn new() -> Self {
        Self {
            place: ChunkPosition::Size { size: 0, digits: 0 },
            line: 0,
        }
    }

    /// Follows these bytes; what comes after the body's end is not looked at.
    ///
    /// # Errors
    /// [`MalformedChunks`]: nothing of the connection can be trusted any more.
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) -> Result<(), MalformedChunks> {
        loop {
            if let ChunkPosition::Content { left } = self.place {
                let part = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                bytes = bytes.get(part..).unwrap_or_default();
                let left = left - part as u64;
                self.place = if left == 0 {
                    ChunkPosition::ContentCr
                } else {
                    ChunkPosition::Content { left }
                };
            }
            let Some((byte, rest)) = bytes
                .split_first()
                .filter(|_| self.place != ChunkPosition::End)
            else {
                return Ok(());
            };
            self.place = self.after(*byte)?;
            bytes = rest;
        }
    }

    fn after(&mut self, byte: u8) -> Result<ChunkPosition, MalformedChunks> {
        self.line += 1;
        let longest = if self.place.is_of_trailers() {
            MAX_TRAILERS
        } else {
            LONGEST_LINE
        };
        if self.line > longest {
            return Err(MalformedChunks);
        }
        match (self.place, byte) {
            (ChunkPosition::Size { digits: 0, .. }, _) => digit(0, byte)
                .map(|size| ChunkPosition::Size { size, digits: 1 })
                .ok_or(MalformedChunks),
            (ChunkPosition::Size { size, .. }, b'\r') => Ok(ChunkPosition::SizeLf { size }),
            (ChunkPosition::Size { size, .. }, b';') => Ok(ChunkPosition::Extension {
                size,
                part: Part::BeforeName,
            }),
            // No zero leads: `0` stands alone.
            (
                ChunkPosition::Size { size: 0, .. }
                | ChunkPosition::Size {
                    digits: MAX_DIGITS..,
                    ..
                },
                _,
            ) => Err(MalformedChunks),
            (ChunkPosition::Size { size, digits }, _) => digit(size, byte)
                .map(|size| ChunkPosition::Size {
                    size,
                    digits: digits + 1,
                })
                .ok_or(MalformedChunks),
            (ChunkPosition::Extension { size, part }, b'\r') if part.may_end() => {
                Ok(ChunkPosition::SizeLf { size })
            }
            (ChunkPosition::Extension { size, part }, _) => part
                .after(byte)
                .map(|part| ChunkPosition::Extension { size, part }),
            (ChunkPosition::SizeLf { size: 0 }, b'\n') => Ok(self.at_line(ChunkPosition::Trailer)),
            (ChunkPosition::SizeLf { size }, b'\n') => {
                Ok(self.at_line(ChunkPosition::Content { left: size }))
            }
            (ChunkPosition::ContentCr, b'\r') => Ok(ChunkPosition::ContentLf),
            (ChunkPosition::ContentLf, b'\n') => {
                Ok(self.at_line(ChunkPosition::Size { size: 0, digits: 0 }))
            }
            (ChunkPosition::Trailer, b'\r') => Ok(ChunkPosition::EndLf),
            (ChunkPosition::Trailer | ChunkPosition::TrailerName, _) if is_token(byte) => {
                Ok(ChunkPosition::TrailerName)
            }
            (ChunkPosition::TrailerName, b':') => Ok(ChunkPosition::TrailerValue),
            (ChunkPosition::TrailerValue, b'\r') => Ok(ChunkPosition::TrailerLf),
            (ChunkPosition::TrailerValue, _) if is_text(byte) => Ok(ChunkPosition::TrailerValue),
            (ChunkPosition::TrailerLf, b'\n') => Ok(ChunkPosition::Trailer),
            (ChunkPosition::EndLf, b'\n') => Ok(ChunkPosition::End),
            _ => Err(MalformedChunks),
        }
    }

    fn at_line(&mut self, place: ChunkPosition) -> ChunkPosition {
        self.line = 0;
        place
    }
}

impl ChunkPosition {
    const fn is_of_trailers(self) -> bool {
        matches!(
            self,
            Self::Trailer | Self::TrailerName | Self::TrailerValue | Self::TrailerLf | Self::EndLf
        )
    }
}

impl Part {
    /// Whether the line may end here: not within quotes, and not after blanks.
    const fn may_end(self) -> bool {
        matches!(self, Self::Name | Self::Value | Self::AfterQuotes)
    }

    fn after(self, byte: u8) -> Result<Self, MalformedChunks> {
        let is_blank = matches!(byte, b' ' | b'\t');
        match self {
            Self::BeforeName if is_blank => Ok(self),
            Self::BeforeName | Self::Name if is_token(byte) => Ok(Self::Name),
            Self::BeforeValue if is_blank => Ok(self),
            Self::BeforeValue if byte == b'"' => Ok(Self::Quoted),
            Self::BeforeValue | Self::Value if is_token(byte) => Ok(Self::Value),
            Self::Quoted if byte == b'"' => Ok(Self::AfterQuotes),
            Self::Quoted if byte == b'\\' => Ok(Self::Escaped),
            Self::Quoted | Self::Escaped if is_text(byte) => Ok(Self::Quoted),
            Self::Name | Self::AfterName if byte == b'=' => Ok(Self::BeforeValue),
            Self::Name | Self::AfterName if is_blank => Ok(Self::AfterName),
            Self::Value | Self::AfterQuotes | Self::AfterValue if is_blank => Ok(Self::AfterValue),
            Self::Name | Self::AfterName | Self::Value | Self::AfterQuotes | Self::AfterValue
                if byte == b';' =>
            {
                Ok(Self::BeforeName)
            }
            _ => Err(MalformedChunks),
        }
    }
}

/// A size with one more digit; at most [`MAX_DIGITS`] of them, so that none is lost.
fn digit(size: u64, byte: u8) -> Option<u64> {
    char::from(byte)
        .to_digit(16)
        .map(|digit| size << 4 | u64::from(digit))
}

/// A letter of a name (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What may stand in a value: no control but the tab.
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

#[cfg(test)]
mod tests;
