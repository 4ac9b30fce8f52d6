//! Graceful shutdown: turns clients away, lets in-flight requests and deliveries finish, and logs the result.

use crate::config::Shutdown;
use crate::gateway::{DrainReport, DrainTimeouts, Server, Workers};
use crate::mail::InFlightMails;
use crate::store::OutboxStore;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// After a takeover, a connected client gets this time for one more request; the response tells it to use another connection.
const ONE_MORE_REQUEST: Duration = Duration::from_secs(1);
/// Timeout for counting the queued mails, a figure for the log only.
const COUNT_TIMEOUT: Duration = Duration::from_millis(500);

/// The reason for shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DrainCause {
    Stopped,
    /// Another process serves on the same sockets: clients need not be sent elsewhere.
    TakenOver,
}

/// The parts that must finish before the process exits.
pub(super) struct Drain {
    pub(super) server: Arc<Server>,
    pub(super) workers: Workers,
    pub(super) outbox: JoinHandle<()>,
    pub(super) mails_in_hand: InFlightMails,
    pub(super) store: Arc<dyn OutboxStore>,
    pub(super) shutdown: watch::Sender<bool>,
}

impl Drain {
    /// Returns once everything has finished or the grace period is over.
    pub(super) async fn run(self, cause: DrainCause, Shutdown { delay, grace }: Shutdown) {
        let Self {
            server,
            workers,
            outbox,
            mails_in_hand,
            store,
            shutdown,
        } = self;
        let (delay, linger) = match cause {
            DrainCause::Stopped => (delay, Duration::ZERO),
            DrainCause::TakenOver => (Duration::ZERO, ONE_MORE_REQUEST),
        };
        tracing::info!(target: "gateway", ?delay, ?grace, successor = cause == DrainCause::TakenOver, "shutting down");
        server.begin_drain();
        // The load balancer needs this time to notice.
        sleep(delay).await;
        shutdown.send_replace(true);
        let started_at = Instant::now();
        let report = server.drain(DrainTimeouts { grace, linger }).await;
        // A delivery that hangs is abandoned at the end of the grace period; another gateway claims the letter when its lease
        // expires. A panicked task must not keep the process from exiting.
        let left = grace.saturating_sub(started_at.elapsed());
        let _ = timeout(left, outbox).await;
        let mails_in_hand = mails_in_hand.now();
        workers.stop().await;
        let mails_waiting = timeout(COUNT_TIMEOUT, store.outbox_length())
            .await
            .ok()
            .and_then(Result::ok);
        log_report(report, mails_in_hand, mails_waiting);
    }
}

/// Logs one line for the operator, as a warning if something was cut off.
fn log_report(report: DrainReport, mails_in_hand: usize, mails_waiting: Option<u64>) {
    let DrainReport {
        requests_finished,
        requests_cut,
        websockets_told,
    } = report;
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
