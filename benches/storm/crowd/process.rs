//! What a process has used, as the kernel tells.

use std::fs;
use std::time::Duration;

/// A process that runs.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    /// The time on a CPU of all threads that live, to the nanosecond.
    pub fn cpu(self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0)).expect("it runs");
        let on_cpu = |thread: fs::DirEntry| {
            // A thread may end between the two looks.
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split(' ')
                .next()?
                .parse()
                .ok()
                .map(Duration::from_nanos)
        };
        threads.flatten().filter_map(on_cpu).sum()
    }

    /// Resident memory, in bytes.
    pub fn resident(self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most resident memory that it ever had, in bytes.
    pub fn most_resident(self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).expect("it runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .expect("a size");
        line.trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .expect("a number")
            << 10
    }
}
