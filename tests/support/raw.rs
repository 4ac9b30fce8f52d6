//! Clients that send exactly what a test says and give back exactly what came: HTTP/1.1 by hand, HTTP/2 by frames.

use super::World;
use super::upstream::{latin1, parse_head, unchunk};
use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long an answer may take. Longer than any time limit that a test waits for.
const PATIENCE: Duration = Duration::from_secs(90);

/// A connection.
pub struct Raw {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An answer as it came. Text is read as ISO-8859-1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawAnswer {
    pub line: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// The status.
    pub fn status(&self) -> u16 {
        self.line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("no status: {self:?}"))
    }

    /// The values of a field, whatever the case of its name.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Raw {
    /// Connects over TCP.
    pub async fn connect(port: u16) -> Self {
        let tcp = TcpStream::connect(("127.0.0.1", port))
            .await
            .expect("it listens");
        tcp.set_nodelay(true).expect("an option");
        Self {
            stream: Box::new(tcp),
            buffer: Vec::new(),
        }
    }

    /// Connects over TLS and speaks HTTP/1.1.
    pub async fn tls(world: &World) -> Self {
        Self {
            stream: Box::new(tls(world, b"http/1.1").await),
            buffer: Vec::new(),
        }
    }

    /// Sends these bytes. The other side may have had enough: what it has to say then is in the answer.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
        self
    }

    /// Sends these bytes; an error if the connection is gone.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }

    /// Sends these bytes, counting those that the other side's buffers have taken.
    pub async fn send_counting(&mut self, bytes: &[u8], written: &mut usize) {
        while *written < bytes.len() {
            *written += self
                .stream
                .write(&bytes[*written..])
                .await
                .expect("the connection is open");
        }
    }

    /// Ends the sending half.
    pub async fn half_close(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads one answer with its body.
    pub async fn answer(&mut self) -> RawAnswer {
        self.answer_to("GET").await
    }

    /// Reads one answer to a request with this method.
    pub async fn answer_to(&mut self, method: &str) -> RawAnswer {
        self.try_answer_to(method)
            .await
            .unwrap_or_else(|| panic!("no whole answer: {:?}", latin1(&self.buffer)))
    }

    /// Reads one answer, if a whole one comes.
    pub async fn try_answer(&mut self) -> Option<RawAnswer> {
        self.try_answer_to("GET").await
    }

    /// Reads one answer to a request with this method, if a whole one comes.
    pub async fn try_answer_to(&mut self, method: &str) -> Option<RawAnswer> {
        let mut answer = self.head().await?;
        let status = answer.status();
        let bodiless = method == "HEAD" || status < 200 || status == 204 || status == 304;
        if bodiless {
            return Some(answer);
        }
        answer.body = if !answer.values("transfer-encoding").is_empty() {
            loop {
                if let Some((body, length)) = unchunk(&self.buffer) {
                    self.buffer.drain(..length);
                    break body;
                }
                self.fill().await?;
            }
        } else if let Some(length) = answer.values("content-length").first() {
            let length: usize = length.parse().expect("a length");
            while self.buffer.len() < length {
                self.fill().await?;
            }
            self.buffer.drain(..length).collect()
        } else {
            self.rest().await
        };
        Some(answer)
    }

    /// Reads an answer's header only.
    pub async fn head(&mut self) -> Option<RawAnswer> {
        loop {
            if let Some((head, length)) = parse_head(0, &self.buffer) {
                self.buffer.drain(..length);
                return Some(RawAnswer {
                    line: head.line,
                    fields: head.fields,
                    body: Vec::new(),
                });
            }
            self.fill().await?;
        }
    }

    /// Reads until these bytes have come, and gives all up to and with them.
    pub async fn until(&mut self, mark: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self
                .buffer
                .windows(mark.len())
                .position(|part| part == mark)
            {
                return self.buffer.drain(..at + mark.len()).collect();
            }
            self.fill()
                .await
                .unwrap_or_else(|| panic!("no {:?} in {:?}", latin1(mark), latin1(&self.buffer)));
        }
    }

    /// All until the end of the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await.is_some() {}
        std::mem::take(&mut self.buffer)
    }

    /// Reads and forgets; how many bytes came until the end.
    pub async fn drain(&mut self) -> usize {
        let mut all = std::mem::take(&mut self.buffer).len();
        while let Some(read) = self.fill().await {
            all += read;
            self.buffer.clear();
        }
        all
    }

    /// Whether nothing comes within this time, and the connection stays open.
    pub async fn is_silent_for(&mut self, time: Duration) -> bool {
        self.buffer.is_empty() && tokio::time::timeout(time, self.fill()).await.is_err()
    }

    async fn fill(&mut self) -> Option<usize> {
        let mut buffer = vec![0; 65_536];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut buffer))
            .await
            .expect("an answer in time");
        let read = read.ok().filter(|read| *read > 0)?;
        self.buffer.extend_from_slice(&buffer[..read]);
        Some(read)
    }
}

/// An HTTP/2 connection over TLS.
pub struct H2 {
    pub requests: h2::client::SendRequest<Bytes>,
    pings: h2::PingPong,
    /// Ends when the connection does.
    pub connection: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl H2 {
    /// Connects.
    pub async fn connect(world: &World) -> Self {
        Self::connect_to(world, 0).await
    }

    /// Connects to the gateway with this number.
    pub async fn connect_to(world: &World, number: usize) -> Self {
        let port = world.gateways[number].https.expect("a world with https");
        let (requests, mut connection) = h2::client::handshake(tls_to(world, port, b"h2").await)
            .await
            .expect("HTTP/2");
        let pings = connection.ping_pong().expect("not taken yet");
        Self {
            requests,
            pings,
            connection: tokio::spawn(connection),
        }
    }

    /// Sends a ping and waits for its echo.
    pub async fn ping(&mut self) {
        self.pings.ping(h2::Ping::opaque()).await.expect("an echo");
    }

    /// Sends a request without a body, and reads the answer whole.
    pub async fn get(
        &mut self,
        request: http::Request<()>,
    ) -> Result<http::Response<Vec<u8>>, h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        whole(requests.send_request(request, true)?.0).await
    }

    /// Begins a request with a body.
    pub async fn begin(
        &mut self,
        request: http::Request<()>,
    ) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
        let mut requests = self.requests.clone().ready().await.expect("a connection");
        requests.send_request(request, false).expect("a request")
    }
}

/// Reads an answer to its end.
pub async fn whole(
    answer: h2::client::ResponseFuture,
) -> Result<http::Response<Vec<u8>>, h2::Error> {
    let (head, mut body) = answer.await?.into_parts();
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        all.extend_from_slice(&data);
    }
    Ok(http::Response::from_parts(head, all))
}

/// A TLS connection to the first gateway, by a client that trusts its certificate.
pub async fn tls(world: &World, protocol: &[u8]) -> tokio_rustls::client::TlsStream<TcpStream> {
    tls_to(
        world,
        world.gateways[0].https.expect("a world with https"),
        protocol,
    )
    .await
}

/// The same to any of the gateways.
pub async fn tls_to(
    world: &World,
    port: u16,
    protocol: &[u8],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    // rustls must be told once; a second time is no failure.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(
            CertificateDer::from_pem_file(world.folder.path().join("cert.pem"))
                .expect("a certificate"),
        )
        .expect("a root");
    let mut config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let tcp = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("it listens");
    tcp.set_nodelay(true).expect("an option");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .expect("a handshake")
}

/// An HTTP/2 connection whose frames are written by hand, for what no client library sends.
pub struct Frames(tokio_rustls::client::TlsStream<TcpStream>);

// The kinds of frames (RFC 9113, 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

// Their flags.
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field as a literal that is not remembered (RFC 7541, 6.2.2), without Huffman's code (5.1 and 5.2).
pub fn literal(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut block = vec![0];
    for text in [name.as_ref(), value.as_ref()] {
        let mut length = text.len();
        if length < 127 {
            block.push(u8::try_from(length).expect("short"));
        } else {
            block.push(127);
            length -= 127;
            while length >= 128 {
                block.push(u8::try_from(length % 128).expect("short") | 128);
                length /= 128;
            }
            block.push(u8::try_from(length).expect("short"));
        }
        block.extend_from_slice(text);
    }
    block
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was answered with this status.
    Answered(u16),
    /// Its stream or the connection was ended.
    Broken,
}

impl Frames {
    /// Connects and greets.
    pub async fn connect(world: &World) -> Self {
        let mut stream = tls(world, b"h2").await;
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .expect("sent");
        let mut frames = Self(stream);
        frames.send(SETTINGS, 0, 0, b"").await;
        frames
    }

    /// Sends a frame. The other side may have had enough; what it says is read afterwards.
    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.try_send(kind, flags, stream, payload).await;
    }

    /// Sends a frame; whether the connection took it.
    pub async fn try_send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.pour(&frame(kind, flags, stream, payload)).await
    }

    /// Sends these bytes; whether the connection took them.
    pub async fn pour(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok() && self.0.flush().await.is_ok()
    }

    /// Sends a request without a body on stream 1, each field as a literal (RFC 7541, 6.2.2), and tells what becomes of it.
    pub async fn ask(&mut self, fields: &[(&str, &str)]) -> Fate {
        self.begin(1, fields).await;
        loop {
            let Some((kind, payload)) = self.frame().await else {
                return Fate::Broken;
            };
            match kind {
                HEADERS => return Fate::Answered(status(&payload)),
                RST_STREAM | GOAWAY => return Fate::Broken,
                _ => {}
            }
        }
    }

    /// Sends a request without a body on a stream; whether the connection took it.
    pub async fn begin(&mut self, stream: u32, fields: &[(&str, &str)]) -> bool {
        let block: Vec<u8> = fields
            .iter()
            .flat_map(|(name, value)| literal(name, value))
            .collect();
        self.try_send(HEADERS, END_STREAM | END_HEADERS, stream, &block)
            .await
    }

    /// The next frame; `None` at the end.
    pub async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 9];
        let read = tokio::time::timeout(PATIENCE, self.0.read_exact(&mut head))
            .await
            .expect("a frame in time");
        read.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((head[3], payload))
    }
}

/// The status, which comes first in an answer's header: indexed for the usual ones, else three digits, perhaps in Huffman's code.
pub fn status(block: &[u8]) -> u16 {
    // A change of the table's size may precede it.
    let block = if block[0] & 0xe0 == 0x20 {
        &block[1..]
    } else {
        block
    };
    match block[0] {
        0x88 => 200,
        0x89 => 204,
        0x8a => 206,
        0x8b => 304,
        0x8c => 400,
        0x8d => 404,
        0x8e => 500,
        _ if block[1] & 0x80 == 0 => latin1(&block[2..5]).parse().expect("a status"),
        _ => digits(&block[2..2 + usize::from(block[1] & 0x7f)]),
    }
}

/// Digits in the code of RFC 7541, appendix B: 0 to 2 have five bits, 3 to 9 six.
fn digits(code: &[u8]) -> u16 {
    let bits: Vec<u8> = code
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let value = |length: usize| {
            bits[at..at + length]
                .iter()
                .fold(0, |value, bit| value << 1 | u16::from(*bit))
        };
        let (digit, length) = if value(5) < 3 {
            (value(5), 5)
        } else {
            (value(6) - 0x19 + 3, 6)
        };
        number = number * 10 + digit;
        at += length;
    }
    number
}
