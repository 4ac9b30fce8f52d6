//! The connection that commands run on.
//!
//! redis-rs replaces a connection that broke. It keeps one that merely fell silent, as after a failover that moved an
//! address, until the kernel gives it up a quarter of an hour later; and where Redis refused it while it was being made,
//! over a password for instance, it never tries again. So once a command got no answer in time or was refused, the
//! following ones run on a new connection.

use super::super::{Error, Result};
use parking_lot::Mutex;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ConnectionInfo, ErrorKind, RedisError, RedisResult};
use std::time::{Duration, Instant};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const RECONNECT_AT_LEAST: Duration = Duration::from_millis(100);
const RECONNECT_AT_MOST: Duration = Duration::from_secs(1);
/// A Redis that refuses every command, being full for instance, is not to be stormed with new connections as well.
const RENEW_EVERY: Duration = Duration::from_millis(500);

pub(super) struct Connection {
    client: Client,
    timeout: Duration,
    current: Mutex<Current>,
}

struct Current {
    manager: ConnectionManager,
    since: Instant,
}

impl Connection {
    /// A connection that is made when it is first used.
    pub(super) fn new(info: ConnectionInfo, timeout: Duration) -> RedisResult<Self> {
        let client = Client::open(info)?;
        let current = Mutex::new(Current { manager: lazy(&client, timeout)?, since: Instant::now() });
        Ok(Self { client, timeout, current })
    }

    /// Runs a command, within the timeout altogether.
    pub(super) async fn run<T, F>(&self, command: impl FnOnce(ConnectionManager) -> F + Send) -> Result<T>
    where
        F: Future<Output = RedisResult<T>> + Send,
    {
        let manager = self.current.lock().manager.clone();
        match tokio::time::timeout(self.timeout, command(manager)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if !is_replaced_by_redis_rs(&error) {
                    self.renew();
                }
                Err(failed(error))
            }
            Err(elapsed) => {
                self.renew();
                Err(Error::Unreachable(Box::new(elapsed)))
            }
        }
    }

    fn renew(&self) {
        let mut current = self.current.lock();
        if current.since.elapsed() < RENEW_EVERY {
            return;
        }
        // Commands under way keep the old connection until they have their answers.
        if let Ok(manager) = lazy(&self.client, self.timeout) {
            *current = Current { manager, since: Instant::now() };
        }
    }
}

fn lazy(client: &Client, timeout: Duration) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(timeout))
        .set_min_delay(RECONNECT_AT_LEAST)
        .set_max_delay(RECONNECT_AT_MOST)
        .set_number_of_retries(1);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

fn is_replaced_by_redis_rs(error: &RedisError) -> bool {
    error.is_io_error() && !error.is_timeout()
}

/// Tells "cannot be asked" from "refuses".
fn failed(error: RedisError) -> Error {
    let unreachable = error.is_io_error() || error.is_timeout() || error.is_connection_dropped() || error.kind() == ErrorKind::Io;
    if unreachable { Error::Unreachable(Box::new(error)) } else { Error::Refused(Box::new(error)) }
}
