//! A cluster of redis-servers.

use super::redis::{Certificate, Redis};
use super::{ports, sentinels::until};
use redis::Value;
use std::process::Command;
use std::time::Instant;

/// Nodes of one cluster; to begin with, the first three are masters.
pub struct Cluster {
    pub nodes: Vec<Redis>,
    pub certificate: Option<Certificate>,
}

impl Cluster {
    /// Three masters and three replicas, of which the master that has this key gets two.
    pub fn with_two_replicas_for(key: &str) -> Self {
        Self::of(6, "1", None).with_two_replicas_of(key)
    }

    /// The same, where all is spoken over TLS.
    pub fn secure(key: &str) -> Self {
        Self::of(6, "1", Some(Certificate::make())).with_two_replicas_of(key)
    }

    fn with_two_replicas_of(self, key: &str) -> Self {
        let cluster = self;
        let (owner, begun) = (cluster.owner(key, 0), Instant::now());
        let owner = &cluster.nodes[owner];
        let id: String = owner.command(&["CLUSTER", "MYID"]);
        let is_of_another = |node: &&Redis| {
            let replication: String = node.command(&["INFO", "replication"]);
            replication.contains("role:slave")
                && !replication.contains(&format!("master_port:{}\r", owner.reached_at()))
        };
        let replica = cluster
            .nodes
            .iter()
            .find(is_of_another)
            .expect("two of three");
        replica.command::<()>(&["CLUSTER", "REPLICATE", &id]);
        let has_two = || {
            owner
                .command::<String>(&["INFO", "replication"])
                .matches("state=online")
                .count()
                == 2
        };
        until(
            begun,
            "the replica has caught up with its new master",
            has_two,
        );
        cluster
    }

    /// Three masters alone.
    pub fn without_replicas() -> Self {
        Self::of(3, "0", None)
    }

    fn of(nodes: usize, replicas_each: &str, certificate: Option<Certificate>) -> Self {
        let begun = Instant::now();
        let nodes: Vec<Redis> = (0..nodes).map(|_| node(certificate.as_ref())).collect();
        let addresses = nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.reached_at()));
        let file = certificate.as_ref().map(Certificate::file);
        let tls = file
            .iter()
            .flat_map(|file| ["--tls", "--cacert", file.to_str().expect("UTF-8")]);
        let created = Command::new("redis-cli")
            .args(tls)
            .args(["--cluster", "create"])
            .args(addresses)
            .args(["--cluster-replicas", replicas_each, "--cluster-yes"])
            .output()
            .expect("redis-cli is installed (Debian: redis-tools)");
        assert!(
            created.status.success(),
            "{}",
            String::from_utf8_lossy(&created.stdout)
        );
        let cluster = Self { nodes, certificate };
        until(begun, "the cluster is whole", || {
            cluster.nodes.iter().all(|node| cluster.is_whole(node))
        });
        cluster
    }

    /// The address for `store.url`.
    pub fn url(&self) -> String {
        let nodes: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.reached_at()))
            .collect();
        let scheme = if self.certificate.is_some() {
            "rediss"
        } else {
            "redis"
        };
        format!("{scheme}+cluster://{}", nodes.join(","))
    }

    /// The number of the node that has the slot of this key, by what the nodes in `asked` say.
    pub fn owner(&self, key: &str, asked: usize) -> usize {
        let slot: i64 = self.nodes[asked].command(&["CLUSTER", "KEYSLOT", key]);
        let ranges: Vec<Vec<Value>> = self.nodes[asked].command(&["CLUSTER", "SLOTS"]);
        let number =
            |value: &Value| redis::from_redis_value::<i64>(value.clone()).expect("a number");
        let range = ranges
            .iter()
            .find(|range| (number(&range[0])..=number(&range[1])).contains(&slot))
            .expect("covered");
        let Value::Array(owner) = &range[2] else {
            panic!("{range:?}")
        };
        self.nodes
            .iter()
            .position(|node| i64::from(node.port()) == number(&owner[1]))
            .expect("one of ours")
    }

    /// Sees to it that all end when this process does.
    pub fn die_with_us(&self) {
        self.nodes.iter().for_each(Redis::die_with_us);
    }

    fn is_whole(&self, node: &Redis) -> bool {
        let info: String = node.command(&["CLUSTER", "INFO"]);
        let nodes: String = node.command(&["CLUSTER", "NODES"]);
        let is_here = |line: &&str| line.contains(" connected") || line.contains("myself");
        let replication: String = node.command(&["INFO", "replication"]);
        let has_caught_up =
            replication.contains("role:master") || replication.contains("master_link_status:up");
        info.contains("cluster_state:ok")
            && nodes.lines().filter(is_here).count() == self.nodes.len()
            && has_caught_up
    }
}

fn node(certificate: Option<&Certificate>) -> Redis {
    let bus = ports::free().to_string();
    let arguments = [
        "--cluster-enabled",
        "yes",
        "--cluster-config-file",
        "nodes.conf",
        "--cluster-node-timeout",
        "1000",
        "--cluster-port",
        &bus,
        "--cluster-allow-replica-migration",
        "no",
        "--repl-diskless-sync-delay",
        "0",
        "--repl-ping-replica-period",
        "1",
    ];
    let secure = certificate.map_or(&[][..], |_| &["--tls-cluster", "yes"]);
    Redis::perhaps_secure(&[&arguments, secure].concat(), certificate)
}
