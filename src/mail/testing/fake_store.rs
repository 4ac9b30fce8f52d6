//! An outbox in memory whose failures a test can script.

use crate::clock::Clock;
use crate::store::{Due, Error, LeasedLetter, LetterLease, OutboxStore, Result, StoreHealth};
use async_trait::async_trait;
use domain::challenge::Delivery;
use domain::ids::LetterId;
use domain::letter::Letter;
use domain::time::Timestamp;
use parking_lot::Mutex;
use std::time::{Duration, Instant};

pub(in crate::mail) struct FakeStore {
    clock: Clock,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    waiting: Vec<Waiting>,
    notes: Vec<(LetterId, Delivery)>,
    failures_left: usize,
    calls: usize,
    works_again_at: Option<Instant>,
    rest: Option<Duration>,
}

struct Waiting {
    letter: Letter,
    attempts: u32,
    due: Timestamp,
}

impl FakeStore {
    pub(in crate::mail) fn new(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            inside: Mutex::default(),
        }
    }

    pub(in crate::mail) fn put(&self, letter: Letter) {
        self.inside.lock().waiting.push(Waiting {
            letter,
            attempts: 0,
            due: self.clock.now(),
        });
    }

    /// Queues a letter that another gateway leased until now.
    pub(in crate::mail) fn put_back(&self, letter: Letter) {
        self.inside.lock().waiting.push(Waiting {
            letter,
            attempts: 1,
            due: self.clock.now(),
        });
    }

    /// Removes a letter whose sign-in ended.
    pub(in crate::mail) fn withdraw(&self, letter: LetterId) {
        self.inside
            .lock()
            .waiting
            .retain(|waiting| waiting.letter.id != letter);
    }

    /// Makes the next calls fail, this many times.
    pub(in crate::mail) fn fail(&self, times: usize) {
        self.inside.lock().failures_left = times;
    }

    pub(in crate::mail) fn calls(&self) -> usize {
        self.inside.lock().calls
    }

    pub(in crate::mail) fn notes(&self) -> Vec<Delivery> {
        self.inside
            .lock()
            .notes
            .iter()
            .map(|(_, delivery)| *delivery)
            .collect()
    }

    /// Returns the letters of the recorded deliveries, in order.
    pub(in crate::mail) fn noted(&self) -> Vec<u128> {
        self.inside
            .lock()
            .notes
            .iter()
            .map(|(letter, _)| letter.bits())
            .collect()
    }

    /// Returns how long letters leased by others were left alone after the store recovered.
    pub(in crate::mail) fn rest(&self) -> Option<Duration> {
        self.inside.lock().rest
    }

    pub(in crate::mail) fn is_empty(&self) -> bool {
        self.inside.lock().waiting.is_empty()
    }

    fn called(&self) -> Result<()> {
        let mut inside = self.inside.lock();
        inside.calls += 1;
        if inside.failures_left == 0 {
            inside.works_again_at.get_or_insert_with(Instant::now);
            return Ok(());
        }
        inside.failures_left -= 1;
        inside.works_again_at = None;
        Err(Error::Unreachable("connection refused".into()))
    }
}

#[async_trait]
impl OutboxStore for FakeStore {
    async fn lease_letter(&self, among: Due, lease: Duration) -> Result<Option<LeasedLetter>> {
        self.called()?;
        let now = self.clock.now();
        let mut inside = self.inside.lock();
        let may_be_taken = |waiting: &&mut Waiting| {
            waiting.due <= now && (among == Due::All || waiting.attempts == 0)
        };
        let Some(waiting) = inside.waiting.iter_mut().find(may_be_taken) else {
            return Ok(None);
        };
        waiting.attempts += 1;
        waiting.due = now.plus(lease);
        let leased = LeasedLetter {
            letter: waiting.letter.clone(),
            attempt: waiting.attempts,
        };
        if leased.attempt > 1 {
            inside.rest = inside.rest.or(inside.works_again_at.map(|at| at.elapsed()));
        }
        Ok(Some(leased))
    }

    async fn renew_lease(&self, lease: LetterLease, time: Duration) -> Result<bool> {
        self.called()?;
        let due = self.clock.now().plus(time);
        let mut inside = self.inside.lock();
        let held = inside
            .waiting
            .iter_mut()
            .find(|waiting| waiting.letter.id == lease.letter && waiting.attempts == lease.attempt);
        Ok(held.map(|waiting| waiting.due = due).is_some())
    }

    async fn note_delivery(
        &self,
        LetterLease { letter, .. }: LetterLease,
        delivery: Delivery,
    ) -> Result<()> {
        self.called()?;
        let mut inside = self.inside.lock();
        inside.notes.push((letter, delivery));
        match delivery {
            Delivery::Queued => {}
            Delivery::Delayed { next_try_at } => {
                inside
                    .waiting
                    .iter_mut()
                    .filter(|waiting| waiting.letter.id == letter)
                    .for_each(|waiting| waiting.due = next_try_at);
            }
            Delivery::Accepted { .. } | Delivery::Refused { .. } => {
                inside.waiting.retain(|waiting| waiting.letter.id != letter)
            }
        }
        Ok(())
    }

    async fn outbox_length(&self) -> Result<u64> {
        Ok(self.inside.lock().waiting.len() as u64)
    }
}

#[async_trait]
impl StoreHealth for FakeStore {
    async fn ping(&self) -> Result<()> {
        self.called()
    }
}
