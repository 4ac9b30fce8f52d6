//! Letters wait, are leased, and leave.

use crate::fixture::{Fixture, HOUR, SHORT};
use crate::samples::{EMAIL, TAN, ask_for, letter};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use vtnr_gateway::clock::Chance;
use vtnr_gateway::domain::challenge::Delivery;
use vtnr_gateway::domain::ids::LetterId;
use vtnr_gateway::domain::letter::Letter;
use vtnr_gateway::domain::time::Timestamp;
use vtnr_gateway::store::Leased;

const LONG_AGO: Delivery = Delivery::Refused { at: Timestamp::from_millis(0) };

async fn lease(on: &Fixture, lease: Duration) -> Option<Leased> {
    on.store.lease_letter(lease).await.expect("the store answers")
}

/// The letter's name and the attempt.
async fn leased(on: &Fixture, time: Duration) -> Option<(LetterId, u32)> {
    lease(on, time).await.map(|leased| (leased.letter.id, leased.attempt))
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
        assert_eq!(found.to.as_ref().map(|to| to.as_str().to_owned()), written.to.map(|_| EMAIL.to_owned()));
        assert_eq!((found.id, found.tan.reveal(), found.browser), (written.id, TAN, "Firefox unter Windows".to_owned()));
        assert_eq!((found.asked_at, found.not_after), (now, now.plus(HOUR)));
    }
}

pub(crate) async fn a_leased_letter_is_hidden(on: Fixture) {
    assert_eq!((waiting(&on).await, leased(&on, HOUR).await), (0, None));
    let id = asked(&on).await;
    assert_eq!(leased(&on, HOUR).await, Some((id, 1)));
    assert_eq!((waiting(&on).await, leased(&on, HOUR).await), (1, None), "it waits on, for whoever leased it");
    on.clock.advance(HOUR - Duration::from_millis(1));
    assert_eq!(leased(&on, HOUR).await, None);
}

pub(crate) async fn after_the_lease_a_letter_comes_again_as_the_second_attempt(on: Fixture) {
    let id = asked(&on).await;
    assert_eq!(leased(&on, SHORT).await, Some((id, 1)));
    for attempt in 2..=3 {
        on.after(SHORT, "it comes again", async || match leased(&on, SHORT).await {
            None => false,
            again => {
                assert_eq!(again, Some((id, attempt)));
                true
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
            while let Some(leased) = store.lease_letter(HOUR).await.expect("answers") {
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
    assert_eq!((got.len(), got.into_iter().collect::<HashSet<_>>()), (20, letters));
}

pub(crate) async fn a_letter_that_was_put_off_comes_back_when_it_is_due(on: Fixture) {
    let (soon, later) = (asked(&on).await, asked(&on).await);
    let next_try_at = on.now().plus(HOUR);
    on.store.note_delivery(later, Delivery::Delayed { next_try_at }).await.expect("notes");
    assert_eq!(leased(&on, HOUR).await, Some((soon, 1)));
    assert_eq!(leased(&on, HOUR).await, None, "the other is not due");
    assert_eq!(on.store.deliveries(&[later]).await.expect("answers"), [Delivery::Delayed { next_try_at }]);
    on.store.note_delivery(soon, Delivery::Delayed { next_try_at: on.now().plus(SHORT) }).await.expect("notes");
    assert_eq!(waiting(&on).await, 2);
    on.after(SHORT, "it is due", async || leased(&on, HOUR).await == Some((soon, 2))).await;
}

pub(crate) async fn a_letter_that_was_put_off_waits_behind_what_is_due(on: Fixture) {
    let first = asked(&on).await;
    on.clock.advance(SHORT);
    assert_eq!(leased(&on, HOUR).await, Some((first, 1)));
    let second = asked(&on).await;
    on.store.note_delivery(first, Delivery::Delayed { next_try_at: on.now().plus(SHORT) }).await.expect("notes");
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
    on.store.note_delivery(id, Delivery::Queued).await.expect("notes");
    assert_eq!(leased(&on, HOUR).await, Some((id, 2)));
}

pub(crate) async fn an_accepted_or_refused_letter_leaves(on: Fixture) {
    let at = on.now();
    for outcome in [Delivery::Accepted { at }, Delivery::Refused { at }] {
        let id = asked(&on).await;
        assert_eq!(on.store.deliveries(&[id]).await.expect("answers"), [Delivery::Queued]);
        assert_eq!(leased(&on, Duration::ZERO).await, Some((id, 1)));
        on.store.note_delivery(id, outcome).await.expect("notes");
        assert_eq!(waiting(&on).await, 0);
        on.clock.advance(SHORT);
        assert_eq!(leased(&on, HOUR).await, None);
        assert_eq!(on.store.deliveries(&[id]).await.expect("answers"), [outcome], "what became of it is still known");
    }
}

pub(crate) async fn deliveries_are_told_in_the_order_asked(on: Fixture) {
    let (taken, queued, unknown) = (asked(&on).await, asked(&on).await, Chance.letter_id());
    let accepted = Delivery::Accepted { at: on.now() };
    on.store.note_delivery(taken, accepted).await.expect("notes");
    let told = async |letters: &[LetterId]| on.store.deliveries(letters).await.expect("answers");
    assert_eq!(told(&[unknown, taken, queued]).await, [LONG_AGO, accepted, Delivery::Queued]);
    assert_eq!(told(&[queued, queued, taken]).await, [Delivery::Queued, Delivery::Queued, accepted]);
    assert_eq!(told(&[]).await, []);
}

pub(crate) async fn a_letter_whose_sign_in_is_over_disappears(on: Fixture) {
    ask_for(&on, &letter(on.now()), SHORT).await;
    on.clock.advance(SHORT);
    // A lease of no time: until the record has gone, the letter comes again and again.
    let is_gone = async || lease(&on, Duration::ZERO).await.is_none() && waiting(&on).await == 0;
    on.after(Duration::from_millis(1), "the letter is gone", is_gone).await;
}
