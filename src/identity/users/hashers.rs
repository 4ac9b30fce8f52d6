//! Threads that hash passwords. The number of running and queued jobs is limited, so that a flood of sign-ins
//! cannot take over the machine.

use crate::telemetry::metrics::Metrics;
use parking_lot::Mutex;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;
use tokio::sync::{Semaphore, oneshot};

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A pool of threads that hash passwords.
pub struct Hashers {
    /// Permits for running and queued jobs.
    slots: Arc<Semaphore>,
    /// Permits for running jobs.
    running: Arc<Semaphore>,
    /// Dropping the sender ends the threads. Nobody waits for them: a hash may take longer than the shutdown, and a renewal
    /// that is cut off leaves the users file intact.
    jobs: Sender<Job>,
    metrics: Arc<Metrics>,
}

type Job = Box<dyn FnOnce() + Send>;

/// Hashing must not delay the requests of signed-in brokers.
const NICE: i32 = 5;

impl Hashers {
    /// Starts the threads, with a queue of this length.
    ///
    /// # Errors
    /// The operating system cannot start a thread.
    pub fn start(threads: usize, queue: usize, metrics: Arc<Metrics>) -> io::Result<Self> {
        let slots = Arc::new(Semaphore::new(threads + queue));
        let running = Arc::new(Semaphore::new(threads));
        let (jobs, queued) = channel();
        let queued = Arc::new(Mutex::new(queued));
        for nr in 0..threads {
            let queued = Arc::clone(&queued);
            std::thread::Builder::new()
                .name(format!("hasher-{nr}"))
                .spawn(move || worker_loop(&queued))?;
        }
        Ok(Self {
            slots,
            running,
            jobs,
            metrics,
        })
    }

    /// Runs the work on a thread, once one is free. A caller that stops waiting leaves the queue; work that has begun runs to
    /// its end.
    ///
    /// # Errors
    /// [`Full`] if the queue is full.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Full> {
        let slot = Arc::clone(&self.slots)
            .try_acquire_owned()
            .map_err(|_| Full)?;
        let waiting = Waiting::of(&self.metrics);
        let running = Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(|_| Full)?;
        drop(waiting);
        let (done, result) = oneshot::channel();
        let metrics = Arc::clone(&self.metrics);
        let permits = (slot, running);
        let job = move || {
            let begun = Instant::now();
            let permits = permits;
            let outcome = work();
            metrics.password_hashed(begun.elapsed());
            // Before the outcome is sent: its receiver finds the slot free.
            drop(permits);
            // The caller may have stopped waiting.
            let _ = done.send(outcome);
        };
        self.jobs.send(Box::new(job)).map_err(|_| Full)?;
        result.await.map_err(|_| Full)
    }
}

/// Counts a waiting caller in the metrics.
struct Waiting(Arc<Metrics>);

impl Waiting {
    fn of(metrics: &Arc<Metrics>) -> Self {
        metrics.password_waits();
        Self(Arc::clone(metrics))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.password_waits_no_more();
    }
}

fn worker_loop(queued: &Mutex<Receiver<Job>>) {
    // On Linux the nice value belongs to the thread. If it cannot be set, hashing runs at normal priority.
    let _ = rustix::process::nice(NICE);
    loop {
        // One thread waits for a job, the others for the lock; receiving fails once the sender is dropped.
        let Ok(job) = queued.lock().recv() else {
            return;
        };
        // The panic hook has logged a panic, and the caller gets an error; the thread goes on.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::{join_all, poll_immediate};
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::sync_channel;

    fn hashers(threads: usize, queue: usize) -> Hashers {
        Hashers::start(threads, queue, Arc::new(Metrics::new().expect("sound"))).expect("threads")
    }

    #[tokio::test]
    async fn no_more_are_at_work_than_there_are_threads() {
        static AT_WORK: AtomicUsize = AtomicUsize::new(0);
        let hashers = hashers(2, 100);
        let work = || {
            let at_work = AT_WORK.fetch_add(1, Ordering::SeqCst) + 1;
            std::thread::yield_now();
            AT_WORK.fetch_sub(1, Ordering::SeqCst);
            at_work
        };
        let most = join_all((0..100).map(|_| hashers.run(work))).await;
        assert!(
            most.iter().all(|at_work| matches!(at_work, Ok(1 | 2))),
            "{most:?}"
        );
    }

    #[tokio::test]
    async fn beyond_the_queue_there_is_no_place_and_whoever_gives_up_makes_room() {
        let hashers = hashers(1, 1);
        let (begin, begun) = sync_channel::<()>(0);
        let mut working = pin!(hashers.run(move || begun.recv().is_ok()));
        assert!(poll_immediate(working.as_mut()).await.is_none(), "it works");
        {
            let mut waiting = pin!(hashers.run(|| ()));
            assert!(poll_immediate(waiting.as_mut()).await.is_none(), "it waits");
            assert_eq!(hashers.run(|| ()).await, Err(Full));
        }
        let mut next = pin!(hashers.run(|| 7));
        assert!(
            poll_immediate(next.as_mut()).await.is_none(),
            "the one that waited has given up its place"
        );
        begin.send(()).expect("it works still");
        assert_eq!((working.await, next.await), (Ok(true), Ok(7)));
    }

    #[tokio::test]
    async fn what_was_begun_and_given_up_keeps_its_place_until_it_is_done() {
        let hashers = hashers(1, 0);
        let (begin, begun) = sync_channel::<()>(0);
        {
            let mut given_up = pin!(hashers.run(move || begun.recv().is_ok()));
            assert!(poll_immediate(given_up.as_mut()).await.is_none());
        }
        assert_eq!(
            hashers.run(|| ()).await,
            Err(Full),
            "its memory is still in use"
        );
        begin.send(()).expect("it works still");
    }

    #[tokio::test]
    async fn work_that_breaks_off_takes_no_thread_along() {
        let hashers = hashers(1, 4);
        let broken: Result<(), Full> = hashers.run(|| panic!("broken")).await;
        assert_eq!((broken, hashers.run(|| 1).await), (Err(Full), Ok(1)));
    }
}
