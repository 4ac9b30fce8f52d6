//! A store that has an outbox and nothing else.

use crate::clock::Clock;
use crate::store::{
    ClaimedForm, DeviceChange, Due, Error, FlowChange, FormDraft, FormUpdate, Invalidation,
    LeasedLetter, LetterLease, RateLimits, RecordKey, Result, Seen, SignInCommit, Store,
    SubscriptionEpoch, WriteOutcome,
};
use async_trait::async_trait;
use domain::challenge::Delivery;
use domain::device::Device;
use domain::flow::Flow;
use domain::ids::{
    BrowserToken, DeviceToken, FlowToken, FormId, LetterId, ParkingToken, SessionToken,
};
use domain::letter::Letter;
use domain::parking::ParkedForm;
use domain::session::Session;
use domain::time::Timestamp;
use domain::trust::Trust;
use domain::vtnr::Vtnr;
use parking_lot::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

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

    /// Another gateway had it in hand until now.
    pub(in crate::mail) fn put_back(&self, letter: Letter) {
        self.inside.lock().waiting.push(Waiting {
            letter,
            attempts: 1,
            due: self.clock.now(),
        });
    }

    /// Its sign-in is over.
    pub(in crate::mail) fn withdraw(&self, letter: LetterId) {
        self.inside
            .lock()
            .waiting
            .retain(|waiting| waiting.letter.id != letter);
    }

    /// The store fails this many times from now on.
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

    /// The letters of the notes, in their order.
    pub(in crate::mail) fn noted(&self) -> Vec<u128> {
        self.inside
            .lock()
            .notes
            .iter()
            .map(|(letter, _)| letter.bits())
            .collect()
    }

    /// How long letters that others had in hand were left alone after the store worked again.
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
impl Store for FakeStore {
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

    fn session_key(&self, _: &SessionToken) -> RecordKey {
        unimplemented!()
    }
    async fn find_session(&self, _: &SessionToken) -> Result<Option<Session>> {
        unimplemented!()
    }
    async fn touch_session(&self, _: &SessionToken, _: &Session, _: Duration) -> Result<bool> {
        unimplemented!()
    }
    async fn end_session(&self, _: &SessionToken) -> Result<()> {
        unimplemented!()
    }
    async fn revoke_broker(&self, _: Vtnr, _: Timestamp) -> Result<()> {
        unimplemented!()
    }
    async fn revoked_at(&self, _: Vtnr) -> Result<Option<Timestamp>> {
        unimplemented!()
    }
    async fn find_flow(&self, _: &FlowToken) -> Result<Option<Seen<Flow>>> {
        unimplemented!()
    }
    async fn keep_flow(&self, _: FlowChange<'_>, _: &RateLimits) -> Result<WriteOutcome> {
        unimplemented!()
    }
    async fn move_flow(&self, _: FlowChange<'_>) -> Result<WriteOutcome> {
        unimplemented!()
    }
    async fn moved_flow(&self, _: &FlowToken) -> Result<Option<FlowToken>> {
        unimplemented!()
    }
    async fn charge_flow(
        &self,
        _: &FlowToken,
        _: &Seen<Flow>,
        _: &RateLimits,
    ) -> Result<WriteOutcome> {
        unimplemented!()
    }
    async fn end_flow(
        &self,
        _: &FlowToken,
        _: &Seen<Flow>,
        _: &RateLimits,
    ) -> Result<WriteOutcome> {
        unimplemented!()
    }
    async fn discard_flow(&self, _: &FlowToken, _: &Flow) -> Result<()> {
        unimplemented!()
    }
    async fn ask_for_tan(
        &self,
        _: FlowChange<'_>,
        _: &Letter,
        _: &RateLimits,
    ) -> Result<WriteOutcome> {
        unimplemented!()
    }
    async fn sign_in(&self, _: SignInCommit<'_>, _: &RateLimits) -> Result<WriteOutcome> {
        unimplemented!()
    }
    async fn sign_in_on_device(
        &self,
        _: SignInCommit<'_>,
        _: DeviceChange<'_>,
        _: &RateLimits,
    ) -> Result<WriteOutcome> {
        unimplemented!()
    }
    async fn find_device(&self, _: &DeviceToken) -> Result<Device> {
        unimplemented!()
    }
    async fn forget_device(&self, _: &DeviceToken) -> Result<()> {
        unimplemented!()
    }
    async fn charge(&self, _: &RateLimits) -> Result<WriteOutcome> {
        unimplemented!()
    }
    async fn find_trust(&self, _: &BrowserToken) -> Result<Trust> {
        unimplemented!()
    }
    async fn forget_browser(&self, _: &BrowserToken) -> Result<()> {
        unimplemented!()
    }
    async fn park(&self, _: FormDraft<'_>, _: &RateLimits) -> Result<WriteOutcome> {
        unimplemented!()
    }
    async fn find_form(&self, _: &ParkingToken, _: FormId) -> Result<Option<Seen<ParkedForm>>> {
        unimplemented!()
    }
    async fn take_form(
        &self,
        _: &ParkingToken,
        _: FormId,
        _: FormUpdate<'_>,
    ) -> Result<Option<ClaimedForm>> {
        unimplemented!()
    }
    async fn note_form(
        &self,
        _: &ParkingToken,
        _: FormId,
        _: FormUpdate<'_>,
    ) -> Result<Option<Seen<ParkedForm>>> {
        unimplemented!()
    }
    async fn discard_form(&self, _: &ParkingToken, _: FormId) -> Result<()> {
        unimplemented!()
    }
    async fn deliveries(&self, _: &[LetterId]) -> Result<Vec<Delivery>> {
        unimplemented!()
    }
    async fn tidy(&self) -> Result<()> {
        unimplemented!("the outbox does not tidy")
    }

    async fn ping(&self) -> Result<()> {
        self.called()?;
        Ok(())
    }
    fn invalidations(&self) -> broadcast::Receiver<Invalidation> {
        unimplemented!()
    }
    fn subscription(&self) -> Option<SubscriptionEpoch> {
        unimplemented!()
    }
}
