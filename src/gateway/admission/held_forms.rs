//! Forms that cannot be forwarded when they come: kept, shown, and sent once.
//!
//! `form_intake.rs` decides what is kept. A held form is sent by a press on a button of the gateway's page, which posts nothing to
//! where the form went at first, with a mark in the query. The request that goes up is then the form's own, byte for byte, and the
//! policy is asked about that one.

use crate::gateway::admission::form_intake::host_in;
use crate::gateway::context::RequestContext;
use crate::gateway::outgoing::OutgoingForm;
use crate::gateway::request::cookies::{CookieNames, RequestCookies};
use crate::gateway::request::kind::form_as_forwarded;
use crate::gateway::request::links::{Links, with_mark};
use crate::gateway::respond::failure::Failure;
use crate::gateway::respond::reply::Reply;
use crate::held_forms::{Actor, FormKey, Forms, SaveError};
use crate::identity::directory::Directory;
use crate::live::Live;
use crate::pages::{BlockedSubmission, KeptForm, OnFile, Pages, SaveResult, View};
use crate::sign_in::SignIns;
use crate::store::Seen;
use crate::telemetry::metrics::HeldFormOutcome as Outcome;
use domain::held_form::{FormStage, FormStatus, HeldForm};
use domain::ids::FormId;
use domain::policy::{self, Decision, Permit};
use domain::session::{Session as BrokerSession, SessionLimits};
use domain::submission::SubmissionRules;
use domain::throttle::ClientAddress;
use domain::time::Timestamp;
use domain::vtnr::Vtnr;
use http::StatusCode;
use std::sync::Arc;

/// Keeps forms, shows them, and hands them out once.
pub(crate) struct HeldForms {
    pub(crate) forms: Arc<Forms>,
    pub(crate) links: Arc<Links>,
    pub(crate) pages: Arc<Live<Pages>>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) sign_ins: Arc<SignIns>,
    pub(crate) submission: Arc<Live<SubmissionRules>>,
    pub(crate) limits: SessionLimits,
    pub(crate) cookie_names: CookieNames,
}

/// What a broker may do with a form.
enum FormLookup {
    /// Send it, with this permit, as this broker.
    Sendable {
        place: FormKey,
        seen: Seen<HeldForm>,
        permit: Permit,
        vtnr: Vtnr,
    },
    /// Wait: it is being sent at this moment.
    Going,
    /// Nothing but read this answer.
    Not(Reply),
}

/// What becomes of a press on the button that sends a form.
pub(crate) enum Press {
    /// The form goes up with this permit, in place of the request's own body.
    Send(Permit, Box<OutgoingForm>),
    Reply(Reply),
}

impl HeldForms {
    /// Takes a form to send it. Of any number of presses, at any gateway, one gets it.
    ///
    /// # Errors
    /// The store cannot answer, or the form could be read as the Antragsversand, which its session may not send.
    pub(crate) async fn press(
        &self,
        id: FormId,
        cookies: &RequestCookies,
        session: Option<&BrokerSession>,
        context: &RequestContext,
    ) -> Result<Press, Failure> {
        let now = context.now;
        let actor = Actor {
            client: context.rate_limit_key(),
            broker: session.map(|session| session.vtnr),
        };
        let found = self.look_up(id, cookies, session, now).await?;
        if let FormLookup::Sendable {
            place,
            seen,
            permit,
            ..
        } = &found
        {
            let taken = self.forms.take(*place, seen, permit, actor, now).await?;
            if let Some(taken) = taken {
                return Ok(Press::Send(*permit, Box::new(OutgoingForm::of(taken))));
            }
        }
        let found = match found {
            // Another press, or another tab, was faster.
            FormLookup::Sendable { .. } => self.look_up(id, cookies, session, now).await?,
            found => found,
        };
        self.forms.note(Outcome::Missed, actor);
        Ok(Press::Reply(match found {
            FormLookup::Not(reply) => reply,
            // A form that is sendable again was put back meanwhile.
            FormLookup::Going | FormLookup::Sendable { .. } => {
                Reply::see_other(&self.links.form_page(id))
            }
        }))
    }

    /// The page from which a form is sent.
    ///
    /// # Errors
    /// As [`press`](Self::press).
    pub(crate) async fn show(
        &self,
        id: Option<FormId>,
        cookies: &RequestCookies,
        session: Option<&BrokerSession>,
        now: Timestamp,
    ) -> Result<Reply, Failure> {
        let Some(id) = id else {
            return Ok(self.page(KeptForm::Gone, now));
        };
        let (form, vtnr) = match self.look_up(id, cookies, session, now).await? {
            FormLookup::Sendable { seen, vtnr, .. } => (seen.value, vtnr),
            FormLookup::Going => return Ok(self.page(KeptForm::Going, now)),
            FormLookup::Not(reply) => return Ok(reply),
        };
        let waits = KeptForm::Waits {
            action: with_mark(form.target.as_str(), id),
            vtnr: vtnr.to_string(),
            site: form.origin.as_deref().and_then(host_in).map(str::to_owned),
            parked_at: form.held_since,
            until: form.kept_until(self.forms.limits()),
        };
        Ok(self.page(waits, now))
    }

    /// Looks a form up for a broker, and asks the policy about it as about any request.
    async fn look_up(
        &self,
        id: FormId,
        cookies: &RequestCookies,
        session: Option<&BrokerSession>,
        now: Timestamp,
    ) -> Result<FormLookup, Failure> {
        let place = cookies.form_token.map(|token| FormKey { token, id });
        let seen = match &place {
            Some(place) => self.forms.find(place).await?,
            None => None,
        };
        let Some((place, seen)) = place.zip(seen) else {
            return Ok(FormLookup::Not(self.page(KeptForm::Gone, now)));
        };
        let page = self.links.form_page(id);
        let to_sign_in =
            || FormLookup::Not(Reply::see_other(&self.links.page("vtnr-login", &page)));
        let Some(session) = session else {
            return Ok(to_sign_in());
        };
        let form = &seen.value;
        let unsendable = match form.status(session.vtnr, self.forms.limits(), now) {
            FormStatus::Waits => None,
            FormStatus::Going => return Ok(FormLookup::Going),
            FormStatus::Sent { at } => Some(KeptForm::Sent { at }),
            FormStatus::OfAnotherBroker => Some(KeptForm::Others {
                vtnr: session.vtnr.to_string(),
            }),
            FormStatus::Expired => Some(KeptForm::Gone),
        };
        if let Some(why) = unsendable {
            return Ok(FormLookup::Not(self.page(why, now)));
        }
        let rules = self.submission.now();
        let request = form_as_forwarded(form);
        match policy::decide(&request, &rules, Some(session), &self.limits, now) {
            Decision::Allow(permit) => Ok(FormLookup::Sendable {
                place,
                seen,
                permit,
                vtnr: session.vtnr,
            }),
            Decision::SignIn => Ok(to_sign_in()),
            Decision::BlockSubmission(session) => {
                let save_result = SaveResult::Until(form.kept_until(self.forms.limits()));
                Ok(FormLookup::Not(self.blocked(
                    session.vtnr,
                    save_result,
                    &page,
                    now,
                )))
            }
            Decision::Refuse(doubt) => Err(Failure::Doubtful(doubt)),
        }
    }

    /// The form that a page is about, while it waits to be sent.
    ///
    /// # Errors
    /// The store cannot answer.
    pub(crate) async fn waiting(
        &self,
        id: Option<FormId>,
        cookies: &RequestCookies,
    ) -> Result<Option<FormKey>, Failure> {
        let Some((token, id)) = cookies.form_token.zip(id) else {
            return Ok(None);
        };
        let key = FormKey { token, id };
        let seen = self.forms.find(&key).await?;
        let waits = seen.is_some_and(|seen| seen.value.stage == FormStage::Waits);
        Ok(waits.then_some(key))
    }

    /// Discards a form that its broker no longer wants to send.
    ///
    /// # Errors
    /// The store cannot answer.
    pub(crate) async fn discard(
        &self,
        key: &FormKey,
        session: Option<&BrokerSession>,
        client: ClientAddress,
    ) -> Result<(), Failure> {
        let broker = session.map(|session| session.vtnr);
        Ok(self.forms.discard(key, Actor { client, broker }).await?)
    }

    /// Puts a form back that was taken, where the calculator could not be reached. Says where its page is.
    pub(crate) async fn put_back(&self, context: &mut RequestContext) -> Option<String> {
        let taken = context.outgoing.take()?.into_unsent()?;
        // The store itself counts and logs a failure; the page promises nothing then.
        let is_back = self.forms.put_back(&taken, context.now).await.ok()?;
        is_back.then(|| self.links.form_page(taken.place.id))
    }

    fn page(&self, form: KeptForm, now: Timestamp) -> Reply {
        let status = match form {
            KeptForm::Waits { .. } | KeptForm::Going => StatusCode::OK,
            KeptForm::Gone => StatusCode::GONE,
            KeptForm::Sent { .. } => StatusCode::CONFLICT,
            KeptForm::Others { .. } => StatusCode::FORBIDDEN,
        };
        Reply::page(status, self.pages.now().render(&View::KeptForm(form), now))
    }

    /// The page for a session that may not send the Antragsversand.
    pub(crate) fn blocked(
        &self,
        vtnr: Vtnr,
        save_result: SaveResult,
        return_to: &str,
        now: Timestamp,
    ) -> Reply {
        let view = BlockedSubmission {
            return_to,
            vtnr: vtnr.to_string(),
            on_file: self.on_file(vtnr),
            save_result,
        };
        Reply::page(
            StatusCode::FORBIDDEN,
            self.pages.now().render(&View::BlockedSubmission(view), now),
        )
    }

    /// Whether the broker has an address to confirm.
    pub(crate) fn on_file(&self, vtnr: Vtnr) -> OnFile {
        let snapshot = self.directory.snapshot();
        let has_address = snapshot
            .find(vtnr)
            .is_some_and(|broker| !broker.emails().is_empty());
        if has_address {
            OnFile::Some
        } else {
            OnFile::None
        }
    }

    /// What a page says of a form that came just now.
    pub(crate) fn save_result<T>(&self, kept: &Result<T, SaveError>, now: Timestamp) -> SaveResult {
        match kept {
            Ok(_) => SaveResult::Until(now.plus(self.forms.limits().lifetime)),
            Err(SaveError::Foreign) => SaveResult::Foreign,
            Err(SaveError::TooLarge) => SaveResult::TooLarge,
            Err(SaveError::NoRoom) => SaveResult::NoRoom,
            Err(SaveError::Unfit) => SaveResult::Failed,
            // Nobody is left to read the page of a form that broke off.
            Err(SaveError::Failed) => SaveResult::StoreDown,
        }
    }
}
