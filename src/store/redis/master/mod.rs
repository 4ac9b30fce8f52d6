//! The one server that the gateway works with at any time: the only one there is, or the one that sentinels or a cluster have
//! made the master.
//!
//! A task ([`supervisor`]) finds it and holds a [`connection::MasterConnection`] to it: a connection for commands, one that listens for invalidations,
//! one to wait for replicas on. They are made together and given up together, so that nobody reads from one server and listens
//! to another. Commands wait for a link only while one is being made for the first time after the former was lost; while there
//! is none they fail at once. Nothing is run twice but what only reads or what Redis said it had not done.

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

/// Between two attempts while records move from node to node.
const MOVES_EVERY: Duration = Duration::from_millis(20);

/// What the gateway expects of a master.
pub(super) struct MasterOptions {
    /// How long a command may take, its copies included.
    pub(super) timeout: Duration,
    /// How many replicas must have what is not to be lost.
    pub(super) replicas: u32,
    /// The name of a record without meaning.
    pub(super) probe: Vec<u8>,
}

/// The master.
pub(super) struct Master {
    state: watch::Receiver<ConnectionState>,
    timeout: Duration,
    supervisor: JoinHandle<()>,
    fails_over: bool,
}

impl Master {
    /// Finds and keeps the master of these servers, on the current runtime, until this value is dropped.
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
        let (timeout, fails_over) = (options.timeout, resolver.fails_over());
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

    /// Runs a command, within the timeout altogether. Where it is to be durable, the answer is given only once the replicas
    /// have whatever it rests on.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        request: &RedisCommand,
        durability: Durability,
    ) -> Result<T> {
        let (until, mut asked) = (Instant::now() + self.timeout, None);
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

    /// Notes in `asked` which link it waits for an answer on.
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
                // What changes records must find all of them in one place.
                (ErrorClass::UnderWay | ErrorClass::Arrived(_), _) => {
                    *asked = None;
                    tokio::time::sleep(MOVES_EVERY).await;
                }
                (ErrorClass::Refused, _) => return Err(failed(error)),
            }
        }
    }

    /// A link that came after the one with this number.
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
                Err(Unavailable::unreachable("the gateway is ending").into())
            }
        }
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}
