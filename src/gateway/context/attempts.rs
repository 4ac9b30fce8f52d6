//! How a request fares on its way to the calculator.

use crate::config;
use pingora::upstreams::peer::{HttpPeer, Peer as _};
use std::net::SocketAddr;

/// How a request has fared on its way to the calculator.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// How often a connection was asked for.
    pub(crate) begun: u32,
    /// How often one stood. From then on bytes may have gone up.
    pub(crate) sent: u32,
    /// The server that it goes to, or went to last.
    pub(crate) server: Option<SocketAddr>,
    /// The server that just failed.
    pub(crate) avoided: Option<SocketAddr>,
    /// The server that the request went to in place of its own.
    pub(crate) pinned: Option<SocketAddr>,
}

impl Attempts {
    /// The server that it went to last, if it did.
    pub(crate) fn server(&self) -> Option<SocketAddr> {
        self.server
    }

    /// A connection stands; bytes may go up from now on.
    pub(crate) fn connected(&mut self) {
        self.sent += 1;
    }

    /// Whether it went up for the first time.
    pub(crate) fn went_up_once(&self) -> bool {
        self.sent == 1
    }

    /// Whether no connection stood so far: not a byte of the request went up.
    pub(crate) fn never_went_up(&self) -> bool {
        self.sent == 0
    }

    /// The next try goes to another server.
    pub(crate) fn avoid(&mut self, peer: &HttpPeer) {
        self.avoided = address_of(peer);
    }

    pub(crate) fn may_connect_again(&self) -> bool {
        self.begun < config::UpstreamConfig::TRIES
    }
}

fn address_of(peer: &HttpPeer) -> Option<SocketAddr> {
    peer.address().as_inet().copied()
}
