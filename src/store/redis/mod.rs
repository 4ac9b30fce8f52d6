//! The Redis engine: one Lua script per change, on the current master.
//!
//! `master` finds that server, also after a failover, and keeps the connections to it. A record's
//! name is the configured prefix and its [`RecordKey`]; `queue` (a sorted set by due time) and
//! `leases` (a hash) hold the outbox, and invalidations travel on the channel `ended`. Only
//! counters are read without a seal.

mod command;
mod commit_script;
mod invalidation_channel;
mod master;
mod names;

use super::engine::{Change, Durability, Engine, TxOutcome};
use super::vault::RecordKey;
use super::{Cause, Due, Error, Invalidation, Result, SubscriptionEpoch};
use crate::config::RedisServers;
use crate::telemetry::metrics::StoreTrouble;
use async_trait::async_trait;
use command::{Lua, RedisCommand};
use commit_script::{CommitScript, millis};
use domain::ids::LetterId;
use invalidation_channel::InvalidationChannel;
use master::{Master, MasterOptions};
use names::Names;
use redis::Value;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::sync::broadcast;

static COMMIT: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("commit.lua")));
static LEASE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lease.lua")));

/// The longest delay before another delivery attempt.
const LONGEST_WAIT: Duration = Duration::from_secs(150);

/// An engine on Redis.
pub struct Redis {
    master: Master,
    names: Names,
    invalidations: InvalidationChannel,
}

/// The settings that Redis is used with.
#[derive(Clone, Copy, Debug)]
pub struct RedisOptions<'a> {
    /// Begins the name of every record.
    pub prefix: &'a str,
    /// Limits each command, waiting for replicas included.
    pub timeout: Duration,
    /// The number of replicas that must confirm a durable change.
    pub replicas: u32,
}

impl Redis {
    /// Creates an engine on these servers, which connects at once and reconnects whenever the
    /// connection is lost. Must be called on the runtime that drives the connections and outlives
    /// this value.
    pub fn new(servers: &RedisServers, settings: RedisOptions<'_>) -> Self {
        let names = Names::new(settings.prefix, &servers.deployment);
        let invalidations = InvalidationChannel::on(names.channel());
        let options = MasterOptions {
            timeout: settings.timeout,
            replicas: settings.replicas,
            probe: names.ping(),
        };
        let master = Master::of(servers, options, invalidations.clone());
        Self {
            master,
            names,
            invalidations,
        }
    }

    async fn found(
        &self,
        keys: &[RecordKey],
        durability: Durability,
    ) -> Result<Vec<Option<Vec<u8>>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        for key in keys {
            command.arg(self.names.record(*key));
        }
        let found: Vec<Option<Vec<u8>>> = self
            .master
            .run(&RedisCommand::read(command), durability)
            .await?;
        // A record that no gateway wrote is no outage of Redis.
        let too_long = keys.iter().zip(&found).find(|(key, record)| {
            record
                .as_ref()
                .is_some_and(|bytes| bytes.len() > key.kind().longest())
        });
        if let Some((key, _)) = too_long {
            return Err(Error::Unsealable(key.kind().name()));
        }
        Ok(found)
    }
}

fn unexpected(answer: &'static str) -> Error {
    Error::Refused(Cause::new(StoreTrouble::Refused, answer))
}

#[async_trait]
impl Engine for Redis {
    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Vec<u8>>>> {
        self.found(keys, Durability::Master).await
    }

    async fn read_durable(&self, keys: &[RecordKey]) -> Result<Vec<Option<Vec<u8>>>> {
        self.found(keys, Durability::Replicas).await
    }

    async fn commit(&self, change: &Change) -> Result<TxOutcome> {
        let script = CommitScript::of(&self.names, change);
        let call = RedisCommand::call(&COMMIT, &script.keys, &script.arguments);
        let answer: Vec<i64> = self.master.run(&call, change.durability).await?;
        match *answer.as_slice() {
            [0] => Ok(TxOutcome::Done),
            [1] => Ok(TxOutcome::Conflict),
            [2, index, left] => {
                let index = usize::try_from(index)
                    .map_err(|_| unexpected("the commit script returned a negative index"))?;
                Ok(TxOutcome::Full {
                    index,
                    retry_after: Duration::from_millis(u64::try_from(left).unwrap_or(0)),
                })
            }
            _ => Err(unexpected("the commit script returned an unknown result")),
        }
    }

    async fn lease(&self, among: Due, lease: Duration) -> Result<Option<(LetterId, u32)>> {
        let [lease, longest] = [lease, LONGEST_WAIT.max(lease.saturating_mul(2))]
            .map(|time| millis(time).to_string().into_bytes());
        let among = match among {
            Due::All => b"all".to_vec(),
            Due::New => b"new".to_vec(),
        };
        let call = RedisCommand::call(&LEASE, &self.names.queue(), &[lease, longest, among]);
        let answer: Vec<Value> = self.master.run(&call, Durability::Master).await?;
        match answer.as_slice() {
            [] => Ok(None),
            [id, leased] => {
                let id: String = redis::from_redis_value(id.clone())
                    .map_err(|_| unexpected("the queue holds something other than a letter"))?;
                let leased: u32 = redis::from_redis_value(leased.clone())
                    .map_err(|_| unexpected("the number of leases is not a number"))?;
                let bits = u128::from_str_radix(&id, 16)
                    .map_err(|_| unexpected("the queue holds something other than a letter"))?;
                Ok(Some((LetterId::from_bits(bits), leased)))
            }
            _ => Err(unexpected("the lease script returned an unknown result")),
        }
    }

    async fn queue_length(&self) -> Result<u64> {
        let [queue, _] = self.names.queue();
        let mut command = redis::cmd("ZCARD");
        command.arg(queue);
        self.master
            .run(&RedisCommand::read(command), Durability::Master)
            .await
    }

    async fn ping(&self) -> Result<()> {
        // A write, because a full or demoted Redis still answers reads.
        let mut command = redis::cmd("SET");
        command.arg(self.names.ping()).arg("").arg("PX").arg(1_000);
        self.master
            .run(&RedisCommand::write(command), Durability::Replicas)
            .await
    }

    fn invalidations(&self) -> broadcast::Receiver<Invalidation> {
        self.invalidations.receiver()
    }

    fn subscription(&self) -> Option<SubscriptionEpoch> {
        self.invalidations.subscription()
    }
}
