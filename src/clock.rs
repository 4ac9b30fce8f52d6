//! The one clock and the one source of chance. `app` holds them; everything else gets times and random bytes from them.

use crate::domain::ids::{BrowserToken, DeviceToken, FlowToken, FormId, LetterId, ParkingToken, SessionToken, TOKEN_BYTES};
use crate::domain::tan::{Alphabet, Tan, TanLength};
use crate::domain::time::Timestamp;
use rand::Rng as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
}

impl Steady {
    fn gone_by(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Clock {
    /// A steady clock that begins with the machine's time.
    pub fn steady() -> Self {
        Self::Steady(Arc::new(Steady { began: Instant::now(), then: AtomicU64::new(Self::System.now().as_millis()) }))
    }

    /// Sets a steady clock: this is the time now. Any other clock is left alone.
    pub fn follow(&self, time: Timestamp) {
        if let Self::Steady(steady) = self {
            steady.then.store(time.as_millis().saturating_sub(steady.gone_by()), Ordering::Relaxed);
        }
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
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
                Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
            }
            Self::Steady(steady) => Timestamp::from_millis(steady.then.load(Ordering::Relaxed).saturating_add(steady.gone_by())),
            Self::Manual(millis) => Timestamp::from_millis(millis.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock on; the machine's clock is left alone.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(millis) = self {
            millis.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
        }
    }
}

/// Gives random bytes from a cryptographically secure generator that the operating system seeds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chance;

impl Chance {
    /// Fills the buffer.
    #[expect(clippy::disallowed_methods, reason = "this is the one source of chance")]
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
        for time in [1_790_683_350_000, 1_000_000_000_000, 2_000_000_000_000] {
            clock.follow(Timestamp::from_millis(time));
            let (first, later) = (clock.now(), clock.clone().now());
            assert!(first >= Timestamp::from_millis(time) && first.since(Timestamp::from_millis(time)) < Duration::from_secs(5));
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
