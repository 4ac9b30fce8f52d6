//! Trust: browsers that need no TAN for a broker for 30 days.

use super::email::Email;
use super::time::Timestamp;
use super::vtnr::Vtnr;
use std::time::Duration;

/// The addresses that one browser, identified by its cookie, has confirmed. Each entry is valid for one broker only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    entries: Vec<TrustEntry>,
}

/// Records that this browser confirmed an address for a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustEntry {
    pub vtnr: Vtnr,
    /// The confirmed address; trust ends when another one is on file.
    pub email: Email,
    /// The time of the TAN's entry.
    pub granted_at: Timestamp,
}

/// A browser's trust level for one broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustLevel {
    /// No address confirmed for this broker, or trust revoked.
    Stranger,
    /// Confirmed too long ago, or another address: needs a TAN, with the budgets of known browsers.
    Known,
    /// Needs no TAN.
    Trusted,
}

impl Trust {
    /// The maximum number of brokers per browser; the oldest entry is evicted.
    pub const MAX: usize = 16;

    pub fn from_entries(entries: Vec<TrustEntry>) -> Self {
        Self { entries }
    }

    /// Returns the entries, oldest first.
    pub fn entries(&self) -> &[TrustEntry] {
        &self.entries
    }

    /// Adds an entry, replacing an older one for the same broker.
    pub fn granting(mut self, entry: TrustEntry) -> Self {
        self.entries.retain(|old| old.vtnr != entry.vtnr);
        self.entries.push(entry);
        let surplus = self.entries.len().saturating_sub(Self::MAX);
        self.entries.drain(..surplus);
        self
    }

    /// Returns the trust level for this broker, with this address on file. Entries granted at or before `revoked_at` do not count.
    pub fn trust_level(
        &self,
        vtnr: Vtnr,
        email: &Email,
        lifetime: Duration,
        revoked_at: Option<Timestamp>,
        now: Timestamp,
    ) -> TrustLevel {
        let entry = self.entries.iter().find(|entry| entry.vtnr == vtnr);
        let Some(entry) =
            entry.filter(|entry| revoked_at.is_none_or(|revoked| entry.granted_at > revoked))
        else {
            return TrustLevel::Stranger;
        };
        if entry.email == *email && now.since(entry.granted_at) < lifetime {
            TrustLevel::Trusted
        } else {
            TrustLevel::Known
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAYS_30: Duration = Duration::from_secs(30 * 86_400);
    const DAY: u64 = 86_400_000;

    fn vtnr(text: &str) -> Vtnr {
        Vtnr::parse(text).expect("well-formed")
    }

    fn email(text: &str) -> Email {
        Email::parse(text).expect("well-formed")
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn entry(number: &str, granted: u64) -> TrustEntry {
        TrustEntry {
            vtnr: vtnr(number),
            email: email("a@b.de"),
            granted_at: at(granted),
        }
    }

    #[test]
    fn trust_holds_for_30_days_for_one_broker_and_one_address() {
        let trust = Trust::default().granting(entry("60/123/4567", DAY));
        let trust_level = |number, address, now| {
            trust.trust_level(vtnr(number), &email(address), DAYS_30, None, at(now))
        };
        assert_eq!(
            trust_level("60/123/4567", "A@B.de", DAY),
            TrustLevel::Trusted
        );
        assert_eq!(
            trust_level("60/123/4567", "a@b.de", 31 * DAY - 1),
            TrustLevel::Trusted
        );
        assert_eq!(
            trust_level("60/123/4567", "a@b.de", 31 * DAY),
            TrustLevel::Known
        );
        assert_eq!(
            trust_level("60/123/4567", "new@b.de", DAY),
            TrustLevel::Known
        );
        assert_eq!(
            trust_level("60/123/4568", "a@b.de", DAY),
            TrustLevel::Stranger
        );
    }

    #[test]
    fn revocation_ends_what_was_granted_before_it() {
        let trust = Trust::default().granting(entry("60/123/4567", 100));
        let trust_level = |revoked| {
            trust.trust_level(
                vtnr("60/123/4567"),
                &email("a@b.de"),
                DAYS_30,
                revoked,
                at(200),
            )
        };
        assert_eq!(trust_level(Some(at(100))), TrustLevel::Stranger);
        assert_eq!(trust_level(Some(at(99))), TrustLevel::Trusted);
    }

    #[test]
    fn the_oldest_entry_makes_room_and_a_new_one_replaces_the_same_brokers() {
        let trust = (0..20).fold(Trust::default(), |trust, n| {
            trust.granting(entry(&format!("60/123/{n:04}"), n))
        });
        assert_eq!(trust.entries().len(), Trust::MAX);
        assert_eq!(trust.entries()[0].granted_at, at(4));
        let trust = trust.granting(entry("60/123/0010", 99));
        assert_eq!(
            trust
                .entries()
                .iter()
                .filter(|e| e.vtnr == vtnr("60/123/0010"))
                .count(),
            1
        );
        assert_eq!(trust.entries().len(), Trust::MAX);
    }
}
