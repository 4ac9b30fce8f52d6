//! The policy: which requests may be forwarded to the calculator.

use super::route::PublicRoute;
use super::session::{Level, Liveness, Session, SessionLimits};
use super::submission::{Doubt, Intent, Request, SubmissionRules};
use super::time::Timestamp;
use super::vtnr::Vtnr;

/// The policy's decision about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow(Permit),
    /// There is no live session.
    SignIn,
    /// The request is the Antragsversand, and the session has no confirmed e-mail address.
    BlockSubmission(Session),
    /// The request could be read as the Antragsversand, and the session has no confirmed e-mail address.
    Refuse(Doubt),
}

/// Proof that the policy allowed a request. Only [`decide`] and [`Permit::public`] create one, and
/// nothing is forwarded without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit(Grounds);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grounds {
    Public,
    SignedIn { vtnr: Vtnr, level: Level },
}

impl Permit {
    /// Permits a request to a path that the operator opened to everybody.
    pub const fn public(_: PublicRoute) -> Self {
        Self(Grounds::Public)
    }

    /// Returns broker and level; `None` on a public path.
    pub const fn broker(&self) -> Option<(Vtnr, Level)> {
        match self.0 {
            Grounds::Public => None,
            Grounds::SignedIn { vtnr, level } => Some((vtnr, level)),
        }
    }
}

/// Decides about a request for a protected path. Without a session there is no permit. The submission rules apply only
/// to sessions without submission; full sessions pass unchecked.
pub fn decide(
    request: &Request<'_>,
    rules: &SubmissionRules,
    session: Option<&Session>,
    limits: &SessionLimits,
    now: Timestamp,
) -> Decision {
    let Some(session) = session else {
        return Decision::SignIn;
    };
    if session.liveness(limits, now) != Liveness::Alive {
        return Decision::SignIn;
    }
    let allow = Decision::Allow(Permit(Grounds::SignedIn {
        vtnr: session.vtnr,
        level: session.level,
    }));
    match session.level {
        Level::Full { .. } => allow,
        Level::WithoutSubmission => match rules.classify(request) {
            Intent::Use => allow,
            Intent::Submit => Decision::BlockSubmission(*session),
            Intent::Unclear(doubt) => Decision::Refuse(doubt),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::route::public_route;
    use super::super::session::Proof;
    use super::super::submission::samples::{post, rules};
    use super::*;
    use std::time::Duration;

    const LIMITS: SessionLimits = SessionLimits {
        idle: Duration::from_secs(60),
        absolute: Duration::from_secs(600),
    };
    const FULL: Level = Level::Full {
        proof: Proof::Mailbox,
    };

    fn session(level: Level) -> Session {
        Session::begin(
            Vtnr::parse("60/123/4567").expect("well-formed"),
            level,
            Timestamp::from_millis(0),
        )
    }

    const USE: &str = "/tarif";
    const SUBMIT: &str = "/antrag/versand";
    const UNCLEAR: &str = "/antrag%2Fversand";

    fn decided(target: &str, session: Option<&Session>, now: u64) -> Decision {
        let rules = rules(&[SUBMIT]);
        let now = Timestamp::from_millis(now);
        decide(&post(target), &rules, session, &LIMITS, now)
    }

    #[test]
    fn nobody_passes_without_a_session() {
        for target in [USE, SUBMIT] {
            assert_eq!(decided(target, None, 0), Decision::SignIn);
        }
    }

    #[test]
    fn a_session_that_ended_is_no_session() {
        for target in [USE, SUBMIT] {
            assert_eq!(
                decided(target, Some(&session(FULL)), 60_000),
                Decision::SignIn
            );
        }
    }

    #[test]
    fn only_the_submission_needs_a_confirmed_address() {
        let reduced = session(Level::WithoutSubmission);
        assert!(matches!(
            decided(USE, Some(&reduced), 1),
            Decision::Allow(_)
        ));
        assert_eq!(
            decided(SUBMIT, Some(&reduced), 1),
            Decision::BlockSubmission(reduced)
        );
        assert_eq!(
            decided(UNCLEAR, Some(&reduced), 1),
            Decision::Refuse(Doubt::Escape)
        );
        assert!(matches!(
            decided(UNCLEAR, Some(&session(FULL)), 1),
            Decision::Allow(_)
        ));
        assert!(matches!(
            decided(SUBMIT, Some(&session(FULL)), 1),
            Decision::Allow(_)
        ));
    }

    #[test]
    fn a_session_that_ended_is_asked_to_sign_in_before_it_is_told_of_a_block() {
        assert_eq!(
            decided(SUBMIT, Some(&session(Level::WithoutSubmission)), 60_000),
            Decision::SignIn
        );
    }

    #[test]
    fn a_permit_names_the_broker_it_was_given_to() {
        let Decision::Allow(permit) = decided(USE, Some(&session(FULL)), 1) else {
            panic!("must be allowed")
        };
        assert_eq!(permit.broker(), Some((session(FULL).vtnr, FULL)));
        assert_eq!(Permit::public(public_route()).broker(), None);
    }
}
