//! Keeps a link to the master: finds it, watches it, and finds the next one when it is lost. It alone connects, and at a
//! steady pace, however many commands wait or fail.

use super::super::announcements::Announcements;
use super::Terms;
use super::dial::Dial;
use super::fault::Trouble;
use super::guide::Guide;
use super::link::Link;
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
pub(super) enum State {
    /// Nothing yet, or nothing any more; this is about to change.
    Connecting,
    /// A master.
    Up(Arc<Link>),
    /// None, for this reason, until an attempt succeeds.
    Down(Trouble),
}

pub(super) struct Keeper {
    pub(super) guide: Guide,
    pub(super) dial: Dial,
    pub(super) announcements: Announcements,
    pub(super) terms: Terms,
    pub(super) state: watch::Sender<State>,
}

impl Keeper {
    pub(super) async fn run(self) {
        let mut number = 0;
        loop {
            let begun = Instant::now();
            match self.connect(number + 1).await {
                Ok(link) => {
                    number += 1;
                    self.keep(Arc::new(link)).await;
                }
                Err(trouble) => self.give_up(trouble),
            }
            tokio::time::sleep_until(begun + ATTEMPTS_EVERY).await;
        }
    }

    async fn connect(&self, number: u64) -> Result<Link, Trouble> {
        let station = self.guide.master().await?;
        let server = station.server.clone();
        let linked = async {
            let link = Link::to(
                (number, station),
                &self.dial,
                &self.announcements,
                &self.terms,
            )
            .await;
            let link = link.map_err(|error| Trouble::with(&server, &self.dial, error))?;
            self.guide
                .verify(
                    &link.station,
                    &self.dial,
                    link.commands(),
                    &self.terms.probe,
                )
                .await
                .map(|()| link)
        };
        let silent = |_| Err(Trouble::timeout(format!("{server}: it does not answer")));
        tokio::time::timeout(LINKED_WITHIN, linked)
            .await
            .unwrap_or_else(silent)
    }

    /// Lets the link be used until it is lost.
    async fn keep(&self, link: Arc<Link>) {
        let server = &link.station.server;
        tracing::info!(target: "store", %server, epoch = link.station.epoch, "connected to redis");
        self.announcements.begin();
        self.state.send_replace(State::Up(Arc::clone(&link)));
        let why = tokio::select! {
            () = link.suspected() => "a connection ended, or a command was not answered, or not as by a master".to_owned(),
            error = link.fallen_silent(&self.announcements) => error.to_string(),
            latest = self.guide.superseded(&link.station) => format!("{} has taken its place", latest.server),
        };
        if self.guide.fails_over() {
            link.end();
        }
        self.announcements.cease();
        self.state.send_replace(State::Connecting);
        tracing::warn!(target: "store", %server, why, "the connection to redis was lost; the session cache is off until it is back");
    }

    fn give_up(&self, trouble: Trouble) {
        let before = self.state.send_replace(State::Down(trouble.clone()));
        if !matches!(before, State::Down(before) if before == trouble) {
            tracing::warn!(target: "store", %trouble, "there is no redis to work with; it is looked for until there is one");
        }
    }
}
