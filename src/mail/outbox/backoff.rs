//! Backoff of the workers, and their stop signal.

use crate::clock::Rng;
use std::time::Duration;
use tokio::sync::watch;

/// Delays before the second delivery attempt, the third, and so on; the last one repeats.
pub(super) const WAITS: [Duration; 5] = [secs(5), secs(15), secs(45), secs(60), secs(120)];
/// Delays while the store fails; the last one repeats. They are short, so that mails leave as soon
/// as it recovers.
pub(super) const STORE_WAITS: [Duration; 2] =
    [Duration::from_millis(250), Duration::from_millis(500)];

pub(super) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Signals a task to stop.
pub(super) struct Stop(pub(super) watch::Receiver<()>);

impl Stop {
    /// Completes when the task must stop.
    pub(super) async fn requested(&self) {
        let mut receiver = self.0.clone();
        while receiver.changed().await.is_ok() {}
    }

    /// Sleeps, but not past the stop signal.
    pub(super) async fn sleep(&self, pause: Duration) {
        tokio::select! {
            () = self.requested() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Returns whether the task must stop.
    pub(super) fn is_requested(&self) -> bool {
        self.0.has_changed().is_err()
    }
}

/// Returns the delay after this many failures.
pub(super) fn nth(waits: &[Duration], failures: u32) -> Duration {
    let nth = usize::try_from(failures)
        .ok()
        .and_then(|failures| waits.get(failures));
    nth.or(waits.last()).copied().unwrap_or_default()
}

/// Adds up to a quarter of jitter, so that gateways started together do not poll in step.
pub(super) fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    Rng.fill(&mut byte);
    pause + pause.mul_f64(f64::from(byte[0]) / 1024.0)
}
