//! Who takes part, and whether each does what it is there for.

use crate::generate::{self, Load, Yield};
use crate::ground::gateway::{self, With};
use crate::ground::process::{OURS, Process, THEIRS};
use crate::ground::servers::{Check, Doors};
use crate::ground::{Ground, Held, VTNR, servers};
use http::Version;
use rustls::ClientConfig;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// One who takes part.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) doors: Doors,
    process: Rc<Process>,
    /// What else works for it: a Redis, a service that is asked.
    helper: Option<Rc<Process>>,
    held: Held,
    /// Before the name of each file; another one leads past the gateway's check.
    prefix: &'static str,
    guards: Guards,
}

/// Whether it is to let nobody in without a session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guards {
    Nothing,
    Everything,
}

/// What one run of a load cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Seconds of a processor for 10,000 requests.
    pub(crate) cpu: f64,
    /// The same for its helper.
    pub(crate) helper: f64,
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// The gateway's programs.
pub(crate) struct Programs {
    /// Built as `cargo build --release` does.
    pub(crate) release: String,
    /// Built with the profile of a training, where there is one.
    pub(crate) trained: Option<String>,
}

impl Programs {
    /// The one that was trained may be left from another day.
    pub(crate) fn warn_of_another_age(&self) {
        let age = |file: &String| {
            std::fs::metadata(file)
                .and_then(|file| file.modified())
                .ok()
        };
        if let Some(trained) = self
            .trained
            .as_ref()
            .filter(|trained| age(trained) < age(&self.release))
        {
            println!(
                "{trained} is older than {}: run `make pgo`, unless nothing has changed",
                self.release
            );
        }
    }
}

/// Starts all of them.
pub(crate) async fn all(
    ground: &Ground,
    programs: &Programs,
) -> (Vec<Contender>, Vec<Rc<Process>>) {
    let (upstream, origin) = servers::upstream(ground);
    let (redis, store) = servers::redis(ground);
    let (origin, store) = (Rc::new(origin), Rc::new(store));
    let mut all = vec![Contender {
        name: UPSTREAM,
        doors: Doors {
            http: upstream,
            https: upstream,
        },
        process: Rc::clone(&origin),
        helper: None,
        held: Held::of_peers(),
        prefix: "",
        guards: Guards::Nothing,
    }];
    let peer = |name, (doors, process), helper, guards| Contender {
        name,
        doors,
        process: Rc::new(process),
        helper,
        held: Held::of_peers(),
        prefix: "",
        guards,
    };
    let (plain, everything) = (Guards::Nothing, Guards::Everything);
    let (service, asked) = servers::peer(ground, "load-peer", "auth", OURS, upstream);
    all.push(peer(
        NGINX,
        servers::proxy(ground, "nginx", upstream, Check::None),
        None,
        plain,
    ));
    let cached = servers::proxy(ground, "nginx-cached", upstream, Check::Cached(redis));
    all.push(peer(
        NGINX_CACHED,
        cached,
        Some(Rc::clone(&store)),
        everything,
    ));
    let asking = servers::proxy(ground, "nginx-redis", upstream, Check::Redis(redis));
    all.push(peer(
        NGINX_REDIS,
        asking,
        Some(Rc::clone(&store)),
        everything,
    ));
    let asking = servers::proxy(ground, "nginx-asks", upstream, Check::Service(service.http));
    all.push(peer(NGINX_ASKS, asking, Some(Rc::new(asked)), everything));
    all.push(peer(
        HAPROXY,
        servers::haproxy(ground, upstream),
        None,
        plain,
    ));
    for (name, program, kind) in [
        (RAW, "load-peer", "raw"),
        (TUNED, "load-peer-mimalloc", "tuned"),
        (HYPER, "load-peer-mimalloc", "plain"),
        (HYBRID, "load-peer-mimalloc", "hybrid"),
    ] {
        all.push(peer(
            name,
            servers::peer(ground, program, kind, THEIRS, upstream),
            None,
            plain,
        ));
    }
    all.extend(gateways(ground, programs, upstream, redis, &store).await);
    (all, vec![origin, store])
}

async fn gateways(
    ground: &Ground,
    programs: &Programs,
    upstream: SocketAddr,
    redis: SocketAddr,
    store: &Rc<Process>,
) -> Vec<Contender> {
    let mut all = Vec::new();
    let redis = format!("redis://{redis}/0");
    let (quiet, embedded) = (
        With {
            store: &redis,
            access_log: false,
        },
        With {
            store: "memory:",
            access_log: false,
        },
    );
    let mut wanted = vec![
        (GATEWAY, "gateway", &programs.release, quiet),
        (
            LOGGING,
            "logging",
            &programs.release,
            With {
                access_log: true,
                ..quiet
            },
        ),
        (EMBEDDED, "embedded", &programs.release, embedded),
    ];
    if let Some(trained) = &programs.trained {
        wanted.push((TRAINED, "trained", trained, quiet));
    }
    for (name, short, program, with) in wanted {
        let started = gateway::start(ground, short, program, with, upstream).await;
        let process = Rc::new(started.process);
        let contender = |name, prefix, guards| Contender {
            name,
            doors: started.doors,
            process: Rc::clone(&process),
            helper: (with.store == redis).then(|| Rc::clone(store)),
            held: started.held.clone(),
            prefix,
            guards,
        };
        all.push(contender(name, "", Guards::Everything));
        if name == GATEWAY {
            all.push(contender(UNCHECKED, "public-", Guards::Nothing));
        }
    }
    all
}

pub(crate) const UPSTREAM: &str = "the upstream itself";
pub(crate) const NGINX: &str = "nginx, no check";
pub(crate) const NGINX_CACHED: &str = "nginx + Lua + LRU cache";
pub(crate) const NGINX_REDIS: &str = "nginx + Lua + Redis";
pub(crate) const NGINX_ASKS: &str = "nginx auth_request";
pub(crate) const HAPROXY: &str = "HAProxy, no check";
pub(crate) const RAW: &str = "Pingora, no check";
pub(crate) const TUNED: &str = "Pingora tuned, no check";
pub(crate) const HYPER: &str = "hyper, no check";
pub(crate) const HYBRID: &str = "Pingora's server, hyper's HTTP, no check";
pub(crate) const GATEWAY: &str = "gateway, Redis";
pub(crate) const TRAINED: &str = "gateway, Redis, PGO";
pub(crate) const LOGGING: &str = "gateway, Redis, access log";
pub(crate) const EMBEDDED: &str = "gateway, embedded store";
pub(crate) const UNCHECKED: &str = "gateway, its check off";

impl Contender {
    /// Measures one run of a load.
    pub(crate) fn bear(&self, ground: &Ground, load: Load, seconds: u32) -> Cost {
        let helper = || self.helper.as_ref().map_or(0.0, |helper| helper.cpu());
        let (before, helped_before) = (self.process.cpu(), helper());
        let Yield {
            requests,
            seconds,
            p50,
            p99,
        } = generate::run(ground, load, self.doors, self.prefix, &self.held, seconds);
        let per = 10_000.0 / requests;
        Cost {
            cpu: (self.process.cpu() - before) * per,
            helper: (helper() - helped_before) * per,
            rate: requests / seconds,
            p50,
            p99,
        }
    }

    /// MiB in use before and with so many connections that wait.
    pub(crate) fn memory_of_idle(
        &self,
        tls: Option<&Arc<ClientConfig>>,
        connections: usize,
    ) -> (f64, f64) {
        let before = self.process.memory();
        let open = generate::idle(self.doors, tls, connections, &self.held);
        // The last answers are out; what was freed by then counts as free.
        std::thread::sleep(std::time::Duration::from_secs(1));
        let with = self.process.memory();
        drop(open);
        (before, with)
    }

    /// Whether it speaks TLS.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.name != UPSTREAM
    }

    /// Sees that it forwards what it should, as whose it should, and nothing else.
    ///
    /// # Panics
    /// If it does not: what it costs is of no interest then.
    pub(crate) async fn check(&self) {
        let client = || {
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .danger_accept_invalid_certs(true)
        };
        let bases = [
            (
                client().build(),
                format!("http://{}", self.doors.http),
                Version::HTTP_11,
            ),
            (
                client().http1_only().build(),
                format!("https://{}", self.doors.https),
                Version::HTTP_11,
            ),
            (
                client().build(),
                format!("https://{}", self.doors.https),
                Version::HTTP_2,
            ),
        ];
        for (client, base, version) in bases
            .into_iter()
            .take(if self.speaks_tls() { 3 } else { 1 })
        {
            let client = client.expect("a client");
            let ask = async |file: &str, held: &Held| {
                let mut request = client.get(format!("{base}/{file}"));
                for (name, value) in generate::fields(held) {
                    request = request.header(name, value);
                }
                request
                    .send()
                    .await
                    .unwrap_or_else(|error| panic!("{}: {error:?}", self.name))
            };
            for (file, size) in crate::ground::FILES {
                let answer = ask(&format!("{}{file}", self.prefix), &self.held).await;
                assert_eq!(answer.version(), version, "{}: {base}", self.name);
                assert_eq!(answer.status(), 200, "{}: {base}/{file}", self.name);
                assert_eq!(
                    answer.bytes().await.expect("a body").len(),
                    size,
                    "{}: {base}/{file}",
                    self.name
                );
            }
            if self.guards == Guards::Everything {
                let seen = ask("check", &self.held).await;
                assert_eq!(
                    seen.headers()
                        .get("x-seen-vtnr")
                        .map(|vtnr| vtnr.as_bytes()),
                    Some(VTNR.as_bytes()),
                    "{}",
                    self.name
                );
                let cookies = seen
                    .headers()
                    .get("x-seen-cookie")
                    .map(|cookies| String::from_utf8_lossy(cookies.as_bytes()));
                let keeps = |cookies: &str| {
                    cookies.contains("ui_sprache=de")
                        && (self.name == NGINX_ASKS || !cookies.contains(&self.held.token))
                };
                assert!(
                    cookies.as_deref().is_some_and(keeps),
                    "{}: {cookies:?}",
                    self.name
                );
                let wrong = Held {
                    token: self.held.token.chars().rev().collect(),
                    ..self.held.clone()
                };
                let wrong = ask("1k", &wrong).await;
                assert!(
                    matches!(wrong.status().as_u16(), 303 | 401),
                    "{}: {} without a session",
                    self.name,
                    wrong.status()
                );
            }
        }
    }
}
