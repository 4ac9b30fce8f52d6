//! Limits in-flight requests; excess requests get 503 with `Retry-After`.
//!
//! Three quarters of all slots are for brokers who are signed in, a quarter for everybody else, so that neither a calculator that
//! hangs nor a crowd of strangers keeps the others out. One client address gets only a share of the strangers' slots. A broker's
//! WebSocket or event stream may last for hours and costs next to nothing: these have a pool of their own, of which one broker gets
//! only a share. Where the calculator has several servers, one that hangs holds at most a share of each pool.

use crate::share_limit::ShareLimit;
use domain::throttle::ClientAddress;
use domain::vtnr::Vtnr;
use std::net::SocketAddr;
use std::sync::Arc;

/// One client address gets this fraction of the strangers' slots, and two at least.
const ADDRESSES: usize = 8;
const MIN_PER_ADDRESS: usize = 2;
/// One broker gets this fraction of the slots for what stays open; a house of brokers may share one number.
const BROKERS: usize = 64;
const MIN_PER_BROKER: usize = 16;

/// No slot is free for this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overloaded;

/// The kind of request that takes a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A client who is not signed in, or one of the gateway's own pages.
    Anybody(ClientAddress),
    SignedIn,
    /// A WebSocket or event stream of this broker.
    KeptOpen(Vtnr),
}

/// All slots of the gateway, in three pools.
#[derive(Debug)]
pub(crate) struct ConcurrencyLimit {
    anybody: Arc<Pool>,
    signed_in: Arc<Pool>,
    kept_open: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    slots: ShareLimit<SlotHolder>,
    /// The limit for one client or broker.
    share: usize,
}

/// Anything that may hold only a share of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum SlotHolder {
    Client(ClientAddress),
    Broker(Vtnr),
    Server(SocketAddr),
}

/// One slot of a pool, released when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    pool: Arc<Pool>,
    whose: Option<SlotHolder>,
    server: Option<SlotHolder>,
}

impl ConcurrencyLimit {
    /// `all` for requests, and as many as half of the connections for what stays open.
    pub(crate) fn new(all: usize, connections: usize) -> Self {
        let pool = |slots: usize, holders: usize, least: usize| {
            Arc::new(Pool {
                slots: ShareLimit::new(slots.max(1)),
                share: (slots / holders).max(least),
            })
        };
        Self {
            anybody: pool(all / 4, ADDRESSES, MIN_PER_ADDRESS),
            signed_in: pool(all - all / 4, 1, 1),
            kept_open: pool(connections / 2, BROKERS, MIN_PER_BROKER),
        }
    }

    /// Takes a slot.
    ///
    /// # Errors
    /// [`Overloaded`]: the pool is full, or the holder has its share of it.
    pub(crate) fn acquire(&self, class: Class) -> Result<Slot, Overloaded> {
        let (pool, holder) = match class {
            Class::Anybody(client) => (&self.anybody, Some(SlotHolder::Client(client))),
            Class::SignedIn => (&self.signed_in, None),
            Class::KeptOpen(vtnr) => (&self.kept_open, Some(SlotHolder::Broker(vtnr))),
        };
        if !pool.slots.take(1) {
            return Err(Overloaded);
        }
        let mut slot = Slot {
            pool: Arc::clone(pool),
            whose: None,
            server: None,
        };
        if holder.is_some_and(|holder| !pool.slots.charge(holder, 1, pool.share)) {
            return Err(Overloaded);
        }
        slot.whose = holder;
        Ok(slot)
    }
}

impl Slot {
    /// Charges the request to this server, one of `up` servers that are up; false if the server holds its share of the slots already.
    /// At least half of the slots are left to the others; with more than four servers, a share is twice the fair one.
    pub(crate) fn bind_to_server(&mut self, server: SocketAddr, up: usize) -> bool {
        if let Some(former) = self.server.take() {
            self.pool.slots.discharge(former, 1);
        }
        if up < 2 {
            return true;
        }
        let holder = SlotHolder::Server(server);
        let slots = &self.pool.slots;
        let has_room = slots.charge(holder, 1, (slots.size() / (up / 2).max(2)).max(1));
        self.server = has_room.then_some(holder);
        has_room
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        for holder in [self.whose, self.server].into_iter().flatten() {
            self.pool.slots.discharge(holder, 1);
        }
        self.pool.slots.release(1);
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
            .filter_map(|number| slots.acquire(class(number)).ok())
            .collect()
    }

    fn is_empty(pool: &Pool) -> bool {
        pool.slots.is_empty()
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
            assert!(is_empty(pool), "whoever found none holds none: {pool:?}");
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
            [client(1), Class::SignedIn, kept_open(0)].map(|class| slots.acquire(class).is_ok());
        assert_eq!(one, [true; 3]);
    }

    #[test]
    fn one_address_and_one_broker_get_a_part() {
        let slots = ConcurrencyLimit::new(4_096, 20_000);
        let mut one = all(&slots, |_| client(1));
        assert_eq!(one.len(), 128);
        assert_eq!(all(&slots, |_| client(2)).len(), 128);
        one.pop();
        assert!(slots.acquire(client(1)).is_ok());
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
            let mut stranger = slots.acquire(client(1)).expect("a slot");
            assert!(stranger.bind_to_server(servers[0], up));
            drop((brokers, stranger));
            assert!(is_empty(&slots.signed_in) && is_empty(&slots.anybody));
        }
    }
}
