//! Waits until replicas have what was written.
//!
//! `WAIT` keeps its connection from all else, so it has one of its own, and waits for a mark that is written on it: replicas
//! take everything in the master's order, so whoever has the mark has all that was answered before. One `WAIT` at a time
//! speaks for everybody who wrote before it; so a replica that hangs costs each of them its time, but no turn in a queue.

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

/// Long enough to be written, and of no use afterwards.
const MARK_LIVES_MILLIS: u64 = 1_000;

pub(super) struct ReplicaAck {
    connection: Mutex<MultiplexedConnection>,
    pub(super) wanted: u32,
    mark: Vec<u8>,
    written: AtomicU64,
    copied: AtomicU64,
}

/// What keeps a change from being confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Not enough replicas have it.
    Replicas,
    /// Redis did not say how many have it.
    Answer,
}

impl ReplicaAck {
    /// Waits for so many, on this connection, with a mark of this name.
    pub(super) fn new(connection: MultiplexedConnection, wanted: u32, mark: Vec<u8>) -> Self {
        Self {
            connection: Mutex::new(connection),
            wanted,
            mark,
            written: AtomicU64::new(0),
            copied: AtomicU64::new(0),
        }
    }

    /// Waits until the replicas have all that this master has answered by now, until this time at most.
    pub(super) async fn confirm(&self, until: Instant) -> Result<(), Missing> {
        let mine = self.written.fetch_add(1, Ordering::AcqRel) + 1;
        let mut connection = timeout_at(until, self.connection.lock())
            .await
            .map_err(|_| Missing::Replicas)?;
        if self.copied.load(Ordering::Acquire) >= mine {
            return Ok(());
        }
        let all = self.written.load(Ordering::Acquire);
        let left = until.saturating_duration_since(Instant::now());
        // Redis is to say in time how many have it; zero would be for ever.
        let patience = u64::try_from((left * 3 / 4).as_millis())
            .unwrap_or(0)
            .max(1);
        let mut commands = redis::pipe();
        commands
            .cmd("SET")
            .arg(&self.mark)
            .arg("")
            .arg("PX")
            .arg(MARK_LIVES_MILLIS)
            .ignore();
        commands.cmd("WAIT").arg(self.wanted).arg(patience);
        let answer: RedisResult<(u32,)> = timeout_at(until, commands.query_async(&mut *connection))
            .await
            .map_err(|_| Missing::Answer)?;
        let (replica_ack,) = answer.map_err(|_| Missing::Answer)?;
        if replica_ack < self.wanted {
            return Err(Missing::Replicas);
        }
        self.copied.fetch_max(all, Ordering::AcqRel);
        Ok(())
    }
}
