//! A mail server that takes every mail in a real conversation, at once or after a while, and knows when it said so.

use anyhow::{Context, Result};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// A mail that was taken.
#[derive(Clone, Debug)]
pub struct Mail {
    pub tan: String,
    /// When the 250 after DATA was on its way.
    pub taken_at: Instant,
}

/// The mail server's book.
#[derive(Clone, Default)]
pub struct PostOffice(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    mails: HashMap<String, usize>,
    waiting: HashMap<String, oneshot::Sender<Mail>>,
}

impl PostOffice {
    /// Takes mails on this listener until dropped; each takes so long.
    pub async fn serve(self, listener: TcpListener, takes: Duration) {
        while let Ok((stream, _)) = listener.accept().await {
            let office = self.clone();
            // A gateway that hangs up is seen by the mails that do not come.
            tokio::spawn(async move { _ = office.converse(stream, takes).await });
        }
    }

    /// The next mail to this address, if it is taken from now on.
    pub fn expect(&self, address: &str) -> oneshot::Receiver<Mail> {
        let (sender, mail) = oneshot::channel();
        self.0.lock().waiting.insert(address.to_owned(), sender);
        mail
    }

    /// How many mails to this address were taken.
    pub fn mails_to(&self, address: &str) -> usize {
        self.0.lock().mails.get(address).copied().unwrap_or(0)
    }

    async fn converse(&self, stream: TcpStream, takes: Duration) -> Result<()> {
        stream.set_nodelay(true)?;
        let (mut stream, mut line, mut to) = (BufReader::new(stream), String::new(), String::new());
        stream.write_all(b"220 sink\r\n").await?;
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => stream.write_all(b"250-sink\r\n250 8BITMIME\r\n").await?,
                "RCPT" => {
                    to = line
                        .split(['<', '>'])
                        .nth(1)
                        .context("no recipient")?
                        .to_owned();
                    stream.write_all(b"250 ok\r\n").await?;
                }
                "DATA" => {
                    stream.write_all(b"354 go on\r\n").await?;
                    let raw = content(&mut stream).await?;
                    tokio::time::sleep(takes).await;
                    stream.write_all(b"250 taken\r\n").await?;
                    self.keep(
                        &to,
                        Mail {
                            taken_at: Instant::now(),
                            tan: tan_in(&raw).context("no TAN")?,
                        },
                    );
                }
                "QUIT" => return Ok(stream.write_all(b"221 bye\r\n").await?),
                _ => stream.write_all(b"250 ok\r\n").await?,
            }
        }
    }

    fn keep(&self, to: &str, mail: Mail) {
        let mut book = self.0.lock();
        *book.mails.entry(to.to_owned()).or_default() += 1;
        if let Some(waiting) = book.waiting.remove(to) {
            // Whoever gave up waiting has said so.
            let _ = waiting.send(mail);
        }
    }
}

/// What follows DATA.
async fn content(stream: &mut BufReader<TcpStream>) -> Result<Vec<u8>> {
    let mut raw = Vec::new();
    loop {
        let begin = raw.len();
        let read = stream.read_until(b'\n', &mut raw).await?;
        anyhow::ensure!(read > 0, "the mail breaks off");
        match &raw[begin..] {
            b".\r\n" => {
                raw.truncate(begin);
                return Ok(raw);
            }
            [b'.', ..] => _ = raw.remove(begin),
            _ => {}
        }
    }
}

/// The TAN stands alone on its line.
fn tan_in(raw: &[u8]) -> Option<String> {
    let message = mail_parser::MessageParser::default().parse(raw)?;
    let text = message.body_text(0)?;
    let is_tan =
        |line: &&str| line.len() == 6 && line.bytes().all(|byte| byte.is_ascii_uppercase());
    text.lines().map(str::trim).find(is_tan).map(str::to_owned)
}
