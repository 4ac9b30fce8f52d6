//! How many requests are served at once. Beyond that they are told to come again in a moment.
//!
//! Three quarters of all seats are for brokers who are signed in, a quarter for everybody else: so neither a calculator that hangs nor a
//! crowd of strangers keeps the others out. Of strangers' seats one client address gets a part only. A broker's WebSocket or stream of
//! events may last for hours and costs next to nothing: these have a row of their own, of which one broker gets a part only. And where the
//! calculator has several servers, one that hangs holds a part of each row at most.

use crate::gateway::context::Passage;
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

/// One address gets one in so many of strangers' seats, but a few where there are few.
const ADDRESSES: usize = 8;
const LEAST_OF_AN_ADDRESS: usize = 2;
/// One broker gets one in so many of the places for what stays open; a house of brokers may share one number.
const BROKERS: usize = 64;
const LEAST_OF_A_BROKER: usize = 16;

/// For whom a seat is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// Anybody who is not signed in, and our own pages.
    Anybody(ClientAddress),
    /// A broker who is signed in.
    SignedIn,
    /// What a page of this broker's keeps open.
    KeptOpen(Vtnr),
}

/// All seats.
#[derive(Debug)]
pub(crate) struct Seats {
    anybody: Arc<Row>,
    signed_in: Arc<Row>,
    kept_open: Arc<Row>,
}

#[derive(Debug)]
struct Row {
    taken: AtomicUsize,
    seats: usize,
    /// The most that one holder gets.
    part: usize,
    /// Never more than two for each seat that is taken: whoever has none left is forgotten.
    holders: Mutex<HashMap<Holder, usize>>,
}

/// Who may hold a part of a row only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Client(ClientAddress),
    Broker(Vtnr),
    Server(SocketAddr),
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    row: Arc<Row>,
    whose: Option<Holder>,
    server: Option<Holder>,
}

impl Seats {
    /// `all` for requests, and as many as half of the connections for what stays open.
    pub(crate) fn new(all: usize, connections: usize) -> Self {
        let row = |seats: usize, holders: usize, least: usize| {
            let part = (seats / holders).max(least);
            Arc::new(Row {
                taken: AtomicUsize::new(0),
                seats: seats.max(1),
                part,
                holders: Mutex::default(),
            })
        };
        Self {
            anybody: row(all / 4, ADDRESSES, LEAST_OF_AN_ADDRESS),
            signed_in: row(all - all / 4, 1, 1),
            kept_open: row(connections / 2, BROKERS, LEAST_OF_A_BROKER),
        }
    }

    /// A seat, if there is one left.
    pub(crate) fn take(&self, whom: For) -> Option<Seat> {
        let (row, holder) = match whom {
            For::Anybody(client) => (&self.anybody, Some(Holder::Client(client))),
            For::SignedIn => (&self.signed_in, None),
            For::KeptOpen(vtnr) => (&self.kept_open, Some(Holder::Broker(vtnr))),
        };
        // Counted first, so that of many at once none takes one too many.
        let mut seat = Seat {
            row: Arc::clone(row),
            whose: None,
            server: None,
        };
        let before = row.taken.fetch_add(1, Ordering::AcqRel);
        if before >= row.seats || holder.is_some_and(|holder| !row.hold(holder, row.part)) {
            return None;
        }
        seat.whose = holder;
        Some(seat)
    }
}

impl Row {
    /// Counts one more seat of this holder's, unless it has as many as it may.
    fn hold(&self, holder: Holder, most: usize) -> bool {
        let mut holders = self.holders.lock();
        let held = holders.get(&holder).copied().unwrap_or(0);
        if held < most {
            holders.insert(holder, held + 1);
        }
        held < most
    }

    fn let_go(&self, holder: Holder) {
        let mut holders = self.holders.lock();
        match holders.get_mut(&holder) {
            Some(held) if *held > 1 => *held -= 1,
            _ => drop(holders.remove(&holder)),
        }
    }
}

impl Seat {
    /// The request goes to this server, one of so many that are up; false if that one holds its part of the seats already. At least half of
    /// them are left to the others, and with more than four servers it is twice what would be its own.
    fn goes_to(&mut self, server: SocketAddr, up: usize) -> bool {
        if let Some(former) = self.server.take() {
            self.row.let_go(former);
        }
        if up < 2 {
            return true;
        }
        let holder = Holder::Server(server);
        let has_room = self
            .row
            .hold(holder, (self.row.seats / (up / 2).max(2)).max(1));
        self.server = has_room.then_some(holder);
        has_room
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        for holder in [self.whose, self.server].into_iter().flatten() {
            self.row.let_go(holder);
        }
        self.row.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Gateway {
    /// Takes a seat for the time of the request, as whoever has this session, or as a stranger.
    pub(crate) fn seat(
        &self,
        session: Option<&BrokerSession>,
        http: &Session,
        passage: &mut Passage,
    ) -> Result<(), Failure> {
        let is_kept_open =
            || is_handshake(http) || route::may_stay_silent(&http.req_header().headers);
        let whom = match session {
            None => For::Anybody(self.client_counted(http)),
            Some(session) if is_kept_open() => For::KeptOpen(session.vtnr),
            Some(_) => For::SignedIn,
        };
        passage.seat = Some(self.seats.take(whom).ok_or(Failure::Overloaded)?);
        Ok(())
    }

    /// Lets the request go to the server that was chosen for it, unless that one has its hands full.
    pub(crate) fn share_out(
        &self,
        peer: Box<HttpPeer>,
        passage: &mut Passage,
    ) -> pingora::Result<Box<HttpPeer>> {
        let upstream = self.upstream_of(passage);
        let (Some(seat), true) = (&mut passage.seat, upstream.has_several()) else {
            return Ok(peer);
        };
        let has_room = peer
            .address()
            .as_inet()
            .is_none_or(|server| seat.goes_to(*server, upstream.up()));
        let full =
            || pingora::Error::explain(OVERLOADED, "this server holds all requests that it may");
        has_room.then_some(peer).ok_or_else(full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn client(number: u8) -> For {
        For::Anybody(ClientAddress::of(IpAddr::from([203, 0, 113, number])))
    }

    fn all(seats: &Seats, whom: impl Fn(usize) -> For) -> Vec<Seat> {
        (0..1_000)
            .filter_map(|number| seats.take(whom(number)))
            .collect()
    }

    fn is_empty(row: &Row) -> bool {
        row.taken.load(Ordering::SeqCst) == 0 && row.holders.lock().is_empty()
    }

    #[test]
    fn neither_takes_the_others_seats_and_what_is_left_is_free() {
        let seats = Seats::new(32, 64);
        for _ in 0..2 {
            let strangers = all(&seats, |number| {
                client(u8::try_from(number % 50).expect("a byte"))
            });
            let (brokers, open) = (
                all(&seats, |_| For::SignedIn),
                all(&seats, |number| kept_open(number % 10)),
            );
            assert_eq!((strangers.len(), brokers.len(), open.len()), (8, 24, 32));
        }
        for row in [&seats.anybody, &seats.signed_in, &seats.kept_open] {
            assert!(is_empty(row), "whoever found none has taken none: {row:?}");
        }
    }

    fn kept_open(number: usize) -> For {
        let number = 601_234_567 + u32::try_from(number).expect("small");
        For::KeptOpen(Vtnr::from_number(number).expect("nine digits"))
    }

    #[test]
    fn there_is_one_for_each_at_least() {
        let seats = Seats::new(1, 1);
        let one = [client(1), For::SignedIn, kept_open(0)].map(|whom| seats.take(whom).is_some());
        assert_eq!(one, [true; 3]);
    }

    #[test]
    fn one_address_and_one_broker_get_a_part() {
        let seats = Seats::new(4_096, 20_000);
        let mut one = all(&seats, |_| client(1));
        assert_eq!(one.len(), 128);
        assert_eq!(all(&seats, |_| client(2)).len(), 128);
        one.pop();
        assert!(seats.take(client(1)).is_some());
        assert_eq!(
            (
                all(&seats, |_| kept_open(0)).len(),
                all(&seats, |_| kept_open(1)).len()
            ),
            (156, 156)
        );
    }

    #[test]
    fn a_server_holds_a_part_of_each_row_as_long_as_there_is_another() {
        let servers = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        for (up, part) in [(2, 12), (3, 12), (4, 12), (6, 8), (8, 6)] {
            let seats = Seats::new(32, 64);
            let mut brokers = all(&seats, |_| For::SignedIn);
            assert_eq!(
                brokers
                    .iter_mut()
                    .filter_map(|seat| seat.goes_to(servers[0], up).then_some(()))
                    .count(),
                part
            );
            let last = brokers.last_mut().expect("a seat");
            assert!(
                last.goes_to(servers[1], up)
                    && !last.goes_to(servers[0], up)
                    && last.goes_to(servers[0], 1)
            );
            let mut stranger = seats.take(client(1)).expect("a seat");
            assert!(stranger.goes_to(servers[0], up));
            drop((brokers, stranger));
            assert!(is_empty(&seats.signed_in) && is_empty(&seats.anybody));
        }
    }
}
