//! Looking names up and looking servers over, beside the requests.

use crate::gateway::upstream::health::ServerTrouble;
use crate::gateway::upstream::server::UpstreamServer;
use crate::gateway::upstream::servers::Upstream;
use futures_util::future::join_all;
use pingora::connectors::TransportConnector;
use pingora::http::RequestHeader;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::{Error, ErrorType, OrErr};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// How often names are looked up anew.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);
/// How often while no server is up: what comes back may have another address.
const LOOK_UP_ANXIOUSLY: Duration = Duration::from_secs(1);
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server that is down is left alone between two checks, at most.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Keeps looking names up, and each server over for as long as there is one.
pub(crate) async fn watch(upstream: Arc<Upstream>) {
    // It reads the system's certificates, so there is one for all checks.
    let connector = Arc::new(TransportConnector::new(None));
    let start = |server: &Arc<UpstreamServer>| {
        // It ends with its server.
        tokio::spawn(look_after(
            Arc::clone(&upstream),
            Arc::downgrade(server),
            Arc::clone(&connector),
        ));
    };
    upstream.servers.load().iter().for_each(start);
    let mut looked_up = Instant::now();
    loop {
        tokio::time::sleep(LOOK_UP_ANXIOUSLY).await;
        let is_any_up = upstream
            .servers
            .load()
            .iter()
            .any(|server| server.health.is_up());
        if !is_any_up || looked_up.elapsed() >= LOOK_UP_EVERY {
            upstream.look_up().await.iter().for_each(start);
            looked_up = Instant::now();
        }
    }
}

async fn look_after(
    upstream: Arc<Upstream>,
    server: Weak<UpstreamServer>,
    connector: Arc<TransportConnector>,
) {
    let interval = upstream.config.health_interval;
    loop {
        let Some(known) = server.upgrade() else {
            return;
        };
        let found = upstream.check(&known, &connector).await;
        match &found {
            // Whatever a request finds meanwhile is looked into soon.
            Ok(()) => {
                upstream.note(&known, Ok(()));
                let fell = tokio::time::timeout(interval, known.health.fell()).await;
                if fell.is_err() {
                    continue;
                }
            }
            Err(error) => {
                if let Some(trouble) = ServerTrouble::of(error) {
                    upstream.note(&known, Err((trouble, error)));
                }
            }
        }
        drop(known);
        tokio::time::sleep(interval.min(PROBE_EVERY)).await;
    }
}

impl Upstream {
    /// Looks the names up once, and gives the servers that are new. What a name led to stays if it is not found.
    pub(crate) async fn look_up(&self) -> Vec<Arc<UpstreamServer>> {
        let known = self.servers.load_full();
        let mut servers: Vec<Arc<UpstreamServer>> = Vec::new();
        let mut fresh = Vec::new();
        let found = join_all(
            self.config
                .servers
                .iter()
                .map(|target| addresses(&target.host, target.port)),
        )
        .await;
        for (entry, (target, found)) in self.config.servers.iter().zip(found).enumerate() {
            let before = known.iter().filter(|server| server.entry == entry);
            self.tell_of_name(entry, &target.host, found.as_ref());
            let Some(addresses) = found else {
                servers.extend(before.cloned());
                continue;
            };
            for address in addresses {
                // Two names for one address are one server.
                if servers.iter().any(|server| server.address == address) {
                    continue;
                }
                let server = before
                    .clone()
                    .find(|server| server.address == address)
                    .cloned()
                    .unwrap_or_else(|| {
                        let server = Arc::new(UpstreamServer::new(
                            address,
                            entry,
                            &target.host,
                            &self.config,
                        ));
                        fresh.push(Arc::clone(&server));
                        server
                    });
                servers.push(server);
            }
        }
        self.servers.store(Arc::new(servers));
        self.tell();
        fresh
    }

    /// Logs that a name leads nowhere, or somewhere again: once, however often it is looked up.
    fn tell_of_name(&self, entry: usize, host: &str, found: Option<&BTreeSet<SocketAddr>>) {
        let mut unknown = self.unknown.lock();
        if found.is_some() && unknown.remove(&entry) {
            tracing::info!(target: "gateway", host, "resolved the calculator's host name again");
        } else if found.is_none() && unknown.insert(entry) {
            tracing::warn!(target: "gateway", host, "failed to resolve the calculator's host name");
        }
    }

    /// Whether a server can be connected to, with TLS where it is spoken; and says that it is well, if it is to be asked.
    async fn check(
        &self,
        server: &UpstreamServer,
        connector: &TransportConnector,
    ) -> pingora::Result<()> {
        let asked = async {
            let stream = connector.new_stream(&server.peers.ordinary).await?;
            let Some(path) = &self.config.health_path else {
                return Ok(());
            };
            let mut http = HttpSession::new_with_options(stream, &server.peers.ordinary);
            let mut request = RequestHeader::build("GET", path.as_bytes(), Some(3))?;
            request.insert_header("Host", self.authority.as_str())?;
            request.insert_header("User-Agent", "vtnr-gateway")?;
            request.insert_header("Connection", "close")?;
            http.write_request_header(Box::new(request)).await?;
            http.read_response().await?;
            match http.get_status() {
                Some(status) if !status.is_server_error() => Ok(()),
                _ => Err(Error::explain(
                    ErrorType::InvalidHTTPHeader,
                    "it says that it is not well",
                )),
            }
        };
        let in_time = tokio::time::timeout(self.config.health_timeout, asked).await;
        in_time.or_err(ErrorType::ConnectTimedout, "looking a server over")?
    }
}

/// All addresses of a name; `None` if none is found. In an order of their own: servers that spread load by turning the order of their
/// answers move nobody.
async fn addresses(host: &str, port: u16) -> Option<BTreeSet<SocketAddr>> {
    let found = tokio::time::timeout(LOOK_UP_TIMEOUT, tokio::net::lookup_host((host, port))).await;
    found
        .ok()
        .and_then(Result::ok)
        .map(BTreeSet::from_iter)
        .filter(|addresses| !addresses.is_empty())
}
