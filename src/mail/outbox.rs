//! The outbox's workers: take a letter, hand it over, note what became of it; try again while it is of use.
//!
//! Any gateway may send any letter. A letter under way is leased, so that it is sent by one gateway at a time: for a short time,
//! which is made longer while the conversation lasts. If the gateway dies, another takes over within seconds. Right before the mail
//! goes out the store is asked once more: a gateway that hung meanwhile, or whose broker has signed in, sends nothing.

mod pace;

use super::letter::Writer;
use super::smtp::{Cause, HandOver, Hitch, Hold, Sender, Stage};
use crate::clock::Clock;
use crate::config;
use crate::in_force::InForce;
use crate::store::{self, Due, Lease, Leased, Store};
use crate::telemetry::metrics::{self, Metrics};
use async_trait::async_trait;
use domain::challenge::Delivery;
use domain::email::Email;
use domain::letter::Letter;
use domain::time::Timestamp;
use futures_util::FutureExt as _;
use pace::{STORE_WAITS, Stop, WAITS, jittered, nth};
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
    desk: Arc<Desk>,
    workers: usize,
}

/// What keeps mails from leaving, for `/readyz`.
#[derive(Clone)]
pub struct Trouble(Arc<dyn Sender>);

impl Trouble {
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
pub struct InHand(Arc<AtomicUsize>);

impl InHand {
    /// How many there are now.
    pub fn now(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// What all workers share.
struct Desk {
    store: Arc<dyn Store>,
    sender: Arc<dyn Sender>,
    writer: Arc<InForce<Writer>>,
    metrics: Arc<Metrics>,
    clock: Clock,
    bell: Arc<Notify>,
    farewell: Duration,
    in_hand: InHand,
    /// Whoever holds it asks whether a store that failed works again.
    asks: tokio::sync::Mutex<()>,
    /// Until when letters that somebody had in hand are left alone.
    others_note_until: Mutex<Instant>,
}

/// A letter in this gateway's hand.
struct Held<'d> {
    store: &'d dyn Store,
    lease: Lease,
    /// Whether a mail server may have the mail.
    may_be_out: AtomicBool,
    in_hand: &'d InHand,
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
        config: &config::MailConfig,
    ) -> Self {
        let desk = Desk {
            store,
            sender: Arc::new(sender),
            writer,
            metrics,
            clock,
            bell: Arc::new(Notify::new()),
            farewell: config.timeout,
            in_hand: InHand::default(),
            asks: tokio::sync::Mutex::default(),
            others_note_until: Mutex::new(Instant::now()),
        };
        desk.tell_of_relays();
        Self {
            desk: Arc::new(desk),
            workers: config.connections.max(1),
        }
    }

    /// Whoever has put a letter into the store rings it with `notify_one`, so that it leaves at once.
    pub fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.desk.bell)
    }

    /// Tells what keeps mails from leaving.
    pub fn trouble(&self) -> Trouble {
        Trouble(Arc::clone(&self.desk.sender))
    }

    /// Tells of mails that would be cut off.
    pub fn in_hand(&self) -> InHand {
        self.desk.in_hand.clone()
    }

    /// Sends letters until `shutdown` completes; then lets hand-overs under way finish, for `mail.timeout` at most, but those whose mail may
    /// be out for as long as the server may take to say so. Whoever gives up waiting for this leaves such a letter its lease.
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
                    let for_others = self.others_note_for();
                    let pause = if for_others.is_zero() {
                        jittered(POLL)
                    } else {
                        for_others.min(POLL)
                    };
                    tokio::select! {
                        () = stop.sleep(pause) => {}
                        () = self.bell.notified() => {}
                    }
                }
                Next::Failed => failures = self.sit_out(failures, &stop).await,
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

    async fn try_step(&self, stop: &Stop) -> Next {
        match AssertUnwindSafe(self.step(stop)).catch_unwind().await {
            Ok(Ok(next)) => next,
            // The store itself has logged why.
            Ok(Err(_)) => Next::Failed,
            // The panic hook has logged it. A programming mistake over one letter must not keep all others waiting.
            Err(_) => Next::Failed,
        }
    }

    async fn step(&self, stop: &Stop) -> store::Result<Next> {
        let Some(leased) = self.store.lease_letter(self.due(), LEASE).await? else {
            return Ok(Next::Nothing);
        };
        // Where one letter is, there may be another: a second worker looks, while this one waits for the mail server.
        self.bell.notify_one();
        if let Some(delivery) = self.deliver(&leased, stop).await {
            self.note(&leased, delivery, stop).await?;
        }
        Ok(Next::Another)
    }

    /// Sends the letter, if it is still of use and meant to be sent, and says what became of it, if that is for this gateway to say.
    async fn deliver(&self, leased: &Leased, stop: &Stop) -> Option<Delivery> {
        let Leased { letter, attempt } = leased;
        let now = self.clock.now();
        let Some(to) = &letter.to else {
            self.metrics.mail(metrics::Mail::Decoy);
            return Some(Delivery::Accepted { at: now });
        };
        if now >= letter.not_after {
            return Some(self.dropped(letter, *attempt, now));
        }
        let handed_over = self.hand_over(leased, to, now, stop).await;
        self.tell_of_relays();
        let at = self.clock.now();
        let (id, domain) = (letter.id, to.domain());
        match handed_over {
            HandOver::Accepted => {
                tracing::info!(target: "mail", letter = %id, attempt, domain, outcome = "accepted");
                self.metrics.mail_accepted(at.since(letter.asked_at));
                Some(Delivery::Accepted { at })
            }
            HandOver::Refused(hitch) => {
                tracing::warn!(target: "mail", letter = %id, attempt, domain, outcome = "refused", reason = %hitch);
                self.metrics.mail(metrics::Mail::Refused);
                Some(Delivery::Refused { at })
            }
            HandOver::PutOff(hitch) => {
                tracing::warn!(target: "mail", letter = %id, attempt, domain, outcome = "delayed", reason = %hitch);
                Some(self.put_off(leased, &hitch, at))
            }
            HandOver::Withdrawn => {
                tracing::info!(target: "mail", letter = %id, attempt, domain, outcome = "withdrawn");
                self.metrics.mail(metrics::Mail::Withdrawn);
                None
            }
        }
    }

    async fn hand_over(
        &self,
        leased: &Leased,
        to: &Email,
        now: Timestamp,
        stop: &Stop,
    ) -> HandOver {
        let letter = &leased.letter;
        let message = match self.writer.now().write(letter, to, now) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(target: "mail", letter = %letter.id, %error, "a letter cannot be written");
                return HandOver::Refused(Hitch {
                    stage: Stage::Writing,
                    cause: Cause::Unwritable,
                });
            }
        };
        let held = Held {
            store: &*self.store,
            lease: leased.lease(),
            may_be_out: AtomicBool::new(false),
            in_hand: &self.in_hand,
        };
        let out_of_time = async {
            stop.requested().await;
            tokio::time::sleep(self.farewell).await;
            // Given to another gateway at once it might go out once more, while the server's yes is on its way.
            if held.may_be_out.load(Ordering::Acquire) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            handed_over = self.sender.hand_over(&message, &held) => handed_over,
            never = held.keep() => match never {},
            () = out_of_time => HandOver::PutOff(Hitch { stage: Stage::Conversation, cause: Cause::Abandoned }),
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
    fn put_off(&self, leased: &Leased, hitch: &Hitch, at: Timestamp) -> Delivery {
        let Leased { letter, attempt } = leased;
        let wait = match hitch.cause {
            // Not a word of the mail was said: another gateway can take over at once.
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
    async fn note(&self, leased: &Leased, delivery: Delivery, stop: &Stop) -> store::Result<()> {
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

impl Held<'_> {
    /// Keeps the letter in hand for as long as this future is awaited.
    async fn keep(&self) -> Infallible {
        loop {
            tokio::time::sleep(RENEWAL).await;
            // Whether it was lost is asked again before the mail goes out; a store that fails may answer next time.
            let _ = self.store.renew_lease(self.lease, LEASE).await;
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.may_be_out.load(Ordering::Acquire) {
            self.in_hand.0.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[async_trait]
impl Hold for Held<'_> {
    async fn confirm(&self) -> Result<(), HandOver> {
        match self.store.renew_lease(self.lease, LEASE).await {
            Ok(true) => {
                if !self.may_be_out.swap(true, Ordering::AcqRel) {
                    self.in_hand.0.fetch_add(1, Ordering::AcqRel);
                }
                Ok(())
            }
            Ok(false) => Err(HandOver::Withdrawn),
            // The store itself has logged why.
            Err(_) => Err(HandOver::PutOff(Hitch {
                stage: Stage::Message,
                cause: Cause::Unconfirmed,
            })),
        }
    }
}

#[cfg(test)]
mod tests;
