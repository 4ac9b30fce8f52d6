//! What has ended since when, so that a session ticket can be judged while the store cannot be asked.
//!
//! The store's clock is read on the connection on which ends are heard, and in its order: whoever has read a time has heard
//! of every end before it. A ticket says up to when its writer had heard of ends, and that the session was not among them. So a
//! gateway that heard of all ends since, and not of this one, knows that the session lived until the store went away.

use super::super::RecordKey;
use domain::time::Timestamp;
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// RevocationLog that are remembered; what was said before those that had to be forgotten is not believed any more.
const MOST: usize = 65_536;

/// Gateways read the store's clock at different moments, but not further apart.
const FARTHEST_AHEAD: Duration = Duration::from_secs(5);

/// What has ended.
#[derive(Default)]
pub(super) struct RevocationLog {
    /// Since when, by the store's clock, all ends are known; `None` until that is read.
    since: Option<Timestamp>,
    /// Up to when.
    until: Option<Timestamp>,
    keys: HashSet<RecordKey>,
    order: VecDeque<RecordKey>,
}

impl RevocationLog {
    /// A session, or all of a broker's, has ended.
    pub(super) fn note(&mut self, key: RecordKey) {
        if self.keys.insert(key) {
            self.order.push_back(key);
        }
        if self.order.len() > MOST {
            self.missed_some();
        }
    }

    /// Some were missed, or any may be meant.
    pub(super) fn missed_some(&mut self) {
        self.since = None;
        self.keys.clear();
        self.order.clear();
    }

    /// All up to this time have been heard of.
    pub(super) fn heard_until(&mut self, time: Timestamp) {
        let is_set_back = self
            .until
            .is_some_and(|before| before.since(time) > FARTHEST_AHEAD);
        if is_set_back {
            // From here on it is earlier. What is known to have ended stays known, and nothing was missed.
            self.since = self.since.map(|since| since.min(time));
            self.until = Some(time);
        }
        // The clock of the server that took another's place may be a little behind.
        let until = self.until.map_or(time, |before| before.max(time));
        self.since.get_or_insert(until);
        self.until = Some(until);
    }

    /// As of when a ticket can be written, if it is time to: there is none, all gateways that began to listen when this one did would not
    /// believe it, or it is older than this.
    pub(super) fn token_due(&self, has: Option<Timestamp>, oldest: Duration) -> Option<Timestamp> {
        let (since, until) = (self.since?, self.until?);
        let will_do = has.is_some_and(|has| {
            has > since && until.since(has) < oldest && has.since(until) < FARTHEST_AHEAD
        });
        (!will_do).then_some(until)
    }

    /// Whether nothing is known to have ended since this time that goes by one of these names, and all that has is known.
    pub(super) fn none_since(&self, as_of: Timestamp, names: [RecordKey; 2]) -> bool {
        // In the same millisecond, which was first is not known. Nor is what a clock said that was put back since.
        let is_sound = |(since, until): (Timestamp, Timestamp)| {
            as_of > since && as_of.since(until) < FARTHEST_AHEAD
        };
        self.since.zip(self.until).is_some_and(is_sound)
            && !names.iter().any(|name| self.keys.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::vault::{Kind, Vault};
    use super::*;
    use crate::clock::Rng;
    use std::sync::LazyLock;

    static VAULT: LazyLock<Vault> = LazyLock::new(|| Vault::new(b"secret", Rng));

    const MINUTE: Duration = Duration::from_secs(60);

    fn key(number: usize) -> RecordKey {
        VAULT.name(Kind::Session, &number.to_be_bytes())
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn none_since(ends: &RevocationLog, millis: u64, number: usize) -> bool {
        ends.none_since(at(millis), [key(number), key(usize::MAX)])
    }

    #[test]
    fn what_was_known_before_all_ends_are_known_is_not_believed() {
        let mut ends = RevocationLog::default();
        assert!(!none_since(&ends, 1_000, 1), "no time was read yet");
        ends.heard_until(at(1_000));
        ends.heard_until(at(1_250));
        assert!(
            !none_since(&ends, 1_000, 1),
            "it may have ended within that millisecond"
        );
        assert!(none_since(&ends, 1_001, 1));
    }

    #[test]
    fn what_has_ended_is_not_believed_by_either_name() {
        let mut ends = RevocationLog::default();
        ends.heard_until(at(1_000));
        ends.note(key(1));
        assert!(!none_since(&ends, 2_000, 1));
        assert!(none_since(&ends, 2_000, 2));
        assert!(!ends.none_since(at(2_000), [key(2), key(1)]));
    }

    #[test]
    fn after_a_gap_only_what_was_known_since_is_believed() {
        let mut ends = RevocationLog::default();
        ends.heard_until(at(1_000));
        ends.missed_some();
        assert!(!none_since(&ends, 1_500, 1));
        ends.heard_until(at(2_000));
        assert!(!none_since(&ends, 1_500, 1));
        assert!(none_since(&ends, 2_001, 1));
    }

    #[test]
    fn a_clock_that_is_put_back_makes_nothing_older_be_believed() {
        let mut ends = RevocationLog::default();
        ends.heard_until(at(5_000));
        ends.missed_some();
        ends.heard_until(at(1_000));
        assert_eq!(ends.token_due(None, MINUTE), Some(at(5_000)));
        assert!(!none_since(&ends, 5_000, 1));
    }

    #[test]
    fn a_clock_that_is_set_far_back_is_followed_and_what_has_ended_stays_so() {
        let mut ends = RevocationLog::default();
        ends.heard_until(at(600_000));
        ends.note(key(1));
        ends.heard_until(at(300_000));
        assert_eq!(ends.token_due(Some(at(600_000)), MINUTE), Some(at(300_000)));
        assert!(!none_since(&ends, 300_100, 1) && none_since(&ends, 300_100, 2));
        assert!(
            !none_since(&ends, 600_100, 2),
            "from before, or from a clock that goes wrong"
        );
    }

    #[test]
    fn a_ticket_is_due_where_there_is_none_or_it_is_old_or_from_before_a_gap() {
        let mut ends = RevocationLog::default();
        assert_eq!(ends.token_due(None, MINUTE), None, "no time was read yet");
        ends.heard_until(at(100_000));
        ends.heard_until(at(200_000));
        assert_eq!(ends.token_due(None, MINUTE), Some(at(200_000)));
        assert_eq!(
            ends.token_due(Some(at(140_000)), MINUTE),
            Some(at(200_000)),
            "a minute old"
        );
        assert_eq!(ends.token_due(Some(at(140_001)), MINUTE), None);
        assert_eq!(
            ends.token_due(Some(at(204_999)), MINUTE),
            None,
            "by a gateway that heard it later"
        );
        assert_eq!(
            ends.token_due(Some(at(205_000)), MINUTE),
            Some(at(200_000)),
            "by a clock that was set back since"
        );
        ends.missed_some();
        assert_eq!(
            ends.token_due(None, MINUTE),
            None,
            "not as of a time before the gap"
        );
        ends.heard_until(at(200_500));
        assert_eq!(ends.token_due(Some(at(200_499)), MINUTE), Some(at(200_500)));
    }

    #[test]
    fn so_many_ends_that_they_cannot_be_remembered_are_a_gap() {
        let mut ends = RevocationLog::default();
        ends.heard_until(at(1_000));
        (0..MOST).for_each(|number| ends.note(key(number)));
        assert!(!none_since(&ends, 1_500, 0) && none_since(&ends, 1_500, MOST));
        ends.note(key(MOST));
        assert!(!none_since(&ends, 1_500, 0) && !none_since(&ends, 1_500, MOST + 1));
        ends.heard_until(at(2_000));
        assert!(none_since(&ends, 2_500, MOST + 1));
    }
}
