//! Changing the users file: one writer at a time, and whoever reads it finds it whole, before or after.

use super::error::{Error, UsersFault};
use super::table::Table;
use super::{read, refuse_if_open, table};
use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// What to do while somebody else is at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    Waits,
    None,
}

const OWNER_ALONE: u32 = 0o600;

/// Makes an empty users file where there is none yet.
///
/// # Errors
/// [`Error::Unwritable`]
pub(super) fn create(file: &Path) -> Result<(), Error> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(OWNER_ALONE)
        .open(file);
    let written = made.and_then(|mut made| {
        made.write_all(Table::HEADER.as_bytes())
            .and_then(|()| made.sync_all())
    });
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        written => written.map_err(|error| Error::Unwritable(file.to_owned(), error)),
    }
}

/// Reads the file, has `change` made, and puts the outcome in its place, unless `change` gives nothing.
///
/// # Errors
/// [`Error`] says why nothing was changed.
pub(super) fn change<T>(
    file: &Path,
    patience: Patience,
    change: impl FnOnce(&mut Table) -> Option<T>,
) -> Result<Option<T>, Error> {
    // A link, such as those of a mounted secret, stays one.
    let place =
        fs::canonicalize(file).map_err(|error| Error::Unreadable(file.to_owned(), error))?;
    let locked = lock(&place, patience)?;
    let mut table = table(file, &read(&place)?)?;
    let Some(outcome) = change(&mut table) else {
        return Ok(None);
    };
    let written = locked.metadata().and_then(|former| {
        table
            .to_bytes()
            .and_then(|bytes| replace(&place, &former, &bytes))
    });
    written.map_err(|error| Error::Unwritable(file.to_owned(), error))?;
    Ok(Some(outcome))
}

/// The file, locked until it is dropped. Whoever replaced it meanwhile had locked what is gone now, so that it is looked at once more.
fn lock(place: &Path, patience: Patience) -> Result<File, Error> {
    let unreadable = |error| Error::Unreadable(place.to_owned(), error);
    loop {
        let open = File::open(place).map_err(unreadable)?;
        match patience {
            Patience::Waits => open.lock().map_err(unreadable)?,
            Patience::None => open.try_lock().map_err(|error| match error {
                TryLockError::WouldBlock => Error::Locked(place.to_owned()),
                TryLockError::Error(error) => unreadable(error),
            })?,
        }
        let locked = open.metadata().map_err(unreadable)?;
        let there = place.metadata().map_err(unreadable)?;
        if (locked.dev(), locked.ino()) == (there.dev(), there.ino()) {
            refuse_if_open(&locked)
                .map_err(|fault: UsersFault| Error::Unusable(place.to_owned(), fault))?;
            return Ok(open);
        }
    }
}

/// Puts a new file in the place of the former one, with its owner and permissions.
fn replace(place: &Path, former: &Metadata, bytes: &[u8]) -> io::Result<()> {
    let new = beside(place)?;
    // Of a writer that was killed; whoever holds the lock is alone here.
    let _ = fs::remove_file(&new);
    let written = write(&new, former, bytes).and_then(|()| fs::rename(&new, place));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written?;
    // The name is on disk once its folder is.
    File::open(place.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn write(new: &Path, former: &Metadata, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(OWNER_ALONE)
        .open(new)?;
    file.write_all(bytes)?;
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (former.uid(), former.gid()) {
        fchown(&file, Some(former.uid()), Some(former.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(former.mode() & 0o777))?;
    file.sync_all()
}

fn beside(place: &Path) -> io::Result<PathBuf> {
    let name = place.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".new");
    Ok(place.with_file_name(hidden))
}
