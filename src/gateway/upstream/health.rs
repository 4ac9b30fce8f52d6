//! Whether a server answers, as far as requests and checks have found.

use pingora::{Error, ErrorType};
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Notify;

/// So many failures in a row and a server counts as down. One that is slow to accept once throws nobody out of it.
const ENOUGH: u32 = 2;

/// A server's health. At first it counts as up: requests find out otherwise.
#[derive(Debug, Default)]
pub(crate) struct ServerHealth {
    /// Failures since the last check that succeeded.
    failures: AtomicU32,
    fell: Notify,
}

/// How a server failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerTrouble {
    /// Nobody listens there. That is certain.
    Refused,
    /// No connection, or no good answer to a check; it may have been chance.
    Other,
}

impl ServerTrouble {
    /// What an error says of the server; `None` if it was a fault of ours, such as no file descriptors.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        match error.etype() {
            ErrorType::ConnectRefused => Some(Self::Refused),
            ErrorType::InternalError | ErrorType::SocketError | ErrorType::BindError => None,
            _ => Some(Self::Other),
        }
    }
}

impl ServerHealth {
    pub(crate) fn is_up(&self) -> bool {
        self.failures.load(Ordering::Relaxed) < ENOUGH
    }

    /// The server failed. True if it is down now and was not before.
    pub(crate) fn failed(&self, trouble: ServerTrouble) -> bool {
        let (before, by) = match trouble {
            ServerTrouble::Refused => (self.failures.fetch_max(ENOUGH, Ordering::Relaxed), ENOUGH),
            ServerTrouble::Other => (self.failures.fetch_add(1, Ordering::Relaxed), 1),
        };
        let fell = before < ENOUGH && before.saturating_add(by) >= ENOUGH;
        if fell {
            self.fell.notify_one();
        }
        fell
    }

    /// A check succeeded. True if the server was down before.
    pub(crate) fn succeeded(&self) -> bool {
        self.failures.swap(0, Ordering::Relaxed) >= ENOUGH
    }

    /// Waits until it is found to be down.
    pub(crate) async fn fell(&self) {
        self.fell.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_certain_and_anything_else_counts_when_it_happens_twice() {
        let health = ServerHealth::default();
        assert!(health.is_up() && health.failed(ServerTrouble::Refused) && !health.is_up());
        assert!(!health.failed(ServerTrouble::Refused), "no news");
        assert!(health.succeeded() && health.is_up() && !health.succeeded());
        assert!(!health.failed(ServerTrouble::Other) && health.is_up());
        assert!(!health.succeeded(), "it was not down");
        assert!(
            !health.failed(ServerTrouble::Other)
                && health.failed(ServerTrouble::Other)
                && !health.is_up()
        );
        assert!(!health.failed(ServerTrouble::Other), "no news");
    }

    #[test]
    fn what_is_our_own_fault_says_nothing_of_a_server() {
        let trouble = |etype| ServerTrouble::of(&Error::explain(etype, ""));
        assert_eq!(trouble(ErrorType::InternalError), None);
        assert_eq!(
            trouble(ErrorType::ConnectRefused),
            Some(ServerTrouble::Refused)
        );
        assert_eq!(
            trouble(ErrorType::ConnectTimedout),
            Some(ServerTrouble::Other)
        );
        assert_eq!(trouble(ErrorType::InvalidCert), Some(ServerTrouble::Other));
    }
}
