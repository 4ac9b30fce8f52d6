//! Forms that could not be forwarded when they came: what was typed is kept, and goes to the calculator once.
//!
//! A form waits in the store, sealed with a key that only its browser's cookie holds; it leaves with a permit, or not at all.
//! [`crate::gateway`] brings forms in and carries them up. It knows nothing of HTTP. A form that cannot be kept is a
//! [`NotKept`], to be told to the broker while the browser still has it; it is never an admission.

mod body_memory;

pub use body_memory::Reservation;

use crate::clock::Rng;
use crate::store::{
    FormDraft, FormStore, FormUpdate, RateLimits, Result, Seen, Vault, WriteOutcome,
};
use crate::telemetry::metrics::{Label as _, Metrics, Parking as Outcome};
use body_memory::BodyMemory;
use domain::ids::{FormId, ParkingToken};
use domain::parking::{ParkedForm, ParkingLimits};
use domain::policy::Permit;
use domain::throttle::ClientAddress;
use domain::time::Timestamp;
use domain::vtnr::Vtnr;
use std::sync::Arc;

/// Keeps forms.
pub struct Forms {
    store: Arc<dyn FormStore>,
    limits: ParkingLimits,
    rng: Rng,
    metrics: Arc<Metrics>,
    vault: Vault,
    under_way: Arc<BodyMemory>,
}

/// Who is at it, for the audit log.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    /// The client's address, as counters know it.
    pub client: ClientAddress,
    /// Whose session it is, where there is one.
    pub broker: Option<Vtnr>,
}

/// Where a form is kept.
#[derive(Clone, Copy, Debug)]
pub struct FormKey {
    /// What its browser's cookie holds.
    pub token: ParkingToken,
    /// Which of the browser's forms it is.
    pub id: FormId,
}

/// Why a form is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// It did not come from a page of the calculator's: keeping it would let other sites send forms in a broker's name.
    Foreign,
    /// It is not a form as browsers post them.
    Unfit,
    /// It is longer than what is kept.
    TooLarge,
    /// As much as may be kept is kept already.
    NoRoom,
    /// It broke off, or the store cannot keep it.
    Failed,
}

/// A form on its way to the calculator.
pub struct Claimed {
    /// Where it was kept.
    pub place: FormKey,
    /// As it was before it was taken.
    pub form: ParkedForm,
    /// Its body, byte for byte.
    pub body: Vec<u8>,
    /// As it has been remembered since.
    going: Seen<ParkedForm>,
    /// Who sends it.
    pub who: Who,
}

impl Forms {
    /// Keeps forms in this store.
    pub fn new(
        store: Arc<dyn FormStore>,
        limits: ParkingLimits,
        rng: Rng,
        metrics: Arc<Metrics>,
        vault: Vault,
    ) -> Self {
        Self {
            store,
            limits,
            rng,
            metrics,
            vault,
            under_way: BodyMemory::new(&limits),
        }
    }

    /// What may be kept, and for how long.
    pub fn limits(&self) -> &ParkingLimits {
        &self.limits
    }

    /// Room in this process for a body that is about to be read; `length` is what it says of itself, in bytes.
    ///
    /// # Errors
    /// [`NotKept::TooLarge`]; it need not be read then.
    pub fn reserve(
        &self,
        client: ClientAddress,
        length: Option<usize>,
    ) -> std::result::Result<Reservation, NotKept> {
        let largest = self.limits.largest;
        if largest == 0 || length.is_some_and(|length| length > largest) {
            return Err(NotKept::TooLarge);
        }
        Ok(BodyMemory::reserve(&self.under_way, client))
    }

    /// Keeps a form for the browser that holds this token, or for one that gets a new token with the answer.
    ///
    /// # Errors
    /// [`NotKept::NoRoom`], or [`NotKept::Failed`] if the store cannot answer.
    pub async fn keep(
        &self,
        holder: Option<ParkingToken>,
        client: ClientAddress,
        form: &ParkedForm,
        body: &[u8],
    ) -> std::result::Result<FormKey, NotKept> {
        let place = FormKey {
            token: holder.unwrap_or_else(|| self.rng.parking_token()),
            id: self.rng.form_id(),
        };
        let rate_limits = RateLimits::take(self.limits.room(client, form.size() + body.len()));
        match self
            .store
            .save_form(self.parked(&place, form, body), &rate_limits)
            .await
        {
            Ok(WriteOutcome::Done) => Ok(place),
            Ok(WriteOutcome::OverLimit { .. } | WriteOutcome::Conflict) => Err(NotKept::NoRoom),
            // Counted and logged by the store itself.
            Err(_) => Err(NotKept::Failed),
        }
    }

    /// A form that is kept, or was sent a short while ago.
    ///
    /// # Errors
    /// [`crate::store::Error`] if the store cannot answer.
    pub async fn find(&self, place: &FormKey) -> Result<Option<Seen<ParkedForm>>> {
        self.store.find_form(&place.token, place.id).await
    }

    /// Takes a form to send it, as the policy permitted: of any number of requests one gets it. `None` if another was faster.
    ///
    /// # Errors
    /// [`crate::store::Error`] if the store cannot answer.
    pub async fn take(
        &self,
        place: FormKey,
        seen: &Seen<ParkedForm>,
        permit: &Permit,
        who: Who,
        now: Timestamp,
    ) -> Result<Option<Claimed>> {
        let going = seen.value.going(permit, now);
        // What became of it is remembered for as long as anybody could come back to its page.
        let taking = FormUpdate {
            seen,
            next: &going,
            lives: self.limits.lifetime,
        };
        let taken = self
            .store
            .claim_form(&place.token, place.id, taking)
            .await?;
        Ok(taken.map(|(body, going)| Claimed {
            place,
            form: seen.value.clone(),
            body,
            going,
            who,
        }))
    }

    /// Notes that a connection to the calculator stands: from here on bytes may have gone up, and the form counts as sent, which it does
    /// anyway after a while if the store cannot answer.
    pub async fn note_sent(&self, taken: &Claimed, now: Timestamp) {
        let noting = FormUpdate {
            seen: &taken.going,
            next: &taken.form.sent(now),
            lives: self.limits.lifetime,
        };
        // Counted and logged by the store itself.
        let _ = self
            .store
            .update_form(&taken.place.token, taken.place.id, noting)
            .await;
        self.note(Outcome::Sent, taken.who);
    }

    /// Keeps on a form that was taken, for what is left of its time, since the calculator could not be reached: not a byte of it went
    /// there. False if its broker discarded it meanwhile, or its time is over.
    ///
    /// # Errors
    /// [`crate::store::Error`] if the store cannot answer; the form is lost then.
    pub async fn put_back(&self, taken: &Claimed, now: Timestamp) -> Result<bool> {
        let lives = taken.form.kept_until(&self.limits).after(now);
        if lives.is_zero() {
            return Ok(false);
        }
        let parked = FormDraft {
            lives,
            over: Some(&taken.going),
            ..self.parked(&taken.place, &taken.form, &taken.body)
        };
        let is_back =
            self.store.save_form(parked, &RateLimits::none()).await? == WriteOutcome::Done;
        if is_back {
            self.note(Outcome::Returned, taken.who);
        }
        Ok(is_back)
    }

    /// Forgets a form that its broker does not want to send.
    ///
    /// # Errors
    /// [`crate::store::Error`] if the store cannot answer.
    pub async fn discard(&self, place: &FormKey, who: Who) -> Result<()> {
        self.store.discard_form(&place.token, place.id).await?;
        self.note(Outcome::Discarded, who);
        Ok(())
    }

    /// Counts what became of a form, and writes it into the audit log: brokers by their pseudonyms, and nothing of the form itself.
    pub fn note(&self, outcome: Outcome, who: Who) {
        self.metrics.form_parked(outcome);
        let broker = who.broker.map(|broker| self.vault.pseudonym(broker));
        tracing::info!(target: "audit", event = "kept_form", outcome = outcome.as_str(), broker, client = %who.client.ip());
    }

    fn parked<'a>(
        &self,
        place: &'a FormKey,
        form: &'a ParkedForm,
        body: &'a [u8],
    ) -> FormDraft<'a> {
        FormDraft {
            token: &place.token,
            id: place.id,
            form,
            body,
            lives: self.limits.lifetime,
            over: None,
        }
    }
}

impl From<NotKept> for Outcome {
    fn from(reason: NotKept) -> Self {
        match reason {
            NotKept::Foreign => Self::Foreign,
            NotKept::Unfit => Self::Unfit,
            NotKept::TooLarge => Self::TooLarge,
            NotKept::NoRoom => Self::NoRoom,
            NotKept::Failed => Self::Failed,
        }
    }
}
