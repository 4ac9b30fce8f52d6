//! What stands before the gateways: it sends clients to those that say that they are ready.

use super::World;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How often the gateways are asked.
const ASKS_EVERY: Duration = Duration::from_millis(50);

/// Knows which gateways are ready.
pub struct Balancer {
    pub bases: Vec<String>,
    admins: Vec<u16>,
    ready: Vec<AtomicBool>,
    turn: AtomicUsize,
}

impl Balancer {
    /// Before all gateways of this world.
    pub fn new(world: &World) -> Arc<Self> {
        let balancer = Arc::new(Self {
            bases: world
                .gateways
                .iter()
                .map(|gateway| gateway.base())
                .collect(),
            admins: world.gateways.iter().map(|gateway| gateway.admin).collect(),
            ready: world
                .gateways
                .iter()
                .map(|_| AtomicBool::new(true))
                .collect(),
            turn: AtomicUsize::new(0),
        });
        for number in 0..balancer.bases.len() {
            tokio::spawn(Arc::clone(&balancer).watch(number));
        }
        balancer
    }

    async fn watch(self: Arc<Self>, number: usize) {
        let (client, url) = (
            super::browser::client(),
            format!("http://127.0.0.1:{}/readyz", self.admins[number]),
        );
        loop {
            let asked = tokio::time::timeout(Duration::from_secs(1), client.get(&url).send()).await;
            let ready =
                asked.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status().is_success()));
            self.ready[number].store(ready, Ordering::SeqCst);
            tokio::time::sleep(ASKS_EVERY).await;
        }
    }

    /// The number of the next gateway: a ready one, or any if none is.
    pub fn next(&self) -> usize {
        let from = self.turn.fetch_add(1, Ordering::SeqCst);
        let turns = (from..from + self.bases.len()).map(|turn| turn % self.bases.len());
        turns
            .clone()
            .find(|number| self.is_ready(*number))
            .unwrap_or(from % self.bases.len())
    }

    /// Whether this one is.
    pub fn is_ready(&self, number: usize) -> bool {
        self.ready[number].load(Ordering::SeqCst)
    }
}
