//! Signed-in brokers that ask for pages at a steady rate, whatever the answers take.

use super::brokers::Broker;
use super::browser::{Browser, Purpose};
use super::figures::Record;
use super::visit::is_page_for;
use anyhow::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Somebody who looks at pages.
pub trait Reader: Send + 'static {
    /// Looks at the page of this number.
    ///
    /// # Errors
    /// It is not the right page.
    fn look_at(&mut self, page: u32) -> impl Future<Output = Result<()>> + Send;
}

/// A broker who is signed in.
pub struct SignedIn {
    pub broker: Broker,
    pub browser: Browser,
}

impl Reader for SignedIn {
    async fn look_at(&mut self, page: u32) -> Result<()> {
        let path = format!("/kfz/tarif/{page}");
        let answer = self.browser.get(&path, Purpose::Page).await?;
        is_page_for(&self.broker, &path, &answer)
    }
}

/// How much is looked at.
#[derive(Clone, Copy)]
pub struct Load {
    /// Pages a second, of all together.
    pub rate: f64,
    /// For how long.
    pub time: Duration,
}

/// Lets all of them read, and gives them back with the number of pages. What took how long is taken down as `what`.
///
/// # Errors
/// A reader's task broke off.
pub async fn browse<R: Reader>(
    everybody: Vec<R>,
    load: Load,
    what: &'static str,
    record: &Arc<Record>,
) -> Result<(Vec<R>, u64)> {
    let (begin, asked, mut tasks) = (Instant::now(), Arc::new(AtomicU64::new(0)), JoinSet::new());
    let period = Duration::from_secs_f64(everybody.len() as f64 / load.rate);
    for (at, mut reader) in everybody.into_iter().enumerate() {
        let (record, asked) = (Arc::clone(record), Arc::clone(&asked));
        let mut due = begin + Duration::from_secs_f64(at as f64 / load.rate);
        tasks.spawn(async move {
            for page in 0.. {
                if due >= begin + load.time {
                    break;
                }
                // What could not be asked for when it was due, since the page before was not there yet, has waited. That a
                // timer wakes a millisecond late is no waiting.
                let is_late = Instant::now() > due;
                tokio::time::sleep_until(due).await;
                let since = if is_late { due } else { Instant::now() };
                asked.fetch_add(1, Ordering::Relaxed);
                match reader.look_at(page).await {
                    Ok(()) => record.took(what, since.elapsed()),
                    Err(error) => record.failed(&error),
                }
                due += period;
            }
            reader
        });
    }
    let mut everybody = Vec::new();
    while let Some(reader) = tasks.join_next().await {
        everybody.push(reader?);
    }
    Ok((everybody, asked.load(Ordering::Relaxed)))
}
