//! Listens for what other gateways ended.
//!
//! A connection of its own, in RESP3. A subscription that broke would leave ended sessions alive in this gateway's cache. That it broke
//! is noticed at once where the connection ends; where it does not, since it is asked for a sign of life four times a second. While it
//! gives none, it counts as lost: that tells the caches not to rely on what they have, and its return tells them to forget it.

use super::super::Invalidation;
use super::super::vault::RecordKey;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;

const INVALIDATIONS: usize = 4_096;
/// Half the second within which a revocation must have reached every gateway.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_millis(250);
const SIGN_OF_LIFE_WITHIN: Duration = Duration::from_millis(500);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const EVERYTHING: &[u8] = b"*";

pub(super) struct Subscription {
    channel: Vec<u8>,
    announcements: broadcast::Sender<Invalidation>,
    alive: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Subscription {
    /// Starts to listen, on the current runtime, until this value is dropped.
    pub(super) fn start(info: ConnectionInfo, channel: Vec<u8>) -> RedisResult<Self> {
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings))?;
        let (announcements, _) = broadcast::channel(INVALIDATIONS);
        let alive = Arc::new(AtomicBool::new(false));
        let listener =
            Listener { client, channel: channel.clone(), announcements: announcements.clone(), alive: Arc::clone(&alive) };
        Ok(Self { channel, announcements, alive, task: tokio::spawn(listener.run()) })
    }

    pub(super) fn receiver(&self) -> broadcast::Receiver<Invalidation> {
        self.announcements.subscribe()
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    pub(super) fn channel(&self) -> &[u8] {
        &self.channel
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How an invalidation is written on the channel.
pub(super) fn message(invalidation: Invalidation) -> Vec<u8> {
    match invalidation {
        Invalidation::Session(name) => name.to_bytes(),
        Invalidation::All | Invalidation::Missed => EVERYTHING.to_vec(),
    }
}

struct Listener {
    client: Client,
    channel: Vec<u8>,
    announcements: broadcast::Sender<Invalidation>,
    alive: Arc<AtomicBool>,
}

impl Listener {
    async fn run(self) {
        loop {
            if let Ok((connection, ended)) = self.subscribe().await {
                // Whatever was ended while nobody listened is unknown: forget everything, then trust the cache again.
                self.announce(Invalidation::All);
                self.alive.store(true, Ordering::Release);
                let error = tokio::select! {
                    error = listen(connection) => error.to_string(),
                    () = ended.notified() => "the connection ended".to_owned(),
                };
                self.alive.store(false, Ordering::Release);
                self.announce(Invalidation::Missed);
                tracing::warn!(target: "store", error, "the subscription to ended sessions was lost; the session cache is off until it is back");
            }
            tokio::time::sleep(SIGN_OF_LIFE_EVERY).await;
        }
    }

    /// A connection that listens, and what is rung when it ends.
    async fn subscribe(&self) -> RedisResult<(MultiplexedConnection, Arc<Notify>)> {
        let (announcements, channel, ended) = (self.announcements.clone(), self.channel.clone(), Arc::new(Notify::new()));
        let bell = Arc::clone(&ended);
        let receive = move |push: PushInfo| -> Result<(), redis::aio::SendError> {
            if push.kind == PushKind::Disconnection {
                bell.notify_one();
            } else if let Some(invalidation) = read(&push, &channel) {
                // Nobody listening is no failure: there is no cache then.
                let _ = announcements.send(invalidation);
            }
            Ok(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(SIGN_OF_LIFE_WITHIN))
            .set_push_sender(receive);
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        connection.subscribe(&self.channel).await?;
        Ok((connection, ended))
    }

    fn announce(&self, invalidation: Invalidation) {
        // Nobody listening is no failure: there is no cache then.
        let _ = self.announcements.send(invalidation);
    }
}

/// Returns when the connection gives no sign of life.
async fn listen(mut connection: MultiplexedConnection) -> RedisError {
    loop {
        let pong: RedisResult<Value> = redis::cmd("PING").query_async(&mut connection).await;
        if let Err(error) = pong {
            return error;
        }
        tokio::time::sleep(SIGN_OF_LIFE_EVERY).await;
    }
}

fn read(push: &PushInfo, channel: &[u8]) -> Option<Invalidation> {
    let (PushKind::Message, [Value::BulkString(from), Value::BulkString(what)]) = (&push.kind, push.data.as_slice()) else {
        return None;
    };
    if from != channel {
        return None;
    }
    // What cannot be read may have meant any session.
    Some(RecordKey::from_bytes(what).map_or(Invalidation::All, Invalidation::Session))
}
