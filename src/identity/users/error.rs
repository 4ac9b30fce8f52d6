//! Errors of a users file. They are logged, so no text contains a user key, a VTNR or a hash.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// The reason why a users file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    #[error("{}: {}", .0.display(), .1)]
    Unusable(PathBuf, UsersFault),
    /// Another process is changing it.
    #[error("{} is being changed by somebody else", .0.display())]
    Locked(PathBuf),
    #[error("{} cannot be written", .0.display())]
    Unwritable(PathBuf, #[source] io::Error),
}

/// A fault of a users file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsersFault {
    #[error("the file is empty; a header line with user;vtnr;hash is wanted")]
    Empty,
    /// Everybody with read access can guess passwords; everybody with write access can sign in as anybody.
    #[error("the file can be read or written by everybody; chmod o= it")]
    Open,
    /// Not a regular file, or larger than any users file.
    #[error("this is not a file of at most {} MiB", super::MAX_FILE >> 20)]
    NoFile,
    /// The header lacks a column, or has it twice.
    #[error("the header line does not have the column {0} exactly once; columns are divided by ;")]
    Column(&'static str),
    /// Another encoding, such as Windows-1252, at this byte.
    #[error("line {0} is not UTF-8")]
    NotUtf8(usize),
    #[error("the file is being written")]
    BeingWritten,
    #[error("{0}")]
    Lines(BadUserLines),
}

/// The malformed lines, by number, counted from 1, the header included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BadUserLines(pub Vec<(usize, UserLineFault)>);

/// A fault of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserLineFault {
    /// The user key is missing or malformed.
    NotAUser,
    /// A line above has the same user key, perhaps in another spelling.
    Twice,
    /// The VTNR is missing or malformed.
    NotAVtnr,
    /// The hash is missing, or is not argon2id.
    NotAHash,
    /// The hash would cost too much to compare with.
    TooCostly,
    /// Fewer or more fields than the header.
    Fields,
    /// A quoted field goes on in the next line, mostly because its closing quote is missing.
    OpenQuote,
}

impl BadUserLines {
    /// How many lines are listed at most.
    const LISTED: usize = 20;
}

impl fmt::Display for BadUserLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (line, fault)) in self.0.iter().take(Self::LISTED).enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}line {line}: {fault}")?;
        }
        match self.0.len().saturating_sub(Self::LISTED) {
            0 => Ok(()),
            more => write!(f, "; and {more} more lines"),
        }
    }
}

impl fmt::Display for UserLineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAUser => "not a user key",
            Self::Twice => "a user key that a line above has",
            Self::NotAVtnr => "not a VTNR",
            Self::NotAHash => "not a hash of argon2id in PHC notation",
            Self::TooCostly => "a hash that costs more than 1 GiB, 64 iterations or 16 lanes",
            Self::Fields => "not as many fields as the header has",
            Self::OpenQuote => "a quoted field does not end on its line",
        })
    }
}
