//! The way out: clients are sent elsewhere, what is under way comes to its end, and the log says what became of it.

use crate::config::Shutdown;
use crate::gateway::{DrainReport, DrainTimeouts, Server, Workers};
use crate::mail::InFlightMails;
use crate::store::OutboxStore;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Where another process has the sockets, who is connected here gets this time to ask once more, and to be told to use another connection.
const ONE_MORE_REQUEST: Duration = Duration::from_secs(1);
/// For the store to say how many mails wait; only the log wants to know.
const COUNTED_WITHIN: Duration = Duration::from_millis(500);

/// Why the gateway ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Asked,
    /// Another process serves in its place: nobody has to be sent elsewhere.
    TakenOver,
}

/// What has to come to its end.
pub(super) struct Leaving {
    pub(super) edge: Arc<Server>,
    pub(super) workers: Workers,
    pub(super) outbox: JoinHandle<()>,
    pub(super) mails_in_hand: InFlightMails,
    pub(super) store: Arc<dyn OutboxStore>,
    pub(super) shutdown: watch::Sender<bool>,
}

impl Leaving {
    /// Returns once all has ended or its time is over.
    pub(super) async fn end(self, why: Why, Shutdown { delay, grace }: Shutdown) {
        let Self {
            edge,
            workers,
            outbox,
            mails_in_hand,
            store,
            shutdown,
        } = self;
        let (delay, linger) = match why {
            Why::Asked => (delay, Duration::ZERO),
            Why::TakenOver => (Duration::ZERO, ONE_MORE_REQUEST),
        };
        tracing::info!(target: "gateway", ?delay, ?grace, successor = why == Why::TakenOver, "shutting down");
        edge.begin_drain();
        // Whoever sends clients here needs this time to see it.
        sleep(delay).await;
        shutdown.send_replace(true);
        let asked_at = Instant::now();
        let parting = edge.drain(DrainTimeouts { grace, linger }).await;
        // A hand-over that hangs is given up at the end of the grace; another gateway has the letter when its lease ends. That a
        // task broke off is no reason not to end.
        let left = grace.saturating_sub(asked_at.elapsed());
        let _ = timeout(left, outbox).await;
        let mails_in_hand = mails_in_hand.now();
        workers.stop().await;
        let mails_waiting = timeout(COUNTED_WITHIN, store.outbox_length())
            .await
            .ok()
            .and_then(Result::ok);
        tell(parting, mails_in_hand, mails_waiting);
    }
}

/// One line, which an operator may look for; a warning where something did not come to its end.
fn tell(parting: DrainReport, mails_in_hand: usize, mails_waiting: Option<u64>) {
    let DrainReport {
        requests_finished,
        requests_cut,
        websockets_told,
    } = parting;
    if requests_cut > 0 || mails_in_hand > 0 {
        tracing::warn!(
            target: "gateway", requests_finished, requests_cut, websockets_told, mails_waiting, mails_in_hand,
            "shut down; requests still in flight after the grace period were cut"
        );
    } else {
        tracing::info!(
            target: "gateway", requests_finished, requests_cut, websockets_told, mails_waiting, mails_in_hand, "ended"
        );
    }
}
