//! Detects changes of a file without reading it.

use domain::time::Timestamp;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Identity, size and times of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileFingerprint {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    /// The kernel's own time of the last change: it also shows a `chmod` that makes the file readable, and cannot
    /// be set back, as copying tools do with the time of modification.
    changed: (i64, i64),
}

impl FileFingerprint {
    /// The fingerprint of a file; `None` if its metadata cannot be read.
    pub(crate) fn of_file(file: &Path) -> Option<Self> {
        file.metadata().ok().map(|metadata| Self::of(&metadata))
    }

    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            inode: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The time since the last change; zero if that is in the future.
    pub(crate) fn age(&self, now: Timestamp) -> Duration {
        let (seconds, nanoseconds) = self.changed;
        let millis = seconds
            .saturating_mul(1_000)
            .saturating_add(nanoseconds / 1_000_000);
        now.since(Timestamp::from_millis(u64::try_from(millis).unwrap_or(0)))
    }
}

/// Tells when a polled file is to be read again.
#[derive(Debug)]
pub(crate) struct ChangeDetector {
    /// The fingerprint at the last read, successful or not.
    at_last_read: Option<FileFingerprint>,
    previous: Option<FileFingerprint>,
    /// Consecutive polls that found the file changed since the last read.
    restless: u32,
}

/// A file that keeps changing is read after this many polls all the same, so that a broker who was removed does not stay.
const MAX_RESTLESS_POLLS: u32 = 3;

impl ChangeDetector {
    /// Begins with the fingerprint of a file that was read.
    pub(crate) fn begin(stamp: FileFingerprint) -> Self {
        Self {
            at_last_read: Some(stamp),
            previous: Some(stamp),
            restless: 0,
        }
    }

    /// Polls the file: whether it changed since it was read, and has come to rest or kept changing for long.
    pub(crate) fn poll(&mut self, file: &Path, interval: Duration, now: Timestamp) -> bool {
        let seen = FileFingerprint::of_file(file);
        let at_rest = seen == self.previous || seen.is_some_and(|stamp| stamp.age(now) >= interval);
        self.previous = seen;
        if seen == self.at_last_read {
            return false;
        }
        self.restless += 1;
        at_rest || self.restless > MAX_RESTLESS_POLLS
    }

    /// Notes the fingerprint of a file that was read, with whatever result.
    pub(crate) fn has_read(&mut self, stamp: FileFingerprint) {
        *self = Self::begin(stamp);
    }

    /// Notes that the file could not be read; it is not retried as it is.
    pub(crate) fn could_not_read(&mut self) {
        (self.at_last_read, self.restless) = (self.previous, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_never_comes_to_rest_is_read_after_a_few_looks() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        let write = |length: usize| std::fs::write(&file, "x".repeat(length)).expect("written");
        write(1);
        let mut watch = ChangeDetector::begin(FileFingerprint::of_file(&file).expect("there"));
        let (long, now) = (Duration::from_secs(3_600), Timestamp::from_millis(0));
        assert!(!watch.poll(&file, long, now), "it is as it was read");
        let due: Vec<bool> = (2..6)
            .map(|length| {
                write(length);
                watch.poll(&file, long, now)
            })
            .collect();
        assert_eq!(due, [false, false, false, true]);
        watch.has_read(FileFingerprint::of_file(&file).expect("there"));
        write(9);
        assert!(
            !watch.poll(&file, long, now) && watch.poll(&file, long, now),
            "at rest since the last look"
        );
    }
}
