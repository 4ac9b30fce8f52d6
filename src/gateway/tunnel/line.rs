//! The handle by which a tunnel is told to end, from wherever that is decided.

use std::sync::atomic::{AtomicU8, Ordering};
use tokio::sync::Notify;

const CLOSED: u8 = 0;
const OPEN: u8 = 1;
const CUT: u8 = 2;

/// A connection's handle: an ordinary one, a tunnel, or a tunnel that is to end. It only ever moves on in this order.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Line {
    state: AtomicU8,
    /// Awaited by the task that carries the bytes, which so wakes and looks.
    cut: Notify,
}

impl Line {
    /// The next answer on this connection is 101: what follows is a tunnel.
    pub(in crate::gateway) fn open(&self) {
        // One that was cut stays cut.
        let _ = self.state.compare_exchange(CLOSED, OPEN, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Ends the tunnel.
    pub(in crate::gateway) fn cut(&self) {
        self.state.store(CUT, Ordering::Release);
        self.cut.notify_one();
    }

    /// Whether this is a tunnel, cut or not.
    pub(super) fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) != CLOSED
    }

    pub(in crate::gateway) fn is_cut(&self) -> bool {
        self.state.load(Ordering::Acquire) == CUT
    }

    /// Returns once the tunnel was cut; for one caller, in the task that carries the bytes.
    pub(in crate::gateway) async fn until_cut(&self) {
        self.cut.notified().await;
    }
}
