//! Held forms: posts that arrived without a session, saved and sent to the calculator once, after
//! the sign-in.
//!
//! A form waits in the store, sealed with the token in its browser's cookie, in two records: its
//! particulars and its body. Claiming it deletes the body in the same atomic step, so that it is
//! sent at most once. A claimed form counts as on its way for a while, then as sent; it is saved
//! again only if the connection to the calculator failed before a single byte was sent. A form
//! leaves only with a permit. [`crate::gateway`] receives and sends forms; this module knows no
//! HTTP. If saving fails, the [`SaveError`] is reported while the browser still has it, and
//! never an admission.
//!
//! ```text
//! POST without a session -----------+                                            +- allowed: claim, permit --> calculator
//!                                   +- save --> page --> sign-in --> button POST -+
//! Antragsversand without address ---+   p: b:  (401, 403)                        +- not allowed: page, the form stays
//! ```
//!
//! * **Whose.** A blocked application belongs to the broker of its session and is sent by no other.
//!   A form that came without a session is sent as the broker who signs in, whose number the page
//!   shows.
//! * **Quotas.** Bodies are limited by `parking.largest`, by memory while they are received
//!   (`body_memory`), and by counters of kibibytes per client and in total in the store.

mod body_memory;

pub use body_memory::Reservation;

use crate::clock::Rng;
use crate::store::{
    FormDraft, FormStore, FormUpdate, RateLimits, Result, Seen, Vault, WriteOutcome,
};
use crate::telemetry::metrics::{HeldFormOutcome as Outcome, Label as _, Metrics};
use body_memory::BodyMemory;
use domain::held_form::{HeldForm, HeldFormLimits};
use domain::ids::{FormId, FormToken};
use domain::policy::Permit;
use domain::throttle::ClientAddress;
use domain::time::Timestamp;
use domain::vtnr::Vtnr;
use std::sync::Arc;

/// Saves, finds and claims held forms.
pub struct Forms {
    store: Arc<dyn FormStore>,
    limits: HeldFormLimits,
    rng: Rng,
    metrics: Arc<Metrics>,
    vault: Vault,
    body_memory: Arc<BodyMemory>,
}

/// The client and the broker that act on a form, for the audit log.
#[derive(Clone, Copy, Debug)]
pub struct Actor {
    /// The client's address, as counters identify it.
    pub client: ClientAddress,
    /// The broker of the session, if there is one.
    pub broker: Option<Vtnr>,
}

/// Identifies a held form.
#[derive(Clone, Copy, Debug)]
pub struct FormKey {
    /// The token in the browser's cookie.
    pub token: FormToken,
    pub id: FormId,
}

/// The reason why a form is not saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveError {
    /// The form did not come from a page of the calculator: saving it would let other sites send
    /// forms in a broker's name.
    Foreign,
    /// The request is not a form as browsers post them.
    Unfit,
    /// The body exceeds `parking.largest`.
    TooLarge,
    /// The quota of held forms is used up.
    NoRoom,
    /// The body was truncated, or the store cannot save it.
    Failed,
}

/// A claimed form, on its way to the calculator.
pub struct Claimed {
    pub place: FormKey,
    /// The form as it was before the claim.
    pub form: HeldForm,
    pub body: Vec<u8>,
    /// The record left behind by the claim.
    going: Seen<HeldForm>,
    pub actor: Actor,
}

impl Forms {
    /// Creates the service on this store.
    pub fn new(
        store: Arc<dyn FormStore>,
        limits: HeldFormLimits,
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
            body_memory: BodyMemory::new(&limits),
        }
    }

    /// Returns the limits on size and lifetime.
    pub fn limits(&self) -> &HeldFormLimits {
        &self.limits
    }

    /// Reserves memory for a body that is about to be read, announced with `length` bytes.
    ///
    /// # Errors
    /// [`SaveError::TooLarge`] before the body is read.
    pub fn reserve(
        &self,
        client: ClientAddress,
        length: Option<usize>,
    ) -> std::result::Result<Reservation, SaveError> {
        let largest = self.limits.largest;
        if largest == 0 || length.is_some_and(|length| length > largest) {
            return Err(SaveError::TooLarge);
        }
        Ok(BodyMemory::reserve(&self.body_memory, client))
    }

    /// Saves a form for the browser that holds this token, or under a new token that the response
    /// sets.
    ///
    /// # Errors
    /// [`SaveError::NoRoom`], or [`SaveError::Failed`] if the store cannot answer.
    pub async fn keep(
        &self,
        holder: Option<FormToken>,
        client: ClientAddress,
        form: &HeldForm,
        body: &[u8],
    ) -> std::result::Result<FormKey, SaveError> {
        let place = FormKey {
            token: holder.unwrap_or_else(|| self.rng.form_token()),
            id: self.rng.form_id(),
        };
        let rate_limits = RateLimits::take(self.limits.room(client, form.size() + body.len()));
        match self
            .store
            .save_form(self.draft(&place, form, body), &rate_limits)
            .await
        {
            Ok(WriteOutcome::Done) => Ok(place),
            Ok(WriteOutcome::OverLimit { .. } | WriteOutcome::Conflict) => Err(SaveError::NoRoom),
            // Counted and logged by the store.
            Err(_) => Err(SaveError::Failed),
        }
    }

    /// Finds a form that is held, or was sent a short while ago.
    ///
    /// # Errors
    /// [`crate::store::Error`] if the store cannot answer.
    pub async fn find(&self, place: &FormKey) -> Result<Option<Seen<HeldForm>>> {
        self.store.find_form(&place.token, place.id).await
    }

    /// Claims a form for sending, as the policy permitted: exactly one of any number of requests
    /// gets it. Returns `None` if another request was faster.
    ///
    /// # Errors
    /// [`crate::store::Error`] if the store cannot answer.
    pub async fn take(
        &self,
        place: FormKey,
        seen: &Seen<HeldForm>,
        permit: &Permit,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Option<Claimed>> {
        let going = seen.value.going(permit, now);
        // The outcome is kept for as long as the form's page may be visited.
        let update = FormUpdate {
            seen,
            next: &going,
            lives: self.limits.lifetime,
        };
        let claimed = self
            .store
            .claim_form(&place.token, place.id, update)
            .await?;
        Ok(claimed.map(|(body, going)| Claimed {
            place,
            form: seen.value.clone(),
            body,
            going,
            actor,
        }))
    }

    /// Records that the connection to the calculator is established: bytes may be sent from here
    /// on, so the form counts as sent. If the store cannot answer, it counts as sent after a while
    /// anyway.
    pub async fn note_sent(&self, claimed: &Claimed, now: Timestamp) {
        let update = FormUpdate {
            seen: &claimed.going,
            next: &claimed.form.sent(now),
            lives: self.limits.lifetime,
        };
        // Counted and logged by the store.
        let _ = self
            .store
            .update_form(&claimed.place.token, claimed.place.id, update)
            .await;
        self.note(Outcome::Sent, claimed.actor);
    }

    /// Saves a claimed form again for the rest of its lifetime, because the calculator could not be
    /// reached and got no byte of it. Returns false if the broker discarded it meanwhile, or it has
    /// expired.
    ///
    /// # Errors
    /// [`crate::store::Error`] if the store cannot answer; the form is lost then.
    pub async fn put_back(&self, claimed: &Claimed, now: Timestamp) -> Result<bool> {
        let lives = claimed.form.kept_until(&self.limits).after(now);
        if lives.is_zero() {
            return Ok(false);
        }
        let draft = FormDraft {
            lives,
            over: Some(&claimed.going),
            ..self.draft(&claimed.place, &claimed.form, &claimed.body)
        };
        let is_back = self.store.save_form(draft, &RateLimits::none()).await? == WriteOutcome::Done;
        if is_back {
            self.note(Outcome::Returned, claimed.actor);
        }
        Ok(is_back)
    }

    /// Deletes a form at its broker's request.
    ///
    /// # Errors
    /// [`crate::store::Error`] if the store cannot answer.
    pub async fn discard(&self, place: &FormKey, actor: Actor) -> Result<()> {
        self.store.discard_form(&place.token, place.id).await?;
        self.note(Outcome::Discarded, actor);
        Ok(())
    }

    /// Counts an outcome and writes it to the audit log, with the broker's pseudonym and nothing of
    /// the form itself.
    pub fn note(&self, outcome: Outcome, actor: Actor) {
        self.metrics.form_parked(outcome);
        let broker = actor.broker.map(|broker| self.vault.pseudonym(broker));
        tracing::info!(target: "audit", event = "kept_form", outcome = outcome.as_str(), broker, client = %actor.client.ip());
    }

    fn draft<'a>(&self, place: &'a FormKey, form: &'a HeldForm, body: &'a [u8]) -> FormDraft<'a> {
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

impl From<SaveError> for Outcome {
    fn from(reason: SaveError) -> Self {
        match reason {
            SaveError::Foreign => Self::Foreign,
            SaveError::Unfit => Self::Unfit,
            SaveError::TooLarge => Self::TooLarge,
            SaveError::NoRoom => Self::NoRoom,
            SaveError::Failed => Self::Failed,
        }
    }
}
