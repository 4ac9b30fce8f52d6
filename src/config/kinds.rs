//! Value types: each function reads one, or returns the mistake for the operator.

use super::document::Value;
use domain::throttle::Allowance;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

pub(super) const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

pub(super) const fn minutes(number: u64) -> Duration {
    Duration::from_secs(number * 60)
}

pub(super) const fn hours(number: u64) -> Duration {
    Duration::from_secs(number * HOUR)
}

pub(super) const fn days(number: u64) -> Duration {
    Duration::from_secs(number * DAY)
}

pub(super) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        _ => Err("must be text in quotes".to_owned()),
    }
}

/// Reads a non-empty single line.
pub(super) fn line(value: &Value) -> Result<String, String> {
    const LONGEST: usize = 200;
    let text = text(value)?;
    if text.trim().is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.chars().count() > LONGEST || text.chars().any(char::is_control) {
        return Err(format!("must be one line of at most {LONGEST} characters"));
    }
    Ok(text)
}

pub(super) fn flag(value: &Value) -> Result<bool, String> {
    match value {
        Value::Flag(flag) => Ok(*flag),
        _ => Err("must be true or false, without quotes".to_owned()),
    }
}

/// Reads an integer within a range.
pub(super) fn number<T: TryFrom<i64>>(
    range: RangeInclusive<i64>,
) -> impl Fn(&Value) -> Result<T, String> {
    move |value| {
        let Value::Number(number) = value else {
            return Err("must be a whole number, without quotes".to_owned());
        };
        let allowed = || {
            format!(
                "{number} is not between {} and {}",
                range.start(),
                range.end()
            )
        };
        if !range.contains(number) {
            return Err(allowed());
        }
        T::try_from(*number).map_err(|_| allowed())
    }
}

/// Reads one of a fixed set of words.
pub(super) fn word<T: Copy + 'static>(
    words: &'static [(&'static str, T)],
) -> impl Fn(&Value) -> Result<T, String> {
    move |value| {
        let text = text(value)?;
        let known = || {
            words
                .iter()
                .map(|(word, _)| format!("\"{word}\""))
                .collect::<Vec<_>>()
                .join(" or ")
        };
        let found = words.iter().find(|(word, _)| *word == text);
        found
            .map(|(_, meaning)| *meaning)
            .ok_or_else(|| format!("{} is not {}", quoted(&text), known()))
    }
}

/// Reads a duration within a range, such as `"15m"`.
pub(super) fn duration(
    range: RangeInclusive<Duration>,
) -> impl Fn(&Value) -> Result<Duration, String> {
    move |value| {
        let Value::Text(text) = value else {
            return Err("must be a duration in quotes, such as \"15m\"".to_owned());
        };
        let duration = length_of_time(text)?;
        if duration < *range.start() {
            return Err(format!(
                "{text} is shorter than the minimum, {}",
                shown(*range.start())
            ));
        }
        if duration > *range.end() {
            return Err(format!(
                "{text} is longer than the maximum, {}",
                shown(*range.end())
            ));
        }
        Ok(duration)
    }
}

fn length_of_time(text: &str) -> Result<Duration, String> {
    let unreadable = || {
        format!(
            "{} is not a duration, such as \"500ms\", \"30s\", \"15m\", \"12h\" or \"30d\"",
            quoted(text)
        )
    };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = Some(digits)
        .filter(|d| d.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|d| d.parse().ok())
        .ok_or_else(unreadable)?;
    let unit = match text.strip_prefix(digits) {
        Some("ms") => return Ok(Duration::from_millis(number)),
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => HOUR,
        Some("d") => DAY,
        _ => return Err(unreadable()),
    };
    number
        .checked_mul(unit)
        .map(Duration::from_secs)
        .ok_or_else(unreadable)
}

/// Formats a duration as an operator would write it.
pub(super) fn shown(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (unit, name) = match seconds {
        _ if duration.subsec_millis() > 0 => return format!("{}ms", duration.as_millis()),
        s if s > DAY && s % DAY == 0 => (DAY, "d"),
        s if s > 0 && s % HOUR == 0 => (HOUR, "h"),
        s if s > 0 && s % 60 == 0 => (60, "m"),
        _ => (1, "s"),
    };
    format!("{}{name}", seconds / unit)
}

/// Reads a size in bytes within a range, such as `"1MiB"`.
pub(super) fn size(range: RangeInclusive<u64>) -> impl Fn(&Value) -> Result<u64, String> {
    move |value| {
        let Value::Text(text) = value else {
            return Err("must be a size in quotes, such as \"512KiB\" or \"1MiB\"".to_owned());
        };
        let size = bytes(text).ok_or_else(|| {
            format!(
                "{} is not a size, such as \"512KiB\" or \"1MiB\"",
                quoted(text)
            )
        })?;
        if !range.contains(&size) {
            return Err(format!(
                "{text} is not between {} and {}",
                shown_size(*range.start()),
                shown_size(*range.end())
            ));
        }
        Ok(size)
    }
}

fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = Some(digits)
        .filter(|d| d.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|d| d.parse().ok())?;
    let shift = match text.strip_prefix(digits)? {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// Formats a size as an operator would write it.
fn shown_size(size: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units
        .into_iter()
        .find(|(shift, _)| size > 0 && size.is_multiple_of(1 << shift));
    unit.map_or_else(
        || format!("{size}B"),
        |(shift, name)| format!("{}{name}", size >> shift),
    )
}

/// Reads a rate limit, such as `"10 in 24h"`.
pub(super) fn allowance(value: &Value) -> Result<Allowance, String> {
    let text = text(value)?;
    let unreadable = || format!("{} is not a limit, such as \"10 in 24h\"", quoted(&text));
    let (limit, window) = text.split_once(" in ").ok_or_else(unreadable)?;
    let limit: u32 = limit.trim().parse().map_err(|_| unreadable())?;
    if limit == 0 {
        return Err("0 would lock everybody out; the minimum is 1".to_owned());
    }
    let window = duration(seconds(1)..=days(90))(&Value::from(window.trim()))?;
    Ok(Allowance { limit, window })
}

/// Reads a socket address to listen on.
pub(super) fn address(value: &Value) -> Result<SocketAddr, String> {
    let text = text(value)?;
    text.parse().map_err(|_| {
        format!(
            "{} is not an IP address with a port, such as \"127.0.0.1:8080\" or \"[::]:8443\"",
            quoted(&text)
        )
    })
}

/// Reads a path without a query, as in a request.
pub(super) fn path(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    let shown = quoted(&text);
    if !text.starts_with('/') {
        return Err(format!("{shown} must begin with /"));
    }
    if text.contains(['?', '#']) {
        return Err(format!(
            "{shown} has a query or fragment; give the path only"
        ));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "{shown} has spaces or non-ASCII characters; write them as %XX"
        ));
    }
    if text.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(format!(
            "{shown} has dot segments, which browsers resolve; remove them"
        ));
    }
    Ok(text)
}

/// Quotes operator text in a message: shortened, on one line.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    let short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() {
        format!("{short:?}…")
    } else {
        format!("{short:?}")
    }
}
