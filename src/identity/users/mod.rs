//! Who has a user key and a password: the operator's file, reloaded when it changes, and the threads that compare passwords.
//!
//! A file that is missing, half-written or wrong in one line never takes the place of the last good one, and no error repeats what a
//! line holds. No password is shown, kept, or compared on a thread that serves requests. The sign-in asks it; `app` opens it and owns
//! the watch; the command line changes the file.
//!
//! # How a password is compared
//!
//! ```text
//! benutzerschluessel ──POST──> device ── budgets have room? ── hashers: compare ──┬─ wrong, or nobody ── budgets + 1 ──> same page
//!                              u:        c: (looked at)        places, turns      └─ right ── sign_in_on_device ────────> full session, device known
//!                                        └─ no: 429, nothing hashed                           (budgets looked at again)
//! ```
//!
//! - **Counted first.** What a comparison gave is told only by the atomic step that counts it: a wrong password
//!   is charged, a right one signs in only while the budgets have room. Of any number of parallel guesses as
//!   many are told apart as there is room for, at however many gateways; the others get 429, right or wrong.
//!   Before the comparison the budgets are looked at, so that a spent one costs no hashing. It is not charged
//!   beforehand and given back: a broker house that signs in at eight o'clock would meet its own address's
//!   limit.
//! - **Nobody costs what somebody does** (`users/snapshot.rs`): an unknown user key is compared with a hash
//!   that no password has, with the parameters of one of the users, drawn by a keyed digest of the user key. So
//!   while some hashes are older than others, times tell nothing, and the same user key always takes the same.
//! - **A session knows its user** by 24 bits of the mark, which is enough among the users of one broker and
//!   makes sessions no larger; `gateway/membership.rs` asks for each request whether that user is still there,
//!   as it does for the broker.
//! - **A device is not trust.** It has a cookie and a kind of record of its own, and a token that changes with
//!   each sign-in with a password, so that a planted cookie gains nothing. It decides which budget counts and
//!   nothing else: the password is asked for each time, and no TAN is spared. A sign-in with a password leaves
//!   trust as it is.
//! - **Threads** (`users/hashers.rs`): a semaphore of places (at work and waiting) and one of turns (at work).
//!   Whoever gives up waiting drops out of both; what was begun keeps its turn to the end, so that memory is
//!   bounded by the threads. They are nicer than the threads that serve.
//! - **The file** (`users/edit.rs`): whoever changes it, a command or a gateway that renews a hash, holds
//!   `flock` on it, looks whether it still is the file of that name, and renames a new one with the same owner
//!   and mode onto it. A renewed hash takes the place only of the one that was compared.

mod edit;
mod error;
mod hash;
mod hashers;
mod key;
mod password;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;

pub use self::error::{BadUserLines, Error, UserLineFault, UsersFault};
pub use self::hash::{Hash, NotHashed};
pub use self::hashers::{Full, Hashers};
pub use self::key::{MalformedUser, UserKey};
pub use self::password::{MalformedPassword, Password, Unfit};
pub use self::snapshot::{User, UsersSnapshot};

use self::edit::Patience;
use self::table::Table;
use crate::clock::Rng;
use crate::config::{self, HashCost};
use crate::reloadable::{ReadError, Reloadable, Reloaded, Source, WatchedFile, read_once};
use domain::device::UserTag;
use domain::time::Timestamp;
use domain::vtnr::Vtnr;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Upper bound for the size of a users file, in bytes.
const LARGEST: u64 = 256 << 20;

/// The users of a file.
pub struct Users {
    file: PathBuf,
    current: Arc<Reloadable<UsersFile>>,
    /// Whether the failure to renew hashes was reported.
    unwritable: AtomicBool,
}

/// Reads the users file.
pub(crate) struct UsersFile(WatchedFile);

impl Users {
    /// Reads the file for the first time. It is checked for changes every `poll`.
    ///
    /// # Errors
    /// [`Error`] if it cannot be read or used.
    pub fn open(file: &Path, poll: Duration) -> Result<Self, Error> {
        let mut source = UsersFile(WatchedFile::new(file.to_owned(), poll));
        let first = source.snapshot()?;
        Ok(Self {
            file: file.to_owned(),
            current: Arc::new(Reloadable::new(source, first, poll)),
            unwritable: AtomicBool::new(false),
        })
    }

    /// The current users. A caller who keeps the snapshot sees it unchanged.
    pub fn snapshot(&self) -> Arc<UsersSnapshot> {
        self.current.snapshot()
    }

    /// Whether the broker has a user with this tag now. Asked for each request of a session that began with a password.
    pub fn knows(&self, vtnr: Vtnr, user: UserTag) -> bool {
        self.current.load().has(vtnr, user)
    }

    /// Reloads the users whenever the file changes, and at each SIGHUP; never returns.
    ///
    /// # Errors
    /// The signal cannot be received.
    pub(crate) fn keep_up_to_date<C, R>(
        &self,
        clock: C,
        report: R,
    ) -> io::Result<impl Future<Output = ()> + Send + use<C, R>>
    where
        C: Fn() -> Timestamp + Send,
        R: Fn(Reloaded<UsersFile>) + Send,
    {
        Arc::clone(&self.current).keep_up_to_date(clock, report)
    }

    /// Puts a renewed hash into the file, if the user has the former one still.
    fn renew(&self, key: &UserKey, former: &Hash, renewed: Hash) {
        match edit::change(&self.file, Patience::None, |table| {
            table.renew(key, former, renewed).then_some(())
        }) {
            Ok(Some(())) => tracing::info!(target: "users", "renewed a password hash"),
            // Somebody has changed it, or is about to; there will be another sign-in.
            Ok(None) | Err(Error::Locked(_)) => {}
            Err(error) if !self.unwritable.swap(true, Ordering::Relaxed) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(target: "users", %error, cause, "cannot renew password hashes; logged once");
            }
            Err(_) => {}
        }
    }
}

impl UsersFile {
    fn snapshot(&mut self) -> Result<UsersSnapshot, Error> {
        let path = self.0.path().to_owned();
        let bytes = self
            .0
            .read(|metadata| refuse_if_open(metadata).map_err(NotRead::Unusable));
        let bytes = bytes.map_err(|error| error.of(&path))?;
        Ok(UsersSnapshot::new(table(&path, &bytes)?.into_users()))
    }
}

impl Source for UsersFile {
    type Value = UsersSnapshot;
    /// The number of users.
    type Report = usize;
    type Error = Error;

    fn is_due(&mut self, _: &UsersSnapshot, now: Timestamp) -> bool {
        self.0.is_due(now)
    }

    fn read(
        &mut self,
        _: &UsersSnapshot,
        _: Timestamp,
    ) -> Result<(Option<UsersSnapshot>, usize), Error> {
        let next = self.snapshot()?;
        let users = next.len();
        Ok((Some(next), users))
    }

    fn is_silent(&mut self, error: &Error) -> bool {
        matches!(error, Error::Unusable(_, UsersFault::BeingWritten))
    }
}

/// The way in with user key and password: the users, and what comparing their passwords takes.
pub struct Passwords {
    /// Who has a user key.
    pub users: Arc<Users>,
    hashers: Hashers,
    cost: HashCost,
    chance: Rng,
}

/// A password was not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCompared {
    /// As many are waiting as may.
    Full,
    /// There was not enough memory.
    NoMemory,
}

impl From<Full> for NotCompared {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

impl From<NotHashed> for NotCompared {
    fn from(_: NotHashed) -> Self {
        Self::NoMemory
    }
}

impl Passwords {
    /// For these users, on these threads.
    pub fn new(
        config: &config::PasswordConfig,
        users: Arc<Users>,
        hashers: Hashers,
        chance: Rng,
    ) -> Self {
        Self {
            users,
            hashers,
            cost: config.cost,
            chance,
        }
    }

    /// Whether this is the password of this user, and the password back. For nobody it takes as long and is never so; `lot` is what
    /// [`crate::store::Vault::lot`] draws for the user key.
    ///
    /// # Errors
    /// [`NotCompared`] if it was not compared; nothing is known then.
    pub async fn compare(
        &self,
        password: Password,
        user: Option<&User>,
        lot: u64,
    ) -> Result<(Password, bool), NotCompared> {
        let cost = || {
            self.users
                .snapshot()
                .cost_of_nobody(lot)
                .unwrap_or(self.cost)
        };
        let hash = user
            .map(|user| user.hash.clone())
            .or_else(|| Hash::of_nobody(cost()))
            .ok_or(NotCompared::NoMemory)?;
        let compared = self
            .hashers
            .run(move || hash.is_of(&password).map(|is_right| (password, is_right)))
            .await?;
        Ok(compared?)
    }

    /// After a right password: where its hash took less work than is configured now, it is renewed; one that took more stays. That it cannot be is no failure.
    pub async fn renew_if_due(&self, key: &UserKey, user: &User, password: Password) {
        if user.hash.cost().work() >= self.cost.work() {
            return;
        }
        let key = key.clone();
        let former = user.hash.clone();
        let cost = self.cost;
        let chance = self.chance;
        let users = Arc::clone(&self.users);
        let renew = move || {
            if let Ok(renewed) = Hash::of(&password, cost, chance) {
                users.renew(&key, &former, renewed);
            }
        };
        // With no place to wait, this time is not the time.
        let _ = self.hashers.run(renew).await;
    }
}

/// Whether there is such a user already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Added,
    /// The former one was replaced.
    Replaced,
}

/// Puts a user into the file, which is made where it is missing. `replaces` says whether there must be one with this key; none is put in
/// if that is not so.
///
/// # Errors
/// [`Error`] says why nothing was changed.
pub fn put(
    file: &Path,
    written: &str,
    user: User,
    key: UserKey,
    put: Put,
) -> Result<Option<()>, Error> {
    if put == Put::Added {
        edit::create(file)?;
    }
    edit::change(file, Patience::Waits, |table| {
        let is_there = table.find(&key).is_some();
        (is_there == (put == Put::Replaced)).then(|| table.put(key, written.trim(), user))
    })
}

/// Whether there is a user with this key; in a file that is not there yet there is none.
///
/// # Errors
/// [`Error`] if it cannot be read or used.
pub fn is_there(file: &Path, key: &UserKey) -> Result<bool, Error> {
    match read(file) {
        Err(Error::Unreadable(_, error)) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        bytes => Ok(table(file, &bytes?)?.find(key).is_some()),
    }
}

/// Takes a user out of the file; whose it was, if there was one.
///
/// # Errors
/// [`Error`] says why nothing was changed.
pub fn remove(file: &Path, key: &UserKey) -> Result<Option<Vtnr>, Error> {
    edit::change(file, Patience::Waits, |table| {
        table.remove(key).map(|user| user.vtnr)
    })
}

/// All users of the file as they are written there, with what their hashes cost.
///
/// # Errors
/// [`Error`] if it cannot be read or used.
pub fn list(file: &Path) -> Result<Vec<(String, Vtnr, HashCost)>, Error> {
    let table = table(file, &read(file)?)?;
    Ok(table
        .written()
        .map(|(written, user)| (written.to_owned(), user.vtnr, user.hash.cost()))
        .collect())
}

/// Why the users file was not read.
enum NotRead {
    Io(io::Error),
    Unusable(UsersFault),
}

impl From<ReadError> for NotRead {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::Io(error),
            ReadError::BeingWritten => Self::Unusable(UsersFault::BeingWritten),
        }
    }
}

impl NotRead {
    fn of(self, file: &Path) -> Error {
        match self {
            Self::Io(error) => Error::Unreadable(file.to_owned(), error),
            Self::Unusable(fault) => Error::Unusable(file.to_owned(), fault),
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    let bytes = read_once(file, |metadata| {
        refuse_if_open(metadata).map_err(NotRead::Unusable)
    });
    bytes.map_err(|error| error.of(file))
}

fn table(file: &Path, bytes: &[u8]) -> Result<Table, Error> {
    Table::parse(bytes).map_err(|fault| Error::Unusable(file.to_owned(), fault))
}

fn refuse_if_open(metadata: &Metadata) -> Result<(), UsersFault> {
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(UsersFault::NoFile);
    }
    if metadata.permissions().mode() & 0o006 != 0 {
        Err(UsersFault::Open)
    } else {
        Ok(())
    }
}
