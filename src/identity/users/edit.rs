//! Changes the users file: one writer at a time, and readers always see a complete file.

use super::error::{Error, UsersFault};
use super::table::Table;
use super::{read, refuse_if_open, table};
use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// What to do while another process holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockWait {
    Block,
    Fail,
}

const OWNER_ALONE: u32 = 0o600;

/// Creates an empty users file, unless there is one.
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

/// Reads the file, applies `change`, and replaces the file, unless `change` returns `None`.
///
/// # Errors
/// [`Error`] says why nothing was changed.
pub(super) fn change<T>(
    file: &Path,
    wait: LockWait,
    change: impl FnOnce(&mut Table) -> Option<T>,
) -> Result<Option<T>, Error> {
    // A symbolic link, such as those of a mounted secret, is kept.
    let place =
        fs::canonicalize(file).map_err(|error| Error::Unreadable(file.to_owned(), error))?;
    let locked = lock(&place, wait)?;
    let mut table = table(file, &read(&place)?)?;
    let Some(outcome) = change(&mut table) else {
        return Ok(None);
    };
    let written = locked.metadata().and_then(|previous| {
        table
            .to_bytes()
            .and_then(|bytes| replace(&place, &previous, &bytes))
    });
    written.map_err(|error| Error::Unwritable(file.to_owned(), error))?;
    Ok(Some(outcome))
}

/// Opens the file and locks it until the handle is dropped. If the file was replaced meanwhile, the lock is on the old one, and the
/// loop opens it again.
fn lock(place: &Path, wait: LockWait) -> Result<File, Error> {
    let unreadable = |error| Error::Unreadable(place.to_owned(), error);
    loop {
        let open = File::open(place).map_err(unreadable)?;
        match wait {
            LockWait::Block => open.lock().map_err(unreadable)?,
            LockWait::Fail => open.try_lock().map_err(|error| match error {
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

/// Replaces the file by a new one with the same owner and permissions.
fn replace(place: &Path, previous: &Metadata, bytes: &[u8]) -> io::Result<()> {
    let new = beside(place)?;
    // Left by a writer that was killed; the lock excludes any other.
    let _ = fs::remove_file(&new);
    let written = write(&new, previous, bytes).and_then(|()| fs::rename(&new, place));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written?;
    // The rename is durable once the folder is synced.
    File::open(place.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn write(new: &Path, previous: &Metadata, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(OWNER_ALONE)
        .open(new)?;
    file.write_all(bytes)?;
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (previous.uid(), previous.gid()) {
        fchown(&file, Some(previous.uid()), Some(previous.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(previous.mode() & 0o777))?;
    file.sync_all()
}

fn beside(place: &Path) -> io::Result<PathBuf> {
    let name = place.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".new");
    Ok(place.with_file_name(hidden))
}
