//! A sign-in is one atomic step: all of it happens, or nothing does.

use crate::fixture::{Fixture, HOUR, SHORT};
use crate::samples::{
    Attempt, EMAIL, TAN, bare, client, counts, failures, hit, letter, session, stage, standing_at,
    tan_asked, trust, unknown_email, vtnr,
};
use domain::flow::{Flow, Stage};
use domain::ids::{FlowToken, LetterId};
use domain::letter::Letter;
use domain::throttle::{Counter, Subject};
use domain::trust::TrustLevel;
use futures_util::future::join_all;
use std::sync::Arc;
use vtnr_gateway::clock::Rng;
use vtnr_gateway::store::{
    Due, FOLLOWED, FlowChange, RateLimits, Seen, SignInCommit, WriteOutcome,
};

pub(crate) async fn a_sign_in_under_way_is_found_as_it_was_kept(on: Fixture) {
    let (token, now) = (Rng.flow_token(), on.now());
    assert_eq!(
        keep(&on, &token, None, &tan_asked(now, 5)).await,
        WriteOutcome::Done
    );
    let found = on
        .store
        .find_flow(&token)
        .await
        .expect("answers")
        .expect("it is there")
        .value;
    assert_eq!(
        (found.claim.vtnr, found.claim.email.as_str()),
        (vtnr(), EMAIL),
        "the address is kept as it was written"
    );
    let Stage::Tan(challenge) = found.stage else {
        panic!("a TAN was asked for")
    };
    assert_eq!(
        (
            challenge.tan.reveal(),
            challenge.tries_left,
            challenge.letters.len()
        ),
        (TAN, 5, 1)
    );
    assert_eq!((challenge.asked_at, challenge.mailed_at), (now, now));
    assert_eq!(
        (challenge.trust_level, challenge.subject),
        (TrustLevel::Stranger, Subject::Broker(vtnr()))
    );
    assert_eq!(
        stage(&*on.store, &Rng.flow_token()).await,
        "none",
        "another browser has none"
    );
}

pub(crate) async fn a_sign_in_under_way_is_gone_when_its_life_is_over(on: Fixture) {
    let (token, next) = (Rng.flow_token(), unknown_email());
    let change = FlowChange {
        token: &token,
        previous_token: None,
        seen: None,
        next: &next,
        lives: SHORT,
    };
    assert_eq!(
        on.store
            .keep_flow(change, &RateLimits::none())
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
    on.after(SHORT, "the sign-in is gone", async || {
        stage(&*on.store, &token).await == "none"
    })
    .await;
}

pub(crate) async fn signing_in_begins_the_session_trusts_the_browser_and_spends_the_sign_in(
    on: Fixture,
) {
    let attempt = Attempt::begun(&on).await;
    assert_eq!(
        attempt
            .sign_in(&*on.store, &counts(vec![failures(5)]))
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
    assert_eq!(
        on.store
            .find_session(&attempt.session)
            .await
            .expect("answers")
            .map(|session| session.vtnr),
        Some(vtnr())
    );
    assert_eq!(
        on.store
            .find_trust(&attempt.browser)
            .await
            .expect("answers")
            .entries()[0]
            .vtnr,
        vtnr()
    );
    assert_eq!(standing_at(&*on.store, failures(5).counter).await, 1);
    let spent = on
        .store
        .find_flow(&attempt.flow)
        .await
        .expect("answers")
        .expect("kept for a second click")
        .value;
    let Stage::SignedIn(signed_in) = spent.stage else {
        panic!("it is spent")
    };
    assert_eq!(
        (signed_in.session, signed_in.browser),
        (attempt.session, Some(attempt.browser))
    );
    let redeemed = signed_in.redeemed.expect("the TAN that was right");
    assert_eq!(
        (redeemed.tan.reveal(), redeemed.trust_level),
        (TAN, TrustLevel::Known)
    );
}

pub(crate) async fn the_replaced_session_is_dead_and_the_browsers_old_token_forgotten(on: Fixture) {
    let attempt = Attempt::begun(&on).await;
    assert!(
        on.store
            .find_session(&attempt.old_session)
            .await
            .expect("answers")
            .is_some()
    );
    assert_eq!(
        attempt
            .sign_in(&*on.store, &RateLimits::none())
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
    assert_eq!(
        on.store
            .find_session(&attempt.old_session)
            .await
            .expect("answers"),
        None
    );
    assert!(
        on.store
            .find_trust(&attempt.old_browser)
            .await
            .expect("answers")
            .entries()
            .is_empty()
    );
}

pub(crate) async fn a_trusted_browser_signs_in_without_a_sign_in_under_way(on: Fixture) {
    let (token, browser) = (Rng.session_token(), Rng.browser_token());
    let (session, trust) = (session(on.now()), trust(on.now()));
    let sign_in = SignInCommit {
        trust: Some((&browser, &trust)),
        ..bare(&token, &session, HOUR)
    };
    assert_eq!(
        on.store
            .sign_in(sign_in, &RateLimits::none())
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
    assert_eq!(
        on.store.find_session(&token).await.expect("answers"),
        Some(session)
    );
    assert_eq!(on.store.find_trust(&browser).await.expect("answers"), trust);
}

pub(crate) async fn a_sign_in_that_changed_meanwhile_writes_nothing(on: Fixture) {
    let attempt = Attempt::begun(&on).await;
    assert_eq!(
        keep(
            &on,
            &attempt.flow,
            attempt.seen.as_ref(),
            &tan_asked(on.now(), 4)
        )
        .await,
        WriteOutcome::Done
    );
    let rate_limits = RateLimits {
        take: vec![failures(5)],
        ..counts(vec![hit(Counter::WrongTansOfAll, 5)])
    };
    assert_eq!(
        attempt
            .sign_in(&*on.store, &rate_limits)
            .await
            .expect("answers"),
        WriteOutcome::Conflict
    );
    attempt.left_no_trace(&*on.store).await;
    assert_eq!(stage(&*on.store, &attempt.flow).await, "tan, 4 tries");
    assert_eq!(standing_at(&*on.store, failures(5).counter).await, 0);
    assert_eq!(standing_at(&*on.store, Counter::WrongTansOfAll).await, 0);
}

pub(crate) async fn a_sign_in_without_room_in_a_counter_writes_nothing(on: Fixture) {
    let attempt = Attempt::begun(&on).await;
    let full = hit(Counter::WrongTansFrom(client(7)), 2);
    on.store
        .hit_limits(&counts(vec![full, full]))
        .await
        .expect("counts");
    let kinds = [
        RateLimits {
            check: vec![full],
            ..RateLimits::take(vec![failures(5)])
        },
        RateLimits {
            count: vec![failures(5)],
            ..RateLimits::take(vec![full])
        },
    ];
    for rate_limits in kinds {
        let settled = attempt
            .sign_in(&*on.store, &rate_limits)
            .await
            .expect("answers");
        assert!(
            matches!(settled, WriteOutcome::OverLimit { hit, .. } if hit == full),
            "{settled:?}"
        );
        attempt.left_no_trace(&*on.store).await;
        assert_eq!(stage(&*on.store, &attempt.flow).await, "tan, 5 tries");
        assert_eq!(standing_at(&*on.store, failures(5).counter).await, 0);
        assert_eq!(standing_at(&*on.store, full.counter).await, 2);
    }
}

pub(crate) async fn a_sign_in_is_kept_only_as_it_was_seen(on: Fixture) {
    let (token, now) = (Rng.flow_token(), on.now());
    assert_eq!(
        keep(&on, &token, None, &unknown_email()).await,
        WriteOutcome::Done
    );
    let first = on.store.find_flow(&token).await.expect("answers");
    assert_eq!(
        keep(&on, &token, None, &tan_asked(now, 1)).await,
        WriteOutcome::Conflict,
        "there is one by now"
    );
    assert_eq!(
        keep(&on, &token, first.as_ref(), &tan_asked(now, 5)).await,
        WriteOutcome::Done
    );
    assert_eq!(
        keep(&on, &token, first.as_ref(), &tan_asked(now, 1)).await,
        WriteOutcome::Conflict,
        "it changed"
    );
    assert_eq!(stage(&*on.store, &token).await, "tan, 5 tries");
    let second = on.store.find_flow(&token).await.expect("answers");
    assert_eq!(
        keep(&on, &token, second.as_ref(), &tan_asked(now, 5)).await,
        WriteOutcome::Done
    );
    assert_eq!(
        keep(&on, &token, second.as_ref(), &tan_asked(now, 1)).await,
        WriteOutcome::Conflict,
        "the same was written anew"
    );
}

pub(crate) async fn a_tan_is_asked_for_only_as_the_sign_in_was_seen(on: Fixture) {
    let (token, now) = (Rng.flow_token(), on.now());
    assert_eq!(
        keep(&on, &token, None, &unknown_email()).await,
        WriteOutcome::Done
    );
    let (first, next) = (
        on.store.find_flow(&token).await.expect("answers"),
        tan_asked(now, 5),
    );
    let change = |seen| FlowChange {
        token: &token,
        previous_token: None,
        seen,
        next: &next,
        lives: HOUR,
    };
    let rate_limits = RateLimits::take(vec![failures(5)]);
    let ask = async |seen| {
        on.store
            .ask_for_tan(change(seen), &letter(now), &rate_limits)
            .await
            .expect("answers")
    };
    assert_eq!(ask(None).await, WriteOutcome::Conflict);
    assert_eq!(
        on.store.outbox_length().await.expect("answers"),
        0,
        "no letter waits"
    );
    assert_eq!(ask(first.as_ref()).await, WriteOutcome::Done);
    assert_eq!(ask(first.as_ref()).await, WriteOutcome::Conflict);
    assert_eq!(
        on.store.outbox_length().await.expect("answers"),
        1,
        "one letter waits"
    );
    assert_eq!(
        standing_at(&*on.store, failures(5).counter).await,
        1,
        "one letter was counted"
    );
}

pub(crate) async fn a_tan_without_room_in_a_counter_queues_no_letter(on: Fixture) {
    let (token, next) = (Rng.flow_token(), tan_asked(on.now(), 5));
    let change = FlowChange {
        token: &token,
        previous_token: None,
        seen: None,
        next: &next,
        lives: HOUR,
    };
    let letter = letter(on.now());
    let settled = on
        .store
        .ask_for_tan(change, &letter, &RateLimits::take(vec![failures(0)]))
        .await
        .expect("answers");
    assert!(
        matches!(settled, WriteOutcome::OverLimit { .. }),
        "{settled:?}"
    );
    assert_eq!(stage(&*on.store, &token).await, "none");
    assert_eq!(on.store.outbox_length().await.expect("answers"), 0);
    assert!(
        on.store
            .lease_letter(Due::All, HOUR)
            .await
            .expect("answers")
            .is_none()
    );
}

pub(crate) async fn a_sign_in_that_ended_meanwhile_is_a_conflict(on: Fixture) {
    let (token, next) = (Rng.flow_token(), unknown_email());
    let change = FlowChange {
        token: &token,
        previous_token: None,
        seen: None,
        next: &next,
        lives: 4 * SHORT,
    };
    assert_eq!(
        on.store
            .keep_flow(change, &RateLimits::none())
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
    let seen = on.store.find_flow(&token).await.expect("answers");
    assert!(seen.is_some());
    on.after(4 * SHORT, "the sign-in is gone", async || {
        stage(&*on.store, &token).await == "none"
    })
    .await;
    assert_eq!(
        keep(&on, &token, seen.as_ref(), &next).await,
        WriteOutcome::Conflict
    );
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
            WriteOutcome::Done => done.push(attempt),
            other => assert_eq!(other, WriteOutcome::Conflict),
        }
    }
    assert_eq!(done.len(), 1);
    assert_eq!(
        standing_at(&*on.store, failures(5).counter).await,
        1,
        "it was counted once"
    );
    for attempt in &attempts {
        let lives = on
            .store
            .find_session(&attempt.session)
            .await
            .expect("answers")
            .is_some();
        let trusted = !on
            .store
            .find_trust(&attempt.browser)
            .await
            .expect("answers")
            .entries()
            .is_empty();
        assert_eq!(
            (lives, trusted),
            (Arc::ptr_eq(attempt, done[0]), Arc::ptr_eq(attempt, done[0]))
        );
    }
}

pub(crate) async fn a_new_token_takes_the_place_of_the_former_one_in_one_step(on: Fixture) {
    let (former, token) = (Rng.flow_token(), Rng.flow_token());
    let seen = asked(&on, &former).await;
    assert_eq!(
        keep_at(&on, &token, (&former, seen.as_ref()), &unknown_email()).await,
        WriteOutcome::Done
    );
    assert_eq!(
        (
            stage(&*on.store, &former).await,
            stage(&*on.store, &token).await
        ),
        ("none".into(), "unknown e-mail".into())
    );
    assert_eq!(
        on.store.outbox_length().await.expect("answers"),
        0,
        "the letter of what was claimed before does not leave any more"
    );
    assert_eq!(
        on.store.moved_flow(&former).await.expect("answers"),
        None,
        "nothing leads from the one to the other"
    );
    assert_eq!(
        keep(&on, &former, seen.as_ref(), &tan_asked(on.now(), 5)).await,
        WriteOutcome::Conflict,
        "the former one is gone"
    );
}

pub(crate) async fn a_new_token_takes_the_place_only_of_what_was_seen_and_of_nothing_else(
    on: Fixture,
) {
    let (former, token, taken) = (Rng.flow_token(), Rng.flow_token(), Rng.flow_token());
    let seen = asked(&on, &former).await;
    assert_eq!(
        keep(&on, &taken, None, &tan_asked(on.now(), 2)).await,
        WriteOutcome::Done
    );
    assert_eq!(
        keep_at(&on, &taken, (&former, seen.as_ref()), &unknown_email()).await,
        WriteOutcome::Conflict
    );
    assert_eq!(
        keep_at(&on, &token, (&former, None), &unknown_email()).await,
        WriteOutcome::Conflict
    );
    assert_eq!(
        keep(&on, &former, seen.as_ref(), &tan_asked(on.now(), 4)).await,
        WriteOutcome::Done
    );
    assert_eq!(
        keep_at(&on, &token, (&former, seen.as_ref()), &unknown_email()).await,
        WriteOutcome::Conflict
    );
    assert_eq!(
        moved(&on, &token, &former, seen.as_ref()).await,
        WriteOutcome::Conflict
    );
    let found = [
        stage(&*on.store, &former).await,
        stage(&*on.store, &taken).await,
        stage(&*on.store, &token).await,
    ];
    assert_eq!(found, ["tan, 4 tries", "tan, 2 tries", "none"]);
    assert_eq!(on.store.moved_flow(&former).await.expect("answers"), None);
}

pub(crate) async fn a_sign_in_that_moves_keeps_its_tries_and_letters_and_is_followed_for_a_moment(
    on: Fixture,
) {
    let (former, token) = (Rng.flow_token(), Rng.flow_token());
    let seen = asked(&on, &former).await;
    assert_eq!(
        moved(&on, &token, &former, seen.as_ref()).await,
        WriteOutcome::Done
    );
    assert_eq!(
        (
            stage(&*on.store, &former).await,
            stage(&*on.store, &token).await
        ),
        ("none".into(), "tan, 5 tries".into())
    );
    assert_eq!(
        on.store.outbox_length().await.expect("answers"),
        1,
        "its letter leaves still"
    );
    assert_eq!(
        on.store.moved_flow(&former).await.expect("answers"),
        Some(token)
    );
    assert_eq!(on.store.moved_flow(&token).await.expect("answers"), None);
    let is_over = async || {
        on.store
            .moved_flow(&former)
            .await
            .expect("answers")
            .is_none()
    };
    on.after(FOLLOWED, "the former token leads nowhere", is_over)
        .await;
    assert_eq!(stage(&*on.store, &token).await, "tan, 5 tries");
}

pub(crate) async fn of_100_that_move_a_sign_in_one_does(on: Fixture) {
    let former = Rng.flow_token();
    let seen = asked(&on, &former).await;
    let tokens: Vec<_> = (0..100).map(|_| Rng.flow_token()).collect();
    let all = tokens
        .iter()
        .map(|token| moved(&on, token, &former, seen.as_ref()));
    let done = join_all(all)
        .await
        .into_iter()
        .filter(|settled| *settled == WriteOutcome::Done)
        .count();
    assert_eq!(done, 1);
    let mut found = 0;
    for token in &tokens {
        found += usize::from(stage(&*on.store, token).await != "none");
    }
    assert_eq!(found, 1);
}

pub(crate) async fn a_sign_in_that_is_charged_stays_and_one_that_is_ended_counts_once(on: Fixture) {
    let attempt = Attempt::begun(&on).await;
    assert_eq!(
        attempt
            .sign_in(&*on.store, &RateLimits::none())
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
    let seen = on
        .store
        .find_flow(&attempt.flow)
        .await
        .expect("answers")
        .expect("kept for a second click");
    let (check, take) = (
        RateLimits::check(vec![failures(1)]),
        RateLimits::take(vec![failures(1)]),
    );
    let rate_limits = (0..50).map(|_| on.store.hit_limits_in_flow(&attempt.flow, &seen, &check));
    for settled in join_all(rate_limits).await {
        assert_eq!(settled.expect("answers"), WriteOutcome::Done);
    }
    let ends = (0..100).map(|_| on.store.end_flow(&attempt.flow, &seen, &take));
    let ended: Vec<_> = join_all(ends)
        .await
        .into_iter()
        .map(|settled| settled.expect("answers"))
        .collect();
    assert_eq!(
        ended
            .iter()
            .filter(|settled| **settled == WriteOutcome::Done)
            .count(),
        1,
        "{ended:?}"
    );
    assert_eq!(
        ended
            .iter()
            .filter(|settled| **settled == WriteOutcome::Conflict)
            .count(),
        99,
        "{ended:?}"
    );
    assert_eq!(
        standing_at(&*on.store, failures(1).counter).await,
        1,
        "it was counted once"
    );
    assert_eq!(stage(&*on.store, &attempt.flow).await, "none");
    assert_eq!(
        on.store
            .hit_limits_in_flow(&attempt.flow, &seen, &RateLimits::none())
            .await
            .expect("answers"),
        WriteOutcome::Conflict
    );
}

pub(crate) async fn without_room_in_a_counter_a_sign_in_is_neither_charged_nor_ended(on: Fixture) {
    let token = Rng.flow_token();
    let seen = asked(&on, &token).await.expect("it is there");
    on.store
        .hit_limits(&counts(vec![failures(1)]))
        .await
        .expect("counts");
    for rate_limits in [
        RateLimits::check(vec![failures(1)]),
        RateLimits::take(vec![failures(1)]),
    ] {
        for settled in [
            on.store
                .hit_limits_in_flow(&token, &seen, &rate_limits)
                .await
                .expect("answers"),
            on.store
                .end_flow(&token, &seen, &rate_limits)
                .await
                .expect("answers"),
        ] {
            assert!(
                matches!(settled, WriteOutcome::OverLimit { hit, .. } if hit == failures(1)),
                "{settled:?}"
            );
        }
    }
    assert_eq!(
        (
            stage(&*on.store, &token).await,
            standing_at(&*on.store, failures(1).counter).await
        ),
        ("tan, 5 tries".into(), 1)
    );
    assert_eq!(
        on.store
            .end_flow(&token, &seen, &RateLimits::none())
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
    assert_eq!(
        on.store.outbox_length().await.expect("answers"),
        0,
        "its letter leaves the outbox with it"
    );
}

/// Stores a flow that waits for a letter, and returns it as seen.
async fn asked(on: &Fixture, token: &FlowToken) -> Option<Seen<Flow>> {
    let letter = Letter {
        id: LetterId::from_bits(1),
        ..letter(on.now())
    };
    let next = tan_asked(on.now(), 5);
    let change = FlowChange {
        token,
        previous_token: None,
        seen: None,
        next: &next,
        lives: HOUR,
    };
    assert_eq!(
        on.store
            .ask_for_tan(change, &letter, &RateLimits::none())
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
    on.store.find_flow(token).await.expect("answers")
}

async fn moved(
    on: &Fixture,
    token: &FlowToken,
    former: &FlowToken,
    seen: Option<&Seen<Flow>>,
) -> WriteOutcome {
    let next = tan_asked(on.now(), 5);
    let next = seen.map_or(&next, |seen| &seen.value);
    let change = FlowChange {
        token,
        previous_token: Some(former),
        seen,
        next,
        lives: HOUR,
    };
    on.store.move_flow(change).await.expect("the store answers")
}

async fn keep_at(
    on: &Fixture,
    token: &FlowToken,
    (former, seen): (&FlowToken, Option<&Seen<Flow>>),
    next: &Flow,
) -> WriteOutcome {
    let change = FlowChange {
        token,
        previous_token: Some(former),
        seen,
        next,
        lives: HOUR,
    };
    on.store
        .keep_flow(change, &RateLimits::none())
        .await
        .expect("the store answers")
}

async fn keep(
    on: &Fixture,
    token: &FlowToken,
    seen: Option<&Seen<Flow>>,
    next: &Flow,
) -> WriteOutcome {
    let change = FlowChange {
        token,
        previous_token: None,
        seen,
        next,
        lives: HOUR,
    };
    on.store
        .keep_flow(change, &RateLimits::none())
        .await
        .expect("the store answers")
}
