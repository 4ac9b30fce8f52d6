//! Counters admit events up to their limit, and not one more.

use crate::fixture::{Fixture, HOUR, SHORT};
use crate::samples::{another_vtnr, client, counts, failures, hit, standing_at, vtnr};
use domain::throttle::{Allowance, Counter, MailWindow, RateLimitHit, Span, Subject};
use std::sync::Arc;
use std::time::Duration;
use vtnr_gateway::store::{RateLimits, WriteOutcome};

async fn settle(on: &Fixture, rate_limits: RateLimits) -> WriteOutcome {
    on.store
        .hit_limits(&rate_limits)
        .await
        .expect("the store answers")
}

async fn take(on: &Fixture, hit: RateLimitHit) -> WriteOutcome {
    settle(on, RateLimits::take(vec![hit])).await
}

fn is_over(settled: &WriteOutcome) -> bool {
    matches!(settled, WriteOutcome::OverLimit { .. })
}

pub(crate) async fn of_200_at_once_exactly_as_many_are_done_as_there_is_room_for(on: Fixture) {
    const ROOM: u32 = 17;
    let one = || {
        let store = Arc::clone(&on.store);
        tokio::spawn(async move {
            store
                .hit_limits(&RateLimits::take(vec![failures(ROOM)]))
                .await
        })
    };
    let under_way: Vec<_> = (0..200).map(|_| one()).collect();
    let mut done = 0;
    for settled in under_way {
        match settled.await.expect("no panic").expect("answers") {
            WriteOutcome::Done => done += 1,
            settled => assert!(is_over(&settled), "{settled:?}"),
        }
    }
    assert_eq!(done, ROOM);
    assert_eq!(
        standing_at(&*on.store, failures(ROOM).counter).await,
        ROOM,
        "what was refused was not counted"
    );
}

pub(crate) async fn the_full_counter_is_named_with_the_time_until_its_window_ends(on: Fixture) {
    let (roomy, full) = (hit(Counter::WrongTansOfAll, 9), failures(1));
    assert_eq!(take(&on, full).await, WriteOutcome::Done);
    let kinds = [
        RateLimits::take(vec![roomy, full]),
        RateLimits::check(vec![roomy, full]),
        RateLimits {
            check: vec![full],
            count: vec![roomy],
            ..RateLimits::take(vec![roomy])
        },
    ];
    on.clock.advance(Duration::from_secs(600));
    for rate_limits in kinds {
        let WriteOutcome::OverLimit { hit, retry_after } = settle(&on, rate_limits).await else {
            panic!("there is no room")
        };
        assert_eq!(hit, full);
        assert!(
            retry_after > Duration::ZERO && retry_after <= HOUR,
            "{retry_after:?}"
        );
    }
}

pub(crate) async fn a_check_needs_room_and_takes_none(on: Fixture) {
    for _ in 0..5 {
        assert_eq!(
            settle(&on, RateLimits::check(vec![failures(1)])).await,
            WriteOutcome::Done
        );
    }
    assert_eq!(take(&on, failures(1)).await, WriteOutcome::Done);
    assert!(is_over(
        &settle(&on, RateLimits::check(vec![failures(1)])).await
    ));
    assert_eq!(
        settle(&on, RateLimits::check(vec![failures(2)])).await,
        WriteOutcome::Done,
        "a raised limit counts at once"
    );
}

pub(crate) async fn a_count_rises_beyond_the_limit(on: Fixture) {
    for expected in 1..=5 {
        assert_eq!(
            settle(&on, counts(vec![failures(2)])).await,
            WriteOutcome::Done
        );
        assert_eq!(standing_at(&*on.store, failures(2).counter).await, expected);
    }
    assert!(is_over(&take(&on, failures(5)).await));
    assert_eq!(take(&on, failures(6)).await, WriteOutcome::Done);
}

pub(crate) async fn of_several_counters_all_or_none_are_raised(on: Fixture) {
    let (first, last) = (
        hit(Counter::WithoutEmailOf(vtnr()), 9),
        hit(Counter::WithoutEmailFrom(client(7)), 9),
    );
    let rate_limits = || RateLimits::take(vec![first, failures(1), last]);
    assert_eq!(settle(&on, rate_limits()).await, WriteOutcome::Done);
    for expected in [first, failures(1), last] {
        assert_eq!(standing_at(&*on.store, expected.counter).await, 1);
    }
    assert!(is_over(&settle(&on, rate_limits()).await));
    for expected in [first, failures(1), last] {
        assert_eq!(standing_at(&*on.store, expected.counter).await, 1);
    }
}

pub(crate) async fn a_refused_event_counts_nothing_either(on: Fixture) {
    let counted = hit(Counter::WrongTansOfAll, 9);
    let rate_limits = RateLimits {
        count: vec![counted],
        ..RateLimits::check(vec![failures(0)])
    };
    assert!(is_over(&settle(&on, rate_limits).await));
    assert_eq!(standing_at(&*on.store, counted.counter).await, 0);
}

fn distinct(last: u32) -> RateLimitHit {
    let vtnr = domain::vtnr::Vtnr::from_number(601_230_000 + last).expect("nine digits");
    hit(Counter::VtnrsFrom(client(7), vtnr), 3)
}

pub(crate) async fn each_broker_number_of_a_client_counts_once(on: Fixture) {
    for _ in 0..4 {
        assert_eq!(take(&on, distinct(1)).await, WriteOutcome::Done);
        assert_eq!(
            settle(&on, counts(vec![distinct(2)])).await,
            WriteOutcome::Done
        );
    }
    assert_eq!(take(&on, distinct(3)).await, WriteOutcome::Done);
    assert!(
        is_over(&take(&on, distinct(4)).await),
        "the fourth number is one too many"
    );
    let elsewhere = hit(Counter::VtnrsFrom(client(8), vtnr()), 1);
    assert_eq!(
        take(&on, elsewhere).await,
        WriteOutcome::Done,
        "another client has numbers of its own"
    );
}

pub(crate) async fn a_broker_number_that_was_counted_passes_a_full_counter(on: Fixture) {
    for last in 1..=3 {
        assert_eq!(take(&on, distinct(last)).await, WriteOutcome::Done);
    }
    assert!(is_over(
        &settle(&on, RateLimits::check(vec![distinct(4)])).await
    ));
    assert_eq!(
        settle(&on, RateLimits::check(vec![distinct(2)])).await,
        WriteOutcome::Done
    );
    assert_eq!(take(&on, distinct(2)).await, WriteOutcome::Done);
}

fn short(counter: Counter, limit: u32, window: Duration) -> RateLimitHit {
    RateLimitHit::one(counter, Allowance { limit, window })
}

pub(crate) async fn a_window_ends(on: Fixture) {
    let hit = short(failures(1).counter, 1, SHORT);
    assert_eq!(take(&on, hit).await, WriteOutcome::Done);
    on.after(SHORT, "there is room again", async || {
        take(&on, hit).await == WriteOutcome::Done
    })
    .await;
}

pub(crate) async fn events_within_a_window_do_not_put_its_end_off(on: Fixture) {
    let hit = short(failures(1).counter, 1, 3 * SHORT);
    assert_eq!(take(&on, hit).await, WriteOutcome::Done);
    // If each of these restarted the window, there would never be room: they arrive faster than
    // windows end.
    let has_room = async || {
        let room = settle(&on, RateLimits::check(vec![hit])).await == WriteOutcome::Done;
        room || settle(&on, counts(vec![hit])).await != WriteOutcome::Done
    };
    on.clock.advance(2 * SHORT);
    assert_eq!(settle(&on, counts(vec![hit])).await, WriteOutcome::Done);
    on.after(SHORT, "there is room again", has_room).await;
}

pub(crate) async fn a_broker_number_counts_again_in_the_next_window(on: Fixture) {
    let hit = |last| RateLimitHit {
        allowance: Allowance {
            limit: 1,
            window: SHORT,
        },
        ..distinct(last)
    };
    assert_eq!(take(&on, hit(1)).await, WriteOutcome::Done);
    on.after(SHORT, "another number has room", async || {
        take(&on, hit(2)).await == WriteOutcome::Done
    })
    .await;
    on.after(
        SHORT,
        "the first number has room and is counted",
        async || take(&on, hit(1)).await == WriteOutcome::Done,
    )
    .await;
}

pub(crate) async fn no_counter_touches_another(on: Fixture) {
    let (broker, decoy) = (Subject::Broker(vtnr()), Subject::Decoy(vtnr(), 7));
    let (other_broker, other_decoy) = (Subject::Broker(another_vtnr()), Subject::Decoy(vtnr(), 8));
    let mut all = vec![
        Counter::WrongTansOfAll,
        Counter::WithoutEmailOf(vtnr()),
        Counter::WithoutEmailOf(another_vtnr()),
    ];
    for subject in [broker, decoy, other_broker, other_decoy] {
        all.extend(
            [MailWindow::Pause, MailWindow::Burst, MailWindow::Day]
                .map(|pace| Counter::Mails(subject, pace)),
        );
        all.extend([Span::Day, Span::Month].map(|span| Counter::WrongTans(subject, span)));
        all.extend([
            Counter::ReserveMails(subject),
            Counter::WrongTansOfKnown(subject),
        ]);
    }
    for client in [client(7), client(8)] {
        all.extend([
            Counter::WrongTansFrom(client),
            Counter::FailuresFrom(client),
            Counter::WithoutEmailFrom(client),
        ]);
        all.push(Counter::VtnrsFrom(client, vtnr()));
    }
    for counter in &all {
        assert_eq!(
            take(&on, hit(*counter, 1)).await,
            WriteOutcome::Done,
            "{counter:?} was untouched"
        );
    }
    for counter in &all {
        // A broker number that was counted passes; another one reaches the limit.
        let counter = match *counter {
            Counter::VtnrsFrom(client, _) => Counter::VtnrsFrom(client, another_vtnr()),
            other => other,
        };
        assert!(
            is_over(&take(&on, hit(counter, 1)).await),
            "{counter:?} is full"
        );
    }
}

pub(crate) async fn no_limit_means_no_event(on: Fixture) {
    assert!(is_over(&take(&on, failures(0)).await));
    assert!(is_over(
        &settle(&on, RateLimits::check(vec![failures(0)])).await
    ));
    assert_eq!(
        settle(&on, RateLimits::none()).await,
        WriteOutcome::Done,
        "nothing to count is nothing to refuse"
    );
}
