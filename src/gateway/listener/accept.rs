//! Where clients come in: listeners, TLS, connection limits, and the way out at a shutdown.
//!
//! Pingora's own accept loop has no limit on connections, a handshake time limit of 60 s that cannot be set, and a
//! shutdown that sleeps its grace period out even when nothing is under way. This one takes its place; from a request's
//! first byte to the end of its answer, everything is Pingora's.

use crate::gateway::listener::client_cert_tls::ClientCertAcceptor;
use crate::gateway::listener::client_stream::ClientStream;
use crate::gateway::listener::connections::{Connection, Connections};
use crate::gateway::listener::websocket_stream::WebSocketStream;
use crate::gateway::websocket::control::CloseHandle;
use crate::gateway::websocket::registry::WebSocketRegistry;
use futures_util::FutureExt as _;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ServerApp};
use pingora::listeners::tls::Acceptor;
use pingora::protocols::http::ServerSession;
use pingora::protocols::{ALPN, SocketDigest, Stream};
use pingora::proxy::{HttpProxy, ProxyHttp};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::live::Live;
use crate::telemetry::metrics::{Metrics, Rejection};

/// A pause after an accept that failed, mostly for want of file descriptors: others are given time to free some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// So long after it was cut a tunnel is given up.
const OVERDUE: Duration = Duration::from_secs(2);

/// How long connections may take to end once no request is under way.
const FAREWELL: Duration = Duration::from_secs(1);
/// So long after the farewell, who has only just connected may still ask.
const FIRST_REQUEST: Duration = Duration::from_millis(500);

pub struct GatewayServer<S> {
    proxies: Vec<Arc<HttpProxy<S>>>,
    connections: Arc<Connections>,
    websockets: Arc<WebSocketRegistry>,
    upstream_trouble: Box<dyn Fn() -> Option<String> + Send + Sync>,
    handshake_timeout: Duration,
    keepalive: Duration,
    shutdown: watch::Receiver<bool>,
    /// HTTP/2 connections are told (GOAWAY) to ask for nothing more: those that are open when clients are to go elsewhere, and once more, for
    /// those that came since, when none are let in any more.
    goaway: watch::Sender<bool>,
    farewell: watch::Sender<bool>,
    metrics: Arc<Metrics>,
}

/// Everything that a [`GatewayServer`] needs besides the proxies.
pub(crate) struct ServerParts {
    pub(crate) connections: Arc<Connections>,
    pub(crate) websockets: Arc<WebSocketRegistry>,
    /// Says what is wrong with the calculator's servers, for the service manager.
    pub(crate) upstream_trouble: Box<dyn Fn() -> Option<String> + Send + Sync>,
    pub(crate) handshake_timeout: Duration,
    /// How long a connection may idle between two requests.
    pub(crate) keepalive: Duration,
    pub(crate) shutdown: watch::Receiver<bool>,
    pub(crate) metrics: Arc<Metrics>,
}

/// How long what is under way is waited for.
#[derive(Clone, Copy, Debug)]
pub struct DrainTimeouts {
    /// Until it is cut.
    pub grace: Duration,
    /// So long idle connections are kept, though no new ones are let in: each may have one more request.
    pub linger: Duration,
}

/// What became of those who were connected when the gateway went.
#[derive(Clone, Copy, Debug)]
pub struct DrainReport {
    /// Requests that came to their end, WebSockets among them.
    pub requests_finished: usize,
    /// Requests that are still under way.
    pub requests_cut: usize,
    /// WebSockets that were closed with 1001.
    pub websockets_told: usize,
}

/// A listening socket for clients, with its TLS settings.
pub struct Listener {
    pub socket: std::net::TcpListener,
    pub tls: Tls,
}

/// The protocol below HTTP.
#[derive(Clone)]
pub enum Tls {
    None,
    Server(Arc<Live<Acceptor>>),
    /// TLS that requests a client certificate.
    Certificates(Arc<Live<ClientCertAcceptor>>),
}

impl<S> GatewayServer<S>
where
    S: ProxyHttp + Send + Sync + 'static,
    S::CTX: Send + Sync,
{
    /// Serves with one proxy per thread.
    pub(crate) fn new(proxies: Vec<Arc<HttpProxy<S>>>, parts: ServerParts) -> Self {
        Self {
            proxies,
            connections: parts.connections,
            websockets: parts.websockets,
            upstream_trouble: parts.upstream_trouble,
            handshake_timeout: parts.handshake_timeout,
            keepalive: parts.keepalive,
            shutdown: parts.shutdown,
            goaway: watch::Sender::new(false),
            farewell: watch::Sender::new(false),
            metrics: parts.metrics,
        }
    }

    /// What is wrong with the calculator's servers, in one line; `None` if all of them answer.
    pub fn calculator_trouble(&self) -> Option<String> {
        (self.upstream_trouble)()
    }

    /// What each thread is to serve with.
    pub(crate) fn proxies(&self) -> &[Arc<HttpProxy<S>>] {
        &self.proxies
    }

    /// Accepts connections until the shutdown is announced.
    pub(crate) async fn serve(
        self: Arc<Self>,
        proxy: Arc<HttpProxy<S>>,
        listener: TcpListener,
        tls: Tls,
    ) {
        let mut shutdown = self.shutdown.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = shutdown.wait_for(|down| *down) => break,
            };
            match accepted {
                Ok((tcp, address)) => self.let_in(tcp, address, &proxy, tls.clone()),
                Err(error) => {
                    tracing::warn!(target: "gateway", %error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Those that were let in by the kernel already would meet a reset.
        while let Some(Ok((tcp, address))) = listener.accept().now_or_never() {
            self.let_in(tcp, address, &proxy, tls.clone());
        }
    }

    /// Clients are to go elsewhere: each is told so with its next answer, or over HTTP/2 at once, and may still come until the shutdown is
    /// announced.
    pub fn begin_drain(&self) {
        self.connections.begin_drain();
        self.goaway.send_replace(true);
    }

    /// Tells WebSockets to go elsewhere, and waits until no request is under way, at most for the grace; then drops idle connections.
    /// Says what became of all since [`GatewayServer::begin_drain`].
    pub async fn drain(&self, DrainTimeouts { grace, linger }: DrainTimeouts) -> DrainReport {
        let begun = Instant::now();
        let end = Instant::now() + grace;
        self.goaway.send_replace(true);
        self.websockets.begin_drain();
        // Not a failure: it is a chance, for those who take it.
        let _ = timeout_at(end.min(begun + linger), self.connections.empty()).await;
        let _ = timeout_at(end, self.connections.quiet()).await;
        self.farewell.send_replace(true);
        for proxy in &self.proxies {
            proxy.cleanup().await;
        }
        // The last bytes of an answer may still wait in an HTTP/2 connection, and who connected a moment ago may be about to ask.
        // Who does not take or ask now is not waited for.
        let _ = timeout_at(end.min(Instant::now() + FAREWELL), self.connections.empty()).await;
        let _ = timeout_at(end, self.connections.quiet()).await;
        DrainReport {
            // In this order, or one that ends in between is counted nowhere.
            requests_cut: self.connections.under_way(),
            requests_finished: self.connections.finished(),
            websockets_told: self.websockets.closed_for_drain(),
        }
    }

    fn let_in(
        self: &Arc<Self>,
        tcp: TcpStream,
        address: SocketAddr,
        proxy: &Arc<HttpProxy<S>>,
        tls: Tls,
    ) {
        let Some(connection) = self.connections.admit(address.ip()) else {
            return;
        };
        let server = Arc::clone(self);
        let proxy = Arc::clone(proxy);
        // Not awaited: `drain` waits for the requests, and the runtime's end for the rest.
        tokio::spawn(async move {
            // Without it an answer's last packet waits for an acknowledgement; where it cannot be set, all else still works.
            let _ = tcp.set_nodelay(true);
            let digest = SocketDigest::from_raw_fd(tcp.as_raw_fd());
            // The cell is new, so that this cannot fail.
            let _ = digest.peer_addr.set(Some(address.into()));
            let digest = Arc::new(digest);
            server.connections.register(&connection, &digest);
            let stream = ClientStream::new(tcp, digest, Arc::clone(&connection));
            let Some(stream) = server.shake_hands(stream, &connection, tls).await else {
                return;
            };
            if stream.selected_alpn_proto() == Some(ALPN::H2) {
                connection.request_begins();
            }
            let handle = Arc::clone(connection.close_handle());
            // From here on the stream and its requests keep the connection.
            drop(connection);
            tokio::select! {
                biased;
                () = server.serve_requests(stream, &proxy) => {}
                () = overdue(&handle) => {}
            }
        });
    }

    async fn shake_hands(
        &self,
        stream: ClientStream,
        connection: &Arc<Connection>,
        tls: Tls,
    ) -> Option<Stream> {
        let connection = Arc::clone(connection);
        let shaken: Option<Stream> = match tls {
            Tls::None => return Some(Box::new(WebSocketStream::new(stream, connection))),
            Tls::Server(tls) => {
                let tls = tls.now();
                let stream =
                    tokio::time::timeout(self.handshake_timeout, tls.tls_handshake(stream))
                        .await
                        .ok();
                stream
                    .and_then(Result::ok)
                    .map(|stream| Box::new(WebSocketStream::new(stream, connection)) as Stream)
            }
            Tls::Certificates(tls) => {
                let tls = tls.now();
                let shaken = tokio::time::timeout(self.handshake_timeout, tls.shake_hands(stream))
                    .await
                    .ok();
                shaken.and_then(Result::ok).map(|(stream, shown)| {
                    connection.note_shown(shown);
                    Box::new(WebSocketStream::new(stream, connection)) as Stream
                })
            }
        };
        if shaken.is_none() {
            self.metrics.connection_rejected(Rejection::Handshake);
        }
        shaken
    }

    async fn serve_requests(&self, stream: Stream, proxy: &Arc<HttpProxy<S>>) {
        if stream.selected_alpn_proto() == Some(ALPN::H2) {
            // What is left of the connection afterwards is nothing.
            let _ = proxy.process_new(stream, &self.when_to_go()).await;
            return;
        }
        let mut next = (stream, None);
        while let Some(stream) = self.next_request(next.0, next.1.is_none()).await {
            let mut session = ServerSession::new_http1(stream);
            match next.1 {
                Some(settings) => HttpPersistentSettings::apply_to_session(settings, &mut session),
                None if *self.shutdown.borrow() => session.set_keepalive(None),
                // `prepare` sets the configured time for each request; 0 would be no limit.
                None => session.set_keepalive(Some(self.keepalive.as_secs().max(1))),
            }
            match proxy.process_new_http(session, &self.shutdown).await {
                Some(reused) => next = reused.consume(),
                None => return,
            }
        }
    }

    /// Changes when an HTTP/2 connection that begins now is to be told to go.
    fn when_to_go(&self) -> watch::Receiver<bool> {
        let mut goaway = self.goaway.subscribe();
        goaway.borrow_and_update();
        if *self.shutdown.borrow() {
            // It may have been said to all but this one, which the kernel had let in: it can ask once.
            goaway.mark_changed();
        }
        goaway
    }

    /// Waits for the first byte of a request. Pingora would wait as well, but with all the memory that a request takes in hand.
    async fn next_request(&self, mut stream: Stream, is_first: bool) -> Option<Stream> {
        let mut farewell = self.farewell.subscribe();
        let over = async {
            // A sender that is gone means that everything ends.
            let _ = farewell.wait_for(|ends| *ends).await;
            if is_first {
                tokio::time::sleep(FIRST_REQUEST).await;
            }
        };
        tokio::select! {
            biased;
            begun = tokio::time::timeout(self.keepalive, stream.try_peek(&mut [])) => begun.ok()?.ok().map(|_| stream),
            () = over => None,
        }
    }
}

/// A tunnel that was cut ends by itself, unless whoever carries its bytes waits for something else: a calculator that takes none.
async fn overdue(handle: &CloseHandle) {
    handle.closed().await;
    tokio::time::sleep(OVERDUE).await;
}
