//! Room for questions at once. One client address gets a part of it only: whoever makes up cookies keeps nobody else waiting.

use domain::throttle::ClientAddress;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// One address gets one in so many of the places, but a few where there are few.
const CLIENTS: usize = 8;
const LEAST_OF_A_CLIENT: usize = 2;

pub(super) struct Room {
    all: Semaphore,
    part: usize,
    /// The places of each address that asks or waits; gone when it does neither any more.
    parts: Mutex<HashMap<ClientAddress, Weak<Semaphore>>>,
}

/// One of them, until it is dropped.
pub(super) struct PortalSlot<'r> {
    _of_all: SemaphorePermit<'r>,
    _of_client: OwnedSemaphorePermit,
}

impl Room {
    pub(super) fn new(places: usize) -> Self {
        Self {
            all: Semaphore::new(places),
            part: (places / CLIENTS).max(LEAST_OF_A_CLIENT),
            parts: Mutex::default(),
        }
    }

    /// A place for a question of this client's, once there is one. Who has its part already waits without standing in others' way.
    pub(super) async fn take(&self, client: ClientAddress) -> Option<PortalSlot<'_>> {
        // Neither is ever closed.
        let of_client = self.part_of(client).acquire_owned().await.ok()?;
        let of_all = self.all.acquire().await.ok()?;
        Some(PortalSlot {
            _of_all: of_all,
            _of_client: of_client,
        })
    }

    fn part_of(&self, client: ClientAddress) -> Arc<Semaphore> {
        let mut parts = self.parts.lock();
        if let Some(part) = parts.get(&client).and_then(Weak::upgrade) {
            return part;
        }
        parts.retain(|_, part| part.strong_count() > 0);
        let part = Arc::new(Semaphore::new(self.part));
        parts.insert(client, Arc::downgrade(&part));
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn client(address: &str) -> ClientAddress {
        ClientAddress::of(address.parse().expect("an address"))
    }

    fn taken<'r>(room: &'r Room, address: &str) -> Vec<PortalSlot<'r>> {
        (0..100)
            .map_while(|_| room.take(client(address)).now_or_never().flatten())
            .collect()
    }

    #[test]
    fn one_address_gets_a_part_and_ipv6_counts_by_the_network() {
        let room = Room::new(64);
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
        assert_eq!(room.parts.lock().len(), 1, "who asks no more is forgotten");
        assert_eq!(taken(&Room::new(4), "192.0.2.1").len(), 2);
        assert_eq!(taken(&Room::new(1), "192.0.2.1").len(), 1);
    }

    #[test]
    fn who_waits_for_its_part_keeps_nobody_waiting() {
        let room = Room::new(3);
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
