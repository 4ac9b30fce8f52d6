//! Errors of the store, and their wording for operators.

use crate::telemetry::metrics::StoreTrouble;
use std::fmt;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The reason why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be reached, timed out, or is not ready.
    #[error("{}", describe(.0.trouble))]
    Unreachable(#[source] Cause),
    /// The store answers with a refusal: wrong password, read-only, out of memory.
    #[error("{}", describe(.0.trouble))]
    Refused(#[source] Cause),
    /// The change was made, now or before, but replicas have not confirmed it in time: a failover
    /// now may lose it. Repeating the operation is safe.
    #[error("fewer than {wanted} replicas have confirmed a change")]
    Unconfirmed {
        /// The configured number of replicas.
        wanted: u32,
    },
    /// A record cannot be opened: damaged, moved to another name, or sealed with another secret.
    #[error("a record of kind `{0}` cannot be opened")]
    Unsealable(&'static str),
    /// The store does not work as configured.
    #[error("{0}")]
    Setup(String),
}

/// The result of a store operation.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Classifies the error for the metrics.
    pub fn trouble(&self) -> StoreTrouble {
        match self {
            Self::Unreachable(cause) | Self::Refused(cause) => cause.trouble,
            Self::Setup(_) => StoreTrouble::Refused,
            Self::Unconfirmed { .. } => StoreTrouble::Unconfirmed,
            Self::Unsealable(_) => StoreTrouble::Unsealable,
        }
    }
}

/// The underlying error, with its class for the metrics.
#[derive(Debug)]
pub struct Cause {
    trouble: StoreTrouble,
    said: BoxError,
}

impl Cause {
    /// Creates a cause of this class.
    pub fn new(trouble: StoreTrouble, said: impl Into<BoxError>) -> Self {
        Self {
            trouble,
            said: said.into(),
        }
    }

    /// Returns the underlying error if it has this type.
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

/// Describes an error in the operator's terms, naming the Redis setting to look at.
fn describe(trouble: StoreTrouble) -> &'static str {
    match trouble {
        StoreTrouble::Unreachable => "the store cannot be reached",
        StoreTrouble::Timeout => "the store did not answer in time",
        StoreTrouble::NotReady => "the store is not ready",
        StoreTrouble::Authentication => "the store refuses the user or the password",
        StoreTrouble::Forbidden => {
            "the store denies the gateway's user a command that it needs (ACL)"
        }
        StoreTrouble::OutOfMemory => "the store is full (maxmemory)",
        StoreTrouble::ReadOnly => "the store is a read-only replica",
        StoreTrouble::NoReplicas => {
            "the store refuses writes for lack of replicas (min-replicas-to-write)"
        }
        StoreTrouble::Disk => "the store cannot write to its disk",
        StoreTrouble::Refused => "the store refuses",
        StoreTrouble::Unconfirmed => "replicas have not confirmed a change",
        StoreTrouble::Unsealable => "a record cannot be opened",
    }
}
