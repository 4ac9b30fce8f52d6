//! Files that are read again when they have changed.

use domain::time::Timestamp;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Identity, size and times of a file: detects changes without reading it.
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
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The time since the last change; zero if that is in the future.
    fn age(&self, now: Timestamp) -> Duration {
        let (seconds, nanoseconds) = self.changed;
        let millis = seconds
            .saturating_mul(1_000)
            .saturating_add(nanoseconds / 1_000_000);
        now.since(Timestamp::from_millis(u64::try_from(millis).unwrap_or(0)))
    }
}

/// The fingerprints of one file or more; none for a file whose metadata cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fingerprints(Vec<(PathBuf, Option<FileFingerprint>)>);

impl Fingerprints {
    pub(crate) fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let fingerprint = |file: &Path| file.metadata().ok().map(|data| FileFingerprint::of(&data));
        let with_fingerprint = |file: PathBuf| (fingerprint(&file), file);
        let all = files.into_iter().map(with_fingerprint);
        Self(all.map(|(found, file)| (file, found)).collect())
    }

    /// These fingerprints, with the earlier ones of files that `before` knows.
    pub(crate) fn preferring(self, before: &Self) -> Self {
        let earlier = |file: &PathBuf| before.0.iter().find(|(known, _)| known == file);
        let all = self.0.into_iter();
        Self(
            all.map(|found| earlier(&found.0).cloned().unwrap_or(found))
                .collect(),
        )
    }

    /// Whether none of the files changed within the last `interval`; false if none exists.
    fn are_at_rest(&self, interval: Duration, now: Timestamp) -> bool {
        let mut there = self.0.iter().filter_map(|(_, found)| *found).peekable();
        there.peek().is_some() && there.all(|found| found.age(now) >= interval)
    }
}

/// Detects when polled files are to be read again.
#[derive(Debug)]
pub(crate) struct ChangeDetector {
    /// The fingerprints at the last read, successful or not.
    at_last_read: Fingerprints,
    previous: Fingerprints,
    /// Consecutive polls that found the files changed since the last read.
    restless: u32,
}

/// Files that keep changing are read after this many polls all the same, so that a broker who was removed does not stay.
const MAX_RESTLESS_POLLS: u32 = 3;

impl ChangeDetector {
    /// Begins with the fingerprints of files that were read, with whatever result.
    pub(crate) fn begin(read: Fingerprints) -> Self {
        Self {
            at_last_read: read.clone(),
            previous: read,
            restless: 0,
        }
    }

    /// Polls the files: whether they changed since they were read, and have come to rest or kept changing for long.
    pub(crate) fn poll(&mut self, seen: Fingerprints, interval: Duration, now: Timestamp) -> bool {
        let at_rest = seen == self.previous || seen.are_at_rest(interval, now);
        self.previous = seen;
        if !self.is_pending() {
            return false;
        }
        self.restless += 1;
        at_rest || self.restless > MAX_RESTLESS_POLLS
    }

    /// Whether the last poll found the files changed since they were read.
    pub(crate) fn is_pending(&self) -> bool {
        self.previous != self.at_last_read
    }

    /// Notes that the files could not be read; they are not retried as they are.
    fn could_not_read(&mut self) {
        self.at_last_read.clone_from(&self.previous);
        self.restless = 0;
    }
}

/// A file that is polled for changes and read as a whole.
#[derive(Debug)]
pub(crate) struct WatchedFile {
    path: PathBuf,
    poll: Duration,
    changes: ChangeDetector,
}

/// Why a file was not read.
#[derive(Debug)]
pub(crate) enum ReadError {
    Io(io::Error),
    /// It changed while it was read.
    BeingWritten,
}

impl WatchedFile {
    pub(crate) fn new(path: PathBuf, poll: Duration) -> Self {
        Self {
            path,
            poll,
            changes: ChangeDetector::begin(Fingerprints::default()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file changed since it was read, and has come to rest or kept changing for long.
    pub(crate) fn is_due(&mut self, now: Timestamp) -> bool {
        let seen = Fingerprints::of([self.path.clone()]);
        self.changes.poll(seen, self.poll, now)
    }

    /// Reads the file, if its metadata passes `check`.
    ///
    /// # Errors
    /// A [`ReadError`], or what `check` found. A file that is being written stays due.
    pub(crate) fn read<E: From<ReadError>>(
        &mut self,
        check: impl FnOnce(&Metadata) -> Result<(), E>,
    ) -> Result<Vec<u8>, E> {
        match read_whole(&self.path, check) {
            Ok(FileRead::Whole(bytes, found)) => {
                let read = Fingerprints(vec![(self.path.clone(), Some(found))]);
                self.changes = ChangeDetector::begin(read);
                Ok(bytes)
            }
            Ok(FileRead::Torn) => Err(ReadError::BeingWritten.into()),
            Err(error) => {
                self.changes.could_not_read();
                Err(error)
            }
        }
    }
}

/// Reads a file, if its metadata passes `check`.
///
/// # Errors
/// A [`ReadError`], or what `check` found.
pub(crate) fn read_once<E: From<ReadError>>(
    file: &Path,
    check: impl FnOnce(&Metadata) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    match read_whole(file, check)? {
        FileRead::Whole(bytes, _) => Ok(bytes),
        FileRead::Torn => Err(ReadError::BeingWritten.into()),
    }
}

enum FileRead {
    Whole(Vec<u8>, FileFingerprint),
    /// The file changed meanwhile.
    Torn,
}

fn read_whole<E: From<ReadError>>(
    file: &Path,
    check: impl FnOnce(&Metadata) -> Result<(), E>,
) -> Result<FileRead, E> {
    let io = |error| E::from(ReadError::Io(error));
    let open = File::open(file).map_err(io)?;
    let before = open.metadata().map_err(io)?;
    check(&before)?;
    let mut bytes = Vec::new();
    // A file that grows meanwhile is found torn.
    (&open)
        .take(before.len() + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    let found = FileFingerprint::of(&open.metadata().map_err(io)?);
    if found == FileFingerprint::of(&before) {
        Ok(FileRead::Whole(bytes, found))
    } else {
        Ok(FileRead::Torn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_never_comes_to_rest_is_read_after_a_few_polls() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let write = |length: usize| std::fs::write(&path, "x".repeat(length)).expect("written");
        write(1);
        let mut file = WatchedFile::new(path.clone(), Duration::from_secs(3_600));
        let now = Timestamp::from_millis(0);
        let read = |file: &mut WatchedFile| {
            let bytes = file.read(|_| Ok::<_, ReadError>(()));
            bytes.expect("readable").len()
        };
        assert_eq!(read(&mut file), 1);
        assert!(!file.is_due(now), "it is as it was read");
        let due: Vec<bool> = (2..6)
            .map(|length| {
                write(length);
                file.is_due(now)
            })
            .collect();
        assert_eq!(due, [false, false, false, true]);
        assert_eq!(read(&mut file), 5);
        write(9);
        assert!(
            !file.is_due(now) && file.is_due(now),
            "at rest since the last poll"
        );
    }

    #[test]
    fn what_was_there_before_the_read_counts_for_files_that_are_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("known"), "1").expect("written");
        let before = Fingerprints::of([file("known")]);
        std::fs::write(file("known"), "12").expect("written");
        std::fs::write(file("new"), "1").expect("written");
        let after = Fingerprints::of([file("known"), file("new")]);
        let merged = after.clone().preferring(&before);
        assert_eq!(merged.0.first(), before.0.first());
        assert_eq!(merged.0.last(), after.0.last());
        let mut changes = ChangeDetector::begin(merged);
        let much_later = Timestamp::from_millis(1 << 50);
        assert!(changes.poll(after, Duration::from_secs(1), much_later));
    }
}
