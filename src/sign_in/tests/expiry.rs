//! What time ends, to the second: tests on the sign-in itself, with a clock that is moved by hand.

use super::desk::{Desk, Tab, wrong_tan};
use crate::sign_in::Answer;
use domain::challenge::TanOver;
use domain::session::Level;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;

/// A browser that was asked for a TAN, the mail taken at once; and that TAN.
async fn asked(desk: &Desk, tab: &mut Tab) -> String {
    assert!(matches!(desk.begin(tab, 0, 0).await, Answer::TanAsked(_)));
    assert_eq!(desk.deliver().await, 1);
    desk.asked(tab)
        .await
        .expect("a TAN")
        .challenge
        .tan
        .reveal()
        .to_owned()
}

async fn sign_in(desk: &Desk, tab: &mut Tab) {
    let tan = asked(desk, tab).await;
    let Answer::SignedIn(admission) = desk.answer(tab, &tan).await else {
        panic!("signed in")
    };
    (tab.session, tab.browser, tab.flow) = (Some(admission.session), admission.browser, None);
}

#[tokio::test]
async fn a_tan_is_valid_for_15_minutes_and_not_a_second_more() {
    for (after, is_valid) in [
        (0, true),
        (15 * MINUTE - SECOND, true),
        (15 * MINUTE, false),
        (15 * MINUTE + SECOND, false),
    ] {
        let (desk, mut tab) = (Desk::open(), Tab::new(1));
        let tan = asked(&desk, &mut tab).await;
        desk.pass(after);
        let answer = desk.answer(&mut tab, &tan).await;
        assert_eq!(
            matches!(answer, Answer::SignedIn(_)),
            is_valid,
            "after {after} ms: {answer:?}"
        );
        assert_eq!(
            matches!(answer, Answer::TanOver(TanOver::Expired)),
            !is_valid,
            "after {after} ms: {answer:?}"
        );
    }
}

#[tokio::test]
async fn the_15_minutes_begin_when_the_mail_server_takes_the_mail() {
    let (desk, mut tab) = (Desk::open(), Tab::new(1));
    assert!(matches!(
        desk.begin(&mut tab, 0, 0).await,
        Answer::TanAsked(_)
    ));
    desk.pass(20 * MINUTE);
    assert_eq!(desk.deliver().await, 1);
    let tan = desk
        .asked(&tab)
        .await
        .expect("a TAN")
        .challenge
        .tan
        .reveal()
        .to_owned();
    desk.pass(15 * MINUTE - SECOND);
    assert!(matches!(
        desk.answer(&mut tab, &tan).await,
        Answer::SignedIn(_)
    ));
}

#[tokio::test]
async fn an_expired_tan_is_replaced_by_a_new_one() {
    let (desk, mut tab) = (Desk::open(), Tab::new(1));
    let old = asked(&desk, &mut tab).await;
    desk.pass(16 * MINUTE);
    assert!(matches!(
        desk.ask_again(&mut tab).await,
        Answer::TanAsked(_)
    ));
    assert_eq!(desk.deliver().await, 1);
    let new = desk
        .asked(&tab)
        .await
        .expect("a TAN")
        .challenge
        .tan
        .reveal()
        .to_owned();
    assert_ne!(old, new);
    assert!(matches!(
        desk.answer(&mut tab, &old).await,
        Answer::WrongTan { tries_left: 4 }
    ));
    assert!(matches!(
        desk.answer(&mut tab, &new).await,
        Answer::SignedIn(_)
    ));
}

#[tokio::test]
async fn the_tan_of_an_older_mail_lives_as_long_as_that_of_the_newer_one() {
    let (desk, mut tab) = (Desk::open(), Tab::new(1));
    let tan = asked(&desk, &mut tab).await;
    desk.pass(14 * MINUTE);
    assert!(matches!(
        desk.ask_again(&mut tab).await,
        Answer::TanAsked(_)
    ));
    assert_eq!(desk.deliver().await, 1);
    desk.pass(14 * MINUTE);
    assert!(matches!(
        desk.answer(&mut tab, &tan).await,
        Answer::SignedIn(_)
    ));
}

#[tokio::test]
async fn a_browser_is_trusted_for_30_days_and_not_a_second_more() {
    let (desk, mut tab) = (Desk::open(), Tab::new(1));
    sign_in(&desk, &mut tab).await;
    desk.pass(30 * DAY - SECOND);
    assert!(matches!(
        desk.begin(&mut tab, 0, 0).await,
        Answer::SignedIn(_)
    ));
    desk.pass(SECOND);
    assert!(
        matches!(desk.begin(&mut tab, 0, 0).await, Answer::TanAsked(_)),
        "signing in does not prolong trust"
    );
}

#[tokio::test]
async fn a_session_ends_after_an_hour_without_a_request() {
    let (desk, mut tab) = (Desk::open(), Tab::new(1));
    sign_in(&desk, &mut tab).await;
    let token = tab.session.expect("a session");
    for _ in 0..4 {
        desk.pass(59 * MINUTE);
        assert!(desk.session(&token).await.is_some());
    }
    desk.pass(60 * MINUTE);
    assert!(desk.session(&token).await.is_none());
}

#[tokio::test]
async fn a_session_ends_after_twelve_hours_whatever_happens() {
    let (desk, mut tab) = (Desk::open(), Tab::new(1));
    sign_in(&desk, &mut tab).await;
    let token = tab.session.expect("a session");
    for _ in 0..23 {
        desk.pass(30 * MINUTE);
        assert!(desk.session(&token).await.is_some());
    }
    desk.pass(30 * MINUTE);
    assert!(desk.session(&token).await.is_none());
}

#[tokio::test]
async fn a_session_in_use_lives_however_short_the_idle_limit_is() {
    let (mut desk, mut tab) = (Desk::open(), Tab::new(1));
    desk.idle(MINUTE);
    sign_in(&desk, &mut tab).await;
    let token = tab.session.expect("a session");
    for _ in 0..10 {
        desk.pass(40 * SECOND);
        assert!(
            desk.session(&token)
                .await
                .is_some_and(|session| matches!(session.level, Level::Full { .. }))
        );
    }
    desk.pass(MINUTE);
    assert!(desk.session(&token).await.is_none());
}

#[tokio::test]
async fn a_spent_budget_is_new_after_24_hours_and_that_of_30_days_is_not() {
    let desk = Desk::open();
    for day in 0..4 {
        for browser in 0..2 {
            let mut tab = Tab::new(10 * day + browser);
            let tan = asked(&desk, &mut tab).await;
            assert_eq!(tan.len(), if day < 3 { 6 } else { 10 }, "day {day}");
            for n in 0..5 {
                desk.answer(&mut tab, &wrong_tan(&tan, n)).await;
            }
            desk.pass(16 * MINUTE);
        }
        desk.pass(DAY);
    }
    desk.pass(27 * DAY);
    assert_eq!(asked(&desk, &mut Tab::new(99)).await.len(), 6);
}
