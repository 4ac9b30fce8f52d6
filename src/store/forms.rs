//! Held forms: posts that wait for their broker's sign-in.

use super::{RateLimits, Result, Seen, WriteOutcome};
use async_trait::async_trait;
use domain::held_form::HeldForm;
use domain::ids::{FormId, FormToken};
use std::time::Duration;

/// Keeps held forms, each of which is sent at most once.
#[async_trait]
pub trait FormStore: Send + Sync {
    /// Saves a form if the rate limits allow it. A claimed form that could not be sent is saved
    /// again by this too.
    async fn save_form(
        &self,
        draft: FormDraft<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome>;

    /// Finds a form that is held, or was sent a short while ago.
    async fn find_form(&self, token: &FormToken, id: FormId) -> Result<Option<Seen<HeldForm>>>;

    /// Claims a form for sending if it is unchanged since it was `seen`: exactly one of any number
    /// of requests gets the body.
    async fn claim_form(
        &self,
        token: &FormToken,
        id: FormId,
        update: FormUpdate<'_>,
    ) -> Result<Option<ClaimedForm>>;

    /// Records a form's progress if it is unchanged since it was `seen`.
    async fn update_form(
        &self,
        token: &FormToken,
        id: FormId,
        update: FormUpdate<'_>,
    ) -> Result<Option<Seen<HeldForm>>>;

    /// Deletes a form and its body.
    async fn discard_form(&self, token: &FormToken, id: FormId) -> Result<()>;
}

/// A form to save, with its body.
#[derive(Clone, Copy)]
pub struct FormDraft<'a> {
    /// The token in the browser's cookie, shared by all its forms.
    pub token: &'a FormToken,
    pub id: FormId,
    pub form: &'a HeldForm,
    pub body: &'a [u8],
    pub lives: Duration,
    /// The version that is replaced, unless it changed; `None` for a new form.
    pub over: Option<&'a Seen<HeldForm>>,
}

/// A conditional write of a form's state, without its body.
#[derive(Clone, Copy)]
pub struct FormUpdate<'a> {
    pub seen: &'a Seen<HeldForm>,
    pub next: &'a HeldForm,
    pub lives: Duration,
}

/// A claimed form's body, and the record left behind by the claim.
pub type ClaimedForm = (Vec<u8>, Seen<HeldForm>);
