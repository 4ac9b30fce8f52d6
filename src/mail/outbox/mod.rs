//! The outbox's workers: take a letter, hand it over, note what became of it; try again while it is of use.
//!
//! Any gateway may send any letter. A letter under way is leased, so that it is sent by one gateway at a time: for a short time,
//! which is made longer while the conversation lasts. If the gateway dies, another takes over within seconds. Right before the mail
//! goes out the store is asked once more: a gateway that hung meanwhile, or whose broker has signed in, sends nothing.

mod backoff;

use super::letter::Writer;
use super::smtp::{DeliveryResult, MailSender, SendGuard, SmtpError, SmtpErrorKind, SmtpStage};
use crate::clock::Clock;
use crate::config;
use crate::in_force::InForce;
use crate::store::{self, Due, LeasedLetter, LetterLease, OutboxStore};
use crate::telemetry::metrics::{self, Metrics};
use async_trait::async_trait;
use backoff::{STORE_WAITS, Stop, WAITS, jittered, nth};
use domain::challenge::Delivery;
use domain::email::Email;
use domain::letter::Letter;
use domain::time::Timestamp;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How often a worker looks for letters that nobody rang for: those put off, and those of other gateways.
const POLL: Duration = Duration::from_secs(1);
/// How often the length of the outbox is asked for.
const CENSUS: Duration = Duration::from_secs(10);
/// How long a letter stays with a gateway that has died.
const LEASE: Duration = Duration::from_secs(12);
/// How often a lease is renewed; the store may fail twice in between.
const RENEWAL: Duration = Duration::from_secs(4);
/// How long whoever has handed a mail over has to note that, after an outage of the store that leases did not survive.
const NOTES_FIRST: Duration = Duration::from_secs(1);
/// How often that is tried: whoever does finds out four times within it that the store is back.
const NOTES_EVERY: Duration = Duration::from_millis(250);

/// Sends the letters that wait in the store.
pub struct Outbox {
    worker: Arc<OutboxWorker>,
    workers: usize,
}

/// What keeps mails from leaving, for `/readyz`.
#[derive(Clone)]
pub struct MailTrouble(Arc<dyn MailSender>);

impl MailTrouble {
    /// The mail servers whose last mail met with trouble there, and what that was; nothing secret is in it.
    pub fn now(&self) -> Option<String> {
        let troubles = self
            .0
            .relays()
            .into_iter()
            .filter_map(|state| Some(format!("{}: {}", state.relay, state.trouble?)));
        Some(troubles.collect::<Vec<_>>().join("; ")).filter(|troubles| !troubles.is_empty())
    }
}

/// Mails that a mail server may have, and has not said what becomes of.
#[derive(Clone, Debug, Default)]
pub struct InFlightMails(Arc<AtomicUsize>);

impl InFlightMails {
    /// How many there are now.
    pub fn now(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// What all workers share.
struct OutboxWorker {
    store: Arc<dyn OutboxStore>,
    sender: Arc<dyn MailSender>,
    writer: Arc<InForce<Writer>>,
    metrics: Arc<Metrics>,
    clock: Clock,
    wakeup: Arc<Notify>,
    drain_timeout: Duration,
    in_flight: InFlightMails,
    /// Whoever holds it asks whether a store that failed works again.
    asks: tokio::sync::Mutex<()>,
    /// Until when letters that somebody had in hand are left alone.
    others_note_until: Mutex<Instant>,
}

/// A letter in this gateway's hand.
struct LeaseGuard<'d> {
    store: &'d dyn OutboxStore,
    lease: LetterLease,
    /// Whether a mail server may have the mail.
    may_be_out: AtomicBool,
    in_flight: &'d InFlightMails,
}

/// What to do after a step.
enum StepResult {
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
        store: Arc<dyn OutboxStore>,
        sender: impl MailSender + 'static,
        writer: Arc<InForce<Writer>>,
        metrics: Arc<Metrics>,
        clock: Clock,
        config: &config::Mail,
    ) -> Self {
        let worker = OutboxWorker {
            store,
            sender: Arc::new(sender),
            writer,
            metrics,
            clock,
            wakeup: Arc::new(Notify::new()),
            drain_timeout: config.timeout,
            in_flight: InFlightMails::default(),
            asks: tokio::sync::Mutex::default(),
            others_note_until: Mutex::new(Instant::now()),
        };
        worker.tell_of_relays();
        Self {
            worker: Arc::new(worker),
            workers: config.connections.max(1),
        }
    }

    /// Whoever has put a letter into the store rings it with `notify_one`, so that it leaves at once.
    pub fn wakeup(&self) -> Arc<Notify> {
        Arc::clone(&self.worker.wakeup)
    }

    /// Tells what keeps mails from leaving.
    pub fn trouble(&self) -> MailTrouble {
        MailTrouble(Arc::clone(&self.worker.sender))
    }

    /// Tells of mails that would be cut off.
    pub fn in_flight(&self) -> InFlightMails {
        self.worker.in_flight.clone()
    }

    /// Sends letters until `shutdown` completes; then lets hand-overs under way finish, for `mail.timeout` at most, but those whose mail may
    /// be out for as long as the server may take to say so. Whoever gives up waiting for this leaves such a letter its lease.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let (stop, stopping) = watch::channel(());
        let mut tasks = JoinSet::new();
        for _ in 0..self.workers {
            tasks.spawn(Arc::clone(&self.worker).work(Stop(stopping.clone())));
        }
        tasks.spawn(Arc::clone(&self.worker).count(Stop(stopping)));
        shutdown.await;
        drop(stop);
        while tasks.join_next().await.is_some() {}
        self.worker.sender.close().await;
    }
}

impl OutboxWorker {
    async fn work(self: Arc<Self>, stop: Stop) {
        let mut failures = 0;
        while !stop.is_requested() {
            match self.try_step(&stop).await {
                StepResult::Another => failures = 0,
                StepResult::Nothing => {
                    failures = 0;
                    self.sender.tidy().await;
                    let for_others = self.others_note_for();
                    let pause = if for_others.is_zero() {
                        jittered(POLL)
                    } else {
                        for_others.min(POLL)
                    };
                    tokio::select! {
                        () = stop.sleep(pause) => {}
                        () = self.wakeup.notified() => {}
                    }
                }
                StepResult::Failed => failures = self.sit_out(failures, &stop).await,
            }
        }
    }

    /// Pauses until the store answers again; gives the failures so far. Nobody listens to the bell: the store needs rest, and
    /// sign-ins that fail ring all the more.
    async fn sit_out(&self, mut failures: u32, stop: &Stop) -> u32 {
        let begun = Instant::now();
        stop.sleep(jittered(nth(&STORE_WAITS, failures))).await;
        // One worker asks for all; the others make sure of its answer.
        let _asks = self.asks.lock().await;
        loop {
            failures = failures.saturating_add(1);
            if stop.is_requested() || self.store.ping().await.is_ok() {
                break;
            }
            stop.sleep(jittered(nth(&STORE_WAITS, failures))).await;
        }
        self.works_again(begun);
        failures
    }

    /// The store answers, which it had not done since `begun`: others may have handed letters over that they could not note, whose leases
    /// have ended. Taken over before that is noted, such a mail would go out once more.
    fn works_again(&self, begun: Instant) {
        let (now, mut until) = (Instant::now(), self.others_note_until.lock());
        // Whoever is first to notice says for how long.
        if begun.elapsed() > LEASE / 2 && *until < now {
            *until = now + NOTES_FIRST;
        }
    }

    /// Which letters may be taken now.
    fn due(&self) -> Due {
        if self.others_note_for().is_zero() {
            Due::All
        } else {
            Due::New
        }
    }

    fn others_note_for(&self) -> Duration {
        self.others_note_until
            .lock()
            .saturating_duration_since(Instant::now())
    }

    async fn try_step(&self, stop: &Stop) -> StepResult {
        match AssertUnwindSafe(self.step(stop)).catch_unwind().await {
            Ok(Ok(next)) => next,
            // The store itself has logged why.
            Ok(Err(_)) => StepResult::Failed,
            // The panic hook has logged it. A programming mistake over one letter must not keep all others waiting.
            Err(_) => StepResult::Failed,
        }
    }

    async fn step(&self, stop: &Stop) -> store::Result<StepResult> {
        let Some(leased) = self.store.lease_letter(self.due(), LEASE).await? else {
            return Ok(StepResult::Nothing);
        };
        // Where one letter is, there may be another: a second worker looks, while this one waits for the mail server.
        self.wakeup.notify_one();
        if let Some(delivery) = self.deliver(&leased, stop).await {
            self.note(&leased, delivery, stop).await?;
        }
        Ok(StepResult::Another)
    }

    /// Sends the letter, if it is still of use and meant to be sent, and says what became of it, if that is for this gateway to say.
    async fn deliver(&self, leased: &LeasedLetter, stop: &Stop) -> Option<Delivery> {
        let LeasedLetter { letter, attempt } = leased;
        let now = self.clock.now();
        let Some(to) = &letter.to else {
            self.metrics.mail(metrics::Mail::Decoy);
            return Some(Delivery::Accepted { at: now });
        };
        if now >= letter.not_after {
            return Some(self.dropped(letter, *attempt, now));
        }
        let result = self.send(leased, to, now, stop).await;
        self.tell_of_relays();
        let at = self.clock.now();
        let (id, domain) = (letter.id, to.domain());
        match result {
            DeliveryResult::Accepted => {
                tracing::info!(target: "mail", letter = %id, attempt, domain, outcome = "accepted");
                self.metrics.mail_accepted(at.since(letter.asked_at));
                Some(Delivery::Accepted { at })
            }
            DeliveryResult::Refused(error) => {
                tracing::warn!(target: "mail", letter = %id, attempt, domain, outcome = "refused", reason = %error);
                self.metrics.mail(metrics::Mail::Refused);
                Some(Delivery::Refused { at })
            }
            DeliveryResult::Deferred(error) => {
                tracing::warn!(target: "mail", letter = %id, attempt, domain, outcome = "delayed", reason = %error);
                Some(self.put_off(leased, &error, at))
            }
            DeliveryResult::Withdrawn => {
                tracing::info!(target: "mail", letter = %id, attempt, domain, outcome = "withdrawn");
                self.metrics.mail(metrics::Mail::Withdrawn);
                None
            }
        }
    }

    async fn send(
        &self,
        leased: &LeasedLetter,
        to: &Email,
        now: Timestamp,
        stop: &Stop,
    ) -> DeliveryResult {
        let letter = &leased.letter;
        let message = match self.writer.now().write(letter, to, now) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(target: "mail", letter = %letter.id, %error, "a letter cannot be written");
                return DeliveryResult::Refused(SmtpError {
                    stage: SmtpStage::Writing,
                    cause: SmtpErrorKind::Unwritable,
                });
            }
        };
        let held = LeaseGuard {
            store: &*self.store,
            lease: leased.lease(),
            may_be_out: AtomicBool::new(false),
            in_flight: &self.in_flight,
        };
        let out_of_time = async {
            stop.requested().await;
            tokio::time::sleep(self.drain_timeout).await;
            // Given to another gateway at once it might go out once more, while the server's yes is on its way.
            if held.may_be_out.load(Ordering::Acquire) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            result = self.sender.send(&message, &held) => result,
            never = held.keep() => match never {},
            () = out_of_time => DeliveryResult::Deferred(SmtpError { stage: SmtpStage::Conversation, cause: SmtpErrorKind::Abandoned }),
        }
    }

    fn tell_of_relays(&self) {
        for state in self.sender.relays() {
            match state.trouble {
                None => self.metrics.mail_relay_works(&state.relay),
                Some(_) => self.metrics.mail_relay_fails(&state.relay),
            }
        }
    }

    /// Another attempt, unless it would come too late.
    fn put_off(&self, leased: &LeasedLetter, error: &SmtpError, at: Timestamp) -> Delivery {
        let LeasedLetter { letter, attempt } = leased;
        let wait = match error.cause {
            // Not a word of the mail was said: another gateway can take over at once.
            SmtpErrorKind::Abandoned => Duration::ZERO,
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
    async fn note(
        &self,
        leased: &LeasedLetter,
        delivery: Delivery,
        stop: &Stop,
    ) -> store::Result<()> {
        let id = leased.letter.id;
        let until = match delivery {
            Delivery::Accepted { .. } => leased.letter.not_after,
            // Whoever takes the letter over will see for itself.
            Delivery::Queued | Delivery::Delayed { .. } | Delivery::Refused { .. } => {
                self.clock.now().plus(LEASE)
            }
        };
        let begun = Instant::now();
        loop {
            let Err(error) = self.store.note_delivery(leased.lease(), delivery).await else {
                self.works_again(begun);
                return Ok(());
            };
            if stop.is_requested() || self.clock.now() >= until {
                return Err(error);
            }
            tracing::warn!(
                target: "mail", letter = %id, error = &error as &dyn std::error::Error,
                "what became of a mail cannot be noted yet"
            );
            stop.sleep(jittered(NOTES_EVERY)).await;
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

impl LeaseGuard<'_> {
    /// Keeps the letter in hand for as long as this future is awaited.
    async fn keep(&self) -> Infallible {
        loop {
            tokio::time::sleep(RENEWAL).await;
            // Whether it was lost is asked again before the mail goes out; a store that fails may answer next time.
            let _ = self.store.renew_lease(self.lease, LEASE).await;
        }
    }
}

impl Drop for LeaseGuard<'_> {
    fn drop(&mut self) {
        if self.may_be_out.load(Ordering::Acquire) {
            self.in_flight.0.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[async_trait]
impl SendGuard for LeaseGuard<'_> {
    async fn confirm(&self) -> Result<(), DeliveryResult> {
        match self.store.renew_lease(self.lease, LEASE).await {
            Ok(true) => {
                if !self.may_be_out.swap(true, Ordering::AcqRel) {
                    self.in_flight.0.fetch_add(1, Ordering::AcqRel);
                }
                Ok(())
            }
            Ok(false) => Err(DeliveryResult::Withdrawn),
            // The store itself has logged why.
            Err(_) => Err(DeliveryResult::Deferred(SmtpError {
                stage: SmtpStage::Message,
                cause: SmtpErrorKind::Unconfirmed,
            })),
        }
    }
}

#[cfg(test)]
mod tests;
