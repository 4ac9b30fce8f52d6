//! Keeps values up to date with their sources: directory, users, configuration.
//!
//! A source that cannot be read, or is wrong, never replaces the last good value. [`WatchedFile`] tells sources that
//! are files when to read them again.

mod watched_file;

pub(crate) use self::watched_file::{
    ChangeDetector, Fingerprints, ReadError, WatchedFile, read_once,
};

use arc_swap::{ArcSwap, Guard};
use domain::time::Timestamp;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

/// Where a value comes from. All methods may block.
pub(crate) trait Source: Send + 'static {
    type Value: Send + Sync + 'static;
    type Report: Send + 'static;
    type Error: Send + 'static;

    /// Whether the source changed since it was read, and has come to rest.
    fn is_due(&mut self, current: &Self::Value, now: Timestamp) -> bool;

    /// Reads the source.
    fn read(&mut self, current: &Self::Value, now: Timestamp) -> Result<Update<Self>, Self::Error>
    where
        Self: Sized;

    /// Whether a poll that ends in this error goes unreported, because the next one may succeed or it was reported before.
    fn is_silent(&mut self, error: &Self::Error) -> bool;
}

/// What a source yields.
pub(crate) struct Update<S: Source> {
    /// The new value; none if the current one stays.
    pub(crate) value: Option<S::Value>,
    pub(crate) report: S::Report,
}

/// A value that is replaced as a whole when its source changes.
pub(crate) struct Reloadable<S: Source> {
    current: ArcSwap<S::Value>,
    /// Locked for the time of a reload, so that no reload overtakes another.
    source: Mutex<S>,
    poll: Duration,
    failed: AtomicBool,
}

/// The result of one reload.
pub(crate) struct Reloaded<S: Source> {
    pub(crate) outcome: Result<S::Report, S::Error>,
    /// Whether the reload before this one failed.
    pub(crate) had_failed: bool,
}

impl<S: Source> Reloadable<S> {
    /// Begins with the value that was read first; `poll` is the interval of the checks for changes.
    pub(crate) fn new(source: S, first: S::Value, poll: Duration) -> Self {
        Self {
            current: ArcSwap::from_pointee(first),
            source: Mutex::new(source),
            poll,
            failed: AtomicBool::new(false),
        }
    }

    /// The current value. A caller who keeps it sees it unchanged.
    pub(crate) fn snapshot(&self) -> Arc<S::Value> {
        self.current.load_full()
    }

    /// The current value for a short use: cheaper than [`Reloadable::snapshot`].
    pub(crate) fn load(&self) -> Guard<Arc<S::Value>> {
        self.current.load()
    }

    /// Reads the source, changed or not. Blocks.
    pub(crate) fn reload(&self, now: Timestamp) -> Reloaded<S> {
        let outcome = self.read(&mut self.source.lock(), now);
        self.reloaded(outcome)
    }

    /// Reads the source if it changed; `None` if there is nothing to report. Blocks.
    pub(crate) fn reload_if_due(&self, now: Timestamp) -> Option<Reloaded<S>> {
        let mut source = self.source.lock();
        if !source.is_due(&self.current.load(), now) {
            return None;
        }
        let outcome = self.read(&mut source, now);
        match &outcome {
            Err(error) if source.is_silent(error) => None,
            _ => Some(self.reloaded(outcome)),
        }
    }

    fn read(&self, source: &mut S, now: Timestamp) -> Result<S::Report, S::Error> {
        let Update { value, report } = source.read(&self.current.load(), now)?;
        if let Some(next) = value {
            self.current.store(Arc::new(next));
        }
        Ok(report)
    }

    fn reloaded(&self, outcome: Result<S::Report, S::Error>) -> Reloaded<S> {
        let had_failed = self.failed.swap(outcome.is_err(), Ordering::AcqRel);
        Reloaded {
            outcome,
            had_failed,
        }
    }

    /// Reloads the source whenever it changed, and at each SIGHUP; never returns. `report` gets each reload's result.
    ///
    /// # Errors
    /// The signal cannot be received.
    pub(crate) fn keep_up_to_date(
        self: Arc<Self>,
        clock: impl Fn() -> Timestamp + Send,
        report: impl Fn(Reloaded<S>) + Send,
    ) -> io::Result<impl Future<Output = ()> + Send> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut ticks = interval(self.poll);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(async move {
            loop {
                let is_forced = tokio::select! {
                    _ = hangup.recv() => true,
                    _ = ticks.tick() => false,
                };
                let this = Arc::clone(&self);
                let now = clock();
                let reload = move || {
                    if is_forced {
                        Some(this.reload(now))
                    } else {
                        this.reload_if_due(now)
                    }
                };
                // A panic is counted and logged where it happens.
                if let Ok(Some(reloaded)) = tokio::task::spawn_blocking(reload).await {
                    report(reloaded);
                }
            }
        })
    }
}
