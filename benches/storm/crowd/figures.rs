//! Times that were measured, by what was asked for, and errors.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;

/// Times of one kind.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// One more.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest time that this share of all does not exceed, in milliseconds; 0 if there is none.
    pub fn quantile(&mut self, share: f64) -> f64 {
        self.0.sort_unstable();
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0
            .get(rank.saturating_sub(1))
            .map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }
}

/// Takes down what a crowd finds.
#[derive(Default)]
pub struct Record {
    times: Mutex<BTreeMap<&'static str, Times>>,
    errors: Mutex<Vec<String>>,
}

impl Record {
    /// Something took this time.
    pub fn took(&self, what: &'static str, time: Duration) {
        self.times.lock().entry(what).or_default().add(time);
    }

    /// Something went wrong.
    pub fn failed(&self, error: &anyhow::Error) {
        self.errors.lock().push(format!("{error:#}"));
    }

    /// All times by kind.
    pub fn times(&self) -> BTreeMap<&'static str, Times> {
        self.times.lock().clone()
    }

    /// The times of one kind.
    pub fn times_of(&self, what: &str) -> Times {
        self.times.lock().get(what).cloned().unwrap_or_default()
    }

    /// What went wrong.
    pub fn errors(&self) -> Vec<String> {
        self.errors.lock().clone()
    }
}
