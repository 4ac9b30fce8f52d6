//! The outbox: letters are queued, leased, and removed.

use crate::fixture::{Fixture, HOUR, SHORT};
use crate::samples::{Attempt, EMAIL, TAN, ask_for, letter, tan_asked, unknown_email};
use domain::challenge::Delivery;
use domain::flow::{Flow, Stage};
use domain::ids::LetterId;
use domain::letter::Letter;
use domain::time::Timestamp;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use vtnr_gateway::clock::Rng;
use vtnr_gateway::store::{Due, FlowChange, LeasedLetter, LetterLease, RateLimits, WriteOutcome};

const LONG_AGO: Delivery = Delivery::Refused {
    at: Timestamp::from_millis(0),
};

async fn lease(on: &Fixture, lease: Duration) -> Option<LeasedLetter> {
    on.store
        .lease_letter(Due::All, lease)
        .await
        .expect("the store answers")
}

/// A letter's id and the number of the attempt.
async fn leased(on: &Fixture, time: Duration) -> Option<(LetterId, u32)> {
    lease(on, time)
        .await
        .map(|leased| (leased.letter.id, leased.attempt))
}

/// Waits for a letter to fall due, and leases it for this time.
async fn held(on: &Fixture, time: Duration) -> LetterLease {
    let mut held = None;
    on.after(Duration::from_millis(1), "a letter is due", async || {
        held = lease(on, time).await.map(|leased| leased.lease());
        held.is_some()
    })
    .await;
    held.expect("it is")
}

async fn note(on: &Fixture, lease: LetterLease, delivery: Delivery) {
    on.store
        .note_delivery(lease, delivery)
        .await
        .expect("notes");
}

async fn told(on: &Fixture, letter: LetterId) -> Delivery {
    on.store.deliveries(&[letter]).await.expect("answers")[0]
}

async fn waiting(on: &Fixture) -> u64 {
    on.store.outbox_length().await.expect("the store answers")
}

async fn asked(on: &Fixture) -> LetterId {
    let letter = letter(on.now());
    ask_for(on, &letter, HOUR).await;
    letter.id
}

pub(crate) async fn a_letter_is_leased_as_it_was_written(on: Fixture) {
    let now = on.now();
    for to in [Some(crate::samples::email()), None] {
        let written = Letter { to, ..letter(now) };
        ask_for(&on, &written, HOUR).await;
        let found = lease(&on, HOUR).await.expect("a letter waits").letter;
        assert_eq!(
            found.to.as_ref().map(|to| to.as_str().to_owned()),
            written.to.map(|_| EMAIL.to_owned())
        );
        assert_eq!(
            (found.id, found.tan.reveal(), found.browser),
            (written.id, TAN, "Firefox unter Windows".to_owned())
        );
        assert_eq!((found.asked_at, found.not_after), (now, now.plus(HOUR)));
    }
}

pub(crate) async fn a_leased_letter_is_hidden(on: Fixture) {
    assert_eq!((waiting(&on).await, leased(&on, HOUR).await), (0, None));
    let id = asked(&on).await;
    assert_eq!(leased(&on, HOUR).await, Some((id, 1)));
    assert_eq!(
        (waiting(&on).await, leased(&on, HOUR).await),
        (1, None),
        "it waits on, for whoever leased it"
    );
    on.clock.advance(HOUR - Duration::from_millis(1));
    assert_eq!(leased(&on, HOUR).await, None);
}

pub(crate) async fn after_the_lease_a_letter_comes_again_as_the_second_attempt(on: Fixture) {
    let id = asked(&on).await;
    assert_eq!(leased(&on, SHORT).await, Some((id, 1)));
    for attempt in 2..=3 {
        on.after(SHORT, "it comes again", async || {
            match leased(&on, SHORT).await {
                None => false,
                again => {
                    assert_eq!(again, Some((id, attempt)));
                    true
                }
            }
        })
        .await;
    }
}

pub(crate) async fn two_that_look_at_once_never_get_the_same_letter(on: Fixture) {
    let mut letters = HashSet::new();
    for _ in 0..20 {
        letters.insert(asked(&on).await);
    }
    let worker = || {
        let store = Arc::clone(&on.store);
        tokio::spawn(async move {
            let mut got = Vec::new();
            while let Some(leased) = store.lease_letter(Due::All, HOUR).await.expect("answers") {
                got.push(leased.letter.id);
            }
            got
        })
    };
    let workers: Vec<_> = (0..8).map(|_| worker()).collect();
    let mut got = Vec::new();
    for worker in workers {
        got.extend(worker.await.expect("no panic"));
    }
    assert_eq!(
        (got.len(), got.into_iter().collect::<HashSet<_>>()),
        (20, letters)
    );
}

pub(crate) async fn a_letter_that_was_put_off_comes_back_when_it_is_due(on: Fixture) {
    let (soon, later) = (asked(&on).await, asked(&on).await);
    let next_try_at = on.now().plus(HOUR);
    note(
        &on,
        LetterLease {
            letter: later,
            attempt: 0,
        },
        Delivery::Delayed { next_try_at },
    )
    .await;
    assert_eq!(leased(&on, HOUR).await, Some((soon, 1)));
    assert_eq!(leased(&on, HOUR).await, None, "the other is not due");
    assert_eq!(
        on.store.deliveries(&[later]).await.expect("answers"),
        [Delivery::Delayed { next_try_at }]
    );
    note(
        &on,
        LetterLease {
            letter: soon,
            attempt: 1,
        },
        Delivery::Delayed {
            next_try_at: on.now().plus(SHORT),
        },
    )
    .await;
    assert_eq!(waiting(&on).await, 2);
    on.after(SHORT, "it is due", async || {
        leased(&on, HOUR).await == Some((soon, 2))
    })
    .await;
}

pub(crate) async fn a_letter_that_was_put_off_waits_behind_what_is_due(on: Fixture) {
    let first = asked(&on).await;
    on.clock.advance(SHORT);
    assert_eq!(leased(&on, HOUR).await, Some((first, 1)));
    let second = asked(&on).await;
    note(
        &on,
        LetterLease {
            letter: first,
            attempt: 1,
        },
        Delivery::Delayed {
            next_try_at: on.now().plus(SHORT),
        },
    )
    .await;
    let mut order = Vec::new();
    on.after(SHORT, "both are due", async || {
        order.extend(leased(&on, HOUR).await.map(|(id, _)| id));
        order.len() == 2
    })
    .await;
    assert_eq!(order, [second, first]);
}

pub(crate) async fn a_letter_that_is_queued_again_comes_at_once(on: Fixture) {
    let id = asked(&on).await;
    assert_eq!(leased(&on, HOUR).await, Some((id, 1)));
    note(
        &on,
        LetterLease {
            letter: id,
            attempt: 1,
        },
        Delivery::Queued,
    )
    .await;
    assert_eq!(leased(&on, HOUR).await, Some((id, 2)));
}

pub(crate) async fn an_accepted_or_refused_letter_leaves(on: Fixture) {
    let at = on.now();
    for outcome in [Delivery::Accepted { at }, Delivery::Refused { at }] {
        let id = asked(&on).await;
        assert_eq!(
            on.store.deliveries(&[id]).await.expect("answers"),
            [Delivery::Queued]
        );
        assert_eq!(leased(&on, Duration::ZERO).await, Some((id, 1)));
        note(
            &on,
            LetterLease {
                letter: id,
                attempt: 1,
            },
            outcome,
        )
        .await;
        assert_eq!(waiting(&on).await, 0);
        on.clock.advance(SHORT);
        assert_eq!(leased(&on, HOUR).await, None);
        assert_eq!(
            on.store.deliveries(&[id]).await.expect("answers"),
            [outcome],
            "what became of it is still known"
        );
    }
}

pub(crate) async fn deliveries_are_told_in_the_order_asked(on: Fixture) {
    let (taken, queued, unknown) = (asked(&on).await, asked(&on).await, Rng.letter_id());
    let accepted = Delivery::Accepted { at: on.now() };
    note(
        &on,
        LetterLease {
            letter: taken,
            attempt: 0,
        },
        accepted,
    )
    .await;
    let told = async |letters: &[LetterId]| on.store.deliveries(letters).await.expect("answers");
    assert_eq!(
        told(&[unknown, taken, queued]).await,
        [LONG_AGO, accepted, Delivery::Queued]
    );
    assert_eq!(
        told(&[queued, queued, taken]).await,
        [Delivery::Queued, Delivery::Queued, accepted]
    );
    assert_eq!(told(&[]).await, []);
}

pub(crate) async fn a_letter_whose_sign_in_is_over_disappears(on: Fixture) {
    ask_for(&on, &letter(on.now()), SHORT).await;
    on.clock.advance(SHORT);
    // With a lease of zero the letter is due again at once, until its record expires.
    let is_gone = async || lease(&on, Duration::ZERO).await.is_none() && waiting(&on).await == 0;
    on.after(Duration::from_millis(1), "the letter is gone", is_gone)
        .await;
}

pub(crate) async fn a_lease_that_is_renewed_goes_on_and_one_that_was_lost_does_not(on: Fixture) {
    let id = asked(&on).await;
    let first = held(&on, SHORT).await;
    assert!(on.store.renew_lease(first, HOUR).await.expect("answers"));
    // A lease this short has expired by then.
    let another = asked(&on).await;
    assert_eq!(leased(&on, SHORT).await, Some((another, 1)));
    on.after(SHORT, "the other comes again", async || {
        leased(&on, HOUR).await == Some((another, 2))
    })
    .await;
    assert_eq!(leased(&on, HOUR).await, None, "it goes on");
    assert!(
        on.store
            .renew_lease(first, Duration::ZERO)
            .await
            .expect("answers")
    );
    let second = held(&on, HOUR).await;
    assert_eq!((second.letter, second.attempt), (id, 2));
    assert!(
        !on.store
            .renew_lease(first, Duration::ZERO)
            .await
            .expect("answers"),
        "another attempt has begun"
    );
    assert_eq!(leased(&on, HOUR).await, None, "and goes on");
    note(&on, second, Delivery::Accepted { at: on.now() }).await;
    assert!(
        !on.store
            .renew_lease(second, Duration::ZERO)
            .await
            .expect("answers"),
        "the letter has left"
    );
    assert_eq!(
        (waiting(&on).await, leased(&on, HOUR).await),
        (1, None),
        "the other waits"
    );
}

pub(crate) async fn whoever_lost_the_lease_can_note_only_that_the_letter_was_taken(on: Fixture) {
    let (id, at) = (asked(&on).await, on.now());
    let (lost, holds) = (held(&on, Duration::ZERO).await, held(&on, HOUR).await);
    for nothing in [
        Delivery::Queued,
        Delivery::Delayed { next_try_at: at },
        Delivery::Refused { at },
    ] {
        note(&on, lost, nothing).await;
        assert_eq!(
            (told(&on, id).await, leased(&on, HOUR).await),
            (Delivery::Queued, None),
            "{nothing:?}"
        );
    }
    note(&on, lost, Delivery::Accepted { at }).await;
    assert_eq!(
        (told(&on, id).await, waiting(&on).await),
        (Delivery::Accepted { at }, 0)
    );
    assert!(
        !on.store.renew_lease(holds, HOUR).await.expect("answers"),
        "nobody hands it over once more"
    );
    note(
        &on,
        holds,
        Delivery::Delayed {
            next_try_at: at.plus(HOUR),
        },
    )
    .await;
    assert_eq!(
        (told(&on, id).await, waiting(&on).await),
        (Delivery::Accepted { at }, 0),
        "it stays so"
    );
}

pub(crate) async fn letters_that_a_sign_in_no_longer_waits_for_leave(on: Fixture) {
    let used_up = tan_asked(on.now(), 0);
    for next in [unknown_email(), with_letter(&on, Rng.letter_id()), used_up] {
        let (token, letter) = (Rng.flow_token(), letter(on.now()));
        let begun = with_letter(&on, letter.id);
        let ask = FlowChange {
            token: &token,
            previous_token: None,
            seen: None,
            next: &begun,
            lives: HOUR,
        };
        on.store
            .ask_for_tan(ask, &letter, &RateLimits::none())
            .await
            .expect("answers");
        let (seen, lease) = (
            on.store.find_flow(&token).await.expect("answers"),
            held(&on, Duration::ZERO).await,
        );
        let wrong = FlowChange {
            token: &token,
            previous_token: None,
            seen: seen.as_ref(),
            next: &begun,
            lives: HOUR,
        };
        on.store
            .keep_flow(wrong, &RateLimits::none())
            .await
            .expect("answers");
        assert_eq!(waiting(&on).await, 1, "the sign-in waits for it");
        let seen = on.store.find_flow(&token).await.expect("answers");
        let change = FlowChange {
            token: &token,
            previous_token: None,
            seen: seen.as_ref(),
            next: &next,
            lives: HOUR,
        };
        on.store
            .keep_flow(change, &RateLimits::none())
            .await
            .expect("answers");
        note(
            &on,
            lease,
            Delivery::Delayed {
                next_try_at: on.now(),
            },
        )
        .await;
        assert_eq!((waiting(&on).await, leased(&on, HOUR).await), (0, None));
    }
}

/// Creates a flow that waits for this letter.
fn with_letter(on: &Fixture, id: LetterId) -> Flow {
    let mut flow = tan_asked(on.now(), 5);
    if let Stage::Tan(challenge) = &mut flow.stage {
        challenge.letters = vec![id];
    }
    flow
}

pub(crate) async fn a_sign_in_that_is_discarded_takes_its_letters_along(on: Fixture) {
    let (token, letter) = (Rng.flow_token(), letter(on.now()));
    let begun = with_letter(&on, letter.id);
    let ask = FlowChange {
        token: &token,
        previous_token: None,
        seen: None,
        next: &begun,
        lives: HOUR,
    };
    on.store
        .ask_for_tan(ask, &letter, &RateLimits::none())
        .await
        .expect("answers");
    on.store
        .discard_flow(&token, &begun)
        .await
        .expect("answers");
    assert!(on.store.find_flow(&token).await.expect("answers").is_none());
    assert_eq!((waiting(&on).await, leased(&on, HOUR).await), (0, None));
}

pub(crate) async fn a_sign_in_that_succeeds_takes_its_letters_along(on: Fixture) {
    let letter = letter(on.now());
    let attempt = Attempt::begun_with(&on, with_letter(&on, letter.id)).await;
    ask_for(&on, &letter, HOUR).await;
    assert_eq!(
        attempt
            .sign_in(&*on.store, &RateLimits::none())
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
    assert_eq!((waiting(&on).await, leased(&on, HOUR).await), (0, None));
}

pub(crate) async fn those_that_nobody_had_in_hand_can_be_taken_alone(on: Fixture) {
    let first = asked(&on).await;
    let in_hand = held(&on, HOUR).await;
    note(&on, in_hand, Delivery::Queued).await;
    let new = asked(&on).await;
    let mut taken = None;
    on.after(
        Duration::from_millis(1),
        "a new letter is due",
        async || {
            taken = on
                .store
                .lease_letter(Due::New, HOUR)
                .await
                .expect("answers")
                .map(|leased| (leased.letter.id, leased.attempt));
            taken.is_some()
        },
    )
    .await;
    assert_eq!(taken, Some((new, 1)));
    assert!(
        on.store
            .lease_letter(Due::New, HOUR)
            .await
            .expect("answers")
            .is_none(),
        "the other one was in somebody's hand"
    );
    assert_eq!(leased(&on, HOUR).await, Some((first, 2)));
}
