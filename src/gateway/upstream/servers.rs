//! The calculator's servers: which there are, which of them answer, and which one a request goes to.
//!
//! Names are looked up and servers watched beside the requests (`watch.rs`), so that a request neither waits for a name nor
//! connects to a server that is known to be down. Nothing here decides whether a request may go up.
//!
//! # How a server is chosen
//!
//! ```text
//! request ── permit ── upstream_peer: one server? ── up ──────────────────────────> its peer
//!                           │                       └─ down ── 502, no connection
//!                           └ several: route in the cookie, session astray, own (rendezvous), of those that are up
//!
//! watch.rs, beside: look names up ── a task a server: check, wait, check ──> health.rs <── requests that found no connection
//! ```
//!
//! `upstream/` keeps the list of servers in an `ArcSwap`; a request loads it once, takes no lock and allocates
//! nothing but the peer. Health is one number in each server: failures since the last check that succeeded. Two
//! make it down, a refusal counts as two, and only a check brings it back: so no broker's request is the probe.
//! `upstream/retry.rs` is the only place that lets a request try again, and `Attempts` in its context counts
//! how often it went up.

#[cfg(test)]
mod tests;

use crate::config;
use crate::gateway::context::attempts::Attempts;
use crate::gateway::request::links;
use crate::gateway::upstream::affinity::{Affinity, AffinityKey};
use crate::gateway::upstream::health::ServerTrouble;
use crate::gateway::upstream::server::UpstreamServer;
use crate::telemetry::metrics::{Connect, Metrics};
use arc_swap::ArcSwap;
use http::HeaderMap;
use http::header::UPGRADE;
use parking_lot::Mutex;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

pub(crate) struct Upstream {
    pub(crate) config: config::UpstreamConfig,
    /// What the calculator is called in requests that ask how it is.
    pub(crate) authority: String,
    pub(crate) servers: ArcSwap<Vec<Arc<UpstreamServer>>>,
    pub(crate) affinity: Affinity,
    /// What is told of them; nothing of servers that are not the calculator's.
    pub(crate) metrics: Option<Arc<Metrics>>,
    /// The servers that the metrics speak of. One at a time changes what they say, so that the last word is the right one.
    pub(crate) told: Mutex<Vec<SocketAddr>>,
    /// The configured servers whose names lead nowhere.
    pub(crate) unknown: Mutex<BTreeSet<usize>>,
}

/// Whether a request may take a connection that another one left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    Allowed,
    /// Takes a new connection.
    Forbidden,
    /// Takes a new connection, which no later request may use.
    Never,
}

/// Whether a request is sent once, whatever comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// May meet a kept connection that is about to close.
    Usual,
    /// Needs a connection of its own.
    Once,
}

impl Upstream {
    /// The servers of the configuration, their names looked up once. `authority` is what the calculator is called.
    pub(crate) async fn open(
        config: config::UpstreamConfig,
        authority: &str,
        metrics: Option<Arc<Metrics>>,
    ) -> Self {
        let affinity = Affinity::new(&config.affinity_cookies, &config.routes);
        let upstream = Self {
            config,
            authority: authority.to_owned(),
            servers: ArcSwap::default(),
            affinity,
            metrics,
            told: Mutex::default(),
            unknown: Mutex::default(),
        };
        upstream.look_up().await;
        upstream
    }

    /// Whether there is anything to choose from.
    pub(crate) fn has_several(&self) -> bool {
        self.servers.load().len() > 1
    }

    /// How many servers are up.
    pub(crate) fn up(&self) -> usize {
        self.servers
            .load()
            .iter()
            .filter(|server| server.health.is_up())
            .count()
    }

    /// The peer for this request, and whether it may take a kept connection.
    ///
    /// # Errors
    /// No server answers. It costs nothing to find that out.
    pub(crate) fn peer(
        &self,
        request: &RequestHeader,
        whose: AffinityKey,
        sending: Sending,
        attempts: &mut Attempts,
    ) -> pingora::Result<(Box<HttpPeer>, Reuse)> {
        let servers = self.servers.load();
        let Some(server) = self.choose(&servers, &request.headers, whose, attempts) else {
            self.metrics
                .iter()
                .for_each(|metrics| metrics.upstream_not_asked());
            return Err(Error::explain(
                ErrorType::ConnectError,
                "no server of the calculator answers",
            ));
        };
        // A kept connection that turned out dead tells nothing of the others, which may be just as dead.
        // Nor may a form meet one that is about to die: it is sent once.
        let reuse = if attempts.begun > 0 || sending == Sending::Once {
            Reuse::Forbidden
        } else {
            Reuse::Allowed
        };
        attempts.begun += 1;
        attempts.server = Some(server.address);
        Ok(by(server, request, reuse))
    }

    fn choose<'s>(
        &self,
        servers: &'s [Arc<UpstreamServer>],
        headers: &HeaderMap,
        whose: AffinityKey,
        attempts: &mut Attempts,
    ) -> Option<&'s Arc<UpstreamServer>> {
        if let [only] = servers {
            return Some(only).filter(|server| server.health.is_up());
        }
        let may = |server: &UpstreamServer| {
            server.health.is_up() && attempts.avoided != Some(server.address)
        };
        // Whoever failed just now is better than nobody.
        let chosen = self
            .affinity
            .choose(servers, headers, whose, may)
            .or_else(|| {
                self.affinity
                    .choose(servers, headers, whose, |server| server.health.is_up())
            })?;
        attempts.pinned = self
            .affinity
            .is_astray(servers, chosen, whose)
            .then_some(chosen.address);
        Some(chosen)
    }

    /// The calculator answers. An application's session that began away from its broker's own server stays where it began.
    pub(crate) fn answered(&self, answer: &ResponseHeader, attempts: &Attempts) {
        if let Some(address) = attempts.pinned {
            self.affinity.remember(answer, address);
        }
    }

    /// No connection came about. Whether the request may be tried with another server: not a byte went up, so nobody has done
    /// any of what it asks.
    pub(crate) fn connecting_failed(
        &self,
        peer: &HttpPeer,
        error: &Error,
        attempts: &mut Attempts,
    ) -> bool {
        self.metrics
            .iter()
            .for_each(|metrics| metrics.upstream_connected(outcome(error)));
        attempts.avoid(peer);
        let servers = self.servers.load();
        let failed = servers
            .iter()
            .find(|server| attempts.avoided == Some(server.address));
        if let (Some(server), Some(trouble)) = (failed, ServerTrouble::of(error)) {
            self.note(server, Err((trouble, error)));
        }
        attempts.may_connect_again() && self.is_another_up(attempts)
    }

    /// Whether a server is up other than the one that just failed.
    pub(crate) fn is_another_up(&self, attempts: &Attempts) -> bool {
        self.servers
            .load()
            .iter()
            .any(|server| server.health.is_up() && attempts.avoided != Some(server.address))
    }

    /// What is wrong with the calculator, in one line; `None` if all its servers answer.
    pub(crate) fn trouble(&self) -> Option<String> {
        let servers = self.servers.load();
        let down: Vec<_> = servers
            .iter()
            .filter(|server| !server.health.is_up())
            .map(|server| server.address.to_string())
            .collect();
        match (servers.len(), down.len()) {
            (0, _) => Some("the name of no server is known".to_owned()),
            (_, 0) => None,
            (all, _) => Some(format!(
                "{} of {all} servers down: {}",
                down.len(),
                down.join(", ")
            )),
        }
    }

    /// What was found of a server.
    pub(crate) fn note(&self, server: &UpstreamServer, found: Result<(), (ServerTrouble, &Error)>) {
        let is_news = match found {
            Ok(()) => server.health.succeeded(),
            Err((trouble, _)) => server.health.failed(trouble),
        };
        if !is_news {
            return;
        }
        let address = server.address;
        match found {
            Ok(()) => {
                tracing::info!(target: "gateway", server = %address, "calculator server up")
            }
            Err((_, error)) => {
                tracing::warn!(target: "gateway", server = %address, error = error.etype().as_str(), "calculator server down");
            }
        }
        self.tell();
    }

    /// Sets the metrics to how the servers are.
    pub(crate) fn tell(&self) {
        let mut told = self.told.lock();
        let servers = self.servers.load();
        let states: Vec<_> = servers
            .iter()
            .map(|server| (server.address, server.health.is_up()))
            .collect();
        let Some(metrics) = &self.metrics else { return };
        metrics.upstream_servers(&states);
        let now: Vec<_> = states.into_iter().map(|(address, _)| address).collect();
        told.iter()
            .filter(|before| !now.contains(before))
            .for_each(|gone| metrics.upstream_server_gone(*gone));
        *told = now;
    }
}

fn by(server: &UpstreamServer, request: &RequestHeader, reuse: Reuse) -> (Box<HttpPeer>, Reuse) {
    let is_socket = request.headers.contains_key(UPGRADE);
    let peer = match links::may_stay_silent(&request.headers) {
        _ if is_socket => &server.peers.socket,
        true => &server.peers.patient,
        false => &server.peers.ordinary,
    };
    (
        Box::new(peer.clone()),
        if is_socket { Reuse::Never } else { reuse },
    )
}

fn outcome(error: &Error) -> Connect {
    match error.etype() {
        ErrorType::ConnectRefused => Connect::Refused,
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Connect::TimedOut,
        _ => Connect::Failed,
    }
}
