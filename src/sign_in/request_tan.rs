//! Sends a TAN, and sends it again.

use super::{Answer, RACES, SignIns, Visitor};
use crate::store::{FlowChange, RateLimits, Result, Seen, WriteOutcome};
use crate::telemetry::metrics::{Outcome, Step};
use domain::challenge::Challenge;
use domain::email::Email;
use domain::flow::{Claim, Flow, Stage};
use domain::ids::FlowToken;
use domain::letter::Letter;
use domain::tan::TanLength;
use domain::throttle::{Counter, RateLimitHit, Subject};
use domain::time::Timestamp;
use domain::trust::TrustLevel;

/// A request for a TAN.
pub(super) struct TanRequest<'a> {
    pub(super) visitor: &'a Visitor,
    /// The new token of the sign-in.
    pub(super) token: FlowToken,
    pub(super) claim: Claim,
    /// The address on file; `None` for a decoy.
    pub(super) to: Option<Email>,
    pub(super) trust_level: TrustLevel,
    pub(super) subject: Subject,
    /// Counted in addition to the mail.
    pub(super) rate_limits: RateLimits,
}

impl SignIns {
    /// Draws a TAN and queues its letter. Returns `None` if another request was faster.
    pub(super) async fn ask(
        &self,
        request: &TanRequest<'_>,
        flow: Option<(FlowToken, Seen<Flow>)>,
        now: Timestamp,
    ) -> Result<Option<Answer>> {
        let length = self.length(request.subject, request.trust_level).await?;
        let challenge = Challenge {
            tan: self.rng.tan(&self.rules.now().login.alphabet, length),
            tries_left: self.rules.now().login.tries,
            asked_at: now,
            mailed_at: now,
            letters: vec![self.rng.letter_id()],
            trust_level: request.trust_level,
            subject: request.subject,
        };
        self.mail(request, flow, challenge, now).await
    }

    /// Sends the TAN again, or a new one if the old is no longer accepted.
    ///
    /// # Errors
    /// [`crate::store::Error`] if the store cannot answer; nothing was done then.
    pub async fn ask_again(&self, visitor: &Visitor, now: Timestamp) -> Result<Answer> {
        for _ in 0..RACES {
            let Some((token, seen)) = self.flow_to_continue(visitor).await? else {
                return Ok(Answer::NoSignIn);
            };
            let Stage::Tan(challenge) = &seen.value.stage else {
                return Ok(Answer::UnknownEmail(token));
            };
            let claim = seen.value.claim.clone();
            let to = match challenge.subject {
                Subject::Decoy(..) => None,
                Subject::Broker(_) => match self.confirmed(&claim) {
                    Some(on_file) => Some(on_file),
                    // The address on file changed meanwhile: start over.
                    None => return self.begin(visitor, claim, now).await,
                },
            };
            let trust_level = challenge.trust_level;
            let subject = challenge.subject;
            // The claim was made under this token, which therefore stays.
            let request = TanRequest {
                visitor,
                token,
                claim,
                to,
                trust_level,
                subject,
                rate_limits: RateLimits::none(),
            };
            let same = self.again(challenge, now).await?;
            let answer = match same {
                Some(challenge) => {
                    self.mail(&request, Some((token, seen)), challenge, now)
                        .await?
                }
                None => self.ask(&request, Some((token, seen)), now).await?,
            };
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
        Ok(Answer::Busy)
    }

    /// Returns the challenge with one more letter, if its TAN may be mailed again.
    async fn again(&self, challenge: &Challenge, now: Timestamp) -> Result<Option<Challenge>> {
        let length = self
            .length(challenge.subject, challenge.trust_level)
            .await?;
        if !challenge.can_be_mailed_again(&self.rules.now().login.tan, now)
            || challenge.tan.length() != length
        {
            return Ok(None);
        }
        let mut again = challenge.clone();
        again.letters.push(self.rng.letter_id());
        again.mailed_at = now;
        Ok(Some(again))
    }

    /// Returns the length of a new TAN: long once a budget of wrong answers is spent.
    async fn length(&self, subject: Subject, trust_level: TrustLevel) -> Result<TanLength> {
        let budgets = self.rules.now().limits.guesses(subject, trust_level);
        match self.store.hit_limits(&RateLimits::check(budgets)).await? {
            WriteOutcome::OverLimit { hit, .. } => {
                self.note_breaker(hit.counter);
                Ok(TanLength::Long)
            }
            WriteOutcome::Done | WriteOutcome::Conflict => {
                if trust_level == TrustLevel::Stranger {
                    self.metrics.guess_breaker_closed();
                }
                Ok(TanLength::Usual)
            }
        }
    }

    /// Queues the challenge's last letter. When the broker's mail allowance is used up, a known
    /// browser draws on the reserve, but not to shorten its own wait before sending again.
    async fn mail(
        &self,
        request: &TanRequest<'_>,
        flow: Option<(FlowToken, Seen<Flow>)>,
        challenge: Challenge,
        now: Timestamp,
    ) -> Result<Option<Answer>> {
        let Some(id) = challenge.letters.last().copied() else {
            return Ok(None);
        };
        let step = if challenge.letters.len() == 1 {
            Step::Vtnr
        } else {
            Step::Resend
        };
        let not_after = challenge.asked_at.plus(self.rules.now().login.tan.attempt);
        let letter = Letter {
            id,
            to: request.to.clone(),
            tan: challenge.tan.clone(),
            asked_at: now,
            browser: request.visitor.family.clone(),
            not_after,
        };
        let token = request.token;
        let previous_token = flow
            .as_ref()
            .map(|(previous, _)| previous)
            .filter(|previous| **previous != token);
        let seen = flow.as_ref().map(|(_, seen)| seen);
        let next = Flow {
            claim: request.claim.clone(),
            stage: Stage::Tan(challenge),
        };
        let lives = self.rules.now().login.tan.attempt;
        let change = || FlowChange {
            token: &token,
            previous_token,
            seen,
            next: &next,
            lives,
        };

        let mut written = self
            .store
            .ask_for_tan(
                change(),
                &letter,
                &with(
                    &request.rate_limits,
                    self.rules.now().limits.mail(request.subject),
                ),
            )
            .await?;
        if is_over_mails(&written)
            && request.trust_level != TrustLevel::Stranger
            && self.has_paused(seen, now)
        {
            written = self
                .store
                .ask_for_tan(
                    change(),
                    &letter,
                    &with(
                        &request.rate_limits,
                        self.rules.now().limits.reserve_mail(request.subject),
                    ),
                )
                .await?;
        }
        Ok(match written {
            WriteOutcome::Conflict => None,
            WriteOutcome::OverLimit { hit, retry_after } => {
                Some(self.over(step, hit, retry_after, now))
            }
            WriteOutcome::Done => {
                self.wakeup.notify_one();
                self.audit(
                    step,
                    Outcome::MailQueued,
                    request.claim.vtnr,
                    request.visitor,
                );
                Some(Answer::TanAsked(token))
            }
        })
    }

    /// Returns whether the pause since the last mail of this sign-in has passed.
    fn has_paused(&self, seen: Option<&Seen<Flow>>, now: Timestamp) -> bool {
        match seen.map(|seen| &seen.value.stage) {
            Some(Stage::Tan(challenge)) => {
                now.since(challenge.mailed_at) >= self.rules.now().limits.mail_pause.window
            }
            Some(Stage::UnknownEmail | Stage::SignedIn(_)) | None => true,
        }
    }
}

fn with(rate_limits: &RateLimits, mails: Vec<RateLimitHit>) -> RateLimits {
    let take = rate_limits.take.iter().copied().chain(mails).collect();
    RateLimits {
        take,
        ..rate_limits.clone()
    }
}

fn is_over_mails(written: &WriteOutcome) -> bool {
    matches!(
        written,
        WriteOutcome::OverLimit {
            hit: RateLimitHit {
                counter: Counter::Mails(..),
                ..
            },
            ..
        }
    )
}
