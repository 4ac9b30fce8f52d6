//! The session cache: never serves an ended session, and never reports "no session" for a store
//! that cannot answer.

use crate::fixture::{HOUR, eventually, manual_clock, vault};
use crate::samples::{bare, session, vtnr};
use crate::staged::Staged;
use domain::ids::SessionToken;
use domain::session::{Session, SessionLimits};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use vtnr_gateway::clock::{Clock, Rng};
use vtnr_gateway::store::cache::Sessions;
use vtnr_gateway::store::{
    Error, Invalidation, RateLimits, RecordKey, Result, RevocationStore as _, SessionStore,
    SignInStore as _, WriteOutcome,
};
use vtnr_gateway::telemetry::metrics::Metrics;

const MINUTE: Duration = Duration::from_secs(60);
const LIMITS: SessionLimits = SessionLimits {
    idle: HOUR,
    absolute: Duration::from_secs(12 * 3_600),
};
const GRACE: Duration = MINUTE;

/// One gateway's session cache with its store.
struct Gateway {
    store: Arc<Staged>,
    sessions: Arc<Sessions>,
    clock: Clock,
}

impl Gateway {
    fn deaf_from_the_start() -> Self {
        let clock = manual_clock();
        let store = Arc::new(Staged::new(clock.clone()));
        let metrics = Arc::new(Metrics::new().expect("sound"));
        let sessions = Sessions::new(
            Arc::clone(&store) as Arc<dyn SessionStore>,
            vault(),
            LIMITS,
            GRACE,
            clock.clone(),
            metrics,
        );
        Self {
            store,
            sessions: Arc::new(sessions),
            clock,
        }
    }

    async fn start() -> Self {
        let gateway = Self::deaf_from_the_start();
        tokio::spawn(Arc::clone(&gateway.sessions).listen());
        let token = gateway.sign_in().await;
        eventually("it listens", async || {
            gateway.find(&token).await.expect("answers");
            gateway.sessions.len() == 1
        })
        .await;
        gateway.sessions.end(&token).await.expect("ends");
        gateway.store.finds.store(0, Ordering::SeqCst);
        gateway
    }

    async fn sign_in(&self) -> SessionToken {
        let token = Rng.session_token();
        self.sign_in_as(&token).await;
        token
    }

    async fn sign_in_as(&self, token: &SessionToken) {
        let session = session(self.clock.now());
        let done = self
            .store
            .elsewhere
            .sign_in(bare(token, &session, 12 * HOUR), &RateLimits::none())
            .await;
        assert_eq!(done.expect("answers"), WriteOutcome::Done);
    }

    async fn find(&self, token: &SessionToken) -> Result<Option<Session>> {
        self.sessions.find(token, self.clock.now()).await
    }

    async fn finds(&self, token: &SessionToken) -> bool {
        self.find(token).await.expect("the store answers").is_some()
    }

    fn store_was_asked(&self) -> u32 {
        self.store.finds.swap(0, Ordering::SeqCst)
    }

    fn was_touched(&self) -> u32 {
        self.store.touches.swap(0, Ordering::SeqCst)
    }

    /// Announces an invalidation, and waits until the cache has applied it.
    async fn hears(&self, invalidation: Invalidation) {
        let marker = self.sign_in().await;
        eventually("the marker is in memory", async || {
            !self.asks_the_store_for(&marker).await
        })
        .await;
        self.store.announce(invalidation);
        self.store
            .announce(Invalidation::Session(vault().session_key(&marker)));
        eventually("it was heard", async || {
            self.asks_the_store_for(&marker).await
        })
        .await;
    }

    async fn asks_the_store_for(&self, token: &SessionToken) -> bool {
        self.store_was_asked();
        assert!(self.finds(token).await);
        self.store_was_asked() > 0
    }
}

#[tokio::test]
async fn a_session_is_asked_for_once_and_then_found_in_memory() {
    let gateway = Gateway::start().await;
    let token = gateway.sign_in().await;
    for _ in 0..5 {
        assert!(gateway.finds(&token).await);
    }
    assert_eq!(gateway.store_was_asked(), 1);
    assert!(!gateway.finds(&Rng.session_token()).await);
}

#[tokio::test]
async fn a_session_ended_between_being_read_and_being_kept_is_not_found_afterwards() {
    let gateway = Gateway::start().await;
    let token = gateway.sign_in().await;
    let (has_read, goes_on) = gateway.store.hold_next_find();
    let (sessions, now) = (Arc::clone(&gateway.sessions), gateway.clock.now());
    let under_way = tokio::spawn(async move { sessions.find(&token, now).await });
    has_read.await.expect("the session was read");
    gateway.sessions.end(&token).await.expect("ends");
    goes_on.send(Ok(())).expect("it waits");
    assert!(
        under_way
            .await
            .expect("no panic")
            .expect("answers")
            .is_some(),
        "it lived when it was read"
    );
    assert!(!gateway.finds(&token).await);
    assert!(gateway.sessions.is_empty());
}

#[tokio::test]
async fn a_session_ended_elsewhere_between_being_read_and_being_kept_is_not_found_afterwards() {
    is_not_kept_if_meanwhile(Invalidation::Session).await;
}

#[tokio::test]
async fn a_session_is_not_found_afterwards_if_all_were_to_be_forgotten_between_its_being_read_and_its_being_kept()
 {
    is_not_kept_if_meanwhile(|_| Invalidation::All).await;
}

/// A session ends elsewhere after it was read here, and the invalidation arrives before it is
/// cached.
async fn is_not_kept_if_meanwhile(heard: impl Fn(RecordKey) -> Invalidation) {
    let gateway = Gateway::start().await;
    let token = gateway.sign_in().await;
    let (has_read, goes_on) = gateway.store.hold_next_find();
    let (sessions, now) = (Arc::clone(&gateway.sessions), gateway.clock.now());
    let under_way = tokio::spawn(async move { sessions.find(&token, now).await });
    has_read.await.expect("the session was read");
    gateway
        .store
        .elsewhere
        .end_session(&token)
        .await
        .expect("ends");
    gateway.hears(heard(vault().session_key(&token))).await;
    goes_on.send(Ok(())).expect("it waits");
    under_way.await.expect("no panic").expect("answers");
    assert!(!gateway.finds(&token).await);
}

#[tokio::test]
async fn a_session_is_kept_although_another_one_ended_while_it_was_read() {
    let gateway = Gateway::start().await;
    // Two sessions in different shards.
    let [kept, ended] = [1, 2].map(|byte| SessionToken::from_bytes([byte; 32]));
    for token in [&kept, &ended] {
        gateway.sign_in_as(token).await;
    }
    let (has_read, goes_on) = gateway.store.hold_next_find();
    let (sessions, now) = (Arc::clone(&gateway.sessions), gateway.clock.now());
    let under_way = tokio::spawn(async move { sessions.find(&kept, now).await });
    has_read.await.expect("the session was read");
    gateway.sessions.end(&ended).await.expect("ends");
    goes_on.send(Ok(())).expect("it waits");
    assert!(
        under_way
            .await
            .expect("no panic")
            .expect("answers")
            .is_some()
    );
    assert!(!gateway.asks_the_store_for(&kept).await);
}

#[tokio::test]
async fn where_more_ends_were_announced_than_could_be_heard_none_of_the_ended_is_found() {
    let gateway = Gateway::start().await;
    let token = gateway.sign_in().await;
    assert!(gateway.finds(&token).await);
    gateway
        .store
        .elsewhere
        .end_session(&token)
        .await
        .expect("ends");
    gateway
        .store
        .announce(Invalidation::Session(vault().session_key(&token)));
    // No other task runs on this thread meanwhile.
    for _ in 0..Staged::MAX_ANNOUNCEMENTS {
        gateway.store.announce(Invalidation::Session(
            vault().session_key(&Rng.session_token()),
        ));
    }
    eventually("all is forgotten", async || !gateway.finds(&token).await).await;
}

#[tokio::test]
async fn a_session_ended_elsewhere_is_not_found_once_that_was_heard() {
    let gateway = Gateway::start().await;
    let (ended, other) = (gateway.sign_in().await, gateway.sign_in().await);
    assert!(gateway.finds(&ended).await && gateway.finds(&other).await);
    gateway
        .store
        .elsewhere
        .end_session(&ended)
        .await
        .expect("ends");
    gateway
        .hears(Invalidation::Session(vault().session_key(&ended)))
        .await;
    assert!(!gateway.finds(&ended).await);
    gateway.store_was_asked();
    assert!(gateway.finds(&other).await);
    assert_eq!(
        gateway.store_was_asked(),
        0,
        "the other one is still in memory"
    );
}

#[tokio::test]
async fn a_revoked_broker_has_no_session_but_may_begin_a_new_one() {
    let gateway = Gateway::start().await;
    let token = gateway.sign_in().await;
    assert!(gateway.finds(&token).await);
    gateway
        .store
        .elsewhere
        .revoke_broker(vtnr(), gateway.clock.now())
        .await
        .expect("revokes");
    gateway.clock.advance(Duration::from_millis(1));
    let new = gateway.sign_in().await;
    gateway.hears(Invalidation::All).await;
    assert!(!gateway.finds(&token).await);
    assert!(gateway.finds(&new).await);
}

#[tokio::test]
async fn nothing_is_answered_from_memory_while_invalidations_do_not_arrive() {
    let gateway = Gateway::start().await;
    let token = gateway.sign_in().await;
    assert!(gateway.finds(&token).await);
    gateway.store_was_asked();
    gateway.store.grow_deaf();
    for _ in 0..3 {
        assert!(gateway.finds(&token).await);
    }
    assert_eq!(gateway.store_was_asked(), 3);
    gateway
        .store
        .elsewhere
        .end_session(&token)
        .await
        .expect("ends, unheard");
    assert!(!gateway.finds(&token).await);
}

#[tokio::test]
async fn what_was_read_while_invalidations_did_not_arrive_is_not_kept() {
    let gateway = Gateway::start().await;
    let token = gateway.sign_in().await;
    gateway.store.grow_deaf();
    assert!(gateway.finds(&token).await);
    gateway
        .store
        .elsewhere
        .end_session(&token)
        .await
        .expect("ends, unheard");
    gateway.store.hear_again();
    assert!(!gateway.finds(&token).await);
}

#[tokio::test]
async fn nothing_is_answered_from_memory_where_nobody_listens() {
    let gateway = Gateway::deaf_from_the_start();
    let token = gateway.sign_in().await;
    assert!(gateway.finds(&token).await);
    gateway
        .store
        .elsewhere
        .end_session(&token)
        .await
        .expect("ends");
    assert!(!gateway.finds(&token).await);
}

#[tokio::test]
async fn use_is_written_down_at_most_once_a_minute() {
    let gateway = Gateway::start().await;
    let token = gateway.sign_in().await;
    for second in 0..180 {
        assert!(gateway.finds(&token).await, "after {second} s");
        gateway.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(gateway.was_touched(), 2);
    let stored = gateway
        .store
        .elsewhere
        .find_session(&token)
        .await
        .expect("answers")
        .expect("it lives");
    assert!(
        gateway.clock.now().since(stored.seen_at) <= MINUTE,
        "other gateways know that it is in use"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_100_requests_at_once_one_writes_the_use_down() {
    let gateway = Gateway::start().await;
    let token = gateway.sign_in().await;
    for _ in 0..5 {
        assert!(gateway.finds(&token).await);
        gateway.clock.advance(MINUTE);
        let one = || {
            let (sessions, now) = (Arc::clone(&gateway.sessions), gateway.clock.now());
            tokio::spawn(async move { sessions.find(&token, now).await })
        };
        let under_way: Vec<_> = (0..100).map(|_| one()).collect();
        for found in under_way {
            assert!(found.await.expect("no panic").expect("answers").is_some());
        }
        assert_eq!(gateway.was_touched(), 1);
    }
}

#[tokio::test]
async fn a_session_in_use_lives_on_until_the_absolute_limit_and_an_idle_one_ends() {
    let gateway = Gateway::start().await;
    let (used, idle) = (gateway.sign_in().await, gateway.sign_in().await);
    assert!(gateway.finds(&idle).await);
    for _ in 0..23 {
        assert!(gateway.finds(&used).await);
        gateway.clock.advance(HOUR / 2);
    }
    assert!(
        gateway.finds(&used).await,
        "after 11 and a half hours of use"
    );
    assert!(!gateway.finds(&idle).await);
    gateway.clock.advance(HOUR / 2);
    assert!(!gateway.finds(&used).await, "after 12 hours");
}

#[tokio::test]
async fn a_session_used_on_another_gateway_only_is_not_idle_here() {
    let gateway = Gateway::start().await;
    let token = gateway.sign_in().await;
    let found = gateway
        .find(&token)
        .await
        .expect("answers")
        .expect("it lives");
    gateway.clock.advance(HOUR / 2);
    let used = Session {
        seen_at: gateway.clock.now(),
        ..found
    };
    gateway
        .store
        .elsewhere
        .touch_session(&token, &used, HOUR)
        .await
        .expect("touches");
    gateway.clock.advance(HOUR / 2);
    assert!(gateway.finds(&token).await);
}

#[tokio::test]
async fn a_store_that_cannot_answer_is_an_error_and_not_no_session() {
    let gateway = Gateway::start().await;
    let token = gateway.sign_in().await;
    gateway.store.is_down.store(true, Ordering::SeqCst);
    gateway.store.grow_deaf();
    for _ in 0..3 {
        assert!(matches!(
            gateway.find(&token).await,
            Err(Error::Unreachable(_))
        ));
    }
    assert!(
        matches!(
            gateway.sessions.end(&token).await,
            Err(Error::Unreachable(_))
        ),
        "nobody is told that it ended"
    );
    gateway.store.is_down.store(false, Ordering::SeqCst);
    gateway.clock.advance(Duration::from_millis(500));
    assert!(
        gateway.finds(&token).await,
        "it is found again half a second later"
    );
}

#[tokio::test]
async fn while_the_store_does_not_answer_it_is_asked_twice_a_second() {
    let gateway = Gateway::start().await;
    gateway.store.is_down.store(true, Ordering::SeqCst);
    for _ in 0..100 {
        assert!(gateway.find(&Rng.session_token()).await.is_err());
        gateway.clock.advance(Duration::from_millis(10));
    }
    assert_eq!(gateway.store_was_asked(), 2);
}

#[tokio::test]
async fn once_ends_are_told_again_the_store_is_asked_at_once() {
    let gateway = Gateway::start().await;
    let unknown = gateway.sign_in().await;
    gateway.store.is_down.store(true, Ordering::SeqCst);
    assert!(gateway.find(&Rng.session_token()).await.is_err());
    gateway.store.is_down.store(false, Ordering::SeqCst);
    assert!(
        gateway.find(&unknown).await.is_err(),
        "it was asked a moment ago"
    );
    gateway.store.announce(Invalidation::Resubscribed);
    eventually("it is asked", async || gateway.find(&unknown).await.is_ok()).await;
    assert!(gateway.finds(&unknown).await);
}

#[tokio::test]
async fn a_session_that_the_store_has_lost_goes_on_until_its_use_is_noted_and_no_longer() {
    let gateway = Gateway::start().await;
    let token = gateway.sign_in().await;
    assert!(gateway.finds(&token).await);
    // Like FLUSHALL, which announces nothing.
    gateway
        .store
        .elsewhere
        .end_session(&token)
        .await
        .expect("ends");
    assert!(gateway.finds(&token).await, "it is in memory");
    gateway.clock.advance(Duration::from_secs(60));
    assert!(
        gateway.finds(&token).await,
        "this use was to be noted, and could not be"
    );
    assert!(!gateway.finds(&token).await);
}

#[tokio::test]
async fn an_answer_that_comes_too_late_says_nothing_of_a_store_that_is_back() {
    let gateway = Gateway::start().await;
    let (token, other) = (gateway.sign_in().await, gateway.sign_in().await);
    let (has_asked, goes_on) = gateway.store.hold_next_find();
    let (sessions, now) = (Arc::clone(&gateway.sessions), gateway.clock.now());
    let under_way = tokio::spawn(async move { sessions.find(&token, now).await });
    has_asked.await.expect("it asks");
    gateway.store.grow_deaf();
    gateway.store.hear_again();
    goes_on
        .send(Err(Error::Unreachable("the connection was lost".into())))
        .expect("it waits");
    assert!(under_way.await.expect("no panic").is_err());
    assert!(gateway.finds(&other).await);
}

#[tokio::test]
async fn a_damaged_record_is_an_error_of_its_own_and_no_outage() {
    let gateway = Gateway::start().await;
    let (damaged, other) = (gateway.sign_in().await, gateway.sign_in().await);
    *gateway.store.damaged.lock() = Some(damaged);
    assert!(matches!(
        gateway.find(&damaged).await,
        Err(Error::Unsealable(_))
    ));
    assert!(gateway.finds(&other).await);
}

/// The store goes down, and with it the invalidations.
async fn goes_down(gateway: &Gateway) {
    gateway
        .hears(Invalidation::Gap(gateway.store.heard()))
        .await;
    gateway.store.grow_deaf();
    gateway.store.is_down.store(true, Ordering::SeqCst);
}

/// The store recovers, and goes down again before any request.
async fn answers_for_a_moment(gateway: &Gateway) {
    gateway.store.hear_again();
    gateway.store.is_down.store(false, Ordering::SeqCst);
    gateway.store.announce(Invalidation::Resubscribed);
    eventually("it is asked again", async || {
        gateway.find(&Rng.session_token()).await.is_ok()
    })
    .await;
    goes_down(gateway).await;
}

#[tokio::test]
async fn sessions_known_before_an_outage_go_on_for_the_grace() {
    let gateway = Gateway::start().await;
    let (known, unknown) = (gateway.sign_in().await, gateway.sign_in().await);
    assert!(gateway.finds(&known).await);
    goes_down(&gateway).await;
    assert!(gateway.finds(&known).await);
    assert!(
        gateway.find(&unknown).await.is_err(),
        "of this one nothing can be proven"
    );
    gateway.clock.advance(GRACE - Duration::from_millis(1));
    assert!(gateway.finds(&known).await);
    gateway.clock.advance(Duration::from_millis(1));
    assert!(
        gateway.find(&known).await.is_err(),
        "the grace is over, and that is an error, not an end"
    );
    gateway.store.is_down.store(false, Ordering::SeqCst);
    gateway.clock.advance(Duration::from_millis(500));
    assert!(gateway.finds(&known).await && gateway.finds(&unknown).await);
}

#[tokio::test]
async fn use_in_an_outage_is_written_down_after_it() {
    let gateway = Gateway::start().await;
    let token = gateway.sign_in().await;
    assert!(gateway.finds(&token).await);
    goes_down(&gateway).await;
    gateway.clock.advance(GRACE - Duration::from_millis(500));
    assert!(gateway.finds(&token).await);
    gateway.store.is_down.store(false, Ordering::SeqCst);
    gateway.store.hear_again();
    gateway.clock.advance(Duration::from_millis(500));
    gateway.was_touched();
    for _ in 0..3 {
        assert!(gateway.finds(&token).await);
    }
    assert_eq!(gateway.was_touched(), 1);
}

#[tokio::test]
async fn a_session_that_the_store_knows_no_more_does_not_come_back_in_an_outage() {
    let gateway = Gateway::start().await;
    let token = gateway.sign_in().await;
    assert!(gateway.finds(&token).await);
    gateway.store.grow_deaf();
    gateway
        .store
        .elsewhere
        .end_session(&token)
        .await
        .expect("ends, unheard");
    assert!(!gateway.finds(&token).await, "the store says so");
    gateway.store.is_down.store(true, Ordering::SeqCst);
    assert!(!matches!(gateway.find(&token).await, Ok(Some(_))));
}

#[tokio::test]
async fn a_store_that_answers_for_a_moment_neither_ends_the_grace_nor_prolongs_it() {
    let gateway = Gateway::start().await;
    let token = gateway.sign_in().await;
    assert!(gateway.finds(&token).await);
    goes_down(&gateway).await;
    for _ in 0..3 {
        assert!(gateway.finds(&token).await);
        gateway.clock.advance(GRACE / 4);
        answers_for_a_moment(&gateway).await;
    }
    assert!(gateway.finds(&token).await);
    gateway.clock.advance(GRACE / 4);
    assert!(
        gateway.find(&token).await.is_err(),
        "that is an error, not an end"
    );
    for _ in 0..3 {
        gateway.clock.advance(GRACE);
        answers_for_a_moment(&gateway).await;
        assert!(
            gateway.find(&token).await.is_err(),
            "however many times went by since"
        );
    }
}

#[tokio::test]
async fn a_session_whose_end_was_missed_is_not_believed_once_ends_are_heard_again() {
    let gateway = Gateway::start().await;
    let token = gateway.sign_in().await;
    assert!(gateway.finds(&token).await);
    gateway.store.grow_deaf();
    gateway
        .store
        .elsewhere
        .end_session(&token)
        .await
        .expect("ends, unheard");
    // The gateway's own listener does not know this yet.
    gateway.store.hear_again();
    assert!(!gateway.finds(&token).await);
}

#[tokio::test]
async fn a_session_read_before_ends_were_missed_is_asked_for_again() {
    let gateway = Gateway::start().await;
    let token = gateway.sign_in().await;
    let (has_read, goes_on) = gateway.store.hold_next_find();
    let (sessions, now) = (Arc::clone(&gateway.sessions), gateway.clock.now());
    let under_way = tokio::spawn(async move { sessions.find(&token, now).await });
    has_read.await.expect("the session was read");
    gateway.store.grow_deaf();
    gateway
        .store
        .elsewhere
        .end_session(&token)
        .await
        .expect("ends, unheard");
    gateway.store.hear_again();
    goes_on.send(Ok(())).expect("it waits");
    assert!(
        under_way
            .await
            .expect("no panic")
            .expect("answers")
            .is_some(),
        "it lived when it was read"
    );
    assert!(!gateway.finds(&token).await);
}

#[tokio::test]
async fn the_grace_begins_when_invalidations_cease_even_if_the_store_answers_for_longer() {
    let gateway = Gateway::start().await;
    let token = gateway.sign_in().await;
    assert!(gateway.finds(&token).await);
    gateway
        .hears(Invalidation::Gap(gateway.store.heard()))
        .await;
    gateway.store.grow_deaf();
    gateway.clock.advance(GRACE);
    gateway
        .store
        .elsewhere
        .end_session(&token)
        .await
        .expect("ends, unheard");
    gateway.store.is_down.store(true, Ordering::SeqCst);
    assert!(!matches!(gateway.find(&token).await, Ok(Some(_))));
}

#[tokio::test]
async fn what_has_ended_by_age_is_dropped_from_memory() {
    let gateway = Gateway::start().await;
    let (old, young) = (gateway.sign_in().await, gateway.sign_in().await);
    assert!(gateway.finds(&old).await && gateway.finds(&young).await);
    gateway.clock.advance(HOUR / 2);
    assert!(gateway.finds(&young).await);
    gateway.clock.advance(HOUR / 2);
    gateway.sessions.tidy();
    assert_eq!(gateway.sessions.len(), 1);
}
