//! Looks at a body in chunks before Pingora does, which takes bare line feeds, blanks and signs for what they are not.
//!
//! Only Pingora's parser says whether a body comes in chunks, and by then it may have the beginning of the body in hand. So what
//! arrives with a header is kept until then; of other requests nothing is kept or looked at from there on. Once a body was found
//! malformed nothing is read from the connection any more: nobody can tell where the next request would begin.

use crate::gateway::request::chunks::{Chunks, MalformedChunks};
use bytes::Bytes;
use parking_lot::Mutex;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the client of one connection sends, as far as it has to be followed.
#[derive(Debug, Default)]
pub(crate) struct Following {
    /// False: bytes pass without a look at `state`.
    is_on: AtomicBool,
    state: Mutex<FollowState>,
}

#[derive(Debug, Default)]
enum FollowState {
    /// Nothing that has to be followed.
    #[default]
    Nothing,
    /// A header, and whatever came with it.
    Header { first: Bytes, more: Vec<u8> },
    /// A body in chunks.
    Body(Chunks),
    /// One that is malformed.
    MalformedChunks,
}

impl Following {
    /// The next bytes begin a request.
    pub(crate) fn request_begins(&self) {
        let mut state = self.state.lock();
        if !matches!(*state, FollowState::MalformedChunks) {
            *state = FollowState::Header {
                first: Bytes::new(),
                more: Vec::new(),
            };
            self.is_on.store(true, Ordering::Release);
        }
    }

    /// Whether bytes have to be shown before they are passed on.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Whether anything may still be read.
    ///
    /// # Errors
    /// A body was malformed.
    pub(crate) fn may_read(&self) -> io::Result<()> {
        if self.is_malformed() {
            Err(refused())
        } else {
            Ok(())
        }
    }

    /// Checks bytes that are about to be passed on.
    ///
    /// # Errors
    /// The body is malformed, now or before.
    pub(crate) fn pass(&self, bytes: Bytes) -> io::Result<()> {
        if !self.is_on() {
            return Ok(());
        }
        if let FollowState::Header { first, more } = &mut *self.state.lock()
            && first.is_empty()
            && more.is_empty()
        {
            *first = bytes;
            return Ok(());
        }
        self.look_at(&bytes)
    }

    /// Like [`Following::pass`], for bytes that are not kept.
    ///
    /// # Errors
    /// As with [`Following::pass`].
    pub(crate) fn look_at(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let followed = match &mut *state {
            FollowState::Nothing => Ok(()),
            FollowState::Header { more, .. } => {
                more.extend_from_slice(bytes);
                Ok(())
            }
            FollowState::Body(chunks) => chunks.follow(bytes),
            FollowState::MalformedChunks => Err(MalformedChunks),
        };
        followed.map_err(|MalformedChunks| {
            *state = FollowState::MalformedChunks;
            refused()
        })
    }

    /// The header has been parsed, and no body in chunks follows it.
    pub(crate) fn pass_on(&self) {
        if !self.is_on() {
            return;
        }
        let mut state = self.state.lock();
        if !matches!(*state, FollowState::MalformedChunks) {
            *state = FollowState::Nothing;
            self.is_on.store(false, Ordering::Release);
        }
    }

    /// The header has been parsed, and a body in chunks follows it.
    pub(crate) fn follow_chunks(&self) {
        let mut state = self.state.lock();
        let FollowState::Header { first, mut more } = std::mem::take(&mut *state) else {
            // Nothing came by: it cannot be told what did.
            *state = FollowState::MalformedChunks;
            return;
        };
        if !more.is_empty() {
            more.splice(..0, first.iter().copied());
        }
        let arrived = if more.is_empty() { &first[..] } else { &more };
        let mut chunks = Chunks::new();
        let followed = body_within(arrived)
            .ok_or(MalformedChunks)
            .and_then(|body| chunks.follow(body));
        *state = followed.map_or(FollowState::MalformedChunks, |()| FollowState::Body(chunks));
    }

    /// Whether a body was malformed.
    pub(crate) fn is_malformed(&self) -> bool {
        self.is_on() && matches!(*self.state.lock(), FollowState::MalformedChunks)
    }
}

fn refused() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the body's chunks are malformed",
    )
}

/// What comes after a header. None if a line of it ends with a mere line feed: servers differ in whether it does.
fn body_within(arrived: &[u8]) -> Option<&[u8]> {
    const END: &[u8] = b"\r\n\r\n";
    // Empty lines may come before a request (RFC 9112, 2.2).
    let start = arrived
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let header = arrived.get(start..)?;
    let end = header.windows(END.len()).position(|part| part == END)?;
    let (header, body) = header.split_at_checked(end + END.len())?;
    let has_bare_lf = header
        .iter()
        .zip(header.iter().skip(1))
        .any(|(before, byte)| *byte == b'\n' && *before != b'\r');
    (!has_bare_lf).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn after(pieces: &[&[u8]]) -> Following {
        let following = Following::default();
        following.request_begins();
        for piece in pieces {
            following
                .pass(Bytes::copy_from_slice(piece))
                .expect("a header is kept");
        }
        following.follow_chunks();
        following
    }

    #[test]
    fn what_came_with_the_header_is_looked_at_wherever_it_was_cut() {
        for (body, is_sound) in [
            (&b"5\r\nhallo\r\n0\r\n\r\n"[..], true),
            (b"5\nhallo\r\n0\r\n\r\n", false),
        ] {
            for blank in [&b""[..], b"\r\n\r\n", b"\n"] {
                let all = [blank, HEADER, body].concat();
                for at in 0..all.len() {
                    let (first, second) = all.split_at(at);
                    assert_eq!(
                        after(&[first, second]).is_malformed(),
                        !is_sound,
                        "{} at {at}",
                        all.escape_ascii()
                    );
                }
            }
        }
    }

    #[test]
    fn what_comes_later_is_looked_at_and_nothing_after_it_is_read() {
        let following = after(&[HEADER]);
        assert!(following.look_at(b"5\r\nhallo\r\n").is_ok() && !following.is_malformed());
        assert!(following.look_at(b"5 \r\n").is_err() && following.is_malformed());
        following.request_begins();
        following.pass_on();
        assert!(
            following.is_malformed()
                && following.may_read().is_err()
                && following.look_at(b"GET / HTTP/1.1\r\n").is_err()
        );
    }

    #[test]
    fn a_header_with_a_bare_line_feed_has_no_body_in_chunks() {
        for header in [
            "POST / HTTP/1.1\nA: b\r\n\r\n",
            "POST / HTTP/1.1\r\nA: b\n\n",
            "POST / HTTP/1.1\r\nA: b\n\r\n",
        ] {
            assert!(
                after(&[header.as_bytes(), b"0\r\n\r\n"]).is_malformed(),
                "{header:?}"
            );
        }
    }

    #[test]
    fn other_requests_are_not_followed() {
        let following = Following::default();
        assert!(
            !following.is_on()
                && following
                    .pass(Bytes::from_static(b"PRI * HTTP/2.0"))
                    .is_ok()
        );
        following.request_begins();
        following
            .pass(Bytes::from_static(
                b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab",
            ))
            .expect("kept");
        following.pass_on();
        assert!(!following.is_on() && matches!(*following.state.lock(), FollowState::Nothing));
    }
}
