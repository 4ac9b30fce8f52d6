//! The outbox's workers: take a letter, hand it over, note what became of it; try again while it is of use.
//!
//! Any gateway may send any letter. A letter under way is leased, so that it is sent by one gateway at a time; if that
//! one dies, another takes over once the lease has run out, and the stable `Message-ID` tells that the two are one.

mod pace;

use super::letter::Writer;
use super::smtp::{Cause, HandOver, Hitch, Sender, Stage};
use crate::clock::Clock;
use crate::config;
use crate::domain::challenge::Delivery;
use crate::domain::email::Email;
use crate::domain::ids::LetterId;
use crate::domain::letter::Letter;
use crate::domain::time::Timestamp;
use crate::in_force::InForce;
use crate::store::{self, Leased, Store};
use crate::telemetry::metrics::{self, Metrics};
use futures_util::FutureExt as _;
use pace::{STORE_WAITS, Stop, WAITS, jittered, nth};
use parking_lot::Mutex;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// How often a worker looks for letters that nobody rang for: those put off, and those of other gateways.
const POLL: Duration = Duration::from_secs(1);
/// How often the length of the outbox is asked for.
const CENSUS: Duration = Duration::from_secs(10);
/// The shortest lease.
const LEASE: Duration = Duration::from_secs(90);
/// Sends the letters that wait in the store.
pub struct Outbox {
    desk: Arc<Desk>,
    workers: usize,
}

/// What keeps mails from leaving, for `/readyz`.
#[derive(Clone, Default)]
pub struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    /// The last attempt's hitch, if it failed; nothing secret is in it.
    pub fn now(&self) -> Option<String> {
        self.0.lock().clone()
    }

    fn is(&self, hitch: Option<&Hitch>) {
        *self.0.lock() = hitch.map(ToString::to_string);
    }
}

/// What all workers share.
struct Desk {
    store: Arc<dyn Store>,
    sender: Box<dyn Sender>,
    writer: Arc<InForce<Writer>>,
    metrics: Arc<Metrics>,
    clock: Clock,
    bell: Arc<Notify>,
    trouble: Trouble,
    lease: Duration,
    farewell: Duration,
}

/// What to do after a step.
enum Next {
    /// There may be another letter.
    Another,
    /// No letter is due.
    Nothing,
    /// The step failed.
    Failed,
}

impl Outbox {
    /// An outbox with `mail.connections` workers, which [`Outbox::run`] sets to work.
    pub fn new(
        store: Arc<dyn Store>,
        sender: impl Sender + 'static,
        writer: Arc<InForce<Writer>>,
        metrics: Arc<Metrics>,
        clock: Clock,
        config: &config::Mail,
    ) -> Self {
        let lease = LEASE.max(sender.longest() * 2);
        let desk = Desk {
            store,
            sender: Box::new(sender),
            writer,
            metrics,
            clock,
            bell: Arc::new(Notify::new()),
            trouble: Trouble::default(),
            lease,
            farewell: config.timeout,
        };
        Self { desk: Arc::new(desk), workers: config.connections.max(1) }
    }

    /// Whoever has put a letter into the store rings it with `notify_one`, so that it leaves at once.
    pub fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.desk.bell)
    }

    /// Tells what keeps mails from leaving.
    pub fn trouble(&self) -> Trouble {
        self.desk.trouble.clone()
    }

    /// Sends letters until `shutdown` completes; then lets hand-overs under way finish, for `mail.timeout` at most.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let (stop, stopping) = watch::channel(());
        let mut tasks = JoinSet::new();
        for _ in 0..self.workers {
            tasks.spawn(Arc::clone(&self.desk).work(Stop(stopping.clone())));
        }
        tasks.spawn(Arc::clone(&self.desk).count(Stop(stopping)));
        shutdown.await;
        drop(stop);
        while tasks.join_next().await.is_some() {}
        self.desk.sender.close().await;
    }
}

impl Desk {
    async fn work(self: Arc<Self>, stop: Stop) {
        let mut failures = 0;
        while !stop.is_requested() {
            match self.try_step(&stop).await {
                Next::Another => failures = 0,
                Next::Nothing => {
                    failures = 0;
                    self.sender.tidy().await;
                    tokio::select! {
                        () = stop.sleep(jittered(POLL)) => {}
                        () = self.bell.notified() => {}
                    }
                }
                // Nobody listens to the bell: the store needs rest, and sign-ins that fail ring all the more.
                Next::Failed => {
                    stop.sleep(jittered(nth(&STORE_WAITS, failures))).await;
                    failures += 1;
                }
            }
        }
    }

    async fn try_step(&self, stop: &Stop) -> Next {
        match AssertUnwindSafe(self.step(stop)).catch_unwind().await {
            Ok(Ok(next)) => next,
            Ok(Err(error)) => {
                tracing::warn!(target: "mail", error = &error as &dyn std::error::Error, "the store keeps letters from leaving");
                Next::Failed
            }
            // The panic hook has logged it. A programming mistake over one letter must not keep all others waiting.
            Err(_) => Next::Failed,
        }
    }

    async fn step(&self, stop: &Stop) -> store::Result<Next> {
        let Some(leased) = self.store.lease_letter(self.lease).await? else { return Ok(Next::Nothing) };
        // Where one letter is, there may be another: a second worker looks, while this one waits for the mail server.
        self.bell.notify_one();
        let delivery = self.deliver(&leased, stop).await;
        self.note(leased.letter.id, delivery, stop).await?;
        Ok(Next::Another)
    }

    /// Sends the letter, if it is still of use and meant to be sent, and says what became of it.
    async fn deliver(&self, leased: &Leased, stop: &Stop) -> Delivery {
        let Leased { letter, attempt } = leased;
        let now = self.clock.now();
        let Some(to) = &letter.to else {
            self.metrics.mail(metrics::Mail::Decoy);
            return Delivery::Accepted { at: now };
        };
        if now >= letter.not_after {
            return self.dropped(letter, *attempt, now);
        }
        let handed_over = self.hand_over(letter, to, now, stop).await;
        let at = self.clock.now();
        let (id, domain) = (letter.id, to.domain());
        match handed_over {
            HandOver::Accepted => {
                tracing::info!(target: "mail", letter = %id, attempt, domain, outcome = "accepted");
                self.metrics.mail_accepted(at.since(letter.asked_at));
                self.trouble.is(None);
                Delivery::Accepted { at }
            }
            HandOver::Refused(hitch) => {
                tracing::warn!(target: "mail", letter = %id, attempt, domain, outcome = "refused", reason = %hitch);
                self.metrics.mail(metrics::Mail::Refused);
                Delivery::Refused { at }
            }
            HandOver::PutOff(hitch) => {
                tracing::warn!(target: "mail", letter = %id, attempt, domain, outcome = "delayed", reason = %hitch);
                self.trouble.is(Some(&hitch));
                self.put_off(leased, &hitch, at)
            }
        }
    }

    async fn hand_over(&self, letter: &Letter, to: &Email, now: Timestamp, stop: &Stop) -> HandOver {
        let message = match self.writer.now().write(letter, to, now) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(target: "mail", letter = %letter.id, %error, "a letter cannot be written");
                return HandOver::Refused(Hitch { stage: Stage::Writing, cause: Cause::Unwritable });
            }
        };
        let out_of_time = async {
            stop.requested().await;
            tokio::time::sleep(self.farewell).await;
        };
        tokio::select! {
            biased;
            handed_over = self.sender.hand_over(&message) => handed_over,
            () = out_of_time => HandOver::PutOff(Hitch { stage: Stage::Conversation, cause: Cause::Abandoned }),
        }
    }

    /// Another attempt, unless it would come too late.
    fn put_off(&self, leased: &Leased, hitch: &Hitch, at: Timestamp) -> Delivery {
        let Leased { letter, attempt } = leased;
        let wait = match hitch.cause {
            // Another gateway can take over at once.
            Cause::Abandoned => Duration::ZERO,
            _ => nth(&WAITS, attempt.saturating_sub(1)),
        };
        let next_try_at = at.plus(wait);
        if next_try_at >= letter.not_after {
            return self.dropped(letter, *attempt, at);
        }
        self.metrics.mail(metrics::Mail::Delayed);
        Delivery::Delayed { next_try_at }
    }

    fn dropped(&self, letter: &Letter, attempt: u32, at: Timestamp) -> Delivery {
        tracing::warn!(target: "mail", letter = %letter.id, attempt, outcome = "dropped", "its sign-in is over");
        self.metrics.mail(metrics::Mail::Dropped);
        Delivery::Refused { at }
    }

    /// Notes what became of a letter. It is worth some patience: a mail whose hand-over nobody noted is sent twice.
    async fn note(&self, letter: LetterId, delivery: Delivery, stop: &Stop) -> store::Result<()> {
        let lease_ends = self.clock.now().plus(self.lease);
        let mut failures = 0;
        loop {
            let Err(error) = self.store.note_delivery(letter, delivery).await else { return Ok(()) };
            if stop.is_requested() || self.clock.now() >= lease_ends {
                return Err(error);
            }
            tracing::warn!(
                target: "mail", letter = %letter, error = &error as &dyn std::error::Error,
                "what became of a mail cannot be noted yet"
            );
            stop.sleep(jittered(nth(&STORE_WAITS, failures))).await;
            failures += 1;
        }
    }

    /// Keeps the gauge of waiting letters.
    async fn count(self: Arc<Self>, stop: Stop) {
        while !stop.is_requested() {
            if let Ok(letters) = self.store.outbox_length().await {
                self.metrics.outbox_holds(letters);
            }
            stop.sleep(jittered(CENSUS)).await;
        }
    }
}

#[cfg(test)]
mod tests;
