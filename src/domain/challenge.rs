//! Challenges: requested TANs, and the verdict on an answer.

use super::ids::LetterId;
use super::tan::{EnteredTan, Tan};
use super::throttle::Subject;
use super::time::Timestamp;
use super::trust::TrustLevel;
use std::time::Duration;

/// A requested TAN that has not been answered. A repeated request mails the same TAN, so that an earlier mail
/// that arrives late still works; all mails share one number of tries (product rule).
#[derive(Clone)]
pub struct Challenge {
    pub tan: Tan,
    /// The number of wrong answers still allowed.
    pub tries_left: u8,
    /// The time of the first request.
    pub asked_at: Timestamp,
    /// The time of the last request for a mail.
    pub mailed_at: Timestamp,
    /// The mails that carry the TAN, first to last; never empty.
    pub letters: Vec<LetterId>,
    /// The browser's trust level at the request; selects the budgets that wrong answers count in.
    pub trust_level: TrustLevel,
    /// The owner of those budgets. No answer to a decoy is right.
    pub subject: Subject,
}

/// The delivery status of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Queued,
    /// The mail server was unreachable or deferred the mail.
    Delayed {
        next_try_at: Timestamp,
    },
    /// The mail server accepted it; the TAN's lifetime begins here.
    Accepted {
        at: Timestamp,
    },
    /// The mail server rejected it permanently, or it would be too late.
    Refused {
        at: Timestamp,
    },
}

/// Lifetimes of TANs and sign-in attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TanLimits {
    /// The validity of a TAN, from the acceptance of the mail.
    pub lifetime: Duration,
    /// The lifetime of an attempt, from the first request, however late the mail is.
    pub attempt: Duration,
}

/// The verdict on an answer.
pub enum Verdict {
    Accepted,
    /// Wrong; the challenge with one try less replaces the old one.
    Wrong(Challenge),
    /// No tries are left.
    Spent,
    Expired,
}

impl Challenge {
    /// Checks an answer. Consumes the challenge; [`Verdict::Wrong`] returns it with one try less.
    pub fn answer(
        self,
        entered: &EnteredTan,
        deliveries: &[Delivery],
        limits: &TanLimits,
        now: Timestamp,
    ) -> Verdict {
        match self.state(deliveries, limits, now) {
            ChallengeState::Spent => Verdict::Spent,
            ChallengeState::Expired => Verdict::Expired,
            ChallengeState::Open { .. } if self.is_answered_by(entered) => Verdict::Accepted,
            ChallengeState::Open { .. } => Verdict::Wrong(Self {
                tries_left: self.tries_left - 1,
                ..self
            }),
        }
    }

    fn is_answered_by(&self, entered: &EnteredTan) -> bool {
        self.tan.matches(entered) && matches!(self.subject, Subject::Broker(_))
    }

    /// Returns the challenge's state at `now`, given the status of its mails.
    pub fn state(
        &self,
        deliveries: &[Delivery],
        limits: &TanLimits,
        now: Timestamp,
    ) -> ChallengeState {
        let end_of_attempt = self.asked_at.plus(limits.attempt);
        let accepted = deliveries.iter().filter_map(|delivery| match delivery {
            Delivery::Accepted { at } => Some(*at),
            _ => None,
        });
        let on_its_way = deliveries
            .iter()
            .any(|delivery| matches!(delivery, Delivery::Queued | Delivery::Delayed { .. }));
        let valid_until = accepted
            .max()
            .map(|at| at.plus(limits.lifetime).min(end_of_attempt));
        let expired = valid_until.is_some_and(|end| now >= end) && !on_its_way;
        if self.tries_left == 0 {
            ChallengeState::Spent
        } else if expired || now >= end_of_attempt {
            ChallengeState::Expired
        } else {
            ChallengeState::Open { valid_until }
        }
    }

    /// Returns whether another request for a mail sends the same TAN: while it would still be valid had the first
    /// mail been accepted at once. After that, a new TAN is sent, so that none lives longer than two lifetimes.
    pub fn can_be_mailed_again(&self, limits: &TanLimits, now: Timestamp) -> bool {
        self.tries_left > 0 && now.since(self.asked_at) < limits.lifetime
    }
}

/// The state of a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeState {
    /// An answer will be compared.
    Open {
        /// The end of the validity, once a mail has been accepted.
        valid_until: Option<Timestamp>,
    },
    /// No tries are left.
    Spent,
    Expired,
}

/// The reason why a TAN is no longer accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TanOver {
    /// No tries are left.
    Spent,
    Expired,
    /// A budget of wrong answers is spent, and only long TANs are accepted.
    LongTanNeeded,
}

/// The delivery of the mail with a TAN, as shown to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailState {
    Sending,
    Accepted {
        at: Timestamp,
        valid_until: Timestamp,
    },
    /// The mail server deferred the mail, or could not be reached.
    Delayed {
        next_try_at: Timestamp,
    },
    /// The mail was delayed, and is being retried at this moment.
    Retrying,
    Refused,
}

#[cfg(test)]
mod tests {
    use super::super::tan::{Alphabet, TanLength};
    use super::super::vtnr::Vtnr;
    use super::*;

    const LIMITS: TanLimits = TanLimits {
        lifetime: Duration::from_secs(900),
        attempt: Duration::from_secs(3_600),
    };
    const MINUTE: u64 = 60_000;

    fn at(minutes: u64) -> Timestamp {
        Timestamp::from_millis(minutes * MINUTE)
    }

    fn challenge(tries_left: u8) -> Challenge {
        let letters = vec![LetterId::from_bits(1)];
        let subject = Subject::Broker(vtnr());
        Challenge {
            tan: Tan::from_record("BCDFGH"),
            tries_left,
            asked_at: at(0),
            mailed_at: at(0),
            letters,
            trust_level: TrustLevel::Stranger,
            subject,
        }
    }

    fn vtnr() -> Vtnr {
        Vtnr::parse("60/123/4567").expect("well-formed")
    }

    fn entered(text: &str) -> EnteredTan {
        let alphabet = Alphabet::parse(Alphabet::DEFAULT).expect("sound");
        EnteredTan::parse(text, &alphabet, TanLength::Usual).expect("well-formed")
    }

    fn verdict(tries: u8, text: &str, deliveries: &[Delivery], now: Timestamp) -> String {
        match challenge(tries).answer(&entered(text), deliveries, &LIMITS, now) {
            Verdict::Accepted => "accepted".into(),
            Verdict::Wrong(left) => format!("wrong, {} left", left.tries_left),
            Verdict::Spent => "spent".into(),
            Verdict::Expired => "expired".into(),
        }
    }

    #[test]
    fn five_wrong_answers_and_not_one_more_are_compared() {
        let taken = [Delivery::Accepted { at: at(0) }];
        assert_eq!(verdict(5, "BCDFGJ", &taken, at(1)), "wrong, 4 left");
        assert_eq!(verdict(1, "BCDFGJ", &taken, at(1)), "wrong, 0 left");
        assert_eq!(verdict(0, "BCDFGH", &taken, at(1)), "spent");
        assert_eq!(verdict(1, "BCDFGH", &taken, at(1)), "accepted");
    }

    #[test]
    fn the_15_minutes_count_from_the_moment_the_mail_server_took_the_mail() {
        let taken = [Delivery::Accepted { at: at(10) }];
        let just_before = Timestamp::from_millis(25 * MINUTE - 1);
        assert_eq!(verdict(5, "BCDFGH", &taken, just_before), "accepted");
        assert_eq!(verdict(5, "BCDFGH", &taken, at(25)), "expired");
        assert_eq!(
            verdict(5, "BCDFGH", &[Delivery::Queued], at(40)),
            "accepted"
        );
        assert_eq!(
            challenge(5).state(&taken, &LIMITS, at(11)),
            ChallengeState::Open {
                valid_until: Some(at(25))
            }
        );
        assert_eq!(
            challenge(5).state(&[Delivery::Queued], &LIMITS, at(11)),
            ChallengeState::Open { valid_until: None }
        );
    }

    #[test]
    fn a_mail_sent_again_keeps_the_tan_alive_but_never_past_the_attempt() {
        let first = Delivery::Accepted { at: at(0) };
        assert_eq!(
            verdict(
                5,
                "BCDFGH",
                &[first, Delivery::Accepted { at: at(14) }],
                at(28)
            ),
            "accepted"
        );
        assert_eq!(
            verdict(
                5,
                "BCDFGH",
                &[
                    first,
                    Delivery::Delayed {
                        next_try_at: at(17)
                    }
                ],
                at(16)
            ),
            "accepted"
        );
        assert_eq!(
            verdict(
                5,
                "BCDFGH",
                &[first, Delivery::Refused { at: at(2) }],
                at(16)
            ),
            "expired"
        );
        assert_eq!(
            verdict(5, "BCDFGH", &[Delivery::Accepted { at: at(59) }], at(60)),
            "expired"
        );
    }

    #[test]
    fn no_answer_to_a_decoy_is_right() {
        let decoy = Challenge {
            subject: Subject::Decoy(vtnr(), 7),
            ..challenge(5)
        };
        assert!(matches!(
            decoy.answer(&entered("BCDFGH"), &[Delivery::Queued], &LIMITS, at(1)),
            Verdict::Wrong(_)
        ));
    }

    #[test]
    fn the_same_tan_is_mailed_again_only_while_it_is_young_and_has_tries() {
        assert!(challenge(5).can_be_mailed_again(&LIMITS, at(14)));
        assert!(!challenge(5).can_be_mailed_again(&LIMITS, at(15)));
        assert!(!challenge(0).can_be_mailed_again(&LIMITS, at(1)));
    }
}
