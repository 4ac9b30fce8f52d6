//! Whether the store works, and its housekeeping.

use super::Result;
use async_trait::async_trait;

/// Checks and tidies a store.
#[async_trait]
pub trait StoreHealth: Send + Sync {
    /// Checks that the store answers and accepts writes.
    async fn ping(&self) -> Result<()>;

    /// Deletes expired records where the store does not expire them by itself.
    async fn tidy(&self) -> Result<()> {
        Ok(())
    }
}
