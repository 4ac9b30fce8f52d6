//! The sockets to one master, for as long as it is the master.

use super::connector::Connector;
use super::replica_ack::{Missing, ReplicaAck};
use super::resolver::MasterAddress;
use super::{Error, MasterOptions, Result};
use crate::config::HostPort;
use crate::store::redis::command::RedisCommand;
use crate::store::redis::invalidation_channel::InvalidationChannel;
use domain::time::Timestamp;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult, Value};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::Instant;

/// Interval of heartbeats. Together with their timeout it stays below the second within which a
/// revocation must reach every gateway.
const HEARTBEAT_EVERY: Duration = Duration::from_millis(250);
const HEARTBEAT_WITHIN: Duration = Duration::from_millis(500);

pub(super) struct MasterConnection {
    /// Counts connections; later ones have higher numbers.
    pub(super) number: u64,
    pub(super) master: MasterAddress,
    commands: MultiplexedConnection,
    listening: MultiplexedConnection,
    replica_ack: Option<ReplicaAck>,
    connector: Connector,
    detour: Mutex<Option<(HostPort, MultiplexedConnection)>>,
    suspected: Arc<Notify>,
    over: watch::Sender<bool>,
}

impl MasterConnection {
    /// Opens all sockets and subscribes to the invalidations.
    pub(super) async fn to(
        (number, master): (u64, MasterAddress),
        connector: &Connector,
        invalidations: &InvalidationChannel,
        options: &MasterOptions,
    ) -> RedisResult<Self> {
        let server = &master.server;
        let suspected = Arc::new(Notify::new());
        let copying = async {
            if options.replicas == 0 {
                return Ok(None);
            }
            let connection = connector.commands(server).await?;
            Ok(Some(ReplicaAck::new(
                connection,
                options.replicas,
                options.probe.clone(),
            )))
        };
        let (commands, listening, replica_ack) = tokio::try_join!(
            connector.commands(server),
            connector.listening(server, invalidations, Arc::clone(&suspected)),
            copying
        )?;
        Ok(Self {
            number,
            master,
            commands,
            listening,
            replica_ack,
            connector: connector.clone(),
            detour: Mutex::default(),
            suspected,
            over: watch::Sender::new(false),
        })
    }

    /// Returns a handle of the socket for commands.
    pub(super) fn commands(&self) -> MultiplexedConnection {
        self.commands.clone()
    }

    /// Runs a command on the master. Once the connection is over, no answer is believed any more: a
    /// server that hung while another was promoted would answer as if it still were the master.
    pub(super) async fn ask(&self, request: &RedisCommand) -> RedisResult<Value> {
        let mut over = self.over.subscribe();
        let mut commands = self.commands();
        tokio::select! {
            biased;
            _ = over.wait_for(|over| *over) => Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()),
            answer = request.send(&mut commands) => answer,
        }
    }

    /// Runs a command on the node that this one's records are migrating to.
    pub(super) async fn ask_at(
        &self,
        server: &HostPort,
        request: &RedisCommand,
    ) -> RedisResult<Value> {
        let mut detour = self.detour.lock().await;
        let mut connection = match detour.take() {
            Some((at, connection)) if at == *server => connection,
            _ => self.connector.commands(server).await?,
        };
        redis::cmd("ASKING").exec_async(&mut connection).await?;
        let answer = request.send(&mut connection).await?;
        *detour = Some((server.clone(), connection));
        Ok(answer)
    }

    /// Waits until replicas have everything answered so far, if any are configured.
    pub(super) async fn confirm(&self, until: Instant) -> Result<()> {
        let Some(replica_ack) = &self.replica_ack else {
            return Ok(());
        };
        replica_ack.confirm(until).await.map_err(|missing| {
            if missing == Missing::Answer {
                self.suspect();
            }
            Error::Unconfirmed {
                wanted: replica_ack.wanted,
            }
        })
    }

    /// Reports a sign that the connection is broken.
    pub(super) fn suspect(&self) {
        self.suspected.notify_one();
    }

    /// Returns once a broken connection is reported, or the listening socket has closed.
    pub(super) async fn suspected(&self) {
        self.suspected.notified().await;
    }

    /// Returns the error once a heartbeat fails. The heartbeat reads the server's clock on the
    /// listening socket, and so arrives after every invalidation published before.
    pub(super) async fn heartbeat_failed(&self, invalidations: &InvalidationChannel) -> RedisError {
        let mut listening = self.listening.clone();
        loop {
            let time = redis::cmd("TIME");
            let asked = Instant::now();
            match tokio::time::timeout(
                HEARTBEAT_WITHIN,
                time.query_async::<(u64, u64)>(&mut listening),
            )
            .await
            {
                // This process was suspended meanwhile: the time in the answer has long passed.
                Ok(Ok(_)) if asked.elapsed() > HEARTBEAT_WITHIN => {}
                Ok(Ok((seconds, micros))) => {
                    invalidations
                        .watermark(Timestamp::from_millis(seconds * 1_000 + micros / 1_000));
                    tokio::time::sleep(HEARTBEAT_EVERY).await;
                }
                Ok(Err(error)) => return error,
                Err(_) => return io::Error::from(io::ErrorKind::TimedOut).into(),
            }
        }
    }

    /// Cancels the commands that wait for an answer.
    pub(super) fn end(&self) {
        self.over.send_replace(true);
    }
}
