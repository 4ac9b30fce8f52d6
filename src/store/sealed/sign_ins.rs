//! Sign-ins in progress, and their completion.

use super::outbox::DELIVERY_LIVES;
use super::sessions::REVOCATION_LIVES;
use super::{NO_TOKEN, Sealed, durable};
use crate::store::engine::{Change, Engine, Expect};
use crate::store::vault::{Kind, RecordKey};
use crate::store::{
    DeviceChange, FOLLOWED, FlowChange, Invalidation, RateLimits, Result, Seen, SignInCommit,
    SignInStore, WriteOutcome,
};
use async_trait::async_trait;
use domain::challenge::Delivery;
use domain::device::Device;
use domain::flow::{Flow, Stage};
use domain::ids::{BrowserToken, DeviceToken, FlowToken, LetterId};
use domain::letter::Letter;
use domain::time::Timestamp;
use domain::trust::Trust;
use std::time::Duration;

impl<E: Engine> Sealed<E> {
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

    /// Assembles all writes of a completed sign-in.
    fn completion(&self, sign_in: &SignInCommit<'_>, rate_limits: &RateLimits) -> Result<Change> {
        let mut change = durable();
        if let Some(flow) = &sign_in.flow {
            self.add_flow(&mut change, flow)?;
        }
        self.add_limits(&mut change, rate_limits);
        let (token, session) = sign_in.session;
        change.advance = Some((self.newest_key(), session.signed_in_at, REVOCATION_LIVES));
        let name = self.vault.session_key(token);
        change.write.push((
            name,
            self.seal(name, token.reveal(), session)?.into(),
            sign_in.lives,
        ));
        if let Some(old) = sign_in.replaces.map(|old| self.vault.session_key(old)) {
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

    fn add_flow(&self, change: &mut Change, flow: &FlowChange<'_>) -> Result<()> {
        let name = self.flow_key(flow.token);
        let expected = flow
            .seen
            .map_or(Expect::Absent, |seen| Expect::Is(seen.version.clone()));
        match flow.previous_token.map(|previous| self.flow_key(previous)) {
            Some(previous) => {
                change
                    .expect
                    .extend([(previous, expected), (name, Expect::Absent)]);
                change.delete.push(previous);
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
}

#[async_trait]
impl<E: Engine> SignInStore for Sealed<E> {
    async fn find_flow(&self, token: &FlowToken) -> Result<Option<Seen<Flow>>> {
        let name = self.flow_key(token);
        let found = self.find::<Flow>(name, token.reveal()).await?;
        let is_completed = |seen: &Seen<Flow>| matches!(seen.value.stage, Stage::SignedIn(_));
        if !found.as_ref().is_some_and(is_completed) {
            return Ok(found);
        }
        // The request that redeemed the TAN may still be waiting for replicas, or have timed out.
        // Nobody gets the session before replicas have it; otherwise a failover would let the TAN
        // be redeemed again.
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
        self.add_limits(&mut change, rate_limits);
        self.settle(change, rate_limits).await
    }

    async fn move_flow(&self, flow: FlowChange<'_>) -> Result<WriteOutcome> {
        let mut change = durable();
        self.add_flow(&mut change, &flow)?;
        if let Some(previous) = flow.previous_token {
            let name = self.moved_key(previous);
            change.write.push((
                name,
                self.seal(name, previous.reveal(), flow.token)?.into(),
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

    async fn hit_limits_in_flow(
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
        self.add_limits(&mut change, rate_limits);
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
        self.add_limits(&mut change, rate_limits);
        self.settle(change, rate_limits).await
    }

    async fn discard_flow(&self, token: &FlowToken, flow: &Flow) -> Result<()> {
        let mut change = Change {
            delete: vec![self.flow_key(token)],
            ..Change::default()
        };
        self.withdraw(&mut change, flow.letters());
        self.apply(change).await
    }

    async fn ask_for_tan(
        &self,
        flow: FlowChange<'_>,
        letter: &Letter,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        let mut change = durable();
        self.add_flow(&mut change, &flow)?;
        self.add_limits(&mut change, rate_limits);
        let letter_name = self.letter_key(letter.id);
        let delivery_name = self.delivery_key(letter.id);
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
        self.settle(self.completion(&sign_in, rate_limits)?, rate_limits)
            .await
    }

    async fn sign_in_on_device(
        &self,
        sign_in: SignInCommit<'_>,
        device: DeviceChange<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        let mut change = self.completion(&sign_in, rate_limits)?;
        let name = self.device_key(device.token);
        let token = device.token.reveal();
        change.write.push((
            name,
            self.seal(name, token, device.next)?.into(),
            device.lives,
        ));
        change
            .delete
            .extend(device.forgets.map(|previous| self.device_key(previous)));
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
        self.apply(Change {
            delete: vec![self.device_key(token)],
            ..durable()
        })
        .await
    }

    async fn hit_limits(&self, rate_limits: &RateLimits) -> Result<WriteOutcome> {
        let mut change = durable();
        self.add_limits(&mut change, rate_limits);
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
        self.apply(Change {
            delete: vec![self.trust_key(token)],
            ..durable()
        })
        .await
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
}
