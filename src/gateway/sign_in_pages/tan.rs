//! `tan`: the TAN is entered, or asked for again.

use crate::gateway::request::form::Form;
use crate::gateway::respond::failure::Failure;
use crate::gateway::respond::reply::Reply;
use crate::gateway::sign_in_pages::{SignInPages, Visit};
use crate::pages::{Resend, TanError, TanOverPage, TanPage, View};
use crate::sign_in::{Answer, SignInState};
use domain::challenge::TanOver;
use domain::flow::Claim;
use domain::time::Timestamp;
use http::StatusCode;
use std::time::Duration;

impl SignInPages {
    pub(crate) async fn show_tan(&self, visit: &Visit) -> Result<Reply, Failure> {
        self.tan_page(visit, None, None).await
    }

    pub(crate) async fn post_tan(&self, visit: &Visit, form: &Form) -> Result<Reply, Failure> {
        if form.field("action") == "resend" {
            return self.post_resend(visit).await;
        }
        let answer = self
            .sign_ins
            .answer(&visit.visitor, form.field("tan"), visit.now)
            .await?;
        let error = match answer {
            Answer::WrongTan { tries_left } => TanError::Wrong { tries_left },
            Answer::MalformedTan(malformed) => TanError::Malformed(malformed),
            Answer::TanOver(why) => return self.tan_over(visit, why).await,
            Answer::NoSignIn => return self.without_cookie_or_sign_in(visit).await,
            answer => return self.follow(answer, visit).await,
        };
        self.tan_page(visit, Some(error), None).await
    }

    async fn post_resend(&self, visit: &Visit) -> Result<Reply, Failure> {
        match self.sign_ins.ask_again(&visit.visitor, visit.now).await? {
            Answer::MailsExhausted { until } => self.tan_page(visit, None, Some(until)).await,
            answer => self.follow(answer, visit).await,
        }
    }

    /// Shows how the sign-in stands; `exhausted` says until when no more mails are sent.
    async fn tan_page(
        &self,
        visit: &Visit,
        error: Option<TanError>,
        exhausted: Option<Timestamp>,
    ) -> Result<Reply, Failure> {
        let (claim, letters, mail, resend_after, sent_again) =
            match self.sign_ins.state(&visit.visitor, visit.now).await? {
                SignInState::None => return self.without_cookie_or_sign_in(visit).await,
                SignInState::UnknownEmail(_) => return Ok(self.on_to("unbekannte-e-mail", visit)),
                // No more mails, and the TAN is over: there is nothing to be entered.
                SignInState::Over { .. } if exhausted.is_some() => {
                    return Err(Failure::MailsExhausted(exhausted.unwrap_or(visit.now)));
                }
                SignInState::Over { claim, why } => return Ok(self.over_page(visit, &claim, why)),
                SignInState::Tan {
                    claim,
                    letters,
                    mail,
                    resend_after,
                    sent_again,
                } => (claim, letters, mail, resend_after, sent_again),
            };
        let status = if exhausted.is_some() {
            StatusCode::TOO_MANY_REQUESTS
        } else {
            StatusCode::OK
        };
        let view = TanPage {
            return_to: visit.return_to.as_str(),
            email: claim.email.as_str(),
            letters,
            mail,
            error,
            resend: resend(resend_after, exhausted),
            sent_again,
        };
        let page = self.page(status, &View::Tan(view), visit);
        Ok(match exhausted {
            Some(until) => page.retry_after(until.after(visit.now)),
            None => page,
        })
    }

    async fn tan_over(&self, visit: &Visit, why: TanOver) -> Result<Reply, Failure> {
        match self.sign_ins.state(&visit.visitor, visit.now).await? {
            SignInState::Tan { claim, .. } | SignInState::Over { claim, .. } => {
                Ok(self.over_page(visit, &claim, why))
            }
            SignInState::UnknownEmail(_) | SignInState::None => self.start_over(visit).await,
        }
    }

    fn over_page(&self, visit: &Visit, claim: &Claim, why: TanOver) -> Reply {
        let view = TanOverPage {
            return_to: visit.return_to.as_str(),
            email: claim.email.as_str(),
            why,
        };
        self.page(StatusCode::OK, &View::TanOver(view), visit)
    }
}

fn resend(after: Duration, exhausted: Option<Timestamp>) -> Resend {
    match exhausted {
        Some(until) => Resend::Exhausted { until },
        None if after.is_zero() => Resend::Now,
        None => Resend::After {
            seconds: after.as_secs() + u64::from(after.subsec_nanos() > 0),
        },
    }
}
