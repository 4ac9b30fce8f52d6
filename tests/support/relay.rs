//! A mail server whose every answer is in the test's hand.

use super::eventually;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What the server does once at a command; `.` stands for the end of a mail.
#[derive(Clone, Debug)]
pub enum Act {
    /// Says this instead of yes.
    Say(&'static str),
    /// Hangs up.
    HangUp,
    /// Keeps the client waiting until [`Relay::go_on`], and says yes then. A mail whose client has gone meanwhile is not taken.
    Hold,
}

/// The server; it takes every mail that nothing else was said about.
#[derive(Clone)]
pub struct Relay {
    pub port: u16,
    book: Arc<Mutex<Book>>,
}

#[derive(Default)]
struct Book {
    acts: VecDeque<(&'static str, Act)>,
    always: Option<(&'static str, Act)>,
    holding: usize,
    asked: Vec<String>,
    taken: Vec<Taken>,
}

/// A mail that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    pub to: String,
    pub content: String,
}

impl Relay {
    /// Starts one.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let relay = Self {
            port: listener.local_addr().expect("bound").port(),
            book: Arc::default(),
        };
        let serving = relay.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let book = Arc::clone(&serving.book);
                // A client that goes away is none of our worries.
                std::thread::spawn(move || Conversation::on(stream, book)?.hold());
            }
        });
        relay
    }

    /// At the next command of this name, after all that was said before.
    pub fn once(&self, at: &'static str, act: Act) -> &Self {
        self.book().acts.push_back((at, act));
        self
    }

    /// At every command of this name, where nothing else was said.
    pub fn always(&self, at: &'static str, act: Act) {
        self.book().always = Some((at, act));
    }

    /// Waits until a client is kept waiting.
    pub async fn holds(&self) {
        eventually("the mail server keeps a gateway waiting", async || {
            (self.book().holding > 0).then_some(())
        })
        .await;
    }

    /// Nobody is kept waiting any longer.
    pub fn go_on(&self) {
        self.book().holding = 0;
    }

    /// To whom mails were offered, whatever became of them.
    pub fn asked(&self) -> Vec<String> {
        self.book().asked.clone()
    }

    /// The mails that were taken.
    pub fn taken(&self) -> Vec<Taken> {
        self.book().taken.clone()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no panic")
    }
}

impl Taken {
    /// The TAN: alone on its line.
    pub fn tan(&self) -> String {
        let is_tan =
            |line: &&str| line.len() == 6 && line.bytes().all(|byte| byte.is_ascii_uppercase());
        self.content
            .lines()
            .map(str::trim)
            .find(is_tan)
            .unwrap_or_else(|| panic!("no TAN in\n{}", self.content))
            .to_owned()
    }
}

struct Conversation {
    lines: BufReader<TcpStream>,
    book: Arc<Mutex<Book>>,
}

impl Conversation {
    fn on(stream: TcpStream, book: Arc<Mutex<Book>>) -> Option<Self> {
        stream.set_nodelay(true).ok()?;
        Some(Self {
            lines: BufReader::new(stream),
            book,
        })
    }

    fn hold(mut self) -> Option<()> {
        self.answer("CONNECT", "220 relay.example")?;
        let mut to = String::new();
        loop {
            let line = self.line()?;
            let verb = line
                .split([' ', ':'])
                .next()
                .unwrap_or_default()
                .to_ascii_uppercase();
            match verb.as_str() {
                "DATA" => {
                    if self.answer("DATA", "354 go on")? {
                        self.content(&to)?;
                    }
                }
                "RCPT" => {
                    to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                    self.book.lock().expect("no panic").asked.push(to.clone());
                    self.answer("RCPT", "250 OK")?;
                }
                verb => {
                    self.answer(verb, "250 OK")?;
                }
            }
        }
    }

    fn content(&mut self, to: &str) -> Option<()> {
        let mut content = String::new();
        loop {
            match self.line()?.as_str() {
                "." => break,
                line => content.push_str(&format!("{}\n", line.strip_prefix('.').unwrap_or(line))),
            }
        }
        let taken = Taken {
            to: to.to_owned(),
            content,
        };
        // It is in the book before the client hears of it.
        match self.act(".") {
            None => self.take(taken)?,
            Some(Act::Hold) => {
                self.wait()?;
                self.take(taken)?;
            }
            Some(act) => {
                self.play(&act, "")?;
            }
        }
        Some(())
    }

    fn take(&mut self, taken: Taken) -> Option<()> {
        self.book.lock().expect("no panic").taken.push(taken);
        self.say("250 taken")
    }

    /// Whether the answer was the usual one.
    fn answer(&mut self, at: &str, usual: &str) -> Option<bool> {
        match self.act(at) {
            Some(act) => self.play(&act, usual),
            None => self.say(usual).map(|()| true),
        }
    }

    fn play(&mut self, act: &Act, usual: &str) -> Option<bool> {
        match act {
            Act::Say(reply) => self.say(reply).map(|()| false),
            Act::HangUp => None,
            Act::Hold => {
                self.wait()?;
                self.say(usual).map(|()| true)
            }
        }
    }

    fn act(&self, at: &str) -> Option<Act> {
        let mut book = self.book.lock().expect("no panic");
        if book.acts.front().is_some_and(|(when, _)| *when == at) {
            return book.acts.pop_front().map(|(_, act)| act);
        }
        book.always
            .as_ref()
            .filter(|(when, _)| *when == at)
            .map(|(_, act)| act.clone())
    }

    /// Ends when it goes on; none if the client has gone meanwhile.
    fn wait(&mut self) -> Option<()> {
        self.book.lock().expect("no panic").holding += 1;
        self.lines.get_ref().set_nonblocking(true).ok()?;
        while self.book.lock().expect("no panic").holding > 0 {
            match self.lines.get_ref().peek(&mut [0]) {
                Ok(0) => return None,
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return None,
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        self.lines.get_ref().set_nonblocking(false).ok()
    }

    fn say(&mut self, reply: &str) -> Option<()> {
        self.lines
            .get_mut()
            .write_all(format!("{reply}\r\n").as_bytes())
            .ok()
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.lines
            .read_line(&mut line)
            .ok()
            .filter(|read| *read > 0)?;
        Some(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}
