//! Reader: takes typed keys out of a document and collects mistakes.
//!
//! Sections read all of their keys before they build anything. So one mistake hides no other, and the keys
//! that were read are the keys that exist.

use super::document::{Document, Value};
use super::live::KeyDigests;
use super::mistakes::{Mistake, Mistakes};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use strsim::levenshtein;

/// Documents one configuration key; the handbook's table is generated from these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDoc {
    /// Full name, such as `login.tan_lifetime`.
    pub name: &'static str,
    pub absent: Absent,
    pub takes_effect: TakesEffect,
}

/// Says what a missing key means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    Mistake,
    /// No value; where two keys exclude each other, the other one may be required.
    Nothing,
    /// The default, in TOML notation.
    Default(String),
}

/// Says when a changed key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakesEffect {
    Live,
    Restart,
}

impl KeyDoc {
    fn new(name: &'static str, absent: Absent) -> Self {
        let takes_effect = super::live::takes_effect(name);
        Self {
            name,
            absent,
            takes_effect,
        }
    }
}

/// Source of a configuration.
#[derive(Clone, Copy)]
pub(super) struct ConfigOrigin<'a> {
    /// File name in messages.
    pub(super) file: &'a str,
    /// Folder that relative paths start from.
    pub(super) base: &'a Path,
    pub(super) exposure: Exposure,
}

/// Access that others have to the configuration file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Exposure {
    Owner,
    Others,
    Writable,
}

/// Takes typed values out of a document and collects mistakes and warnings.
pub(super) struct Reader<'a> {
    origin: ConfigOrigin<'a>,
    document: Document,
    keys: Vec<KeyDoc>,
    digests: KeyDigests,
    mistakes: Vec<Mistake>,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(origin: ConfigOrigin<'a>, text: &str) -> Self {
        let document = Document::parse(text);
        Self {
            origin,
            document,
            keys: Vec::new(),
            digests: KeyDigests::default(),
            mistakes: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Reads a required key.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        kind: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        self.keys.push(KeyDoc::new(key, Absent::Mistake));
        if !self.document.values.contains_key(key) {
            self.missing(key, "is missing");
        }
        self.taken(key, kind)
    }

    /// Reads an optional key.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        kind: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        self.keys.push(KeyDoc::new(key, Absent::Nothing));
        self.taken(key, kind)
    }

    /// Reads a key with a default in TOML notation. The default also replaces a wrong value, so that dependent
    /// checks can go on.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: impl Into<Value>,
        kind: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let default = default.into();
        self.keys
            .push(KeyDoc::new(key, Absent::Default(default.to_string())));
        if !self.document.values.contains_key(key) {
            self.digests.add(key, default.to_string().as_bytes());
        }
        self.taken(key, &kind).or_else(|| kind(&default).ok())
    }

    /// Reads a key whose documented default is applied by the caller.
    pub(super) fn or_documented<T>(
        &mut self,
        key: &'static str,
        default: &str,
        kind: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        self.keys
            .push(KeyDoc::new(key, Absent::Default(default.to_owned())));
        self.taken(key, kind)
    }

    /// Reads a list, each element validated on its own; empty if absent.
    pub(super) fn list(
        &mut self,
        key: &'static str,
        kind: impl Fn(&Value) -> Result<String, String>,
    ) -> Option<Vec<String>> {
        let elements = self.or(key, Value::List(Vec::new()), elements)?;
        Some(self.validated(key, elements, kind))
    }

    /// Reads one value or a list, each element validated on its own; empty if absent.
    pub(super) fn one_or_more(
        &mut self,
        key: &'static str,
        kind: impl Fn(&Value) -> Result<String, String>,
    ) -> Option<Vec<String>> {
        let line = self.line(key).unwrap_or_default();
        let elements = self.or(key, Value::List(Vec::new()), |value| {
            Ok(one_or_more(line, value))
        })?;
        Some(self.validated(key, elements, kind))
    }

    /// Reads one value or a non-empty list; `None` if any element is wrong.
    pub(super) fn required_one_or_more<T>(
        &mut self,
        key: &'static str,
        kind: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let line = self.line(key).unwrap_or_default();
        let elements = self.required(key, |value| at_least_one(line, value))?;
        self.all_validated(key, elements, kind)
    }

    /// Reads a non-empty list, each element validated on its own.
    pub(super) fn required_list(
        &mut self,
        key: &'static str,
        kind: impl Fn(&Value) -> Result<String, String>,
    ) -> Option<Vec<String>> {
        let elements = self.required(key, |value| match elements(value)? {
            elements if elements.is_empty() => Err(NONE_NAMED.to_owned()),
            elements => Ok(elements),
        })?;
        Some(self.validated(key, elements, kind))
    }

    /// Like `required_one_or_more`, for an optional key.
    pub(super) fn optional_one_or_more<T>(
        &mut self,
        key: &'static str,
        kind: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let line = self.line(key).unwrap_or_default();
        let elements = self.optional(key, |value| at_least_one(line, value))?;
        self.all_validated(key, elements, kind)
    }

    fn all_validated<T>(
        &mut self,
        key: &str,
        elements: Vec<(usize, Value)>,
        kind: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let given = elements.len();
        Some(self.validated(key, elements, kind)).filter(|sound| sound.len() == given)
    }

    fn validated<T>(
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

    fn taken<T>(
        &mut self,
        key: &'static str,
        kind: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.document.values.remove(key)?;
        self.digests.add(key, value.to_string().as_bytes());
        kind(&value).map_err(|what| self.mistake(key, what)).ok()
    }

    /// Adds the content of a file to the value of the key that names it.
    pub(super) fn add_content(&mut self, key: &'static str, content: &[u8]) {
        self.digests.add(key, content);
    }

    /// Records a mistake at the line of a key, or of its section if the key is absent.
    pub(super) fn mistake(&mut self, key: &str, what: impl Into<String>) {
        let line = self.line(key);
        self.mistakes
            .push(Mistake::new(self.origin.file, line, Some(key), what));
    }

    /// Records a missing key, except after a syntax error, which may hide it.
    pub(super) fn missing(&mut self, key: &str, what: impl Into<String>) {
        if self.document.faults.is_empty() {
            self.mistake(key, what);
        }
    }

    /// Warns of an inline secret in a configuration that others can read; refuses one in a file that they can write.
    pub(super) fn check_exposure(&mut self, key: &str, instead: &str) {
        if self.origin.exposure == Exposure::Writable {
            self.mistake(
                key,
                "is a secret in a file that group or others can write; chmod 600 it",
            );
        }
        if self.origin.exposure == Exposure::Others {
            self.warn(key, &format!("is a secret in a file that group or others can read; chmod 600 it, or use {instead}"));
        }
    }

    /// Records a valid but risky setting.
    pub(super) fn warn(&mut self, key: &str, what: &str) {
        let line = self.line(key);
        self.warnings
            .push(Mistake::new(self.origin.file, line, Some(key), what).to_string());
    }

    /// Whether the key is present, valid or not.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.document.lines.contains_key(key)
    }

    pub(super) fn has_section(&self, name: &str) -> bool {
        self.document.sections.iter().any(|section| section == name)
    }

    /// Resolves a path relative to the configuration's folder.
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

    pub(super) fn into_keys(self) -> Vec<KeyDoc> {
        self.keys
    }

    /// Finishes with `config`, its warnings and its keys' digests; keys that nobody read are unknown.
    ///
    /// # Errors
    /// All mistakes.
    pub(super) fn finish<T>(
        mut self,
        config: Option<T>,
    ) -> Result<(T, Vec<String>, KeyDigests), Mistakes> {
        self.refuse_unknown();
        let faults = std::mem::take(&mut self.document.faults);
        let broken: BTreeSet<_> = faults.iter().map(|(line, _)| Some(*line)).collect();
        // The parser guesses at broken lines; mistakes about these would mislead.
        self.mistakes
            .retain(|mistake| !broken.contains(&mistake.line()));
        self.mistakes.extend(
            faults
                .into_iter()
                .map(|(line, what)| Mistake::new(self.origin.file, Some(line), None, what)),
        );
        match config {
            Some(config) if self.mistakes.is_empty() => Ok((config, self.warnings, self.digests)),
            _ => Err(Mistakes::new(self.mistakes)),
        }
    }

    fn refuse_unknown(&mut self) {
        let names: Vec<&'static str> = self.keys.iter().map(|key| key.name).collect();
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

const NONE_NAMED: &str = "must have at least one entry";

/// Returns a list's elements, or a single value as the only element, with line numbers.
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

/// Finds the known name that `name` may be a typo of: few letters differ, or the section is wrong.
fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    const FARTHEST: usize = 3;
    let last = |name: &str| name.rsplit('.').next().map(str::to_owned);
    let distance = |candidate: &str| {
        let misplaced = last(candidate) == last(name);
        if misplaced {
            levenshtein(name, candidate).min(FARTHEST)
        } else {
            levenshtein(name, candidate)
        }
    };
    let (best, meant) = known
        .map(|candidate| (distance(candidate), candidate))
        .min()?;
    (best <= FARTHEST).then_some(meant)
}
