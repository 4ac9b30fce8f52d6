//! A TAN mail, before it becomes text.

use super::email::Email;
use super::ids::LetterId;
use super::tan::Tan;
use super::time::Timestamp;

/// A TAN mail that waits in the outbox. It says nothing of the broker's number.
#[derive(Clone)]
pub struct Letter {
    /// Also in the `Message-ID`, so that a mail handed over twice can be recognised as one.
    pub id: LetterId,
    /// The address on file; `None` for the decoys of `enumeration = "neutral"`, which are never sent.
    pub to: Option<Email>,
    pub tan: Tan,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// From what kind of browser, in German, such as `Firefox unter Windows`.
    pub browser: String,
    /// After this the sign-in is over and the mail of no use.
    pub not_after: Timestamp,
}
