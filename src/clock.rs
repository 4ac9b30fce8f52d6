//! The only clock and the only random source, held by `app`: all other code takes times and random
//! bytes from them.

use domain::ids::{
    BrowserToken, DeviceToken, FlowToken, FormId, FormToken, LetterId, SessionToken, TOKEN_BYTES,
};
use domain::tan::{Alphabet, Tan, TanLength};
use domain::time::Timestamp;
use rand::Rng as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of the current time.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// Reads the machine's clock.
    #[default]
    System,
    /// Runs evenly, even if the machine's clock is set, and follows the clock of a shared store.
    Steady(Arc<Steady>),
    /// Is moved by tests, in milliseconds since the epoch.
    Manual(Arc<AtomicU64>),
}

/// A monotonic clock with an adjustable start.
#[derive(Debug)]
pub struct Steady {
    began: Instant,
    start: AtomicU64,
    /// Set once the clock follows another clock than this machine's.
    follows: AtomicBool,
}

/// A jump of the followed clock against this machine's monotonic one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Forward(Duration),
    Back(Duration),
}

impl Step {
    /// The longest delay between reading the followed clock and applying its time.
    const MIN_STEP: Duration = Duration::from_secs(2);

    fn between(before: u64, now: u64) -> Option<Self> {
        let by = Duration::from_millis(now.abs_diff(before));
        (by > Self::MIN_STEP).then_some(if now > before {
            Self::Forward(by)
        } else {
            Self::Back(by)
        })
    }
}

impl Steady {
    fn elapsed(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Clock {
    /// Creates a steady clock that starts at the machine's time.
    pub fn steady() -> Self {
        Self::Steady(Arc::new(Steady {
            began: Instant::now(),
            start: AtomicU64::new(Self::System.now().as_millis()),
            follows: AtomicBool::new(false),
        }))
    }

    /// Sets a steady clock to the time of a clock that it follows from now on, and returns the jump
    /// of that clock, if there was one. Other clocks are left unchanged.
    pub fn follow(&self, time: Timestamp) -> Option<Step> {
        let Self::Steady(steady) = self else {
            return None;
        };
        let start = time.as_millis().saturating_sub(steady.elapsed());
        let before = steady.start.swap(start, Ordering::Relaxed);
        steady
            .follows
            .swap(true, Ordering::Relaxed)
            .then(|| Step::between(before, start))
            .flatten()
    }

    /// Sets a steady clock to the machine's if that is ahead: a monotonic clock does not notice
    /// that the machine slept.
    pub fn catch_up(&self) {
        let now = Self::System.now();
        if now > self.now() {
            self.follow(now);
        }
    }

    /// Creates a clock for tests, stopped at `start`.
    pub fn manual(start: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicU64::new(start.as_millis())))
    }

    /// Returns the current time; the epoch if the machine's clock is set before it.
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => {
                let since_epoch = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or(Duration::ZERO);
                Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
            }
            Self::Steady(steady) => Timestamp::from_millis(
                steady
                    .start
                    .load(Ordering::Relaxed)
                    .saturating_add(steady.elapsed()),
            ),
            Self::Manual(millis) => Timestamp::from_millis(millis.load(Ordering::SeqCst)),
        }
    }

    /// Advances a manual clock; other clocks are left unchanged.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(millis) = self {
            millis.fetch_add(
                u64::try_from(by.as_millis()).unwrap_or(u64::MAX),
                Ordering::SeqCst,
            );
        }
    }
}

/// A cryptographically secure random generator, seeded by the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rng;

impl Rng {
    /// Fills the buffer with random bytes.
    #[expect(clippy::disallowed_methods, reason = "this is the only random source")]
    pub fn fill(self, buffer: &mut [u8]) {
        rand::rng().fill_bytes(buffer);
    }

    fn token(self) -> [u8; TOKEN_BYTES] {
        let mut bytes = [0; TOKEN_BYTES];
        self.fill(&mut bytes);
        bytes
    }

    /// Draws a session token.
    pub fn session_token(self) -> SessionToken {
        SessionToken::from_bytes(self.token())
    }

    /// Draws a token for a trusted browser.
    pub fn browser_token(self) -> BrowserToken {
        BrowserToken::from_bytes(self.token())
    }

    /// Draws a token for a sign-in.
    pub fn flow_token(self) -> FlowToken {
        FlowToken::from_bytes(self.token())
    }

    /// Draws a token for a browser in which a user key has signed in.
    pub fn device_token(self) -> DeviceToken {
        DeviceToken::from_bytes(self.token())
    }

    /// Draws a token for a browser with held forms.
    pub fn form_token(self) -> FormToken {
        FormToken::from_bytes(self.token())
    }

    /// Draws the id of a held form.
    pub fn form_id(self) -> FormId {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        FormId::from_bits(u64::from_be_bytes(bytes))
    }

    /// Draws the id of a letter.
    pub fn letter_id(self) -> LetterId {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        LetterId::from_bits(u128::from_be_bytes(bytes))
    }

    /// Draws a TAN of this length.
    pub fn tan(self, alphabet: &Alphabet, length: TanLength) -> Tan {
        Tan::draw(alphabet, length, |buffer| self.fill(buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_clock_goes_on_from_what_it_was_last_set_to() {
        let clock = Clock::steady();
        let begun = clock.now();
        assert!(
            begun.since(Clock::System.now()) < Duration::from_secs(1)
                && Clock::System.now().since(begun) < Duration::from_secs(1)
        );
        for (time, step) in [
            (1_790_683_350_000, None),
            (1_000_000_000_000, Some("back")),
            (2_000_000_000_000, Some("forward")),
        ] {
            let found = clock
                .follow(Timestamp::from_millis(time))
                .map(|step| match step {
                    Step::Forward(_) => "forward",
                    Step::Back(_) => "back",
                });
            assert_eq!(found, step);
            assert_eq!(
                clock.follow(Timestamp::from_millis(time)),
                None,
                "it goes on"
            );
            let (first, later) = (clock.now(), clock.clone().now());
            assert!(
                first >= Timestamp::from_millis(time)
                    && first.since(Timestamp::from_millis(time)) < Duration::from_secs(5)
            );
            assert!(later >= first);
        }
    }

    #[test]
    fn no_other_clock_can_be_set() {
        let clock = Clock::manual(Timestamp::from_millis(5));
        clock.follow(Timestamp::from_millis(9));
        assert_eq!(clock.now(), Timestamp::from_millis(5));
    }
}
