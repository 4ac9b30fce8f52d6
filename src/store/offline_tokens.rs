//! Offline tokens: a sealed copy of a session in the browser's cookie `vtnr_ticket`. Another
//! gateway that never saw the session accepts it while the store is down, if its revocation log
//! proves that the session had not ended (`cache/revocation_log.rs`).
//!
//! A page of the calculator sets the cookie when a token is due. Its date is the issuer's
//! watermark, a time by the store's clock up to which the issuer had seen every end. Another
//! gateway accepts it if its own log is complete since that date without the session or its broker,
//! and if the session is neither too old nor idle by the token. So gateways' clocks are never
//! compared, and ended sessions stay ended. A gateway that just started, or whose subscription
//! broke, accepts only tokens issued since. Responses that a shared cache may store carry none. The
//! clocks of the Redis servers of one deployment are assumed to agree to within the length of a
//! failover.
//!
//! A token is sealed like the session's record, with the session's own token: by itself it is
//! worthless, even together with the operator's secret.

use super::RecordKey;
use super::records::Record as _;
use super::vault::{Kind, Vault};
use domain::ids::SessionToken;
use domain::session::Session;
use domain::time::Timestamp;

/// A session as its gateway knew it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflineToken {
    /// The session, in use when the token was issued.
    pub session: Session,
    /// The issuer's watermark, by the store's clock: the session had not ended by then.
    pub as_of: Timestamp,
    /// The calculator's sessions that the browser holds and the broker owns
    /// ([`OfflineTokens::mark`]).
    pub owns: Vec<u64>,
}

/// Seals and opens offline tokens.
#[derive(Clone)]
pub struct OfflineTokens(Vault);

impl OfflineTokens {
    /// Uses the keys of the vault that all gateways on the store share.
    pub fn new(vault: Vault) -> Self {
        Self(vault)
    }

    /// Seals an offline token for the browser that holds this session token.
    pub fn seal(&self, token: &SessionToken, offline_token: &OfflineToken) -> Option<Vec<u8>> {
        let plain = offline_token.to_bytes().ok()?;
        self.0.seal(self.name(token), token.reveal(), &plain).ok()
    }

    /// Opens an offline token that was sealed for this session token.
    pub fn open(&self, token: &SessionToken, sealed: &[u8]) -> Option<OfflineToken> {
        let plain = self.0.open(self.name(token), token.reveal(), sealed).ok()?;
        OfflineToken::from_bytes(&plain).ok()
    }

    /// Returns the number by which offline tokens name a session of the calculator, given the
    /// canonical bytes of its cookie. It cannot be computed without the secret.
    pub fn mark(&self, id: &[u8]) -> u64 {
        self.0.name(Kind::ApplicationSession, id).spread()
    }

    fn name(&self, token: &SessionToken) -> RecordKey {
        self.0.name(Kind::OfflineToken, token.reveal())
    }
}
