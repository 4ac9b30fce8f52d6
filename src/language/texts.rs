//! The catalogue of a language: the words that the program renders into pages and mails.

use jiff::Zoned;
use jiff::civil;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use toml::{Table, Value};

/// The words of one language.
#[derive(Clone, Debug, Deserialize)]
pub struct Texts {
    pub time: TimeTexts,
    pub size: SizeTexts,
    pub browser: BrowserTexts,
}

/// Patterns of `strftime`, with the month's name in this language for `%B`.
#[derive(Clone, Debug, Deserialize)]
pub struct TimeTexts {
    months: [String; 12],
    /// A time of day on a page, within 12 hours.
    pub near: String,
    /// A time on a page, further off.
    pub far: String,
    pub near_second: String,
    pub far_second: String,
    /// A date in a mail.
    pub date: String,
    /// A bare time of day in a mail.
    pub clock: String,
    /// The end of a TAN's validity on the day of the mail.
    pub same_day: String,
    /// The end of a TAN's validity on another day.
    pub other_day: String,
}

/// Sizes of what brokers send.
#[derive(Clone, Debug, Deserialize)]
pub struct SizeTexts {
    kilobytes: String,
    megabytes: String,
    decimal_mark: String,
}

/// Descriptions of browsers.
#[derive(Clone, Debug, Deserialize)]
pub struct BrowserTexts {
    unknown: String,
    on_system: String,
    systems: BTreeMap<String, String>,
}

/// The reason why a catalogue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TextsError {
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The file is not TOML, or a value has another type than it must have.
    #[error("{file}:{line}: {reason}")]
    Malformed {
        file: String,
        line: usize,
        reason: String,
    },
    /// Keys are missing, unknown or unusable.
    #[error("{file}: {}", mistakes.join("; "))]
    Keys { file: String, mistakes: Vec<String> },
}

impl Texts {
    /// Parses a catalogue, and compares its keys and placeholders with those of a complete one.
    pub(super) fn parse(file: &str, catalogue: &str, complete: &str) -> Result<Self, TextsError> {
        let malformed = |error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = catalogue.bytes().take(start);
            TextsError::Malformed {
                file: file.to_owned(),
                line: before.filter(|byte| *byte == b'\n').count() + 1,
                reason: error.message().to_owned(),
            }
        };
        let known = flat(&complete.parse().map_err(malformed)?);
        let mut mistakes = differences(&flat(&catalogue.parse().map_err(malformed)?), &known);
        if mistakes.is_empty() {
            let texts: Self = toml::from_str(catalogue).map_err(malformed)?;
            mistakes = texts.time.mistakes();
            if mistakes.is_empty() {
                return Ok(texts);
            }
        }
        Err(TextsError::Keys {
            file: file.to_owned(),
            mistakes,
        })
    }
}

impl TimeTexts {
    /// Formats a time with one of these patterns.
    pub fn format(&self, pattern: &str, time: &Zoned) -> String {
        self.try_format(pattern, time).unwrap_or_default()
    }

    fn try_format(&self, pattern: &str, time: &Zoned) -> Result<String, jiff::Error> {
        let month = usize::try_from(time.month() - 1)
            .ok()
            .and_then(|month| self.months.get(month))
            .map_or("", String::as_str);
        strtime::format(pattern.replace("%B", month), time)
    }

    /// Tries every pattern in every month.
    fn mistakes(&self) -> Vec<String> {
        let patterns = [
            ("near", &self.near),
            ("far", &self.far),
            ("near_second", &self.near_second),
            ("far_second", &self.far_second),
            ("date", &self.date),
            ("clock", &self.clock),
            ("same_day", &self.same_day),
            ("other_day", &self.other_day),
        ];
        let months: Vec<Zoned> = (1..=12)
            .filter_map(|month| {
                civil::Date::new(2026, month, 1)
                    .ok()?
                    .to_zoned(TimeZone::UTC)
                    .ok()
            })
            .collect();
        let fault = |pattern: &str| {
            let mut tried = months.iter().map(|time| self.try_format(pattern, time));
            tried.find_map(Result::err)
        };
        patterns
            .into_iter()
            .filter_map(|(key, pattern)| Some(format!("`time.{key}`: {}", fault(pattern)?)))
            .collect()
    }
}

impl SizeTexts {
    /// Writes a number of bytes in kilobytes or megabytes, with one decimal at most.
    pub fn of(&self, bytes: usize) -> String {
        const KIB: usize = 1_024;
        let tenths = bytes * 10 / (KIB * KIB);
        let (unit, number) = match (tenths / 10, tenths % 10) {
            (0, _) => (&self.kilobytes, (bytes / KIB).to_string()),
            (whole, 0) => (&self.megabytes, whole.to_string()),
            (whole, tenth) => {
                let mark = &self.decimal_mark;
                (&self.megabytes, format!("{whole}{mark}{tenth}"))
            }
        };
        unit.replace("{number}", &number)
    }
}

impl BrowserTexts {
    /// Describes a browser that [`domain::browser::family`] named. A text without a slash is the description already:
    /// older versions put it into the letter.
    pub fn describe(&self, family: &str) -> String {
        let Some((name, system)) = family.split_once('/') else {
            return family.to_owned();
        };
        let name = if name.is_empty() { &self.unknown } else { name };
        match self.systems.get(system) {
            Some(system) => {
                let named = self.on_system.replace("{browser}", name);
                named.replace("{system}", system)
            }
            None => name.to_owned(),
        }
    }
}

/// All keys with their texts, such as `time.near`.
fn flat(table: &Table) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => {
                let inner = flat(inner).into_iter();
                keys.extend(inner.map(|(rest, text)| (format!("{key}.{rest}"), text)));
            }
            value => {
                keys.insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
            }
        }
    }
    keys
}

/// Names the keys that differ from those of a complete catalogue, or have other placeholders.
fn differences(
    texts: &BTreeMap<String, String>,
    complete: &BTreeMap<String, String>,
) -> Vec<String> {
    let missing = complete.keys().filter(|key| !texts.contains_key(*key));
    let missing = missing.map(|key| format!("`{key}` is missing"));
    let others = texts.iter().filter_map(|(key, text)| {
        let Some(known) = complete.get(key) else {
            return Some(format!("`{key}` is unknown"));
        };
        let (wanted, found) = (placeholders(known), placeholders(text));
        let list = wanted.iter().copied().collect::<Vec<_>>().join(", ");
        (wanted != found).then(|| format!("`{key}` must have the placeholders: {list}"))
    });
    missing.chain(others).collect()
}

/// The placeholders in a text, with their braces.
fn placeholders(text: &str) -> BTreeSet<&str> {
    text.match_indices('{')
        .filter_map(|(start, _)| {
            let rest = text.get(start..)?;
            rest.get(..=rest.find('}')?)
        })
        .collect()
}
