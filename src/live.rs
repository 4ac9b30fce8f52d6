//! A value that is replaced as a whole while the gateway runs.

use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;

/// A part of the configuration, or of a file that it names, in its current version.
#[derive(Debug)]
pub struct Live<T>(ArcSwap<T>);

impl<T> Live<T> {
    pub fn new(first: T) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(first)))
    }

    /// The current version. A caller who keeps it sees it unchanged.
    pub fn now(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// The current version for a short use: cheaper than [`Live::now`].
    pub fn load(&self) -> Guard<Arc<T>> {
        self.0.load()
    }

    /// Replaces the current version in one step.
    pub fn put(&self, next: T) {
        self.0.store(Arc::new(next));
    }
}
