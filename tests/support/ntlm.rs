//! An application that signs connections in, and not requests, as IIS does with NTLM (MS-NLMP, MS-NTHT). Passwords are not looked at.

use super::upstream::{Request, Upstream, Wire};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::{Arc, Mutex};

const SIGNATURE: &[u8] = b"NTLMSSP\0";
/// Texts in UTF-16, a target that is named, NTLM, signing, NTLM 2 and its particulars.
const FLAGS: u32 =
    0x0000_0001 | 0x0000_0004 | 0x0000_0200 | 0x0000_8000 | 0x0008_0000 | 0x0080_0000;

/// How the application asks who somebody is.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// What credentials begin with.
    pub scheme: &'static str,
    /// The fields with which it asks, each with its line end.
    pub asks: &'static str,
    /// The fields of an answer to somebody who is signed in.
    pub knows: &'static str,
}

pub const NTLM: Manner = Manner {
    scheme: "NTLM",
    asks: "WWW-Authenticate: NTLM\r\n",
    knows: "",
};

/// The application: pages below `/intern` are for those who are signed in, all others say who the connection is.
pub struct Intranet {
    pub upstream: Upstream,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A request, and who the application took its sender for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub target: String,
    pub user: String,
    pub connection: usize,
}

/// What the application knows of one connection.
#[derive(Default)]
struct Standing {
    challenged: bool,
    user: Option<String>,
}

impl Intranet {
    pub async fn start(manner: Manner) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let kept = Arc::clone(&seen);
        let upstream = Upstream::start(move |wire| serve(wire, manner, Arc::clone(&kept))).await;
        Self { upstream, seen }
    }

    /// All requests so far, in the order of their arrival.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }
}

async fn serve(mut wire: Wire, manner: Manner, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut standing = Standing::default();
    while let Some(request) = wire.request().await {
        let answer = standing.answer(&request, manner);
        let user = standing.user.clone().unwrap_or_else(|| "nobody".to_owned());
        let target = request.target().to_owned();
        seen.lock().expect("no panic").push(Seen {
            target,
            user,
            connection: wire.number,
        });
        wire.send(answer).await;
    }
}

impl Standing {
    fn answer(&mut self, request: &Request, manner: Manner) -> String {
        let values = request.values("authorization");
        let credentials = values
            .iter()
            .find_map(|value| value.strip_prefix(manner.scheme)?.strip_prefix(' '));
        let message = credentials.map(|text| STANDARD.decode(text).expect("credentials in base64"));
        match message.as_deref().map(kind) {
            Some(1) => {
                *self = Self {
                    challenged: true,
                    user: None,
                };
                return unauthorized(&format!(
                    "WWW-Authenticate: {} {}\r\n",
                    manner.scheme,
                    challenge()
                ));
            }
            Some(3) if self.challenged => self.user = message.as_deref().map(user),
            // It belongs to a challenge on another connection.
            Some(_) => return unauthorized(manner.asks),
            None => {}
        }
        match &self.user {
            Some(_) if request.target().ends_with("/unchanged") => {
                "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned()
            }
            Some(user) => fine(manner.knows, &format!("user={user}")),
            None if request.target().starts_with("/intern") => unauthorized(manner.asks),
            None => fine("", "user=nobody"),
        }
    }
}

fn unauthorized(fields: &str) -> String {
    format!("HTTP/1.1 401 Unauthorized\r\n{fields}Content-Length: 9\r\n\r\nAnmeldung")
}

fn fine(fields: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn number(message: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([message[at], message[at + 1]]))
}

fn kind(message: &[u8]) -> usize {
    assert!(message.starts_with(SIGNATURE), "{message:?}");
    number(message, 8)
}

/// Whom a last message names.
fn user(message: &[u8]) -> String {
    let (length, offset) = (number(message, 36), number(message, 40));
    let units = message[offset..offset + length]
        .chunks(2)
        .map(|two| u16::from_le_bytes([two[0], two[1]]));
    String::from_utf16(&units.collect::<Vec<_>>()).expect("a name")
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Where a text stands in a message.
fn buffer(length: usize, offset: usize) -> Vec<u8> {
    let length = u16::try_from(length).expect("short").to_le_bytes();
    [
        &length[..],
        &length,
        &u32::try_from(offset).expect("short").to_le_bytes(),
    ]
    .concat()
}

/// The message with which a client begins, in base64.
pub fn begin() -> String {
    STANDARD.encode(
        [
            SIGNATURE,
            &1_u32.to_le_bytes(),
            &FLAGS.to_le_bytes(),
            &[0; 16],
        ]
        .concat(),
    )
}

fn challenge() -> String {
    let target = utf16("INTRANET");
    let domain = [
        &2_u16.to_le_bytes()[..],
        &16_u16.to_le_bytes(),
        &target,
        &[0; 4],
    ]
    .concat();
    let head = [
        SIGNATURE,
        &2_u32.to_le_bytes(),
        &buffer(target.len(), 48),
        &FLAGS.to_le_bytes(),
        b"\x01\x23\x45\x67\x89\xab\xcd\xef",
        &[0; 8],
    ];
    let further = buffer(domain.len(), 48 + target.len());
    STANDARD.encode([&head.concat()[..], &further, &target, &domain].concat())
}

/// The message with which a client ends, as this user, in base64.
pub fn end(user: &str) -> String {
    let name = utf16(user);
    let none = buffer(0, 64);
    let fields = [
        &none[..],
        &none,
        &none,
        &buffer(name.len(), 64),
        &none,
        &none,
    ]
    .concat();
    STANDARD.encode(
        [
            SIGNATURE,
            &3_u32.to_le_bytes(),
            &fields,
            &FLAGS.to_le_bytes(),
            &name,
        ]
        .concat(),
    )
}
