//! The reader: typed keys are taken out of a document, and what goes wrong is remembered, not thrown.
//!
//! Whoever takes keys takes all of them before building anything, so that every mistake is found and
//! the list of keys that exist is the list of keys that were asked for.

use super::document::{Document, Value};
use super::mistakes::{Mistake, Mistakes};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A key that the configuration knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDoc {
    /// The full name, such as `login.tan_lifetime`.
    pub name: &'static str,
    /// What holds when it is not given.
    pub absent: Absent,
}

/// What holds when a key is not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    Mistake,
    /// Nothing; or, of two keys that stand for each other, the other one is needed.
    Nothing,
    /// The value as it would be written.
    Default(String),
}

/// Where a configuration comes from.
#[derive(Clone, Copy)]
pub(super) struct ConfigOrigin<'a> {
    /// What messages call it.
    pub(super) file: &'a str,
    /// What names of files in it are relative to.
    pub(super) base: &'a Path,
    /// Whether others than the operator can read it.
    pub(super) exposure: Exposure,
}

/// Who can read or write the configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Exposure {
    /// The owner, as far as is known.
    Owner,
    Others,
    /// Others can write the file too.
    Writable,
}

/// Takes typed values out of a document.
pub(super) struct Reader<'a> {
    origin: ConfigOrigin<'a>,
    document: Document,
    asked: Vec<KeyDoc>,
    mistakes: Vec<Mistake>,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    /// A reader of `text`.
    pub(super) fn new(origin: ConfigOrigin<'a>, text: &str) -> Self {
        let document = Document::parse(text);
        Self {
            origin,
            document,
            asked: Vec::new(),
            mistakes: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// A key that must be given.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        kind: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        self.asked.push(KeyDoc {
            name: key,
            absent: Absent::Mistake,
        });
        if !self.document.values.contains_key(key) {
            self.missing(key, "is missing");
        }
        self.taken(key, kind)
    }

    /// A key that may be given.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        kind: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        self.asked.push(KeyDoc {
            name: key,
            absent: Absent::Nothing,
        });
        self.taken(key, kind)
    }

    /// A key with a default, which is written like a value that was given. It also stands in for one that
    /// is wrong, so that what depends on it can still be judged.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: impl Into<Value>,
        kind: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let default = default.into();
        self.asked.push(KeyDoc {
            name: key,
            absent: Absent::Default(default.to_string()),
        });
        self.taken(key, &kind).or_else(|| kind(&default).ok())
    }

    /// A key whose absence means what `default` says, which is for the caller to put into effect.
    pub(super) fn told<T>(
        &mut self,
        key: &'static str,
        default: &str,
        kind: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        self.asked.push(KeyDoc {
            name: key,
            absent: Absent::Default(default.to_owned()),
        });
        self.taken(key, kind)
    }

    /// A list of texts, each judged for itself; empty when the key is not given.
    pub(super) fn list(
        &mut self,
        key: &'static str,
        kind: impl Fn(&Value) -> Result<String, String>,
    ) -> Option<Vec<String>> {
        let elements = self.or(key, Value::List(Vec::new()), elements)?;
        Some(self.judged(key, elements, kind))
    }

    /// One text or a list of texts, each judged for itself; empty when the key is not given.
    pub(super) fn one_or_more(
        &mut self,
        key: &'static str,
        kind: impl Fn(&Value) -> Result<String, String>,
    ) -> Option<Vec<String>> {
        let line = self.line(key).unwrap_or_default();
        let elements = self.or(key, Value::List(Vec::new()), |value| {
            Ok(one_or_more(line, value))
        })?;
        Some(self.judged(key, elements, kind))
    }

    /// One text or a list of at least one, each judged for itself; none if one is wrong.
    pub(super) fn required_one_or_more<T>(
        &mut self,
        key: &'static str,
        kind: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let line = self.line(key).unwrap_or_default();
        let elements = self.required(key, |value| at_least_one(line, value))?;
        self.all_judged(key, elements, kind)
    }

    /// A list of at least one text, each judged for itself.
    pub(super) fn required_list(
        &mut self,
        key: &'static str,
        kind: impl Fn(&Value) -> Result<String, String>,
    ) -> Option<Vec<String>> {
        let elements = self.required(key, |value| match elements(value)? {
            elements if elements.is_empty() => Err(NONE_NAMED.to_owned()),
            elements => Ok(elements),
        })?;
        Some(self.judged(key, elements, kind))
    }

    /// Like `one_or_more`, for a key that may be missing.
    pub(super) fn optional_one_or_more<T>(
        &mut self,
        key: &'static str,
        kind: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let line = self.line(key).unwrap_or_default();
        let elements = self.optional(key, |value| at_least_one(line, value))?;
        self.all_judged(key, elements, kind)
    }

    fn all_judged<T>(
        &mut self,
        key: &str,
        elements: Vec<(usize, Value)>,
        kind: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let given = elements.len();
        Some(self.judged(key, elements, kind)).filter(|sound| sound.len() == given)
    }

    fn judged<T>(
        &mut self,
        key: &str,
        elements: Vec<(usize, Value)>,
        kind: impl Fn(&Value) -> Result<T, String>,
    ) -> Vec<T> {
        let mut sound = Vec::with_capacity(elements.len());
        for (line, element) in elements {
            match kind(&element) {
                Ok(value) => sound.push(value),
                Err(what) => {
                    self.mistakes
                        .push(Mistake::new(self.origin.file, Some(line), Some(key), what))
                }
            }
        }
        sound
    }

    fn taken<T>(&mut self, key: &str, kind: impl FnOnce(&Value) -> Result<T, String>) -> Option<T> {
        let value = self.document.values.remove(key)?;
        kind(&value).map_err(|what| self.mistake(key, what)).ok()
    }

    /// Records a mistake at a key, or at its section when the key is not given.
    pub(super) fn mistake(&mut self, key: &str, what: impl Into<String>) {
        let line = self.line(key);
        self.mistakes
            .push(Mistake::new(self.origin.file, line, Some(key), what));
    }

    /// Records that something is not given. Not after a syntax error: it may have been given in what could not be read.
    pub(super) fn missing(&mut self, key: &str, what: impl Into<String>) {
        if self.document.faults.is_empty() {
            self.mistake(key, what);
        }
    }

    /// Warns of a secret that others can read along with the configuration it stands in, and refuses one that they can write.
    pub(super) fn look_at_exposure(&mut self, key: &str, instead: &str) {
        if self.origin.exposure == Exposure::Writable {
            self.mistake(
                key,
                "is a secret in a file that others than its owner can write; chmod 600 it",
            );
        }
        if self.origin.exposure == Exposure::Others {
            self.warn(key, &format!("is a secret in a file that others than its owner can read; chmod 600 it, or use {instead}"));
        }
    }

    /// Records what is allowed and yet unwise.
    pub(super) fn warn(&mut self, key: &str, what: &str) {
        let line = self.line(key);
        self.warnings
            .push(Mistake::new(self.origin.file, line, Some(key), what).to_string());
    }

    /// Whether the operator wrote the key, soundly or not.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.document.lines.contains_key(key)
    }

    /// Whether the operator wrote the section.
    pub(super) fn has_section(&self, name: &str) -> bool {
        self.document.sections.iter().any(|section| section == name)
    }

    /// A file name as it is to be opened.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.origin.base.join(name)
    }

    fn line(&self, key: &str) -> Option<usize> {
        let mut place = key;
        loop {
            if let Some(line) = self.document.lines.get(place) {
                return Some(*line);
            }
            (place, _) = place.rsplit_once('.')?;
        }
    }

    /// The keys that were asked for.
    pub(super) fn asked(self) -> Vec<KeyDoc> {
        self.asked
    }

    /// Ends the reading with `config`: what is left over is unknown.
    ///
    /// # Errors
    /// Everything that was wrong.
    pub(super) fn finish<T>(mut self, config: Option<T>) -> Result<(T, Vec<String>), Mistakes> {
        self.refuse_unknown();
        let faults = std::mem::take(&mut self.document.faults);
        let broken: BTreeSet<_> = faults.iter().map(|(line, _)| Some(*line)).collect();
        // What was made of a broken line is guesswork; a mistake about it would mislead.
        self.mistakes
            .retain(|mistake| !broken.contains(&mistake.line()));
        self.mistakes.extend(
            faults
                .into_iter()
                .map(|(line, what)| Mistake::new(self.origin.file, Some(line), None, what)),
        );
        match config {
            Some(config) if self.mistakes.is_empty() => Ok((config, self.warnings)),
            _ => Err(Mistakes::new(self.mistakes)),
        }
    }

    fn refuse_unknown(&mut self) {
        let names: Vec<&'static str> = self.asked.iter().map(|key| key.name).collect();
        let is_section = |name: &str| {
            names.iter().any(|key| {
                key.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('.'))
            })
        };
        let unknown_sections: Vec<_> = self
            .document
            .sections
            .iter()
            .filter(|name| !is_section(name))
            .cloned()
            .collect();
        let within = |key: &str| {
            unknown_sections.iter().any(|s| {
                key.strip_prefix(s)
                    .is_some_and(|rest| rest.starts_with('.'))
            })
        };
        let unknown_keys: Vec<_> = self
            .document
            .values
            .keys()
            .filter(|key| !within(key))
            .cloned()
            .collect();
        for section in unknown_sections.iter().filter(|section| !within(section)) {
            if names.contains(&section.as_str()) {
                self.mistake(section, "is a single value, not a section");
                continue;
            }
            let sections = names
                .iter()
                .filter_map(|key| key.rsplit_once('.'))
                .map(|(section, _)| section);
            let what = unknown("section", section, sections);
            self.mistake(section, what);
        }
        for key in unknown_keys {
            let what = if is_section(&key) {
                format!("is a section, written [{key}] on a line of its own")
            } else {
                unknown("key", &key, names.iter().copied())
            };
            self.mistake(&key, what);
        }
    }
}

const NONE_NAMED: &str = "must name at least one";

/// A list's elements, or the value itself as the only one, each with its line.
fn one_or_more(line: usize, value: &Value) -> Vec<(usize, Value)> {
    match value {
        Value::List(elements) => elements.clone(),
        one => vec![(line, one.clone())],
    }
}

fn at_least_one(line: usize, value: &Value) -> Result<Vec<(usize, Value)>, String> {
    Some(one_or_more(line, value))
        .filter(|elements| !elements.is_empty())
        .ok_or_else(|| NONE_NAMED.to_owned())
}

fn elements(value: &Value) -> Result<Vec<(usize, Value)>, String> {
    match value {
        Value::List(elements) => Ok(elements.clone()),
        _ => Err("must be a list, such as [\"/a\", \"/b\"]".to_owned()),
    }
}

fn unknown<'n>(what: &str, name: &str, known: impl Iterator<Item = &'n str>) -> String {
    match nearest(name, known) {
        Some(meant) => format!("unknown {what}; did you mean `{meant}`?"),
        None => format!("unknown {what}"),
    }
}

/// The known name that `name` may be a slip of: few letters differ, or it stands in the wrong section.
fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    const FARTHEST: usize = 3;
    let last = |name: &str| name.rsplit('.').next().map(str::to_owned);
    let distance = |candidate: &str| {
        let misplaced = last(candidate) == last(name);
        if misplaced {
            distance(name, candidate).min(FARTHEST)
        } else {
            distance(name, candidate)
        }
    };
    let (best, meant) = known
        .map(|candidate| (distance(candidate), candidate))
        .min()?;
    (best <= FARTHEST).then_some(meant)
}

/// How many letters must be put in, taken out or replaced (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        let mut left = i + 1;
        next.push(left);
        for (pair, to) in row.windows(2).zip(&b) {
            if let [diagonal, above] = *pair {
                left = (diagonal + usize::from(from != *to))
                    .min(above + 1)
                    .min(left + 1);
                next.push(left);
            }
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
