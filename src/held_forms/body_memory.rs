//! Limits the memory for bodies of forms being received, in total and per client.

use domain::held_form::HeldFormLimits;
use domain::throttle::ClientAddress;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// A body is in memory as received and, while the store writes it, sealed.
const COPIES: usize = 2;
/// The share of one client is this fraction of the total.
const SHARES: usize = 4;

/// Memory taken by bodies that are being received.
pub(super) struct BodyMemory {
    /// The limit in bytes over all clients.
    most: usize,
    /// The limit in bytes for one client.
    most_of_one: usize,
    held: Mutex<BytesHeld>,
}

#[derive(Default)]
struct BytesHeld {
    total: usize,
    clients: HashMap<ClientAddress, usize>,
}

/// Memory for one body, released on drop.
pub struct Reservation {
    room: Arc<BodyMemory>,
    client: ClientAddress,
    bytes: usize,
}

impl BodyMemory {
    /// Creates the limit; one of the largest bodies always has room.
    pub(super) fn new(limits: &HeldFormLimits) -> Arc<Self> {
        let one = limits.largest.saturating_mul(COPIES);
        let most = usize::try_from(limits.coming_in())
            .unwrap_or(usize::MAX)
            .max(one);
        Arc::new(Self {
            most,
            most_of_one: (most / SHARES).max(one),
            held: Mutex::default(),
        })
    }

    /// Starts a reservation for a body of which nothing has been received yet.
    pub(super) fn reserve(room: &Arc<Self>, client: ClientAddress) -> Reservation {
        Reservation {
            room: Arc::clone(room),
            client,
            bytes: 0,
        }
    }
}

impl Reservation {
    /// Grows the reservation to a body of so many bytes received; announced bytes take no memory.
    /// Returns false if there is no room.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_mul(COPIES).saturating_sub(self.bytes);
        let mut held = self.room.held.lock();
        let share = held.clients.get(&self.client).copied().unwrap_or(0);
        let has_room = held.total + more <= self.room.most && share + more <= self.room.most_of_one;
        if has_room && more > 0 {
            held.total += more;
            held.clients.insert(self.client, share + more);
            self.bytes += more;
        }
        has_room
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut held = self.room.held.lock();
        held.total -= self.bytes;
        let left = held
            .clients
            .get(&self.client)
            .map_or(0, |share| share - self.bytes);
        if left == 0 {
            held.clients.remove(&self.client);
        } else {
            held.clients.insert(self.client, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

    fn client(last: u8) -> ClientAddress {
        ClientAddress::of(std::net::IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn one_client_cannot_take_all_the_room_and_all_together_not_more_than_there_is() {
        let (largest, per_client, total) = (1 << 20, 16 << 20, 512 << 20);
        let room = BodyMemory::new(&HeldFormLimits {
            lifetime: SECOND,
            largest,
            per_client,
            total,
            settles: SECOND,
        });
        let reserve = |last, bytes| {
            let mut reservation = BodyMemory::reserve(&room, client(last));
            reservation.grow(bytes).then_some(reservation)
        };
        let first: Vec<_> = (0..8).filter_map(|_| reserve(1, 1 << 20)).collect();
        assert_eq!(first.len(), 8, "each is there twice");
        assert!(reserve(1, 1).is_none(), "its share is used up");
        let announced: Vec<_> = (0..1_000)
            .map(|_| BodyMemory::reserve(&room, client(2)))
            .collect();
        let others: Vec<_> = (2..5).filter_map(|last| reserve(last, 8 << 20)).collect();
        assert_eq!(
            (others.len(), announced.len()),
            (3, 1_000),
            "others have theirs, and what is only announced takes none"
        );
        assert!(reserve(9, 1).is_none(), "all is used up");
        drop(first);
        assert!(
            reserve(1, 1 << 20).is_some() && reserve(9, 1 << 20).is_some(),
            "what was freed is free"
        );
        drop(announced);
        drop(others);
        assert!(
            room.held.lock().clients.is_empty(),
            "nobody is remembered for long"
        );
    }
}
