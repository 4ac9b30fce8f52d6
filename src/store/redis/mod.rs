//! Redis as an engine: one Lua script a change, one connection for commands, and a second one that listens for
//! invalidations; both come back by themselves.
//!
//! Names in Redis are the configured prefix and a [`RecordKey`]; `queue` and `leases` hold the outbox. Invalidations
//! travel on the channel `ended`. Nothing here is read without its seal being checked, but for counters.

mod connection;
mod subscription;

use super::engine::{Change, Committed, Engine, Expect, TallyMode};
use super::vault::RecordKey;
use super::{Error, Invalidation, Result};
use crate::domain::ids::LetterId;
use async_trait::async_trait;
use connection::Connection;
use redis::io::tcp::TcpSettings;
use redis::{IntoConnectionInfo, RedisError, Script, Value};
use std::sync::LazyLock;
use std::time::Duration;
use subscription::Subscription;
use tokio::sync::broadcast;

static COMMIT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("commit.lua")));
static LEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lease.lua")));

/// Redis as an engine.
pub struct Redis {
    connection: Connection,
    prefix: Vec<u8>,
    subscription: Subscription,
}

impl Redis {
    /// An engine on the Redis at `url`. It connects when it is first used. Must be called within the runtime that is to
    /// drive the connections, which must outlive this value.
    ///
    /// # Errors
    /// [`Error::Setup`] if the URL is not one of Redis.
    pub fn new(url: &str, prefix: &str, timeout: Duration) -> Result<Self> {
        // What the library says of a URL may quote its password.
        let setup = |_: RedisError| Error::Setup("the Redis URL cannot be used".into());
        let info = url.into_connection_info().map_err(setup)?.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let connection = Connection::new(info.clone(), timeout).map_err(setup)?;
        let prefix = prefix.as_bytes().to_vec();
        let subscription = Subscription::start(info, [&prefix, &b"ended"[..]].concat()).map_err(setup)?;
        Ok(Self { connection, prefix, subscription })
    }

    fn name(&self, key: RecordKey) -> Vec<u8> {
        [self.prefix.as_slice(), &key.to_bytes()].concat()
    }

    fn queue(&self) -> [Vec<u8>; 2] {
        [[self.prefix.as_slice(), b"queue"].concat(), [self.prefix.as_slice(), b"leases"].concat()]
    }
}

fn unexpected(what: &'static str) -> Error {
    Error::Refused(what.into())
}

#[async_trait]
impl Engine for Redis {
    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Vec<u8>>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        for key in keys {
            command.arg(self.name(*key));
        }
        let found: Vec<Option<Vec<u8>>> =
            self.connection.run(|mut redis| async move { command.query_async(&mut redis).await }).await?;
        // One record that no gateway wrote is no outage of Redis.
        let too_long =
            keys.iter().zip(&found).find(|(key, record)| record.as_ref().is_some_and(|bytes| bytes.len() > key.kind().longest()));
        if let Some((key, _)) = too_long {
            return Err(Error::Unsealable(key.kind().name()));
        }
        Ok(found)
    }

    async fn commit(&self, change: &Change) -> Result<Committed> {
        let script = Instructions::of(self, change);
        let mut call = COMMIT.prepare_invoke();
        for key in &script.keys {
            call.key(key);
        }
        for argument in &script.arguments {
            call.arg(argument);
        }
        let answer: Vec<i64> = self.connection.run(|mut redis| async move { call.invoke_async(&mut redis).await }).await?;
        match *answer.as_slice() {
            [0] => Ok(Committed::Done),
            [1] => Ok(Committed::Conflict),
            [2, index, left] => {
                let index = usize::try_from(index).map_err(|_| unexpected("a counter's number is negative"))?;
                Ok(Committed::Full { index, retry_after: Duration::from_millis(u64::try_from(left).unwrap_or(0)) })
            }
            _ => Err(unexpected("the script gave no answer that it can give")),
        }
    }

    async fn lease(&self, lease: Duration) -> Result<Option<(LetterId, u32)>> {
        let mut call = LEASE.prepare_invoke();
        for key in self.queue() {
            call.key(key);
        }
        call.arg(millis(lease));
        let answer: Vec<Value> = self.connection.run(|mut redis| async move { call.invoke_async(&mut redis).await }).await?;
        match answer.as_slice() {
            [] => Ok(None),
            [id, leased] => {
                let id: String = redis::from_redis_value(id.clone()).map_err(|_| unexpected("the queue holds no letter"))?;
                let leased: u32 = redis::from_redis_value(leased.clone()).map_err(|_| unexpected("leases are no number"))?;
                let bits = u128::from_str_radix(&id, 16).map_err(|_| unexpected("the queue holds no letter"))?;
                Ok(Some((LetterId::from_bits(bits), leased)))
            }
            _ => Err(unexpected("the script gave no answer that it can give")),
        }
    }

    async fn queue_length(&self) -> Result<u64> {
        let [queue, _] = self.queue();
        self.connection.run(|mut redis| async move { redis::cmd("ZCARD").arg(queue).query_async(&mut redis).await }).await
    }

    async fn ping(&self) -> Result<()> {
        // A write, since a full or demoted Redis still answers reads.
        let name = [self.prefix.as_slice(), b"ping"].concat();
        let mut command = redis::cmd("SET");
        command.arg(name).arg("").arg("PX").arg(1_000);
        self.connection.run(|mut redis| async move { command.query_async(&mut redis).await }).await
    }

    fn invalidations(&self) -> broadcast::Receiver<Invalidation> {
        self.subscription.receiver()
    }

    fn hears_invalidations(&self) -> bool {
        self.subscription.is_alive()
    }
}

fn millis(duration: Duration) -> u64 {
    // Redis refuses a life of zero.
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4).clamp(1, u64::MAX / 4)
}

/// A change in the words of `commit.lua`.
struct Instructions<'a> {
    engine: &'a Redis,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
}

impl<'a> Instructions<'a> {
    fn of(engine: &'a Redis, change: &Change) -> Self {
        let mut script = Self { engine, keys: engine.queue().to_vec(), arguments: Vec::new() };
        for (key, expected) in &change.expect {
            let key = script.key(*key);
            match expected {
                Expect::Absent => script.say(b"absent", &[&key]),
                Expect::Present => script.say(b"present", &[&key]),
                Expect::Is(bytes) => script.say(b"is", &[&key, bytes]),
            }
        }
        for tally in &change.tally {
            let counter = script.key(tally.counter);
            let once = tally.once.map_or_else(|| b"0".to_vec(), |once| script.key(once));
            let mode: &[u8] = match tally.mode {
                TallyMode::Take => b"take",
                TallyMode::Check => b"check",
                TallyMode::Count => b"count",
            };
            let (limit, amount) = (number(tally.limit.into()), number(tally.amount.into()));
            script.say(b"tally", &[&counter, &once, &limit, &amount, &number(millis(tally.window)), mode]);
        }
        for (key, bytes, lives) in &change.write {
            let key = script.key(*key);
            script.say(b"write", &[&key, bytes, &number(millis(*lives))]);
        }
        for key in &change.delete {
            let key = script.key(*key);
            script.say(b"delete", &[&key]);
        }
        for (letter, due_in) in &change.queue {
            let due_in = number(u64::try_from(due_in.as_millis()).unwrap_or(0));
            script.say(b"queue", &[b"1", letter.to_string().as_bytes(), &due_in]);
        }
        for letter in &change.unqueue {
            script.say(b"unqueue", &[letter.to_string().as_bytes()]);
        }
        for invalidation in &change.announce {
            script.say(b"announce", &[engine.subscription.channel(), &subscription::message(*invalidation)]);
        }
        script
    }

    fn key(&mut self, key: RecordKey) -> Vec<u8> {
        self.keys.push(self.engine.name(key));
        self.keys.len().to_string().into_bytes()
    }

    fn say(&mut self, instruction: &[u8], operands: &[&[u8]]) {
        self.arguments.push(instruction.to_vec());
        self.arguments.extend(operands.iter().map(|operand| operand.to_vec()));
    }
}

fn number(value: u64) -> Vec<u8> {
    value.to_string().into_bytes()
}
