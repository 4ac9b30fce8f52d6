//! Resolves the address of the master.
//!
//! All sentinels or cluster nodes are asked at once. Some may be down or hang, and a partitioned
//! one may name a master that was replaced; so they get a short timeout, and the answer with the
//! highest epoch counts. The server itself must then confirm that it is the master.

use super::connector::Connector;
use super::errors::Unavailable;
use super::probe::{NodeProbe, TopologyQuery};
use crate::config::{Deployment, HostPort, RedisServers};
use futures_util::future::join_all;
use redis::Value;
use redis::aio::MultiplexedConnection;
use std::time::Duration;

/// Probes that take longer are ignored.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// Interval of checks for a new master. A partitioned old one may still answer.
const CHECK_EVERY: Duration = Duration::from_secs(1);

pub(super) enum MasterResolver {
    Fixed(HostPort),
    Elected(Vec<NodeProbe>, TopologyQuery),
}

/// A server and the election that made it the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MasterAddress {
    pub(super) server: HostPort,
    /// Rises with every election.
    pub(super) epoch: u64,
}

impl MasterResolver {
    /// Creates a resolver for these servers; `probe` names any record of the gateway.
    pub(super) fn to(servers: &RedisServers, connector: &Connector, probe: &[u8]) -> Self {
        let advised = |connector: Connector, question| {
            let probe = |server: &HostPort| NodeProbe::new(server.clone(), connector.clone());
            Self::Elected(servers.servers.iter().map(probe).collect(), question)
        };
        match (&servers.deployment, servers.servers.as_slice()) {
            (Deployment::Sentinel { master, login }, _) => advised(
                Connector::new(servers.transport, login, 0, "store.sentinel_password_file"),
                TopologyQuery::Sentinel(master.clone()),
            ),
            (Deployment::Single, [server]) => Self::Fixed(server.clone()),
            _ => advised(
                connector.clone(),
                TopologyQuery::Cluster(probe.to_vec(), servers.transport),
            ),
        }
    }

    /// Returns whether another server may be promoted.
    pub(super) fn fails_over(&self) -> bool {
        matches!(self, Self::Elected(..))
    }

    /// Returns the master by the latest election.
    pub(super) async fn master(&self) -> Result<MasterAddress, Unavailable> {
        let (probes, question) = match self {
            Self::Fixed(server) => {
                return Ok(MasterAddress {
                    server: server.clone(),
                    epoch: 0,
                });
            }
            Self::Elected(probes, question) => (probes, question),
        };
        let asked = probes
            .iter()
            .map(|probe| tokio::time::timeout(ANSWER_WITHIN, probe.ask(question)));
        let mut latest: Option<MasterAddress> = None;
        let mut trouble: Option<Unavailable> = None;
        for advice in join_all(asked).await {
            match advice {
                Ok(Ok(master))
                    if latest
                        .as_ref()
                        .is_none_or(|latest| latest.epoch < master.epoch) =>
                {
                    latest = Some(master)
                }
                Ok(Err(refused)) if refused.is_refusal() => trouble = Some(refused),
                Ok(Err(unreachable)) => drop(trouble.get_or_insert(unreachable)),
                Ok(Ok(_)) | Err(_) => {}
            }
        }
        latest.ok_or_else(|| {
            trouble.unwrap_or_else(|| {
                Unavailable::timeout(format!("{} do not answer", question.asked()))
            })
        })
    }

    /// Returns once another master was elected.
    pub(super) async fn superseded(&self, master: &MasterAddress) -> MasterAddress {
        if let Self::Fixed(_) = self {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(CHECK_EVERY).await;
            if let Ok(latest) = self.master().await
                && latest.epoch > master.epoch
                && latest.server != master.server
            {
                return latest;
            }
        }
    }

    /// Checks that the connected server is usable: it is the master, and has loaded its records.
    pub(super) async fn verify(
        &self,
        master: &MasterAddress,
        connector: &Connector,
        mut commands: MultiplexedConnection,
        probe: &[u8],
    ) -> Result<(), Unavailable> {
        let trouble = |error| Unavailable::with(&master.server, connector, error);
        if self.fails_over() {
            let role: Vec<Value> = redis::cmd("ROLE")
                .query_async(&mut commands)
                .await
                .map_err(trouble)?;
            if !matches!(role.first(), Some(Value::BulkString(role)) if role == b"master") {
                return Err(Unavailable::not_ready(format!(
                    "{}: not a master",
                    master.server
                )));
            }
        }
        redis::cmd("MGET")
            .arg(probe)
            .exec_async(&mut commands)
            .await
            .map_err(trouble)
    }
}
