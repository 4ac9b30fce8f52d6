//! Why a directory file is not taken. No text here holds a VTNR or an e-mail address: errors are logged.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a directory file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    #[error("{}: {}", .0.display(), .1)]
    Unusable(PathBuf, DirectoryFault),
}

/// What is wrong with a directory file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryFault {
    #[error("the file is empty; a header line with vtnr;email is wanted")]
    Empty,
    /// A header without rows, which would lock every broker out.
    #[error("the file names no broker")]
    NoBrokers,
    /// The header lacks a column, or has it twice.
    #[error("the header line does not have the column {0} exactly once; columns are divided by ;")]
    Column(String),
    /// Another encoding, such as Windows-1252, at this byte.
    #[error("line {0} is not UTF-8")]
    NotUtf8(usize),
    #[error("the file is being written")]
    BeingWritten,
    #[error("{0}")]
    Lines(BadLines),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BadLines {
    /// The first of them, at most [`BadLines::LISTED`].
    pub listed: Vec<BadLine>,
    /// How many more there are.
    pub more: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Line number, counted from 1, the header included.
    pub line: usize,
    /// What is wrong with it.
    pub fault: LineFault,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFault {
    /// The first column of interest is no VTNR.
    NotAVtnr,
    /// What is on file as e-mail is no address that can be written to.
    NotAnEmail,
    /// Fewer or more fields than the header.
    Fields,
    /// A quoted field goes on in the next line, mostly because its closing quote is missing.
    OpenQuote,
    /// A certificate is named without its issuer, though a column for that is configured.
    NoIssuer,
    /// What is in the column of the public key is no SHA-256.
    NotAKey,
    /// A certificate could be that of another broker too.
    SharedCertificate,
}

impl BadLines {
    /// How many lines are listed at most.
    pub const LISTED: usize = 20;

    /// Adds one; `line` is asked for its number if it is listed.
    pub(super) fn add(&mut self, fault: LineFault, line: impl FnOnce() -> usize) {
        if self.listed.len() < Self::LISTED {
            self.listed.push(BadLine {
                line: line(),
                fault,
            });
        } else {
            self.more += 1;
        }
    }
}

impl fmt::Display for BadLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, BadLine { line, fault }) in self.listed.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}line {line}: {fault}")?;
        }
        if self.more > 0 {
            write!(f, "; and {} more lines", self.more)?;
        }
        Ok(())
    }
}

impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAVtnr => "not a VTNR",
            Self::NotAnEmail => "not an e-mail address",
            Self::Fields => "not as many fields as the header has",
            Self::OpenQuote => "a quoted field does not end on its line",
            Self::NoIssuer => "a certificate without its issuer",
            Self::NotAKey => "not the SHA-256 of a public key, 64 hexadecimal digits",
            Self::SharedCertificate => "a certificate that stands for another broker already",
        })
    }
}
