//! Which clients are connected: how many in all, how many of each, and where each stands with its request.

use super::tunnel::Line;
use crate::domain::throttle::ClientAddress;
use crate::telemetry::metrics::{Metrics, Rejection};
use parking_lot::Mutex;
use pingora::protocols::SocketDigest;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

const SHARDS: usize = 32;

/// All connections.
pub(super) struct Connections {
    open: AtomicUsize,
    requests: AtomicUsize,
    most: usize,
    most_per_client: usize,
    header_timeout: Duration,
    clients: Mutex<HashMap<ClientAddress, usize>>,
    /// By the address of the socket digest that Pingora hands on with each request: the only thing of ours that it does.
    registry: Vec<Mutex<HashMap<usize, Weak<Connection>>>>,
    /// Whenever the last request or the last connection ended.
    fewer: Notify,
    metrics: Arc<Metrics>,
}

/// One connection.
pub(super) struct Connection {
    client: ClientAddress,
    key: AtomicUsize,
    begun: Instant,
    /// When the header that is being received must be complete: milliseconds after `begun`; 0 for no deadline.
    deadline: AtomicU64,
    /// Whether the next byte that arrives begins a request.
    idle: AtomicBool,
    /// Whether a request was answered before its body was read.
    unread: AtomicBool,
    line: Arc<Line>,
    all: Arc<Connections>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Connections {
    pub(super) fn new(most: usize, most_per_client: usize, header_timeout: Duration, metrics: Arc<Metrics>) -> Arc<Self> {
        let registry = (0..SHARDS).map(|_| Mutex::default()).collect();
        let (clients, fewer) = (Mutex::default(), Notify::new());
        let (open, requests) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { open, requests, most, most_per_client, header_timeout, clients, registry, fewer, metrics })
    }

    /// Lets a client in, if there is room for it.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Arc<Connection>> {
        let client = ClientAddress::of(address);
        if self.open.fetch_add(1, Ordering::AcqRel) >= self.most {
            self.open.fetch_sub(1, Ordering::AcqRel);
            self.metrics.connection_rejected(Rejection::Total);
            return None;
        }
        {
            let mut clients = self.clients.lock();
            let theirs = clients.entry(client).or_insert(0);
            if *theirs >= self.most_per_client {
                drop(clients);
                self.open.fetch_sub(1, Ordering::AcqRel);
                self.metrics.connection_rejected(Rejection::PerClient);
                return None;
            }
            *theirs += 1;
        }
        self.metrics.connection_opened();
        let deadline = AtomicU64::new(millis(self.header_timeout));
        let (key, idle, unread) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicBool::new(false));
        let (line, all) = (Arc::default(), Arc::clone(self));
        Some(Arc::new(Connection { client, key, begun: Instant::now(), deadline, idle, unread, line, all }))
    }

    /// Makes a connection known under its socket digest.
    pub(super) fn register(&self, connection: &Arc<Connection>, digest: &Arc<SocketDigest>) {
        let key = Arc::as_ptr(digest) as usize;
        connection.key.store(key, Ordering::Release);
        if let Some(shard) = self.shard(key) {
            shard.lock().insert(key, Arc::downgrade(connection));
        }
    }

    /// The connection that a request came on.
    pub(super) fn of(&self, digest: Option<&Arc<SocketDigest>>) -> Option<Arc<Connection>> {
        let key = Arc::as_ptr(digest?) as usize;
        self.shard(key)?.lock().get(&key)?.upgrade()
    }

    fn shard(&self, key: usize) -> Option<&Mutex<HashMap<usize, Weak<Connection>>>> {
        // The low bits of an address are all the same.
        self.registry.get((key >> 6) % SHARDS)
    }

    /// A request began.
    pub(super) fn request_began(&self) {
        self.requests.fetch_add(1, Ordering::AcqRel);
    }

    /// A request ended.
    pub(super) fn request_ended(&self) {
        if self.requests.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.fewer.notify_waiters();
        }
    }

    /// Returns once no request is under way.
    pub(super) async fn quiet(&self) {
        self.none_left(&self.requests).await;
    }

    /// Returns once nobody is connected.
    pub(super) async fn empty(&self) {
        self.none_left(&self.open).await;
    }

    async fn none_left(&self, count: &AtomicUsize) {
        loop {
            let woken = self.fewer.notified();
            if count.load(Ordering::Acquire) == 0 {
                return;
            }
            woken.await;
        }
    }
}

impl Connection {
    /// When the first header must be complete.
    pub(super) fn first_deadline(&self) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.begun + self.all.header_timeout)
    }

    /// When the header under way must be complete, if one is.
    pub(super) fn header_deadline(&self) -> Option<Instant> {
        match self.deadline.load(Ordering::Acquire) {
            0 => None,
            after => Some(self.begun + Duration::from_millis(after)),
        }
    }

    /// Bytes arrived. The first of a request start its deadline.
    pub(super) fn received(&self) {
        if self.idle.swap(false, Ordering::AcqRel) {
            let deadline = self.begun.elapsed() + self.all.header_timeout;
            self.deadline.store(millis(deadline), Ordering::Release);
        }
    }

    /// A header is complete.
    pub(super) fn header_complete(&self) {
        self.deadline.store(0, Ordering::Release);
        self.idle.store(false, Ordering::Release);
    }

    /// A request was answered; what comes next on this connection is another one.
    pub(super) fn request_done(&self) {
        self.idle.store(true, Ordering::Release);
    }

    /// A request was answered before its body was read.
    pub(super) fn left_unread(&self) {
        self.unread.store(true, Ordering::Release);
    }

    /// Whether the client may still be sending what nobody reads.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Acquire)
    }

    /// By what it is cut if it becomes a tunnel.
    pub(super) fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// The deadline passed.
    pub(super) fn timed_out(&self) {
        self.all.metrics.connection_rejected(Rejection::HeaderTimeout);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let key = self.key.load(Ordering::Acquire);
        if let Some(shard) = self.all.shard(key) {
            let mut shard = shard.lock();
            // The digest may be gone before us, and another connection's have taken its address.
            if shard.get(&key).is_some_and(|there| std::ptr::eq(there.as_ptr(), self)) {
                shard.remove(&key);
            }
        }
        let mut clients = self.all.clients.lock();
        if let Some(theirs) = clients.get_mut(&self.client) {
            *theirs -= 1;
            if *theirs == 0 {
                clients.remove(&self.client);
            }
        }
        drop(clients);
        if self.all.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all.fewer.notify_waiters();
        }
        self.all.metrics.connection_closed();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_ends_late_does_not_take_another_ones_place() {
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let connections = Connections::new(9, 9, Duration::from_secs(1), metrics);
        let digest = Arc::new(SocketDigest::from_raw_fd(-1));
        let admit = || connections.admit(IpAddr::from([127, 0, 0, 1])).expect("there is room");
        let (before, after) = (admit(), admit());
        connections.register(&before, &digest);
        connections.register(&after, &digest);
        drop(before);
        assert!(connections.of(Some(&digest)).is_some_and(|found| Arc::ptr_eq(&found, &after)));
        drop(after);
        assert!(connections.of(Some(&digest)).is_none());
    }
}
