//! Held forms: found by their browser only, claimed once, expired in time.

use crate::fixture::{Fixture, HOUR, SHORT};
use crate::samples::{client, vtnr};
use domain::held_form::{FormStage, HeldForm, HeldFormLimits};
use domain::ids::{FormId, FormToken};
use domain::policy::Permit;
use domain::return_to::ReturnTo;
use domain::route::{PortalServers, Route, Routes};
use domain::submission::{self, Body, Charset, LetterCase, PathAlphabet, SubmissionRules};
use domain::throttle::Counter;
use domain::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use vtnr_gateway::clock::Rng;
use vtnr_gateway::store::{FormDraft, FormUpdate, RateLimits, Seen, WriteOutcome};

/// A binary body of the default maximum size.
fn body() -> Vec<u8> {
    (0..1 << 20)
        .map(|at: usize| u8::try_from(at * 31 % 256).expect("a byte"))
        .collect()
}

fn public() -> Permit {
    let routes = Routes::new("/ui/", &["/".to_owned()], &[], PortalServers::Calculator);
    let paths = ["/antrag".to_owned()];
    let rules = SubmissionRules::new(paths, LetterCase::AsWritten, PathAlphabet::Ascii);
    let request = submission::Request {
        method: "GET",
        target: b"/",
        body: Body::None,
        charset: Charset::of([]),
    };
    match routes.of(&request, &rules.expect("sound rules")) {
        Route::Public(route) => Permit::public(route),
        other => panic!("{other:?}"),
    }
}

fn form(now: Timestamp) -> HeldForm {
    HeldForm {
        target: ReturnTo::parse("/kfz/antrag?schritt=2").expect("a path"),
        content_type: "multipart/form-data; boundary=----x".into(),
        referer: Some("https://rechner.example/kfz/antrag".into()),
        origin: Some("https://vergleich.example".into()),
        owner: Some(vtnr()),
        held_since: now,
        stage: FormStage::Waits,
    }
}

async fn keep(on: &Fixture, token: &FormToken, id: FormId, lives: Duration) -> HeldForm {
    let (form, body) = (form(on.now()), body());
    let parking = FormDraft {
        token,
        id,
        form: &form,
        body: &body,
        lives,
        over: None,
    };
    assert_eq!(
        on.store
            .save_form(parking, &RateLimits::none())
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
    form
}

async fn find(on: &Fixture, token: &FormToken, id: FormId) -> Option<Seen<HeldForm>> {
    on.store.find_form(token, id).await.expect("answers")
}

pub(crate) async fn a_form_is_found_by_its_browser_as_it_came(on: Fixture) {
    let (token, id) = (Rng.form_token(), Rng.form_id());
    let form = keep(&on, &token, id, HOUR).await;
    let seen = find(&on, &token, id).await.expect("it is there");
    assert_eq!(seen.value, form);
    assert!(
        find(&on, &Rng.form_token(), id).await.is_none(),
        "by no other browser"
    );
    assert!(
        find(&on, &token, Rng.form_id()).await.is_none(),
        "under no other name"
    );
    let sent = form.going(&public(), on.now());
    let taking = FormUpdate {
        seen: &seen,
        next: &sent,
        lives: HOUR,
    };
    let (taken, _) = on
        .store
        .claim_form(&token, id, taking)
        .await
        .expect("answers")
        .expect("it waits");
    assert!(taken == body(), "byte for byte");
    let again = find(&on, &token, id).await.expect("remembered");
    assert_eq!(again.value, sent);
    assert!(
        on.store
            .claim_form(&token, id, taking)
            .await
            .expect("answers")
            .is_none(),
        "not a second time"
    );
    let taking = FormUpdate {
        seen: &again,
        ..taking
    };
    assert!(
        on.store
            .claim_form(&token, id, taking)
            .await
            .expect("answers")
            .is_none(),
        "its body is gone"
    );
}

pub(crate) async fn of_100_that_take_a_form_one_gets_it(on: Fixture) {
    let (token, id) = (Rng.form_token(), Rng.form_id());
    let form = keep(&on, &token, id, HOUR).await;
    let seen = Arc::new(find(&on, &token, id).await.expect("it is there"));
    let sent = Arc::new(form.going(&public(), on.now()));
    let takers = (0..100).map(|_| {
        let (store, seen, sent) = (Arc::clone(&on.store), Arc::clone(&seen), Arc::clone(&sent));
        tokio::spawn(async move {
            let taking = FormUpdate {
                seen: &seen,
                next: &sent,
                lives: HOUR,
            };
            store
                .claim_form(&token, id, taking)
                .await
                .expect("answers")
                .is_some()
        })
    });
    let takers: Vec<_> = takers.collect();
    let mut taken = 0;
    for taker in takers {
        taken += usize::from(taker.await.expect("no panic"));
    }
    assert_eq!(taken, 1);
}

pub(crate) async fn a_form_that_was_taken_can_be_kept_on_unless_it_was_discarded(on: Fixture) {
    let (token, id, body) = (Rng.form_token(), Rng.form_id(), body());
    let form = keep(&on, &token, id, HOUR).await;
    let sent = form.going(&public(), on.now());
    let take = async || {
        let seen = find(&on, &token, id).await.expect("it is there");
        on.store
            .claim_form(
                &token,
                id,
                FormUpdate {
                    seen: &seen,
                    next: &sent,
                    lives: HOUR,
                },
            )
            .await
            .expect("answers")
            .expect("it waits")
            .1
    };
    let put_back = async |over: &Seen<HeldForm>| {
        let parking = FormDraft {
            token: &token,
            id,
            form: &form,
            body: &body,
            lives: HOUR,
            over: Some(over),
        };
        on.store
            .save_form(parking, &RateLimits::none())
            .await
            .expect("answers")
    };
    let first = take().await;
    assert_eq!(put_back(&first).await, WriteOutcome::Done);
    assert_eq!(
        find(&on, &token, id)
            .await
            .expect("it is there")
            .value
            .stage,
        FormStage::Waits
    );
    let second = take().await;
    assert_eq!(
        put_back(&first).await,
        WriteOutcome::Conflict,
        "somebody else has taken it since"
    );
    on.store.discard_form(&token, id).await.expect("answers");
    assert_eq!(
        put_back(&second).await,
        WriteOutcome::Conflict,
        "it was discarded"
    );
    assert!(find(&on, &token, id).await.is_none());
}

pub(crate) async fn a_form_is_gone_when_its_time_is_over(on: Fixture) {
    let (token, id) = (Rng.form_token(), Rng.form_id());
    keep(&on, &token, id, SHORT).await;
    on.after(SHORT, "the form is gone", async || {
        find(&on, &token, id).await.is_none()
    })
    .await;
}

pub(crate) async fn forms_are_kept_up_to_a_size_for_each_client_and_for_all(on: Fixture) {
    let limits = HeldFormLimits {
        lifetime: HOUR,
        largest: 1 << 20,
        per_client: 10 << 10,
        total: 40 << 10,
        settles: HOUR,
    };
    let (form, body) = (form(on.now()), vec![0; 5 << 10]);
    let park = async |last: u8| {
        let (token, rate_limits) = (
            Rng.form_token(),
            RateLimits::take(limits.room(client(last), body.len())),
        );
        let parking = FormDraft {
            token: &token,
            id: Rng.form_id(),
            form: &form,
            body: &body,
            lives: HOUR,
            over: None,
        };
        on.store
            .save_form(parking, &rate_limits)
            .await
            .expect("answers")
    };
    assert_eq!(
        [park(1).await, park(1).await],
        [WriteOutcome::Done, WriteOutcome::Done]
    );
    let WriteOutcome::OverLimit { hit, .. } = park(1).await else {
        panic!("10 KiB are used up")
    };
    assert_eq!(hit.counter, Counter::FormsFrom(client(1)));
    assert_eq!(park(2).await, WriteOutcome::Done);
    let WriteOutcome::OverLimit { hit, .. } = park(3).await else {
        panic!(
            "15 KiB are used up: a quarter is for forms that come in, and two windows share the rest"
        )
    };
    assert_eq!(hit.counter, Counter::FormsOfAll);
}
