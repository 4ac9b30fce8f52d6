//! Held forms: one record for a form's particulars, and one for its body.

use super::Sealed;
use crate::store::engine::{Change, Engine, Expect, TxOutcome};
use crate::store::vault::{Kind, RecordKey};
use crate::store::{
    ClaimedForm, FormDraft, FormStore, FormUpdate, RateLimits, Result, Seen, WriteOutcome,
};
use async_trait::async_trait;
use domain::held_form::HeldForm;
use domain::ids::{FormId, FormToken};

impl<E: Engine> Sealed<E> {
    /// Names the records of a form's particulars and of its body.
    pub(super) fn form_keys(&self, token: &FormToken, id: FormId) -> (RecordKey, RecordKey) {
        let found_by = [&token.reveal()[..], &id.bits().to_be_bytes()].concat();
        (
            self.vault.name(Kind::Form, &found_by),
            self.vault.name(Kind::FormBody, &found_by),
        )
    }

    /// Writes a form's next state, and deletes `delete` in the same step.
    async fn advance_form(
        &self,
        (name, token): (RecordKey, &FormToken),
        update: FormUpdate<'_>,
        delete: Vec<RecordKey>,
    ) -> Result<Option<Seen<HeldForm>>> {
        let FormUpdate { seen, next, lives } = update;
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
}

#[async_trait]
impl<E: Engine> FormStore for Sealed<E> {
    async fn save_form(
        &self,
        draft: FormDraft<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        let FormDraft {
            token,
            id,
            form,
            body,
            lives,
            over,
        } = draft;
        let (name, body_name) = self.form_keys(token, id);
        let expected = over.map_or(Expect::Absent, |seen| Expect::Is(seen.version.clone()));
        let mut change = Change {
            expect: vec![(name, expected)],
            ..Change::default()
        };
        self.add_limits(&mut change, rate_limits);
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

    async fn find_form(&self, token: &FormToken, id: FormId) -> Result<Option<Seen<HeldForm>>> {
        self.find(self.form_keys(token, id).0, token.reveal()).await
    }

    async fn claim_form(
        &self,
        token: &FormToken,
        id: FormId,
        update: FormUpdate<'_>,
    ) -> Result<Option<ClaimedForm>> {
        let (name, body_name) = self.form_keys(token, id);
        let Some(sealed) = self.engine.read(&[body_name]).await?.pop().flatten() else {
            return Ok(None);
        };
        let body = self.open_bytes(body_name, token.reveal(), &sealed)?;
        let claimed = self
            .advance_form((name, token), update, vec![body_name])
            .await?;
        Ok(claimed.map(|seen| (body, seen)))
    }

    async fn update_form(
        &self,
        token: &FormToken,
        id: FormId,
        update: FormUpdate<'_>,
    ) -> Result<Option<Seen<HeldForm>>> {
        self.advance_form((self.form_keys(token, id).0, token), update, Vec::new())
            .await
    }

    async fn discard_form(&self, token: &FormToken, id: FormId) -> Result<()> {
        let (name, body_name) = self.form_keys(token, id);
        self.apply(Change {
            delete: vec![name, body_name],
            ..Change::default()
        })
        .await
    }
}
