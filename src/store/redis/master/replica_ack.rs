//! Waits until replicas have confirmed a change.
//!
//! `WAIT` blocks its connection, so it has one of its own, and waits for a marker written on it:
//! replicas apply everything in the master's order, so a replica that has the marker has every
//! change answered before. One `WAIT` at a time confirms all changes before it; a replica that
//! hangs costs each of them its timeout, but no turn in a queue.

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

/// The marker is needed only until it is written.
const MARKER_LIVES_MILLIS: u64 = 1_000;

pub(super) struct ReplicaAck {
    connection: Mutex<MultiplexedConnection>,
    pub(super) wanted: u32,
    marker: Vec<u8>,
    written: AtomicU64,
    confirmed: AtomicU64,
}

/// The reason why a change is not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Too few replicas have confirmed it.
    Replicas,
    /// Redis did not answer the `WAIT`.
    Answer,
}

impl ReplicaAck {
    /// Creates a waiter for so many replicas, with its own connection and the name of the marker.
    pub(super) fn new(connection: MultiplexedConnection, wanted: u32, marker: Vec<u8>) -> Self {
        Self {
            connection: Mutex::new(connection),
            wanted,
            marker,
            written: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
        }
    }

    /// Waits, `until` this time at most, for the replicas to have everything that this master has
    /// answered so far.
    pub(super) async fn confirm(&self, until: Instant) -> Result<(), Missing> {
        let mine = self.written.fetch_add(1, Ordering::AcqRel) + 1;
        let mut connection = timeout_at(until, self.connection.lock())
            .await
            .map_err(|_| Missing::Replicas)?;
        if self.confirmed.load(Ordering::Acquire) >= mine {
            return Ok(());
        }
        let all = self.written.load(Ordering::Acquire);
        let left = until.saturating_duration_since(Instant::now());
        // Redis must answer in time; a timeout of zero would mean forever.
        let timeout = u64::try_from((left * 3 / 4).as_millis())
            .unwrap_or(0)
            .max(1);
        let mut commands = redis::pipe();
        commands
            .cmd("SET")
            .arg(&self.marker)
            .arg("")
            .arg("PX")
            .arg(MARKER_LIVES_MILLIS)
            .ignore();
        commands.cmd("WAIT").arg(self.wanted).arg(timeout);
        let answer: RedisResult<(u32,)> = timeout_at(until, commands.query_async(&mut *connection))
            .await
            .map_err(|_| Missing::Answer)?;
        let (replica_ack,) = answer.map_err(|_| Missing::Answer)?;
        if replica_ack < self.wanted {
            return Err(Missing::Replicas);
        }
        self.confirmed.fetch_max(all, Ordering::AcqRel);
        Ok(())
    }
}
