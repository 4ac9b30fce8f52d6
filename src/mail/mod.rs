//! TAN mails: composing, delivery to the mail server, and retries.
//!
//! The path of one mail: a sign-in queues a letter in the store together with its challenge, and notifies [`Outbox::wakeup`]. A worker
//! of any gateway leases the letter, composes the mail ([`Writer`]) and delivers it to the first relay that accepts it ([`Smtp`]).
//! Right before the end of the mail is sent it confirms the lease, so that two gateways never send the same mail and a withdrawn letter
//! stays unsent. The outcome is recorded in the store, where the sign-in's page reads it; a deferred letter is retried until its sign-in
//! expires.
//!
//! Only the workers talk to mail servers. Nothing here logs a TAN or an address, and a decoy is never sent.

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

/// An error that prevents mails from being sent as configured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operator's template cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{file}:{line}: {mistake}")]
    Template {
        /// The path, or the name of a built-in template.
        file: String,
        /// The line number, counted from 1.
        line: usize,
        mistake: String,
    },
    /// A configuration value cannot be used.
    #[error("{key}: {mistake}")]
    Setting {
        /// The configuration key, such as `mail.from`.
        key: &'static str,
        mistake: String,
    },
    /// A letter cannot be turned into a mail; the message does not show the letter.
    #[error("cannot compose a mail: {0}")]
    Letter(&'static str),
}
