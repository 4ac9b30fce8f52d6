//! Closes an open WebSocket from wherever that is decided.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use tokio::sync::Notify;

const NO_WEBSOCKET: u8 = 0;
const OPEN: u8 = 1;
const SESSION_ENDED: u8 = 2;
const DRAINED: u8 = 3;

/// Why the gateway closes a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    SessionEnded,
    Draining,
}

/// Every client connection has one: it tells the task that carries the bytes to close the WebSocket.
///
/// The state only moves forward: no WebSocket, open, closing.
#[derive(Debug, Default)]
pub(crate) struct CloseHandle {
    state: AtomicU8,
    /// The client sent data since the last check of its session.
    used: AtomicBool,
    /// Wakes the task that carries the bytes.
    wakeup: Notify,
}

impl CloseHandle {
    /// Marks the connection as a WebSocket: the next answer on it is 101.
    pub(crate) fn open(&self) {
        // A handle that was closed stays closed.
        let _ =
            self.state
                .compare_exchange(NO_WEBSOCKET, OPEN, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(crate) fn close(&self, reason: CloseReason) {
        let state = match reason {
            CloseReason::SessionEnded => SESSION_ENDED,
            CloseReason::Draining => DRAINED,
        };
        // The end of a session outranks a drain.
        let _ = self
            .state
            .try_update(Ordering::AcqRel, Ordering::Acquire, |before| {
                (before != SESSION_ENDED).then_some(state)
            });
        self.wakeup.notify_one();
    }

    /// Whether the connection is a WebSocket, closing or not.
    pub(crate) fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) != NO_WEBSOCKET
    }

    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        match self.state.load(Ordering::Acquire) {
            SESSION_ENDED => Some(CloseReason::SessionEnded),
            DRAINED => Some(CloseReason::Draining),
            _ => None,
        }
    }

    /// Notes that the client sent data, which counts as a use of its session.
    pub(crate) fn note_use(&self) {
        self.used.store(true, Ordering::Release);
    }

    pub(crate) fn is_used(&self) -> bool {
        self.used.load(Ordering::Acquire)
    }

    /// Returns whether the client sent data since the last call.
    pub(crate) fn take_use(&self) -> bool {
        self.used.swap(false, Ordering::AcqRel)
    }

    /// Returns once the WebSocket is to close. Only one task may wait: the one that carries the bytes.
    pub(crate) async fn closed(&self) {
        self.wakeup.notified().await;
    }
}
