//! Mistakes in a configuration, each with its place.

use std::fmt;

/// Mistake in the configuration, with file, line and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    file: String,
    line: Option<usize>,
    key: Option<String>,
    what: String,
}

impl Mistake {
    pub(super) fn new(
        file: &str,
        line: Option<usize>,
        key: Option<&str>,
        what: impl Into<String>,
    ) -> Self {
        Self {
            file: file.to_owned(),
            line,
            key: key.map(str::to_owned),
            what: what.into(),
        }
    }

    /// Line number from 1; `None` if a whole section is missing.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// Full key, such as `login.tan_lifetime`; `None` for a syntax error.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Message without file, line and key.
    pub fn what(&self) -> &str {
        &self.what
    }
}

/// `gateway.toml:12: login.tan_lifetime: 0s is shorter than the minimum, 5m`
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// All mistakes of a configuration in line order; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Sorts mistakes by line, those without a line last.
    pub(super) fn new(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| mistake.line.unwrap_or(usize::MAX));
        Self(mistakes)
    }

    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, mistake) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
