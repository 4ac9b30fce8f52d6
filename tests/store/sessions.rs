//! Sessions are found, touched and ended.

use crate::fixture::{Fixture, HOUR, SHORT, eventually};
use crate::samples::{begin_session, session, vtnr};
use domain::device::UserTag;
use domain::session::{Level, Proof, Session};
use domain::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use vtnr_gateway::clock::Rng;

pub(crate) async fn a_session_is_found_as_it_began(on: Fixture) {
    let user = UserTag::from_number(0xab_cdef);
    let proofs = [
        Proof::Mailbox,
        Proof::Password { user },
        Proof::Certificate,
        Proof::Portal,
    ];
    let levels = proofs.map(|proof| Level::Full { proof });
    for level in levels.into_iter().chain([Level::WithoutSubmission]) {
        let began = Session::begin(vtnr(), level, on.now());
        let token = begin_session(&on, &began, HOUR).await;
        assert_eq!(
            on.store.find_session(&token).await.expect("answers"),
            Some(began)
        );
    }
}

pub(crate) async fn an_unknown_token_finds_no_session(on: Fixture) {
    begin_session(&on, &session(on.now()), HOUR).await;
    assert_eq!(
        on.store
            .find_session(&Rng.session_token())
            .await
            .expect("answers"),
        None
    );
}

pub(crate) async fn an_ended_session_is_gone_and_can_be_ended_again(on: Fixture) {
    let (token, other) = (
        begin_session(&on, &session(on.now()), HOUR).await,
        begin_session(&on, &session(on.now()), HOUR).await,
    );
    for _ in 0..2 {
        on.store.end_session(&token).await.expect("ends");
        assert_eq!(on.store.find_session(&token).await.expect("answers"), None);
    }
    assert!(
        on.store
            .find_session(&other)
            .await
            .expect("answers")
            .is_some(),
        "another session lives on"
    );
}

pub(crate) async fn a_touch_is_what_the_next_one_finds(on: Fixture) {
    let began = session(on.now());
    let token = begin_session(&on, &began, HOUR).await;
    let used = Session {
        seen_at: on.now().plus(Duration::from_secs(90)),
        ..began
    };
    assert!(
        on.store
            .touch_session(&token, &used, HOUR)
            .await
            .expect("touches")
    );
    assert_eq!(
        on.store.find_session(&token).await.expect("answers"),
        Some(used)
    );
}

pub(crate) async fn a_touch_never_resurrects_an_ended_session(on: Fixture) {
    let began = session(on.now());
    let (ended, never_begun) = (begin_session(&on, &began, HOUR).await, Rng.session_token());
    on.store.end_session(&ended).await.expect("ends");
    for token in [ended, never_begun] {
        assert!(
            !on.store
                .touch_session(&token, &began, HOUR)
                .await
                .expect("that there is none is no error")
        );
        assert_eq!(on.store.find_session(&token).await.expect("answers"), None);
    }
}

pub(crate) async fn touches_and_ends_at_the_same_time_leave_no_session(on: Fixture) {
    for _ in 0..20 {
        let began = session(Timestamp::from_millis(0));
        let token = begin_session(&on, &began, HOUR).await;
        let touch = |store: Arc<dyn vtnr_gateway::store::FullStore>| {
            tokio::spawn(async move { store.touch_session(&token, &began, HOUR).await })
        };
        let touches: Vec<_> = (0..5).map(|_| touch(Arc::clone(&on.store))).collect();
        on.store.end_session(&token).await.expect("ends");
        for touched in touches {
            touched.await.expect("no panic").expect("answers");
        }
        assert_eq!(on.store.find_session(&token).await.expect("answers"), None);
    }
}

pub(crate) async fn a_session_is_gone_when_its_life_is_over(on: Fixture) {
    let token = begin_session(&on, &session(on.now()), SHORT).await;
    let is_gone = async || {
        on.store
            .find_session(&token)
            .await
            .expect("answers")
            .is_none()
    };
    on.after(SHORT, "the session is gone", is_gone).await;
}

pub(crate) async fn a_touch_lengthens_a_sessions_life(on: Fixture) {
    let life = 4 * SHORT;
    let began = session(on.now());
    let (touched, untouched) = (
        begin_session(&on, &began, life).await,
        begin_session(&on, &began, life).await,
    );
    on.store
        .touch_session(&touched, &began, HOUR)
        .await
        .expect("touches");
    on.clock.advance(life);
    eventually("the other is gone", async || {
        on.store
            .find_session(&untouched)
            .await
            .expect("answers")
            .is_none()
    })
    .await;
    assert_eq!(
        on.store.find_session(&touched).await.expect("answers"),
        Some(began)
    );
}
