//! Whether a file that is looked at from time to time can be used: that it can be used again is told, once.

use std::sync::atomic::{AtomicBool, Ordering};

/// What is known of one file.
#[derive(Debug, Default)]
pub(super) struct ReloadHealth {
    is_bad: AtomicBool,
}

impl ReloadHealth {
    /// Reports that the file cannot be used.
    pub(super) fn bad(&self) {
        self.is_bad.store(true, Ordering::Release);
    }

    /// Reports that the file can be used. Returns whether it could not before.
    pub(super) fn good(&self) -> bool {
        self.is_bad.swap(false, Ordering::AcqRel)
    }
}
