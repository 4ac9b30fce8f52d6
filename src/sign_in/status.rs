//! The state of a sign-in in progress, for the pages. Reading it changes nothing: no page sends a
//! mail or costs a try.

use super::{SignIns, Visitor};
use crate::store::Result;
use domain::challenge::{Challenge, ChallengeState, Delivery, MailState, TanOver};
use domain::flow::{Claim, Stage};
use domain::time::Timestamp;
use std::time::Duration;

/// The state of the sign-in in a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInState {
    /// No sign-in is in progress.
    None,
    /// The address differs from the one on file.
    UnknownEmail(Claim),
    /// A TAN must be entered.
    Tan {
        claim: Claim,
        /// The length of the TAN.
        letters: usize,
        mail: MailState,
        /// The time until the mail can be sent again.
        resend_after: Duration,
        /// Set if the mail was sent more than once, the last time a moment ago.
        sent_again: bool,
    },
    /// The TAN is no longer accepted.
    Over { claim: Claim, why: TanOver },
}

impl SignIns {
    /// Returns the state of the sign-in in this browser.
    ///
    /// # Errors
    /// [`crate::store::Error`] if the store cannot answer.
    pub async fn state(&self, visitor: &Visitor, now: Timestamp) -> Result<SignInState> {
        let Some((_, seen)) = self.flow_to_continue(visitor).await? else {
            return Ok(SignInState::None);
        };
        let claim = seen.value.claim;
        match seen.value.stage {
            Stage::SignedIn(_) => Ok(SignInState::None),
            Stage::UnknownEmail => Ok(SignInState::UnknownEmail(claim)),
            Stage::Tan(challenge) => {
                let deliveries = self.deliveries(&challenge).await?;
                Ok(self.tan_state(claim, &challenge, &deliveries, now))
            }
        }
    }

    fn tan_state(
        &self,
        claim: Claim,
        challenge: &Challenge,
        deliveries: &[Delivery],
        now: Timestamp,
    ) -> SignInState {
        let valid_until = match challenge.state(deliveries, &self.rules.now().login.tan, now) {
            ChallengeState::Spent => {
                return SignInState::Over {
                    claim,
                    why: TanOver::Spent,
                };
            }
            ChallengeState::Expired => {
                return SignInState::Over {
                    claim,
                    why: TanOver::Expired,
                };
            }
            ChallengeState::Open { valid_until } => valid_until,
        };
        let resend_after = challenge
            .mailed_at
            .plus(self.rules.now().limits.mail_pause.window)
            .after(now);
        SignInState::Tan {
            claim,
            letters: challenge.tan.length().letters(),
            mail: self.mail_state(challenge, deliveries, valid_until, now),
            resend_after,
            sent_again: challenge.letters.len() > 1 && !resend_after.is_zero(),
        }
    }

    /// Describes the last mail's delivery. In neutral mode the truth would tell a right claim from
    /// a wrong one, so that every claim gets the same description.
    fn mail_state(
        &self,
        challenge: &Challenge,
        deliveries: &[Delivery],
        valid_until: Option<Timestamp>,
        now: Timestamp,
    ) -> MailState {
        if self.is_neutral() {
            return MailState::Accepted {
                at: challenge.mailed_at,
                valid_until: challenge
                    .mailed_at
                    .plus(self.rules.now().login.tan.lifetime),
            };
        }
        match (deliveries.last(), valid_until) {
            (Some(Delivery::Accepted { at }), Some(valid_until)) => MailState::Accepted {
                at: *at,
                valid_until,
            },
            (Some(Delivery::Delayed { next_try_at }), _) if *next_try_at <= now => {
                MailState::Retrying
            }
            (Some(Delivery::Delayed { next_try_at }), _) => MailState::Delayed {
                next_try_at: *next_try_at,
            },
            (Some(Delivery::Refused { .. }), _) => MailState::Refused,
            _ => MailState::Sending,
        }
    }
}
