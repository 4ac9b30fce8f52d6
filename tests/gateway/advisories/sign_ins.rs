//! Whose TAN it is, how often it counts, and what a restart forgets.

use super::house::{FREE, LOGIN};
use crate::support::World;
use crate::support::world::{ADA, BEN, StoreKind, not};
use futures_util::future::join_all;
use std::collections::BTreeSet;

/// A TAN proves one mailbox; it is of no use for another number, in another browser or in the same one.
#[tokio::test]
async fn a_tan_that_was_mailed_for_one_number_is_wrong_for_another() {
    let world = World::builder()
        .store(StoreKind::Memory)
        .config(FREE)
        .start()
        .await;
    let (ada, ben) = (world.browser(), world.browser());
    let of_ada = world.ask(&ada, ADA).await;
    let of_ben = world.ask(&ben, BEN).await;
    assert_ne!(of_ada, of_ben);
    ben.enter_tan(&of_ada, "/")
        .await
        .shows("Diese TAN ist falsch")
        .shows("noch 4 Versuche");
    ada.enter_tan(&of_ben, "/")
        .await
        .shows("Diese TAN ist falsch");
    // The same browser goes back and names another number: what was mailed before is of no use for that one.
    let changed = world.browser();
    let before = world.ask(&changed, ADA).await;
    let after = world.ask(&changed, BEN).await;
    changed
        .enter_tan(&before, "/")
        .await
        .shows("Diese TAN ist falsch");
    changed
        .enter_tan(&of_ada, "/")
        .await
        .shows("Diese TAN ist falsch");
    changed
        .open("/")
        .await
        .leads_to(&format!("{LOGIN}vtnr-login"));
    changed.enter_tan(&after, "/").await.leads_to("/");
    let seen = || {
        world
            .calculator
            .requests()
            .last()
            .and_then(|seen| seen.headers.get("x-vtnr").cloned())
    };
    changed.open("/").await.is(200);
    assert_eq!(seen().expect("an identity"), BEN.0);
    // The way without an address does not help either: it leads to what the claim says, without submission.
    let stranger = world.browser();
    stranger
        .claim(ADA.0, "evil@evil.example", "/")
        .await
        .leads_to(&format!("{LOGIN}unbekannte-e-mail"));
    stranger
        .enter_tan(&of_ada, "/")
        .await
        .leads_to(&format!("{LOGIN}unbekannte-e-mail"));
}

#[tokio::test]
async fn three_gateways_compare_no_more_wrong_tans_than_one_and_take_a_right_one_once() {
    let world = World::builder().gateways(3).config(FREE).start().await;
    let guessed = world.browser();
    let tan = world.ask(&guessed, ADA).await;
    let bases: Vec<String> = world
        .gateways
        .iter()
        .map(crate::support::Gateway::base)
        .collect();
    let guesses = (0..200).map(|number| (guessed.at(&bases[number % 3]), not(&tan, number)));
    join_all(guesses.map(|(browser, guess)| async move { browser.enter_tan(&guess, "/").await }))
        .await;
    assert_eq!(
        sum(
            &world,
            "vtnr_gateway_sign_ins_total{outcome=\"wrong\",step=\"tan\"}"
        )
        .await,
        5.0
    );
    guessed
        .enter_tan(&tan, "/")
        .await
        .shows("Diese TAN gilt nicht mehr");

    let browser = world.browser();
    let tan = world.ask(&browser, BEN).await;
    let flow = browser.cookie("vtnr_flow").expect("a sign-in");
    let posts = (0..100).map(|number| {
        let tab = world.browser().at(&bases[number % 3]);
        tab.set_cookie("vtnr_flow", &flow);
        let tan = &tan;
        async move {
            let answer = tab.enter_tan(tan, "/").await;
            // Whoever met too many others is asked to come back, and gets no session.
            assert!(
                answer.location().is_some() || answer.status == 503,
                "{answer:?}"
            );
            tab.cookie("vtnr_session")
        }
    });
    let sessions: BTreeSet<_> = join_all(posts).await.into_iter().flatten().collect();
    assert_eq!(sessions.len(), 1, "one sign-in");
    assert_eq!(
        sum(&world, "vtnr_gateway_sessions_begun_total{level=\"full\"}").await,
        1.0
    );
}

/// Before the TAN there is nothing in the store that could be a session, not even one that nobody knows of.
#[tokio::test]
async fn no_session_is_stored_before_the_tan_was_right() {
    let world = World::builder().config(FREE).start().await;
    let stored = || {
        let redis = world
            .redis
            .as_ref()
            .expect("a redis-server")
            .lock()
            .expect("no panic");
        let keys = redis.raw(&format!("KEYS {}*", world.key_prefix));
        let keys = String::from_utf8_lossy(&keys).into_owned();
        ["s:", "f:"].map(|kind| {
            keys.lines()
                .filter(|key| key.starts_with(&format!("{}{kind}", world.key_prefix)))
                .count()
        })
    };
    let browser = world.browser();
    let tan = world.ask(&browser, ADA).await;
    for number in 0..3 {
        browser
            .enter_tan(&not(&tan, number), "/")
            .await
            .shows("Diese TAN ist falsch");
    }
    browser.get(&format!("{LOGIN}tan")).await.is(200);
    world
        .browser()
        .claim(ADA.0, "evil@evil.example", "/")
        .await
        .leads_to(&format!("{LOGIN}unbekannte-e-mail"));
    assert_eq!(stored(), [0, 2], "two sign-ins under way, and no session");
    browser.enter_tan(&tan, "/").await.leads_to("/");
    assert_eq!(stored()[0], 1, "one session");
}

/// A metric's value over all gateways.
async fn sum(world: &World, line: &str) -> f64 {
    let mut sum = 0.0;
    for gateway in &world.gateways {
        let metrics = gateway.metrics().await;
        sum += metrics
            .lines()
            .find_map(|found| found.strip_prefix(line)?.trim().parse::<f64>().ok())
            .unwrap_or(0.0);
    }
    sum
}

/// With the store in a file, a power cut brings nothing back that was ended.
#[tokio::test]
async fn who_signed_out_stays_out_after_a_power_cut() {
    let file = tempfile::tempdir().expect("a folder");
    let store = format!(
        "{FREE}[store]\nurl = \"file:{}\"",
        file.path().join("store").display()
    );
    let mut world = World::builder()
        .store(StoreKind::Memory)
        .config(&store)
        .start()
        .await;
    let (left, stays) = (world.signed_in(ADA).await, world.signed_in(BEN).await);
    let old = left.cookie("vtnr_session").expect("a session");
    left.open("/").await.is(200);
    left.post(&format!("{LOGIN}abmelden"), &[]).await.is(200);
    world.gateways[0].kill();
    world.gateways[0].restart().await;
    left.set_cookie("vtnr_session", &old);
    left.open("/").await.leads_to(&format!("{LOGIN}vtnr-login"));
    left.fetch("/").await.is(401);
    stays.open("/").await.is(200);
}
