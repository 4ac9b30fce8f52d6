//! Times of day as the pages show them.

use crate::language::TimeTexts;
use domain::time::Timestamp;
use jiff::Zoned;
use jiff::tz::TimeZone;
use std::time::Duration;

/// Beyond this a time of day alone could mean another day.
const NEAR: Duration = Duration::from_secs(12 * 60 * 60);

/// Formats times in one time zone and language.
pub(super) struct PageClock {
    zone: TimeZone,
    texts: TimeTexts,
}

impl PageClock {
    /// Takes the IANA name of the time zone.
    pub(super) fn new(zone: &str, texts: TimeTexts) -> Result<Self, jiff::Error> {
        Ok(Self {
            zone: TimeZone::get(zone)?,
            texts,
        })
    }

    /// Formats a time like `14:17 Uhr`, or `24.11., 14:17 Uhr` if it is not within 12 hours of `now`.
    pub(super) fn time(&self, at: Timestamp, now: Timestamp) -> String {
        self.format(at, now, [&self.texts.near, &self.texts.far])
    }

    /// Like [`PageClock::time`], with the second.
    pub(super) fn to_the_second(&self, at: Timestamp, now: Timestamp) -> String {
        self.format(at, now, [&self.texts.near_second, &self.texts.far_second])
    }

    fn format(&self, at: Timestamp, now: Timestamp, [near, far]: [&str; 2]) -> String {
        let pattern = if is_near(at, now) { near } else { far };
        self.zoned(at)
            .map_or_else(String::new, |time| self.texts.format(pattern, &time))
    }

    /// Like [`PageClock::time`], rounded up to the minute, so that nobody tries again too early.
    pub(super) fn not_before(&self, at: Timestamp, now: Timestamp) -> String {
        let minute = 60_000;
        self.time(
            Timestamp::from_millis(at.as_millis().div_ceil(minute).saturating_mul(minute)),
            now,
        )
    }

    /// The year, for the footer.
    pub(super) fn year(&self, now: Timestamp) -> i16 {
        self.zoned(now).map_or(1970, |time| time.year())
    }

    fn zoned(&self, at: Timestamp) -> Option<Zoned> {
        let at = jiff::Timestamp::from_millisecond(i64::try_from(at.as_millis()).ok()?).ok()?;
        Some(at.to_zoned(self.zone.clone()))
    }
}

fn is_near(at: Timestamp, now: Timestamp) -> bool {
    at.since(now).max(now.since(at)) < NEAR
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 24 November 2025, 14:17:40 in Berlin.
    const THEN: Timestamp = Timestamp::from_millis(1_763_990_260_000);

    fn berlin() -> PageClock {
        let texts = crate::language::GERMAN.texts(None).expect("complete");
        PageClock::new("Europe/Berlin", texts.time).expect("a zone")
    }

    #[test]
    fn a_time_near_by_is_a_time_of_day() {
        assert_eq!(berlin().time(THEN, THEN), "14:17 Uhr");
        assert_eq!(
            berlin().time(THEN, THEN.plus(Duration::from_secs(11 * 3_600))),
            "14:17 Uhr"
        );
    }

    #[test]
    fn what_has_just_happened_has_its_second() {
        assert_eq!(berlin().to_the_second(THEN, THEN), "14:17:40 Uhr");
        assert_eq!(
            berlin().to_the_second(THEN, Timestamp::from_millis(0)),
            "24.11., 14:17:40 Uhr"
        );
    }

    #[test]
    fn a_time_far_off_has_its_date() {
        assert_eq!(
            berlin().time(THEN, Timestamp::from_millis(THEN.as_millis() - 43_200_000)),
            "24.11., 14:17 Uhr"
        );
    }

    #[test]
    fn whoever_waits_is_told_the_full_minute_after() {
        assert_eq!(berlin().not_before(THEN, THEN), "14:18 Uhr");
        assert_eq!(
            berlin().not_before(Timestamp::from_millis(1_763_990_220_000), THEN),
            "14:17 Uhr"
        );
    }

    #[test]
    fn summer_time_and_the_turn_of_the_year_are_those_of_the_zone() {
        let july = Timestamp::from_millis(1_751_371_200_000);
        assert_eq!(berlin().time(july, july), "14:00 Uhr");
        let new_year = Timestamp::from_millis(1_767_222_000_000);
        assert_eq!(
            (berlin().time(new_year, new_year), berlin().year(new_year)),
            ("0:00 Uhr".into(), 2026)
        );
    }

    #[test]
    fn the_end_of_time_is_written_as_nothing() {
        let end = Timestamp::from_millis(u64::MAX);
        assert_eq!(
            (berlin().time(end, THEN), berlin().not_before(end, THEN)),
            (String::new(), String::new())
        );
        assert_eq!(berlin().year(end), 1970);
    }
}
