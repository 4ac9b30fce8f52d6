//! Write access to Redis gains an attacker nothing, and damaged records are errors (security.md,
//! T16 and T17).

use crate::fixture::{Fixture, HOUR, SECRET, eventually, on_redis, vault};
use crate::samples::{
    Attempt, ask_for, begin_session, client, counts, failures, hit, letter, session, trust,
    unknown_email, vtnr,
};
use crate::support;
use domain::throttle::Counter;
use vtnr_gateway::clock::{Clock, Rng};
use vtnr_gateway::store::{Due, Error, FlowChange, RateLimits, RecordKey, WriteOutcome};

/// A gateway's Redis, with an intruder's connection.
struct Scene {
    server: support::redis::Redis,
    on: Fixture,
    intruder: redis::Connection,
}

impl Scene {
    fn set() -> Self {
        let server = support::redis::Redis::start();
        let (on, intruder) = (
            Fixture::on(on_redis(&server, "", SECRET), Clock::System),
            server.admin(),
        );
        Self {
            server,
            on,
            intruder,
        }
    }

    fn run(&mut self, name: &str, arguments: &[&[u8]]) -> redis::Value {
        let mut command = redis::cmd(name);
        for argument in arguments {
            command.arg(*argument);
        }
        command.query(&mut self.intruder).expect("Redis does it")
    }

    fn names(&mut self, pattern: &str) -> Vec<Vec<u8>> {
        redis::cmd("KEYS")
            .arg(pattern)
            .query(&mut self.intruder)
            .expect("names")
    }

    /// Returns the name of the only record of this kind.
    fn name(&mut self, pattern: &str) -> Vec<u8> {
        let names = self.names(pattern);
        assert_eq!(names.len(), 1, "{pattern}");
        names[0].clone()
    }
}

fn name(key: RecordKey) -> Vec<u8> {
    key.to_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_copied_onto_another_is_refused() {
    let mut scene = Scene::set();
    let (now, store) = (scene.on.now(), std::sync::Arc::clone(&scene.on.store));
    let (mine, theirs) = (
        begin_session(&scene.on, &session(now), HOUR).await,
        begin_session(&scene.on, &session(now), HOUR).await,
    );
    let never_begun = Rng.session_token();
    for onto in [mine, never_begun] {
        scene.run(
            "COPY",
            &[
                &name(vault().session_key(&theirs)),
                &name(vault().session_key(&onto)),
                b"REPLACE",
            ],
        );
        let found = store.find_session(&onto).await;
        assert!(
            matches!(found, Err(Error::Unsealable("session"))),
            "{found:?}"
        );
    }
    assert!(
        store
            .find_session(&theirs)
            .await
            .expect("untouched")
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_one_kind_is_not_taken_for_another() {
    let mut scene = Scene::set();
    let attempt = Attempt::begun(&scene.on).await;
    let (flow, trust) = (scene.name("f:*"), scene.name("t:*"));
    scene.run("COPY", &[&trust, &flow, b"REPLACE"]);
    assert!(matches!(
        scene.on.store.find_flow(&attempt.flow).await,
        Err(Error::Unsealable("sign-in"))
    ));
    scene.run(
        "COPY",
        &[
            &name(vault().session_key(&attempt.old_session)),
            &trust,
            b"REPLACE",
        ],
    );
    assert!(matches!(
        scene.on.store.find_trust(&attempt.old_browser).await,
        Err(Error::Unsealable("trust"))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_brokers_revocation_is_not_taken_for_anothers_and_a_damaged_one_can_be_replaced() {
    let mut scene = Scene::set();
    let store = std::sync::Arc::clone(&scene.on.store);
    store
        .revoke_broker(crate::samples::another_vtnr(), scene.on.now())
        .await
        .expect("revokes");
    let other = scene.name("r:*");
    store
        .revoke_broker(vtnr(), scene.on.now())
        .await
        .expect("revokes");
    let own = scene
        .names("r:*")
        .into_iter()
        .find(|name| *name != other)
        .expect("a second one");
    scene.run("COPY", &[&other, &own, b"REPLACE"]);
    assert!(matches!(
        store.revoked_at(vtnr()).await,
        Err(Error::Unsealable("revocation"))
    ));
    let now = scene.on.now();
    store.revoke_broker(vtnr(), now).await.expect("revokes");
    assert_eq!(
        store.revoked_at(vtnr()).await.expect("it is sound again"),
        Some(now)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_state_of_a_sign_in_put_back_is_a_conflict_for_whoever_saw_the_newer() {
    let mut scene = Scene::set();
    let attempt = Attempt::begun(&scene.on).await;
    let flow = scene.name("f:*");
    scene.run("COPY", &[&flow, b"older", b"REPLACE"]);
    let next = unknown_email();
    let change = FlowChange {
        token: &attempt.flow,
        previous_token: None,
        seen: attempt.seen.as_ref(),
        next: &next,
        lives: HOUR,
    };
    assert_eq!(
        scene
            .on
            .store
            .keep_flow(change, &RateLimits::none())
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
    let seen = scene
        .on
        .store
        .find_flow(&attempt.flow)
        .await
        .expect("answers");
    scene.run("COPY", &[b"older", &flow, b"REPLACE"]);
    let change = FlowChange {
        token: &attempt.flow,
        previous_token: None,
        seen: seen.as_ref(),
        next: &next,
        lives: HOUR,
    };
    assert_eq!(
        scene
            .on
            .store
            .keep_flow(change, &RateLimits::none())
            .await
            .expect("answers"),
        WriteOutcome::Conflict
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_an_error_and_neither_a_panic_nor_nothing() {
    let mut scene = Scene::set();
    let token = begin_session(&scene.on, &session(scene.on.now()), HOUR).await;
    let key = name(vault().session_key(&token));
    let redis::Value::BulkString(sealed) = scene.run("GET", &[&key]) else {
        panic!("it is there")
    };
    let mut flipped = sealed.clone();
    *flipped.last_mut().expect("not empty") ^= 1;
    let ten_mebibytes = vec![b'x'; 10 << 20];
    for garbage in [
        &b""[..],
        b"0",
        b"{\"vtnr\":601234567}",
        &[0; 12],
        &[0; 28],
        &sealed[1..],
        &flipped,
        &ten_mebibytes,
    ] {
        scene.run("SET", &[&key, garbage]);
        let found = scene.on.store.find_session(&token).await;
        assert!(
            matches!(found, Err(Error::Unsealable("session"))),
            "{} bytes: {found:?}",
            garbage.len()
        );
    }
    scene.run("SET", &[&key, &sealed]);
    assert!(
        scene
            .on
            .store
            .find_session(&token)
            .await
            .expect("it is sound again")
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_set_far_below_zero_or_to_nonsense_is_full() {
    for value in [
        &b"-1000000000"[..],
        b"-1",
        b"-9223372036854775808",
        b"nonsense",
        b"",
        b"1e99",
        b"nan",
        b"inf",
        b"0x1",
        b" 1",
        b"-0",
    ] {
        let mut scene = Scene::set();
        assert_eq!(
            scene
                .on
                .store
                .hit_limits(&RateLimits::take(vec![failures(5)]))
                .await
                .expect("answers"),
            WriteOutcome::Done
        );
        let counter = scene.name("c:*");
        scene.run("SET", &[&counter, value, b"KEEPTTL"]);
        for rate_limits in [
            RateLimits::take(vec![failures(5)]),
            RateLimits::check(vec![failures(5)]),
        ] {
            let settled = scene.on.store.hit_limits(&rate_limits).await;
            assert!(
                matches!(settled, Ok(WriteOutcome::OverLimit { .. })),
                "{:?}: {settled:?}",
                String::from_utf8_lossy(value)
            );
        }
        let attempt = Attempt::begun(&scene.on).await;
        let signed_in = attempt
            .sign_in(&*scene.on.store, &RateLimits::check(vec![failures(5)]))
            .await;
        assert!(
            matches!(signed_in, Ok(WriteOutcome::OverLimit { .. })),
            "{signed_in:?}"
        );
        attempt.left_no_trace(&*scene.on.store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_that_cannot_be_raised_leaves_nothing_half_done() {
    let mut scene = Scene::set();
    let attempt = Attempt::begun(&scene.on).await;
    let (first, second) = (
        hit(Counter::WrongTansOfAll, 5),
        hit(Counter::WrongTansFrom(client(7)), 5),
    );
    scene
        .on
        .store
        .hit_limits(&counts(vec![second]))
        .await
        .expect("counts");
    let damaged = scene.name("c:*");
    scene.run("SET", &[&damaged, b"nonsense", b"KEEPTTL"]);
    let signed_in = attempt
        .sign_in(&*scene.on.store, &counts(vec![first, second]))
        .await;
    assert!(signed_in.is_err(), "{signed_in:?}");
    attempt.left_no_trace(&*scene.on.store).await;
    assert_eq!(
        scene.names("c:*"),
        [damaged],
        "the other counter was not raised"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_secret_finds_nothing() {
    let scene = Scene::set();
    let attempt = Attempt::begun(&scene.on).await;
    scene
        .on
        .store
        .revoke_broker(vtnr(), scene.on.now())
        .await
        .expect("revokes");
    scene
        .on
        .store
        .hit_limits(&RateLimits::take(vec![failures(1)]))
        .await
        .expect("counts");
    let other = on_redis(&scene.server, "", b"another secret that is long enough");
    let other = Fixture::on(other, Clock::System);
    eventually("it answers", async || other.store.ping().await.is_ok()).await;
    assert_eq!(
        other
            .store
            .find_session(&attempt.old_session)
            .await
            .expect("answers"),
        None
    );
    assert!(
        other
            .store
            .find_flow(&attempt.flow)
            .await
            .expect("answers")
            .is_none()
    );
    assert!(
        other
            .store
            .find_trust(&attempt.old_browser)
            .await
            .expect("answers")
            .entries()
            .is_empty()
    );
    assert_eq!(other.store.revoked_at(vtnr()).await.expect("answers"), None);
    assert_eq!(
        other
            .store
            .hit_limits(&RateLimits::take(vec![failures(1)]))
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_letter_leaves_the_outbox_and_keeps_no_other_waiting() {
    let mut scene = Scene::set();
    let now = scene.on.now();
    ask_for(&scene.on, &letter(now), HOUR).await;
    let damaged = scene.name("l:*");
    scene.run("SET", &[&damaged, b"damaged", b"KEEPTTL"]);
    let sound = letter(now);
    ask_for(&scene.on, &sound, HOUR).await;
    let mut leased = Vec::new();
    for _ in 0..3 {
        leased.extend(
            scene
                .on
                .store
                .lease_letter(Due::All, HOUR)
                .await
                .expect("that is no failure of the store"),
        );
    }
    assert_eq!(
        leased
            .iter()
            .map(|leased| leased.letter.id)
            .collect::<Vec<_>>(),
        [sound.id]
    );
    assert_eq!(
        scene.on.store.outbox_length().await.expect("answers"),
        1,
        "the damaged one waits no more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_letter_in_the_queue_keeps_no_letter_waiting() {
    let mut scene = Scene::set();
    let sound = letter(scene.on.now());
    for nonsense in [&b"nonsense"[..], b"", b"\xff\xfe"] {
        scene.run("ZADD", &[b"queue", b"1", nonsense]);
    }
    ask_for(&scene.on, &sound, HOUR).await;
    let mut leased = Vec::new();
    for _ in 0..5 {
        leased.extend(
            scene
                .on
                .store
                .lease_letter(Due::All, HOUR)
                .await
                .ok()
                .flatten(),
        );
    }
    assert_eq!(
        leased
            .iter()
            .map(|leased| leased.letter.id)
            .collect::<Vec<_>>(),
        [sound.id]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browsers_trust_does_not_open_with_another_browsers_token() {
    let mut scene = Scene::set();
    let attempt = Attempt::begun(&scene.on).await;
    let first = scene.name("t:*");
    assert_eq!(
        attempt
            .sign_in(&*scene.on.store, &RateLimits::none())
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
    let second = scene.name("t:*");
    assert_ne!(first, second);
    scene.run("COPY", &[&second, &first, b"REPLACE"]);
    assert!(matches!(
        scene.on.store.find_trust(&attempt.old_browser).await,
        Err(Error::Unsealable("trust"))
    ));
    assert_eq!(
        scene
            .on
            .store
            .find_trust(&attempt.browser)
            .await
            .expect("untouched")
            .entries()
            .len(),
        trust(scene.on.now()).entries().len()
    );
}
