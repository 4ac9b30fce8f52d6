//! Knows whom to ask where the master is.
//!
//! All advisers are asked at once: sentinels, or nodes of a cluster. Some may be down or hang, and one that was cut off may
//! tell of a master that is none any more; so they get a short time, and of what they say the latest decision counts, which
//! has the highest epoch. The master itself must then say that it is one.

use super::connector::Connector;
use super::errors::Unavailable;
use super::probe::{NodeProbe, TopologyQuery};
use crate::config::{Deployment, RedisServers, Server};
use futures_util::future::join_all;
use redis::Value;
use redis::aio::MultiplexedConnection;
use std::time::Duration;

/// Advisers that take longer are passed over.
const ADVICE_WITHIN: Duration = Duration::from_millis(500);
/// How often they are asked whether they have decided on another master. The old one may still answer, cut off from them.
const ADVICE_EVERY: Duration = Duration::from_secs(1);

pub(super) enum MasterResolver {
    /// There is one server.
    Fixed(Server),
    /// There are several, and advisers.
    Advised(Vec<NodeProbe>, TopologyQuery),
}

/// Where the master is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MasterAddress {
    pub(super) server: Server,
    /// Of the decision that made it the master; rises with each.
    pub(super) epoch: u64,
}

impl MasterResolver {
    /// To these servers; `probe` is the name of some record of the gateway's.
    pub(super) fn to(servers: &RedisServers, connector: &Connector, probe: &[u8]) -> Self {
        let advised = |connector: Connector, question| {
            let probe = |server: &Server| NodeProbe::new(server.clone(), connector.clone());
            Self::Advised(servers.servers.iter().map(probe).collect(), question)
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

    /// Whether another server may take the master's place.
    pub(super) fn fails_over(&self) -> bool {
        matches!(self, Self::Advised(..))
    }

    /// Where the master is, by the latest decision.
    pub(super) async fn master(&self) -> Result<MasterAddress, Unavailable> {
        let (probes, question) = match self {
            Self::Fixed(server) => {
                return Ok(MasterAddress {
                    server: server.clone(),
                    epoch: 0,
                });
            }
            Self::Advised(probes, question) => (probes, question),
        };
        let asked = probes
            .iter()
            .map(|probe| tokio::time::timeout(ADVICE_WITHIN, probe.ask(question)));
        let (mut latest, mut trouble): (Option<MasterAddress>, Option<Unavailable>) = (None, None);
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
                Unavailable::timeout(format!("{} do not answer", question.probes()))
            })
        })
    }

    /// Returns once the advisers have decided on another master.
    pub(super) async fn superseded(&self, master: &MasterAddress) -> MasterAddress {
        if let Self::Fixed(_) = self {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(ADVICE_EVERY).await;
            if let Ok(latest) = self.master().await
                && latest.epoch > master.epoch
                && latest.server != master.server
            {
                return latest;
            }
        }
    }

    /// Makes sure that the server to which this connection leads can be worked with: it is the master, and has read in the records.
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
                    "{}: it is not a master",
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
