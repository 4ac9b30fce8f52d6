//! `vtnr-login` and `unbekannte-e-mail`: who the broker is.

use crate::gateway::request::form::Form;
use crate::gateway::respond::failure::Failure;
use crate::gateway::respond::reply::Reply;
use crate::gateway::sign_in_pages::{SignInPages, Visit};
use crate::pages::{FieldError, OnFile, SignIn, SignInNotice, UnknownEmail, View};
use crate::sign_in::{Answer, SignInState};
use domain::email::Email;
use domain::flow::Claim;
use domain::session::{Level, Session as BrokerSession};
use domain::vtnr::Vtnr;
use http::StatusCode;

/// What was typed is shown again, up to a length that no broker number or address has.
const LONGEST_SHOWN: usize = 320;

impl SignInPages {
    pub(crate) async fn show_claim(&self, visit: &Visit) -> Result<Reply, Failure> {
        let session = self.signed_in(visit).await?;
        if session
            .as_ref()
            .is_some_and(|session| matches!(session.level, Level::Full { .. }))
        {
            return Ok(Self::on_to_calculator(visit));
        }
        let (vtnr, email) = match self.sign_ins.state(&visit.visitor, visit.now).await? {
            // Whoever is signed in without submission is here to confirm the address.
            SignInState::None => (
                session
                    .as_ref()
                    .map(|session| session.vtnr.to_string())
                    .unwrap_or_default(),
                String::new(),
            ),
            SignInState::UnknownEmail(claim)
            | SignInState::Tan { claim, .. }
            | SignInState::Over { claim, .. } => {
                (claim.vtnr.to_string(), claim.email.as_str().to_owned())
            }
        };
        let ended = session.is_none() && visit.held.session.is_some();
        let store_down = self
            .sessions
            .is_store_silent()
            .then_some(SignInNotice::StoreDown);
        let notice = ended.then_some(SignInNotice::SessionEnded).or(store_down);
        let view = SignIn {
            return_to: visit.return_to.as_str(),
            vtnr: &vtnr,
            email: &email,
            vtnr_error: None,
            email_error: None,
            notice,
            confirming: self.confirming(session.as_ref(), &vtnr),
            left_portal: Self::left_portal(visit),
        };
        let page = self.page(StatusCode::OK, &View::SignIn(view), visit);
        // The store was asked and knows no such session: its cookie is of no more use.
        Ok(if ended {
            page.with_cookie(self.cookie_names.clear(self.cookie_names.session()))
        } else {
            page
        })
    }

    pub(crate) async fn post_claim(&self, visit: &Visit, form: &Form) -> Result<Reply, Failure> {
        let vtnr = Vtnr::parse(form.field("vtnr"));
        let email = Email::parse(form.field("email"));
        let (Ok(vtnr), Ok(email)) = (vtnr, &email) else {
            return self
                .ask_claim_again(visit, form, vtnr.is_err(), email.is_err())
                .await;
        };
        let claim = Claim {
            vtnr,
            email: email.clone(),
        };
        match self
            .sign_ins
            .begin(&visit.visitor, claim, visit.now)
            .await?
        {
            Answer::InvalidVtnr => self.ask_claim_again(visit, form, true, false).await,
            answer => self.follow(answer, visit).await,
        }
    }

    /// Shows the page again, with what was typed and what is wrong with it.
    async fn ask_claim_again(
        &self,
        visit: &Visit,
        form: &Form,
        vtnr_is_wrong: bool,
        email_is_wrong: bool,
    ) -> Result<Reply, Failure> {
        let session = self.signed_in(visit).await?;
        let vtnr = shown(form.field("vtnr"));
        let email = shown(form.field("email"));
        let error = |is_wrong: bool| is_wrong.then_some(FieldError::Invalid);
        let view = SignIn {
            return_to: visit.return_to.as_str(),
            vtnr: &vtnr,
            email: &email,
            vtnr_error: error(vtnr_is_wrong),
            email_error: error(email_is_wrong),
            notice: None,
            confirming: self.confirming(session.as_ref(), &vtnr),
            left_portal: Self::left_portal(visit),
        };
        Ok(self.page(StatusCode::OK, &View::SignIn(view), visit))
    }

    /// Whether the page is to confirm the address of the very broker who is signed in without submission.
    fn confirming(&self, session: Option<&BrokerSession>, vtnr: &str) -> Option<OnFile> {
        let session = session.filter(|session| session.level == Level::WithoutSubmission)?;
        (Vtnr::parse(vtnr) == Ok(session.vtnr))
            .then(|| self.admission.held_forms.on_file(session.vtnr))
    }

    pub(crate) async fn show_unknown_email(&self, visit: &Visit) -> Result<Reply, Failure> {
        let claim = match self.sign_ins.state(&visit.visitor, visit.now).await? {
            SignInState::UnknownEmail(claim) => claim,
            SignInState::Tan { .. } | SignInState::Over { .. } => {
                return Ok(self.on_to("tan", visit));
            }
            SignInState::None => return self.without_cookie_or_sign_in(visit).await,
        };
        let view = UnknownEmail {
            return_to: visit.return_to.as_str(),
            vtnr: claim.vtnr.to_string(),
            email: claim.email.as_str(),
            without_email: self.sign_ins.rules.now().login.without_email,
        };
        Ok(self.page(StatusCode::OK, &View::UnknownEmail(view), visit))
    }

    pub(crate) async fn post_without_email(&self, visit: &Visit) -> Result<Reply, Failure> {
        let answer = self
            .sign_ins
            .without_email(&visit.visitor, visit.now)
            .await?;
        self.follow(answer, visit).await
    }

    /// There is no sign-in under way, though the browser came to a page in the midst of one. If it sends no cookie at all, it
    /// may refuse them: then beginning again would lead nowhere, and the broker is told why.
    pub(crate) async fn without_cookie_or_sign_in(&self, visit: &Visit) -> Result<Reply, Failure> {
        if self.signed_in(visit).await?.is_some() {
            return Ok(Self::on_to_calculator(visit));
        }
        let notice = if visit.held.flow.is_none() {
            SignInNotice::CookiesBlocked
        } else {
            SignInNotice::SignInExpired
        };
        let view = SignIn {
            return_to: visit.return_to.as_str(),
            vtnr: "",
            email: "",
            vtnr_error: None,
            email_error: None,
            notice: Some(notice),
            confirming: None,
            left_portal: Self::left_portal(visit),
        };
        // The cookie stays: another tab may have got a new one while this answer is on its way.
        Ok(self.page(StatusCode::OK, &View::SignIn(view), visit))
    }
}

fn shown(typed: &str) -> String {
    typed.chars().take(LONGEST_SHOWN).collect()
}
