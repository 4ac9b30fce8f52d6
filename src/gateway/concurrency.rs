//! How many requests are served at once. Beyond that they are told to come again in a moment.
//!
//! Three quarters of all slots are for brokers who are signed in, a quarter for everybody else: so neither a calculator that hangs nor a
//! crowd of strangers keeps the others out. Of strangers' slots one client address gets a part only. A broker's WebSocket or stream of
//! events may last for hours and costs next to nothing: these have a pool of their own, of which one broker gets a part only. And where the
//! calculator has several servers, one that hangs holds a part of each pool at most.

use crate::gateway::context::RequestContext;
use crate::gateway::proxy::{Gateway, is_handshake};
use crate::gateway::request::route;
use crate::gateway::respond::failure::Failure;
use crate::gateway::respond::failure::OVERLOADED;
use domain::session::Session as BrokerSession;
use domain::throttle::ClientAddress;
use domain::vtnr::Vtnr;
use parking_lot::Mutex;
use pingora::proxy::Session;
use pingora::upstreams::peer::{HttpPeer, Peer as _};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One address gets one in so many of strangers' slots, but a few where there are few.
const ADDRESSES: usize = 8;
const LEAST_OF_AN_ADDRESS: usize = 2;
/// One broker gets one in so many of the places for what stays open; a house of brokers may share one number.
const BROKERS: usize = 64;
const LEAST_OF_A_BROKER: usize = 16;

/// Which class a slot is in_use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Anybody who is not signed in, and our own pages.
    Anybody(ClientAddress),
    /// A broker who is signed in.
    SignedIn,
    /// What a page of this broker's keeps open.
    KeptOpen(Vtnr),
}

/// All slots.
#[derive(Debug)]
pub(crate) struct ConcurrencyLimit {
    anybody: Arc<Pool>,
    signed_in: Arc<Pool>,
    kept_open: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    in_use: AtomicUsize,
    slots: usize,
    /// The most that one holder gets.
    part: usize,
    /// Never more than two for each slot that is in_use: whoever has none left is forgotten.
    holders: Mutex<HashMap<Holder, usize>>,
}

/// Who may reserve a part of a pool only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Client(ClientAddress),
    Broker(Vtnr),
    Server(SocketAddr),
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    pool: Arc<Pool>,
    whose: Option<Holder>,
    server: Option<Holder>,
}

impl ConcurrencyLimit {
    /// `all` for requests, and as many as half of the connections for what stays open.
    pub(crate) fn new(all: usize, connections: usize) -> Self {
        let pool = |slots: usize, holders: usize, least: usize| {
            let part = (slots / holders).max(least);
            Arc::new(Pool {
                in_use: AtomicUsize::new(0),
                slots: slots.max(1),
                part,
                holders: Mutex::default(),
            })
        };
        Self {
            anybody: pool(all / 4, ADDRESSES, LEAST_OF_AN_ADDRESS),
            signed_in: pool(all - all / 4, 1, 1),
            kept_open: pool(connections / 2, BROKERS, LEAST_OF_A_BROKER),
        }
    }

    /// A slot, if there is one left.
    pub(crate) fn take(&self, class: Class) -> Option<Slot> {
        let (pool, holder) = match class {
            Class::Anybody(client) => (&self.anybody, Some(Holder::Client(client))),
            Class::SignedIn => (&self.signed_in, None),
            Class::KeptOpen(vtnr) => (&self.kept_open, Some(Holder::Broker(vtnr))),
        };
        // Counted first, so that of many at once none takes one too many.
        let mut slot = Slot {
            pool: Arc::clone(pool),
            whose: None,
            server: None,
        };
        let before = pool.in_use.fetch_add(1, Ordering::AcqRel);
        if before >= pool.slots || holder.is_some_and(|holder| !pool.reserve(holder, pool.part)) {
            return None;
        }
        slot.whose = holder;
        Some(slot)
    }
}

impl Pool {
    /// Counts one more slot of this holder's, unless it has as many as it may.
    fn reserve(&self, holder: Holder, most: usize) -> bool {
        let mut holders = self.holders.lock();
        let held = holders.get(&holder).copied().unwrap_or(0);
        if held < most {
            holders.insert(holder, held + 1);
        }
        held < most
    }

    fn release(&self, holder: Holder) {
        let mut holders = self.holders.lock();
        match holders.get_mut(&holder) {
            Some(held) if *held > 1 => *held -= 1,
            _ => drop(holders.remove(&holder)),
        }
    }
}

impl Slot {
    /// The request goes to this server, one of so many that are up; false if that one holds its part of the slots already. At least half of
    /// them are left to the others, and with more than four servers it is twice what would be its own.
    fn bind_to_server(&mut self, server: SocketAddr, up: usize) -> bool {
        if let Some(former) = self.server.take() {
            self.pool.release(former);
        }
        if up < 2 {
            return true;
        }
        let holder = Holder::Server(server);
        let has_room = self
            .pool
            .reserve(holder, (self.pool.slots / (up / 2).max(2)).max(1));
        self.server = has_room.then_some(holder);
        has_room
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        for holder in [self.whose, self.server].into_iter().flatten() {
            self.pool.release(holder);
        }
        self.pool.in_use.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Gateway {
    /// Takes a slot for the time of the request, as whoever has this session, or as a stranger.
    pub(crate) fn acquire_slot(
        &self,
        session: Option<&BrokerSession>,
        http: &Session,
        context: &mut RequestContext,
    ) -> Result<(), Failure> {
        let is_kept_open =
            || is_handshake(http) || route::may_stay_silent(&http.req_header().headers);
        let class = match session {
            None => Class::Anybody(self.client_counted(http)),
            Some(session) if is_kept_open() => Class::KeptOpen(session.vtnr),
            Some(_) => Class::SignedIn,
        };
        context.slot = Some(self.concurrency.take(class).ok_or(Failure::Overloaded)?);
        Ok(())
    }

    /// Lets the request go to the server that was chosen for it, unless that one has its hands full.
    pub(crate) fn claim_server_share(
        &self,
        peer: Box<HttpPeer>,
        context: &mut RequestContext,
    ) -> pingora::Result<Box<HttpPeer>> {
        let upstream = self.upstream_of(context);
        let (Some(slot), true) = (&mut context.slot, upstream.has_several()) else {
            return Ok(peer);
        };
        let has_room = peer
            .address()
            .as_inet()
            .is_none_or(|server| slot.bind_to_server(*server, upstream.up()));
        let full =
            || pingora::Error::explain(OVERLOADED, "this server holds all requests that it may");
        has_room.then_some(peer).ok_or_else(full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn client(number: u8) -> Class {
        Class::Anybody(ClientAddress::of(IpAddr::from([203, 0, 113, number])))
    }

    fn all(slots: &ConcurrencyLimit, class: impl Fn(usize) -> Class) -> Vec<Slot> {
        (0..1_000)
            .filter_map(|number| slots.take(class(number)))
            .collect()
    }

    fn is_empty(pool: &Pool) -> bool {
        pool.in_use.load(Ordering::SeqCst) == 0 && pool.holders.lock().is_empty()
    }

    #[test]
    fn neither_takes_the_others_seats_and_what_is_left_is_free() {
        let slots = ConcurrencyLimit::new(32, 64);
        for _ in 0..2 {
            let strangers = all(&slots, |number| {
                client(u8::try_from(number % 50).expect("a byte"))
            });
            let (brokers, open) = (
                all(&slots, |_| Class::SignedIn),
                all(&slots, |number| kept_open(number % 10)),
            );
            assert_eq!((strangers.len(), brokers.len(), open.len()), (8, 24, 32));
        }
        for pool in [&slots.anybody, &slots.signed_in, &slots.kept_open] {
            assert!(
                is_empty(pool),
                "whoever found none holds none: {pool:?}"
            );
        }
    }

    fn kept_open(number: usize) -> Class {
        let number = 601_234_567 + u32::try_from(number).expect("small");
        Class::KeptOpen(Vtnr::from_number(number).expect("nine digits"))
    }

    #[test]
    fn there_is_one_for_each_at_least() {
        let slots = ConcurrencyLimit::new(1, 1);
        let one =
            [client(1), Class::SignedIn, kept_open(0)].map(|class| slots.take(class).is_some());
        assert_eq!(one, [true; 3]);
    }

    #[test]
    fn one_address_and_one_broker_get_a_part() {
        let slots = ConcurrencyLimit::new(4_096, 20_000);
        let mut one = all(&slots, |_| client(1));
        assert_eq!(one.len(), 128);
        assert_eq!(all(&slots, |_| client(2)).len(), 128);
        one.pop();
        assert!(slots.take(client(1)).is_some());
        assert_eq!(
            (
                all(&slots, |_| kept_open(0)).len(),
                all(&slots, |_| kept_open(1)).len()
            ),
            (156, 156)
        );
    }

    #[test]
    fn a_server_holds_a_part_of_each_row_as_long_as_there_is_another() {
        let servers = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        for (up, part) in [(2, 12), (3, 12), (4, 12), (6, 8), (8, 6)] {
            let slots = ConcurrencyLimit::new(32, 64);
            let mut brokers = all(&slots, |_| Class::SignedIn);
            assert_eq!(
                brokers
                    .iter_mut()
                    .filter_map(|slot| slot.bind_to_server(servers[0], up).then_some(()))
                    .count(),
                part
            );
            let last = brokers.last_mut().expect("a slot");
            assert!(
                last.bind_to_server(servers[1], up)
                    && !last.bind_to_server(servers[0], up)
                    && last.bind_to_server(servers[0], 1)
            );
            let mut stranger = slots.take(client(1)).expect("a slot");
            assert!(stranger.bind_to_server(servers[0], up));
            drop((brokers, stranger));
            assert!(is_empty(&slots.signed_in) && is_empty(&slots.anybody));
        }
    }
}
