//! The outbox, and the engine's health.

use super::{NO_TOKEN, Sealed};
use crate::store::engine::{Change, Engine, Expect, TxOutcome};
use crate::store::vault::{Kind, RecordKey};
use crate::store::{Due, Error, LeasedLetter, LetterLease, OutboxStore, Result, StoreHealth};
use async_trait::async_trait;
use domain::challenge::Delivery;
use domain::ids::LetterId;
use std::time::Duration;

/// A delivery is of interest for as long as the longest attempt lasts (`login.attempt_lifetime`, at
/// most 4 h).
pub(super) const DELIVERY_LIVES: Duration = Duration::from_secs(5 * 3_600);

impl<E: Engine> Sealed<E> {
    pub(super) fn letter_key(&self, letter: LetterId) -> RecordKey {
        self.vault.name(Kind::Letter, &letter.bits().to_be_bytes())
    }

    pub(super) fn delivery_key(&self, letter: LetterId) -> RecordKey {
        self.vault
            .name(Kind::Delivery, &letter.bits().to_be_bytes())
    }

    /// Starts a change that only the holder of this lease can make.
    fn holding(&self, LetterLease { letter, attempt }: LetterLease) -> Change {
        let expect = vec![(self.letter_key(letter), Expect::Present)];
        Change {
            expect,
            leased: Some((letter, attempt)),
            ..Change::default()
        }
    }
}

#[async_trait]
impl<E: Engine> OutboxStore for Sealed<E> {
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
            // The letter expired with its sign-in.
            Ok(None) => {}
            Err(error @ Error::Unsealable(_)) => {
                tracing::error!(target: "store", letter = %id, %error, "dropping an unreadable letter from the outbox");
            }
            Err(error) => return Err(error),
        }
        // The letter is useless, and must not come back after every lease.
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
        let letter = lease.letter;
        let name = self.delivery_key(letter);
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
            // The mail is out, no matter which gateway holds the lease by now.
            change.leased = None;
        }
        self.apply(change).await
    }

    async fn outbox_length(&self) -> Result<u64> {
        self.engine.queue_length().await
    }
}

#[async_trait]
impl<E: Engine> StoreHealth for Sealed<E> {
    async fn ping(&self) -> Result<()> {
        self.engine.ping().await
    }

    async fn tidy(&self) -> Result<()> {
        self.engine.tidy().await
    }
}
