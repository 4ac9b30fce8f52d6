//! The load: wrk for HTTP/1.1, h2load for HTTP/2, and connections that only wait.

use crate::ground::Ground;
use crate::ground::process::OURS;
use crate::ground::servers::Doors;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

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

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Yield {
    pub(crate) requests: f64,
    pub(crate) seconds: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// What Chromium sends with a request of a page's, less `Host` and `Cookie`.
const BROWSER: [(&str, &str); 10] = [
    (
        "User-Agent",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    ),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"),
    ("Accept-Language", "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"),
    ("Sec-Ch-Ua", "\"Chromium\";v=\"142\", \"Google Chrome\";v=\"142\", \"Not_A Brand\";v=\"99\""),
    ("Sec-Ch-Ua-Mobile", "?0"),
    ("Sec-Ch-Ua-Platform", "\"Windows\""),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Referer", "https://tarifrechner.insurer.example/kfz/angebot?vorgang=2026-000123&schritt=fahrzeug"),
];

/// The cookies of a broker who uses the calculator: ours, and what the calculator sets.
pub(crate) fn cookies(token: &str) -> String {
    format!(
        "JSESSIONID=0A1B2C3D4E5F60718293A4B5C6D7E8F9.node-1; __Host-vtnr_session={token}; \
         __Host-vtnr_trust=Zm9yIHRoaXJ0eSBkYXlzIHRoaXMgYnJvd3NlciBpcyB0; kfz_vorgang=2026-000123; \
         ui_sprache=de; ui_ansicht=kompakt; letzte_suche=60%2F123%2F4567%7CKomfort%7CSF12; _tr=1.1764000000.42"
    )
}

/// All header fields of a request, for a contender that knows this session.
pub(crate) fn fields(token: &str) -> Vec<(&'static str, String)> {
    let browser = BROWSER.iter().map(|(name, value)| (*name, (*value).to_owned()));
    browser.chain([("Cookie", cookies(token))]).collect()
}

/// Runs the load for so many seconds.
pub(crate) fn run(ground: &Ground, load: Load, doors: Doors, prefix: &str, token: &str, seconds: u32) -> Yield {
    let path = format!("{prefix}{}", load.file);
    match load.protocol {
        Protocol::Http1 => wrk(&format!("http://{}/{path}", doors.http), load, token, seconds),
        Protocol::TlsHttp1 | Protocol::NewTls => wrk(&format!("https://{}/{path}", doors.https), load, token, seconds),
        Protocol::TlsHttp2 => h2load(ground, &format!("https://{}/{path}", doors.https), load, token, seconds),
    }
}

fn wrk(url: &str, load: Load, token: &str, seconds: u32) -> Yield {
    let mut command = pinned("wrk");
    command.args(["-t1", "-c", &load.connections.to_string(), "-d", &format!("{seconds}s"), "--latency"]);
    for (name, value) in fields(token) {
        command.args(["-H", &format!("{name}: {value}")]);
    }
    if load.protocol == Protocol::NewTls {
        command.args(["-H", "Connection: close"]);
    }
    let text = output(command.arg(url));
    assert!(!text.contains("Non-2xx"), "{url}: {text}");
    let after = |label: &str| text.lines().find_map(|line| line.trim().strip_prefix(label)).map(str::trim);
    let summary = text.lines().find(|line| line.contains(" requests in ")).unwrap_or_else(|| panic!("{text}"));
    let mut words = summary.split_whitespace();
    let requests = words.next().and_then(|word| word.parse().ok()).expect("a number");
    let seconds = words.nth(2).map(|word| millis(word.trim_end_matches(',')) / 1e3).expect("a time");
    Yield { requests, seconds, p50: after("50%").map_or(f64::NAN, millis), p99: after("99%").map_or(f64::NAN, millis) }
}

/// `1.5ms`, `20us`, `2s` in milliseconds.
fn millis(text: &str) -> f64 {
    for (unit, factor) in [("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 6e4)] {
        if let Some(number) = text.strip_suffix(unit).and_then(|number| number.parse::<f64>().ok()) {
            return number * factor;
        }
    }
    f64::NAN
}

fn h2load(ground: &Ground, url: &str, load: Load, token: &str, seconds: u32) -> Yield {
    let log = ground.path("h2load.log");
    // It appends.
    let _ = std::fs::remove_file(&log);
    let mut command = pinned("h2load");
    command.args(["-t1", "-c", &load.connections.to_string(), "-m1", "-D", &seconds.to_string(), "--warm-up-time=0"]);
    command.arg(format!("--log-file={}", log.display()));
    for (name, value) in fields(token) {
        command.args(["-H", &format!("{name}: {value}")]);
    }
    let text = output(command.arg(url));
    assert!(text.contains(" 0 3xx, 0 4xx, 0 5xx"), "{url}: {text}");
    let log = std::fs::read_to_string(&log).expect("a log");
    let mut times: Vec<f64> =
        log.lines().filter_map(|line| line.split('\t').nth(2)?.trim().parse::<f64>().ok()).map(|micros| micros / 1e3).collect();
    times.sort_by(f64::total_cmp);
    let share = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or(f64::NAN);
    Yield { requests: times.len() as f64, seconds: f64::from(seconds), p50: share(50), p99: share(99) }
}

fn pinned(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &OURS.to_string(), program]);
    command
}

fn output(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&done.stderr));
    text
}

/// Opens so many connections, sends one request on each, reads its answer, and keeps them open until dropped.
pub(crate) fn idle(address: SocketAddr, connections: usize, token: &str) -> Vec<TcpStream> {
    let fields: String = fields(token).iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("GET /1k HTTP/1.1\r\nHost: {address}\r\n{fields}\r\n");
    (0..connections)
        .map(|_| {
            let mut stream = TcpStream::connect(address).expect("a connection");
            stream.write_all(request.as_bytes()).expect("sent");
            let (mut answer, mut buffer) = (Vec::new(), [0; 4_096]);
            while !is_whole(&answer) {
                let read = stream.read(&mut buffer).expect("an answer");
                assert!(read > 0, "the connection was closed: {}", String::from_utf8_lossy(&answer));
                answer.extend_from_slice(&buffer[..read]);
            }
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
            stream
        })
        .collect()
}

fn is_whole(answer: &[u8]) -> bool {
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n");
    end.is_some_and(|end| answer.len() >= end + 4 + 1_024)
}
