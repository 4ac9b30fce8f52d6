//! Which clients are connected: how many in all, how many of each, and where each stands with its request.

use crate::gateway::listener::bound_keys::BoundKeys;
use crate::gateway::listener::presented_certificate::PresentedChain;
use crate::gateway::listener::upload_rate::UploadRate;
use crate::gateway::request::following::Following;
use crate::gateway::request::trusted_proxies::TrustedProxies;
use crate::gateway::websocket::control::CloseHandle;
use crate::share_limit::ShareLimit;
use crate::telemetry::metrics::{Metrics, Rejection};
use domain::throttle::ClientAddress;
use http::HeaderMap;
use http::header::TRANSFER_ENCODING;
use parking_lot::Mutex;
use pingora::protocols::SocketDigest;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

const SHARDS: usize = 32;

pub(crate) struct Connections {
    open: ShareLimit<ClientAddress>,
    requests: AtomicUsize,
    /// Whether clients are to go elsewhere with their next request.
    draining: AtomicBool,
    /// Requests that ended since.
    finished: AtomicUsize,
    limits: ConnectionLimits,
    /// By the address of the socket digest that Pingora hands on with each request: the only thing of ours that it does.
    registry: Vec<Mutex<HashMap<usize, Weak<Connection>>>>,
    /// Whenever the last request or the last connection ended.
    fewer: Notify,
    metrics: Arc<Metrics>,
}

/// How many connections there may be, and how long they may take.
pub(crate) struct ConnectionLimits {
    pub(crate) most: usize,
    pub(crate) most_per_client: usize,
    pub(crate) header_timeout: Duration,
    pub(crate) body_timeout: Duration,
    /// Many clients come by these; the limit per client is not for them.
    pub(crate) trusted_proxies: TrustedProxies,
}

pub(crate) struct Connection {
    /// Whose connections it counts among.
    client: Option<ClientAddress>,
    key: AtomicUsize,
    begun: Instant,
    /// When the header that is being received must be complete: milliseconds after `begun`; 0 for no deadline.
    deadline: AtomicU64,
    /// Whether the next byte that arrives begins a request.
    idle: AtomicBool,
    /// Whether bytes came that are to be a request, and have not been read as one.
    unparsed: AtomicBool,
    /// Whether a request was answered before its body was read.
    unread: AtomicBool,
    /// Whether the client was too slow. Nothing more is waited for then.
    given_up: AtomicBool,
    upload_rate: UploadRate,
    following: Following,
    close_handle: Arc<CloseHandle>,
    /// What was shown in the handshake, on the certificate listener.
    shown: OnceLock<PresentedChain>,
    /// Connections to a server that nobody else's requests may take.
    bound: BoundKeys,
    all: Arc<Connections>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Connections {
    pub(crate) fn new(limits: ConnectionLimits, metrics: Arc<Metrics>) -> Arc<Self> {
        let registry = (0..SHARDS).map(|_| Mutex::default()).collect();
        let fewer = Notify::new();
        let open = ShareLimit::new(limits.most);
        let requests = AtomicUsize::new(0);
        let draining = AtomicBool::new(false);
        let finished = AtomicUsize::new(0);
        Arc::new(Self {
            open,
            requests,
            draining,
            finished,
            limits,
            registry,
            fewer,
            metrics,
        })
    }

    /// Lets a client in, if there is room for it.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Arc<Connection>> {
        let client =
            (!self.limits.trusted_proxies.trust(address)).then(|| ClientAddress::of(address));
        if !self.open.take(1) {
            self.metrics.connection_rejected(Rejection::Total);
            return None;
        }
        let share = self.limits.most_per_client;
        if client.is_some_and(|client| !self.open.charge(client, 1, share)) {
            self.open.release(1);
            self.metrics.connection_rejected(Rejection::PerClient);
            return None;
        }
        self.metrics.connection_opened();
        let begun = Instant::now();
        Some(Arc::new(Connection {
            client,
            key: AtomicUsize::new(0),
            begun,
            deadline: AtomicU64::new(millis(self.limits.header_timeout)),
            idle: AtomicBool::new(false),
            unparsed: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            upload_rate: UploadRate::new(self.limits.body_timeout, begun),
            following: Following::default(),
            close_handle: Arc::default(),
            shown: OnceLock::new(),
            bound: BoundKeys::default(),
            all: Arc::clone(self),
        }))
    }

    /// Makes a connection known under its socket digest.
    pub(crate) fn register(&self, connection: &Arc<Connection>, digest: &Arc<SocketDigest>) {
        let key = Arc::as_ptr(digest) as usize;
        connection.key.store(key, Ordering::Release);
        if let Some(shard) = self.shard(key) {
            shard.lock().insert(key, Arc::downgrade(connection));
        }
    }

    /// The connection that a request came on.
    pub(crate) fn of(&self, digest: Option<&Arc<SocketDigest>>) -> Option<Arc<Connection>> {
        let key = Arc::as_ptr(digest?) as usize;
        self.shard(key)?.lock().get(&key)?.upgrade()
    }

    fn shard(&self, key: usize) -> Option<&Mutex<HashMap<usize, Weak<Connection>>>> {
        // The low bits of an address are all the same.
        self.registry.get((key >> 6) % SHARDS)
    }

    pub(crate) fn request_began(&self) {
        self.requests.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn request_ended(&self) {
        if self.is_draining() {
            self.finished.fetch_add(1, Ordering::AcqRel);
        }
        if self.requests.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.fewer.notify_waiters();
        }
    }

    /// From now on each answer tells its client to use another connection for the next request.
    pub(crate) fn begin_drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether that was said.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// How many requests have ended since.
    pub(crate) fn finished(&self) -> usize {
        self.finished.load(Ordering::Acquire)
    }

    /// How many requests are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.requests.load(Ordering::Acquire)
    }

    /// Returns once no request is under way.
    pub(crate) async fn quiet(&self) {
        self.none_left(|| self.under_way()).await;
    }

    /// Returns once nobody is connected.
    pub(crate) async fn empty(&self) {
        self.none_left(|| self.open.taken()).await;
    }

    async fn none_left(&self, count: impl Fn() -> usize) {
        loop {
            let woken = self.fewer.notified();
            if count() == 0 {
                return;
            }
            woken.await;
        }
    }
}

impl Connection {
    /// When the first header must be complete.
    pub(crate) fn first_deadline(&self) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.begun + self.all.limits.header_timeout)
    }

    /// When the header under way must be complete, if one is.
    pub(crate) fn header_deadline(&self) -> Option<Instant> {
        match self.deadline.load(Ordering::Acquire) {
            0 => None,
            after => Some(self.begun + Duration::from_millis(after)),
        }
    }

    /// So many bytes arrived. The first of a request start its deadline.
    pub(crate) fn received(&self, bytes: usize) {
        self.upload_rate.received(bytes);
        if self.idle.swap(false, Ordering::AcqRel) {
            let deadline = self.begun.elapsed() + self.all.limits.header_timeout;
            self.deadline.store(millis(deadline), Ordering::Release);
        }
    }

    /// What comes now is to be a request.
    pub(crate) fn request_begins(&self) {
        self.unparsed.store(true, Ordering::Release);
    }

    /// A request's header is complete; these are its fields.
    pub(crate) fn header_complete(&self, fields: &HeaderMap) {
        if fields.contains_key(TRANSFER_ENCODING) {
            self.following.follow_chunks();
        } else {
            self.following.pass_on();
        }
        self.unparsed.store(false, Ordering::Release);
        self.deadline.store(0, Ordering::Release);
        self.idle.store(false, Ordering::Release);
    }

    /// A request was answered; what comes next on this connection is another one.
    pub(crate) fn request_done(&self) {
        self.idle.store(true, Ordering::Release);
    }

    /// A request was answered before its body was read.
    pub(crate) fn left_unread(&self) {
        self.unread.store(true, Ordering::Release);
    }

    /// Whether the client may still be sending what nobody reads.
    pub(crate) fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Acquire) && !self.given_up.load(Ordering::Acquire)
    }

    /// By what it is cut if it becomes a tunnel.
    pub(crate) fn close_handle(&self) -> &Arc<CloseHandle> {
        &self.close_handle
    }

    /// Notes the certificate that the client presented.
    pub(crate) fn note_shown(&self, shown: PresentedChain) {
        // There is one handshake.
        let _ = self.shown.set(shown);
    }

    /// What was shown on the certificate listener; `None` on other listeners.
    pub(crate) fn shown(&self) -> Option<&PresentedChain> {
        self.shown.get()
    }

    /// The connections to a server that belong to this one.
    pub(crate) fn bound(&self) -> &BoundKeys {
        &self.bound
    }

    /// Whether many clients' requests may come on it.
    pub(crate) fn is_from_trusted_proxy(&self) -> bool {
        self.client.is_none()
    }

    /// The bodies that come on it.
    pub(crate) fn upload_rate(&self) -> &UploadRate {
        &self.upload_rate
    }

    /// The bodies that come on it in chunks.
    pub(crate) fn following(&self) -> &Following {
        &self.following
    }

    /// The longest silence that is borne of a client that has an answer to take.
    pub(crate) fn write_patience(&self) -> Duration {
        self.all
            .limits
            .body_timeout
            .saturating_mul(crate::gateway::listener::min_rate::MAX_CREDIT)
    }

    /// The client was too slow. It may be found so again before the connection is gone, and counts once.
    pub(crate) fn give_up(&self, reason: Rejection) {
        if !self.given_up.swap(true, Ordering::AcqRel) {
            self.all.metrics.connection_rejected(reason);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.unparsed.load(Ordering::Acquire) {
            self.give_up(Rejection::NoRequest);
        }
        let key = self.key.load(Ordering::Acquire);
        if let Some(shard) = self.all.shard(key) {
            let mut shard = shard.lock();
            // The digest may be gone before us, and another connection's have taken its address.
            if shard
                .get(&key)
                .is_some_and(|there| std::ptr::eq(there.as_ptr(), self))
            {
                shard.remove(&key);
            }
        }
        if let Some(client) = self.client {
            self.all.open.discharge(client, 1);
        }
        if self.all.open.release(1) == 0 {
            self.all.fewer.notify_waiters();
        }
        self.all.metrics.connection_closed();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_ends_late_does_not_take_another_ones_place() {
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let second = Duration::from_secs(1);
        let limits = ConnectionLimits {
            most: 9,
            most_per_client: 9,
            header_timeout: second,
            body_timeout: second,
            trusted_proxies: TrustedProxies::default(),
        };
        let connections = Connections::new(limits, metrics);
        let digest = Arc::new(SocketDigest::from_raw_fd(-1));
        let admit = || {
            connections
                .admit(IpAddr::from([127, 0, 0, 1]))
                .expect("there is room")
        };
        let (before, after) = (admit(), admit());
        connections.register(&before, &digest);
        connections.register(&after, &digest);
        drop(before);
        assert!(
            connections
                .of(Some(&digest))
                .is_some_and(|found| Arc::ptr_eq(&found, &after))
        );
        drop(after);
        assert!(connections.of(Some(&digest)).is_none());
    }
}
