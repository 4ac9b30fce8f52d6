//! A cluster of Redis: a replica takes its master's place, records move to another node, and brokers do not notice.

#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use support::Cluster;
use support::failover::{
    Deployment, Fate, PREFIX, nobody_signed_in_notices_and_each_tan_works_once,
};
use support::redis::{Certificate, Redis};

impl Deployment for Cluster {
    fn url(&self) -> String {
        Cluster::url(self)
    }

    fn certificate(&self) -> Option<PathBuf> {
        self.certificate.as_ref().map(Certificate::file)
    }

    fn master(&self) -> &Redis {
        &self.nodes[self.owner(&tag(), 0)]
    }

    fn server(&self, port: u16) -> &Redis {
        self.nodes
            .iter()
            .find(|node| node.port() == port)
            .expect("one of ours")
    }
}

fn tag() -> String {
    format!("{{{PREFIX}}}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_killed_is_replaced_and_nobody_signed_in_notices() {
    nobody_signed_in_notices_and_each_tan_works_once(
        &Cluster::with_two_replicas_for(&tag()),
        Fate::Killed,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_hangs_is_replaced_and_not_believed_when_it_goes_on() {
    nobody_signed_in_notices_and_each_tan_works_once(
        &Cluster::with_two_replicas_for(&tag()),
        Fate::Frozen,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_a_master_that_is_killed_is_replaced_and_nobody_signed_in_notices() {
    nobody_signed_in_notices_and_each_tan_works_once(&Cluster::secure(&tag()), Fate::Killed).await;
}
