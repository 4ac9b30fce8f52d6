//! The one server that the gateway works with at any time: the only one there is, or the one that sentinels or a cluster have
//! made the master.
//!
//! A task ([`keeper`]) finds it and holds a [`link::Link`] to it: a connection for commands, one that listens for invalidations,
//! one to wait for replicas on. They are made together and given up together, so that nobody reads from one server and listens
//! to another. Commands wait for a link only while one is being made for the first time after the former was lost; while there
//! is none they fail at once. Nothing is run twice but what only reads or what Redis said it had not done.

mod adviser;
mod copies;
mod dial;
mod fault;
mod guide;
mod keeper;
mod link;

use super::super::engine::Durability;
use super::super::{Error, Result};
use super::announcements::Announcements;
use super::request::{Request, Twice};
use crate::config::RedisServers;
use dial::Dial;
use fault::{Fault, Trouble, failed};
use guide::Guide;
use keeper::{Keeper, State};
use link::Link;
use redis::{FromRedisValue, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Between two attempts while records move from node to node.
const MOVES_EVERY: Duration = Duration::from_millis(20);

/// What the gateway expects of a master.
pub(super) struct Terms {
    /// How long a command may take, its copies included.
    pub(super) timeout: Duration,
    /// How many replicas must have what is not to be lost.
    pub(super) replicas: u32,
    /// The name of a record without meaning.
    pub(super) probe: Vec<u8>,
}

/// The master.
pub(super) struct Master {
    state: watch::Receiver<State>,
    timeout: Duration,
    keeper: JoinHandle<()>,
    fails_over: bool,
}

impl Master {
    /// Finds and keeps the master of these servers, on the current runtime, until this value is dropped.
    pub(super) fn of(servers: &RedisServers, terms: Terms, announcements: Announcements) -> Self {
        let dial = Dial::new(
            servers.transport,
            &servers.login,
            servers.database,
            "store.password_file",
        );
        let guide = Guide::to(servers, &dial, &terms.probe);
        let (timeout, fails_over) = (terms.timeout, guide.fails_over());
        let (sender, state) = watch::channel(State::Connecting);
        let keeper = Keeper {
            guide,
            dial,
            announcements,
            terms,
            state: sender,
        };
        Self {
            state,
            timeout,
            keeper: tokio::spawn(keeper.run()),
            fails_over,
        }
    }

    /// Runs a command, within the timeout altogether. Where it is to be durable, the answer is given only once the replicas
    /// have whatever it rests on.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        request: &Request,
        durability: Durability,
    ) -> Result<T> {
        let (until, mut asked) = (Instant::now() + self.timeout, None);
        let answered = tokio::time::timeout_at(until, self.answer(request, &mut asked)).await;
        let (answer, link) = answered.unwrap_or_else(|_| {
            if let Some(link) = &asked {
                link.suspect();
            }
            Err(Trouble::timeout(format!("no answer within {:?}", self.timeout)).into())
        })?;
        if durability == Durability::Replicas {
            link.confirm(until).await?;
        }
        redis::from_redis_value(answer).map_err(|error| Trouble::refused(error.to_string()).into())
    }

    /// Notes in `asked` which link it waits for an answer on.
    async fn answer(
        &self,
        request: &Request,
        asked: &mut Option<Arc<Link>>,
    ) -> Result<(Value, Arc<Link>)> {
        let mut after = 0;
        loop {
            let link = self.link(after).await?;
            *asked = Some(Arc::clone(&link));
            let error = match link.ask(request).await {
                Ok(answer) => return Ok((answer, link)),
                Err(error) => error,
            };
            match (Fault::of(&error), request.twice) {
                (Fault::WrongServer, _) if self.fails_over => {
                    link.suspect();
                    after = link.number;
                }
                (Fault::Lost, Twice::Harmless) => {
                    link.suspect();
                    after = link.number;
                }
                (Fault::WrongServer | Fault::Lost, _) => {
                    link.suspect();
                    return Err(failed(error));
                }
                (Fault::Arrived(server), Twice::Harmless) => {
                    return link
                        .ask_at(&server, request)
                        .await
                        .map(|answer| (answer, link))
                        .map_err(failed);
                }
                // What changes records must find all of them in one place.
                (Fault::UnderWay | Fault::Arrived(_), _) => {
                    *asked = None;
                    tokio::time::sleep(MOVES_EVERY).await;
                }
                (Fault::Refused, _) => return Err(failed(error)),
            }
        }
    }

    /// A link that came after the one with this number.
    async fn link(&self, after: u64) -> Result<Arc<Link>> {
        let is_settled = |state: &State| match state {
            State::Connecting => false,
            State::Up(link) => link.number > after,
            State::Down(_) => true,
        };
        let settled = self
            .state
            .clone()
            .wait_for(is_settled)
            .await
            .map(|state| state.clone());
        match settled {
            Ok(State::Up(link)) => Ok(link),
            Ok(State::Down(trouble)) => Err(trouble.into()),
            Ok(State::Connecting) | Err(_) => {
                Err(Trouble::unreachable("the gateway is ending").into())
            }
        }
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}
