//! Limits concurrent checks at the portal, in total and per client address, so that a client with made-up cookies
//! cannot block the others.

use domain::throttle::ClientAddress;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// One address gets one slot in eight.
const CLIENT_SHARE: usize = 8;
/// The minimum share, if there are few slots.
const MIN_PER_CLIENT: usize = 2;

pub(super) struct PortalLimit {
    all: Semaphore,
    per_client: usize,
    /// The slots of each address; an entry is dead once no check of that address runs or waits.
    clients: Mutex<HashMap<ClientAddress, Weak<Semaphore>>>,
}

/// The right to run one check; frees the slot when dropped.
pub(super) struct PortalSlot<'r> {
    _of_all: SemaphorePermit<'r>,
    _of_client: OwnedSemaphorePermit,
}

impl PortalLimit {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            all: Semaphore::new(slots),
            per_client: (slots / CLIENT_SHARE).max(MIN_PER_CLIENT),
            clients: Mutex::default(),
        }
    }

    /// Waits for a slot: first for one of the client's share, then for one of all, so that a client that has used up its share
    /// delays nobody else.
    pub(super) async fn take(&self, client: ClientAddress) -> Option<PortalSlot<'_>> {
        // Neither semaphore is ever closed.
        let of_client = self.slots_of(client).acquire_owned().await.ok()?;
        let of_all = self.all.acquire().await.ok()?;
        Some(PortalSlot {
            _of_all: of_all,
            _of_client: of_client,
        })
    }

    fn slots_of(&self, client: ClientAddress) -> Arc<Semaphore> {
        let mut clients = self.clients.lock();
        if let Some(slots) = clients.get(&client).and_then(Weak::upgrade) {
            return slots;
        }
        clients.retain(|_, slots| slots.strong_count() > 0);
        let slots = Arc::new(Semaphore::new(self.per_client));
        clients.insert(client, Arc::downgrade(&slots));
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn client(address: &str) -> ClientAddress {
        ClientAddress::of(address.parse().expect("an address"))
    }

    fn taken<'r>(room: &'r PortalLimit, address: &str) -> Vec<PortalSlot<'r>> {
        (0..100)
            .map_while(|_| room.take(client(address)).now_or_never().flatten())
            .collect()
    }

    #[test]
    fn one_address_gets_a_part_and_ipv6_counts_by_the_network() {
        let room = PortalLimit::new(64);
        let one = taken(&room, "2001:db8:1:2::1");
        assert_eq!(
            (
                one.len(),
                taken(&room, "2001:db8:1:2:9::9").len(),
                taken(&room, "2001:db8:1:3::1").len()
            ),
            (8, 0, 8)
        );
        drop(one);
        assert_eq!(taken(&room, "2001:db8:1:2:9::9").len(), 8);
        assert_eq!(
            room.clients.lock().len(),
            1,
            "who asks no more is forgotten"
        );
        assert_eq!(taken(&PortalLimit::new(4), "192.0.2.1").len(), 2);
        assert_eq!(taken(&PortalLimit::new(1), "192.0.2.1").len(), 1);
    }

    #[test]
    fn who_waits_for_its_part_keeps_nobody_waiting() {
        let room = PortalLimit::new(3);
        let _two = taken(&room, "192.0.2.1");
        let mut waiting: Vec<_> = (0..10)
            .map(|_| Box::pin(room.take(client("192.0.2.1"))))
            .collect();
        assert!(
            waiting
                .iter_mut()
                .all(|waits| waits.now_or_never().is_none())
        );
        assert_eq!(taken(&room, "192.0.2.2").len(), 1);
    }
}
