//! The first step: a broker claims a number and an address.

use super::request_tan::TanRequest;
use super::{Admitting, Answer, RACES, SignIns, Visitor};
use crate::store::{FlowChange, RateLimits, Result, Seen, WriteOutcome};
use crate::telemetry::metrics::{Outcome, Step};
use domain::challenge::ChallengeState;
use domain::email::Email;
use domain::flow::{Claim, Flow, Stage};
use domain::ids::FlowToken;
use domain::session::{Level, Proof};
use domain::throttle::Subject;
use domain::time::Timestamp;
use domain::trust::TrustLevel;

/// The directory's verdict on a claim.
enum ClaimCheck {
    /// The address is on file, in this spelling.
    Confirmed(Email),
    /// The broker exists with another address.
    OtherEmail,
    NoBroker,
}

impl SignIns {
    /// Processes a claim. A trusted browser is signed in at once, any other is asked for a TAN. A
    /// wrong claim is refused or, with `enumeration = "neutral"`, treated like a right one.
    ///
    /// # Errors
    /// [`crate::store::Error`] if the store cannot answer; nothing was done then.
    pub async fn begin(&self, visitor: &Visitor, claim: Claim, now: Timestamp) -> Result<Answer> {
        match self.look_up(&claim) {
            ClaimCheck::Confirmed(on_file) => {
                self.begin_confirmed(visitor, claim, on_file, now).await
            }
            ClaimCheck::OtherEmail | ClaimCheck::NoBroker if self.is_neutral() => {
                self.begin_decoy(visitor, claim, now).await
            }
            ClaimCheck::OtherEmail => self.begin_unknown_email(visitor, claim, now).await,
            ClaimCheck::NoBroker => self.begin_unknown_vtnr(visitor, claim, now).await,
        }
    }

    fn look_up(&self, claim: &Claim) -> ClaimCheck {
        let snapshot = self.directory.snapshot();
        let Some(broker) = snapshot.find(claim.vtnr) else {
            return ClaimCheck::NoBroker;
        };
        broker
            .confirms(&claim.email)
            .map_or(ClaimCheck::OtherEmail, |on_file| {
                ClaimCheck::Confirmed(on_file.clone())
            })
    }

    /// Returns the claimed address as it is on file, if it still is.
    pub(super) fn confirmed(&self, claim: &Claim) -> Option<Email> {
        match self.look_up(claim) {
            ClaimCheck::Confirmed(on_file) => Some(on_file),
            ClaimCheck::OtherEmail | ClaimCheck::NoBroker => None,
        }
    }

    async fn begin_confirmed(
        &self,
        visitor: &Visitor,
        claim: Claim,
        on_file: Email,
        now: Timestamp,
    ) -> Result<Answer> {
        let (trust_level, revoked_at) = self.trust_level(visitor, &claim, &on_file, now).await?;
        if trust_level == TrustLevel::Trusted {
            return self.admit_trusted(visitor, &claim, revoked_at, now).await;
        }
        // In neutral mode a right claim counts like a wrong one: the limit would tell them apart.
        let rate_limits = if self.is_neutral() {
            RateLimits::take(
                self.rules
                    .now()
                    .limits
                    .sign_in(visitor.client, Some(claim.vtnr)),
            )
        } else {
            RateLimits::check(self.rules.now().limits.sign_in(visitor.client, None))
        };
        let subject = Subject::Broker(claim.vtnr);
        let token = self.rng.flow_token();
        let request = TanRequest {
            visitor,
            token,
            claim,
            to: Some(on_file),
            trust_level,
            subject,
            rate_limits,
        };
        self.ask_or_go_on(request, now).await
    }

    /// Processes a wrong claim in neutral mode: the steps of a right one, with separate counters
    /// and no mail.
    async fn begin_decoy(&self, visitor: &Visitor, claim: Claim, now: Timestamp) -> Result<Answer> {
        let rate_limits = RateLimits {
            take: self
                .rules
                .now()
                .limits
                .sign_in(visitor.client, Some(claim.vtnr)),
            ..RateLimits::none()
        };
        let subject = Subject::Decoy(claim.vtnr, claim.fingerprint());
        // A right claim looks the browser's trust up, so a wrong one does too, to take equally
        // long.
        if let Some(browser) = &visitor.browser
            && !self.store.find_trust(browser).await?.entries().is_empty()
        {
            self.store.revoked_at(claim.vtnr).await?;
        }
        let token = self.rng.flow_token();
        let request = TanRequest {
            visitor,
            token,
            claim,
            to: None,
            trust_level: TrustLevel::Stranger,
            subject,
            rate_limits,
        };
        self.ask_or_go_on(request, now).await
    }

    /// Asks for a TAN, unless this browser has asked for the same claim before and the TAN is still
    /// valid. The sign-in gets a new token in either case: an attacker who knows the previous one,
    /// or planted it, can neither see nor answer this claim.
    async fn ask_or_go_on(&self, request: TanRequest<'_>, now: Timestamp) -> Result<Answer> {
        for _ in 0..RACES {
            let flow = match self.flow_to_continue(request.visitor).await? {
                Some((token, seen)) if self.can_go_on(&seen.value, &request.claim, now).await? => {
                    if self.go_on(&request, &token, &seen).await? == WriteOutcome::Done {
                        return Ok(Answer::TanAsked(request.token));
                    }
                    continue;
                }
                Some(other) => Some(other),
                None => match self.gone_on(&request, now).await? {
                    Some(token) => return Ok(Answer::TanAsked(token)),
                    None => None,
                },
            };
            if let Some(answer) = self.ask(&request, flow, now).await? {
                return Ok(answer);
            }
        }
        Ok(Answer::Busy)
    }

    /// Moves the sign-in, with its TAN, tries and letters, to the request's token.
    async fn go_on(
        &self,
        request: &TanRequest<'_>,
        previous: &FlowToken,
        seen: &Seen<Flow>,
    ) -> Result<WriteOutcome> {
        self.store
            .move_flow(FlowChange {
                token: &request.token,
                previous_token: Some(previous),
                seen: Some(seen),
                next: &seen.value,
                lives: self.rules.now().login.tan.attempt,
            })
            .await
    }

    /// Returns the token that a concurrent request with the same claim has just moved the sign-in
    /// to.
    async fn gone_on(&self, request: &TanRequest<'_>, now: Timestamp) -> Result<Option<FlowToken>> {
        let Some(previous) = request.visitor.flow else {
            return Ok(None);
        };
        let Some(token) = self.store.moved_flow(&previous).await? else {
            return Ok(None);
        };
        let Some(seen) = self.store.find_flow(&token).await? else {
            return Ok(None);
        };
        Ok(self
            .can_go_on(&seen.value, &request.claim, now)
            .await?
            .then_some(token))
    }

    async fn can_go_on(&self, flow: &Flow, claim: &Claim, now: Timestamp) -> Result<bool> {
        let Stage::Tan(challenge) = &flow.stage else {
            return Ok(false);
        };
        if flow.claim != *claim {
            return Ok(false);
        }
        let deliveries = self.deliveries(challenge).await?;
        Ok(matches!(
            challenge.state(&deliveries, &self.rules.now().login.tan, now),
            ChallengeState::Open { .. }
        ))
    }

    /// Returns the browser's sign-in in progress; a completed one is not resumed.
    pub(super) async fn flow_to_continue(
        &self,
        visitor: &Visitor,
    ) -> Result<Option<(FlowToken, Seen<Flow>)>> {
        let Some(token) = visitor.flow else {
            return Ok(None);
        };
        let seen = self.store.find_flow(&token).await?;
        Ok(seen
            .filter(|seen| !matches!(seen.value.stage, Stage::SignedIn(_)))
            .map(|seen| (token, seen)))
    }

    /// Returns how well the browser is known, and the broker's revocation if it had to be looked
    /// up.
    async fn trust_level(
        &self,
        visitor: &Visitor,
        claim: &Claim,
        on_file: &Email,
        now: Timestamp,
    ) -> Result<(TrustLevel, Option<Timestamp>)> {
        let Some(browser) = &visitor.browser else {
            return Ok((TrustLevel::Stranger, None));
        };
        let trust = self.store.find_trust(browser).await?;
        if trust.entries().is_empty() {
            return Ok((TrustLevel::Stranger, None));
        }
        let revoked_at = self.store.revoked_at(claim.vtnr).await?;
        Ok((
            trust.trust_level(
                claim.vtnr,
                on_file,
                self.rules.now().login.trust,
                revoked_at,
                now,
            ),
            revoked_at,
        ))
    }

    async fn admit_trusted(
        &self,
        visitor: &Visitor,
        claim: &Claim,
        revoked_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Answer> {
        // An earlier sign-in in this browser is obsolete, and so are its mails.
        if let Some((token, seen)) = self.flow_to_continue(visitor).await? {
            self.store.discard_flow(&token, &seen.value).await?;
        }
        let level = Level::Full {
            proof: Proof::Mailbox,
        };
        let admitting = Admitting {
            visitor,
            flow: None,
            vtnr: claim.vtnr,
            level,
            trust: None,
            redeemed: None,
            revoked_at,
        };
        // A trusted browser signs in no matter what others do from the same address (product rule:
        // successes do not count).
        let (_, admission) = self.admit(admitting, &RateLimits::none(), now).await?;
        self.audit(Step::Trusted, Outcome::Ok, claim.vtnr, visitor);
        Ok(Answer::SignedIn(admission))
    }

    async fn begin_unknown_vtnr(
        &self,
        visitor: &Visitor,
        claim: Claim,
        now: Timestamp,
    ) -> Result<Answer> {
        let rate_limits = RateLimits::take(
            self.rules
                .now()
                .limits
                .sign_in(visitor.client, Some(claim.vtnr)),
        );
        match self.store.hit_limits(&rate_limits).await? {
            WriteOutcome::OverLimit { hit, retry_after } => {
                Ok(self.over(Step::Vtnr, hit, retry_after, now))
            }
            WriteOutcome::Done | WriteOutcome::Conflict => {
                self.audit(Step::Vtnr, Outcome::InvalidVtnr, claim.vtnr, visitor);
                Ok(Answer::InvalidVtnr)
            }
        }
    }

    async fn begin_unknown_email(
        &self,
        visitor: &Visitor,
        claim: Claim,
        now: Timestamp,
    ) -> Result<Answer> {
        let rate_limits = RateLimits::take(
            self.rules
                .now()
                .limits
                .sign_in(visitor.client, Some(claim.vtnr)),
        );
        let next = Flow {
            claim,
            stage: Stage::UnknownEmail,
        };
        for _ in 0..RACES {
            let flow = self.flow_to_continue(visitor).await?;
            let token = self.rng.flow_token();
            let (previous_token, seen) = flow.as_ref().map(|(token, seen)| (token, seen)).unzip();
            let change = FlowChange {
                token: &token,
                previous_token,
                seen,
                next: &next,
                lives: self.rules.now().login.tan.attempt,
            };
            match self.store.keep_flow(change, &rate_limits).await? {
                WriteOutcome::OverLimit { hit, retry_after } => {
                    return Ok(self.over(Step::Vtnr, hit, retry_after, now));
                }
                WriteOutcome::Done => {
                    self.audit(Step::Vtnr, Outcome::UnknownEmail, next.claim.vtnr, visitor);
                    return Ok(Answer::UnknownEmail(token));
                }
                WriteOutcome::Conflict => {}
            }
        }
        Ok(Answer::Busy)
    }
}
