//! What a mail client says, understood or refused: RFC 5321, 4.1, as far as a postbox needs it.

#[derive(Debug, PartialEq, Eq)]
pub(super) enum SmtpCommand {
    Helo,
    Ehlo,
    ReceivedMail(String),
    Rcpt(String),
    Data,
    Rset,
    Noop,
    Quit,
}

/// Refusals; each is the reply.
pub(super) type SmtpRefusal = &'static str;

const UNKNOWN: SmtpRefusal = "500 Command not recognized";
const SYNTAX: SmtpRefusal = "501 Syntax error in parameters or arguments";
const PARAMETER: SmtpRefusal = "555 Parameter not recognized";
/// Larger than the postbox takes.
pub(super) const TOO_LARGE: SmtpRefusal = "552 Message exceeds fixed maximum message size";

/// The largest mail taken, in bytes.
pub(super) const LARGEST_MAIL: usize = 1 << 20;

impl SmtpCommand {
    /// Reads one line, its end removed.
    pub(super) fn parse(line: &[u8]) -> Result<Self, SmtpRefusal> {
        let line = std::str::from_utf8(line).map_err(|_| UNKNOWN)?.trim_end();
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim_start();
        match verb.to_ascii_uppercase().as_str() {
            "HELO" if !rest.is_empty() => Ok(Self::Helo),
            "EHLO" if !rest.is_empty() => Ok(Self::Ehlo),
            "HELO" | "EHLO" => Err(SYNTAX),
            "MAIL" => sender(rest).map(Self::ReceivedMail),
            "RCPT" => recipient(rest).map(Self::Rcpt),
            "DATA" => alone(rest, Self::Data),
            "RSET" => alone(rest, Self::Rset),
            "QUIT" => alone(rest, Self::Quit),
            "NOOP" => Ok(Self::Noop),
            "VRFY" => Err("252 Cannot verify the user, but will take the mail"),
            "EXPN" | "HELP" | "STARTTLS" | "AUTH" => Err("502 Command not implemented"),
            _ => Err(UNKNOWN),
        }
    }
}

fn alone(rest: &str, command: SmtpCommand) -> Result<SmtpCommand, SmtpRefusal> {
    if rest.is_empty() {
        Ok(command)
    } else {
        Err(SYNTAX)
    }
}

fn sender(rest: &str) -> Result<String, SmtpRefusal> {
    let (path, parameters) = path(rest, "FROM:")?;
    for parameter in parameters
        .split_ascii_whitespace()
        .map(str::to_ascii_uppercase)
    {
        match parameter.split_once('=').unwrap_or((&parameter, "")) {
            ("SIZE", size) if size.parse::<usize>().map_err(|_| SYNTAX)? > LARGEST_MAIL => {
                return Err(TOO_LARGE);
            }
            ("SIZE", _) | ("BODY", "7BIT" | "8BITMIME") | ("SMTPUTF8", "") => {}
            _ => return Err(PARAMETER),
        }
    }
    if path.is_empty() || is_address(path) {
        Ok(path.to_owned())
    } else {
        Err(SYNTAX)
    }
}

fn recipient(rest: &str) -> Result<String, SmtpRefusal> {
    let (path, parameters) = path(rest, "TO:")?;
    if !parameters.is_empty() {
        return Err(PARAMETER);
    }
    if path.eq_ignore_ascii_case("postmaster") || is_address(path) {
        Ok(path.to_owned())
    } else {
        Err(SYNTAX)
    }
}

/// `FROM:<path> parameters` in its two halves, the brackets removed.
fn path<'a>(rest: &'a str, keyword: &str) -> Result<(&'a str, &'a str), SmtpRefusal> {
    let (head, tail) = rest.split_at_checked(keyword.len()).ok_or(SYNTAX)?;
    let inside = tail.trim_start().strip_prefix('<').ok_or(SYNTAX)?;
    let (path, parameters) = inside
        .split_at_checked(closing_bracket(inside).ok_or(SYNTAX)?)
        .ok_or(SYNTAX)?;
    let parameters = parameters.strip_prefix('>').ok_or(SYNTAX)?;
    let apart = parameters.is_empty() || parameters.starts_with(' ');
    if head.eq_ignore_ascii_case(keyword) && apart {
        Ok((path, parameters.trim()))
    } else {
        Err(SYNTAX)
    }
}

/// Where the path ends; a `>` inside a quoted local part does not end it.
fn closing_bracket(text: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

fn is_address(path: &str) -> bool {
    let plain = !path.chars().any(char::is_control)
        && (path.starts_with('"') || !path.contains(char::is_whitespace));
    plain
        && path
            .rsplit_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_in_any_case() {
        for (line, command) in [
            ("ehlo makler.example", SmtpCommand::Ehlo),
            ("HELO x", SmtpCommand::Helo),
            (
                "MAIL FROM:<a@b.example>",
                SmtpCommand::ReceivedMail("a@b.example".into()),
            ),
            (
                "mail from:<> SIZE=200 BODY=8BITMIME SMTPUTF8",
                SmtpCommand::ReceivedMail(String::new()),
            ),
            (
                "RCPT TO:<jürgen@müller.example>",
                SmtpCommand::Rcpt("jürgen@müller.example".into()),
            ),
            (
                "RCPT TO:<\"a>b c\"@x.example>",
                SmtpCommand::Rcpt("\"a>b c\"@x.example".into()),
            ),
            (
                "RCPT TO:<Postmaster>",
                SmtpCommand::Rcpt("Postmaster".into()),
            ),
            ("NOOP whatever", SmtpCommand::Noop),
            ("QUIT  ", SmtpCommand::Quit),
        ] {
            assert_eq!(SmtpCommand::parse(line.as_bytes()), Ok(command), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_gets_its_own_reply() {
        for (line, code) in [
            ("", "500"),
            ("MAILFROM:<a@b>", "500"),
            ("GET / HTTP/1.1", "500"),
            ("EHLO", "501"),
            ("MAIL FROM:a@b", "501"),
            ("MAIL FROM:<a@b", "501"),
            ("MAIL FROM:<a b@c>", "501"),
            ("MAIL FROM:<a@b> SIZE=many", "501"),
            ("MAIL TO:<a@b>", "501"),
            ("RCPT TO:<>", "501"),
            ("RCPT TO:<ada>", "501"),
            ("RCPT TO:<a@b>x", "501"),
            ("DATA now", "501"),
            ("STARTTLS", "502"),
            ("MAIL FROM:<a@b> SIZE=1048577", "552"),
            ("MAIL FROM:<a@b> BODY=BINARYMIME", "555"),
            ("RCPT TO:<a@b> NOTIFY=NEVER", "555"),
        ] {
            let refusal = SmtpCommand::parse(line.as_bytes()).unwrap_err();
            assert!(refusal.starts_with(code), "{line}: {refusal}");
        }
        assert!(
            SmtpCommand::parse(b"RCPT TO:<\xff@b>")
                .unwrap_err()
                .starts_with("500")
        );
    }
}
