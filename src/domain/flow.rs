//! Flows: a sign-in in progress, in one browser.

use super::challenge::Challenge;
use super::email::Email;
use super::ids::{BrowserToken, LetterId, SessionToken};
use super::tan::Tan;
use super::time::Timestamp;
use super::trust::TrustLevel;
use super::vtnr::Vtnr;

/// A claim of identity: well-formed, not yet proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub vtnr: Vtnr,
    pub email: Email,
}

impl Claim {
    /// Returns a hash of the claim (FNV-1a, 64 bits), which names counters of decoys and protects nothing.
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

/// A sign-in in progress. A browser has one, shared by all its tabs; each tab keeps its own target.
#[derive(Clone)]
pub struct Flow {
    pub claim: Claim,
    pub stage: Stage,
}

impl Flow {
    /// Returns the letters with its TAN, while the TAN is of use.
    pub fn letters(&self) -> &[LetterId] {
        match &self.stage {
            Stage::Tan(challenge) if challenge.tries_left > 0 => &challenge.letters,
            Stage::Tan(_) | Stage::UnknownEmail | Stage::SignedIn(_) => &[],
        }
    }
}

/// The stage of a sign-in.
#[derive(Clone)]
pub enum Stage {
    /// The address is not the one on file: the broker may correct it, or continue without e-mail.
    UnknownEmail,
    Tan(Challenge),
    /// Complete; kept for a short while, so that a form sent twice gets the same answer.
    SignedIn(SignedIn),
}

/// The result of a sign-in.
#[derive(Clone)]
pub struct SignedIn {
    pub session: SessionToken,
    /// The browser's new token, if it became trusted.
    pub browser: Option<BrowserToken>,
    /// The redeemed TAN, if one was needed.
    pub redeemed: Option<Redeemed>,
    pub at: Timestamp,
}

/// The TAN that completed a sign-in.
#[derive(Clone)]
pub struct Redeemed {
    pub tan: Tan,
    /// The browser's trust level at the request; selects the budgets that a wrong answer after the sign-in counts in.
    pub trust_level: TrustLevel,
}
