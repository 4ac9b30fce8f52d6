//! Ended sessions are announced, so that no cache keeps them alive.

use crate::fixture::{
    DEADLINE, Fixture, HOUR, SECRET, eventually, fresh_prefix, on_redis, shared_redis, vault,
};
use crate::samples::{Attempt, begin_session, failures, session, vtnr};
use crate::support::redis::Redis;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::Receiver;
use vtnr_gateway::clock::{Clock, Rng};
use vtnr_gateway::store::{
    Invalidation, RateLimits, SessionStore, SubscriptionEpoch, WriteOutcome,
};

/// Product rule: a revocation takes effect on every gateway within a second.
const PROMISED: Duration = Duration::from_secs(1);

/// Receives the next invalidation, skipping watermarks.
pub(crate) async fn hears(receiver: &mut Receiver<Invalidation>, within: Duration) -> Invalidation {
    let next = async {
        loop {
            match receiver.recv().await.expect("none was missed") {
                Invalidation::Watermark(_) => {}
                heard => return heard,
            }
        }
    };
    tokio::time::timeout(within, next)
        .await
        .expect("it is announced in time")
}

pub(crate) async fn ending_a_session_is_announced(on: Fixture) {
    let token = begin_session(&on, &session(on.now()), HOUR).await;
    assert!(on.store.subscription().is_some());
    let mut receiver = on.store.invalidations();
    on.store.end_session(&token).await.expect("ends");
    assert_eq!(
        hears(&mut receiver, DEADLINE).await,
        Invalidation::Session(vault().session_key(&token))
    );
}

pub(crate) async fn replacing_a_session_is_announced(on: Fixture) {
    let attempt = Attempt::begun(&on).await;
    let mut receiver = on.store.invalidations();
    assert_eq!(
        attempt
            .sign_in(&*on.store, &RateLimits::none())
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
    assert_eq!(
        hears(&mut receiver, DEADLINE).await,
        Invalidation::Session(vault().session_key(&attempt.old_session))
    );
}

pub(crate) async fn revoking_a_broker_is_announced(on: Fixture) {
    let mut receiver = on.store.invalidations();
    on.store
        .revoke_broker(vtnr(), on.now())
        .await
        .expect("revokes");
    assert_eq!(
        hears(&mut receiver, DEADLINE).await,
        Invalidation::Broker(vault().revocation_key(vtnr()))
    );
}

pub(crate) async fn what_was_refused_is_not_announced(on: Fixture) {
    let attempt = Attempt::begun(&on).await;
    let mut receiver = on.store.invalidations();
    let settled = attempt
        .sign_in(&*on.store, &RateLimits::take(vec![failures(0)]))
        .await
        .expect("answers");
    assert!(matches!(settled, WriteOutcome::OverLimit { .. }));
    let marker = Rng.session_token();
    on.store.end_session(&marker).await.expect("ends");
    assert_eq!(
        hears(&mut receiver, DEADLINE).await,
        Invalidation::Session(vault().session_key(&marker)),
        "nothing came before"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_on_one_gateway_is_heard_on_another_within_a_second() {
    let (server, prefix) = (shared_redis(), fresh_prefix());
    let here = Fixture::on(on_redis(server, &prefix, SECRET), Clock::System);
    let there = on_redis(server, &prefix, SECRET);
    eventually("both listen", async || {
        here.store.subscription().is_some() && there.subscription().is_some()
    })
    .await;
    let (token, attempt) = (
        begin_session(&here, &session(here.now()), HOUR).await,
        Attempt::begun(&here).await,
    );
    let mut receiver = there.invalidations();

    here.store.end_session(&token).await.expect("ends");
    assert_eq!(
        hears(&mut receiver, PROMISED).await,
        Invalidation::Session(vault().session_key(&token))
    );
    assert_eq!(there.find_session(&token).await.expect("answers"), None);

    assert_eq!(
        attempt
            .sign_in(&*here.store, &RateLimits::none())
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
    assert_eq!(
        hears(&mut receiver, PROMISED).await,
        Invalidation::Session(vault().session_key(&attempt.old_session))
    );

    here.store
        .revoke_broker(vtnr(), here.now())
        .await
        .expect("revokes");
    assert_eq!(
        hears(&mut receiver, PROMISED).await,
        Invalidation::Broker(vault().revocation_key(vtnr()))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_with_another_prefix_are_not_disturbed() {
    let server = shared_redis();
    let here = Fixture::on(on_redis(server, &fresh_prefix(), SECRET), Clock::System);
    let elsewhere = on_redis(server, &fresh_prefix(), SECRET);
    eventually("both listen", async || {
        here.store.subscription().is_some() && elsewhere.subscription().is_some()
    })
    .await;
    let mut receiver = elsewhere.invalidations();
    here.store
        .revoke_broker(vtnr(), here.now())
        .await
        .expect("revokes");
    let marker = Rng.session_token();
    elsewhere.end_session(&marker).await.expect("ends");
    assert_eq!(
        hears(&mut receiver, DEADLINE).await,
        Invalidation::Session(vault().session_key(&marker))
    );
}

/// Waits until invalidations arrive, and returns the epoch.
async fn listens(store: &impl SessionStore) -> SubscriptionEpoch {
    eventually("it listens", async || store.subscription().is_some()).await;
    store.subscription().expect("it listens")
}

async fn is_told_of_the_gap(
    receiver: &mut Receiver<Invalidation>,
    store: &impl SessionStore,
    before: SubscriptionEpoch,
) {
    assert_eq!(hears(receiver, DEADLINE).await, Invalidation::Gap(before));
    assert_eq!(hears(receiver, DEADLINE).await, Invalidation::Resubscribed);
    assert!(store.subscription() > Some(before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_is_noticed_and_what_is_heard_afterwards_is_another_hearing() {
    let mut server = Redis::start();
    let store = on_redis(&server, "", SECRET);
    let before = listens(&store).await;
    let mut receiver = store.invalidations();
    server.kill();
    eventually("it is deaf", async || store.subscription().is_none()).await;
    server.restart();
    is_told_of_the_gap(&mut receiver, &store, before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_is_noticed_at_once_and_what_is_heard_afterwards_is_another_hearing()
 {
    // The connection is cut right after a heartbeat, and the next is due after 250 ms. The quickest
    // of four counts: a busy machine is no failure.
    let server = Redis::start();
    let store = on_redis(&server, "", SECRET);
    let mut quickest = DEADLINE;
    for _ in 0..4 {
        let before = listens(&store).await;
        let mut receiver = store.invalidations();
        let cut: u32 = redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "pubsub"])
            .query(&mut server.admin())
            .expect("it is cut");
        let begun = Instant::now();
        assert_eq!(
            (cut, hears(&mut receiver, DEADLINE).await),
            (1, Invalidation::Gap(before))
        );
        quickest = quickest.min(begun.elapsed());
        assert_eq!(
            hears(&mut receiver, DEADLINE).await,
            Invalidation::Resubscribed
        );
        assert!(store.subscription() > Some(before));
    }
    assert!(quickest < Duration::from_millis(100), "{quickest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_is_noticed_and_what_is_heard_afterwards_is_another_hearing() {
    let server = Redis::start();
    let store = on_redis(&server, "", SECRET);
    let before = listens(&store).await;
    let mut receiver = store.invalidations();
    server.signal("STOP");
    eventually("it is deaf", async || store.subscription().is_none()).await;
    server.signal("CONT");
    is_told_of_the_gap(&mut receiver, &store, before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_cannot_be_read_makes_all_be_forgotten() {
    let (server, prefix) = (shared_redis(), fresh_prefix());
    let store = on_redis(server, &prefix, SECRET);
    listens(&store).await;
    let mut receiver = store.invalidations();
    let heard: u32 = redis::cmd("PUBLISH")
        .arg(format!("{prefix}ended"))
        .arg("s:nonsense")
        .query(&mut server.admin())
        .expect("publishes");
    assert_eq!(heard, 1);
    assert_eq!(hears(&mut receiver, DEADLINE).await, Invalidation::All);
}
