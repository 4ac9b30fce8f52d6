//! What became of a hand-over, in words that may be logged: no address and no text of the server's.

use std::error::Error as _;
use std::fmt;

/// What became of a hand-over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryResult {
    /// The mail server took the mail.
    Accepted,
    /// Not now; it is worth another attempt.
    Deferred(SmtpError),
    /// Never: the mail server refuses this mail.
    Refused(SmtpError),
    /// Not sent: its sign-in is over, or another gateway has it in hand.
    Withdrawn,
}

/// What went wrong, and where in the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpError {
    /// Where.
    pub stage: SmtpStage,
    /// What.
    pub cause: SmtpErrorKind,
}

/// A stage of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpStage {
    /// The mail was not written yet.
    Writing,
    /// Name, connection, TLS from the first byte, greeting, EHLO.
    Connect,
    /// STARTTLS.
    StartTls,
    /// AUTH.
    SignIn,
    /// MAIL FROM.
    From,
    /// RCPT TO.
    To,
    /// DATA.
    Data,
    /// After the last line of the mail.
    Message,
    /// All of it together.
    Conversation,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmtpErrorKind {
    /// The server said no, with this code (RFC 5321) and enhanced status (RFC 3463).
    Reply {
        /// Such as 550.
        code: u16,
        /// Such as `5.1.1`, where it was given.
        status: Option<String>,
    },
    /// The server did not answer in time.
    TimedOut,
    /// There is no connection, or it was lost; the text names the system's or the TLS library's reason.
    Lost(String),
    /// The server does not offer what the configuration demands.
    NotOffered,
    /// The server's answer is not SMTP, or it broke off.
    Unintelligible,
    /// The gateway is shutting down.
    Abandoned,
    /// The store cannot say whether the letter is still to go out.
    Unconfirmed,
    /// The mail cannot be written.
    Unwritable,
}

impl DeliveryResult {
    /// Judges lettre's error. RFC 5321, 4.2.1: 4yz is worth another attempt, 5yz is not. Unless it is about us and not
    /// about the mail: then the operator can mend it, and the mail still goes out.
    pub(super) fn from_error(stage: SmtpStage, error: &lettre::transport::smtp::Error) -> Self {
        let error = SmtpError {
            stage,
            cause: cause(error),
        };
        match error.cause {
            SmtpErrorKind::Reply { code, .. }
                if code >= 500 && stage.is_about_the_mail() && !wants_sign_in(code) =>
            {
                Self::Refused(error)
            }
            _ => Self::Deferred(error),
        }
    }

    /// What went wrong.
    pub(super) fn error(&self) -> Option<&SmtpError> {
        match self {
            Self::Deferred(error) | Self::Refused(error) => Some(error),
            Self::Accepted | Self::Withdrawn => None,
        }
    }

    /// Whether another relay may take the mail at once. Not where the end of the mail was sent and no answer came: the relay may
    /// have taken it. What is refused for good is refused everywhere, but for the sender, who may be unknown to this relay alone.
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

    /// Whether it would have gone the same way with any other mail.
    pub(super) fn is_the_relays_fault(&self) -> bool {
        match self {
            Self::Deferred(SmtpError {
                stage,
                cause: SmtpErrorKind::Reply { code, .. },
            }) => !stage.is_about_the_mail() || *code == CLOSING || wants_sign_in(*code),
            Self::Deferred(error) => !matches!(
                error.cause,
                SmtpErrorKind::Unconfirmed | SmtpErrorKind::Abandoned
            ),
            Self::Refused(error) => error.stage == SmtpStage::From,
            Self::Accepted | Self::Withdrawn => false,
        }
    }

    /// Whether the server answered, and the connection still works.
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

/// RFC 5321, 3.8: the server is about to hang up, whatever it was asked.
const CLOSING: u16 = 421;

/// RFC 4954, 6: the server wants a sign-in, a better one, or TLS first.
fn wants_sign_in(code: u16) -> bool {
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

/// The status at the beginning of a reply's text. The rest stays unread: servers like to repeat the address there.
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
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Lost(reason) => write!(f, "no connection: {reason}"),
            Self::NotOffered => f.write_str("the server does not offer it"),
            Self::Unintelligible => f.write_str("the answer broke off or is not SMTP"),
            Self::Abandoned => f.write_str("the gateway is shutting down"),
            Self::Unconfirmed => {
                f.write_str("the store cannot say whether the mail is still to go out")
            }
            Self::Unwritable => f.write_str("the mail cannot be written"),
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
