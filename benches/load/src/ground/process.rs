//! Programs that run on a core of their own, and what they cost.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The core of whatever makes the load, and of all that is not measured itself.
pub(crate) const OURS: usize = 0;
/// The core of what is measured.
pub(crate) const THEIRS: usize = 1;

/// A program that runs until dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts it on this core; what it prints goes to `log`.
    pub(crate) fn start(core: usize, program: &str, arguments: &[&str], log: &Path) -> Self {
        let log = fs::File::create(log).expect("a log");
        let child = Command::new("taskset")
            .args(["-c", &core.to_string(), program])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
        Self { child }
    }

    /// Waits until something listens there.
    ///
    /// # Panics
    /// If nothing does within ten seconds.
    pub(crate) fn listens(self, address: SocketAddr, log: &Path) -> Self {
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{}",
                fs::read_to_string(log).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        self
    }

    /// Seconds of a processor that it and all its children used so far.
    pub(crate) fn cpu(&self) -> f64 {
        self.family().into_iter().map(cpu_of).sum()
    }

    /// MiB of memory that it and all its children have in use.
    pub(crate) fn memory(&self) -> f64 {
        self.family().into_iter().map(memory_of).sum()
    }

    fn family(&self) -> Vec<u32> {
        let mut family = vec![self.child.id()];
        let mut at = 0;
        while let Some(&parent) = family.get(at) {
            let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))
                .unwrap_or_default();
            family.extend(
                children
                    .split_whitespace()
                    .filter_map(|id| id.parse::<u32>().ok()),
            );
            at += 1;
        }
        family
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGTERM first: nginx takes its workers along then.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < Duration::from_secs(2)
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In seconds, threads that have ended included. Linux counts in hundredths, of which a run has hundreds.
fn cpu_of(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything: state, and from there the 11th and the 12th, user and system.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    fields
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}

fn memory_of(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1_024.0
}
