//! Devices: browsers that have signed in with a user key. Guesses made elsewhere do not lock its owner out of them.
//!
//! A device is not trust: it needs the password each time, and no TAN is skipped.

use super::time::Timestamp;
use super::vtnr::Vtnr;
use std::time::Duration;

/// Identifies a user key in counters and devices: the SHA-256 of its canonical form.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserMark([u8; 32]);

impl UserMark {
    pub const fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    pub const fn digest(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A truncated mark that distinguishes the users of one broker. It keeps sessions small, of which there are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserTag([u8; 3]);

impl UserTag {
    pub const fn of(mark: UserMark) -> Self {
        let [one, two, three, ..] = mark.0;
        Self([one, two, three])
    }

    /// Reads a tag of 24 bits.
    pub const fn from_number(number: u32) -> Self {
        let [_, one, two, three] = number.to_be_bytes();
        Self([one, two, three])
    }

    pub const fn number(self) -> u32 {
        let [one, two, three] = self.0;
        u32::from_be_bytes([0, one, two, three])
    }
}

/// Redacted: short user keys can be guessed from their digest.
impl std::fmt::Debug for UserMark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UserMark(…)")
    }
}

/// The user keys of one browser, identified by its cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    entries: Vec<DeviceEntry>,
}

/// Records that somebody signed in with a user key in this browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceEntry {
    pub user: UserMark,
    /// The broker of the user key; revoking it ends the entry.
    pub vtnr: Vtnr,
    pub at: Timestamp,
}

impl Device {
    /// The maximum number of user keys per browser; the least recently used one is evicted.
    pub const MAX: usize = 16;
    /// How long an entry is valid after the last sign-in. Revocations are remembered for longer.
    pub const LIFETIME: Duration = Duration::from_secs(180 * 86_400);

    pub fn from_entries(entries: Vec<DeviceEntry>) -> Self {
        Self { entries }
    }

    /// Returns the entries, least recently used first.
    pub fn entries(&self) -> &[DeviceEntry] {
        &self.entries
    }

    /// Finds the entry of this user key, unless it has expired.
    pub fn find(&self, user: UserMark, now: Timestamp) -> Option<&DeviceEntry> {
        self.entries
            .iter()
            .find(|entry| entry.user == user && now.since(entry.at) < Self::LIFETIME)
    }

    /// Returns the device after another sign-in.
    pub fn noting(mut self, entry: DeviceEntry) -> Self {
        self.entries.retain(|old| old.user != entry.user);
        self.entries.push(entry);
        let surplus = self.entries.len().saturating_sub(Self::MAX);
        self.entries.drain(..surplus);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(user: u8, at: u64) -> DeviceEntry {
        let vtnr = Vtnr::parse("60/123/4567").expect("well-formed");
        DeviceEntry {
            user: UserMark::from_digest([user; 32]),
            vtnr,
            at: Timestamp::from_millis(at),
        }
    }

    #[test]
    fn a_user_key_is_known_for_180_days_after_its_last_sign_in() {
        const DAY: u64 = 86_400_000;
        let device = Device::default()
            .noting(entry(1, 0))
            .noting(entry(2, DAY))
            .noting(entry(1, 2 * DAY));
        let known = |user, now| {
            device
                .find(
                    UserMark::from_digest([user; 32]),
                    Timestamp::from_millis(now),
                )
                .is_some()
        };
        assert!(known(1, 182 * DAY - 1) && !known(1, 182 * DAY));
        assert!(known(2, 181 * DAY - 1) && !known(2, 181 * DAY));
        assert!(!known(3, 0));
        assert_eq!(device.entries().len(), 2);
    }

    #[test]
    fn the_user_key_that_was_used_longest_ago_makes_room() {
        let all = (0..20).fold(Device::default(), |device, user| {
            device.noting(entry(user, u64::from(user)))
        });
        let users: Vec<_> = all
            .entries()
            .iter()
            .map(|entry| entry.user.digest()[0])
            .collect();
        assert_eq!(users, (4..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_tag_is_the_beginning_of_its_mark() {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&[0xab, 0xcd, 0xef, 0x12]);
        let tag = UserTag::of(UserMark::from_digest(digest));
        assert_eq!(
            (tag.number(), UserTag::from_number(0xab_cdef)),
            (0xab_cdef, tag)
        );
    }

    #[test]
    fn a_mark_does_not_show_in_a_debug_text() {
        assert_eq!(
            format!("{:?}", UserMark::from_digest([7; 32])),
            "UserMark(…)"
        );
    }
}
