//! Trusted browsers: granted, forgotten and revoked.

use crate::fixture::{Fixture, HOUR, SHORT};
use crate::samples::{another_vtnr, bare, begin_session, email, session, trust, vtnr};
use domain::ids::BrowserToken;
use domain::time::Timestamp;
use domain::trust::{Trust, TrustEntry};
use std::time::Duration;
use vtnr_gateway::clock::Rng;
use vtnr_gateway::store::{RateLimits, SignInCommit, WriteOutcome};

async fn granted(on: &Fixture, trust: &Trust, trust_lives: Duration) -> BrowserToken {
    let (browser, token, session) = (Rng.browser_token(), Rng.session_token(), session(on.now()));
    let sign_in = SignInCommit {
        trust: Some((&browser, trust)),
        trust_lives,
        ..bare(&token, &session, HOUR)
    };
    assert_eq!(
        on.store
            .sign_in(sign_in, &RateLimits::none())
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
    browser
}

async fn trusted_for(on: &Fixture, browser: &BrowserToken) -> Trust {
    on.store
        .find_trust(browser)
        .await
        .expect("the store answers")
}

pub(crate) async fn what_a_browser_is_trusted_for_is_found_as_it_was_granted(on: Fixture) {
    let later = on.now().plus(HOUR);
    let two = trust(on.now()).granting(TrustEntry {
        vtnr: another_vtnr(),
        email: email(),
        granted_at: later,
    });
    let browser = granted(&on, &two, HOUR).await;
    assert_eq!(trusted_for(&on, &browser).await, two);
}

pub(crate) async fn an_unknown_browser_is_trusted_for_nothing(on: Fixture) {
    granted(&on, &trust(on.now()), HOUR).await;
    assert_eq!(
        trusted_for(&on, &Rng.browser_token()).await,
        Trust::default()
    );
}

pub(crate) async fn a_forgotten_browser_is_trusted_for_nothing(on: Fixture) {
    let (forgotten, other) = (
        granted(&on, &trust(on.now()), HOUR).await,
        granted(&on, &trust(on.now()), HOUR).await,
    );
    for _ in 0..2 {
        on.store.forget_browser(&forgotten).await.expect("forgets");
        assert_eq!(trusted_for(&on, &forgotten).await, Trust::default());
    }
    assert_ne!(
        trusted_for(&on, &other).await,
        Trust::default(),
        "the broker's other browser is still trusted"
    );
}

pub(crate) async fn trust_ends_with_its_life(on: Fixture) {
    let browser = granted(&on, &trust(on.now()), SHORT).await;
    on.after(SHORT, "the trust is gone", async || {
        trusted_for(&on, &browser).await == Trust::default()
    })
    .await;
}

pub(crate) async fn a_revocation_holds_for_its_broker_only(on: Fixture) {
    assert_eq!(on.store.revoked_at(vtnr()).await.expect("answers"), None);
    on.store
        .revoke_broker(vtnr(), on.now())
        .await
        .expect("revokes");
    let later = on.now().plus(HOUR);
    on.store
        .revoke_broker(vtnr(), later)
        .await
        .expect("revokes again");
    assert_eq!(
        on.store.revoked_at(vtnr()).await.expect("answers"),
        Some(later)
    );
    assert_eq!(
        on.store.revoked_at(another_vtnr()).await.expect("answers"),
        None
    );
}

pub(crate) async fn a_revocation_is_later_than_those_before_it_and_than_all_sign_ins_whatever_the_clock_says(
    on: Fixture,
) {
    let at = Timestamp::from_millis;
    let revoked = async |vtnr| {
        on.store
            .revoke_broker(vtnr, at(1_000))
            .await
            .expect("the clock is slow, or was set back");
        on.store
            .revoked_at(vtnr)
            .await
            .expect("answers")
            .expect("revoked")
    };
    on.store
        .revoke_broker(vtnr(), at(2_000))
        .await
        .expect("revokes");
    assert!(revoked(vtnr()).await > at(2_000));
    for signed_in_at in [9_000, 3_000] {
        begin_session(&on, &session(at(signed_in_at)), HOUR).await;
    }
    assert_eq!(revoked(another_vtnr()).await, at(9_000));
    assert_eq!(revoked(vtnr()).await, at(9_000));
    assert!(revoked(vtnr()).await > at(9_000));
}
