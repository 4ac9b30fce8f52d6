//! By what a file is seen to have changed without reading it.

use domain::time::Timestamp;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// A file's identity, size and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    /// The kernel's own time of the last change: it also shows a `chmod` that makes the file readable, and cannot
    /// be set back, as copying tools do with the time of modification.
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file of this name; `None` if it cannot be looked at.
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

    /// How long the file has been left alone; zero if it was changed in what `now` takes for the future.
    pub(crate) fn age(&self, now: Timestamp) -> Duration {
        let (seconds, nanoseconds) = self.changed;
        let millis = seconds
            .saturating_mul(1_000)
            .saturating_add(nanoseconds / 1_000_000);
        now.since(Timestamp::from_millis(u64::try_from(millis).unwrap_or(0)))
    }
}

/// How a file looked that is looked at from time to time; without a stamp it could not be looked at.
#[derive(Debug)]
pub(crate) struct Watch {
    /// When it was last read, with success or not.
    judged: Option<Stamp>,
    previous: Option<Stamp>,
    /// Looks in a row that found it other than it was read, and other than a look ago.
    restless: u32,
}

/// A file that never comes to rest is read after so many looks all the same: who was taken out of it is not to stay in for that.
const RESTLESS: u32 = 3;

impl Watch {
    /// Begins with the fingerprint of a file that was read.
    pub(crate) fn begin(stamp: Stamp) -> Self {
        Self {
            judged: Some(stamp),
            previous: Some(stamp),
            restless: 0,
        }
    }

    /// One look: whether it is another than was read, and has come to rest or been restless for long.
    pub(crate) fn look(&mut self, file: &Path, poll: Duration, now: Timestamp) -> bool {
        let seen = Stamp::of_file(file);
        let at_rest = seen == self.previous || seen.is_some_and(|stamp| stamp.age(now) >= poll);
        self.previous = seen;
        if seen == self.judged {
            return false;
        }
        self.restless += 1;
        at_rest || self.restless > RESTLESS
    }

    /// Notes the fingerprint of a file that was read, with whatever result.
    pub(crate) fn has_read(&mut self, stamp: Stamp) {
        *self = Self::begin(stamp);
    }

    /// Notes that the file could not be read; it is not retried as it is.
    pub(crate) fn could_not_read(&mut self) {
        (self.judged, self.restless) = (self.previous, 0);
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
        let mut watch = Watch::begin(Stamp::of_file(&file).expect("there"));
        let (long, now) = (Duration::from_secs(3_600), Timestamp::from_millis(0));
        assert!(!watch.look(&file, long, now), "it is as it was read");
        let due: Vec<bool> = (2..6)
            .map(|length| {
                write(length);
                watch.look(&file, long, now)
            })
            .collect();
        assert_eq!(due, [false, false, false, true]);
        watch.has_read(Stamp::of_file(&file).expect("there"));
        write(9);
        assert!(
            !watch.look(&file, long, now) && watch.look(&file, long, now),
            "at rest since the last look"
        );
    }
}
