//! The sessions that have ended, so that an offline token can be judged while the store is down.
//!
//! The store's clock is read on the connection that carries the invalidations, and in order: a
//! gateway that has read a time (a watermark) has seen every end before it. An offline token is
//! dated with the watermark of its issuer, and proves that the session had not ended by then. A
//! gateway that has seen every end since, and not that of this session, knows that the session was
//! alive when the store went down.

use crate::store::RecordKey;
use domain::time::Timestamp;
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// Capacity of the log. On overflow everything is forgotten, and older tokens are refused.
const MAX: usize = 65_536;

/// Limits how far the watermarks of two gateways may lie apart, which read the store's clock at
/// different moments.
const FARTHEST_AHEAD: Duration = Duration::from_secs(5);

/// Ended sessions and revoked brokers, complete from `since` to `until`.
#[derive(Default)]
pub(super) struct RevocationLog {
    /// The watermark from which on all ends are known; `None` before the first.
    since: Option<Timestamp>,
    /// The latest watermark that arrived.
    until: Option<Timestamp>,
    keys: HashSet<RecordKey>,
    order: VecDeque<RecordKey>,
}

impl RevocationLog {
    /// Adds an ended session, or a broker's revocation.
    pub(super) fn note(&mut self, key: RecordKey) {
        if self.keys.insert(key) {
            self.order.push_back(key);
        }
        if self.order.len() > MAX {
            self.note_gap();
        }
    }

    /// Starts the log anew: ends were missed, or any session may have ended.
    pub(super) fn note_gap(&mut self) {
        self.since = None;
        self.keys.clear();
        self.order.clear();
    }

    /// Records that every end up to this time has been seen.
    pub(super) fn note_watermark(&mut self, time: Timestamp) {
        let is_set_back = self
            .until
            .is_some_and(|before| before.since(time) > FARTHEST_AHEAD);
        if is_set_back {
            // Time restarts earlier. Known ends stay known, and nothing was missed.
            self.since = self.since.map(|since| since.min(time));
            self.until = Some(time);
        }
        // A newly promoted server's clock may be slightly behind.
        let until = self.until.map_or(time, |before| before.max(time));
        self.since.get_or_insert(until);
        self.until = Some(until);
    }

    /// Returns the date of a new offline token if one is due: the browser has none, its token is
    /// older than `oldest`, or gateways that subscribed when this one did would refuse it.
    pub(super) fn token_due(&self, has: Option<Timestamp>, oldest: Duration) -> Option<Timestamp> {
        let since = self.since?;
        let until = self.until?;
        let will_do = has.is_some_and(|has| {
            has > since && until.since(has) < oldest && has.since(until) < FARTHEST_AHEAD
        });
        (!will_do).then_some(until)
    }

    /// Returns whether the log is complete since `as_of` and has none of these names.
    pub(super) fn none_since(&self, as_of: Timestamp, names: [RecordKey; 2]) -> bool {
        // Within one millisecond the order is unknown, and dates ahead of the watermark stem from a
        // clock that was set back.
        let is_complete = |(since, until): (Timestamp, Timestamp)| {
            as_of > since && as_of.since(until) < FARTHEST_AHEAD
        };
        self.since.zip(self.until).is_some_and(is_complete)
            && !names.iter().any(|name| self.keys.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Rng;
    use crate::store::vault::{Kind, Vault};
    use std::sync::LazyLock;

    static VAULT: LazyLock<Vault> = LazyLock::new(|| Vault::new(b"secret", Rng));

    const MINUTE: Duration = Duration::from_secs(60);

    fn key(number: usize) -> RecordKey {
        VAULT.name(Kind::Session, &number.to_be_bytes())
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn none_since(log: &RevocationLog, millis: u64, number: usize) -> bool {
        log.none_since(at(millis), [key(number), key(usize::MAX)])
    }

    #[test]
    fn what_was_known_before_all_ends_are_known_is_not_believed() {
        let mut log = RevocationLog::default();
        assert!(!none_since(&log, 1_000, 1), "no time was read yet");
        log.note_watermark(at(1_000));
        log.note_watermark(at(1_250));
        assert!(
            !none_since(&log, 1_000, 1),
            "it may have ended within that millisecond"
        );
        assert!(none_since(&log, 1_001, 1));
    }

    #[test]
    fn what_has_ended_is_not_believed_by_either_name() {
        let mut log = RevocationLog::default();
        log.note_watermark(at(1_000));
        log.note(key(1));
        assert!(!none_since(&log, 2_000, 1));
        assert!(none_since(&log, 2_000, 2));
        assert!(!log.none_since(at(2_000), [key(2), key(1)]));
    }

    #[test]
    fn after_a_gap_only_what_was_known_since_is_believed() {
        let mut log = RevocationLog::default();
        log.note_watermark(at(1_000));
        log.note_gap();
        assert!(!none_since(&log, 1_500, 1));
        log.note_watermark(at(2_000));
        assert!(!none_since(&log, 1_500, 1));
        assert!(none_since(&log, 2_001, 1));
    }

    #[test]
    fn a_clock_that_is_put_back_makes_nothing_older_be_believed() {
        let mut log = RevocationLog::default();
        log.note_watermark(at(5_000));
        log.note_gap();
        log.note_watermark(at(1_000));
        assert_eq!(log.token_due(None, MINUTE), Some(at(5_000)));
        assert!(!none_since(&log, 5_000, 1));
    }

    #[test]
    fn a_clock_that_is_set_far_back_is_followed_and_what_has_ended_stays_so() {
        let mut log = RevocationLog::default();
        log.note_watermark(at(600_000));
        log.note(key(1));
        log.note_watermark(at(300_000));
        assert_eq!(log.token_due(Some(at(600_000)), MINUTE), Some(at(300_000)));
        assert!(!none_since(&log, 300_100, 1) && none_since(&log, 300_100, 2));
        assert!(
            !none_since(&log, 600_100, 2),
            "from before, or from a clock that goes wrong"
        );
    }

    #[test]
    fn an_offline_token_is_due_where_there_is_none_or_it_is_old_or_from_before_a_gap() {
        let mut log = RevocationLog::default();
        assert_eq!(log.token_due(None, MINUTE), None, "no time was read yet");
        log.note_watermark(at(100_000));
        log.note_watermark(at(200_000));
        assert_eq!(log.token_due(None, MINUTE), Some(at(200_000)));
        assert_eq!(
            log.token_due(Some(at(140_000)), MINUTE),
            Some(at(200_000)),
            "a minute old"
        );
        assert_eq!(log.token_due(Some(at(140_001)), MINUTE), None);
        assert_eq!(
            log.token_due(Some(at(204_999)), MINUTE),
            None,
            "by a gateway that heard it later"
        );
        assert_eq!(
            log.token_due(Some(at(205_000)), MINUTE),
            Some(at(200_000)),
            "by a clock that was set back since"
        );
        log.note_gap();
        assert_eq!(
            log.token_due(None, MINUTE),
            None,
            "not as of a time before the gap"
        );
        log.note_watermark(at(200_500));
        assert_eq!(log.token_due(Some(at(200_499)), MINUTE), Some(at(200_500)));
    }

    #[test]
    fn so_many_ends_that_they_cannot_be_remembered_are_a_gap() {
        let mut log = RevocationLog::default();
        log.note_watermark(at(1_000));
        (0..MAX).for_each(|number| log.note(key(number)));
        assert!(!none_since(&log, 1_500, 0) && none_since(&log, 1_500, MAX));
        log.note(key(MAX));
        assert!(!none_since(&log, 1_500, 0) && !none_since(&log, 1_500, MAX + 1));
        log.note_watermark(at(2_000));
        assert!(none_since(&log, 2_500, MAX + 1));
    }
}
