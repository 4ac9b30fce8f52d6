//! Files in the folder `brand.templates`: replacements of built-in templates, and mistakes.

use crate::language::{GERMAN, SHARED, TEXTS};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// Lists the replaceable files, as paths below `brand.templates`.
pub fn templates() -> impl Iterator<Item = &'static str> {
    let templates = GERMAN.pages.iter().chain(SHARED).chain(GERMAN.mails);
    templates.map(|template| template.name).chain([TEXTS])
}

/// Extensions of templates. Leftovers of editors and copy tools (`help.html~`, `help.html.bak`) have others.
const ENDS: [&str; 6] = ["html", "htm", "css", "svg", "txt", "js"];
/// Search depth. Templates are one level deep at most; deeper ones were put there by mistake.
const DEEPEST: usize = 3;

/// Unreadable folder with the error.
pub(super) type Unreadable = (PathBuf, io::Error);

/// Finds files that look like templates but replace none, as paths below the folder.
pub(super) fn unused(folder: &Path) -> Result<Vec<PathBuf>, Unreadable> {
    let mut found = Vec::new();
    search(folder, Path::new(""), DEEPEST, &mut found)?;
    found.sort();
    Ok(found)
}

fn search(
    folder: &Path,
    below: &Path,
    deep: usize,
    found: &mut Vec<PathBuf>,
) -> Result<(), Unreadable> {
    let unreadable = |error| (folder.to_owned(), error);
    for entry in folder.read_dir().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        let name = below.join(entry.file_name());
        // Hidden files belong to version control, editors and mounted volumes.
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            let result = if deep > 1 {
                search(&path, &name, deep - 1, found)
            } else {
                Ok(())
            };
            // A disk's `lost+found` contains no templates.
            if holds_templates(&name) {
                result?;
            }
        } else if looks_like_one(&name) && !templates().any(|known| Path::new(known) == name) {
            found.push(name);
        }
    }
    Ok(())
}

fn holds_templates(folder: &Path) -> bool {
    templates().any(|known| Path::new(known).parent() == Some(folder))
}

fn looks_like_one(name: &Path) -> bool {
    let end = name
        .extension()
        .and_then(OsStr::to_str)
        .map(str::to_ascii_lowercase);
    end.is_some_and(|end| ENDS.contains(&end.as_str()))
}
