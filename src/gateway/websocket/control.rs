//! The handle by which a tunnel is told to end, from wherever that is decided.

use std::sync::atomic::{AtomicU8, Ordering};
use tokio::sync::Notify;

const CLOSED: u8 = 0;
const OPEN: u8 = 1;
const ENDED: u8 = 2;
const LEFT: u8 = 3;

/// Why a tunnel is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Its session ended.
    SessionEnded,
    /// The gateway ends.
    Leaving,
}

/// A connection's handle: an ordinary one, a tunnel, or a tunnel that is to end. It only ever moves on in this order.
#[derive(Debug, Default)]
pub(crate) struct Line {
    state: AtomicU8,
    /// Awaited by the task that carries the bytes, which so wakes and looks.
    cut: Notify,
}

impl Line {
    /// The next answer on this connection is 101: what follows is a tunnel.
    pub(crate) fn open(&self) {
        // One that was cut stays cut.
        let _ = self
            .state
            .compare_exchange(CLOSED, OPEN, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Ends the tunnel.
    pub(crate) fn cut(&self, why: Cut) {
        let state = match why {
            Cut::SessionEnded => ENDED,
            Cut::Leaving => LEFT,
        };
        // What a session's end has cut stays so.
        let _ = self
            .state
            .try_update(Ordering::AcqRel, Ordering::Acquire, |before| {
                (before != ENDED).then_some(state)
            });
        self.cut.notify_one();
    }

    /// Whether this is a tunnel, cut or not.
    pub(crate) fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) != CLOSED
    }

    /// Why the tunnel was cut, if it was.
    pub(crate) fn why_cut(&self) -> Option<Cut> {
        match self.state.load(Ordering::Acquire) {
            ENDED => Some(Cut::SessionEnded),
            LEFT => Some(Cut::Leaving),
            _ => None,
        }
    }

    /// Returns once the tunnel was cut; for one caller, in the task that carries the bytes.
    pub(crate) async fn until_cut(&self) {
        self.cut.notified().await;
    }
}
