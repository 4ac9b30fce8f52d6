//! Each step of a sign-in by itself.

use super::desk::{ADDRESSES, Desk, Tab, wrong_tan};
use crate::config::Enumeration;
use crate::sign_in::{Answer, Rules, SignInState};
use domain::challenge::{MailState, TanOver};
use domain::session::{Level, Proof};
use std::time::Duration;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;

/// A broker number that the directory does not have.
const NOBODY: usize = 3;

pub(super) fn change_rules(desk: &Desk, change: impl FnOnce(&mut Rules)) {
    let mut rules = (*desk.sign_ins.rules.now()).clone();
    change(&mut rules);
    desk.sign_ins.rules.put(rules);
}

async fn state(desk: &Desk, tab: &Tab) -> SignInState {
    let state = desk.sign_ins.state(&tab.visitor(), desk.now()).await;
    state.expect("the store works")
}

async fn level(desk: &Desk, answer: &Answer) -> Level {
    let Answer::SignedIn(new) = answer else {
        panic!("{answer:?}")
    };
    let session = desk.session(&new.session).await;
    session.expect("a live session").level
}

/// The TAN that this tab has to enter.
async fn tan(desk: &Desk, tab: &Tab) -> String {
    let asked = desk.asked(tab).await.expect("a TAN");
    asked.challenge.tan.reveal().to_owned()
}

pub(super) async fn asked(desk: &Desk, tab: &mut Tab) -> String {
    let answer = desk.begin(tab, 0, 0).await;
    assert!(matches!(answer, Answer::TanAsked(_)), "{answer:?}");
    desk.deliver().await;
    tan(desk, tab).await
}

const FULL: Level = Level::Full {
    proof: Proof::Mailbox,
};

#[tokio::test]
async fn a_claim_leads_where_the_directory_says() {
    let mut desk = Desk::open();
    let mut tab = Tab::new(1);
    assert_eq!(state(&desk, &tab).await, SignInState::None);
    let other = desk.begin(&mut tab, 0, 1).await;
    assert!(matches!(other, Answer::UnknownEmail(_)), "{other:?}");
    let SignInState::UnknownEmail(claim) = state(&desk, &tab).await else {
        panic!("no claim")
    };
    assert_eq!(claim.email.as_str(), ADDRESSES[1]);
    assert_eq!(desk.deliver().await, 0, "no mail to a wrong address");
    desk.change_directory(1, NOBODY);
    let nobody = desk.begin(&mut Tab::new(2), 1, 1).await;
    assert!(matches!(nobody, Answer::InvalidVtnr), "{nobody:?}");
    assert_eq!(desk.deliver().await, 0, "no mail to nobody");
    let right = desk.begin(&mut tab, 0, 0).await;
    assert!(matches!(right, Answer::TanAsked(_)), "{right:?}");
    assert_eq!(desk.deliver().await, 1);
}

#[tokio::test]
async fn wrong_numbers_of_a_client_have_an_end_which_right_ones_do_not_spend() {
    let mut desk = Desk::open();
    desk.change_directory(1, NOBODY);
    for _ in 0..9 {
        let right = desk.begin(&mut Tab::new(1), 2, 2).await;
        assert!(
            matches!(right, Answer::TanAsked(_) | Answer::MailsExhausted { .. }),
            "{right:?}"
        );
    }
    for attempt in 0..30 {
        let nobody = desk.begin(&mut Tab::new(1), 1, 1).await;
        assert!(
            matches!(nobody, Answer::InvalidVtnr),
            "{attempt}: {nobody:?}"
        );
    }
    let begun = desk.now();
    let over = desk.begin(&mut Tab::new(1), 1, 1).await;
    let Answer::TooMany { until } = over else {
        panic!("{over:?}")
    };
    assert_eq!(until, begun.plus(Duration::from_secs(3_600)));
    let other = desk.begin(&mut Tab::new(2), 1, 1).await;
    assert!(
        matches!(other, Answer::InvalidVtnr),
        "another client: {other:?}"
    );
}

#[tokio::test]
async fn a_right_tan_signs_in_fully_and_once() {
    let desk = Desk::open();
    let mut tab = Tab::new(1);
    let tan = asked(&desk, &mut tab).await;
    let answer = desk.answer(&mut tab, &tan.to_lowercase()).await;
    assert_eq!(level(&desk, &answer).await, FULL);
    let Answer::SignedIn(first) = &answer else {
        panic!("{answer:?}")
    };
    assert!(first.browser.is_some(), "the browser is trusted");
    let again = desk.answer(&mut tab, &tan).await;
    let Answer::SignedIn(second) = &again else {
        panic!("{again:?}")
    };
    assert_eq!(
        first.session, second.session,
        "a double click is one sign-in"
    );
    assert_eq!(state(&desk, &tab).await, SignInState::None);
    desk.pass(61 * SECOND);
    let late = desk.answer(&mut tab, &tan).await;
    assert!(matches!(late, Answer::NoSignIn), "{late:?}");
}

#[tokio::test]
async fn each_wrong_answer_costs_a_try_and_the_last_one_ends_the_tan() {
    let desk = Desk::open();
    let mut tab = Tab::new(1);
    let tan = asked(&desk, &mut tab).await;
    let malformed = desk.answer(&mut tab, "BC").await;
    assert!(
        matches!(malformed, Answer::MalformedTan(_)),
        "{malformed:?}"
    );
    for left in (1..5).rev() {
        let wrong = desk.answer(&mut tab, &wrong_tan(&tan, left)).await;
        let Answer::WrongTan { tries_left } = wrong else {
            panic!("{wrong:?}")
        };
        assert_eq!(usize::from(tries_left), left);
    }
    for entered in [wrong_tan(&tan, 7), tan] {
        let spent = desk.answer(&mut tab, &entered).await;
        assert!(
            matches!(spent, Answer::TanOver(TanOver::Spent)),
            "{spent:?}"
        );
    }
    let over = state(&desk, &tab).await;
    let is_spent = matches!(
        over,
        SignInState::Over {
            why: TanOver::Spent,
            ..
        }
    );
    assert!(is_spent, "{over:?}");
}

#[tokio::test]
async fn a_tan_lives_for_its_time_from_its_delivery() {
    let desk = Desk::open();
    let mut tab = Tab::new(1);
    let _ = desk.begin(&mut tab, 0, 0).await;
    let tan = tan(&desk, &tab).await;
    let SignInState::Tan { letters, mail, .. } = state(&desk, &tab).await else {
        panic!("no TAN")
    };
    assert_eq!((letters, mail), (6, MailState::Sending));
    desk.pass(20 * MINUTE);
    let delivered = desk.now();
    assert_eq!(desk.deliver().await, 1);
    let SignInState::Tan { mail, .. } = state(&desk, &tab).await else {
        panic!("no TAN")
    };
    let valid_until = delivered.plus(Duration::from_secs(900));
    let accepted = MailState::Accepted {
        at: delivered,
        valid_until,
    };
    assert_eq!(mail, accepted);
    desk.pass(15 * MINUTE - 1);
    let wrong = desk.answer(&mut tab, &wrong_tan(&tan, 1)).await;
    assert!(matches!(wrong, Answer::WrongTan { .. }), "{wrong:?}");
    desk.pass(1);
    let expired = desk.answer(&mut tab, &tan).await;
    assert!(
        matches!(expired, Answer::TanOver(TanOver::Expired)),
        "{expired:?}"
    );
    let over = state(&desk, &tab).await;
    let is_expired = matches!(
        over,
        SignInState::Over {
            why: TanOver::Expired,
            ..
        }
    );
    assert!(is_expired, "{over:?}");
}

#[tokio::test]
async fn a_mail_is_sent_again_after_the_pause_with_the_same_tan() {
    let desk = Desk::open();
    let mut tab = Tab::new(1);
    let tan_of_first = asked(&desk, &mut tab).await;
    let early = desk.ask_again(&mut tab).await;
    let Answer::MailsExhausted { until } = early else {
        panic!("{early:?}")
    };
    assert_eq!(until, desk.now().plus(Duration::from_secs(30)));
    desk.pass(30 * SECOND);
    let again = desk.ask_again(&mut tab).await;
    assert!(matches!(again, Answer::TanAsked(_)), "{again:?}");
    assert_eq!(desk.deliver().await, 1);
    assert_eq!(tan(&desk, &tab).await, tan_of_first);
    let SignInState::Tan {
        resend_after,
        sent_again,
        ..
    } = state(&desk, &tab).await
    else {
        panic!("no TAN")
    };
    assert_eq!((resend_after, sent_again), (Duration::from_secs(30), true));
    desk.pass(30 * SECOND);
    let SignInState::Tan {
        resend_after,
        sent_again,
        ..
    } = state(&desk, &tab).await
    else {
        panic!("no TAN")
    };
    assert_eq!((resend_after, sent_again), (Duration::ZERO, false));
    let nobody = desk.ask_again(&mut Tab::new(2)).await;
    assert!(matches!(nobody, Answer::NoSignIn), "{nobody:?}");
}

#[tokio::test]
async fn a_claim_that_is_made_twice_goes_on_under_a_new_token_without_another_mail() {
    let desk = Desk::open();
    let mut tab = Tab::new(1);
    let tan_of_first = asked(&desk, &mut tab).await;
    let first = tab.flow;
    let again = desk.begin(&mut tab, 0, 0).await;
    assert!(matches!(again, Answer::TanAsked(_)), "{again:?}");
    assert_ne!(tab.flow, first);
    assert_eq!(desk.deliver().await, 0);
    assert_eq!(tan(&desk, &tab).await, tan_of_first);
    desk.pass(6 * SECOND);
    assert!(
        !desk.is_under_way(first).await,
        "the previous token is dead"
    );
}

#[tokio::test]
async fn without_email_the_session_is_reduced_and_only_after_another_address() {
    let desk = Desk::open();
    let mut tab = Tab::new(1);
    let none = desk.without_email(&tab).await;
    assert!(matches!(none, Answer::NoSignIn), "{none:?}");
    let _ = desk.begin(&mut tab, 0, 0).await;
    let tan_is_next = desk.without_email(&tab).await;
    assert!(
        matches!(tan_is_next, Answer::TanAsked(_)),
        "{tan_is_next:?}"
    );
    let mut tab = Tab::new(2);
    let _ = desk.begin(&mut tab, 0, 1).await;
    let answer = desk.without_email(&tab).await;
    assert_eq!(level(&desk, &answer).await, Level::WithoutSubmission);
    let Answer::SignedIn(first) = &answer else {
        panic!("{answer:?}")
    };
    assert!(first.browser.is_none(), "nothing was proven");
    let again = desk.without_email(&tab).await;
    let Answer::SignedIn(second) = &again else {
        panic!("{again:?}")
    };
    assert_eq!(first.session, second.session);
    let tan = desk.answer(&mut tab, "BCDFGH").await;
    assert!(!matches!(tan, Answer::SignedIn(_)), "{tan:?}");
    change_rules(&desk, |rules| rules.login.without_email = false);
    let off = desk.without_email(&tab).await;
    assert!(matches!(off, Answer::SwitchedOff), "{off:?}");
}

#[tokio::test]
async fn sign_ins_without_email_have_a_limit_for_a_client() {
    let desk = Desk::open();
    change_rules(&desk, |rules| rules.limits.without_email_client.limit = 2);
    let enter = async |number: usize| {
        let mut tab = Tab::new(number);
        let _ = desk.begin(&mut tab, 0, 1).await;
        desk.without_email(&tab).await
    };
    for _ in 0..2 {
        assert!(matches!(enter(1).await, Answer::SignedIn(_)));
    }
    let over = enter(1).await;
    assert!(matches!(over, Answer::TooMany { .. }), "{over:?}");
    assert!(matches!(enter(2).await, Answer::SignedIn(_)));
}

#[tokio::test]
async fn a_trusted_browser_is_spared_the_tan_for_its_own_claim_and_time() {
    let mut desk = Desk::open();
    let mut tab = Tab::new(1);
    let tan = asked(&desk, &mut tab).await;
    let Answer::SignedIn(first) = desk.answer(&mut tab, &tan).await else {
        panic!("it is right")
    };
    tab.browser = first.browser;
    tab.flow = None;
    let next = desk.begin(&mut tab, 0, 0).await;
    assert_eq!(level(&desk, &next).await, FULL);
    let other = desk.begin(&mut tab, 1, 1).await;
    assert!(
        matches!(other, Answer::TanAsked(_)),
        "another broker: {other:?}"
    );
    desk.pass(30 * DAY - MINUTE);
    tab.flow = None;
    let last = desk.begin(&mut tab, 0, 0).await;
    assert!(matches!(last, Answer::SignedIn(_)), "{last:?}");
    desk.pass(2 * MINUTE);
    let late = desk.begin(&mut tab, 0, 0).await;
    assert!(matches!(late, Answer::TanAsked(_)), "{late:?}");
    desk.change_directory(0, 1);
    let changed = desk.begin(&mut tab, 0, 0).await;
    assert!(matches!(changed, Answer::UnknownEmail(_)), "{changed:?}");
}

#[tokio::test]
async fn a_revocation_ends_trust_and_an_address_that_changes_ends_a_tan() {
    let mut desk = Desk::open();
    let mut tab = Tab::new(1);
    let tan = asked(&desk, &mut tab).await;
    desk.change_directory(0, 1);
    let answer = desk.answer(&mut tab, &tan).await;
    assert!(matches!(answer, Answer::UnknownEmail(_)), "{answer:?}");
    desk.change_directory(0, 0);
    desk.pass(MINUTE);
    let tan = asked(&desk, &mut tab).await;
    let Answer::SignedIn(new) = desk.answer(&mut tab, &tan).await else {
        panic!("it is right")
    };
    tab.browser = new.browser;
    desk.revoke(0).await;
    assert!(desk.session(&new.session).await.is_none());
    desk.pass(MINUTE);
    let after = desk.begin(&mut tab, 0, 0).await;
    assert!(matches!(after, Answer::TanAsked(_)), "{after:?}");
}

#[tokio::test]
async fn in_neutral_mode_right_and_wrong_claims_are_answered_alike() {
    let mut desk = Desk::open();
    desk.change_directory(1, NOBODY);
    change_rules(&desk, |rules| {
        rules.login.enumeration = Enumeration::Neutral
    });
    for (number, (broker, address)) in [(0, 0), (0, 2), (1, 1)].into_iter().enumerate() {
        let mut tab = Tab::new(number);
        let answer = desk.begin(&mut tab, broker, address).await;
        assert!(matches!(answer, Answer::TanAsked(_)), "{answer:?}");
        let begun = desk.now();
        let SignInState::Tan {
            mail, resend_after, ..
        } = state(&desk, &tab).await
        else {
            panic!("no TAN")
        };
        let accepted = MailState::Accepted {
            at: begun,
            valid_until: begun.plus(Duration::from_secs(900)),
        };
        assert_eq!((mail, resend_after), (accepted, Duration::from_secs(30)));
        let asked = desk.asked(&tab).await.expect("a TAN").challenge;
        let wrong = desk
            .answer(&mut tab, &wrong_tan(asked.tan.reveal(), 1))
            .await;
        assert!(
            matches!(wrong, Answer::WrongTan { tries_left: 4 }),
            "{wrong:?}"
        );
        desk.pass(30 * SECOND);
        let again = desk.ask_again(&mut tab).await;
        assert!(matches!(again, Answer::TanAsked(_)), "{again:?}");
        let is_real = (broker, address) == (0, 0);
        desk.deliver().await;
        let right = desk.answer(&mut tab, asked.tan.reveal()).await;
        assert_eq!(matches!(right, Answer::SignedIn(_)), is_real, "{right:?}");
    }
}

#[tokio::test]
async fn once_the_budget_of_a_broker_is_spent_strangers_need_a_long_tan() {
    let desk = Desk::open();
    change_rules(&desk, |rules| rules.limits.wrong_tans_day.limit = 2);
    let mut tab = Tab::new(1);
    let tan_of_first = asked(&desk, &mut tab).await;
    for n in 0..2 {
        let wrong = desk.answer(&mut tab, &wrong_tan(&tan_of_first, n)).await;
        assert!(matches!(wrong, Answer::WrongTan { .. }), "{wrong:?}");
    }
    let over = desk.answer(&mut tab, &tan_of_first).await;
    assert!(
        matches!(over, Answer::TanOver(TanOver::LongTanNeeded)),
        "{over:?}"
    );
    desk.pass(30 * SECOND);
    let again = desk.ask_again(&mut tab).await;
    assert!(matches!(again, Answer::TanAsked(_)), "{again:?}");
    desk.deliver().await;
    let long = tan(&desk, &tab).await;
    assert!(long.len() > tan_of_first.len());
    let answer = desk.answer(&mut tab, &long).await;
    assert_eq!(level(&desk, &answer).await, FULL);
}
