//! The master is killed or hangs while brokers work and sign in, and another one takes its place.

use super::redis::Redis;
use super::world::{Builder, MOMENT, StoreKind, World, tan_of};
use super::{Answer, Browser, eventually};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What a deployment of Redis lets a test do.
pub trait Deployment {
    /// The address for `store.url`.
    fn url(&self) -> String;
    /// What the gateways' machines must trust.
    fn certificate(&self) -> Option<PathBuf>;
    /// The server that has the gateways' records, by what the others say.
    fn master(&self) -> &Redis;
    /// The server on this port.
    fn server(&self, port: u16) -> &Redis;
}

/// What happens to the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is killed.
    Killed,
    /// It hangs, and goes on once another one has its place.
    Frozen,
}

/// What the gateways' records begin with; in a cluster, in braces.
pub const PREFIX: &str = "vtnr:";
const WORKING: usize = 4;
const SIGNING_IN: usize = 6;
/// How often each TAN is sent at the same time: from several tabs, to both gateways.
const TABS: usize = 4;
/// How long a failover may take here; sentinels and nodes count a server as down after a second.
const DEADLINE: Duration = Duration::from_secs(20);
/// Product rule: what was ended is refused on every gateway within a second.
const PROMISED: Duration = Duration::from_secs(1);

fn broker(number: usize) -> (String, String) {
    (
        format!("60/123/{:04}", 1_000 + number),
        format!("broker{number}@makler.example"),
    )
}

/// Two gateways on this deployment that wait for a replica, and brokers.
pub async fn world(on: &impl Deployment) -> World {
    let config = format!(
        "[store]\nurl = \"{}\"\nkey_prefix = \"{PREFIX}\"\nreplicas = 1\n[limits]\nvtnrs_client = \"1000 in 1h\"",
        on.url()
    );
    let builder = World::builder()
        .store(StoreKind::Memory)
        .gateways(2)
        .config(&config);
    let world = on
        .certificate()
        .into_iter()
        .fold(builder, Builder::trusting)
        .start()
        .await;
    let brokers: String = (0..100)
        .map(broker)
        .map(|(vtnr, email)| format!("{vtnr};{email}\n"))
        .collect();
    world.write_brokers(&format!("vtnr;email\n{brokers}"));
    for gateway in &world.gateways {
        eventually("the brokers are known", async || {
            let (vtnr, _) = broker(99);
            let answer = Browser::new(&gateway.base())
                .claim(&vtnr, "stranger@makler.example", "/")
                .await;
            answer
                .location()
                .is_some_and(|location| location.contains("unbekannte-e-mail"))
                .then_some(())
        })
        .await;
    }
    world
}

/// A browser whose broker was mailed this TAN.
pub async fn asked(world: &World, number: usize) -> (Browser, String) {
    let (browser, (vtnr, email)) = (world.browser(), broker(number));
    let answer = browser.claim(&vtnr, &email, "/").await;
    answer.leads_to("/ui/login/de/tan");
    let mailed = async || {
        world
            .postbox
            .mails()
            .into_iter()
            .find(|mail| mail.to.iter().any(|to| to.contains(&email)))
    };
    let tan = tan_of(&eventually("the TAN is mailed", mailed).await);
    (browser, tan)
}

async fn signed_in(world: &World, number: usize) -> Browser {
    let (browser, tan) = asked(world, number).await;
    browser.enter_tan(&tan, "/").await.leads_to("/");
    browser
}

/// Brokers who keep working on both gateways.
struct Working {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
    tasks: JoinSet<Vec<String>>,
}

impl Working {
    fn begin(world: &World, browsers: &[Browser]) -> Self {
        let (stop, requests, mut tasks) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
            JoinSet::new(),
        );
        for (browser, gateway) in browsers
            .iter()
            .flat_map(|browser| world.gateways.iter().map(move |gateway| (browser, gateway)))
        {
            let (browser, stop, requests) = (
                browser.at(&gateway.base()),
                Arc::clone(&stop),
                Arc::clone(&requests),
            );
            tasks.spawn(async move {
                let (mut failures, begun) = (Vec::new(), Instant::now());
                while !stop.load(Ordering::Relaxed) {
                    let answer = browser.open("/kfz/angebot?id=42").await;
                    requests.fetch_add(1, Ordering::Relaxed);
                    if answer.status != 200 {
                        failures.push(format!(
                            "{} {:?} after {:?}",
                            answer.status,
                            answer.location(),
                            begun.elapsed()
                        ));
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                failures
            });
        }
        Self {
            stop,
            requests,
            tasks,
        }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let failures: Vec<String> = self.tasks.join_all().await.into_iter().flatten().collect();
        let requests = self.requests.load(Ordering::Relaxed);
        assert!(
            failures.is_empty() && requests > 20,
            "{} of {requests} failed: {failures:#?}",
            failures.len()
        );
        println!("0 of {requests} requests of signed-in brokers failed");
    }
}

/// What came of sending one TAN from many tabs until each of them had an answer.
#[derive(Default)]
struct Redeemed {
    sessions: BTreeSet<String>,
    put_off: usize,
    others: Vec<String>,
}

impl Redeemed {
    fn note(&mut self, answer: &Answer) -> bool {
        let session = answer
            .set_cookies()
            .into_iter()
            .find(|cookie| cookie.starts_with("vtnr_session=") && !cookie.contains("Max-Age=0"));
        match (answer.status.as_u16(), session) {
            (303, Some(session)) => drop(self.sessions.insert(session)),
            (503, None) if answer.headers.contains_key("retry-after") => {
                self.put_off += 1;
                return false;
            }
            _ => self.others.push(format!(
                "{} {:?} {}",
                answer.status,
                answer.location(),
                answer.text()
            )),
        }
        true
    }
}

/// Sends the TAN from a tab on this gateway until the answer is not "later".
async fn redeem(base: String, flow: String, tan: String) -> Redeemed {
    let (tab, begun, mut redeemed) = (Browser::new(&base), Instant::now(), Redeemed::default());
    while begun.elapsed() < DEADLINE {
        // Each answer finds the cookies of a tab that has had none.
        tab.set_cookie("vtnr_flow", &flow);
        tab.drop_cookie("vtnr_session");
        tab.drop_cookie("vtnr_trust");
        if redeemed.note(&tab.enter_tan(&tan, "/").await) {
            return redeemed;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    redeemed
        .others
        .push(format!("no answer but 503 within {DEADLINE:?}"));
    redeemed
}

async fn is_refused_at(browser: &Browser, world: &World, gateway: usize) {
    let (there, begun) = (browser.at(&world.gateways[gateway].base()), Instant::now());
    eventually("the sign-out is known", async || {
        (there.open("/").await.status == 303).then_some(())
    })
    .await;
    assert!(begun.elapsed() < PROMISED, "after {:?}", begun.elapsed());
}

/// The whole story: nobody who is signed in notices, every TAN is redeemed once, and sign-outs hold everywhere afterwards.
pub async fn nobody_signed_in_notices_and_each_tan_works_once(on: &impl Deployment, fate: Fate) {
    let world = world(on).await;
    let mut working = Vec::new();
    for number in 0..WORKING {
        working.push(signed_in(&world, number).await);
    }
    for (browser, gateway) in working
        .iter()
        .flat_map(|browser| world.gateways.iter().map(move |gateway| (browser, gateway)))
    {
        browser.at(&gateway.base()).open("/").await.is(200);
    }
    let mut asking = Vec::new();
    for number in WORKING..WORKING + SIGNING_IN {
        asking.push(asked(&world, number).await);
    }
    let load = Working::begin(&world, &working[..WORKING - 2]);
    let former = on.master().port();

    let begun = Instant::now();
    on.server(former)
        .signal(if fate == Fate::Killed { "KILL" } else { "STOP" });
    let mut redeeming = Vec::new();
    for (browser, tan) in &asking {
        let flow = browser.cookie("vtnr_flow").expect("a sign-in under way");
        let tabs =
            (0..TABS).map(|tab| redeem(world.gateways[tab % 2].base(), flow.clone(), tan.clone()));
        redeeming.push(tabs.map(tokio::spawn).collect::<Vec<_>>());
    }
    let mut put_off = 0;
    for tabs in redeeming {
        let mut sessions = BTreeSet::new();
        for tab in tabs {
            let redeemed = tab.await.expect("no panic");
            assert!(redeemed.others.is_empty(), "{:#?}", redeemed.others);
            put_off += redeemed.put_off;
            sessions.extend(redeemed.sessions);
        }
        assert_eq!(sessions.len(), 1, "a TAN gives one session");
    }
    println!(
        "{fate:?}: {SIGNING_IN} TANs redeemed {:?} after, put off {put_off} times before, none twice",
        begun.elapsed()
    );
    assert!(put_off > 0, "the master's end was noticed");

    working[WORKING - 1]
        .post("/ui/login/de/abmelden", &[])
        .await
        .is(200);
    is_refused_at(&working[WORKING - 1], &world, 1).await;
    if fate == Fate::Frozen {
        on.server(former).signal("CONT");
        // It believes for a while that it still is the master. Nobody signs in there.
        let late = signed_in(&world, WORKING + SIGNING_IN).await;
        eventually("the former master was demoted", async || {
            on.server(former).is("slave").then_some(())
        })
        .await;
        working[WORKING - 2]
            .post("/ui/login/de/abmelden", &[])
            .await
            .is(200);
        is_refused_at(&working[WORKING - 2], &world, 1).await;
        tokio::time::sleep(MOMENT).await;
        late.at(&world.gateways[1].base()).open("/").await.is(200);
    }
    load.end().await;
}
