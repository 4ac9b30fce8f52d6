//! Delivery results and errors that may be logged: they contain no address and no text from the
//! server.

use std::error::Error as _;
use std::fmt;

/// The result of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryResult {
    /// The mail server accepted the mail.
    Accepted,
    /// The mail may be accepted later.
    Deferred(SmtpError),
    /// The mail server refuses this mail permanently.
    Refused(SmtpError),
    /// The mail was not sent: its sign-in ended, or another gateway leased it.
    Withdrawn,
}

/// An error, and the stage of the conversation in which it occurred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpError {
    pub stage: SmtpStage,
    pub cause: SmtpErrorKind,
}

/// A stage of the SMTP conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpStage {
    /// Composing the mail, before any connection.
    Writing,
    /// Name resolution, TCP, TLS from the first byte, greeting and EHLO.
    Connect,
    StartTls,
    SignIn,
    From,
    To,
    Data,
    /// After the mail's last line.
    Message,
    /// The conversation as a whole.
    Conversation,
}

/// The kind of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmtpErrorKind {
    /// A negative reply, with its code (RFC 5321) and enhanced status (RFC 3463).
    Reply {
        /// The reply code, for instance 550.
        code: u16,
        /// The enhanced status, for instance `5.1.1`, if the server sent one.
        status: Option<String>,
    },
    TimedOut,
    /// No connection, or a lost one, with the reason given by the system or the TLS library.
    Lost(String),
    /// The server lacks an extension that the configuration requires.
    NotOffered,
    /// The reply is truncated, or not SMTP.
    Unintelligible,
    Abandoned,
    /// The store cannot confirm that the mail must still be sent.
    Unconfirmed,
    Unwritable,
}

impl DeliveryResult {
    /// Classifies lettre's error. By RFC 5321, 4.2.1, 4yz is worth another attempt and 5yz is not,
    /// unless the reply concerns the gateway and not the mail: then the operator can fix the cause,
    /// and the mail is still sent.
    pub(super) fn from_error(stage: SmtpStage, error: &lettre::transport::smtp::Error) -> Self {
        let error = SmtpError {
            stage,
            cause: cause(error),
        };
        match error.cause {
            SmtpErrorKind::Reply { code, .. }
                if code >= 500 && stage.is_about_the_mail() && !wants_authentication(code) =>
            {
                Self::Refused(error)
            }
            _ => Self::Deferred(error),
        }
    }

    /// Returns the error of an unsuccessful delivery.
    pub(super) fn error(&self) -> Option<&SmtpError> {
        match self {
            Self::Deferred(error) | Self::Refused(error) => Some(error),
            Self::Accepted | Self::Withdrawn => None,
        }
    }

    /// Returns whether another relay may be tried at once. Not if the end of the mail was sent
    /// without an answer: the relay may have accepted it. A permanent refusal holds for all relays,
    /// unless it concerns the sender, which this relay alone may not know.
    pub(super) fn is_worth_another_relay(&self) -> bool {
        match self {
            Self::Deferred(SmtpError {
                cause: SmtpErrorKind::Unconfirmed | SmtpErrorKind::Abandoned,
                ..
            }) => false,
            Self::Deferred(SmtpError {
                stage: SmtpStage::Message,
                cause,
            }) => matches!(cause, SmtpErrorKind::Reply { .. }),
            Self::Deferred(_) => true,
            Self::Refused(error) => error.stage == SmtpStage::From,
            Self::Accepted | Self::Withdrawn => false,
        }
    }

    /// Returns whether any other mail would have failed in the same way.
    pub(super) fn is_the_relays_fault(&self) -> bool {
        match self {
            Self::Deferred(SmtpError {
                stage,
                cause: SmtpErrorKind::Reply { code, .. },
            }) => !stage.is_about_the_mail() || *code == CLOSING || wants_authentication(*code),
            Self::Deferred(error) => !matches!(
                error.cause,
                SmtpErrorKind::Unconfirmed | SmtpErrorKind::Abandoned
            ),
            Self::Refused(error) => error.stage == SmtpStage::From,
            Self::Accepted | Self::Withdrawn => false,
        }
    }

    /// Returns whether the server replied, so that the connection still works.
    pub(super) fn is_a_reply(&self) -> bool {
        matches!(
            self,
            Self::Deferred(SmtpError {
                cause: SmtpErrorKind::Reply { .. },
                ..
            }) | Self::Refused(_)
        )
    }
}

impl SmtpStage {
    fn is_about_the_mail(self) -> bool {
        matches!(self, Self::From | Self::To | Self::Data | Self::Message)
    }
}

/// RFC 5321, 3.8: the server closes the connection.
const CLOSING: u16 = 421;

/// RFC 4954, 6: the server requires authentication, a stronger mechanism, or TLS first.
fn wants_authentication(code: u16) -> bool {
    matches!(code, 530 | 534 | 535 | 538)
}

fn cause(error: &lettre::transport::smtp::Error) -> SmtpErrorKind {
    let text = error.source().map(ToString::to_string).unwrap_or_default();
    if let Some(code) = error.status() {
        return SmtpErrorKind::Reply {
            code: code.into(),
            status: enhanced_status(&text),
        };
    }
    if error.is_timeout() {
        SmtpErrorKind::TimedOut
    } else if error.is_response() {
        SmtpErrorKind::Unintelligible
    } else if error.is_client() {
        SmtpErrorKind::NotOffered
    } else {
        SmtpErrorKind::Lost(text)
    }
}

/// Reads the status at the beginning of a reply's text and ignores the rest, where servers tend to
/// repeat the address.
fn enhanced_status(text: &str) -> Option<String> {
    let status = text.split_whitespace().next()?;
    let mut numbers = status.split('.');
    let class_is_known = matches!(numbers.next(), Some("2" | "4" | "5"));
    let details: Vec<&str> = numbers.collect();
    let are_numbers = details.iter().all(|part| {
        (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    });
    (class_is_known && details.len() == 2 && are_numbers).then(|| status.to_owned())
}

impl fmt::Display for SmtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage, self.cause)
    }
}

impl fmt::Display for SmtpStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Writing => "writing",
            Self::Connect => "connecting",
            Self::StartTls => "STARTTLS",
            Self::SignIn => "AUTH",
            Self::From => "MAIL FROM",
            Self::To => "RCPT TO",
            Self::Data => "DATA",
            Self::Message => "end of mail",
            Self::Conversation => "conversation",
        })
    }
}

impl fmt::Display for SmtpErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply {
                code,
                status: Some(status),
            } => write!(f, "{code} {status}"),
            Self::Reply { code, status: None } => write!(f, "{code}"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Lost(reason) => write!(f, "no connection: {reason}"),
            Self::NotOffered => f.write_str("the server does not offer it"),
            Self::Unintelligible => f.write_str("the reply is truncated or not SMTP"),
            Self::Abandoned => f.write_str("the gateway is shutting down"),
            Self::Unconfirmed => {
                f.write_str("the store cannot confirm that the mail must still be sent")
            }
            Self::Unwritable => f.write_str("the mail cannot be composed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_status_is_kept_of_what_a_server_says() {
        let cases = [
            ("5.1.1 <ada@makler.example>: unknown", Some("5.1.1")),
            ("4.7.123", Some("4.7.123")),
            ("<ada@makler.example>: unknown", None),
            ("5.1 no", None),
            ("5.1.1.1", None),
            ("5.ada.1", None),
            ("3.1.1 no", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(enhanced_status(text).as_deref(), expected, "{text}");
        }
    }
}
