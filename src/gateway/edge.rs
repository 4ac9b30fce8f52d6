//! Where clients come in: listeners, TLS, connection limits, and the way out at a shutdown.
//!
//! Pingora's own accept loop has no limit on connections, a handshake time limit of 60 s that cannot be set, and a
//! shutdown that sleeps its grace period out even when nothing is under way. This one takes its place; from the
//! handshake on, everything is Pingora's.

use super::Gateway;
use super::connections::{Connection, Connections};
use super::stream::ClientStream;
use super::tunnel::{Line, Tunnel};
use pingora::apps::ServerApp;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::{SocketDigest, Stream};
use pingora::proxy::HttpProxy;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::telemetry::metrics::{Metrics, Rejection};

/// A pause after an accept that failed, mostly for want of file descriptors: others are given time to free some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// So long after it was cut a tunnel is given up.
const OVERDUE: Duration = Duration::from_secs(2);

/// How long connections may take to end once no request is under way.
const FAREWELL: Duration = Duration::from_secs(1);

/// Lets clients in.
pub struct Edge {
    proxy: Arc<HttpProxy<Gateway>>,
    connections: Arc<Connections>,
    handshake_timeout: Duration,
    shutdown: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
}

impl Edge {
    pub(super) fn new(
        proxy: Arc<HttpProxy<Gateway>>,
        connections: Arc<Connections>,
        handshake_timeout: Duration,
        shutdown: watch::Receiver<bool>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { proxy, connections, handshake_timeout, shutdown, metrics }
    }

    /// Accepts connections until the shutdown is announced.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, tls: Option<Arc<Acceptor>>) {
        let mut shutdown = self.shutdown.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = shutdown.wait_for(|down| *down) => return,
            };
            match accepted {
                Ok((tcp, address)) => self.let_in(tcp, address, tls.clone()),
                Err(error) => {
                    tracing::warn!(target: "gateway", %error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Waits until no request is under way, at most for `grace`; then drops idle connections.
    pub async fn drain(&self, grace: Duration) {
        let ended = tokio::time::timeout(grace, self.connections.quiet()).await;
        self.proxy.cleanup().await;
        if ended.is_err() {
            tracing::warn!(target: "gateway", ?grace, "requests were still under way at the end of the grace period");
            return;
        }
        // The last bytes of an answer may still wait in an HTTP/2 connection. Who does not take them now is not waited for.
        let _ = tokio::time::timeout(FAREWELL.min(grace), self.connections.empty()).await;
    }

    fn let_in(self: &Arc<Self>, tcp: TcpStream, address: SocketAddr, tls: Option<Arc<Acceptor>>) {
        let Some(connection) = self.connections.admit(address.ip()) else { return };
        let edge = Arc::clone(self);
        // Not awaited: `drain` waits for the requests, and the runtime's end for the rest.
        tokio::spawn(async move {
            // Without it an answer's last packet waits for an acknowledgement; where it cannot be set, all else still works.
            let _ = tcp.set_nodelay(true);
            let digest = SocketDigest::from_raw_fd(tcp.as_raw_fd());
            // The cell is new, so that this cannot fail.
            let _ = digest.peer_addr.set(Some(address.into()));
            let digest = Arc::new(digest);
            edge.connections.register(&connection, &digest);
            let stream = ClientStream::new(tcp, digest, Arc::clone(&connection));
            let Some(stream) = edge.shake_hands(stream, &connection, tls).await else { return };
            let line = Arc::clone(connection.line());
            // From here on the stream and its requests keep the connection.
            drop(connection);
            tokio::select! {
                () = edge.serve_requests(stream) => {}
                () = overdue(&line) => {}
            }
        });
    }

    async fn shake_hands(
        &self,
        stream: ClientStream,
        connection: &Arc<Connection>,
        tls: Option<Arc<Acceptor>>,
    ) -> Option<Stream> {
        let Some(tls) = tls else { return Some(Box::new(Tunnel::new(stream, Arc::clone(connection)))) };
        match tokio::time::timeout(self.handshake_timeout, tls.tls_handshake(stream)).await {
            Ok(Ok(stream)) => Some(Box::new(Tunnel::new(stream, Arc::clone(connection)))),
            Ok(Err(_)) | Err(_) => {
                self.metrics.connection_rejected(Rejection::Handshake);
                None
            }
        }
    }

    async fn serve_requests(&self, stream: Stream) {
        let mut next = self.proxy.process_new(stream, &self.shutdown).await;
        while let Some(stream) = next {
            next = self.proxy.process_new(stream, &self.shutdown).await;
        }
    }
}

/// A tunnel that was cut ends by itself, unless whoever carries its bytes waits for something else: a calculator that takes none.
async fn overdue(line: &Line) {
    line.until_cut().await;
    tokio::time::sleep(OVERDUE).await;
}
