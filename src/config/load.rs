//! Loads a [`Config`] from a file or a string.

use super::read::{ConfigOrigin, Exposure, KeyDoc, Reader};
use super::{Config, Mistake, Mistakes, secret_file, sections};
use std::path::Path;

impl Config {
    /// Loads a configuration file; paths in it are relative to its folder.
    ///
    /// # Errors
    /// All mistakes, or an unreadable file.
    pub fn load(path: &Path) -> Result<Self, Mistakes> {
        let file = path.display().to_string();
        let cannot = |why: String| Mistakes::new(vec![Mistake::new(&file, None, None, why)]);
        let bytes =
            std::fs::read(path).map_err(|error| cannot(format!("cannot be read: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|_| cannot("is not UTF-8 text".to_owned()))?;
        let exposure = match secret_file::only_its_owner_writes(path) {
            Err(_) => Exposure::Writable,
            Ok(()) if secret_file::is_open_to_others(path) => Exposure::Others,
            Ok(()) => Exposure::Owner,
        };
        Self::read(
            ConfigOrigin {
                file: &file,
                base: path.parent().unwrap_or(Path::new("")),
                exposure,
            },
            &text,
        )
    }

    /// Parses a configuration; paths in it are relative to `base`.
    ///
    /// # Errors
    /// All mistakes.
    pub fn parse(text: &str, base: &Path) -> Result<Self, Mistakes> {
        Self::read(
            ConfigOrigin {
                file: "configuration",
                base,
                exposure: Exposure::Owner,
            },
            text,
        )
    }

    fn read(origin: ConfigOrigin<'_>, text: &str) -> Result<Self, Mistakes> {
        let mut reader = Reader::new(origin, text);
        let config = sections::config(&mut reader);
        let (config, warnings, keys) = reader.finish(config)?;
        Ok(Self {
            warnings,
            keys,
            ..config
        })
    }
}

/// Lists every configuration key, in the order of the sections.
pub fn known_keys() -> Vec<KeyDoc> {
    let nowhere = ConfigOrigin {
        file: "",
        base: Path::new(""),
        exposure: Exposure::Owner,
    };
    let mut reader = Reader::new(nowhere, "");
    let _incomplete = sections::config(&mut reader);
    reader.into_keys()
}
