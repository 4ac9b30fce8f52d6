//! The 30-day rule: which browsers need no TAN for which brokers.

use super::email::Email;
use super::time::Timestamp;
use super::vtnr::Vtnr;
use std::time::Duration;

/// What one browser has proven: by its cookie it is found, and each entry holds for one broker only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    entries: Vec<TrustEntry>,
}

/// Records that this browser confirmed an address for a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustEntry {
    /// The broker it holds for; it never passes to another.
    pub vtnr: Vtnr,
    /// The address that was confirmed; trust ends when another one is on file.
    pub email: Email,
    /// When the TAN was entered.
    pub granted_at: Timestamp,
}

/// How well a browser is known for one broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustLevel {
    /// Never confirmed an address for this broker, or the trust was revoked.
    Stranger,
    /// Confirmed one too long ago, or another address: a TAN is due, within the budgets of a trusted browser.
    Known,
    /// No TAN is due.
    Trusted,
}

impl Trust {
    /// How many brokers one browser can be trusted for; the oldest makes room.
    pub const MAX: usize = 16;

    /// The trust with these entries.
    pub fn from_entries(entries: Vec<TrustEntry>) -> Self {
        Self { entries }
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> &[TrustEntry] {
        &self.entries
    }

    /// The trust with this entry added, an older one for the same broker replaced.
    pub fn granting(mut self, entry: TrustEntry) -> Self {
        self.entries.retain(|old| old.vtnr != entry.vtnr);
        self.entries.push(entry);
        let surplus = self.entries.len().saturating_sub(Self::MAX);
        self.entries.drain(..surplus);
        self
    }

    /// How well the browser is known for this broker with this address on file. What was granted at or before `revoked_at` counts for nothing.
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
