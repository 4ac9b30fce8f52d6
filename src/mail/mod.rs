//! TAN mails: how they are written, handed to the mail server, and tried again.
//!
//! The gateway puts letters into the store's outbox and rings [`Outbox::bell`]; only the outbox's workers speak to the
//! mail server. Nothing here writes a TAN or an address into a log, and a decoy never leaves.

mod letter;
mod outbox;
mod smtp;
mod templates;
#[cfg(test)]
mod testing;

pub use letter::Writer;
pub use outbox::{InFlightMails, MailTrouble, Outbox};
pub use smtp::{
    DeliveryResult, MailSender, RelayState, SendGuard, Smtp, SmtpError, SmtpErrorKind, SmtpStage,
};

use std::path::PathBuf;

/// Mails cannot be sent as configured; found at the start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A template of the operator's cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A template has a mistake.
    #[error("{file}:{line}: {mistake}")]
    Template {
        /// The file, or the built-in template's name.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        mistake: String,
    },
    /// A value of the configuration cannot be used.
    #[error("{key}: {mistake}")]
    Setting {
        /// Which, such as `mail.from`.
        key: &'static str,
        /// What is wrong.
        mistake: String,
    },
    /// A letter cannot become a mail; does not show the letter.
    #[error("a letter cannot be written: {0}")]
    Letter(&'static str),
}
