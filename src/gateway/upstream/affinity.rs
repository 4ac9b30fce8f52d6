//! Which of several servers a request goes to: applications keep a session in the memory of the server where it began.
//!
//! In this order: the server that the application's cookie names, if its servers have routes; the server where the application's
//! session began, if that was not its broker's own; its broker's own, by rendezvous hashing of the broker number over the servers that
//! are up. The last needs no memory and is the same on every gateway, and when a server goes, only its own brokers move.

use crate::gateway::request::cookies;
use crate::gateway::upstream::server::UpstreamServer;
use domain::vtnr::Vtnr;
use http::HeaderMap;
use http::header::SET_COOKIE;
use parking_lot::RwLock;
use pingora::http::ResponseHeader;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whose request it is, as far as that matters for where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AffinityKey(u64);

/// Where a server stands among all, the same on every gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeHash(u64);

/// How requests find their server.
pub(crate) struct Affinity {
    /// Names of the application's session cookies.
    cookies: Vec<String>,
    /// The route that cookies of each configured server end with.
    routes: Vec<String>,
    astray: PinnedSessions,
}

impl AffinityKey {
    /// Where there is nothing to choose.
    pub(crate) const SHARED: Self = Self(0);

    pub(crate) fn broker(vtnr: Vtnr) -> Self {
        Self(mixed(u64::from(vtnr.number())))
    }

    pub(crate) fn client(address: IpAddr) -> Self {
        Self(digest(address.to_string().as_bytes()))
    }
}

impl NodeHash {
    pub(crate) fn of(address: SocketAddr) -> Self {
        Self(digest(address.to_string().as_bytes()))
    }
}

impl Affinity {
    pub(crate) fn new(cookies: &[String], routes: &[String]) -> Self {
        Self {
            cookies: cookies.to_vec(),
            routes: routes.to_vec(),
            astray: PinnedSessions::default(),
        }
    }

    /// The server for a request, of those that `may` take it.
    pub(crate) fn choose<'s>(
        &self,
        servers: &'s [Arc<UpstreamServer>],
        headers: &HeaderMap,
        whose: AffinityKey,
        may: impl Fn(&UpstreamServer) -> bool,
    ) -> Option<&'s Arc<UpstreamServer>> {
        let route = self.route(headers);
        let on_route = servers
            .iter()
            .filter(|server| route == Some(server.entry) && may(server));
        // A configured name may have several addresses.
        if let Some(server) = own(on_route, whose) {
            return Some(server);
        }
        let began_at = self
            .values(headers)
            .filter(|_| self.astray.has_any())
            .find_map(|value| self.astray.find(value));
        let began = servers
            .iter()
            .find(|server| began_at == Some(server.address) && may(server));
        began.or_else(|| own(servers.iter().filter(|server| may(server)), whose))
    }

    /// Whether this is not the server that the request would go to if all were up, and no route will lead back to it.
    pub(crate) fn is_astray(
        &self,
        servers: &[Arc<UpstreamServer>],
        chosen: &UpstreamServer,
        whose: AffinityKey,
    ) -> bool {
        let own = || own(servers.iter(), whose).map(|server| server.address);
        self.routes.is_empty() && !self.cookies.is_empty() && own() != Some(chosen.address)
    }

    /// The application's session began at this server.
    pub(crate) fn remember(&self, answer: &ResponseHeader, address: SocketAddr) {
        let set = answer
            .headers
            .get_all(SET_COOKIE)
            .iter()
            .filter_map(|field| field.as_bytes().split(|byte| *byte == b';').next());
        for (_, value) in set
            .map(cookies::name_and_value)
            .filter(|(name, value)| self.is_ours(name) && !value.is_empty())
        {
            self.astray.remember(value, address);
        }
    }

    /// The configured server that a cookie names.
    fn route(&self, headers: &HeaderMap) -> Option<usize> {
        if self.routes.is_empty() {
            return None;
        }
        self.values(headers).find_map(|value| {
            let dot = value.iter().rposition(|byte| *byte == b'.')?;
            let name = value.get(dot + 1..)?;
            // Some servers set their cookie in quotes.
            let name = name.strip_suffix(b"\"").unwrap_or(name);
            self.routes
                .iter()
                .position(|route| route.as_bytes() == name)
        })
    }

    fn values<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h [u8]> {
        cookies::pairs(headers)
            .filter(|(name, _)| self.is_ours(name))
            .map(|(_, value)| value)
    }

    fn is_ours(&self, name: &[u8]) -> bool {
        self.cookies.iter().any(|cookie| cookie.as_bytes() == name)
    }
}

/// The server with the highest score (rendezvous hashing): whoever had it keeps it while it is there, whatever others come and go.
fn own<'s>(
    servers: impl Iterator<Item = &'s Arc<UpstreamServer>>,
    whose: AffinityKey,
) -> Option<&'s Arc<UpstreamServer>> {
    servers.max_by_key(|server| mixed(whose.0 ^ server.place.0))
}

/// FNV-1a, then mixed: equal on every gateway and in every version, unlike the standard library's hashers.
fn digest(bytes: &[u8]) -> u64 {
    let folded = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mixed(folded)
}

/// The finalizer of SplitMix64: each bit of the result depends on each bit given.
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Sessions of the application that began elsewhere than at their broker's own server, since that one was down. There are none as
/// long as all servers are well.
#[derive(Default)]
struct PinnedSessions {
    has_any: AtomicBool,
    hasher: RandomState,
    /// The newer half and the older one, which goes when the newer is full.
    halves: RwLock<[HashMap<u64, SocketAddr>; 2]>,
}

impl PinnedSessions {
    /// In each half. Beyond, the oldest are forgotten: these brokers go back to their own server.
    const MAX: usize = 65_536;

    fn has_any(&self) -> bool {
        self.has_any.load(Ordering::Relaxed)
    }

    fn find(&self, value: &[u8]) -> Option<SocketAddr> {
        let key = self.hasher.hash_one(value);
        self.halves
            .read()
            .iter()
            .find_map(|half| half.get(&key).copied())
    }

    fn remember(&self, value: &[u8], address: SocketAddr) {
        let mut halves = self.halves.write();
        let [newer, older] = &mut *halves;
        if newer.len() >= Self::MAX {
            *older = std::mem::take(newer);
        }
        newer.insert(self.hasher.hash_one(value), address);
        self.has_any.store(true, Ordering::Relaxed);
    }
}
