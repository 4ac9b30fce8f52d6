//! An application written by hand, byte for byte: what arrived is kept as it arrived, what goes out is what the test says.

use super::eventually;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// An upstream that does what a test's script says.
pub struct Upstream {
    port: u16,
    seen: Seen,
    arrived: Arrived,
    accepted: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
    /// Told once to let every connection go.
    over: watch::Sender<bool>,
}

/// The requests that scripts have read, in their order.
type Arrived = Arc<Mutex<Vec<Request>>>;

/// All bytes that arrived, by connection.
type Seen = Arc<Mutex<BTreeMap<usize, Vec<u8>>>>;

/// A request as it arrived. Text is read as ISO-8859-1, so that every byte can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The connection that it came on.
    pub connection: usize,
    /// The request line.
    pub line: String,
    /// The fields, names as they were spelt, in their order.
    pub fields: Vec<(String, String)>,
    /// The body, without the chunks' frame.
    pub body: Vec<u8>,
}

/// One connection to the upstream.
pub struct Wire {
    tcp: TcpStream,
    seen: Seen,
    arrived: Arrived,
    /// The number of the connection, from 0.
    pub number: usize,
    parsed: usize,
}

impl Upstream {
    /// Each connection is served by a script of its own.
    pub async fn start<F: Future<Output = ()> + Send>(
        script: impl Fn(Wire) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::at(
            TcpListener::bind("127.0.0.1:0").await.expect("a port"),
            script,
        )
    }

    /// The same on a port of the test's choice.
    pub fn at<F: Future<Output = ()> + Send>(
        listener: TcpListener,
        script: impl Fn(Wire) -> F + Send + Sync + 'static,
    ) -> Self {
        let (port, seen) = (
            listener.local_addr().expect("bound").port(),
            Seen::default(),
        );
        let arrived = Arrived::default();
        let (kept, in_order, script) = (Arc::clone(&seen), Arc::clone(&arrived), Arc::new(script));
        let (accepted, over) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(false));
        let (counted, ending) = (Arc::clone(&accepted), over.subscribe());
        let serving = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.expect("a connection");
                counted.fetch_add(1, Ordering::SeqCst);
                tcp.set_nodelay(true).expect("an option");
                let (kept, in_order, script, mut ending) = (
                    Arc::clone(&kept),
                    Arc::clone(&in_order),
                    Arc::clone(&script),
                    ending.clone(),
                );
                let serve = async move {
                    // Whoever only looks whether somebody is there, as health checks do, is no part of the test.
                    if tcp.peek(&mut [0]).await.ok().is_none_or(|read| read == 0) {
                        return;
                    }
                    let number = {
                        let mut kept = kept.lock().expect("no panic");
                        let number = kept.len();
                        kept.insert(number, Vec::new());
                        number
                    };
                    script(Wire {
                        tcp,
                        seen: kept,
                        arrived: in_order,
                        number,
                        parsed: 0,
                    })
                    .await;
                };
                tokio::spawn(async move {
                    let killed = async move {
                        if ending.wait_for(|over| *over).await.is_err() {
                            // The test has let go of the upstream; its connections go on.
                            std::future::pending().await
                        }
                    };
                    tokio::select! {
                        () = serve => {}
                        () = killed => {}
                    }
                });
            }
        });
        Self {
            port,
            seen,
            arrived,
            accepted,
            serving,
            over,
        }
    }

    /// Ends as a process that is killed: nobody listens any more, and all its connections end.
    pub async fn kill(&mut self) {
        self.serving.abort();
        // The listener is closed once the task is gone.
        let _ = (&mut self.serving).await;
        self.over.send_replace(true);
        // Each connection has a receiver, until it is gone.
        self.over.closed().await;
    }

    /// How many connections were accepted, also those that brought nothing.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Every request gets these bytes.
    pub async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::start(move |mut wire| {
            let answer = Arc::clone(&answer);
            async move {
                while wire.request().await.is_some() {
                    wire.send(answer.as_slice()).await;
                }
            }
        })
        .await
    }

    /// Every request gets `200` and `ok`.
    pub async fn fine() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await
    }

    /// Its address for `upstream.url`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All that arrived, as it arrived, by connection.
    pub fn bytes(&self) -> Vec<Vec<u8>> {
        self.seen
            .lock()
            .expect("no panic")
            .values()
            .cloned()
            .collect()
    }

    /// How many connections there were that brought anything.
    pub fn connections(&self) -> usize {
        self.seen.lock().expect("no panic").len()
    }

    /// The requests that arrived whole, in the order of their connections.
    ///
    /// # Panics
    /// If anything arrived that is not, read strictly, the beginning of a request.
    pub fn requests(&self) -> Vec<Request> {
        let mut requests = Vec::new();
        for (connection, bytes) in self.seen.lock().expect("no panic").iter() {
            let mut rest = &bytes[..];
            while let Some((request, length)) = parse(*connection, rest) {
                requests.push(request);
                rest = &rest[length..];
            }
            assert!(
                rest.is_empty() || rest.starts_with_method(),
                "stray bytes: {:?}",
                latin1(rest)
            );
        }
        requests
    }

    /// The only request that arrived, and nothing else did.
    pub fn only(&self) -> Request {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.into_iter().next().expect("one")
    }

    /// Asserts that not a byte arrived.
    pub fn saw_nothing(&self, what: &str) {
        let bytes = self.bytes();
        assert!(
            bytes.iter().all(Vec::is_empty),
            "{what}: {:?}",
            bytes.iter().map(|bytes| latin1(bytes)).collect::<Vec<_>>()
        );
    }

    /// Waits until so many requests have arrived.
    pub async fn has_seen(&self, requests: usize) -> Vec<Request> {
        eventually(
            &format!("{requests} requests at the upstream"),
            async || {
                let seen = self.requests();
                (seen.len() >= requests).then_some(seen)
            },
        )
        .await
    }

    /// The request that arrived last, whole.
    pub fn last(&self) -> Request {
        self.arrived
            .lock()
            .expect("no panic")
            .last()
            .cloned()
            .expect("a request")
    }
}

trait StartsWithMethod {
    fn starts_with_method(&self) -> bool;
}

impl StartsWithMethod for &[u8] {
    fn starts_with_method(&self) -> bool {
        self.first().is_some_and(u8::is_ascii_alphabetic)
    }
}

impl Request {
    /// Its target, as it stands in the request line.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The values of a field, whatever the case of its name.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

impl Wire {
    /// The next request with its whole body; `None` when the connection ends before one.
    pub async fn request(&mut self) -> Option<Request> {
        loop {
            if let Some((request, length)) = parse(self.number, &self.all()[self.parsed..]) {
                self.parsed += length;
                self.arrived.lock().expect("no panic").push(request.clone());
                return Some(request);
            }
            self.read().await?;
        }
    }

    /// The next request's header; the body is left for [`Wire::read`].
    pub async fn head(&mut self) -> Option<Request> {
        loop {
            let all = self.all();
            if let Some((request, length)) = parse_head(self.number, &all[self.parsed..]) {
                self.parsed += length;
                return Some(request);
            }
            self.read().await?;
        }
    }

    /// What has arrived since the last header or request.
    pub fn rest(&self) -> Vec<u8> {
        self.all().split_off(self.parsed)
    }

    /// Some more bytes; `None` at the end.
    pub async fn read(&mut self) -> Option<usize> {
        let mut buffer = vec![0; 65_536];
        let read = self
            .tcp
            .read(&mut buffer)
            .await
            .ok()
            .filter(|read| *read > 0)?;
        self.seen
            .lock()
            .expect("no panic")
            .get_mut(&self.number)
            .expect("known")
            .extend_from_slice(&buffer[..read]);
        Some(read)
    }

    /// Some more bytes, which are not kept: for large bodies.
    pub async fn some(&mut self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 65_536];
        let read = self
            .tcp
            .read(&mut buffer)
            .await
            .ok()
            .filter(|read| *read > 0)?;
        buffer.truncate(read);
        Some(buffer)
    }

    /// Counts all that has arrived as read.
    pub fn forget(&mut self) {
        self.parsed = self.all().len();
    }

    /// Sends these bytes. That the other side is gone is no failure of the upstream's.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.tcp.write_all(bytes.as_ref()).await;
    }

    /// Sends these bytes; an error if the other side is gone.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.tcp.write_all(bytes.as_ref()).await
    }

    /// Agrees to become a WebSocket, and at once: an answer that is there before Pingora has looked whether the request has a body
    /// would end it (pingora #946).
    pub async fn become_websocket(&mut self) {
        self.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n").await;
    }

    /// Ends the sending half only.
    pub async fn half_close(&mut self) {
        let _ = self.tcp.shutdown().await;
    }

    /// Breaks the connection off.
    pub fn reset(self) {
        self.tcp.set_zero_linger().expect("an option");
    }

    /// Waits until the other side ends the connection.
    pub async fn ended(&mut self) {
        while self.read().await.is_some() {}
    }

    fn all(&self) -> Vec<u8> {
        self.seen
            .lock()
            .expect("no panic")
            .get(&self.number)
            .cloned()
            .unwrap_or_default()
    }
}

/// Bytes as text, one character each.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// A header, and how long it is.
pub fn parse_head(connection: usize, bytes: &[u8]) -> Option<(Request, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = latin1(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let field = |line: &str| {
        let (name, value) = line
            .split_once(':')
            .unwrap_or_else(|| panic!("not a field: {line:?}"));
        (
            name.to_owned(),
            value.strip_prefix(' ').unwrap_or(value).to_owned(),
        )
    };
    Some((
        Request {
            connection,
            line,
            fields: lines.map(field).collect(),
            body: Vec::new(),
        },
        end + 4,
    ))
}

fn parse(connection: usize, bytes: &[u8]) -> Option<(Request, usize)> {
    let (mut request, begin) = parse_head(connection, bytes)?;
    assert!(
        request.values("content-length").len() <= 1
            && request.values("transfer-encoding").len() <= 1,
        "{request:?}"
    );
    let (body, length) = if request.values("transfer-encoding").is_empty() {
        let length = request
            .values("content-length")
            .first()
            .map_or(0, |length| length.parse().expect("a length"));
        (bytes.get(begin..begin + length)?.to_vec(), length)
    } else {
        assert!(
            request.values("content-length").is_empty(),
            "two lengths: {request:?}"
        );
        unchunk(&bytes[begin..])?
    };
    request.body = body;
    Some((request, begin + length))
}

/// The body within chunks, and how long it is with them.
pub fn unchunk(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = bytes[at..].windows(2).position(|two| two == b"\r\n")?;
        let head = latin1(&bytes[at..at + line]);
        let size = usize::from_str_radix(head.split(';').next().unwrap_or_default(), 16)
            .expect("a chunk's size");
        at += line + 2;
        body.extend_from_slice(bytes.get(at..at + size)?);
        let end = bytes.get(at + size..at + size + 2)?;
        assert_eq!(end, b"\r\n", "the end of a chunk");
        at += size + 2;
        if size == 0 {
            return Some((body, at));
        }
    }
}
