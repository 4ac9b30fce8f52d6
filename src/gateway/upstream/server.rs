//! One server of the calculator: an address, and how it is connected to.

use crate::config;
use crate::gateway::upstream::affinity::NodeHash;
use crate::gateway::upstream::health::ServerHealth;
use crate::gateway::upstream::websocket_connect::Handshakes;
use pingora::upstreams::peer::HttpPeer;
use std::net::SocketAddr;
use std::sync::Arc;

/// A server, for as long as its name leads to its address.
pub(crate) struct UpstreamServer {
    pub(crate) address: SocketAddr,
    /// Which of the configured servers it belongs to; a name may have several addresses.
    pub(crate) entry: usize,
    pub(crate) place: NodeHash,
    pub(crate) peers: Peers,
    pub(crate) health: ServerHealth,
}

/// For ordinary requests, for those whose answer may be silent for a long time, and for WebSockets.
pub(crate) struct Peers {
    pub(crate) ordinary: HttpPeer,
    pub(crate) patient: HttpPeer,
    pub(crate) socket: HttpPeer,
}

impl UpstreamServer {
    pub(crate) fn new(
        address: SocketAddr,
        entry: usize,
        host: &str,
        config: &config::UpstreamConfig,
    ) -> Self {
        let peers = Peers::new(address, host, config);
        Self {
            address,
            entry,
            place: NodeHash::of(address),
            peers,
            health: ServerHealth::default(),
        }
    }
}

impl Peers {
    fn new(address: SocketAddr, host: &str, config: &config::UpstreamConfig) -> Self {
        let mut ordinary = HttpPeer::new(address, config.tls, host.to_owned());
        // TLS has its part of the time; the second limit is for both together.
        ordinary.options.connection_timeout = Some(config.connect_timeout);
        ordinary.options.total_connection_timeout = Some(config.connect_timeout);
        ordinary.options.read_timeout = Some(config.read_timeout);
        ordinary.options.write_timeout = Some(config.write_timeout);
        ordinary.options.idle_timeout = Some(config.keepalive);
        let mut patient = ordinary.clone();
        patient.options.read_timeout = None;
        let mut socket = patient.clone();
        socket.options.custom_l4 = Some(Arc::new(Handshakes {
            connect_timeout: config.connect_timeout,
        }));
        Self {
            ordinary,
            patient,
            socket,
        }
    }
}
