//! Secrets, given inline or in a file of their own.

use super::kinds::text;
use super::read::Reader;
use super::secret::Secret;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Pair of keys for one secret, of which one may be given.
pub(super) struct Places {
    pub(super) key: &'static str,
    pub(super) file_key: &'static str,
}

/// Required form of a secret.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// Minimum number of bytes.
    Bytes(usize),
    Line,
}

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Larger files are probably not secrets.
const LARGEST: u64 = 64 * 1_024;

impl Reader<'_> {
    /// Reads a secret from either key; `None` if both are absent, or after a mistake.
    pub(super) fn secret(&mut self, places: &Places, shape: Shape) -> Option<Secret> {
        let Places { key, file_key } = *places;
        let inline = self.optional(key, |value| {
            Ok(shaped(text(value)?.into_bytes(), shape)?.of(key))
        });
        let name = self.optional(file_key, text);
        if self.is_given(key) && self.is_given(file_key) {
            self.mistake(
                key,
                format!("conflicts with {file_key}; give only one of them"),
            );
            return None;
        }
        if inline.is_some() {
            self.check_exposure(key, file_key);
        }
        let Some(name) = name else { return inline };
        self.in_file(file_key, &name, shape)
    }

    /// Like `secret`, for one secret or a list, where an empty text means none.
    pub(super) fn secrets(&mut self, places: &Places, shape: Shape) -> Option<Vec<Option<Secret>>> {
        let Places { key, file_key } = *places;
        let inline = self.optional_one_or_more(key, |value| match text(value)? {
            none if none.is_empty() => Ok(None),
            secret => shaped(secret.into_bytes(), shape).map(|secret| Some(secret.of(key))),
        });
        let names = self.optional_one_or_more(file_key, text);
        if self.is_given(key) && self.is_given(file_key) {
            self.mistake(
                key,
                format!("conflicts with {file_key}; give only one of them"),
            );
            return None;
        }
        if inline.is_some() {
            self.check_exposure(key, file_key);
        }
        let Some(names) = names else { return inline };
        let mut secrets = Vec::with_capacity(names.len());
        for name in names {
            secrets.push(if name.is_empty() {
                None
            } else {
                Some(self.in_file(file_key, &name, shape)?)
            });
        }
        Some(secrets)
    }

    fn in_file(&mut self, file_key: &'static str, name: &str, shape: Shape) -> Option<Secret> {
        let path = self.path(name);
        self.refuse_other_writers(file_key, &path);
        if is_open_to_others(&path) {
            let warning = format!(
                "{} is readable by group or others; chmod 600 it",
                path.display()
            );
            self.warn(file_key, &warning);
        }
        let secret = contents(&path).and_then(|bytes| shaped(bytes, shape));
        if let Ok(secret) = &secret {
            self.add_content(file_key, secret.reveal());
        }
        let secret = secret.map(|secret| secret.of(file_key));
        secret
            .map_err(|what| self.mistake(file_key, format!("{} {what}", path.display())))
            .ok()
    }
}

impl Reader<'_> {
    pub(super) fn refuse_other_writers(&mut self, key: &str, path: &Path) {
        if let Err(what) = only_its_owner_writes(path) {
            self.mistake(key, what);
        }
    }
}

/// Rejects a file that others can write or replace: they would know the secret. Missing files are reported
/// elsewhere.
pub(super) fn only_its_owner_writes(path: &Path) -> Result<(), String> {
    let mode = |path: &Path| {
        path.metadata()
            .map(|metadata| metadata.permissions().mode())
    };
    if mode(path).is_ok_and(|mode| mode & (GROUP_WRITES | OTHERS_WRITE) != 0) {
        return Err(format!(
            "{} is writable by group or others; chmod go-w it",
            path.display()
        ));
    }
    // For a symbolic link, both its folder and its target's matter.
    let target = path.canonicalize().ok();
    for folder in [Some(path), target.as_deref()]
        .into_iter()
        .flatten()
        .filter_map(Path::parent)
    {
        // In a sticky folder only the owner can replace the file.
        if mode(folder).is_ok_and(|mode| mode & OTHERS_WRITE != 0 && mode & STICKY == 0) {
            return Err(format!(
                "{} can be replaced by everybody, since its folder is writable; chmod o-w {}",
                path.display(),
                folder.display()
            ));
        }
    }
    Ok(())
}

fn contents(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("is larger than {LARGEST} bytes"));
    }
    let line_end = [&b"\r\n"[..], b"\n"]
        .into_iter()
        .find(|end| bytes.ends_with(end))
        .map_or(0, <[u8]>::len);
    bytes.truncate(bytes.len() - line_end);
    Ok(bytes)
}

fn shaped(bytes: Vec<u8>, shape: Shape) -> Result<Secret, String> {
    if bytes.is_empty() {
        return Err("is empty".to_owned());
    }
    match shape {
        Shape::Bytes(fewest) if bytes.len() < fewest => Err(format!(
            "has {} bytes, but needs at least {fewest}; create one with `openssl rand -base64 48`",
            bytes.len()
        )),
        Shape::Line
            if std::str::from_utf8(&bytes)
                .map_or(true, |text| text.chars().any(char::is_control)) =>
        {
            Err("is not one line of UTF-8 text".to_owned())
        }
        Shape::Bytes(_) | Shape::Line => Ok(Secret::new(bytes)),
    }
}

/// Whether group or others may read the file.
pub(super) fn is_open_to_others(path: &Path) -> bool {
    let open =
        |metadata: Metadata| metadata.is_file() && metadata.permissions().mode() & 0o044 != 0;
    path.metadata().is_ok_and(open)
}
