//! The current master: the only server, or the one elected by sentinels or a cluster.
//!
//! A task ([`supervisor`]) resolves its address ([`resolver`], [`probe`]) and holds a
//! [`connection::MasterConnection`]: one socket for commands, one for invalidations, and one to
//! wait for replicas on ([`replica_ack`]). They are opened and closed together, so that no gateway
//! reads from one server and listens to another. After a connection is lost, commands wait only
//! during the first attempt to reconnect; after that they fail at once. A command is repeated only
//! if it reads, or if Redis reported that it did nothing ([`errors`]).
//!
//! ```text
//!                        at most every 250 ms
//!         +-----------------------------------------------+
//!         v                                               |
//!  resolve the master --> connect, ROLE, read --> watch --+-- silent, reported broken, or superseded
//!  highest epoch wins     "I am the master"         |
//!                                                   +-- commands     reads, commit.lua, lease.lua
//!                                                   +-- listening    `ended`, TIME every 250 ms
//!                                                   +-- replica ack  WAIT, if `store.replicas` > 0
//! ```
//!
//! Sentinel and Cluster look the same from here, since all records of one prefix lie in one slot
//! (`names.rs`): a change touches up to a dozen records, and a cluster runs no script across slots.
//! The price is that load is not spread.
//!
//! * **Loss.** A connection is lost when a heartbeat fails for half a second, when a command times
//!   out or is answered as by a replica (`READONLY`, `MOVED`, `LOADING`, `MASTERDOWN`,
//!   `CLUSTERDOWN`), or when another master was elected.
//! * **No late answers.** A master that hung while another was promoted still considers itself the
//!   master when it resumes. Its answers are dropped, and its replicas follow the new master, so
//!   that `WAIT` is not confirmed.
//! * **Migrating slots.** Reads follow `ASK`; changes, which must find all records on one node, are
//!   retried until `store.timeout`.
//! * **Clients of redis-rs** for Sentinel and Cluster are not used: the first leaves reconnecting,
//!   its pace and `READONLY` to the caller; the second repeats a command whose connection was lost,
//!   changes included.
//!
//! With [`Durability::Replicas`] an outcome is returned only once `store.replicas` replicas have
//! the change: everything that counts guesses or moves a flow, completed sign-ins, ended sessions,
//! revocations; and the reading of a completed flow. Without a confirmation in time the result is
//! [`Error::Unconfirmed`] although the change was made, which is safe to repeat. A session's last
//! use, the outbox and held forms do not wait: a failover may lose a minute of use, send a mail
//! twice, or a form twice.

mod connection;
mod connector;
mod errors;
mod probe;
mod replica_ack;
mod resolver;
mod supervisor;

use super::super::engine::Durability;
use super::super::{Error, Result};
use super::command::{RedisCommand, Retry};
use super::invalidation_channel::InvalidationChannel;
use crate::config::RedisServers;
use connection::MasterConnection;
use connector::Connector;
use errors::{ErrorClass, Unavailable, failed};
use redis::{FromRedisValue, Value};
use resolver::MasterResolver;
use std::sync::Arc;
use std::time::Duration;
use supervisor::{ConnectionState, Supervisor};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Interval between attempts while records migrate between nodes.
const MOVES_EVERY: Duration = Duration::from_millis(20);

/// The settings of the connection to a master.
pub(super) struct MasterOptions {
    /// Limits each command, waiting for replicas included.
    pub(super) timeout: Duration,
    /// The number of replicas that must confirm a durable change.
    pub(super) replicas: u32,
    /// Names a meaningless record to read and write.
    pub(super) probe: Vec<u8>,
}

/// Runs commands on the current master.
pub(super) struct Master {
    state: watch::Receiver<ConnectionState>,
    timeout: Duration,
    supervisor: JoinHandle<()>,
    fails_over: bool,
}

impl Master {
    /// Starts to resolve and supervise the master of these servers on the current runtime, until
    /// this value is dropped.
    pub(super) fn of(
        servers: &RedisServers,
        options: MasterOptions,
        invalidations: InvalidationChannel,
    ) -> Self {
        let connector = Connector::new(
            servers.transport,
            &servers.login,
            servers.database,
            "store.password_file",
        );
        let resolver = MasterResolver::to(servers, &connector, &options.probe);
        let timeout = options.timeout;
        let fails_over = resolver.fails_over();
        let (sender, state) = watch::channel(ConnectionState::Connecting);
        let supervisor = Supervisor {
            resolver,
            connector,
            invalidations,
            options,
            state: sender,
        };
        Self {
            state,
            timeout,
            supervisor: tokio::spawn(supervisor.run()),
            fails_over,
        }
    }

    /// Runs a command within the timeout. A durable answer is returned only once replicas have
    /// everything that it rests on.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        request: &RedisCommand,
        durability: Durability,
    ) -> Result<T> {
        let until = Instant::now() + self.timeout;
        let mut asked = None;
        let answered = tokio::time::timeout_at(until, self.answer(request, &mut asked)).await;
        let (answer, connection) = answered.unwrap_or_else(|_| {
            if let Some(connection) = &asked {
                connection.suspect();
            }
            Err(Unavailable::timeout(format!("no answer within {:?}", self.timeout)).into())
        })?;
        if durability == Durability::Replicas {
            connection.confirm(until).await?;
        }
        redis::from_redis_value(answer)
            .map_err(|error| Unavailable::refused(error.to_string()).into())
    }

    /// Waits for the answer, and leaves the connection that it waits on in `asked`.
    async fn answer(
        &self,
        request: &RedisCommand,
        asked: &mut Option<Arc<MasterConnection>>,
    ) -> Result<(Value, Arc<MasterConnection>)> {
        let mut after = 0;
        loop {
            let connection = self.connection(after).await?;
            *asked = Some(Arc::clone(&connection));
            let error = match connection.ask(request).await {
                Ok(answer) => return Ok((answer, connection)),
                Err(error) => error,
            };
            match (ErrorClass::of(&error), request.retry) {
                (ErrorClass::WrongServer, _) if self.fails_over => {
                    connection.suspect();
                    after = connection.number;
                }
                (ErrorClass::Lost, Retry::Safe) => {
                    connection.suspect();
                    after = connection.number;
                }
                (ErrorClass::WrongServer | ErrorClass::Lost, _) => {
                    connection.suspect();
                    return Err(failed(error));
                }
                (ErrorClass::Arrived(server), Retry::Safe) => {
                    return connection
                        .ask_at(&server, request)
                        .await
                        .map(|answer| (answer, connection))
                        .map_err(failed);
                }
                // A change must find all its records on one node.
                (ErrorClass::UnderWay | ErrorClass::Arrived(_), _) => {
                    *asked = None;
                    tokio::time::sleep(MOVES_EVERY).await;
                }
                (ErrorClass::Refused, _) => return Err(failed(error)),
            }
        }
    }

    /// Returns a connection newer than the one with this number.
    async fn connection(&self, after: u64) -> Result<Arc<MasterConnection>> {
        let is_settled = |state: &ConnectionState| match state {
            ConnectionState::Connecting => false,
            ConnectionState::Up(connection) => connection.number > after,
            ConnectionState::Down(_) => true,
        };
        let settled = self
            .state
            .clone()
            .wait_for(is_settled)
            .await
            .map(|state| state.clone());
        match settled {
            Ok(ConnectionState::Up(connection)) => Ok(connection),
            Ok(ConnectionState::Down(trouble)) => Err(trouble.into()),
            Ok(ConnectionState::Connecting) | Err(_) => {
                Err(Unavailable::unreachable("the gateway is shutting down").into())
            }
        }
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}
