//! Redis is down, hangs, is full, or refuses: always an error, never "not found", and no restart of
//! the gateway afterwards.

use crate::fixture::{DEADLINE, Fixture, HOUR, SECRET, at, eventually, on_redis, within};
use crate::samples::{
    Attempt, bare, begin_session, counts, failures, letter, session, tan_asked, unknown_email, vtnr,
};
use crate::support;
use domain::challenge::Delivery;
use domain::flow::Flow;
use domain::ids::SessionToken;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use vtnr_gateway::clock::{Clock, Rng};
use vtnr_gateway::store::redis::RedisOptions;
use vtnr_gateway::store::{
    Due, Error, FlowChange, LetterLease, RateLimits, Result, Seen, WriteOutcome,
};

/// security.md, 6: the deadline to use a recovered store again.
const BACK_WITHIN: Duration = Duration::from_secs(2);
/// security.md, 6: an answer within a total budget of 1 to 2 seconds, plus a margin for a busy
/// machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

const TIMEOUT: Duration = Duration::from_secs(1);

fn on(server: &support::redis::Redis) -> Fixture {
    Fixture::on(on_redis(server, "", SECRET), Clock::System)
}

/// Opens a store with a short timeout, for a Redis that hangs.
fn impatient(port: u16) -> Fixture {
    let usage = RedisOptions {
        prefix: "",
        timeout: TIMEOUT,
        replicas: 0,
    };
    Fixture::on(
        at(&format!("redis://127.0.0.1:{port}/0"), usage, SECRET),
        Clock::System,
    )
}

/// Runs every operation, and returns the results.
async fn everything(on: &Fixture) -> Vec<(&'static str, Result<()>)> {
    let store = &*on.store;
    let (token, flow, browser, id) = (
        Rng.session_token(),
        Rng.flow_token(),
        Rng.browser_token(),
        Rng.letter_id(),
    );
    let (session, next, rate_limits) = (
        session(on.now()),
        unknown_email(),
        counts(vec![failures(5)]),
    );
    let (asked, letter) = (tan_asked(on.now(), 5), letter(on.now()));
    let keep = FlowChange {
        token: &flow,
        previous_token: None,
        seen: None,
        next: &next,
        lives: HOUR,
    };
    let ask = FlowChange {
        token: &flow,
        previous_token: None,
        seen: None,
        next: &asked,
        lives: HOUR,
    };
    let (other, seen) = (Rng.flow_token(), seen_elsewhere().await);
    let moved = FlowChange {
        token: &other,
        previous_token: Some(&flow),
        seen: None,
        next: &next,
        lives: HOUR,
    };
    vec![
        ("find_session", store.find_session(&token).await.map(drop)),
        (
            "touch_session",
            store.touch_session(&token, &session, HOUR).await.map(drop),
        ),
        ("end_session", store.end_session(&token).await),
        ("revoke_broker", store.revoke_broker(vtnr(), on.now()).await),
        ("revoked_at", store.revoked_at(vtnr()).await.map(drop)),
        ("find_flow", store.find_flow(&flow).await.map(drop)),
        (
            "keep_flow",
            store.keep_flow(keep, &RateLimits::none()).await.map(drop),
        ),
        ("move_flow", store.move_flow(moved).await.map(drop)),
        ("moved_flow", store.moved_flow(&flow).await.map(drop)),
        (
            "hit_limits_in_flow",
            store
                .hit_limits_in_flow(&flow, &seen, &rate_limits)
                .await
                .map(drop),
        ),
        (
            "end_flow",
            store.end_flow(&flow, &seen, &rate_limits).await.map(drop),
        ),
        ("discard_flow", store.discard_flow(&flow, &next).await),
        (
            "ask_for_tan",
            store
                .ask_for_tan(ask, &letter, &RateLimits::none())
                .await
                .map(drop),
        ),
        (
            "sign_in",
            store
                .sign_in(bare(&token, &session, HOUR), &RateLimits::none())
                .await
                .map(drop),
        ),
        ("hit", store.hit_limits(&rate_limits).await.map(drop)),
        ("find_trust", store.find_trust(&browser).await.map(drop)),
        ("forget_browser", store.forget_browser(&browser).await),
        ("deliveries", store.deliveries(&[id]).await.map(drop)),
        (
            "lease_letter",
            store.lease_letter(Due::All, HOUR).await.map(drop),
        ),
        (
            "renew_lease",
            store
                .renew_lease(
                    LetterLease {
                        letter: id,
                        attempt: 1,
                    },
                    HOUR,
                )
                .await
                .map(drop),
        ),
        (
            "note_delivery",
            store
                .note_delivery(
                    LetterLease {
                        letter: id,
                        attempt: 1,
                    },
                    Delivery::Queued,
                )
                .await,
        ),
        ("outbox_length", store.outbox_length().await.map(drop)),
        ("ping", store.ping().await),
    ]
}

/// Returns a flow as seen in another store.
async fn seen_elsewhere() -> Seen<Flow> {
    let attempt = Attempt::begun(&Fixture::memory().await).await;
    attempt.seen.expect("a sign-in under way")
}

async fn all_work(on: &Fixture) {
    for (operation, outcome) in everything(on).await {
        assert!(outcome.is_ok(), "{operation}: {outcome:?}");
    }
}

async fn all_are_unreachable(on: &Fixture) {
    for (operation, outcome) in everything(on).await {
        assert!(
            matches!(outcome, Err(Error::Unreachable(_))),
            "{operation}: {outcome:?}"
        );
    }
}

async fn finds(on: &Fixture, token: &SessionToken) -> bool {
    on.store
        .find_session(token)
        .await
        .is_ok_and(|session| session.is_some())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_is_an_error_in_every_operation_and_is_used_again_after_its_return() {
    let mut server = support::redis::Redis::start();
    let on = on(&server);
    all_work(&on).await;
    server.kill();
    all_are_unreachable(&on).await;
    all_are_unreachable(&on).await;
    server.restart();
    within(BACK_WITHIN, "the store is used again", async || {
        on.store.ping().await.is_ok()
    })
    .await;
    all_work(&on).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_was_never_there_is_an_error_until_it_comes() {
    let mut server = support::redis::Redis::start();
    server.kill();
    let on = on(&server);
    all_are_unreachable(&on).await;
    assert!(on.store.subscription().is_none());
    server.restart();
    within(BACK_WITHIN, "the store is used", async || {
        on.store.ping().await.is_ok()
    })
    .await;
    all_work(&on).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_is_an_error_in_time_and_nothing_is_lost_when_it_goes_on() {
    let server = support::redis::Redis::start();
    let on = impatient(server.port());
    let token = begin_session(&on, &session(on.now()), HOUR).await;
    server.signal("STOP");
    for _ in 0..3 {
        let asked = Instant::now();
        let found = on.store.find_session(&token).await;
        assert!(matches!(found, Err(Error::Unreachable(_))), "{found:?}");
        assert!(asked.elapsed() < ANSWER_WITHIN, "{:?}", asked.elapsed());
    }
    server.signal("CONT");
    within(BACK_WITHIN, "the session is found again", async || {
        finds(&on, &token).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_do_not_pile_up_before_a_redis_that_hangs() {
    let server = support::redis::Redis::start();
    let on = impatient(server.port());
    on.store.ping().await.expect("it works");
    server.signal("STOP");
    let asked = Instant::now();
    let ask = || {
        let store = Arc::clone(&on.store);
        tokio::spawn(async move { store.find_session(&Rng.session_token()).await })
    };
    let under_way: Vec<_> = (0..200).map(|_| ask()).collect();
    for found in under_way {
        let found = found.await.expect("no panic");
        assert!(matches!(found, Err(Error::Unreachable(_))), "{found:?}");
    }
    assert!(
        asked.elapsed() < ANSWER_WITHIN,
        "all waited at the same time: {:?}",
        asked.elapsed()
    );
    server.signal("CONT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hung_from_the_start_is_used_once_it_goes_on() {
    let server = support::redis::Redis::start();
    server.signal("STOP");
    let on = impatient(server.port());
    let asked = Instant::now();
    assert!(matches!(on.store.ping().await, Err(Error::Unreachable(_))));
    assert!(asked.elapsed() < ANSWER_WITHIN, "{:?}", asked.elapsed());
    server.signal("CONT");
    within(BACK_WITHIN, "the store is used", async || {
        on.store.ping().await.is_ok()
    })
    .await;
}

/// A network between gateway and Redis that can silence its open connections but lets new ones
/// pass, like a firewall that lost its state, or a failover that moves an address.
struct Network {
    port: u16,
    generation: watch::Sender<u32>,
}

impl Network {
    async fn before(server: &support::redis::Redis) -> Self {
        let (generation, watching) = watch::channel(0);
        let (listener, to) = (
            TcpListener::bind(("127.0.0.1", 0))
                .await
                .expect("a free port"),
            server.port(),
        );
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(("127.0.0.1", to)).await else {
                    continue;
                };
                let ((near_reads, near_writes), (far_reads, far_writes)) =
                    (near.into_split(), far.into_split());
                tokio::spawn(carry(near_reads, far_writes, watching.clone()));
                tokio::spawn(carry(far_reads, near_writes, watching.clone()));
            }
        });
        Self { port, generation }
    }

    /// Silences the open connections from now on, without informing either end.
    fn swallow(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    watching: watch::Receiver<u32>,
) {
    let born = *watching.borrow();
    let mut buffer = vec![0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if *watching.borrow() == born && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_fell_silent_is_replaced() {
    let server = support::redis::Redis::start();
    let network = Network::before(&server).await;
    let on = impatient(network.port);
    all_work(&on).await;
    eventually("it listens", async || on.store.subscription().is_some()).await;
    network.swallow();
    assert!(matches!(on.store.ping().await, Err(Error::Unreachable(_))));
    within(BACK_WITHIN, "the store is used again", async || {
        on.store.ping().await.is_ok()
    })
    .await;
    eventually("it listens again", async || {
        on.store.subscription().is_some()
    })
    .await;
    all_work(&on).await;
}

fn command(server: &support::redis::Redis, words: &[&str]) {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.exec(&mut server.admin()).expect("redis does it");
}

async fn none_works(on: &Fixture) {
    for (operation, outcome) in everything(on).await {
        assert!(
            matches!(outcome, Err(Error::Refused(_) | Error::Unreachable(_))),
            "{operation}: {outcome:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_an_error_until_it_is_the_right_one() {
    let server = support::redis::Redis::start();
    let mut admin = server.admin();
    redis::cmd("CONFIG")
        .arg(&["SET", "requirepass", "right"])
        .exec(&mut admin)
        .expect("locks");
    let usage = RedisOptions {
        prefix: "",
        timeout: DEADLINE,
        replicas: 0,
    };
    let on = Fixture::on(
        at(
            &format!("redis://:sesame-wrong@127.0.0.1:{}/0", server.port()),
            usage,
            SECRET,
        ),
        Clock::System,
    );
    none_works(&on).await;
    assert!(on.store.subscription().is_none());
    for (operation, outcome) in everything(&on).await {
        assert!(
            !format!("{outcome:?}").contains("sesame"),
            "{operation} shows the password"
        );
    }
    redis::cmd("CONFIG")
        .arg(&["SET", "requirepass", "sesame-wrong"])
        .exec(&mut admin)
        .expect("sets the expected one");
    within(BACK_WITHIN, "the store is used", async || {
        on.store.ping().await.is_ok()
    })
    .await;
    all_work(&on).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_password_is_an_error() {
    let server = support::redis::Redis::start();
    command(&server, &["CONFIG", "SET", "requirepass", "right"]);
    none_works(&on(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_acl_forbids_is_refused_and_the_rest_works() {
    let server = support::redis::Redis::start();
    let open = on(&server);
    let token = begin_session(&open, &session(open.now()), HOUR).await;
    command(
        &server,
        &["ACL", "SETUSER", "default", "-evalsha", "-eval", "-set"],
    );
    let refused = on(&server);
    assert!(finds(&refused, &token).await, "reads work");
    for outcome in [
        refused.store.end_session(&token).await,
        refused.store.ping().await,
    ] {
        assert!(matches!(outcome, Err(Error::Refused(_))), "{outcome:?}");
    }
    assert!(finds(&refused, &token).await, "nothing ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_clients_are_an_error_until_there_is_room() {
    let server = support::redis::Redis::start();
    let mut admin = server.admin();
    redis::cmd("CONFIG")
        .arg(&["SET", "maxclients", "1"])
        .exec(&mut admin)
        .expect("narrows");
    let on = on(&server);
    none_works(&on).await;
    redis::cmd("CONFIG")
        .arg(&["SET", "maxclients", "100"])
        .exec(&mut admin)
        .expect("widens");
    within(BACK_WITHIN, "the store is used", async || {
        on.store.ping().await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_refuses_sign_ins_while_sessions_are_found_and_can_be_ended() {
    let server = support::redis::Redis::start();
    let on = on(&server);
    let (token, ending) = (
        begin_session(&on, &session(on.now()), HOUR).await,
        begin_session(&on, &session(on.now()), HOUR).await,
    );
    let attempt = Attempt::begun(&on).await;
    command(
        &server,
        &["CONFIG", "SET", "maxmemory-policy", "noeviction"],
    );
    command(&server, &["CONFIG", "SET", "maxmemory", "1"]);
    let settled = attempt
        .sign_in(&*on.store, &counts(vec![failures(5)]))
        .await;
    assert!(matches!(settled, Err(Error::Refused(_))), "{settled:?}");
    for outcome in [
        on.store
            .hit_limits(&counts(vec![failures(5)]))
            .await
            .map(drop),
        on.store.ping().await,
    ] {
        assert!(matches!(outcome, Err(Error::Refused(_))), "{outcome:?}");
    }
    attempt.left_no_trace(&*on.store).await;
    assert!(finds(&on, &token).await, "a session is found");
    on.store
        .end_session(&ending)
        .await
        .expect("signing out needs no room");
    assert!(!finds(&on, &ending).await);
    command(&server, &["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(
        attempt
            .sign_in(&*on.store, &RateLimits::none())
            .await
            .expect("there is room"),
        WriteOutcome::Done
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_became_a_replica_refuses_writes_until_it_is_none() {
    let server = support::redis::Redis::start();
    let on = on(&server);
    on.store.ping().await.expect("it works");
    command(&server, &["REPLICAOF", "127.0.0.1", "1"]);
    eventually("a write is refused", async || {
        matches!(on.store.ping().await, Err(Error::Refused(_)))
    })
    .await;
    command(&server, &["REPLICAOF", "NO", "ONE"]);
    within(BACK_WITHIN, "the store is used", async || {
        on.store.ping().await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_forgot_its_scripts_is_taught_them_again() {
    let server = support::redis::Redis::start();
    let on = on(&server);
    all_work(&on).await;
    command(&server, &["SCRIPT", "FLUSH"]);
    all_work(&on).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_lost_everything_finds_nothing_and_takes_sign_ins() {
    let mut server = support::redis::Redis::start();
    let on = on(&server);
    let token = begin_session(&on, &session(on.now()), HOUR).await;
    server.kill();
    server.restart();
    within(BACK_WITHIN, "the store is used again", async || {
        on.store.ping().await.is_ok()
    })
    .await;
    assert_eq!(on.store.find_session(&token).await.expect("answers"), None);
    let token = begin_session(&on, &session(on.now()), HOUR).await;
    assert!(finds(&on, &token).await);
}
