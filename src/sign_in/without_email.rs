//! The sign-in without e-mail: the whole calculator except the Antragsversand.

use super::{Admitting, Answer, NewSession, RACES, SignIns, Visitor};
use crate::store::{RateLimits, Result, WriteOutcome};
use crate::telemetry::metrics::{Outcome, Step};
use domain::flow::Stage;
use domain::session::Level;
use domain::time::Timestamp;

impl SignIns {
    /// Signs in a broker whose address did not match, without submission. Costs no TAN budget
    /// (product rule).
    ///
    /// # Errors
    /// [`crate::store::Error`] if the store cannot answer; nothing was done then.
    pub async fn without_email(&self, visitor: &Visitor, now: Timestamp) -> Result<Answer> {
        if !self.rules.now().login.without_email {
            self.metrics
                .sign_in(Step::WithoutEmail, Outcome::SwitchedOff);
            return Ok(Answer::SwitchedOff);
        }
        let Some(token) = visitor.flow else {
            return Ok(Answer::NoSignIn);
        };
        for _ in 0..RACES {
            let Some(seen) = self.store.find_flow(&token).await? else {
                return Ok(Answer::NoSignIn);
            };
            match &seen.value.stage {
                Stage::UnknownEmail => {}
                Stage::Tan(_) => return Ok(Answer::TanAsked(token)),
                Stage::SignedIn(before) if before.redeemed.is_none() => {
                    return Ok(Answer::SignedIn(NewSession {
                        session: before.session,
                        browser: before.browser,
                    }));
                }
                Stage::SignedIn(_) => return Ok(Answer::NoSignIn),
            }
            let vtnr = seen.value.claim.vtnr;
            if !self.directory.knows(vtnr) {
                return Ok(Answer::InvalidVtnr);
            }
            let rate_limits =
                RateLimits::take(self.rules.now().limits.without_email(visitor.client, vtnr));
            let level = Level::WithoutSubmission;
            let flow = Some((&token, &seen));
            let revoked_at = self.store.revoked_at(vtnr).await?;
            let admitting = Admitting {
                visitor,
                flow,
                vtnr,
                level,
                trust: None,
                redeemed: None,
                revoked_at,
            };
            let (written, admission) = self.admit(admitting, &rate_limits, now).await?;
            match written {
                WriteOutcome::Conflict => {}
                WriteOutcome::OverLimit { hit, retry_after } => {
                    return Ok(self.over(Step::WithoutEmail, hit, retry_after, now));
                }
                WriteOutcome::Done => {
                    self.audit(Step::WithoutEmail, Outcome::Ok, vtnr, visitor);
                    return Ok(Answer::SignedIn(admission));
                }
            }
        }
        Ok(Answer::Busy)
    }
}
