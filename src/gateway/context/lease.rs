//! The connection to a server that a request goes up on.

use crate::gateway::listener::bound_keys::Owner;
use nix::sys::socket::{Shutdown, shutdown};
use std::os::fd::RawFd;

/// The connection that a request goes up on.
#[derive(Debug)]
pub(crate) struct UpstreamLease {
    /// What Pingora knows connections of this kind by, less the key.
    pub(crate) class: u64,
    pub(crate) key: u64,
    pub(crate) next: NextUser,
    /// The socket, once it stands.
    pub(crate) socket: Option<RawFd>,
    /// Whether the answer's header has come.
    pub(crate) answered: bool,
}

/// Who may take a connection after this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextUser {
    Anybody,
    /// Requests of this owner that come on the same connection of the client's.
    Owner(Owner),
    Nobody,
}

impl UpstreamLease {
    pub(crate) fn connected(&mut self, socket: RawFd) {
        self.socket = Some(socket);
    }

    /// Nobody takes the connection after this answer, which has no body. Pingora would keep it until `upstream.keepalive` is over; with its
    /// reading half shut it finds that it has ended.
    pub(crate) fn end(&mut self) {
        self.next = NextUser::Nobody;
        // Pingora holds the socket for as long as the answer is under way, so that the number is this socket's.
        if let Some(socket) = self.socket {
            let _ = shutdown(socket, Shutdown::Read);
        }
    }
}
