//! The domain's operations, carried out on an engine: named by digests, sealed, one change each.

#[cfg(test)]
mod tests;

use super::engine::{Change, CounterMode, CounterOp, Durability, Engine, Expect, TxOutcome};
use super::records::{MalformedRecord, Record};
use super::vault::{Kind, RecordKey, Unsealable, Vault};
use super::{
    ClaimedForm, DeviceChange, Due, Error, FOLLOWED, FlowChange, FormDraft, FormUpdate,
    Invalidation, LeasedLetter, LetterLease, RateLimits, Result, Seen, SignInCommit, Store,
    SubscriptionEpoch, WriteOutcome, read_time,
};
use crate::clock::Clock;
use async_trait::async_trait;
use domain::challenge::Delivery;
use domain::device::{Device, UserMark};
use domain::flow::{Flow, Stage};
use domain::ids::{
    BrowserToken, DeviceToken, FlowToken, FormId, LetterId, ParkingToken, SessionToken,
};
use domain::letter::Letter;
use domain::parking::ParkedForm;
use domain::session::Session;
use domain::throttle::{Allowance, Charge, ClientAddress, Counter, Subject};
use domain::time::Timestamp;
use domain::trust::Trust;
use domain::vtnr::Vtnr;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::broadcast;

/// A store on an engine.
pub struct Sealed<E> {
    pub(super) engine: E,
    pub(super) vault: Vault,
    clock: Clock,
}

/// Records that no browser's token protects are sealed with the operator's secret alone.
pub(super) const NO_TOKEN: &[u8] = b"";
/// What became of a mail is of interest as long as the longest attempt lasts (`login.attempt_lifetime`, at most 4 h).
const DELIVERY_LIVES: Duration = Duration::from_secs(5 * 3_600);
/// Times differ at least by this.
const MOMENT: Duration = Duration::from_millis(1);
/// A revocation must outlive all trust and sessions granted before it (`login.trust_lifetime`, at most 90 days).
const REVOCATION_LIVES: Duration = Duration::from_secs(181 * 86_400);

impl<E: Engine> Sealed<E> {
    /// A store on this engine, sealed by this vault.
    pub fn new(engine: E, vault: Vault, clock: Clock) -> Self {
        Self {
            engine,
            vault,
            clock,
        }
    }

    pub(super) fn seal<R: Record>(
        &self,
        name: RecordKey,
        token: &[u8],
        record: &R,
    ) -> Result<Vec<u8>> {
        let plain = record
            .to_bytes()
            .map_err(|MalformedRecord| Error::Unsealable(name.kind().name()))?;
        self.seal_bytes(name, token, &plain)
    }

    fn seal_bytes(&self, name: RecordKey, token: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
        self.vault
            .seal(name, token, plain)
            .map_err(|Unsealable| Error::Unsealable(name.kind().name()))
    }

    fn open<R: Record>(&self, name: RecordKey, token: &[u8], sealed: &[u8]) -> Result<R> {
        let plain = self.open_bytes(name, token, sealed)?;
        R::from_bytes(&plain).map_err(|MalformedRecord| Error::Unsealable(name.kind().name()))
    }

    fn open_bytes(&self, name: RecordKey, token: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        self.vault
            .open(name, token, sealed)
            .map_err(|Unsealable| Error::Unsealable(name.kind().name()))
    }

    pub(super) async fn find<R: Record>(
        &self,
        name: RecordKey,
        token: &[u8],
    ) -> Result<Option<Seen<R>>> {
        let sealed = self.engine.read(&[name]).await?.pop().flatten();
        sealed
            .map(|sealed| self.seen(name, token, sealed))
            .transpose()
    }

    fn seen<R: Record>(&self, name: RecordKey, token: &[u8], sealed: Vec<u8>) -> Result<Seen<R>> {
        Ok(Seen {
            value: self.open(name, token, &sealed)?,
            version: sealed,
        })
    }

    fn flow_key(&self, token: &FlowToken) -> RecordKey {
        self.vault.name(Kind::Flow, token.reveal())
    }

    fn moved_key(&self, token: &FlowToken) -> RecordKey {
        self.vault.name(Kind::FlowMoved, token.reveal())
    }

    fn trust_key(&self, token: &BrowserToken) -> RecordKey {
        self.vault.name(Kind::Trust, token.reveal())
    }

    fn device_key(&self, token: &DeviceToken) -> RecordKey {
        self.vault.name(Kind::Device, token.reveal())
    }

    /// All that a sign-in changes.
    fn signing_in(&self, sign_in: &SignInCommit<'_>, rate_limits: &RateLimits) -> Result<Change> {
        let mut change = durable();
        if let Some(flow) = &sign_in.flow {
            self.add_flow(&mut change, flow)?;
        }
        self.add_charges(&mut change, rate_limits);
        let (token, session) = sign_in.session;
        change.advance = Some((self.newest_key(), session.signed_in_at, REVOCATION_LIVES));
        let name = self.session_key(token);
        change.write.push((
            name,
            self.seal(name, token.reveal(), session)?.into(),
            sign_in.lives,
        ));
        if let Some(old) = sign_in.replaces.map(|old| self.session_key(old)) {
            change.delete.push(old);
            change.announce.push(Invalidation::Session(old));
        }
        if let Some((browser, trust)) = sign_in.trust {
            let name = self.trust_key(browser);
            change.write.push((
                name,
                self.seal(name, browser.reveal(), trust)?.into(),
                sign_in.trust_lives,
            ));
        }
        change
            .delete
            .extend(sign_in.forgets.map(|browser| self.trust_key(browser)));
        Ok(change)
    }

    /// The names of a form's particulars and of its body.
    fn form_keys(&self, token: &ParkingToken, id: FormId) -> (RecordKey, RecordKey) {
        let found_by = [&token.reveal()[..], &id.bits().to_be_bytes()].concat();
        (
            self.vault.name(Kind::Form, &found_by),
            self.vault.name(Kind::FormBody, &found_by),
        )
    }

    /// Writes how far a form has come, and deletes `delete` with it.
    async fn advance_form(
        &self,
        (name, token): (RecordKey, &ParkingToken),
        taking: FormUpdate<'_>,
        delete: Vec<RecordKey>,
    ) -> Result<Option<Seen<ParkedForm>>> {
        let FormUpdate { seen, next, lives } = taking;
        let version = self.seal(name, token.reveal(), next)?;
        let expect = vec![(name, Expect::Is(seen.version.clone()))];
        let change = Change {
            expect,
            write: vec![(name, version.clone().into(), lives)],
            delete,
            ..Change::default()
        };
        let is_done = self.engine.commit(&change).await? == TxOutcome::Done;
        Ok(is_done.then(|| Seen {
            value: next.clone(),
            version,
        }))
    }

    fn newest_key(&self) -> RecordKey {
        self.vault.name(Kind::Newest, b"")
    }

    fn letter_key(&self, letter: LetterId) -> RecordKey {
        self.vault.name(Kind::Letter, &letter.bits().to_be_bytes())
    }

    fn delivery_key(&self, letter: LetterId) -> RecordKey {
        self.vault
            .name(Kind::Delivery, &letter.bits().to_be_bytes())
    }

    fn add_flow(&self, change: &mut Change, flow: &FlowChange<'_>) -> Result<()> {
        let name = self.flow_key(flow.token);
        let expected = flow
            .seen
            .map_or(Expect::Absent, |seen| Expect::Is(seen.version.clone()));
        match flow.formerly.map(|former| self.flow_key(former)) {
            Some(former) => {
                change
                    .expect
                    .extend([(former, expected), (name, Expect::Absent)]);
                change.delete.push(former);
            }
            None => change.expect.push((name, expected)),
        }
        change.write.push((
            name,
            self.seal(name, flow.token.reveal(), flow.next)?.into(),
            flow.lives,
        ));
        let before = flow.seen.map_or(&[][..], |seen| seen.value.letters());
        self.withdraw(
            change,
            before
                .iter()
                .filter(|letter| !flow.next.letters().contains(letter)),
        );
        Ok(())
    }

    fn withdraw<'l>(&self, change: &mut Change, letters: impl IntoIterator<Item = &'l LetterId>) {
        for letter in letters {
            change.unqueue.push(*letter);
            change.delete.push(self.letter_key(*letter));
        }
    }

    pub(super) fn add_charges(&self, change: &mut Change, rate_limits: &RateLimits) {
        let groups = [
            (&rate_limits.take, CounterMode::Take),
            (&rate_limits.check, CounterMode::Check),
            (&rate_limits.count, CounterMode::Count),
        ];
        for (group, mode) in groups {
            change
                .counters
                .extend(group.iter().map(|charge| self.counter_op(charge, mode)));
        }
    }

    fn counter_op(&self, charge: &Charge, mode: CounterMode) -> CounterOp {
        let (Allowance { limit, window }, amount) = (charge.allowance, charge.amount);
        let (counter, once) = counter_id(charge.counter);
        let once = once.map(|id| self.vault.name(Kind::CountedOnce, &id));
        CounterOp {
            counter: self.vault.name(Kind::Counter, &counter),
            once,
            limit,
            amount,
            window,
            mode,
        }
    }

    /// A change that only whoever has the letter in hand can make.
    fn holding(&self, LetterLease { letter, attempt }: LetterLease) -> Change {
        let expect = vec![(self.letter_key(letter), Expect::Present)];
        Change {
            expect,
            leased: Some((letter, attempt)),
            ..Change::default()
        }
    }

    pub(super) async fn settle(
        &self,
        change: Change,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        Ok(match self.engine.commit(&change).await? {
            TxOutcome::Done => WriteOutcome::Done,
            TxOutcome::Conflict => WriteOutcome::Conflict,
            TxOutcome::Full { index, retry_after } => {
                let mut all = rate_limits
                    .take
                    .iter()
                    .chain(&rate_limits.check)
                    .chain(&rate_limits.count);
                let charge = all.nth(index).copied().ok_or_else(|| {
                    Error::Setup("the engine named a counter that was not asked for".into())
                })?;
                WriteOutcome::Over {
                    charge,
                    retry_after,
                }
            }
        })
    }
}

/// A change that a failover must not undo once its outcome was told: a TAN that is redeemed, what counts against guessing, an end.
fn durable() -> Change {
    Change {
        durability: Durability::Replicas,
        ..Change::default()
    }
}

/// What a counter is found by, and what an event in it is found by if it counts only once.
fn counter_id(counter: Counter) -> (Vec<u8>, Option<Vec<u8>>) {
    let of = |tag: &[u8], vtnr: Vtnr| [tag, &vtnr.number().to_be_bytes()].concat();
    let by = |tag: &[u8], subject: Subject| match subject {
        Subject::Broker(vtnr) => of(tag, vtnr),
        Subject::Decoy(vtnr, fingerprint) => {
            [&of(tag, vtnr)[..], b" decoy ", &fingerprint.to_be_bytes()].concat()
        }
    };
    let marked = |tag: &[u8], user: UserMark| [tag, user.digest()].concat();
    let from = |tag: &[u8], client: ClientAddress| match client.ip() {
        IpAddr::V4(ip) => [tag, &ip.octets()].concat(),
        IpAddr::V6(ip) => [tag, &ip.octets()].concat(),
    };
    match counter {
        Counter::Mails(subject, pace) => (by(format!("mails {pace:?} ").as_bytes(), subject), None),
        Counter::ReserveMails(subject) => (by(b"reserve mails ", subject), None),
        Counter::WrongTans(subject, span) => (
            by(format!("wrong tans {span:?} ").as_bytes(), subject),
            None,
        ),
        Counter::WrongTansOfKnown(subject) => (by(b"wrong tans known ", subject), None),
        Counter::WrongTansOfAll => (b"wrong tans all".to_vec(), None),
        Counter::WrongTansFrom(client) => (from(b"wrong tans from ", client), None),
        Counter::FailuresFrom(client) => (from(b"failures from ", client), None),
        Counter::VtnrsFrom(client, vtnr) => {
            let counter = from(b"vtnrs from ", client);
            let once = of(&counter, vtnr);
            (counter, Some(once))
        }
        Counter::WrongPasswords(user, span) => (
            marked(format!("wrong passwords {span:?} ").as_bytes(), user),
            None,
        ),
        Counter::WrongPasswordsOfKnown(user) => (marked(b"wrong passwords known ", user), None),
        Counter::WithoutEmailFrom(client) => (from(b"without email from ", client), None),
        Counter::WithoutEmailOf(vtnr) => (of(b"without email of ", vtnr), None),
        Counter::FormsFrom(client) => (from(b"forms from ", client), None),
        Counter::FormsOfAll => (b"forms all".to_vec(), None),
        Counter::ApplicationSessionsSetFor(client) => {
            (from(b"application sessions set for ", client), None)
        }
        Counter::ApplicationSessionsSeenFrom(client) => {
            (from(b"application sessions seen from ", client), None)
        }
    }
}

#[async_trait]
impl<E: Engine> Store for Sealed<E> {
    fn session_key(&self, token: &SessionToken) -> RecordKey {
        self.vault.name(Kind::Session, token.reveal())
    }

    async fn find_session(&self, token: &SessionToken) -> Result<Option<Session>> {
        Ok(self
            .find(self.session_key(token), token.reveal())
            .await?
            .map(|seen| seen.value))
    }

    async fn touch_session(
        &self,
        token: &SessionToken,
        session: &Session,
        lives: Duration,
    ) -> Result<bool> {
        let name = self.session_key(token);
        let expect = vec![(name, Expect::Present)];
        let write = vec![(
            name,
            self.seal(name, token.reveal(), session)?.into(),
            lives,
        )];
        Ok(self
            .engine
            .commit(&Change {
                expect,
                write,
                ..Change::default()
            })
            .await?
            == TxOutcome::Done)
    }

    async fn end_session(&self, token: &SessionToken) -> Result<()> {
        let name = self.session_key(token);
        let change = Change {
            delete: vec![name],
            announce: vec![Invalidation::Session(name)],
            ..durable()
        };
        self.engine.commit(&change).await.map(|_| ())
    }

    async fn revoke_broker(&self, vtnr: Vtnr, at: Timestamp) -> Result<()> {
        let name = self.vault.revocation(vtnr);
        // The store's clock may have been set back since: what began by its former time must end too.
        let newest = self
            .engine
            .read(&[self.newest_key()])
            .await?
            .pop()
            .flatten()
            .and_then(|time| read_time(&time));
        let at = newest.map_or(at, |newest| newest.max(at));
        loop {
            let (expect, at) = match self.find::<Timestamp>(name, NO_TOKEN).await {
                // After all that began after the earlier one, however it was dated (`Store::sign_in`).
                Ok(Some(before)) => (
                    vec![(name, Expect::Is(before.version))],
                    at.max(before.value.plus(MOMENT)),
                ),
                Ok(None) => (vec![(name, Expect::Absent)], at),
                Err(Error::Unsealable(_)) => (Vec::new(), at),
                Err(error) => return Err(error),
            };
            let write = vec![(
                name,
                self.seal(name, NO_TOKEN, &at)?.into(),
                REVOCATION_LIVES,
            )];
            let change = Change {
                expect,
                write,
                announce: vec![Invalidation::Broker(name)],
                ..durable()
            };
            if self.engine.commit(&change).await? != TxOutcome::Conflict {
                return Ok(());
            }
        }
    }

    async fn revoked_at(&self, vtnr: Vtnr) -> Result<Option<Timestamp>> {
        Ok(self
            .find(self.vault.revocation(vtnr), NO_TOKEN)
            .await?
            .map(|seen| seen.value))
    }

    async fn find_flow(&self, token: &FlowToken) -> Result<Option<Seen<Flow>>> {
        let (name, found) = (
            self.flow_key(token),
            self.find::<Flow>(self.flow_key(token), token.reveal())
                .await?,
        );
        if !matches!(
            &found,
            Some(Seen {
                value: Flow {
                    stage: Stage::SignedIn(_),
                    ..
                },
                ..
            })
        ) {
            return Ok(found);
        }
        // Whoever redeemed the TAN may still be waiting for replicas, or have waited in vain: the session is given to nobody before
        // they have it, or the TAN could be redeemed once more after a failover.
        let sealed = self.engine.read_durable(&[name]).await?.pop().flatten();
        sealed
            .map(|sealed| self.seen(name, token.reveal(), sealed))
            .transpose()
    }

    async fn keep_flow(
        &self,
        flow: FlowChange<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        let mut change = durable();
        self.add_flow(&mut change, &flow)?;
        self.add_charges(&mut change, rate_limits);
        self.settle(change, rate_limits).await
    }

    async fn move_flow(&self, flow: FlowChange<'_>) -> Result<WriteOutcome> {
        let mut change = durable();
        self.add_flow(&mut change, &flow)?;
        if let Some(former) = flow.formerly {
            let name = self.moved_key(former);
            change.write.push((
                name,
                self.seal(name, former.reveal(), flow.token)?.into(),
                FOLLOWED,
            ));
        }
        self.settle(change, &RateLimits::none()).await
    }

    async fn moved_flow(&self, token: &FlowToken) -> Result<Option<FlowToken>> {
        Ok(self
            .find(self.moved_key(token), token.reveal())
            .await?
            .map(|seen| seen.value))
    }

    async fn charge_flow(
        &self,
        token: &FlowToken,
        seen: &Seen<Flow>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        let expect = vec![(self.flow_key(token), Expect::Is(seen.version.clone()))];
        let mut change = Change {
            expect,
            ..durable()
        };
        self.add_charges(&mut change, rate_limits);
        self.settle(change, rate_limits).await
    }

    async fn end_flow(
        &self,
        token: &FlowToken,
        seen: &Seen<Flow>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        let name = self.flow_key(token);
        let mut change = Change {
            expect: vec![(name, Expect::Is(seen.version.clone()))],
            delete: vec![name],
            ..durable()
        };
        self.withdraw(&mut change, seen.value.letters());
        self.add_charges(&mut change, rate_limits);
        self.settle(change, rate_limits).await
    }

    async fn discard_flow(&self, token: &FlowToken, flow: &Flow) -> Result<()> {
        let mut change = Change {
            delete: vec![self.flow_key(token)],
            ..Change::default()
        };
        self.withdraw(&mut change, flow.letters());
        self.engine.commit(&change).await.map(|_| ())
    }

    async fn ask_for_tan(
        &self,
        flow: FlowChange<'_>,
        letter: &Letter,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        let mut change = durable();
        self.add_flow(&mut change, &flow)?;
        self.add_charges(&mut change, rate_limits);
        let (letter_name, delivery_name) =
            (self.letter_key(letter.id), self.delivery_key(letter.id));
        change.write.push((
            letter_name,
            self.seal(letter_name, NO_TOKEN, letter)?.into(),
            flow.lives,
        ));
        change.write.push((
            delivery_name,
            self.seal(delivery_name, NO_TOKEN, &Delivery::Queued)?
                .into(),
            DELIVERY_LIVES,
        ));
        change.queue.push((letter.id, Duration::ZERO));
        self.settle(change, rate_limits).await
    }

    async fn sign_in(
        &self,
        sign_in: SignInCommit<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        self.settle(self.signing_in(&sign_in, rate_limits)?, rate_limits)
            .await
    }

    async fn sign_in_on_device(
        &self,
        sign_in: SignInCommit<'_>,
        device: DeviceChange<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        let mut change = self.signing_in(&sign_in, rate_limits)?;
        let (name, token) = (self.device_key(device.token), device.token.reveal());
        change.write.push((
            name,
            self.seal(name, token, device.next)?.into(),
            device.lives,
        ));
        change
            .delete
            .extend(device.forgets.map(|former| self.device_key(former)));
        self.settle(change, rate_limits).await
    }

    async fn find_device(&self, token: &DeviceToken) -> Result<Device> {
        Ok(self
            .find(self.device_key(token), token.reveal())
            .await?
            .map(|seen| seen.value)
            .unwrap_or_default())
    }

    async fn forget_device(&self, token: &DeviceToken) -> Result<()> {
        self.engine
            .commit(&Change {
                delete: vec![self.device_key(token)],
                ..durable()
            })
            .await
            .map(|_| ())
    }

    async fn charge(&self, rate_limits: &RateLimits) -> Result<WriteOutcome> {
        let mut change = durable();
        self.add_charges(&mut change, rate_limits);
        self.settle(change, rate_limits).await
    }

    async fn find_trust(&self, token: &BrowserToken) -> Result<Trust> {
        Ok(self
            .find(self.trust_key(token), token.reveal())
            .await?
            .map(|seen| seen.value)
            .unwrap_or_default())
    }

    async fn forget_browser(&self, token: &BrowserToken) -> Result<()> {
        self.engine
            .commit(&Change {
                delete: vec![self.trust_key(token)],
                ..durable()
            })
            .await
            .map(|_| ())
    }

    async fn park(&self, parking: FormDraft<'_>, rate_limits: &RateLimits) -> Result<WriteOutcome> {
        let FormDraft {
            token,
            id,
            form,
            body,
            lives,
            over,
        } = parking;
        let (name, body_name) = self.form_keys(token, id);
        let expected = over.map_or(Expect::Absent, |seen| Expect::Is(seen.version.clone()));
        let mut change = Change {
            expect: vec![(name, expected)],
            ..Change::default()
        };
        self.add_charges(&mut change, rate_limits);
        change
            .write
            .push((name, self.seal(name, token.reveal(), form)?.into(), lives));
        change.write.push((
            body_name,
            self.seal_bytes(body_name, token.reveal(), body)?.into(),
            lives,
        ));
        self.settle(change, rate_limits).await
    }

    async fn find_form(
        &self,
        token: &ParkingToken,
        id: FormId,
    ) -> Result<Option<Seen<ParkedForm>>> {
        self.find(self.form_keys(token, id).0, token.reveal()).await
    }

    async fn take_form(
        &self,
        token: &ParkingToken,
        id: FormId,
        taking: FormUpdate<'_>,
    ) -> Result<Option<ClaimedForm>> {
        let (name, body_name) = self.form_keys(token, id);
        let Some(sealed) = self.engine.read(&[body_name]).await?.pop().flatten() else {
            return Ok(None);
        };
        let body = self.open_bytes(body_name, token.reveal(), &sealed)?;
        let taken = self
            .advance_form((name, token), taking, vec![body_name])
            .await?;
        Ok(taken.map(|seen| (body, seen)))
    }

    async fn note_form(
        &self,
        token: &ParkingToken,
        id: FormId,
        noting: FormUpdate<'_>,
    ) -> Result<Option<Seen<ParkedForm>>> {
        self.advance_form((self.form_keys(token, id).0, token), noting, Vec::new())
            .await
    }

    async fn discard_form(&self, token: &ParkingToken, id: FormId) -> Result<()> {
        let (name, body_name) = self.form_keys(token, id);
        self.engine
            .commit(&Change {
                delete: vec![name, body_name],
                ..Change::default()
            })
            .await
            .map(|_| ())
    }

    async fn deliveries(&self, letters: &[LetterId]) -> Result<Vec<Delivery>> {
        let names: Vec<_> = letters
            .iter()
            .map(|letter| self.delivery_key(*letter))
            .collect();
        let records = self.engine.read(&names).await?;
        let long_ago = Delivery::Refused {
            at: Timestamp::from_millis(0),
        };
        let open = |(name, record): (&RecordKey, Option<Vec<u8>>)| {
            record.map_or(Ok(long_ago), |sealed| self.open(*name, NO_TOKEN, &sealed))
        };
        names.iter().zip(records).map(open).collect()
    }

    async fn lease_letter(&self, among: Due, lease: Duration) -> Result<Option<LeasedLetter>> {
        let Some((id, attempt)) = self.engine.lease(among, lease).await? else {
            return Ok(None);
        };
        match self.find(self.letter_key(id), NO_TOKEN).await {
            Ok(Some(letter)) => {
                return Ok(Some(LeasedLetter {
                    letter: letter.value,
                    attempt,
                }));
            }
            // Its record lived as long as the sign-in.
            Ok(None) => {}
            Err(error @ Error::Unsealable(_)) => {
                tracing::error!(target: "store", letter = %id, %error, "a letter is dropped from the outbox");
            }
            Err(error) => return Err(error),
        }
        // It is of no use to anybody, and must not come back after every lease.
        self.engine
            .commit(&Change {
                unqueue: vec![id],
                ..Change::default()
            })
            .await
            .map(|_| None)
    }

    async fn renew_lease(&self, lease: LetterLease, time: Duration) -> Result<bool> {
        let change = Change {
            queue: vec![(lease.letter, time)],
            ..self.holding(lease)
        };
        Ok(self.engine.commit(&change).await? == TxOutcome::Done)
    }

    async fn note_delivery(&self, lease: LetterLease, delivery: Delivery) -> Result<()> {
        let (letter, name) = (lease.letter, self.delivery_key(lease.letter));
        let write = vec![(
            name,
            self.seal(name, NO_TOKEN, &delivery)?.into(),
            DELIVERY_LIVES,
        )];
        let mut change = Change {
            write,
            ..self.holding(lease)
        };
        match delivery {
            Delivery::Queued => change.queue.push((letter, Duration::ZERO)),
            Delivery::Delayed { next_try_at } => change
                .queue
                .push((letter, next_try_at.after(self.clock.now()))),
            Delivery::Accepted { .. } | Delivery::Refused { .. } => {
                change.unqueue.push(letter);
                change.delete.push(self.letter_key(letter));
            }
        }
        if let Delivery::Accepted { .. } = delivery {
            // The mail is out, whoever has the letter in hand by now.
            change.leased = None;
        }
        self.engine.commit(&change).await.map(|_| ())
    }

    async fn outbox_length(&self) -> Result<u64> {
        self.engine.queue_length().await
    }

    async fn tidy(&self) -> Result<()> {
        self.engine.tidy().await
    }

    async fn ping(&self) -> Result<()> {
        self.engine.ping().await
    }

    fn invalidations(&self) -> broadcast::Receiver<Invalidation> {
        self.engine.invalidations()
    }

    fn subscription(&self) -> Option<SubscriptionEpoch> {
        self.engine.subscription()
    }
}
