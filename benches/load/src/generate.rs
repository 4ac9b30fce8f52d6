//! The load: wrk for HTTP/1.1, h2load for HTTP/2, and connections that only wait.

use crate::browser_fields::FIELDS;
use crate::ground::process::OURS;
use crate::ground::servers::Doors;
use crate::ground::{Ground, Held};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;

/// How clients speak to a contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    TlsHttp1,
    TlsHttp2,
    /// A TLS connection for each request.
    NewTls,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::TlsHttp1 => "TLS, HTTP/1.1",
            Self::TlsHttp2 => "TLS, h2",
            Self::NewTls => "new TLS connections",
        })
    }
}

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) protocol: Protocol,
    pub(crate) file: &'static str,
    pub(crate) connections: usize,
}

impl Load {
    pub(crate) const MAIN: Self = Self {
        protocol: Protocol::Http1,
        file: "1k",
        connections: 64,
    };
    pub(crate) const TWO: Self = Self {
        connections: 2,
        ..Self::MAIN
    };
    pub(crate) const H2: Self = Self {
        protocol: Protocol::TlsHttp2,
        ..Self::MAIN
    };
    pub(crate) const NEW: Self = Self {
        protocol: Protocol::NewTls,
        ..Self::MAIN
    };
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Yield {
    pub(crate) requests: f64,
    pub(crate) seconds: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// The cookies of a broker who uses the calculator: ours, and what the calculator sets.
pub(crate) fn cookies(held: &Held) -> String {
    let Held { token, ticket } = held;
    format!(
        "JSESSIONID=0A1B2C3D4E5F60718293A4B5C6D7E8F9.node-1; __Host-vtnr_session={token}; __Host-vtnr_ticket={ticket}; \
         __Host-vtnr_trust=Zm9yIHRoaXJ0eSBkYXlzIHRoaXMgYnJvd3NlciBpcyB0; kfz_vorgang=2026-000123; \
         ui_sprache=de; ui_ansicht=kompakt; letzte_suche=60%2F123%2F4567%7CKomfort%7CSF12; _tr=1.1764000000.42"
    )
}

/// All header fields of a request, for a contender that knows this session.
pub(crate) fn fields(held: &Held) -> Vec<(&'static str, String)> {
    let browser = FIELDS
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    browser.chain([("Cookie", cookies(held))]).collect()
}

/// Runs the load for so many seconds.
pub(crate) fn run(
    ground: &Ground,
    load: Load,
    doors: Doors,
    prefix: &str,
    held: &Held,
    seconds: u32,
) -> Yield {
    let path = format!("{prefix}{}", load.file);
    match load.protocol {
        Protocol::Http1 => all_served(wrk(
            &format!("http://{}/{path}", doors.http),
            load,
            held,
            seconds,
        )),
        Protocol::TlsHttp1 | Protocol::NewTls => all_served(wrk(
            &format!("https://{}/{path}", doors.https),
            load,
            held,
            seconds,
        )),
        Protocol::TlsHttp2 => h2load(
            ground,
            &format!("https://{}/{path}", doors.https),
            load,
            held,
            seconds,
        ),
    }
}

/// Runs a load that may be more than can be served; gives what came of it, refusals included.
pub(crate) fn crowd(load: Load, doors: Doors, held: &Held, seconds: u32) -> (Yield, String) {
    wrk(
        &format!("http://{}/{}", doors.http, load.file),
        load,
        held,
        seconds,
    )
}

fn all_served((result, text): (Yield, String)) -> Yield {
    assert!(
        !text.contains("Non-2xx") && !text.contains("Socket errors"),
        "{text}"
    );
    result
}

fn wrk(url: &str, load: Load, held: &Held, seconds: u32) -> (Yield, String) {
    let mut command = pinned("wrk");
    command.args([
        "-t1",
        "-c",
        &load.connections.to_string(),
        "-d",
        &format!("{seconds}s"),
        "--latency",
    ]);
    for (name, value) in fields(held) {
        command.args(["-H", &format!("{name}: {value}")]);
    }
    if load.protocol == Protocol::NewTls {
        command.args(["-H", "Connection: close"]);
    }
    let text = output(command.arg(url));
    let after = |label: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(label))
            .map(str::trim)
    };
    let summary = text
        .lines()
        .find(|line| line.contains(" requests in "))
        .unwrap_or_else(|| panic!("{text}"));
    let mut words = summary.split_whitespace();
    let requests = words
        .next()
        .and_then(|word| word.parse().ok())
        .expect("a number");
    let seconds = words
        .nth(2)
        .map(|word| millis(word.trim_end_matches(',')) / 1e3)
        .expect("a time");
    let (p50, p99) = (
        after("50%").map_or(f64::NAN, millis),
        after("99%").map_or(f64::NAN, millis),
    );
    (
        Yield {
            requests,
            seconds,
            p50,
            p99,
        },
        text,
    )
}

/// `1.5ms`, `20us`, `2s` in milliseconds.
fn millis(text: &str) -> f64 {
    for (unit, factor) in [("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 6e4)] {
        if let Some(number) = text
            .strip_suffix(unit)
            .and_then(|number| number.parse::<f64>().ok())
        {
            return number * factor;
        }
    }
    f64::NAN
}

fn h2load(ground: &Ground, url: &str, load: Load, held: &Held, seconds: u32) -> Yield {
    let log = ground.path("h2load.log");
    // It appends.
    let _ = std::fs::remove_file(&log);
    let mut command = pinned("h2load");
    command.args([
        "-t1",
        "-c",
        &load.connections.to_string(),
        "-m1",
        "-D",
        &seconds.to_string(),
        "--warm-up-time=0",
    ]);
    command.arg(format!("--log-file={}", log.display()));
    for (name, value) in fields(held) {
        command.args(["-H", &format!("{name}: {value}")]);
    }
    let text = output(command.arg(url));
    for sign in [
        "Application protocol: h2\n",
        " 0 failed, 0 errored, 0 timeout",
        " 0 3xx, 0 4xx, 0 5xx",
    ] {
        assert!(text.contains(sign), "{url}: {text}");
    }
    let log = std::fs::read_to_string(&log).expect("a log");
    let mut times: Vec<f64> = log
        .lines()
        .filter_map(|line| line.split('\t').nth(2)?.trim().parse::<f64>().ok())
        .map(|micros| micros / 1e3)
        .collect();
    times.sort_by(f64::total_cmp);
    let share = |share: usize| {
        times
            .get(times.len() * share / 100)
            .copied()
            .unwrap_or(f64::NAN)
    };
    Yield {
        requests: times.len() as f64,
        seconds: f64::from(seconds),
        p50: share(50),
        p99: share(99),
    }
}

fn pinned(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &OURS.to_string(), program]);
    command
}

fn output(command: &mut Command) -> String {
    let done = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.success(),
        "{command:?}: {text}{}",
        String::from_utf8_lossy(&done.stderr)
    );
    text
}

/// Connections that wait.
pub(crate) enum Idle {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Idle {
    fn open(doors: Doors, tls: Option<&Arc<ClientConfig>>) -> Self {
        let Some(config) = tls else {
            return Self::Plain(TcpStream::connect(doors.http).expect("a connection"));
        };
        let connection =
            ClientConnection::new(Arc::clone(config), "localhost".try_into().expect("a name"))
                .expect("a client");
        Self::Tls(Box::new(StreamOwned::new(
            connection,
            TcpStream::connect(doors.https).expect("a connection"),
        )))
    }

    fn use_once(&mut self, request: &[u8]) {
        let stream: &mut dyn ReadAndWrite = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.as_mut(),
        };
        stream.write_all(request).expect("sent");
        let (mut answer, mut buffer) = (Vec::new(), [0; 4_096]);
        while !is_whole(&answer) {
            let read = stream.read(&mut buffer).expect("an answer");
            assert!(
                read > 0,
                "the connection was closed: {}",
                String::from_utf8_lossy(&answer)
            );
            answer.extend_from_slice(&buffer[..read]);
        }
        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
}

trait ReadAndWrite: Read + Write {}

impl<T: Read + Write> ReadAndWrite for T {}

/// Opens so many connections, over TLS where a client for that is given, sends one request on each over HTTP/1.1, reads its answer, and
/// keeps them open until dropped.
pub(crate) fn idle(
    doors: Doors,
    tls: Option<&Arc<ClientConfig>>,
    connections: usize,
    held: &Held,
) -> Vec<Idle> {
    let fields: String = fields(held)
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let host = if tls.is_some() {
        doors.https
    } else {
        doors.http
    };
    let request = format!("GET /1k HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
    let open = || {
        let mut idle = Idle::open(doors, tls);
        idle.use_once(request.as_bytes());
        idle
    };
    (0..connections).map(|_| open()).collect()
}

fn is_whole(answer: &[u8]) -> bool {
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n");
    end.is_some_and(|end| answer.len() >= end + 4 + 1_024)
}
