//! Supervises the connection to the master: resolves, connects, watches, and starts over when it is
//! lost. No other task connects, and the interval is constant, however many commands wait or fail.

use super::MasterOptions;
use super::connection::MasterConnection;
use super::connector::Connector;
use super::errors::Unavailable;
use super::resolver::MasterResolver;
use crate::store::redis::invalidation_channel::InvalidationChannel;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Interval between attempts to connect.
const ATTEMPTS_EVERY: Duration = Duration::from_millis(250);
/// Limits the whole attempt: all sockets, TLS, authentication, and the check that the server is the
/// master.
const CONNECTED_WITHIN: Duration = Duration::from_secs(1);

/// The state of the connection, as commands see it.
#[derive(Clone)]
pub(super) enum ConnectionState {
    /// Before the first attempt, and while the first one after a loss lasts.
    Connecting,
    Up(Arc<MasterConnection>),
    /// The last attempt failed for this reason.
    Down(Unavailable),
}

pub(super) struct Supervisor {
    pub(super) resolver: MasterResolver,
    pub(super) connector: Connector,
    pub(super) invalidations: InvalidationChannel,
    pub(super) options: MasterOptions,
    pub(super) state: watch::Sender<ConnectionState>,
}

impl Supervisor {
    pub(super) async fn run(self) {
        let mut number = 0;
        loop {
            let begun = Instant::now();
            match self.connect(number + 1).await {
                Ok(connection) => {
                    number += 1;
                    self.keep(Arc::new(connection)).await;
                }
                Err(trouble) => self.give_up(trouble),
            }
            tokio::time::sleep_until(begun + ATTEMPTS_EVERY).await;
        }
    }

    async fn connect(&self, number: u64) -> Result<MasterConnection, Unavailable> {
        let master = self.resolver.master().await?;
        let server = master.server.clone();
        let linked = async {
            let connection = MasterConnection::to(
                (number, master),
                &self.connector,
                &self.invalidations,
                &self.options,
            )
            .await;
            let connection =
                connection.map_err(|error| Unavailable::with(&server, &self.connector, error))?;
            self.resolver
                .verify(
                    &connection.master,
                    &self.connector,
                    connection.commands(),
                    &self.options.probe,
                )
                .await
                .map(|()| connection)
        };
        let silent = |_| Err(Unavailable::timeout(format!("{server}: no answer")));
        tokio::time::timeout(CONNECTED_WITHIN, linked)
            .await
            .unwrap_or_else(silent)
    }

    /// Publishes the connection until it is lost.
    async fn keep(&self, connection: Arc<MasterConnection>) {
        let server = &connection.master.server;
        tracing::info!(target: "store", %server, epoch = connection.master.epoch, "connected to redis");
        self.invalidations.begin();
        self.state
            .send_replace(ConnectionState::Up(Arc::clone(&connection)));
        let why = tokio::select! {
            () = connection.suspected() => "a socket closed, or a command got no answer or that of a replica".to_owned(),
            error = connection.heartbeat_failed(&self.invalidations) => error.to_string(),
            latest = self.resolver.superseded(&connection.master) => format!("{} was promoted to master", latest.server),
        };
        if self.resolver.fails_over() {
            connection.end();
        }
        self.invalidations.cease();
        self.state.send_replace(ConnectionState::Connecting);
        tracing::warn!(target: "store", %server, why, "lost the connection to redis; the session cache is off until it is back");
    }

    fn give_up(&self, trouble: Unavailable) {
        let before = self
            .state
            .send_replace(ConnectionState::Down(trouble.clone()));
        if !matches!(before, ConnectionState::Down(before) if before == trouble) {
            tracing::warn!(target: "store", %trouble, "no redis master available, retrying");
        }
    }
}
