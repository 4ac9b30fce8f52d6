//! Something of the configuration that can change while the gateway runs: one whole takes the place of another, in one step.

use arc_swap::ArcSwap;
use std::sync::Arc;

/// What is in force now.
#[derive(Debug)]
pub struct InForce<T>(ArcSwap<T>);

impl<T> InForce<T> {
    pub fn new(first: T) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(first)))
    }

    /// What is in force. Who holds on to it sees it unchanged.
    pub fn now(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Puts another in force.
    pub fn put(&self, next: T) {
        self.0.store(Arc::new(next));
    }
}
