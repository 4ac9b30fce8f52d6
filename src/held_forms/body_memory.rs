//! Limits the memory for bodies of forms being received, in total and per client.

use crate::share_limit::ShareLimit;
use domain::held_form::HeldFormLimits;
use domain::throttle::ClientAddress;
use std::sync::Arc;

/// A body is in memory as received and, while the store writes it, sealed.
const COPIES: usize = 2;
/// The share of one client is this fraction of the total.
const SHARES: usize = 4;

/// Memory taken by bodies that are being received, in bytes.
pub(super) struct BodyMemory {
    bytes: ShareLimit<ClientAddress>,
    /// The limit for one client.
    share: usize,
}

/// Memory for one body, released on drop.
pub struct Reservation {
    memory: Arc<BodyMemory>,
    client: ClientAddress,
    bytes: usize,
}

impl BodyMemory {
    /// Creates the limit; one of the largest bodies always has room.
    pub(super) fn new(limits: &HeldFormLimits) -> Arc<Self> {
        let one = limits.largest.saturating_mul(COPIES);
        let all = usize::try_from(limits.coming_in())
            .unwrap_or(usize::MAX)
            .max(one);
        Arc::new(Self {
            bytes: ShareLimit::new(all),
            share: (all / SHARES).max(one),
        })
    }

    /// Starts a reservation for a body of which nothing has been received yet.
    pub(super) fn reserve(memory: &Arc<Self>, client: ClientAddress) -> Reservation {
        Reservation {
            memory: Arc::clone(memory),
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
        let BodyMemory {
            bytes: limit,
            share,
        } = &*self.memory;
        let more = bytes.saturating_mul(COPIES).saturating_sub(self.bytes);
        if !limit.charge(self.client, more, *share) {
            return false;
        }
        if !limit.take(more) {
            limit.discharge(self.client, more);
            return false;
        }
        self.bytes += more;
        true
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.bytes.discharge(self.client, self.bytes);
        self.memory.bytes.release(self.bytes);
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
        assert!(room.bytes.is_empty(), "nobody is remembered for long");
    }
}
