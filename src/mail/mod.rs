//! TAN mails: composing, delivery to the mail server, and retries.
//!
//! The path of one mail: a sign-in queues a letter in the store together with its challenge, and
//! notifies [`Outbox::wakeup`]. A worker of any gateway leases the letter, composes the mail
//! ([`Writer`]) and delivers it to the first relay that accepts it ([`Smtp`]). Right before the end
//! of the mail is sent it confirms the lease, so that two gateways never send the same mail and a
//! withdrawn letter stays unsent. The outcome is recorded in the store, where the sign-in's page
//! reads it; a deferred letter is retried until its sign-in expires.
//!
//! ```text
//! ask_for_tan -- queue -- lease, 12 s -- conversation -- 354 -- confirm -- mail and its end -- 250 -- accepted
//!                  ^        | renewed every 4 s                 | lease lost?                   +-- 5xx: refused
//!                  |        +- dead gateway: expires            +- yes: disconnect, nothing sent
//!                  +------- deferred: due again after 5, 15, 45, 60, 120 s ... -- 4xx, lost, timed out
//! ```
//!
//! * **Once.** A lease names the letter and the attempt. A gateway that lost it can neither renew
//!   nor defer nor refuse the letter; an acceptance may be recorded without it, since it is a fact.
//! * **Obsolete letters.** A step that changes a flow removes the letters that it no longer waits
//!   for, in the same change (`Flow::letters`).
//! * **After an outage** of the store longer than a lease, workers leave letters that were leased
//!   before alone for a second, so that mails delivered meanwhile are recorded first.
//! * **Shutdown.** Letters that cannot be sent any more are released at once. One whose mail may be
//!   out keeps its lease until the server answers, at most for `shutdown.grace`.
//! * **Uncertain.** If the mail's end was sent and no reply came, the mail may be out. It is
//!   deferred, offered to no other relay at once, and sent again with the same `Message-ID`: no
//!   mail is worse than two.
//! * **Several relays** are tried in order, those that failed within the last minute last. A 4xx
//!   leads to the next relay and does not count against this one; a 5xx for the recipient or the
//!   content holds for all relays, one for the sender for this relay alone. Each relay keeps the
//!   protection of its own URL.
//!
//! Only the workers talk to mail servers. Nothing here logs a TAN or an address, and a decoy is
//! never sent.

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
    /// The catalogue of texts is incomplete or broken.
    #[error(transparent)]
    Texts(#[from] crate::language::TextsError),
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
