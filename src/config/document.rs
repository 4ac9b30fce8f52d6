//! Parsed TOML: every value by its full key, with its line number.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use toml::de::{DeArray, DeTable, DeValue};

/// TOML value, as far as any key uses its type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
    /// Elements with their line numbers.
    List(Vec<(usize, Value)>),
    /// Float, date, number out of range, or table in a list: no key accepts one.
    Foreign,
}

/// Values by full keys, such as `listen.tls.cert`.
#[derive(Default)]
pub(super) struct Document {
    pub(super) values: BTreeMap<String, Value>,
    /// Line numbers of keys and sections.
    pub(super) lines: BTreeMap<String, usize>,
    pub(super) sections: BTreeSet<String>,
    /// TOML syntax errors with their lines.
    pub(super) faults: Vec<(usize, String)>,
}

impl Document {
    /// Parses as much as possible; the rest is in [`Document::faults`]. A fault never quotes the text, which may
    /// contain a secret.
    pub(super) fn parse(text: &str) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let lines = DocumentLines::of(text);
        let fault = |error: toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start);
            (lines.at(at), error.message().to_owned())
        };
        let mut document = Self {
            faults: errors.into_iter().map(fault).collect(),
            ..Self::default()
        };
        document.add("", table.get_ref(), &lines);
        document
    }

    fn add(&mut self, section: &str, table: &DeTable<'_>, lines: &DocumentLines) {
        for (key, value) in table {
            let name = written(key.get_ref());
            let full = if section.is_empty() {
                name.into_owned()
            } else {
                format!("{section}.{name}")
            };
            self.lines.insert(full.clone(), lines.at(key.span().start));
            if let DeValue::Table(inner) = value.get_ref() {
                self.sections.insert(full.clone());
                self.add(&full, inner, lines);
            } else {
                self.values.insert(full, Value::of(value.get_ref(), lines));
            }
        }
    }
}

/// Quoted keys keep their quotes: `"listen.http"` is not `listen.http`.
fn written(key: &str) -> Cow<'_, str> {
    let bare = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if bare {
        Cow::Borrowed(key)
    } else {
        Cow::Owned(format!("{key:?}"))
    }
}

struct DocumentLines(Vec<usize>);

impl DocumentLines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at + 1).collect())
    }

    /// Line number of a byte offset, from 1.
    fn at(&self, byte: usize) -> usize {
        self.0.partition_point(|start| *start <= byte) + 1
    }
}

impl Value {
    fn of(value: &DeValue<'_>, lines: &DocumentLines) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Self::Foreign, Self::Number),
            DeValue::Boolean(flag) => Self::Flag(*flag),
            DeValue::Array(array) => Self::List(elements(array, lines)),
            DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => Self::Foreign,
        }
    }
}

fn elements(array: &DeArray<'_>, lines: &DocumentLines) -> Vec<(usize, Value)> {
    array
        .iter()
        .map(|element| {
            (
                lines.at(element.span().start),
                Value::of(element.get_ref(), lines),
            )
        })
        .collect()
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::List(elements) => {
                let elements: Vec<_> = elements
                    .iter()
                    .map(|(_, element)| element.to_string())
                    .collect();
                write!(f, "[{}]", elements.join(", "))
            }
            Self::Foreign => f.write_str("…"),
        }
    }
}
