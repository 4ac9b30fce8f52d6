//! Why the store could not do what was asked.

use crate::telemetry::metrics::StoreTrouble;
use std::fmt;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be reached, did not answer in time, or cannot work at the moment.
    #[error("{}", in_words(.0.trouble))]
    Unreachable(#[source] Cause),
    /// It answers, and refuses: wrong password, read-only, out of memory.
    #[error("{}", in_words(.0.trouble))]
    Refused(#[source] Cause),
    /// It did what was asked, or had done so before, but its replicas have not confirmed in time that they have it: if it fails now, that
    /// may be lost. Doing the same again is safe.
    #[error("not as many as {wanted} replicas have confirmed a change")]
    Unconfirmed {
        /// How many must.
        wanted: u32,
    },
    /// A record cannot be opened: damaged, moved to another key, or sealed with another secret.
    #[error("a record of kind `{0}` cannot be opened")]
    Unsealable(&'static str),
    /// The store cannot be used as configured.
    #[error("{0}")]
    Setup(String),
}

/// What the store's operations give.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// What kind of trouble it is, for the metrics.
    pub fn trouble(&self) -> StoreTrouble {
        match self {
            Self::Unreachable(cause) | Self::Refused(cause) => cause.trouble,
            Self::Setup(_) => StoreTrouble::Refused,
            Self::Unconfirmed { .. } => StoreTrouble::Unconfirmed,
            Self::Unsealable(_) => StoreTrouble::Unsealable,
        }
    }
}

/// What the store, or the way to it, said, and what kind of trouble that is.
#[derive(Debug)]
pub struct Cause {
    trouble: StoreTrouble,
    said: BoxError,
}

impl Cause {
    /// Trouble of this kind.
    pub fn new(trouble: StoreTrouble, said: impl Into<BoxError>) -> Self {
        Self {
            trouble,
            said: said.into(),
        }
    }

    /// The error that was met with, if it is of this type.
    pub(super) fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.said.downcast_ref()
    }
}

impl From<&str> for Cause {
    fn from(said: &str) -> Self {
        Self::new(StoreTrouble::Unreachable, said)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.said.fmt(f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.said.source()
    }
}

/// In an operator's terms, which name what there is to be set.
fn in_words(trouble: StoreTrouble) -> &'static str {
    match trouble {
        StoreTrouble::Unreachable => "the store cannot be reached",
        StoreTrouble::Timeout => "the store did not answer in time",
        StoreTrouble::NotReady => "the store is not ready to be asked",
        StoreTrouble::Authentication => "the store refuses the user or the password",
        StoreTrouble::Forbidden => "the store forbids the gateway's user what it needs (ACL)",
        StoreTrouble::OutOfMemory => "the store is full (maxmemory)",
        StoreTrouble::ReadOnly => "the store takes no changes, since it is a replica",
        StoreTrouble::NoReplicas => {
            "the store takes no changes, since it has too few replicas (min-replicas-to-write)"
        }
        StoreTrouble::Disk => "the store cannot use its disk",
        StoreTrouble::Refused => "the store refuses",
        StoreTrouble::Unconfirmed => "replicas have not confirmed a change",
        StoreTrouble::Unsealable => "a record cannot be opened",
    }
}
