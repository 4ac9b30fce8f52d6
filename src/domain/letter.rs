//! TAN mails, before they are rendered.

use super::email::Email;
use super::ids::LetterId;
use super::tan::Tan;
use super::time::Timestamp;

/// A TAN mail in the outbox. It does not contain the broker's number.
#[derive(Clone)]
pub struct Letter {
    /// Also part of the `Message-ID`, so that a mail sent twice is recognised as one.
    pub id: LetterId,
    /// The address on file; `None` for the decoys of `enumeration = "neutral"`, which are never sent.
    pub to: Option<Email>,
    pub tan: Tan,
    pub asked_at: Timestamp,
    /// The browser that asked for it, as [`family`](super::browser::family) names it.
    pub browser: String,
    /// The end of the sign-in, after which the mail is useless.
    pub not_after: Timestamp,
}
