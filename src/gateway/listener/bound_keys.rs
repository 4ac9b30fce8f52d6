//! Connections to a server that belong to one connection of a client's.

use crate::digest::sha256;
use domain::ids::SessionToken;
use domain::vtnr::Vtnr;
use parking_lot::Mutex;
use std::net::IpAddr;

/// Whom a server may have signed in on a connection. Several may come on one connection of a client's: one after another, as when somebody
/// signs out, or by turns, as with a front proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    broker: Option<Vtnr>,
    /// A digest of the session's token: colleagues may share a VTNR and an address.
    session: Option<[u8; 32]>,
    client: IpAddr,
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Owner")
    }
}

impl Owner {
    pub(crate) fn new(
        broker: Option<Vtnr>,
        session: Option<&SessionToken>,
        client: IpAddr,
    ) -> Self {
        Self {
            broker,
            session: session.map(|token| sha256(token.reveal())),
            client,
        }
    }
}

/// The keys of such connections; they are forgotten with the client's connection.
#[derive(Debug, Default)]
pub(crate) struct BoundKeys(Mutex<Vec<Bound>>);

#[derive(Debug)]
struct Bound {
    class: u64,
    key: u64,
    owner: Owner,
}

/// So many are kept for one connection of a client's. A browser needs one at a time over HTTP/1.1.
const MAX: usize = 8;

impl BoundKeys {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// The key of the owner's connection of this class that was used last.
    pub(crate) fn take(&self, class: u64, owner: Owner) -> Option<u64> {
        let mut all = self.0.lock();
        let at = all
            .iter()
            .rposition(|bound| bound.class == class && bound.owner == owner)?;
        Some(all.remove(at).key)
    }

    /// The owner may take this connection again, and nobody else.
    pub(crate) fn put(&self, class: u64, key: u64, owner: Owner) {
        let mut all = self.0.lock();
        if all.len() >= MAX {
            all.remove(0);
        }
        all.push(Bound { class, key, owner });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn owner(broker: u32, session: u8, client: u8) -> Owner {
        let token = SessionToken::from_bytes([session; 32]);
        Owner::new(
            Vtnr::from_number(broker).ok(),
            Some(&token),
            IpAddr::from([192, 0, 2, client]),
        )
    }

    #[test]
    fn only_its_owner_takes_a_bound_connection_and_once() {
        let (keys, ada) = (BoundKeys::default(), owner(601_234_567, 1, 1));
        keys.put(7, 1, ada);
        let stranger = Owner::new(None, None, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        let others = [
            ("broker", owner(601_234_568, 1, 1)),
            ("session", owner(601_234_567, 2, 1)),
            ("client", owner(601_234_567, 1, 2)),
            ("nobody", stranger),
        ];
        for (what, other) in others {
            assert_eq!(keys.take(7, other), None, "another {what}");
        }
        assert_eq!(keys.take(8, ada), None, "another server");
        assert_eq!(
            (keys.take(7, ada), keys.take(7, ada), keys.is_empty()),
            (Some(1), None, true)
        );
    }

    #[test]
    fn the_bound_connection_used_last_is_taken_first_and_the_oldest_are_forgotten() {
        let (keys, ada) = (BoundKeys::default(), owner(601_234_567, 1, 1));
        (0..20).for_each(|key| keys.put(7, key, ada));
        let taken: Vec<_> = std::iter::from_fn(|| keys.take(7, ada)).collect();
        assert_eq!(taken, [19, 18, 17, 16, 15, 14, 13, 12]);
    }
}
