//! How long the workers pause, and how they learn that they have to end.

use crate::clock::Rng;
use std::time::Duration;
use tokio::sync::watch;

/// Before the second attempt, the third, and so on; the last one repeats.
pub(super) const WAITS: [Duration; 5] = [secs(5), secs(15), secs(45), secs(60), secs(120)];
/// While the store fails; the last one repeats. Mails are to leave as soon as it is back.
pub(super) const STORE_WAITS: [Duration; 2] =
    [Duration::from_millis(250), Duration::from_millis(500)];

pub(super) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Tells a task that it has to end.
pub(super) struct Stop(pub(super) watch::Receiver<()>);

impl Stop {
    /// Completes when the task has to end.
    pub(super) async fn requested(&self) {
        let mut receiver = self.0.clone();
        while receiver.changed().await.is_ok() {}
    }

    /// Pauses; less long if the task has to end.
    pub(super) async fn sleep(&self, pause: Duration) {
        tokio::select! {
            () = self.requested() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Whether the task has to end.
    pub(super) fn is_requested(&self) -> bool {
        self.0.has_changed().is_err()
    }
}

/// The pause after this many failures.
pub(super) fn nth(waits: &[Duration], failures: u32) -> Duration {
    let nth = usize::try_from(failures)
        .ok()
        .and_then(|failures| waits.get(failures));
    nth.or(waits.last()).copied().unwrap_or_default()
}

/// Up to a quarter more, so that gateways that started together do not keep asking together.
pub(super) fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    Rng.fill(&mut byte);
    pause + pause.mul_f64(f64::from(byte[0]) / 1024.0)
}
