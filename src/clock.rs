//! The one clock and the one source of chance. `app` holds them; everything else gets times and random bytes from them.

use domain::ids::{
    BrowserToken, DeviceToken, FlowToken, FormId, LetterId, ParkingToken, SessionToken, TOKEN_BYTES,
};
use domain::tan::{Alphabet, Tan, TanLength};
use domain::time::Timestamp;
use rand::Rng as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells the time.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that goes on evenly whatever becomes of the machine's, and that all who share a store can set by the store's.
    Steady(Arc<Steady>),
    /// A clock that a test moves by hand, in milliseconds since the epoch.
    Manual(Arc<AtomicU64>),
}

/// What the time was when the process began, in milliseconds since the epoch, and what has gone by since.
#[derive(Debug)]
pub struct Steady {
    began: Instant,
    then: AtomicU64,
    /// Whether it goes by another clock than this machine's already.
    follows: AtomicBool,
}

/// How a clock that is followed has moved against this machine's steady one since it was last heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It was set forward by this.
    Forward(Duration),
    /// It was set back by this.
    Back(Duration),
}

impl Step {
    /// What lies between the telling and the hearing is not longer.
    const LEAST: Duration = Duration::from_secs(2);

    fn between(before: u64, now: u64) -> Option<Self> {
        let by = Duration::from_millis(now.abs_diff(before));
        (by > Self::LEAST).then_some(if now > before {
            Self::Forward(by)
        } else {
            Self::Back(by)
        })
    }
}

impl Steady {
    fn gone_by(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Clock {
    /// A steady clock that begins with the machine's time.
    pub fn steady() -> Self {
        let (began, then) = (
            Instant::now(),
            AtomicU64::new(Self::System.now().as_millis()),
        );
        Self::Steady(Arc::new(Steady {
            began,
            then,
            follows: AtomicBool::new(false),
        }))
    }

    /// Sets a steady clock: this is the time now, by a clock that it goes by from now on. Any other clock is left alone. Says so if the
    /// clock that is followed made a step.
    pub fn follow(&self, time: Timestamp) -> Option<Step> {
        let Self::Steady(steady) = self else {
            return None;
        };
        let then = time.as_millis().saturating_sub(steady.gone_by());
        let before = steady.then.swap(then, Ordering::Relaxed);
        steady
            .follows
            .swap(true, Ordering::Relaxed)
            .then(|| Step::between(before, then))
            .flatten()
    }

    /// Sets a steady clock to the machine's where that is ahead: the machine slept, which no steady clock notices.
    pub fn catch_up(&self) {
        let now = Self::System.now();
        if now > self.now() {
            self.follow(now);
        }
    }

    /// A clock for tests that stands at `start`.
    pub fn manual(start: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicU64::new(start.as_millis())))
    }

    /// The time; the epoch itself if the machine's clock stands before it.
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
                    .then
                    .load(Ordering::Relaxed)
                    .saturating_add(steady.gone_by()),
            ),
            Self::Manual(millis) => Timestamp::from_millis(millis.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock on; the machine's clock is left alone.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(millis) = self {
            millis.fetch_add(
                u64::try_from(by.as_millis()).unwrap_or(u64::MAX),
                Ordering::SeqCst,
            );
        }
    }
}

/// Gives random bytes from a cryptographically secure generator that the operating system seeds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rng;

impl Rng {
    /// Fills the buffer.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one source of chance"
    )]
    pub fn fill(self, buffer: &mut [u8]) {
        rand::rng().fill_bytes(buffer);
    }

    fn token(self) -> [u8; TOKEN_BYTES] {
        let mut bytes = [0; TOKEN_BYTES];
        self.fill(&mut bytes);
        bytes
    }

    /// A new session token.
    pub fn session_token(self) -> SessionToken {
        SessionToken::from_bytes(self.token())
    }

    /// A new token for a browser.
    pub fn browser_token(self) -> BrowserToken {
        BrowserToken::from_bytes(self.token())
    }

    /// A new token for a sign-in.
    pub fn flow_token(self) -> FlowToken {
        FlowToken::from_bytes(self.token())
    }

    /// A new token for a browser in which somebody signed in with a user key.
    pub fn device_token(self) -> DeviceToken {
        DeviceToken::from_bytes(self.token())
    }

    /// A new token for a browser that a form is kept for.
    pub fn parking_token(self) -> ParkingToken {
        ParkingToken::from_bytes(self.token())
    }

    /// A new name for a form.
    pub fn form_id(self) -> FormId {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        FormId::from_bits(u64::from_be_bytes(bytes))
    }

    /// A new letter's name.
    pub fn letter_id(self) -> LetterId {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        LetterId::from_bits(u128::from_be_bytes(bytes))
    }

    /// A new TAN.
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
