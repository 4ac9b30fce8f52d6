//! Failovers: how they are noticed, which changes wait for replicas, and which may be lost.

use crate::fixture::{DEADLINE, Fixture, HOUR, SECRET, at, eventually, vault, within};
use crate::invalidations::hears;
use crate::samples::{Attempt, begin_session, counts, failures, session, stage, vtnr};
use crate::support::redis::Redis as Server;
use crate::support::{Cluster, Sentinels};
use domain::ids::SessionToken;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use vtnr_gateway::clock::{Clock, Rng};
use vtnr_gateway::config::{Credentials, Deployment, RedisServers, Secret};
use vtnr_gateway::store::redis::{Redis, RedisOptions};
use vtnr_gateway::store::{Error, RateLimits, Sealed, StoreHealth as _, Vault, WriteOutcome};

const TIMEOUT: Duration = Duration::from_secs(1);
/// A failover takes a second until the master counts as down, up to a second to elect a sentinel,
/// and some more.
const FAILED_OVER_WITHIN: Duration = Duration::from_secs(15);

fn on(url: &str, replicas: u32) -> Fixture {
    Fixture::on(
        at(
            url,
            RedisOptions {
                prefix: "",
                timeout: TIMEOUT,
                replicas,
            },
            SECRET,
        ),
        Clock::System,
    )
}

async fn works(on: &Fixture) {
    within(FAILED_OVER_WITHIN, "the store works", async || {
        on.store.ping().await.is_ok()
    })
    .await;
}

/// Cuts this master off from its replicas, so that it continues alone.
fn isolate(master: &Server) {
    master.command::<()>(&["ACL", "SETUSER", "default", "-psync", "-sync"]);
    master.command::<()>(&["CLIENT", "KILL", "TYPE", "replica"]);
}

fn reunite(master: &Server) {
    master.command::<()>(&["ACL", "SETUSER", "default", "+psync", "+sync"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_are_down_or_hang_are_passed_over() {
    let mut sentinels = Sentinels::start();
    sentinels.sentinels[0].signal("STOP");
    sentinels.sentinels[1].kill();
    let on = on(&sentinels.url(), 0);
    on.store.ping().await.expect("one sentinel suffices");
    sentinels.sentinels[0].signal("CONT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_master_is_noticed_and_commands_go_on_at_the_new_one() {
    let sentinels = Sentinels::start();
    let (everywhere, on, former) = (
        on(&sentinels.url(), 2),
        on(&sentinels.url(), 0),
        sentinels.named_by(0),
    );
    let token = begin_session(&everywhere, &session(on.now()), HOUR).await;
    sentinels.sentinels[0].command::<()>(&[
        "SENTINEL",
        "FAILOVER",
        crate::support::sentinels::NAME,
    ]);
    eventually("the master was demoted", async || {
        sentinels.server(former).is("slave")
    })
    .await;
    works(&on).await;
    assert!(
        on.store
            .find_session(&token)
            .await
            .expect("answers")
            .is_some(),
        "it is found at the new master"
    );
    on.store
        .end_session(&token)
        .await
        .expect("and can be ended there");
    eventually("it listens at the new master", async || {
        on.store.subscription().is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_the_sentinels_gave_up_is_left_though_it_still_answers() {
    let sentinels = Sentinels::start();
    for server in &sentinels.servers {
        server.command::<()>(&[
            "ACL", "SETUSER", "gateway", "on", ">secret", "+@all", "~*", "&*",
        ]);
    }
    let on = on(&sentinels.url().replace("://", "://gateway:secret@"), 0);
    works(&on).await;
    let former = sentinels.server(sentinels.named_by(0));
    // From now on the server refuses the commands of sentinels, and of nobody else.
    former.command::<()>(&[
        "ACL",
        "SETUSER",
        "default",
        "-ping",
        "-info",
        "-replicaof",
        "-slaveof",
        "-multi",
    ]);
    eventually("the sentinels have another master", async || {
        sentinels.named_by(0) != former.port()
    })
    .await;
    let is_left = async || {
        !former
            .command::<String>(&["CLIENT", "LIST"])
            .contains("user=gateway")
    };
    within(FAILED_OVER_WITHIN, "the former master is left", is_left).await;
    assert!(former.is("master"), "nobody told it");
    works(&on).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_of_a_master_that_hangs_is_waited_for_once_another_may_take_its_place() {
    let sentinels = Sentinels::start();
    let patient = RedisOptions {
        prefix: "",
        timeout: DEADLINE,
        replicas: 0,
    };
    let on = Fixture::on(at(&sentinels.url(), patient, SECRET), Clock::System);
    works(&on).await;
    let master = sentinels.server(sentinels.named_by(0));
    master.signal("STOP");
    let begun = Instant::now();
    let ended = on.store.end_session(&Rng.session_token()).await;
    assert!(matches!(ended, Err(Error::Unreachable(_))), "{ended:?}");
    assert!(
        begun.elapsed() < DEADLINE / 3,
        "after {:?}",
        begun.elapsed()
    );
    master.signal("CONT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_before_a_failover_stays_ended_and_what_ends_after_it_is_heard() {
    let sentinels = Sentinels::start();
    let (here, there) = (on(&sentinels.url(), 1), on(&sentinels.url(), 1));
    let (kept, ended) = (
        begin_session(&here, &session(here.now()), HOUR).await,
        begin_session(&here, &session(here.now()), HOUR).await,
    );
    here.store.end_session(&ended).await.expect("ends");
    here.store
        .revoke_broker(vtnr(), here.now())
        .await
        .expect("revokes");
    sentinels.server(sentinels.named_by(0)).signal("KILL");
    for on in [&here, &there] {
        works(on).await;
        within(FAILED_OVER_WITHIN, "it listens", async || {
            on.store.subscription().is_some()
        })
        .await;
    }
    assert!(
        there
            .store
            .find_session(&ended)
            .await
            .expect("answers")
            .is_none(),
        "what ended is not back"
    );
    assert!(
        there
            .store
            .revoked_at(vtnr())
            .await
            .expect("answers")
            .is_some(),
        "the revocation holds"
    );
    let mut heard = there.store.invalidations();
    here.store.end_session(&kept).await.expect("ends");
    let heard = hears(&mut heard, Duration::from_secs(1)).await;
    assert_eq!(
        heard,
        vtnr_gateway::store::Invalidation::Session(vault().session_key(&kept))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_replica_has_is_told_to_nobody() {
    let sentinels = Sentinels::start();
    let on = on(&sentinels.url(), 1);
    works(&on).await;
    let (attempt, token) = (
        Attempt::begun(&on).await,
        begin_session(&on, &session(on.now()), HOUR).await,
    );
    let master = sentinels.server(sentinels.named_by(0));
    isolate(master);
    let unconfirmed =
        |outcome: &Result<(), Error>| matches!(outcome, Err(Error::Unconfirmed { wanted: 1 }));
    let (store, none, counted) = (&*on.store, RateLimits::none(), counts(vec![failures(5)]));
    let signed_in = attempt.sign_in(store, &none).await.map(drop);
    let (again, page, charged, ended, revoked, forgotten, pinged) = tokio::join!(
        attempt.sign_in(store, &none),
        store.find_flow(&attempt.flow),
        store.hit_limits(&counted),
        store.end_session(&token),
        store.revoke_broker(vtnr(), on.now()),
        store.forget_browser(&attempt.browser),
        store.ping(),
    );
    let outcomes = [
        signed_in,
        again.map(drop),
        page.map(drop),
        charged.map(drop),
        ended,
        revoked,
        forgotten,
        pinged,
    ];
    for (number, outcome) in outcomes.iter().enumerate() {
        assert!(unconfirmed(outcome), "{number}: {outcome:?}");
    }
    assert!(
        on.store.find_session(&attempt.session).await.is_ok(),
        "what rests on nothing new is answered"
    );
    reunite(master);
    works(&on).await;
    assert_eq!(
        stage(&*on.store, &attempt.flow).await,
        "signed in",
        "it had been done"
    );
    on.store
        .end_session(&token)
        .await
        .expect("the second time is confirmed, though it finds nothing to do");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_hangs_costs_each_change_its_time_and_no_turn_in_a_queue() {
    let sentinels = Sentinels::start();
    let on = on(&sentinels.url(), 2);
    works(&on).await;
    let master = sentinels.named_by(0);
    let hanging = sentinels
        .servers
        .iter()
        .find(|server| server.port() != master)
        .expect("a replica");
    hanging.signal("STOP");
    let begun = Instant::now();
    let mut changes = JoinSet::new();
    for _ in 0..100 {
        let store = Arc::clone(&on.store);
        changes.spawn(async move { store.end_session(&Rng.session_token()).await });
    }
    for outcome in changes.join_all().await {
        assert!(
            matches!(outcome, Err(Error::Unconfirmed { .. })),
            "{outcome:?}"
        );
    }
    assert!(begun.elapsed() < 3 * TIMEOUT, "{:?}", begun.elapsed());
    hanging.signal("CONT");
    works(&on).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_commands_fail_the_master_is_looked_for_at_a_steady_pace() {
    let mut sentinels = Sentinels::start();
    let on = on(&sentinels.url(), 0);
    works(&on).await;
    sentinels.servers.iter_mut().for_each(Server::kill);
    let processed = || -> u32 {
        let info: String = sentinels.sentinels[0].command(&["INFO", "stats"]);
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("total_commands_processed:"))
            .expect("it is told");
        line.trim().parse().expect("a number")
    };
    let (before, begun, mut asked) = (processed(), Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(2) {
        let token = Rng.session_token();
        let together = (0..50).map(|_| on.store.find_session(&token));
        for found in futures_util::future::join_all(together.collect::<Vec<_>>()).await {
            assert!(matches!(found, Err(Error::Unreachable(_))), "{found:?}");
            asked += 1;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Four attempts per second, besides the traffic among sentinels.
    let made = processed() - before;
    assert!(
        asked > 1_000 && made < 200,
        "a sentinel was asked {made} times for {asked} commands"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_and_redis_have_passwords_of_their_own() {
    let sentinels = Sentinels::start();
    for server in &sentinels.servers {
        server.command::<()>(&[
            "CONFIG",
            "SET",
            "masterauth",
            "of-redis",
            "requirepass",
            "of-redis",
        ]);
    }
    for sentinel in &sentinels.sentinels {
        sentinel.command::<()>(&[
            "SENTINEL",
            "SET",
            crate::support::sentinels::NAME,
            "auth-pass",
            "of-redis",
        ]);
        sentinel.command::<()>(&[
            "ACL",
            "SETUSER",
            "gateway",
            "on",
            ">of-sentinel",
            "+@all",
            "~*",
            "&*",
        ]);
    }
    let servers = |of_redis: &str, of_sentinel: &str| {
        let mut servers = RedisServers::parse(&sentinels.url()).expect("sound");
        servers.login.password = Some(Secret::new(of_redis));
        if let Deployment::Sentinel { login, .. } = &mut servers.deployment {
            *login = Credentials {
                user: Some("gateway".into()),
                password: Some(Secret::new(of_sentinel)),
            };
        }
        let engine = Redis::new(
            &servers,
            RedisOptions {
                prefix: "",
                timeout: TIMEOUT,
                replicas: 1,
            },
        );
        Sealed::new(engine, Vault::new(SECRET, Rng), Clock::System)
    };
    servers("of-redis", "of-sentinel")
        .ping()
        .await
        .expect("both are right");
    for (of_redis, of_sentinel) in [("of-redis", "wrong-one"), ("wrong-one", "of-sentinel")] {
        let refused = servers(of_redis, of_sentinel).ping().await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
        assert!(!format!("{refused:?}").contains("wrong-one"), "{refused:?}");
    }
    let unknown = at(
        &sentinels.url().replace("mymaster", "another"),
        RedisOptions {
            prefix: "",
            timeout: TIMEOUT,
            replicas: 0,
        },
        SECRET,
    );
    let Err(Error::Refused(why)) = unknown.ping().await else {
        panic!("nobody knows it")
    };
    assert!(
        why.to_string().contains("knows no master named another"),
        "{why}"
    );
}

/// Writers that begin sessions as fast as they can, and record those that were acknowledged.
async fn begin_sessions(on: &Fixture, stop: Arc<AtomicBool>) -> JoinSet<Vec<SessionToken>> {
    let mut writers = JoinSet::new();
    for _ in 0..8 {
        let (store, stop, now) = (Arc::clone(&on.store), Arc::clone(&stop), on.now());
        writers.spawn(async move {
            let mut begun = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let (token, session) = (Rng.session_token(), session(now));
                let settled = store
                    .sign_in(
                        crate::samples::bare(&token, &session, HOUR),
                        &RateLimits::none(),
                    )
                    .await;
                if matches!(settled, Ok(WriteOutcome::Done)) {
                    begun.push(token);
                }
            }
            begun
        });
    }
    writers
}

/// The time for which a master continues without replicas before it is killed.
const ALONE: Duration = Duration::from_millis(500);

/// Returns how many sign-ins were acknowledged, and how many of these are lost when the master is
/// killed after being `alone` this long.
async fn lost(replicas: u32, alone: Duration) -> (usize, usize) {
    let sentinels = Sentinels::start();
    let on = on(&sentinels.url(), replicas);
    works(&on).await;
    let (stop, master) = (
        Arc::new(AtomicBool::new(false)),
        sentinels.server(sentinels.named_by(0)),
    );
    let writers = begin_sessions(&on, Arc::clone(&stop)).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    if !alone.is_zero() {
        isolate(master);
        tokio::time::sleep(alone).await;
    }
    master.signal("KILL");
    stop.store(true, Ordering::Relaxed);
    let begun: Vec<SessionToken> = writers.join_all().await.into_iter().flatten().collect();
    works(&on).await;
    let mut lost = 0;
    for token in &begun {
        lost += usize::from(
            on.store
                .find_session(token)
                .await
                .expect("answers")
                .is_none(),
        );
    }
    (begun.len(), lost)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_replica_waited_for_nothing_that_was_told_as_done_is_lost() {
    for alone in [Duration::ZERO, ALONE] {
        let (told, lost) = lost(1, alone).await;
        println!(
            "replicas = 1, master alone for {alone:?} before it is killed: {lost} of {told} sign-ins lost"
        );
        assert!(told > 0 && lost == 0, "{lost} of {told} are lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_waiting_what_the_master_did_alone_is_lost() {
    for alone in [Duration::ZERO, ALONE] {
        let (told, lost) = lost(0, alone).await;
        println!(
            "replicas = 0, master alone for {alone:?} before it is killed: {lost} of {told} sign-ins lost"
        );
        assert!(
            lost > 0 || alone.is_zero(),
            "nothing of {told} is lost: the other test shows nothing"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_move_to_another_node_are_found_all_the_time() {
    let cluster = Cluster::without_replicas();
    let on = on(&cluster.url(), 0);
    let mut tokens = Vec::new();
    for _ in 0..20 {
        tokens.push(begin_session(&on, &session(on.now()), HOUR).await);
    }
    let slot: i64 = cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", "{vtnr-gateway}"]);
    let slot = slot.to_string();
    let from = cluster.owner("{vtnr-gateway}", 0);
    let to = (from + 1) % cluster.nodes.len();
    let (source, target) = (&cluster.nodes[from], &cluster.nodes[to]);
    let id = |node: &Server| node.command::<String>(&["CLUSTER", "MYID"]);
    target.command::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(source)]);
    source.command::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(target)]);
    let all_are_found = async || {
        for token in &tokens {
            assert!(
                on.store
                    .find_session(token)
                    .await
                    .expect("answers")
                    .is_some(),
                "a session is gone"
            );
        }
    };
    all_are_found().await;
    let keys: Vec<String> = source.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"]);
    for key in &keys {
        source.command::<()>(&[
            "MIGRATE",
            "127.0.0.1",
            &target.port().to_string(),
            key,
            "0",
            "5000",
        ]);
        if key == &keys[keys.len() / 2] {
            all_are_found().await;
        }
    }
    all_are_found().await;
    for node in [target, source] {
        node.command::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &id(target)]);
    }
    all_are_found().await;
    begin_session(&on, &session(on.now()), HOUR).await;
    within(DEADLINE, "it listens at the new node", async || {
        on.store.subscription().is_some()
    })
    .await;
}
