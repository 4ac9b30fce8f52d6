//! The threads that hash passwords, so many at once and so many waiting: whoever floods the sign-in gets no more of the machine.

use crate::telemetry::metrics::Metrics;
use parking_lot::Mutex;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// As many are waiting as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Threads that do one piece of work after the other.
pub struct Hashers {
    /// Places, of those that are at work and those that wait.
    places: Arc<Semaphore>,
    /// Turns, of those that are at work.
    turns: Arc<Semaphore>,
    /// The threads end when it is gone. Nobody waits for that: a hash may take longer than the gateway has left, and whoever renews one
    /// leaves the file whole, wherever it is broken off.
    work: Sender<Work>,
    metrics: Arc<Metrics>,
}

type Work = Box<dyn FnOnce() + Send>;

/// Not so important that a signed-in broker's request should wait for it.
const NICE: i32 = 5;

impl Hashers {
    /// Starts so many threads, for which so many may wait.
    ///
    /// # Errors
    /// Whatever keeps the operating system from giving a thread.
    pub fn start(threads: usize, queue: usize, metrics: Arc<Metrics>) -> io::Result<Self> {
        let places = Arc::new(Semaphore::new(threads + queue));
        let turns = Arc::new(Semaphore::new(threads));
        let (work, waiting) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for nr in 0..threads {
            let waiting = Arc::clone(&waiting);
            std::thread::Builder::new()
                .name(format!("hasher-{nr}"))
                .spawn(move || toil(&waiting))?;
        }
        Ok(Self {
            places,
            turns,
            work,
            metrics,
        })
    }

    /// Has a thread do this when it is its turn. Whoever gives up waiting leaves the queue; what was begun is done to its end.
    ///
    /// # Errors
    /// [`Full`] if there is no place to wait.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Full> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Full)?;
        let waiting = Waiting::of(&self.metrics);
        let turn = Arc::clone(&self.turns)
            .acquire_owned()
            .await
            .map_err(|_| Full)?;
        drop(waiting);
        let (done, result) = oneshot::channel();
        let metrics = Arc::clone(&self.metrics);
        let held = (place, turn);
        let work = move || {
            let begun = Instant::now();
            let held = held;
            let outcome = work();
            metrics.password_hashed(begun.elapsed());
            leave(held);
            // Nobody may be waiting any more.
            let _ = done.send(outcome);
        };
        self.work.send(Box::new(work)).map_err(|_| Full)?;
        result.await.map_err(|_| Full)
    }
}

/// Before the outcome is told: whoever hears of it finds the place free.
fn leave((place, turn): (OwnedSemaphorePermit, OwnedSemaphorePermit)) {
    drop(turn);
    drop(place);
}

/// Whoever waits for a turn, as the metrics count.
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

fn toil(waiting: &Mutex<Receiver<Work>>) {
    // On Linux that is the thread's own. Where it is not allowed, hashing is as important as anything else.
    let _ = rustix::process::nice(NICE);
    loop {
        // One thread waits for work, the others for its place; at the end nobody sends any more.
        let Ok(work) = waiting.lock().recv() else {
            return;
        };
        // What broke off is logged already, and its owner is told; the thread goes on.
        let _ = catch_unwind(AssertUnwindSafe(work));
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
