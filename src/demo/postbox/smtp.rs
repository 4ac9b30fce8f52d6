//! The conversation with a mail client: RFC 5321, with 8BITMIME, SMTPUTF8, SIZE and PIPELINING.

use super::command::{LARGEST_MAIL, SmtpCommand, TOO_LARGE};
use super::letter::Envelope;
use super::lines::{SmtpLine, SmtpLines};
use super::{Postbox, PostboxFault};
use std::io;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The longest command line: RFC 5321, 4.5.3.1.4 asks for 512 bytes, and extensions add to it.
const LONGEST_COMMAND: usize = 2_048;
/// RFC 5321, 4.5.3.1.8 asks for at least 100.
const MAX_RECIPIENTS: usize = 100;
/// How many clients are talked to at once; others wait to be accepted.
const MAX_CONVERSATIONS: usize = 200;
/// How long a client may be silent: RFC 5321, 4.5.3.2.7.
const PATIENCE: Duration = Duration::from_secs(300);

const GREETING: &str = "220 postfach.example ESMTP";
const HELLO: &str = "250 postfach.example";
const HELLO_EXTENDED: &str =
    "250-postfach.example\r\n250-SIZE 1048576\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 PIPELINING";
const OK: &str = "250 OK";
const GO_AHEAD: &str = "354 End data with <CR><LF>.<CR><LF>";
const BYE: &str = "221 postfach.example closing connection";
const LINE_TOO_LONG: &str = "500 Line too long";
const BAD_SEQUENCE: &str = "503 Bad sequence of commands";
const TOO_MANY_RECIPIENTS: &str = "452 Too many recipients";
const REFUSED: &str = "550 Mailbox unavailable";
const PUT_OFF: &str = "451 Try again later";

/// Accepts clients for ever; the conversations end with this future.
pub(super) async fn serve(postbox: Postbox, listener: TcpListener) {
    let mut conversations = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if conversations.len() < MAX_CONVERSATIONS => match accepted {
                Ok((stream, _)) => { conversations.spawn(Conversation::new(postbox.clone(), stream).hold()); }
                // Out of file descriptors, say: without a pause this loop would spin.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = conversations.join_next() => {}
        }
    }
}

struct Conversation {
    postbox: Postbox,
    lines: SmtpLines<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    greeted: bool,
    envelope: Option<Envelope>,
}

/// Whether a conversation goes on.
#[derive(PartialEq, Eq)]
enum SmtpFlow {
    On,
    Over,
}

impl Conversation {
    fn new(postbox: Postbox, stream: TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            postbox,
            lines: SmtpLines::new(reader),
            writer,
            greeted: false,
            envelope: None,
        }
    }

    /// From the greeting to the farewell. A client that goes away early is none of our worries.
    async fn hold(mut self) -> io::Result<()> {
        if let PostboxFault::BannerDelay(delay) = self.postbox.fault() {
            tokio::time::sleep(delay).await;
        }
        let mut flow = self.say(GREETING).await?;
        while flow == SmtpFlow::On {
            let Some(line) = self.hear(LONGEST_COMMAND).await? else {
                return Ok(());
            };
            flow = self.answer(&line).await?;
        }
        Ok(())
    }

    async fn answer(&mut self, line: &SmtpLine) -> io::Result<SmtpFlow> {
        if !line.whole {
            return self.say(LINE_TOO_LONG).await;
        }
        let reply = match SmtpCommand::parse(line.bytes.trim_ascii_end()) {
            Err(refusal) => refusal,
            Ok(SmtpCommand::Helo) => self.greet(HELLO),
            Ok(SmtpCommand::Ehlo) => self.greet(HELLO_EXTENDED),
            Ok(SmtpCommand::ReceivedMail(from)) => self.begin(from),
            Ok(SmtpCommand::Rcpt(to)) => self.address(to),
            Ok(SmtpCommand::Data) => return self.take().await,
            Ok(SmtpCommand::Rset) => self.reset(),
            Ok(SmtpCommand::Noop) => OK,
            Ok(SmtpCommand::Quit) => return self.say(BYE).await.map(|_| SmtpFlow::Over),
        };
        self.say(reply).await
    }

    fn greet(&mut self, reply: &'static str) -> &'static str {
        self.greeted = true;
        self.envelope = None;
        reply
    }

    fn reset(&mut self) -> &'static str {
        self.envelope = None;
        OK
    }

    fn begin(&mut self, from: String) -> &'static str {
        if !self.greeted || self.envelope.is_some() {
            return BAD_SEQUENCE;
        }
        self.envelope = Some(Envelope {
            from,
            to: Vec::new(),
        });
        OK
    }

    fn address(&mut self, to: String) -> &'static str {
        let Some(envelope) = &mut self.envelope else {
            return BAD_SEQUENCE;
        };
        match self.postbox.fault() {
            PostboxFault::Refuse => return REFUSED,
            PostboxFault::PutOff => return PUT_OFF,
            _ if envelope.to.len() >= MAX_RECIPIENTS => return TOO_MANY_RECIPIENTS,
            _ => envelope.to.push(to),
        }
        OK
    }

    async fn take(&mut self) -> io::Result<SmtpFlow> {
        let Some(envelope) = self.envelope.take_if(|envelope| !envelope.to.is_empty()) else {
            return self.say(BAD_SEQUENCE).await;
        };
        if self.say(GO_AHEAD).await? == SmtpFlow::Over {
            return Ok(SmtpFlow::Over);
        }
        match self.content().await? {
            MailData::Whole(raw) => self.postbox.keep(envelope, raw),
            MailData::TooLarge => return self.say(TOO_LARGE).await,
            MailData::CutOff => return Ok(SmtpFlow::Over),
        }
        match self.postbox.fault() {
            PostboxFault::DropAfterData => Ok(SmtpFlow::Over),
            _ => self.say(OK).await,
        }
    }

    /// What follows DATA, up to the line with nothing but a dot. Only CR LF counts as a line end here: a server
    /// that lets a bare LF count can be told two mails where its neighbour saw one ("SMTP smuggling").
    async fn content(&mut self) -> io::Result<MailData> {
        let mut content = Vec::new();
        let mut too_large = false;
        let mut at_line_start = true;
        loop {
            // Room for the stuffed dot and for the end of the content.
            let room = LARGEST_MAIL.saturating_sub(content.len()) + 4;
            let Some(line) = self.hear(room).await? else {
                return Ok(MailData::CutOff);
            };
            let stuffed = at_line_start
                .then(|| line.bytes.strip_prefix(b"."))
                .flatten();
            if stuffed == Some(b"\r\n") {
                return Ok(if too_large {
                    MailData::TooLarge
                } else {
                    MailData::Whole(content)
                });
            }
            at_line_start = line.crlf;
            let bytes = stuffed.unwrap_or(&line.bytes);
            too_large |= !line.whole || content.len() + bytes.len() > LARGEST_MAIL;
            if too_large {
                content.clear();
            } else {
                content.extend_from_slice(bytes);
            }
        }
    }

    async fn hear(&mut self, limit: usize) -> io::Result<Option<SmtpLine>> {
        timeout(PATIENCE, self.lines.next(limit)).await?
    }

    async fn say(&mut self, reply: &str) -> io::Result<SmtpFlow> {
        if self.postbox.fault() == PostboxFault::Freeze {
            self.lines.drain().await?;
            return Ok(SmtpFlow::Over);
        }
        self.writer
            .write_all(format!("{reply}\r\n").as_bytes())
            .await?;
        Ok(SmtpFlow::On)
    }
}

/// What came after DATA.
enum MailData {
    Whole(Vec<u8>),
    TooLarge,
    /// The client went away before the end.
    CutOff,
}
