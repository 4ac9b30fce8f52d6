//! The calculator's address, looked up beforehand and again and again.

use super::handshake::Handshakes;
use super::route;
use crate::config;
use arc_swap::ArcSwapOption;
use http::header::UPGRADE;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often the name is looked up anew.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the calculator is. Looking a name up takes time and can fail, so that it is never done within a request.
pub(super) struct Upstream {
    config: config::Upstream,
    peers: ArcSwapOption<Peers>,
    /// Groups given out to connections that are used once.
    groups: AtomicU64,
}

/// Whether a request may take a connection that another one left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    Allowed,
    Forbidden,
}

/// For ordinary requests, for those whose answer may be silent for a long time, and for WebSockets.
struct Peers {
    address: SocketAddr,
    ordinary: HttpPeer,
    patient: HttpPeer,
    socket: HttpPeer,
}

impl Upstream {
    pub(super) fn new(config: config::Upstream) -> Self {
        Self { config, peers: ArcSwapOption::empty(), groups: AtomicU64::new(0) }
    }

    /// The peer for this request, by a kept connection if there is one, or by a new one only.
    pub(super) fn peer(&self, request: &pingora::http::RequestHeader, reuse: Reuse) -> pingora::Result<Box<HttpPeer>> {
        let peers = self.peers.load();
        let peers =
            peers.as_ref().ok_or_else(|| Error::explain(ErrorType::ConnectError, "the calculator's name is not known"))?;
        let is_socket = request.headers.contains_key(UPGRADE);
        let peer = match route::may_stay_silent(&request.headers) {
            _ if is_socket => &peers.socket,
            true => &peers.patient,
            false => &peers.ordinary,
        };
        let mut peer = Box::new(peer.clone());
        if is_socket || reuse == Reuse::Forbidden {
            // A group of its own: no connection of another request is in it, and none looks there for one.
            peer.group_key = self.groups.fetch_add(1, Ordering::Relaxed) + 1;
            peer.options.idle_timeout = Some(Duration::ZERO);
        }
        Ok(peer)
    }

    /// Looks the name up once. The last known address stays if it is not found.
    pub(super) async fn look_up(&self) {
        let target = (self.config.host.as_str(), self.config.port);
        let found = tokio::time::timeout(LOOK_UP_TIMEOUT, tokio::net::lookup_host(target)).await;
        let address = found.ok().and_then(Result::ok).and_then(|mut addresses| addresses.next());
        let Some(address) = address else {
            tracing::warn!(target: "gateway", host = self.config.host, "the calculator's name could not be looked up");
            return;
        };
        if self.peers.load().as_ref().is_none_or(|peers| peers.address != address) {
            self.peers.store(Some(Arc::new(self.peers_at(address))));
        }
    }

    /// Keeps looking the name up.
    pub(super) async fn keep_looking_up(&self) {
        loop {
            tokio::time::sleep(LOOK_UP_EVERY).await;
            self.look_up().await;
        }
    }

    fn peers_at(&self, address: SocketAddr) -> Peers {
        let mut ordinary = HttpPeer::new(address, self.config.tls, self.config.host.clone());
        ordinary.options.connection_timeout = Some(self.config.connect_timeout);
        ordinary.options.total_connection_timeout = Some(self.config.connect_timeout);
        ordinary.options.read_timeout = Some(self.config.read_timeout);
        ordinary.options.write_timeout = Some(self.config.read_timeout);
        ordinary.options.idle_timeout = Some(self.config.keepalive);
        let mut patient = ordinary.clone();
        patient.options.read_timeout = None;
        let mut socket = patient.clone();
        socket.options.custom_l4 = Some(Arc::new(Handshakes { connect_timeout: self.config.connect_timeout }));
        Peers { address, ordinary, patient, socket }
    }
}
