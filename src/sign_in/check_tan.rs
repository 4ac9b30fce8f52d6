//! The second step: compares the TAN that the broker entered.

use super::{Admitting, Answer, NewSession, RACES, SignIns, Visitor, dated};
use crate::store::{FlowChange, RateLimits, Result, Seen, WriteOutcome};
use crate::telemetry::metrics::{Outcome, Step};
use domain::challenge::{Challenge, TanOver, Verdict};
use domain::flow::{Flow, Redeemed, SignedIn, Stage};
use domain::ids::FlowToken;
use domain::session::{Level, Proof};
use domain::tan::{EnteredTan, TanLength};
use domain::throttle::{RateLimitHit, Subject};
use domain::time::Timestamp;
use domain::trust::{Trust, TrustEntry, TrustLevel};

/// An answer to a challenge, with everything needed to process it.
struct TanAttempt<'a> {
    visitor: &'a Visitor,
    token: FlowToken,
    seen: Seen<Flow>,
    rate_limits: Vec<RateLimitHit>,
    now: Timestamp,
}

impl SignIns {
    /// Processes an answer to the TAN that this browser asked for.
    ///
    /// The result is disclosed only after the answer was counted, in the same atomic step: of any
    /// number of parallel answers exactly as many are compared as tries and budgets allow.
    ///
    /// # Errors
    /// [`crate::store::Error`] if the store cannot answer; nothing was compared then.
    pub async fn answer(&self, visitor: &Visitor, entered: &str, now: Timestamp) -> Result<Answer> {
        let Some(token) = visitor.flow else {
            return Ok(Answer::NoSignIn);
        };
        for _ in 0..RACES {
            let Some(seen) = self.store.find_flow(&token).await? else {
                return Ok(Answer::NoSignIn);
            };
            let result = match seen.value.stage.clone() {
                Stage::UnknownEmail => Some(Answer::UnknownEmail(token)),
                Stage::SignedIn(signed_in) => {
                    self.repeat(visitor, token, seen, signed_in, entered, now)
                        .await?
                }
                Stage::Tan(challenge) => {
                    self.compare(visitor, token, seen, challenge, entered, now)
                        .await?
                }
            };
            if let Some(answer) = result {
                return Ok(answer);
            }
            self.metrics.sign_in(Step::Tan, Outcome::Conflict);
        }
        Ok(Answer::Busy)
    }

    /// Gives the second of two clicks the result of the first. As usual, a wrong answer is counted,
    /// and it is the last one compared; a right one only checks for room. Returns `None` if another
    /// request was faster.
    async fn repeat(
        &self,
        visitor: &Visitor,
        token: FlowToken,
        seen: Seen<Flow>,
        signed_in: SignedIn,
        entered: &str,
        now: Timestamp,
    ) -> Result<Option<Answer>> {
        let Some(Redeemed { tan, trust_level }) = &signed_in.redeemed else {
            return Ok(Some(Answer::NoSignIn));
        };
        let length = tan.length();
        let trust_level = *trust_level;
        let vtnr = seen.value.claim.vtnr;
        let Ok(entered) = EnteredTan::parse(entered, &self.rules.now().login.alphabet, length)
        else {
            return Ok(Some(Answer::NoSignIn));
        };
        let rate_limits = self.rules.now().limits.answer(
            Subject::Broker(vtnr),
            trust_level,
            length,
            visitor.client,
        );
        let is_right = tan.matches(&entered);
        let written = if is_right {
            self.store
                .hit_limits_in_flow(&token, &seen, &RateLimits::check(rate_limits))
                .await?
        } else {
            let rate_limits = self.wrong(rate_limits, length, Subject::Broker(vtnr), trust_level);
            self.store.end_flow(&token, &seen, &rate_limits).await?
        };
        Ok(match written {
            WriteOutcome::Conflict => None,
            WriteOutcome::OverLimit { hit, retry_after } => {
                Some(self.over(Step::Tan, hit, retry_after, now))
            }
            WriteOutcome::Done if is_right => {
                self.metrics.sign_in(Step::Tan, Outcome::Repeated);
                Some(Answer::SignedIn(NewSession {
                    session: signed_in.session,
                    browser: signed_in.browser,
                }))
            }
            WriteOutcome::Done => {
                self.audit(Step::Tan, Outcome::Wrong, vtnr, visitor);
                Some(Answer::NoSignIn)
            }
        })
    }

    /// Returns the counters that a wrong answer is counted in.
    fn wrong(
        &self,
        rate_limits: Vec<RateLimitHit>,
        length: TanLength,
        subject: Subject,
        trust_level: TrustLevel,
    ) -> RateLimits {
        match length {
            TanLength::Usual => RateLimits::take(rate_limits),
            // Guessing a long TAN is hopeless, but the attempt still counts.
            TanLength::Long => RateLimits {
                take: rate_limits,
                count: self.rules.now().limits.guesses(subject, trust_level),
                ..RateLimits::none()
            },
        }
    }

    /// Compares an answer to an open challenge. Returns `None` if another request was faster.
    async fn compare(
        &self,
        visitor: &Visitor,
        token: FlowToken,
        seen: Seen<Flow>,
        challenge: Challenge,
        entered: &str,
        now: Timestamp,
    ) -> Result<Option<Answer>> {
        let length = challenge.tan.length();
        let subject = challenge.subject;
        let trust_level = challenge.trust_level;
        let entered = match EnteredTan::parse(entered, &self.rules.now().login.alphabet, length) {
            Ok(entered) => entered,
            Err(malformed) => {
                self.metrics.sign_in(Step::Tan, Outcome::Malformed);
                return Ok(Some(Answer::MalformedTan(malformed)));
            }
        };
        let deliveries = self.deliveries(&challenge).await?;
        let attempt = TanAttempt {
            visitor,
            token,
            seen,
            rate_limits: self.rules.now().limits.answer(
                subject,
                trust_level,
                length,
                visitor.client,
            ),
            now,
        };
        match challenge.answer(&entered, &deliveries, &self.rules.now().login.tan, now) {
            Verdict::Accepted => self.accept(attempt).await,
            Verdict::Wrong(left) => self.count_wrong(attempt, left).await,
            Verdict::Spent => Ok(Some(self.tan_over(&attempt, TanOver::Spent))),
            Verdict::Expired => Ok(Some(self.tan_over(&attempt, TanOver::Expired))),
        }
    }

    fn tan_over(&self, attempt: &TanAttempt<'_>, why: TanOver) -> Answer {
        let outcome = if why == TanOver::Expired {
            Outcome::Expired
        } else {
            Outcome::Spent
        };
        self.audit(
            Step::Tan,
            outcome,
            attempt.seen.value.claim.vtnr,
            attempt.visitor,
        );
        Answer::TanOver(why)
    }

    async fn count_wrong(
        &self,
        attempt: TanAttempt<'_>,
        left: Challenge,
    ) -> Result<Option<Answer>> {
        let TanAttempt {
            visitor,
            token,
            seen,
            rate_limits,
            now,
        } = attempt;
        let rate_limits = self.wrong(
            rate_limits,
            left.tan.length(),
            left.subject,
            left.trust_level,
        );
        let tries_left = left.tries_left;
        let vtnr = seen.value.claim.vtnr;
        let next = Flow {
            claim: seen.value.claim.clone(),
            stage: Stage::Tan(left),
        };
        let lives = self.rules.now().login.tan.attempt;
        let change = FlowChange {
            token: &token,
            previous_token: None,
            seen: Some(&seen),
            next: &next,
            lives,
        };
        match self.store.keep_flow(change, &rate_limits).await? {
            WriteOutcome::Conflict => Ok(None),
            WriteOutcome::OverLimit { hit, retry_after } => {
                Ok(Some(self.over(Step::Tan, hit, retry_after, now)))
            }
            WriteOutcome::Done => {
                self.audit(Step::Tan, Outcome::Wrong, vtnr, visitor);
                Ok(Some(if tries_left == 0 {
                    Answer::TanOver(TanOver::Spent)
                } else {
                    Answer::WrongTan { tries_left }
                }))
            }
        }
    }

    async fn accept(&self, attempt: TanAttempt<'_>) -> Result<Option<Answer>> {
        let TanAttempt {
            visitor,
            token,
            seen,
            rate_limits,
            now,
        } = attempt;
        let claim = seen.value.claim.clone();
        let Some(on_file) = self.confirmed(&claim) else {
            // The directory changed after the mail was sent: start over.
            return self.begin(visitor, claim, now).await.map(Some);
        };
        let redeemed = match &seen.value.stage {
            Stage::Tan(challenge) => Some(Redeemed {
                tan: challenge.tan.clone(),
                trust_level: challenge.trust_level,
            }),
            Stage::UnknownEmail | Stage::SignedIn(_) => None,
        };
        let previous = match &visitor.browser {
            Some(browser) => self.store.find_trust(browser).await?,
            None => Trust::default(),
        };
        let revoked_at = self.store.revoked_at(claim.vtnr).await?;
        let granted_at = dated(now, revoked_at);
        let trust = Some(previous.granting(TrustEntry {
            vtnr: claim.vtnr,
            email: on_file,
            granted_at,
        }));
        let level = Level::Full {
            proof: Proof::Mailbox,
        };
        let flow = Some((&token, &seen));
        let admitting = Admitting {
            visitor,
            flow,
            vtnr: claim.vtnr,
            level,
            trust,
            redeemed,
            revoked_at,
        };
        let (written, admission) = self
            .admit(admitting, &RateLimits::check(rate_limits), now)
            .await?;
        Ok(match written {
            WriteOutcome::Conflict => None,
            WriteOutcome::OverLimit { hit, retry_after } => {
                Some(self.over(Step::Tan, hit, retry_after, now))
            }
            WriteOutcome::Done => {
                self.audit(Step::Tan, Outcome::Ok, claim.vtnr, visitor);
                Some(Answer::SignedIn(admission))
            }
        })
    }
}
