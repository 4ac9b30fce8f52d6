//! How a sign-in stands, for the pages that show it. Looking changes nothing: no page sends a mail or costs a try.

use super::{SignIns, TanOver, Visitor};
use crate::store::Result;
use domain::challenge::{Challenge, ChallengeState, Delivery};
use domain::flow::{Claim, Stage};
use domain::time::Timestamp;
use std::time::Duration;

/// How the sign-in in a browser stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInState {
    /// There is none, or it led to a session.
    None,
    /// The address is not the one on file.
    UnknownEmail(Claim),
    /// A TAN is to be entered.
    Tan {
        /// What was claimed.
        claim: Claim,
        /// How many letters the TAN has.
        letters: usize,
        /// What became of the mail.
        mailing: Mailing,
        /// How long until the mail can be sent again; zero if at once.
        resend_after: Duration,
        /// Whether the mail was sent more than once, the last time a moment ago.
        sent_again: bool,
    },
    /// The TAN is of no use any more.
    Over {
        /// What was claimed.
        claim: Claim,
        /// Why.
        why: TanOver,
    },
}

/// What became of the mail, as a broker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mailing {
    /// It is being sent.
    Sending,
    /// The mail server took it.
    Accepted {
        /// When.
        at: Timestamp,
        /// Until when the TAN is valid.
        valid_until: Timestamp,
    },
    /// The mail server could not be reached or put it off.
    Delayed {
        /// When it is tried again.
        next_try_at: Timestamp,
    },
    /// The same, and at this moment it is tried again.
    Retrying,
    /// The mail server refused it.
    Refused,
}

impl SignIns {
    /// How the sign-in in this browser stands.
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
            mailing: self.mailing(challenge, deliveries, valid_until, now),
            resend_after,
            sent_again: challenge.letters.len() > 1 && !resend_after.is_zero(),
        }
    }

    /// The last mail's fate. In neutral mode it would tell a right claim from a wrong one, so that all are told the same.
    fn mailing(
        &self,
        challenge: &Challenge,
        deliveries: &[Delivery],
        valid_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Mailing {
        if self.is_neutral() {
            return Mailing::Accepted {
                at: challenge.mailed_at,
                valid_until: challenge
                    .mailed_at
                    .plus(self.rules.now().login.tan.lifetime),
            };
        }
        match (deliveries.last(), valid_until) {
            (Some(Delivery::Accepted { at }), Some(valid_until)) => Mailing::Accepted {
                at: *at,
                valid_until,
            },
            (Some(Delivery::Delayed { next_try_at }), _) if *next_try_at <= now => {
                Mailing::Retrying
            }
            (Some(Delivery::Delayed { next_try_at }), _) => Mailing::Delayed {
                next_try_at: *next_try_at,
            },
            (Some(Delivery::Refused { .. }), _) => Mailing::Refused,
            _ => Mailing::Sending,
        }
    }
}
