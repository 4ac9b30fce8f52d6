//! The one clock and the one source of chance. `app` holds them; everything else gets times and random bytes from them.

use crate::domain::ids::{BrowserToken, FlowToken, FormId, LetterId, ParkingToken, SessionToken, TOKEN_BYTES};
use crate::domain::tan::{Alphabet, Tan, TanLength};
use crate::domain::time::Timestamp;
use rand::Rng as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the time.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that a test moves by hand, in milliseconds since the epoch.
    Manual(Arc<AtomicU64>),
}

impl Clock {
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
