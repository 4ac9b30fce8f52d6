//! Asks a sentinel or a cluster node where the master is.

use super::connector::Connector;
use super::errors::Unavailable;
use super::resolver::MasterAddress;
use crate::config::{HostPort, Transport};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult};
use std::collections::HashMap;

pub(super) struct NodeProbe {
    server: HostPort,
    connector: Connector,
    /// Reused after an answered query.
    connection: Mutex<Option<MultiplexedConnection>>,
}

/// The question that resolves the master.
pub(super) enum TopologyQuery {
    /// Asks sentinels for the master of this name.
    Sentinel(String),
    /// Asks cluster nodes for the owner of this record's slot, with an address for this transport.
    Cluster(Vec<u8>, Transport),
}

impl TopologyQuery {
    pub(super) fn asked(&self) -> &'static str {
        match self {
            Self::Sentinel(_) => "the sentinels",
            Self::Cluster(..) => "the nodes of the cluster",
        }
    }
}

impl NodeProbe {
    pub(super) fn new(server: HostPort, connector: Connector) -> Self {
        Self {
            server,
            connector,
            connection: Mutex::default(),
        }
    }

    /// Sends the query. A dropped future abandons a connection that hangs.
    pub(super) async fn ask(&self, question: &TopologyQuery) -> Result<MasterAddress, Unavailable> {
        let kept = self.connection.lock().take();
        let trouble = |error: RedisError| Unavailable::with(&self.server, &self.connector, error);
        let mut connection = match kept {
            Some(connection) => connection,
            None => self
                .connector
                .commands(&self.server)
                .await
                .map_err(trouble)?,
        };
        let master = match question {
            TopologyQuery::Sentinel(master) => {
                let unknown = || {
                    Unavailable::refused(format!("{}: knows no master named {master}", self.server))
                };
                of_sentinel(&mut connection, master)
                    .await
                    .map_err(trouble)?
                    .ok_or_else(unknown)
            }
            TopologyQuery::Cluster(record, transport) => {
                let nobody = || {
                    Unavailable::not_ready(format!(
                        "{}: knows no node that has the records' slot",
                        self.server
                    ))
                };
                let (slot, nodes) = of_node(&mut connection, record).await.map_err(trouble)?;
                owner(&nodes, slot, *transport, &self.server).ok_or_else(nobody)
            }
        };
        *self.connection.lock() = Some(connection);
        master
    }
}

async fn of_sentinel(
    connection: &mut MultiplexedConnection,
    master: &str,
) -> RedisResult<Option<MasterAddress>> {
    // This address changes as soon as the new master is chosen; the one in the second answer only
    // once its replicas follow.
    let address = redis::cmd("SENTINEL")
        .arg("GET-MASTER-ADDR-BY-NAME")
        .arg(master)
        .query_async(connection)
        .await?;
    let Some((host, port)): Option<(String, u16)> = address else {
        return Ok(None);
    };
    let known: HashMap<String, String> = redis::cmd("SENTINEL")
        .arg("MASTER")
        .arg(master)
        .query_async(connection)
        .await?;
    let epoch = known
        .get("config-epoch")
        .and_then(|epoch| epoch.parse().ok())
        .unwrap_or(0);
    Ok(Some(MasterAddress {
        server: HostPort { host, port },
        epoch,
    }))
}

async fn of_node(
    connection: &mut MultiplexedConnection,
    record: &[u8],
) -> RedisResult<(u16, String)> {
    redis::pipe()
        .cmd("CLUSTER")
        .arg("KEYSLOT")
        .arg(record)
        .cmd("CLUSTER")
        .arg("NODES")
        .query_async(connection)
        .await
}

/// Finds the owner of this slot in the output of `CLUSTER NODES`, with lines of
/// `id ip:port@bus-port,hostname flags master ping pong epoch link slot first-last ...`.
fn owner(nodes: &str, slot: u16, transport: Transport, asked: &HostPort) -> Option<MasterAddress> {
    let has_slot = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
    };
    nodes.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let address = fields.nth(1)?;
        let epoch = fields.nth(4)?;
        fields.skip(1).any(has_slot).then_some(())?;
        Some(MasterAddress {
            server: server(address, transport, asked)?,
            epoch: epoch.parse().ok()?,
        })
    })
}

fn server(address: &str, transport: Transport, asked: &HostPort) -> Option<HostPort> {
    let mut parts = address.split(',');
    let (ip_and_port, _) = parts.next()?.split_once('@')?;
    // A node that does not know its own address yet.
    let own = ip_and_port
        .strip_prefix(':')
        .and_then(|port| port.parse().ok());
    let server = match own {
        Some(port) => HostPort {
            host: asked.host.clone(),
            port,
        },
        None => HostPort::parse(ip_and_port)?,
    };
    // A certificate needs the host name, if the node announces one.
    let name = parts
        .next()
        .filter(|name| !name.is_empty() && !name.contains('=') && transport == Transport::Tls);
    Some(HostPort {
        host: name.map_or(server.host, str::to_owned),
        ..server
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "\
aa 10.0.0.1:7000@17000,redis-1.example myself,master - 0 1700000000000 3 connected 0-5460 5462
bb :7001@17001 master - 0 1700000000000 7 connected 5461 5463-10922 [93-<-aa]
cc 2001:db8::1:7002@17002,,shard-id=x master - 0 1700000000000 9 connected 10923-16383
dd 10.0.0.4:7003@17003 slave aa 0 1700000000000 3 connected
";

    #[test]
    fn the_owner_of_a_slot_is_read_from_what_a_node_says() {
        let asked = HostPort {
            host: "seed".into(),
            port: 6_379,
        };
        let owner = |slot, transport| {
            owner(NODES, slot, transport, &asked)
                .map(|master| (master.server.to_string(), master.epoch))
        };
        assert_eq!(
            owner(0, Transport::Plain),
            Some(("10.0.0.1:7000".into(), 3))
        );
        assert_eq!(
            owner(5_462, Transport::Tls),
            Some(("redis-1.example:7000".into(), 3))
        );
        assert_eq!(owner(5_461, Transport::Tls), Some(("seed:7001".into(), 7)));
        assert_eq!(
            owner(93, Transport::Plain),
            Some(("10.0.0.1:7000".into(), 3)),
            "a slot that is coming is not there yet"
        );
        assert_eq!(
            owner(16_383, Transport::Tls),
            Some(("[2001:db8::1]:7002".into(), 9))
        );
    }

    #[test]
    fn a_slot_that_nobody_has_has_no_owner() {
        let asked = HostPort {
            host: "seed".into(),
            port: 6_379,
        };
        for nodes in [
            "",
            "aa 10.0.0.1:7000@17000 master - 0 0 1 connected 0-10\n",
            "a b c",
            "aa :0@0 master - 0 0 x connected 99",
        ] {
            assert_eq!(
                owner(nodes, 99, Transport::Plain, &asked),
                None,
                "{nodes:?}"
            );
        }
    }
}
