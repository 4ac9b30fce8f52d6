//! Which files in the folder of `brand.templates` take the place of a built-in template.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// The templates of the TAN mail.
const MAILS: [&str; 3] = ["mail/subject.txt", "mail/tan.txt", "mail/tan.html"];

/// The templates that an operator can replace, as paths below `brand.templates`.
pub fn templates() -> impl Iterator<Item = &'static str> {
    crate::pages::TEMPLATES.iter().copied().chain(MAILS)
}

/// By their names' ends files are meant to be templates. What editors and copying tools leave (`help.html~`, `help.html.bak`) has others.
const ENDS: [&str; 6] = ["html", "htm", "css", "svg", "txt", "js"];
/// Templates lie in the folder or in one right below it; what lies this deep is looked at too, since somebody may have put it there by mistake.
const DEEPEST: usize = 3;

/// A folder that cannot be read, and why.
pub(super) type Unreadable = (PathBuf, io::Error);

/// Files that look like templates and take the place of none, as paths below the folder.
pub(super) fn of_no_use(folder: &Path) -> Result<Vec<PathBuf>, Unreadable> {
    let mut found = Vec::new();
    look_into(folder, Path::new(""), DEEPEST, &mut found)?;
    found.sort();
    Ok(found)
}

fn look_into(
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
        // Hidden: what version control, editors and mounted volumes have for themselves.
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            let looked = if deep > 1 {
                look_into(&path, &name, deep - 1, found)
            } else {
                Ok(())
            };
            // What the root of a disk has for itself (`lost+found`) is nobody's template.
            if holds_templates(&name) {
                looked?;
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
