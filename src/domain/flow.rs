//! A sign-in under way in one browser.

use super::challenge::Challenge;
use super::email::Email;
use super::ids::{BrowserToken, LetterId, SessionToken};
use super::tan::Tan;
use super::time::Timestamp;
use super::trust::TrustLevel;
use super::vtnr::Vtnr;

/// What a broker says they are: well-formed, not yet proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub vtnr: Vtnr,
    /// The address as it was typed.
    pub email: Email,
}

impl Claim {
    /// A number that tells one claim from another (FNV-1a, 64 bits); it names counters of decoys and protects nothing.
    pub fn fingerprint(&self) -> u64 {
        let bytes = self
            .vtnr
            .number()
            .to_be_bytes()
            .into_iter()
            .chain(self.email.canonical().bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

/// A sign-in under way. There is one a browser, which all of its tabs share; where each tab wanted to
/// go stays in the tab.
#[derive(Clone)]
pub struct Flow {
    pub claim: Claim,
    /// How far it has come.
    pub stage: Stage,
}

impl Flow {
    /// The letters that carry its TAN, while that is of use.
    pub fn letters(&self) -> &[LetterId] {
        match &self.stage {
            Stage::Tan(challenge) if challenge.tries_left > 0 => &challenge.letters,
            Stage::Tan(_) | Stage::UnknownEmail | Stage::SignedIn(_) => &[],
        }
    }
}

/// How far a sign-in has come.
#[derive(Clone)]
pub enum Stage {
    /// The address is not the one on file: the broker may correct it, or go on without.
    UnknownEmail,
    /// A TAN was asked for.
    Tan(Challenge),
    /// Led to a session; kept for a short while, so that a form sent twice gets the same answer twice.
    SignedIn(SignedIn),
}

/// What a sign-in led to.
#[derive(Clone)]
pub struct SignedIn {
    pub session: SessionToken,
    /// The browser's new token, where it became a trusted one.
    pub browser: Option<BrowserToken>,
    /// The TAN that was right, where one was needed.
    pub redeemed: Option<Redeemed>,
    pub at: Timestamp,
}

/// A TAN that was right.
#[derive(Clone)]
pub struct Redeemed {
    pub tan: Tan,
    /// How well the browser was known when it asked; says which budgets a wrong answer after the sign-in is charged to.
    pub trust_level: TrustLevel,
}
