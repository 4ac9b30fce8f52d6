//! The connections to one master, for as long as it is the one.

use super::super::command::RedisCommand;
use super::super::invalidation_channel::InvalidationChannel;
use super::connector::Connector;
use super::replica_ack::{Missing, ReplicaAck};
use super::resolver::MasterAddress;
use super::{Error, MasterOptions, Result};
use crate::config::Server;
use domain::time::Timestamp;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult, Value};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::Instant;

/// With the time that it may take, less than the second within which a revocation must have reached every gateway.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_millis(250);
const SIGN_OF_LIFE_WITHIN: Duration = Duration::from_millis(500);

pub(super) struct MasterConnection {
    /// Later ones have higher numbers.
    pub(super) number: u64,
    pub(super) master: MasterAddress,
    commands: MultiplexedConnection,
    listening: MultiplexedConnection,
    replica_ack: Option<ReplicaAck>,
    connector: Connector,
    detour: Mutex<Option<(Server, MultiplexedConnection)>>,
    suspected: Arc<Notify>,
    over: watch::Sender<bool>,
}

impl MasterConnection {
    /// Connects, and listens.
    pub(super) async fn to(
        (number, master): (u64, MasterAddress),
        connector: &Connector,
        invalidations: &InvalidationChannel,
        options: &MasterOptions,
    ) -> RedisResult<Self> {
        let (server, suspected) = (&master.server, Arc::new(Notify::new()));
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

    /// The connection for commands.
    pub(super) fn commands(&self) -> MultiplexedConnection {
        self.commands.clone()
    }

    /// Runs a command on the master. Once the link is over, no answer is believed any more: a server that hung while another
    /// one took its place would give one as if it still were the master.
    pub(super) async fn ask(&self, request: &RedisCommand) -> RedisResult<Value> {
        let (mut over, mut commands) = (self.over.subscribe(), self.commands());
        tokio::select! {
            biased;
            _ = over.wait_for(|over| *over) => Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()),
            answer = request.send(&mut commands) => answer,
        }
    }

    /// Runs a command on another node, to which this one's records are moving.
    pub(super) async fn ask_at(
        &self,
        server: &Server,
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

    /// Waits until the replicas have all that was answered by now, where any are to.
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

    /// Says that something is wrong with it.
    pub(super) fn suspect(&self) {
        self.suspected.notify_one();
    }

    /// Returns once somebody suspects it, or the listening connection has ended.
    pub(super) async fn suspected(&self) {
        self.suspected.notified().await;
    }

    /// Returns once it gives no sign of life, with what was wrong. Its clock is the sign: it is read where announcements arrive, and
    /// after all that were made before.
    pub(super) async fn fallen_silent(&self, invalidations: &InvalidationChannel) -> RedisError {
        let mut listening = self.listening.clone();
        loop {
            let (time, asked) = (redis::cmd("TIME"), Instant::now());
            match tokio::time::timeout(
                SIGN_OF_LIFE_WITHIN,
                time.query_async::<(u64, u64)>(&mut listening),
            )
            .await
            {
                // This process was stopped meanwhile: the time that was told is long over.
                Ok(Ok(_)) if asked.elapsed() > SIGN_OF_LIFE_WITHIN => {}
                Ok(Ok((seconds, micros))) => {
                    invalidations
                        .heard_until(Timestamp::from_millis(seconds * 1_000 + micros / 1_000));
                    tokio::time::sleep(SIGN_OF_LIFE_EVERY).await;
                }
                Ok(Err(error)) => return error,
                Err(_) => return io::Error::from(io::ErrorKind::TimedOut).into(),
            }
        }
    }

    /// Ends what is under way on it.
    pub(super) fn end(&self) {
        self.over.send_replace(true);
    }
}
