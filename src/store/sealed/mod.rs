//! The store's operations on an engine: each record named by a digest and sealed, each operation
//! one change.

mod application_sessions;
mod counters;
mod forms;
mod outbox;
mod sessions;
mod sign_ins;
#[cfg(test)]
mod tests;

use super::engine::{Change, Durability, Engine, TxOutcome};
use super::records::{MalformedRecord, Record};
use super::vault::{RecordKey, Unsealable, Vault};
use super::{Error, RateLimits, Result, Seen, WriteOutcome};
use crate::clock::Clock;

/// A store on an engine, sealed by a vault.
pub struct Sealed<E> {
    engine: E,
    vault: Vault,
    clock: Clock,
}

/// Records that no browser's token protects are sealed with the operator's secret alone.
const NO_TOKEN: &[u8] = b"";

impl<E: Engine> Sealed<E> {
    /// Creates a store on this engine, sealed by this vault.
    pub fn new(engine: E, vault: Vault, clock: Clock) -> Self {
        Self {
            engine,
            vault,
            clock,
        }
    }

    fn seal<R: Record>(&self, name: RecordKey, token: &[u8], record: &R) -> Result<Vec<u8>> {
        let plain = record
            .to_bytes()
            .map_err(|MalformedRecord| Error::Unsealable(name.kind().name()))?;
        self.seal_bytes(name, token, &plain)
    }

    fn seal_bytes(&self, name: RecordKey, token: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
        self.vault
            .seal(name, token, plain)
            .map_err(|Unsealable| Error::Unsealable(name.kind().name()))
    }

    fn open<R: Record>(&self, name: RecordKey, token: &[u8], sealed: &[u8]) -> Result<R> {
        let plain = self.open_bytes(name, token, sealed)?;
        R::from_bytes(&plain).map_err(|MalformedRecord| Error::Unsealable(name.kind().name()))
    }

    fn open_bytes(&self, name: RecordKey, token: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        self.vault
            .open(name, token, sealed)
            .map_err(|Unsealable| Error::Unsealable(name.kind().name()))
    }

    /// Reads one record as it lies in the engine, sealed.
    async fn read(&self, name: RecordKey) -> Result<Option<Vec<u8>>> {
        Ok(self.engine.read(&[name]).await?.pop().flatten())
    }

    async fn find<R: Record>(&self, name: RecordKey, token: &[u8]) -> Result<Option<Seen<R>>> {
        let sealed = self.read(name).await?;
        sealed
            .map(|sealed| self.seen(name, token, sealed))
            .transpose()
    }

    fn seen<R: Record>(&self, name: RecordKey, token: &[u8], sealed: Vec<u8>) -> Result<Seen<R>> {
        Ok(Seen {
            value: self.open(name, token, &sealed)?,
            version: sealed,
        })
    }

    /// Commits a change without conditions.
    async fn apply(&self, change: Change) -> Result<()> {
        self.engine.commit(&change).await.map(|_| ())
    }

    /// Commits a change whose counters were added by [`Sealed::add_limits`] from `rate_limits`.
    async fn settle(&self, change: Change, rate_limits: &RateLimits) -> Result<WriteOutcome> {
        Ok(match self.engine.commit(&change).await? {
            TxOutcome::Done => WriteOutcome::Done,
            TxOutcome::Conflict => WriteOutcome::Conflict,
            TxOutcome::Full { index, retry_after } => {
                let mut all = rate_limits
                    .take
                    .iter()
                    .chain(&rate_limits.check)
                    .chain(&rate_limits.count);
                let hit = all.nth(index).copied().ok_or_else(|| {
                    Error::Setup("the engine named a counter that the change does not have".into())
                })?;
                WriteOutcome::OverLimit { hit, retry_after }
            }
        })
    }
}

/// A change that a failover must not undo once its outcome is known: a redeemed TAN, a counted
/// guess, an ended session.
fn durable() -> Change {
    Change {
        durability: Durability::Replicas,
        ..Change::default()
    }
}
