//! `[parking]`

use super::super::kinds::{duration, minutes, size};
use super::super::read::Reader;
use domain::held_form::HeldFormLimits;
use std::time::Duration;

const LARGEST: &str = "parking.largest";
const PER_CLIENT: &str = "parking.per_client";
const TOTAL: &str = "parking.total";
const TIB: u64 = 1 << 40;

/// Extra time, after connecting, until a claimed form was sent or put back.
const SETTLES: Duration = Duration::from_secs(2);

/// Reads `[parking]`; `connecting` is the upper bound for connecting to the calculator.
pub(super) fn parking(
    reader: &mut Reader<'_>,
    connecting: Option<Duration>,
) -> Option<HeldFormLimits> {
    let lifetime = reader.or(
        "parking.lifetime",
        "15m",
        duration(minutes(1)..=minutes(60)),
    );
    let largest = reader.or(LARGEST, "1MiB", size(0..=HeldFormLimits::MAX_BODY as u64));
    let per_client = reader.or(PER_CLIENT, "16MiB", size(0..=TIB));
    let total = reader.or(TOTAL, "256MiB", size(0..=TIB));
    let largest = largest?;
    let per_client = per_client?;
    let total = total?;
    if (1..HeldFormLimits::MIN_COUNTED).contains(&largest) {
        reader.mistake(
            LARGEST,
            "must be 0B, which keeps none, or at least 4KiB, the size that the smallest form counts",
        );
    }
    if per_client < largest {
        reader.mistake(
            PER_CLIENT,
            format!("must not be less than {LARGEST}, or such a form could never be kept"),
        );
    }
    if total < 2 * per_client {
        reader.mistake(TOTAL, format!("must be at least twice {PER_CLIENT}"));
    }
    Some(HeldFormLimits {
        lifetime: lifetime?,
        largest: usize::try_from(largest).ok()?,
        per_client,
        total,
        settles: connecting? + SETTLES,
    })
}
