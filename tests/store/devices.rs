//! Devices: browsers in which user keys have signed in.

use crate::fixture::{Fixture, HOUR, SHORT};
use crate::samples::{bare, begin_session, hit, session, trust, vtnr};
use domain::device::{Device, DeviceEntry, UserMark};
use domain::ids::{BrowserToken, DeviceToken};
use domain::throttle::{Counter, Span};
use domain::time::Timestamp;
use std::time::Duration;
use vtnr_gateway::clock::Rng;
use vtnr_gateway::store::{DeviceChange, RateLimits, SignInCommit, WriteOutcome};

pub(crate) fn mark(number: u8) -> UserMark {
    UserMark::from_digest([number; 32])
}

pub(crate) fn device(users: &[u8], at: Timestamp) -> Device {
    users.iter().fold(Device::default(), |device, user| {
        device.noting(DeviceEntry {
            user: mark(*user),
            vtnr: vtnr(),
            at,
        })
    })
}

/// Signs in with a password in a browser with this previous device token.
async fn signs_in(
    on: &Fixture,
    next: &Device,
    forgets: Option<&DeviceToken>,
    lives: Duration,
) -> DeviceToken {
    let (token, session_token, session) =
        (Rng.device_token(), Rng.session_token(), session(on.now()));
    let change = DeviceChange {
        token: &token,
        next,
        lives,
        forgets,
    };
    let settled = on
        .store
        .sign_in_on_device(
            bare(&session_token, &session, HOUR),
            change,
            &RateLimits::none(),
        )
        .await;
    assert_eq!(settled.expect("answers"), WriteOutcome::Done);
    assert_eq!(
        on.store
            .find_session(&session_token)
            .await
            .expect("answers"),
        Some(session)
    );
    token
}

async fn known(on: &Fixture, token: &DeviceToken) -> Device {
    on.store
        .find_device(token)
        .await
        .expect("the store answers")
}

pub(crate) async fn a_browser_is_known_as_it_signed_in_and_by_its_last_token_alone(on: Fixture) {
    let (one, two) = (device(&[1], on.now()), device(&[1, 2], on.now().plus(HOUR)));
    let first = signs_in(&on, &one, None, HOUR).await;
    assert_eq!(
        (
            known(&on, &first).await,
            known(&on, &Rng.device_token()).await
        ),
        (one, Device::default())
    );
    let second = signs_in(&on, &two, Some(&first), HOUR).await;
    assert_eq!(
        (known(&on, &first).await, known(&on, &second).await),
        (Device::default(), two)
    );
}

pub(crate) async fn a_forgotten_or_old_browser_is_known_for_nothing(on: Fixture) {
    let all = device(&[1], on.now());
    let (forgotten, other) = (
        signs_in(&on, &all, None, HOUR).await,
        signs_in(&on, &all, None, SHORT).await,
    );
    for _ in 0..2 {
        on.store.forget_device(&forgotten).await.expect("forgets");
        assert_eq!(known(&on, &forgotten).await, Device::default());
    }
    on.after(SHORT, "the other one is gone", async || {
        known(&on, &other).await == Device::default()
    })
    .await;
}

pub(crate) async fn a_password_without_room_in_a_counter_signs_nobody_in(on: Fixture) {
    let (now, full) = (
        on.now(),
        hit(Counter::WrongPasswords(mark(1), Span::Day), 1),
    );
    assert_eq!(
        on.store
            .hit_limits(&RateLimits::take(vec![full]))
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
    let former = signs_in(&on, &device(&[1], now), None, HOUR).await;
    let old = begin_session(&on, &session(now), HOUR).await;
    let (token, session_token, session, next) = (
        Rng.device_token(),
        Rng.session_token(),
        session(now),
        device(&[1, 2], now),
    );
    let change = DeviceChange {
        token: &token,
        next: &next,
        lives: HOUR,
        forgets: Some(&former),
    };
    let sign_in = SignInCommit {
        replaces: Some(&old),
        ..bare(&session_token, &session, HOUR)
    };
    let settled = on
        .store
        .sign_in_on_device(sign_in, change, &RateLimits::check(vec![full]))
        .await
        .expect("answers");
    assert!(
        matches!(settled, WriteOutcome::OverLimit { hit, .. } if hit == full),
        "{settled:?}"
    );
    assert_eq!(
        on.store
            .find_session(&session_token)
            .await
            .expect("answers"),
        None
    );
    assert!(
        on.store
            .find_session(&old)
            .await
            .expect("answers")
            .is_some(),
        "the old session lives"
    );
    assert_eq!(
        (known(&on, &token).await, known(&on, &former).await),
        (Device::default(), device(&[1], now))
    );
}

pub(crate) async fn a_known_browser_is_not_a_trusted_one_nor_the_other_way_round(on: Fixture) {
    let device = signs_in(&on, &device(&[1], on.now()), None, HOUR).await;
    let same = BrowserToken::from_bytes(*device.reveal());
    assert!(
        on.store
            .find_trust(&same)
            .await
            .expect("answers")
            .entries()
            .is_empty()
    );
    let (browser, token, session, trust) = (
        Rng.browser_token(),
        Rng.session_token(),
        session(on.now()),
        trust(on.now()),
    );
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
        known(&on, &DeviceToken::from_bytes(*browser.reveal())).await,
        Device::default()
    );
    on.store.forget_browser(&browser).await.expect("forgets");
    assert!(!known(&on, &device).await.entries().is_empty());
}
