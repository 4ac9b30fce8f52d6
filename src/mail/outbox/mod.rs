//! The outbox workers: lease a letter, deliver it, record the result; retry with backoff until its
//! sign-in expires.
//!
//! Any gateway may send any letter. A short lease, renewed during the SMTP conversation, ensures
//! that one gateway at a time sends a letter; if that gateway dies, another takes over within
//! seconds. The lease is confirmed once more right before the mail goes out, so that a gateway that
//! hung meanwhile, or whose broker has signed in, sends nothing.

mod backoff;

use super::letter::Writer;
use super::smtp::{DeliveryResult, MailSender, SendGuard, SmtpError, SmtpErrorKind, SmtpStage};
use crate::clock::Clock;
use crate::config;
use crate::live::Live;
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

/// Interval of polls for letters without a wakeup: deferred ones, and those of other gateways.
const POLL: Duration = Duration::from_secs(1);
/// Interval of updates of the gauge of queued letters.
const GAUGE_EVERY: Duration = Duration::from_secs(10);
/// The lease, after which the letter of a dead gateway is free.
const LEASE: Duration = Duration::from_secs(12);
/// Interval of lease renewals; the store may fail twice within a lease.
const RENEWAL: Duration = Duration::from_secs(4);
/// After an outage longer than a lease, gateways get this time to record mails that they have
/// delivered before others lease them.
const RECORD_FIRST: Duration = Duration::from_secs(1);
/// Interval of attempts to record a delivery: four within [`RECORD_FIRST`].
const RECORD_EVERY: Duration = Duration::from_millis(250);

/// Sends the letters queued in the store.
pub struct Outbox {
    worker: Arc<OutboxWorker>,
    workers: usize,
}

/// Reports delivery problems for `/readyz`.
#[derive(Clone)]
pub struct MailTrouble(Arc<dyn MailSender>);

impl MailTrouble {
    /// Lists the mail servers that failed on their last mail, with the errors; contains nothing
    /// secret.
    pub fn now(&self) -> Option<String> {
        let troubles = self
            .0
            .relays()
            .into_iter()
            .filter_map(|state| Some(format!("{}: {}", state.relay, state.trouble?)));
        Some(troubles.collect::<Vec<_>>().join("; ")).filter(|troubles| !troubles.is_empty())
    }
}

/// Counts mails whose end was sent and not yet answered: the mail server may have them.
#[derive(Clone, Debug, Default)]
pub struct InFlightMails(Arc<AtomicUsize>);

impl InFlightMails {
    /// Returns the current number.
    pub fn now(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// The state shared by all workers.
struct OutboxWorker {
    store: Arc<dyn OutboxStore>,
    sender: Arc<dyn MailSender>,
    writer: Arc<Live<Writer>>,
    metrics: Arc<Metrics>,
    clock: Clock,
    wakeup: Arc<Notify>,
    drain_timeout: Duration,
    in_flight: InFlightMails,
    /// Held by the one worker that probes a failed store.
    probing: tokio::sync::Mutex<()>,
    /// Until then letters that were leased before are left to their gateways.
    others_record_until: Mutex<Instant>,
}

/// Holds a letter's lease while the letter is delivered.
struct LeaseGuard<'d> {
    store: &'d dyn OutboxStore,
    lease: LetterLease,
    /// Set once the mail server may have the mail.
    may_be_out: AtomicBool,
    in_flight: &'d InFlightMails,
}

/// The result of one step of a worker.
enum StepResult {
    /// Another letter may be due.
    Another,
    Nothing,
    Failed,
}

impl Outbox {
    /// Creates an outbox with `mail.connections` workers, started by [`Outbox::run`].
    pub fn new(
        store: Arc<dyn OutboxStore>,
        sender: impl MailSender + 'static,
        writer: Arc<Live<Writer>>,
        metrics: Arc<Metrics>,
        clock: Clock,
        config: &config::MailConfig,
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
            probing: tokio::sync::Mutex::default(),
            others_record_until: Mutex::new(Instant::now()),
        };
        worker.report_relays();
        Self {
            worker: Arc::new(worker),
            workers: config.connections.max(1),
        }
    }

    /// Returns the handle to notify (`notify_one`) after a letter was queued, so that it is sent at
    /// once.
    pub fn wakeup(&self) -> Arc<Notify> {
        Arc::clone(&self.worker.wakeup)
    }

    /// Returns a handle that reports delivery problems.
    pub fn trouble(&self) -> MailTrouble {
        MailTrouble(Arc::clone(&self.worker.sender))
    }

    /// Returns a handle that counts mails in flight.
    pub fn in_flight(&self) -> InFlightMails {
        self.worker.in_flight.clone()
    }

    /// Sends letters until `shutdown` completes; then drains: deliveries in progress get
    /// `mail.timeout`, but those whose mail may be out get as long as the server may take to
    /// answer. If this future is dropped instead, such a letter keeps its lease.
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
                    let for_others = self.others_record_for();
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
                StepResult::Failed => failures = self.back_off(failures, &stop).await,
            }
        }
    }

    /// Backs off until the store answers again, and returns the number of failures. Wakeups are
    /// ignored meanwhile: failing sign-ins cause ever more of them, and the store needs rest.
    async fn back_off(&self, mut failures: u32, stop: &Stop) -> u32 {
        let begun = Instant::now();
        stop.sleep(jittered(nth(&STORE_WAITS, failures))).await;
        // One worker probes for all; the others then verify.
        let _probing = self.probing.lock().await;
        loop {
            failures = failures.saturating_add(1);
            if stop.is_requested() || self.store.ping().await.is_ok() {
                break;
            }
            stop.sleep(jittered(nth(&STORE_WAITS, failures))).await;
        }
        self.store_recovered(begun);
        failures
    }

    /// Notes that the store recovered from an outage that began at `begun`. Other gateways may have
    /// delivered mails that they could not record, whose leases have expired: leased again before
    /// that is recorded, such a mail would be sent twice.
    fn store_recovered(&self, begun: Instant) {
        let now = Instant::now();
        let mut until = self.others_record_until.lock();
        // The first worker to notice sets the time.
        if begun.elapsed() > LEASE / 2 && *until < now {
            *until = now + RECORD_FIRST;
        }
    }

    /// Selects the letters that may be leased now.
    fn due(&self) -> Due {
        if self.others_record_for().is_zero() {
            Due::All
        } else {
            Due::New
        }
    }

    fn others_record_for(&self) -> Duration {
        self.others_record_until
            .lock()
            .saturating_duration_since(Instant::now())
    }

    async fn try_step(&self, stop: &Stop) -> StepResult {
        match AssertUnwindSafe(self.step(stop)).catch_unwind().await {
            Ok(Ok(next)) => next,
            // The error was logged by the store.
            Ok(Err(_)) => StepResult::Failed,
            // Logged by the panic hook. A bug triggered by one letter must not block all others.
            Err(_) => StepResult::Failed,
        }
    }

    async fn step(&self, stop: &Stop) -> store::Result<StepResult> {
        let Some(leased) = self.store.lease_letter(self.due(), LEASE).await? else {
            return Ok(StepResult::Nothing);
        };
        // Another letter may be due: a second worker checks while this one waits for the mail
        // server.
        self.wakeup.notify_one();
        if let Some(delivery) = self.deliver(&leased, stop).await {
            self.note(&leased, delivery, stop).await?;
        }
        Ok(StepResult::Another)
    }

    /// Sends the letter unless it expired or is a decoy, and returns the result to record; `None`
    /// after a lost lease.
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
        self.report_relays();
        let at = self.clock.now();
        let id = letter.id;
        let domain = to.domain();
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
                tracing::error!(target: "mail", letter = %letter.id, %error, "cannot compose a mail");
                return DeliveryResult::Refused(SmtpError {
                    stage: SmtpStage::Writing,
                    cause: SmtpErrorKind::Unwritable,
                });
            }
        };
        let guard = LeaseGuard {
            store: &*self.store,
            lease: leased.lease(),
            may_be_out: AtomicBool::new(false),
            in_flight: &self.in_flight,
        };
        let out_of_time = async {
            stop.requested().await;
            tokio::time::sleep(self.drain_timeout).await;
            // Released now, the letter might be sent again by another gateway while the server's
            // acceptance is on its way.
            if guard.may_be_out.load(Ordering::Acquire) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            result = self.sender.send(&message, &guard) => result,
            never = guard.keep() => match never {},
            () = out_of_time => DeliveryResult::Deferred(SmtpError { stage: SmtpStage::Conversation, cause: SmtpErrorKind::Abandoned }),
        }
    }

    fn report_relays(&self) {
        for state in self.sender.relays() {
            match state.trouble {
                None => self.metrics.mail_relay_works(&state.relay),
                Some(_) => self.metrics.mail_relay_fails(&state.relay),
            }
        }
    }

    /// Schedules another attempt, unless it would come too late.
    fn put_off(&self, leased: &LeasedLetter, error: &SmtpError, at: Timestamp) -> Delivery {
        let LeasedLetter { letter, attempt } = leased;
        let wait = match error.cause {
            // Nothing of the mail was sent: another gateway can take over at once.
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
        tracing::warn!(target: "mail", letter = %letter.id, attempt, outcome = "dropped", "the sign-in has expired");
        self.metrics.mail(metrics::Mail::Dropped);
        Delivery::Refused { at }
    }

    /// Records a delivery, with retries: a delivered mail that nobody recorded is sent twice.
    async fn note(
        &self,
        leased: &LeasedLetter,
        delivery: Delivery,
        stop: &Stop,
    ) -> store::Result<()> {
        let id = leased.letter.id;
        let until = match delivery {
            Delivery::Accepted { .. } => leased.letter.not_after,
            // The next gateway to lease the letter will find out.
            Delivery::Queued | Delivery::Delayed { .. } | Delivery::Refused { .. } => {
                self.clock.now().plus(LEASE)
            }
        };
        let begun = Instant::now();
        loop {
            let Err(error) = self.store.note_delivery(leased.lease(), delivery).await else {
                self.store_recovered(begun);
                return Ok(());
            };
            if stop.is_requested() || self.clock.now() >= until {
                return Err(error);
            }
            tracing::warn!(
                target: "mail", letter = %id, error = &error as &dyn std::error::Error,
                "cannot record the delivery of a mail yet"
            );
            stop.sleep(jittered(RECORD_EVERY)).await;
        }
    }

    /// Updates the gauge of queued letters.
    async fn count(self: Arc<Self>, stop: Stop) {
        while !stop.is_requested() {
            if let Ok(letters) = self.store.outbox_length().await {
                self.metrics.outbox_holds(letters);
            }
            stop.sleep(jittered(GAUGE_EVERY)).await;
        }
    }
}

impl LeaseGuard<'_> {
    /// Renews the lease for as long as this future is polled.
    async fn keep(&self) -> Infallible {
        loop {
            tokio::time::sleep(RENEWAL).await;
            // A lost lease is noticed before the mail goes out; a failing store may answer next
            // time.
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
            // The error was logged by the store.
            Err(_) => Err(DeliveryResult::Deferred(SmtpError {
                stage: SmtpStage::Message,
                cause: SmtpErrorKind::Unconfirmed,
            })),
        }
    }
}

#[cfg(test)]
mod tests;
