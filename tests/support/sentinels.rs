//! A Redis with replicas, and sentinels that watch over it.

use super::redis::{Certificate, Redis};
use std::time::{Duration, Instant};

/// What the sentinels call the master.
pub const NAME: &str = "mymaster";
const QUORUM: usize = 2;
const SENTINELS: usize = 3;

/// Three servers, of which the first is the master to begin with, and three sentinels.
pub struct Sentinels {
    pub servers: Vec<Redis>,
    pub sentinels: Vec<Redis>,
    pub certificate: Option<Certificate>,
}

impl Sentinels {
    /// Starts them, and waits until the sentinels could replace the master.
    pub fn start() -> Self {
        Self::of(None)
    }

    /// The same, where all is spoken over TLS.
    pub fn secure() -> Self {
        Self::of(Some(Certificate::make()))
    }

    fn of(certificate: Option<Certificate>) -> Self {
        let (begun, tls) = (Instant::now(), certificate.as_ref());
        let arguments = [
            "--repl-diskless-sync-delay",
            "0",
            "--repl-ping-replica-period",
            "1",
        ];
        let master = Redis::perhaps_secure(&arguments, tls);
        let port = master.reached_at().to_string();
        let master_of_all = format!("127.0.0.1 {port}");
        let arguments = [&arguments[..], &["--replicaof", &master_of_all]].concat();
        let replicas = (0..2).map(|_| Redis::perhaps_secure(&arguments, tls));
        let servers: Vec<Redis> = std::iter::once(master).chain(replicas).collect();
        until(begun, "the replicas have caught up", || {
            servers[0]
                .command::<String>(&["INFO", "replication"])
                .matches("state=online")
                .count()
                == 2
        });
        let configuration = format!(
            "sentinel monitor {NAME} 127.0.0.1 {port} {QUORUM}\nsentinel down-after-milliseconds {NAME} 1000\n\
             sentinel failover-timeout {NAME} 5000\nsentinel parallel-syncs {NAME} 2\n"
        );
        let sentinels: Vec<Redis> = (0..SENTINELS)
            .map(|_| Redis::perhaps_secure_sentinel(&configuration, tls))
            .collect();
        // What they tell each other every two seconds otherwise, and what they wait for four times as long.
        for sentinel in &sentinels {
            sentinel.command::<()>(&[
                "SENTINEL",
                "DEBUG",
                "publish-period",
                "300",
                "info-period",
                "500",
                "ask-period",
                "300",
            ]);
        }
        let all = Self {
            servers,
            sentinels,
            certificate,
        };
        until(
            begun,
            "the sentinels know each other and the replicas",
            || all.sentinels.iter().all(knows_all),
        );
        all
    }

    /// The address for `store.url`.
    pub fn url(&self) -> String {
        let address = |sentinel: &Redis| format!("127.0.0.1:{}", sentinel.reached_at());
        let sentinels: Vec<String> = self.sentinels.iter().map(address).collect();
        let scheme = if self.certificate.is_some() {
            "rediss"
        } else {
            "redis"
        };
        format!("{scheme}+sentinel://{}/{NAME}", sentinels.join(","))
    }

    /// The server on this port.
    pub fn server(&self, port: u16) -> &Redis {
        self.servers
            .iter()
            .find(|server| server.port() == port || server.reached_at() == port)
            .expect("one of ours")
    }

    /// The port of the master, by what this sentinel says.
    pub fn named_by(&self, sentinel: usize) -> u16 {
        self.sentinels[sentinel]
            .command::<(String, u16)>(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])
            .1
    }

    /// Sees to it that all end when this process does.
    pub fn die_with_us(&self) {
        self.servers
            .iter()
            .chain(&self.sentinels)
            .for_each(Redis::die_with_us);
    }
}

fn knows_all(sentinel: &Redis) -> bool {
    let info: String = sentinel.command(&["INFO", "sentinel"]);
    info.contains(&format!("slaves=2,sentinels={SENTINELS}"))
}

/// Waits in a test's preparation.
pub(super) fn until(begun: Instant, what: &str, is_so: impl Fn() -> bool) {
    while !is_so() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{what}: not within a minute"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
