//! Redis with sentinels: another server takes the master's place, and brokers do not notice.

#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use support::Sentinels;
use support::failover::{Deployment, Fate, nobody_signed_in_notices_and_each_tan_works_once};
use support::redis::{Certificate, Redis};

impl Deployment for Sentinels {
    fn url(&self) -> String {
        Sentinels::url(self)
    }

    fn certificate(&self) -> Option<PathBuf> {
        self.certificate.as_ref().map(Certificate::file)
    }

    fn master(&self) -> &Redis {
        self.server(self.named_by(0))
    }

    fn server(&self, port: u16) -> &Redis {
        Sentinels::server(self, port)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_killed_is_replaced_and_nobody_signed_in_notices() {
    nobody_signed_in_notices_and_each_tan_works_once(&Sentinels::start(), Fate::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_hangs_is_replaced_and_not_believed_when_it_goes_on() {
    nobody_signed_in_notices_and_each_tan_works_once(&Sentinels::start(), Fate::Frozen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_a_master_that_is_killed_is_replaced_and_nobody_signed_in_notices() {
    nobody_signed_in_notices_and_each_tan_works_once(&Sentinels::secure(), Fate::Killed).await;
}
