//! A small mail server on a real socket: applies each scripted fault once, and accepts every other
//! mail.

use parking_lot::Mutex;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// A fault to apply once at a command; `CONNECT` and `.` denote the greeting and the end of the
/// mail.
#[derive(Clone, Copy, Debug)]
pub(in crate::mail) enum ScriptedFault {
    Say(&'static str, &'static str),
    HangUp(&'static str),
    Freeze(&'static str),
    /// Replies as usual, half a second late.
    Pause(&'static str),
}

#[derive(Default)]
struct Book {
    script: VecDeque<ScriptedFault>,
    mails: Vec<Vec<u8>>,
    recipients: Vec<String>,
    heard_in_clear: Vec<u8>,
    connections: usize,
}

/// The scripted mail server.
pub(in crate::mail) struct Relay {
    pub(in crate::mail) port: u16,
    pub(in crate::mail) certificate: String,
    book: Arc<Mutex<Book>>,
}

#[derive(Clone)]
enum Tls {
    None,
    Offered(Arc<ServerConfig>),
    Always(Arc<ServerConfig>),
}

impl Relay {
    pub(in crate::mail) fn start(script: &[ScriptedFault]) -> Self {
        Self::listen(script, Tls::None, String::new())
    }

    pub(in crate::mail) fn with_starttls() -> Self {
        let (config, certificate) = certificate();
        Self::listen(&[], Tls::Offered(config), certificate)
    }

    pub(in crate::mail) fn with_tls() -> Self {
        let (config, certificate) = certificate();
        Self::listen(&[], Tls::Always(config), certificate)
    }

    pub(in crate::mail) fn mails(&self) -> Vec<Vec<u8>> {
        self.book.lock().mails.clone()
    }

    pub(in crate::mail) fn recipients(&self) -> Vec<String> {
        self.book.lock().recipients.clone()
    }

    pub(in crate::mail) fn heard_in_clear(&self) -> String {
        String::from_utf8_lossy(&self.book.lock().heard_in_clear).into_owned()
    }

    pub(in crate::mail) fn connections(&self) -> usize {
        self.book.lock().connections
    }

    fn listen(script: &[ScriptedFault], tls: Tls, certificate: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("bound").port();
        let book = Arc::new(Mutex::new(Book {
            script: script.iter().copied().collect(),
            ..Book::default()
        }));
        let shared = Arc::clone(&book);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (book, tls) = (Arc::clone(&shared), tls.clone());
                book.lock().connections += 1;
                std::thread::spawn(move || {
                    Conversation {
                        wire: Wire::Clear(stream),
                        book,
                        tls,
                    }
                    .guard()
                });
            }
        });
        Self {
            port,
            certificate,
            book,
        }
    }
}

fn certificate() -> (Arc<ServerConfig>, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("made");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .expect("a key");
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("fits");
    (Arc::new(config), made.cert.pem())
}

enum Wire {
    Clear(TcpStream),
    Sealed(Box<StreamOwned<ServerConnection, TcpStream>>),
}

struct Conversation {
    wire: Wire,
    book: Arc<Mutex<Book>>,
    tls: Tls,
}

impl Conversation {
    /// Serves one client until it disconnects, or a fault ends the connection.
    fn guard(mut self) -> Option<()> {
        if let Tls::Always(config) = self.tls.clone() {
            self = self.seal(config)?;
        }
        self.answer("CONNECT", "220 relay")?;
        loop {
            let line = self.line()?;
            let verb = line
                .split([' ', ':'])
                .next()
                .unwrap_or_default()
                .to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" if self.offers_starttls() => {
                    self.answer("EHLO", "250-relay\r\n250 STARTTLS")?
                }
                "EHLO" => self.answer("EHLO", "250-relay\r\n250 AUTH PLAIN")?,
                "STARTTLS" => {
                    self.answer("STARTTLS", "220 go on")?;
                    let Tls::Offered(config) = self.tls.clone() else {
                        return None;
                    };
                    self = self.seal(config)?;
                }
                "DATA" => self.take_mail()?,
                "RCPT" => {
                    self.book.lock().recipients.push(line);
                    self.answer("RCPT", "250 ok")?;
                }
                verb => self.answer(verb, "250 ok")?,
            }
        }
    }

    fn offers_starttls(&self) -> bool {
        matches!((&self.tls, &self.wire), (Tls::Offered(_), Wire::Clear(_)))
    }

    fn take_mail(&mut self) -> Option<()> {
        if let Some(fault) = self.fault("DATA") {
            return self.commit(fault);
        }
        self.say("354 go on")?;
        let mut mail = Vec::new();
        loop {
            match self.line()?.as_str() {
                "." => break,
                line => mail.extend_from_slice(
                    format!("{}\r\n", line.strip_prefix('.').unwrap_or(line)).as_bytes(),
                ),
            }
        }
        if let Some(fault) = self.fault(".") {
            return self.commit(fault);
        }
        self.book.lock().mails.push(mail);
        self.say("250 taken")
    }

    fn answer(&mut self, at: &str, usual: &str) -> Option<()> {
        match self.fault(at) {
            Some(fault) => self.commit(fault),
            None => self.say(usual),
        }
    }

    fn fault(&self, at: &str) -> Option<ScriptedFault> {
        let script = &mut self.book.lock().script;
        let is_due = |fault: &ScriptedFault| matches!(fault, ScriptedFault::Say(when, _) | ScriptedFault::HangUp(when) | ScriptedFault::Freeze(when) | ScriptedFault::Pause(when) if *when == at);
        if script.front().is_some_and(is_due) {
            script.pop_front()
        } else {
            None
        }
    }

    fn commit(&mut self, fault: ScriptedFault) -> Option<()> {
        match fault {
            ScriptedFault::Say(_, reply) => self.say(reply),
            ScriptedFault::HangUp(_) => None,
            ScriptedFault::Freeze(_) => {
                std::thread::sleep(Duration::from_secs(20));
                None
            }
            ScriptedFault::Pause(_) => {
                std::thread::sleep(Duration::from_millis(500));
                self.say("250 ok")
            }
        }
    }

    fn say(&mut self, reply: &str) -> Option<()> {
        let bytes = format!("{reply}\r\n");
        match &mut self.wire {
            Wire::Clear(stream) => stream.write_all(bytes.as_bytes()).ok(),
            Wire::Sealed(stream) => stream
                .write_all(bytes.as_bytes())
                .and_then(|()| stream.flush())
                .ok(),
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            match &mut self.wire {
                Wire::Clear(stream) => {
                    stream.read_exact(&mut byte).ok()?;
                    self.book.lock().heard_in_clear.push(byte[0]);
                }
                Wire::Sealed(stream) => stream.read_exact(&mut byte).ok()?,
            }
            line.push(byte[0]);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).ok()
    }

    fn seal(self, config: Arc<ServerConfig>) -> Option<Self> {
        let Wire::Clear(stream) = self.wire else {
            return None;
        };
        let connection = ServerConnection::new(config).ok()?;
        Some(Self {
            wire: Wire::Sealed(Box::new(StreamOwned::new(connection, stream))),
            ..self
        })
    }
}
