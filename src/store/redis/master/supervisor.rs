//! Keeps a link to the master: finds it, watches it, and finds the next one when it is lost. It alone connects, and at a
//! steady pace, however many commands wait or fail.

use super::super::invalidation_channel::InvalidationChannel;
use super::MasterOptions;
use super::connection::MasterConnection;
use super::connector::Connector;
use super::errors::Unavailable;
use super::resolver::MasterResolver;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// From one attempt to connect to the next.
const ATTEMPTS_EVERY: Duration = Duration::from_millis(250);
/// For all connections, TLS and passwords, and for the server to say that it is the master.
const LINKED_WITHIN: Duration = Duration::from_secs(1);

/// What there is to work with.
#[derive(Clone)]
pub(super) enum ConnectionState {
    /// Nothing yet, or nothing any more; this is about to change.
    Connecting,
    /// A master.
    Up(Arc<MasterConnection>),
    /// None, for this reason, until an attempt succeeds.
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
        let silent = |_| {
            Err(Unavailable::timeout(format!(
                "{server}: it does not answer"
            )))
        };
        tokio::time::timeout(LINKED_WITHIN, linked)
            .await
            .unwrap_or_else(silent)
    }

    /// Lets the link be used until it is lost.
    async fn keep(&self, connection: Arc<MasterConnection>) {
        let server = &connection.master.server;
        tracing::info!(target: "store", %server, epoch = connection.master.epoch, "connected to redis");
        self.invalidations.begin();
        self.state
            .send_replace(ConnectionState::Up(Arc::clone(&connection)));
        let why = tokio::select! {
            () = connection.suspected() => "a connection ended, or a command was not answered, or not as by a master".to_owned(),
            error = connection.fallen_silent(&self.invalidations) => error.to_string(),
            latest = self.resolver.superseded(&connection.master) => format!("{} has taken its place", latest.server),
        };
        if self.resolver.fails_over() {
            connection.end();
        }
        self.invalidations.cease();
        self.state.send_replace(ConnectionState::Connecting);
        tracing::warn!(target: "store", %server, why, "the connection to redis was lost; the session cache is off until it is back");
    }

    fn give_up(&self, trouble: Unavailable) {
        let before = self
            .state
            .send_replace(ConnectionState::Down(trouble.clone()));
        if !matches!(before, ConnectionState::Down(before) if before == trouble) {
            tracing::warn!(target: "store", %trouble, "there is no redis to work with; it is looked for until there is one");
        }
    }
}
