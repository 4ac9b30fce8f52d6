//! Signing in is one step: all of it happens, or nothing does.

use crate::fixture::{Fixture, HOUR, SHORT};
use crate::samples::{
    Attempt, EMAIL, TAN, bare, charge, client, counts, failures, letter, session, stage, standing_at, tan_asked, trust,
    unknown_email, vtnr,
};
use std::sync::Arc;
use vtnr_gateway::clock::Chance;
use vtnr_gateway::domain::flow::{Flow, Stage};
use vtnr_gateway::domain::ids::FlowToken;
use vtnr_gateway::domain::throttle::{Counter, Subject};
use vtnr_gateway::domain::trust::Standing;
use vtnr_gateway::store::{Charges, Due, FlowChange, Seen, Settled, SignIn};

pub(crate) async fn a_sign_in_under_way_is_found_as_it_was_kept(on: Fixture) {
    let (token, now) = (Chance.flow_token(), on.now());
    assert_eq!(keep(&on, &token, None, &tan_asked(now, 5)).await, Settled::Done);
    let found = on.store.find_flow(&token).await.expect("answers").expect("it is there").value;
    assert_eq!((found.claim.vtnr, found.claim.email.as_str()), (vtnr(), EMAIL), "the address is kept as it was written");
    let Stage::Tan(challenge) = found.stage else { panic!("a TAN was asked for") };
    assert_eq!((challenge.tan.reveal(), challenge.tries_left, challenge.letters.len()), (TAN, 5, 1));
    assert_eq!((challenge.asked_at, challenge.mailed_at), (now, now));
    assert_eq!((challenge.standing, challenge.subject), (Standing::Stranger, Subject::Broker(vtnr())));
    assert_eq!(stage(&*on.store, &Chance.flow_token()).await, "none", "another browser has none");
}

pub(crate) async fn a_sign_in_under_way_is_gone_when_its_life_is_over(on: Fixture) {
    let (token, next) = (Chance.flow_token(), unknown_email());
    let change = FlowChange { token: &token, seen: None, next: &next, lives: SHORT };
    assert_eq!(on.store.keep_flow(change, &Charges::none()).await.expect("answers"), Settled::Done);
    on.after(SHORT, "the sign-in is gone", async || stage(&*on.store, &token).await == "none").await;
}

pub(crate) async fn signing_in_begins_the_session_trusts_the_browser_and_spends_the_sign_in(on: Fixture) {
    let attempt = Attempt::begun(&on).await;
    assert_eq!(attempt.sign_in(&*on.store, &counts(vec![failures(5)])).await.expect("answers"), Settled::Done);
    assert_eq!(on.store.find_session(&attempt.session).await.expect("answers").map(|session| session.vtnr), Some(vtnr()));
    assert_eq!(on.store.find_trust(&attempt.browser).await.expect("answers").entries()[0].vtnr, vtnr());
    assert_eq!(standing_at(&*on.store, failures(5).counter).await, 1);
    let spent = on.store.find_flow(&attempt.flow).await.expect("answers").expect("kept for a second click").value;
    let Stage::SignedIn(signed_in) = spent.stage else { panic!("it is spent") };
    assert_eq!((signed_in.session, signed_in.browser), (attempt.session, Some(attempt.browser)));
    assert_eq!(signed_in.tan.expect("the TAN that was right").reveal(), TAN);
}

pub(crate) async fn the_replaced_session_is_dead_and_the_browsers_old_token_forgotten(on: Fixture) {
    let attempt = Attempt::begun(&on).await;
    assert!(on.store.find_session(&attempt.old_session).await.expect("answers").is_some());
    assert_eq!(attempt.sign_in(&*on.store, &Charges::none()).await.expect("answers"), Settled::Done);
    assert_eq!(on.store.find_session(&attempt.old_session).await.expect("answers"), None);
    assert!(on.store.find_trust(&attempt.old_browser).await.expect("answers").entries().is_empty());
}

pub(crate) async fn a_trusted_browser_signs_in_without_a_sign_in_under_way(on: Fixture) {
    let (token, browser) = (Chance.session_token(), Chance.browser_token());
    let (session, trust) = (session(on.now()), trust(on.now()));
    let sign_in = SignIn { trust: Some((&browser, &trust)), ..bare(&token, &session, HOUR) };
    assert_eq!(on.store.sign_in(sign_in, &Charges::none()).await.expect("answers"), Settled::Done);
    assert_eq!(on.store.find_session(&token).await.expect("answers"), Some(session));
    assert_eq!(on.store.find_trust(&browser).await.expect("answers"), trust);
}

pub(crate) async fn a_sign_in_that_changed_meanwhile_writes_nothing(on: Fixture) {
    let attempt = Attempt::begun(&on).await;
    assert_eq!(keep(&on, &attempt.flow, attempt.seen.as_ref(), &tan_asked(on.now(), 4)).await, Settled::Done);
    let charges = Charges { take: vec![failures(5)], ..counts(vec![charge(Counter::WrongTansOfAll, 5)]) };
    assert_eq!(attempt.sign_in(&*on.store, &charges).await.expect("answers"), Settled::Conflict);
    attempt.left_no_trace(&*on.store).await;
    assert_eq!(stage(&*on.store, &attempt.flow).await, "tan, 4 tries");
    assert_eq!(standing_at(&*on.store, failures(5).counter).await, 0);
    assert_eq!(standing_at(&*on.store, Counter::WrongTansOfAll).await, 0);
}

pub(crate) async fn a_sign_in_without_room_in_a_counter_writes_nothing(on: Fixture) {
    let attempt = Attempt::begun(&on).await;
    let full = charge(Counter::WrongTansFrom(client(7)), 2);
    on.store.charge(&counts(vec![full, full])).await.expect("counts");
    let kinds = [
        Charges { check: vec![full], ..Charges::take(vec![failures(5)]) },
        Charges { count: vec![failures(5)], ..Charges::take(vec![full]) },
    ];
    for charges in kinds {
        let settled = attempt.sign_in(&*on.store, &charges).await.expect("answers");
        assert!(matches!(settled, Settled::Over { charge, .. } if charge == full), "{settled:?}");
        attempt.left_no_trace(&*on.store).await;
        assert_eq!(stage(&*on.store, &attempt.flow).await, "tan, 5 tries");
        assert_eq!(standing_at(&*on.store, failures(5).counter).await, 0);
        assert_eq!(standing_at(&*on.store, full.counter).await, 2);
    }
}

pub(crate) async fn a_sign_in_is_kept_only_as_it_was_seen(on: Fixture) {
    let (token, now) = (Chance.flow_token(), on.now());
    assert_eq!(keep(&on, &token, None, &unknown_email()).await, Settled::Done);
    let first = on.store.find_flow(&token).await.expect("answers");
    assert_eq!(keep(&on, &token, None, &tan_asked(now, 1)).await, Settled::Conflict, "there is one by now");
    assert_eq!(keep(&on, &token, first.as_ref(), &tan_asked(now, 5)).await, Settled::Done);
    assert_eq!(keep(&on, &token, first.as_ref(), &tan_asked(now, 1)).await, Settled::Conflict, "it changed");
    assert_eq!(stage(&*on.store, &token).await, "tan, 5 tries");
    let second = on.store.find_flow(&token).await.expect("answers");
    assert_eq!(keep(&on, &token, second.as_ref(), &tan_asked(now, 5)).await, Settled::Done);
    assert_eq!(keep(&on, &token, second.as_ref(), &tan_asked(now, 1)).await, Settled::Conflict, "the same was written anew");
}

pub(crate) async fn a_tan_is_asked_for_only_as_the_sign_in_was_seen(on: Fixture) {
    let (token, now) = (Chance.flow_token(), on.now());
    assert_eq!(keep(&on, &token, None, &unknown_email()).await, Settled::Done);
    let (first, next) = (on.store.find_flow(&token).await.expect("answers"), tan_asked(now, 5));
    let change = |seen| FlowChange { token: &token, seen, next: &next, lives: HOUR };
    let charges = Charges::take(vec![failures(5)]);
    let ask = async |seen| on.store.ask_for_tan(change(seen), &letter(now), &charges).await.expect("answers");
    assert_eq!(ask(None).await, Settled::Conflict);
    assert_eq!(on.store.outbox_length().await.expect("answers"), 0, "no letter waits");
    assert_eq!(ask(first.as_ref()).await, Settled::Done);
    assert_eq!(ask(first.as_ref()).await, Settled::Conflict);
    assert_eq!(on.store.outbox_length().await.expect("answers"), 1, "one letter waits");
    assert_eq!(standing_at(&*on.store, failures(5).counter).await, 1, "one letter was counted");
}

pub(crate) async fn a_tan_without_room_in_a_counter_queues_no_letter(on: Fixture) {
    let (token, next) = (Chance.flow_token(), tan_asked(on.now(), 5));
    let change = FlowChange { token: &token, seen: None, next: &next, lives: HOUR };
    let letter = letter(on.now());
    let settled = on.store.ask_for_tan(change, &letter, &Charges::take(vec![failures(0)])).await.expect("answers");
    assert!(matches!(settled, Settled::Over { .. }), "{settled:?}");
    assert_eq!(stage(&*on.store, &token).await, "none");
    assert_eq!(on.store.outbox_length().await.expect("answers"), 0);
    assert!(on.store.lease_letter(Due::All, HOUR).await.expect("answers").is_none());
}

pub(crate) async fn a_sign_in_that_ended_meanwhile_is_a_conflict(on: Fixture) {
    let (token, next) = (Chance.flow_token(), unknown_email());
    let change = FlowChange { token: &token, seen: None, next: &next, lives: 4 * SHORT };
    assert_eq!(on.store.keep_flow(change, &Charges::none()).await.expect("answers"), Settled::Done);
    let seen = on.store.find_flow(&token).await.expect("answers");
    assert!(seen.is_some());
    on.after(4 * SHORT, "the sign-in is gone", async || stage(&*on.store, &token).await == "none").await;
    assert_eq!(keep(&on, &token, seen.as_ref(), &next).await, Settled::Conflict);
    assert_eq!(stage(&*on.store, &token).await, "none");
}

pub(crate) async fn of_100_sign_ins_with_the_same_tan_one_is_done(on: Fixture) {
    let attempt = Attempt::begun(&on).await;
    let attempts: Vec<_> = (0..100).map(|_| Arc::new(attempt.again())).collect();
    let one = |attempt: &Arc<Attempt>| {
        let (attempt, store) = (Arc::clone(attempt), Arc::clone(&on.store));
        tokio::spawn(async move { attempt.sign_in(&*store, &counts(vec![failures(5)])).await })
    };
    let under_way: Vec<_> = attempts.iter().map(one).collect();
    let mut done = Vec::new();
    for (attempt, settled) in attempts.iter().zip(under_way) {
        match settled.await.expect("no panic").expect("answers") {
            Settled::Done => done.push(attempt),
            other => assert_eq!(other, Settled::Conflict),
        }
    }
    assert_eq!(done.len(), 1);
    assert_eq!(standing_at(&*on.store, failures(5).counter).await, 1, "it was counted once");
    for attempt in &attempts {
        let lives = on.store.find_session(&attempt.session).await.expect("answers").is_some();
        let trusted = !on.store.find_trust(&attempt.browser).await.expect("answers").entries().is_empty();
        assert_eq!((lives, trusted), (Arc::ptr_eq(attempt, done[0]), Arc::ptr_eq(attempt, done[0])));
    }
}

async fn keep(on: &Fixture, token: &FlowToken, seen: Option<&Seen<Flow>>, next: &Flow) -> Settled {
    let change = FlowChange { token, seen, next, lives: HOUR };
    on.store.keep_flow(change, &Charges::none()).await.expect("the store answers")
}
