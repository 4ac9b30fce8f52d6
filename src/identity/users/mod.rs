//! User keys and passwords: the operator's file, reloaded when it changes, and the threads that compare passwords.
//!
//! A file that is missing, half-written or wrong in one line never replaces the last good one, and no error quotes a line. No
//! password is shown, kept, or compared on a thread that serves requests. The sign-in compares passwords here; `app` opens the
//! file and watches it; the command line changes it.
//!
//! # How a password is compared
//!
//! ```text
//! benutzerschluessel ──POST──> device ── budgets have room? ── hashers: compare ──┬─ wrong, or nobody ── budgets + 1 ──> same page
//!                              u:        c: (read only)        slots, running     └─ right ── sign_in_on_device ────────> full session, device known
//!                                        └─ no: 429, nothing hashed                           (budgets checked again)
//! ```
//!
//! - **Counted first.** The result of a comparison is revealed only by the atomic step that counts it: a wrong
//!   password is counted, and a right one signs in only while the budgets have room. Of any number of parallel
//!   guesses, on any number of gateways, only as many are answered as there is room for; the others get 429, right
//!   or wrong. The budgets are also checked before the comparison, so that an exhausted one costs no hashing. They
//!   are not charged in advance and refunded: a broker house that signs in at eight o'clock would hit its own
//!   address's limit.
//! - **Unknown users cost the same** (`users/snapshot.rs`): an unknown user key is compared with a hash that no
//!   password has, with the parameters of one of the users, chosen by a keyed digest of the user key. So timing
//!   reveals nothing while hashes have different costs, and the same user key always takes the same time.
//! - **A session identifies its user** by 24 bits of the mark, enough among the users of one broker, without making
//!   sessions larger. `gateway/membership.rs` checks on each request that the user still exists, as it does for the
//!   broker.
//! - **A device is not trust.** It has its own cookie and kind of record, and a token that changes with each sign-in
//!   with a password, so that a planted cookie gains nothing. It only selects the budget: the password is required
//!   each time, and no TAN is skipped. A sign-in with a password leaves trust unchanged.
//! - **Threads** (`users/hashers.rs`): one semaphore for slots (running and queued), one for running jobs. A caller
//!   that stops waiting frees both; work that has begun keeps its permits to the end, so that the number of threads
//!   bounds memory. The threads run at lower priority than those that serve requests.
//! - **The file** (`users/edit.rs`): a command or a gateway that changes it holds `flock` on it, checks that it is
//!   still the file of that name, and renames a new one with the same owner and mode over it. A renewed hash
//!   replaces only the one that was compared.

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

use self::edit::LockWait;
use self::table::Table;
use crate::clock::Rng;
use crate::config::{self, HashCost};
use crate::reloadable::{ReadError, Reloadable, Reloaded, Source, Update, WatchedFile, read_once};
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

/// A larger file is a mistake.
const MAX_FILE: u64 = 256 << 20;

/// The users of a file.
pub struct Users {
    file: PathBuf,
    current: Arc<Reloadable<UsersFile>>,
    /// The failure to renew hashes was logged.
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

    /// Returns the current users; the snapshot never changes.
    pub fn snapshot(&self) -> Arc<UsersSnapshot> {
        self.current.snapshot()
    }

    /// Returns whether the broker has a user with this tag. Called for each request of a session that began with a password.
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

    /// Writes a renewed hash to the file, if the user still has the previous one.
    fn renew(&self, key: &UserKey, previous: &Hash, renewed: Hash) {
        match edit::change(&self.file, LockWait::Fail, |table| {
            table.renew(key, previous, renewed).then_some(())
        }) {
            Ok(Some(())) => tracing::info!(target: "users", "renewed a password hash"),
            // Somebody has changed the file, or is changing it; the next sign-in tries again.
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

    fn read(&mut self, _: &UsersSnapshot, _: Timestamp) -> Result<Update<Self>, Error> {
        let next = self.snapshot()?;
        Ok(Update {
            report: next.len(),
            value: Some(next),
        })
    }

    fn is_silent(&mut self, error: &Error) -> bool {
        matches!(error, Error::Unusable(_, UsersFault::BeingWritten))
    }
}

/// Compares passwords of users, on the hashing threads.
pub struct Passwords {
    pub users: Arc<Users>,
    hashers: Hashers,
    cost: HashCost,
    rng: Rng,
}

/// The reason why a password was not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCompared {
    /// The queue of the hashing threads is full.
    Full,
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
    /// Combines the users with the threads that hash.
    pub fn new(
        config: &config::PasswordConfig,
        users: Arc<Users>,
        hashers: Hashers,
        rng: Rng,
    ) -> Self {
        Self {
            users,
            hashers,
            cost: config.cost,
            rng,
        }
    }

    /// Returns the password, and whether it is this user's. For `None` it takes as long and is always wrong; `lot` is the result of
    /// [`crate::store::Vault::lot`] for the user key.
    ///
    /// # Errors
    /// [`NotCompared`] if the password was not compared.
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

    /// Renews the hash after a right password, if it is cheaper than configured now. Errors are ignored.
    pub async fn renew_if_due(&self, key: &UserKey, user: &User, password: Password) {
        if user.hash.cost().work() >= self.cost.work() {
            return;
        }
        let key = key.clone();
        let previous = user.hash.clone();
        let cost = self.cost;
        let rng = self.rng;
        let users = Arc::clone(&self.users);
        let renew = move || {
            if let Ok(renewed) = Hash::of(&password, cost, rng) {
                users.renew(&key, &previous, renewed);
            }
        };
        // If the queue is full, the next sign-in renews it.
        let _ = self.hashers.run(renew).await;
    }
}

/// Whether a user is added or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Added,
    Replaced,
}

/// Writes a user to the file, and creates the file if it is missing. Returns `None`, and changes nothing, if [`Put::Added`] finds a
/// user with this key, or [`Put::Replaced`] finds none.
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
    edit::change(file, LockWait::Block, |table| {
        let is_there = table.find(&key).is_some();
        (is_there == (put == Put::Replaced)).then(|| table.put(key, written.trim(), user))
    })
}

/// Returns whether there is a user with this key; a missing file has none.
///
/// # Errors
/// [`Error`] if it cannot be read or used.
pub fn is_there(file: &Path, key: &UserKey) -> Result<bool, Error> {
    match read(file) {
        Err(Error::Unreadable(_, error)) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        bytes => Ok(table(file, &bytes?)?.find(key).is_some()),
    }
}

/// Removes a user from the file. Returns its broker, or `None` if there was no such user.
///
/// # Errors
/// [`Error`] says why nothing was changed.
pub fn remove(file: &Path, key: &UserKey) -> Result<Option<Vtnr>, Error> {
    edit::change(file, LockWait::Block, |table| {
        table.remove(key).map(|user| user.vtnr)
    })
}

/// Lists all users of the file as they are written there, with the costs of their hashes.
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
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err(UsersFault::NoFile);
    }
    if metadata.permissions().mode() & 0o006 != 0 {
        Err(UsersFault::Open)
    } else {
        Ok(())
    }
}
