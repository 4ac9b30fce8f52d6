//! Clients that put a spelling on the wire, over HTTP/1.1 and HTTP/2, and tell what became of it.

use super::spellings::{Body, Spelling};
use crate::support::raw::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, Raw, RawAnswer, SETTINGS,
    WINDOW_UPDATE, frame, literal, status, tls,
};
use crate::support::world::World;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was answered with this status.
    Answered(u16),
    /// Its stream or connection was ended instead.
    Ended,
    /// Neither, for too long.
    Silence,
}

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Sized,
    Chunked,
    Empty,
}

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(15);
const FORM: &str = "fahrer=Ada";

/// Each symbol as one byte.
fn bytes(text: &str) -> Vec<u8> {
    text.chars()
        .map(|symbol| u8::try_from(u32::from(symbol)).expect("up to U+00FF"))
        .collect()
}

/// A client over HTTP/1.1 that keeps its connection where it may.
pub(crate) struct Http1 {
    port: u16,
    host: String,
    session: String,
    connection: Option<Raw>,
    /// How many requests went on a connection that was kept.
    pub(crate) kept: usize,
}

impl Http1 {
    /// A client of the first gateway with this session.
    pub(crate) fn new(world: &World, session: &str) -> Self {
        let port = world.gateways[0].port;
        Self {
            port,
            host: format!("127.0.0.1:{port}"),
            session: session.to_owned(),
            connection: None,
            kept: 0,
        }
    }

    /// Sends a spelling and tells what became of it.
    pub(crate) async fn ask(&mut self, spelling: &Spelling, shape: Shape) -> Fate {
        match tokio::time::timeout(PATIENCE, self.answer(spelling, shape)).await {
            Ok(Some(answer)) => Fate::Answered(answer.status()),
            Ok(None) => Fate::Ended,
            Err(_) => Fate::Silence,
        }
    }

    /// Sends a spelling and gives the answer, if one comes.
    pub(crate) async fn answer(&mut self, spelling: &Spelling, shape: Shape) -> Option<RawAnswer> {
        let mut connection = match self.connection.take() {
            Some(kept) => {
                self.kept += 1;
                kept
            }
            None => Raw::connect(self.port).await,
        };
        connection.send(self.request(spelling, shape)).await;
        let mut answer = connection.try_answer_to(&spelling.method).await?;
        while answer.status() == 100 {
            answer = connection.try_answer_to(&spelling.method).await?;
        }
        let stays = !answer.values("connection").contains(&"close")
            && answer.values("content-length").len() == 1;
        // What lies about its length may be answered twice; what Pingora cannot hand on is the connection's last, without notice.
        let is_plain = !matches!(spelling.body, Body::Raw(raw) if !raw.is_empty())
            && !spelling.fields.contains("Connection: X-");
        self.connection = (stays && is_plain && answer.status() >= 200).then_some(connection);
        Some(answer)
    }

    fn request(&self, spelling: &Spelling, shape: Shape) -> Vec<u8> {
        let framed = match (&spelling.body, shape) {
            (Body::Raw(raw), _) => format!("\r\n{raw}"),
            (Body::Form(form), _) => {
                format!(
                    "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
                    form.len()
                )
            }
            (Body::Any, Shape::Sized) => {
                format!(
                    "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{FORM}",
                    FORM.len()
                )
            }
            (Body::Any, Shape::Chunked) => format!(
                "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{FORM}\r\n0\r\n\r\n",
                FORM.len()
            ),
            (Body::Any, Shape::Empty) => "Content-Length: 0\r\n\r\n".to_owned(),
        };
        let Spelling {
            method,
            target,
            fields,
            ..
        } = spelling;
        let target = target.replace("@HOST", &self.host);
        bytes(&format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n{fields}{framed}",
            self.host, self.session
        ))
    }
}

/// A client over HTTP/2 that writes its frames by hand, since no library sends such targets.
pub(crate) struct Http2<'a> {
    world: &'a World,
    host: String,
    session: String,
    connection: Option<(tokio_rustls::client::TlsStream<TcpStream>, u32)>,
}

impl<'a> Http2<'a> {
    /// A client of the first gateway with this session.
    pub(crate) fn new(world: &'a World, session: &str) -> Self {
        let host = format!(
            "localhost:{}",
            world.gateways[0].https.expect("a world with https")
        );
        Self {
            world,
            host,
            session: session.to_owned(),
            connection: None,
        }
    }

    /// Sends a spelling, its fields as far as HTTP/2 has them.
    pub(crate) async fn ask(&mut self, spelling: &Spelling, shape: Shape) -> Fate {
        let target = spelling.target.replace("@HOST", &self.host);
        let mut fields = self.head(&spelling.method, &target);
        let own = spelling
            .fields
            .split("\r\n")
            .filter_map(|line| line.split_once(": "));
        let own = own.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        fields.extend(own.filter(|(name, _)| {
            !["connection", "upgrade", "http2-settings"].contains(&name.as_str())
        }));
        let body = match (&spelling.body, shape) {
            (Body::Raw(raw), _) | (Body::Form(raw), _) => *raw,
            (Body::Any, Shape::Empty) => "",
            (Body::Any, _) => FORM,
        };
        if shape == Shape::Sized && !fields.iter().any(|(name, _)| name == "content-length") {
            fields.push(("content-length".to_owned(), body.len().to_string()));
        }
        self.send(&fields, body).await
    }

    fn head(&self, method: &str, target: &str) -> Vec<(String, String)> {
        let fields = [
            (":method", method),
            (":scheme", "https"),
            (":authority", &self.host),
            (":path", target),
            ("cookie", &self.session),
        ];
        fields
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    /// Sends a header by its fields, with the session, and tells what became of it.
    pub(crate) async fn ask_with(&mut self, fields: &[(&str, &str)]) -> Fate {
        let fields = fields
            .iter()
            .copied()
            .chain([("cookie", self.session.as_str())]);
        let fields: Vec<_> = fields
            .map(|(name, value)| (name.to_owned(), value.replace("@HOST", &self.host)))
            .collect();
        self.send(&fields, FORM).await
    }

    async fn send(&mut self, fields: &[(String, String)], body: &str) -> Fate {
        let fate = tokio::time::timeout(PATIENCE, self.exchange(fields, body))
            .await
            .unwrap_or(Fate::Silence);
        if fate == Fate::Silence {
            self.connection = None;
        }
        fate
    }

    async fn exchange(&mut self, fields: &[(String, String)], body: &str) -> Fate {
        let (mut stream, id) = match self.connection.take() {
            Some(kept) => kept,
            None => (self.connect().await, 1),
        };
        let block: Vec<u8> = fields
            .iter()
            .flat_map(|(name, value)| literal(bytes(name), bytes(value)))
            .collect();
        let mut frames = frame(
            HEADERS,
            END_HEADERS | if body.is_empty() { END_STREAM } else { 0 },
            id,
            &block,
        );
        if !body.is_empty() {
            frames.extend(frame(DATA, END_STREAM, id, &bytes(body)));
        }
        // The other side may have had enough; what it says is read.
        let _ = stream.write_all(&frames).await;
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return Fate::Ended;
            }
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            if stream.read_exact(&mut payload).await.is_err() {
                return Fate::Ended;
            }
            let of = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let fate = match head[3] {
                HEADERS if of == id && status(&payload) >= 200 => Fate::Answered(status(&payload)),
                RST_STREAM if of == id => Fate::Ended,
                GOAWAY => return Fate::Ended,
                _ => continue,
            };
            self.connection = Some((stream, id + 2));
            return fate;
        }
    }

    async fn connect(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut stream = tls(self.world, b"h2").await;
        let mut greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // No table, so that each header can be read by itself; and room for all answers.
        greeting.extend(frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]));
        greeting.extend(frame(WINDOW_UPDATE, 0, 0, &0x3fff_ffff_u32.to_be_bytes()));
        stream.write_all(&greeting).await.expect("sent");
        stream
    }
}
