//! Peeking at a session without using it, and subscribing to its end.

use crate::fixture::{HOUR, manual_clock, vault};
use crate::samples::{bare, session};
use crate::staged::Staged;
use domain::session::SessionLimits;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use vtnr_gateway::clock::Rng;
use vtnr_gateway::store::cache::Sessions;
use vtnr_gateway::store::{Invalidation, RateLimits, SessionStore, SignInStore as _};
use vtnr_gateway::telemetry::metrics::Metrics;

const LIMITS: SessionLimits = SessionLimits {
    idle: HOUR,
    absolute: Duration::from_secs(12 * 3_600),
};
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn looking_is_no_use_and_a_store_that_cannot_answer_says_nothing() {
    let clock = manual_clock();
    let store = Arc::new(Staged::new(clock.clone()));
    let metrics = Arc::new(Metrics::new().expect("sound"));
    let sessions = Sessions::new(
        Arc::clone(&store) as Arc<dyn SessionStore>,
        vault(),
        LIMITS,
        MINUTE,
        clock.clone(),
        metrics,
    );
    let token = Rng.session_token();
    store
        .elsewhere
        .sign_in(
            bare(&token, &session(clock.now()), 12 * HOUR),
            &RateLimits::none(),
        )
        .await
        .expect("answers");
    for _ in 0..59 {
        clock.advance(MINUTE);
        assert!(
            sessions
                .peek(&token, clock.now())
                .await
                .expect("answers")
                .is_some()
        );
    }
    assert_eq!(store.touches.load(Ordering::SeqCst), 0);
    store.is_down.store(true, Ordering::SeqCst);
    assert!(sessions.peek(&token, clock.now()).await.is_err());
    store.is_down.store(false, Ordering::SeqCst);
    clock.advance(MINUTE);
    assert!(
        sessions
            .peek(&token, clock.now())
            .await
            .expect("answers")
            .is_none(),
        "looked at all the time, and idle nevertheless"
    );
}

#[tokio::test]
async fn whoever_is_told_of_an_end_does_not_find_the_session_in_memory_any_more() {
    let clock = manual_clock();
    let store = Arc::new(Staged::new(clock.clone()));
    let metrics = Arc::new(Metrics::new().expect("sound"));
    let sessions = Arc::new(Sessions::new(
        Arc::clone(&store) as Arc<dyn SessionStore>,
        vault(),
        LIMITS,
        MINUTE,
        clock.clone(),
        metrics,
    ));
    let mut ends = sessions.invalidations();
    tokio::spawn(Arc::clone(&sessions).listen());
    let token = Rng.session_token();
    store
        .elsewhere
        .sign_in(
            bare(&token, &session(clock.now()), 12 * HOUR),
            &RateLimits::none(),
        )
        .await
        .expect("answers");
    crate::fixture::eventually("it is in memory", async || {
        sessions.find(&token, clock.now()).await.expect("answers");
        sessions.len() == 1
    })
    .await;
    store.elsewhere.end_session(&token).await.expect("ends");
    assert!(
        sessions
            .peek(&token, clock.now())
            .await
            .expect("answers")
            .is_some(),
        "nobody has told yet"
    );
    let key = sessions.key(&token);
    store.announce(Invalidation::Session(key));
    assert!(matches!(ends.recv().await, Ok(Invalidation::Session(ended)) if ended == key));
    assert!(
        sessions
            .peek(&token, clock.now())
            .await
            .expect("answers")
            .is_none()
    );
}
