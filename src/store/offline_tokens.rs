//! Session tickets: what a gateway knew of a session, sealed, in the hands of the browser that has it. Another gateway that never
//! saw the session believes it while the store cannot be asked (`cache/ends.rs` says which).
//!
//! A ticket is sealed like the session's record, with the session's token: by itself it is worth nothing, not even together with
//! the operator's secret.

use super::RecordKey;
use super::records::Record as _;
use super::vault::{Kind, Vault};
use domain::ids::SessionToken;
use domain::session::Session;
use domain::time::Timestamp;

/// What a gateway knew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflineToken {
    /// The session, in use when the ticket was written.
    pub session: Session,
    /// By the store's clock: all that had ended by then had been heard of, and this session was not among it.
    pub as_of: Timestamp,
    /// The sessions of the calculator that the browser holds and the broker owns ([`OfflineTokens::mark`]).
    pub owns: Vec<u64>,
}

/// Writes and reads tickets.
#[derive(Clone)]
pub struct OfflineTokens(Vault);

impl OfflineTokens {
    /// With the keys of all gateways that share the store.
    pub fn new(vault: Vault) -> Self {
        Self(vault)
    }

    /// A ticket for the browser that has this token.
    pub fn seal(&self, token: &SessionToken, ticket: &OfflineToken) -> Option<Vec<u8>> {
        let plain = ticket.to_bytes().ok()?;
        self.0.seal(self.name(token), token.reveal(), &plain).ok()
    }

    /// What a ticket says that was written for this token.
    pub fn open(&self, token: &SessionToken, sealed: &[u8]) -> Option<OfflineToken> {
        let plain = self.0.open(self.name(token), token.reveal(), sealed).ok()?;
        OfflineToken::from_bytes(&plain).ok()
    }

    /// By what number tickets name a session of the calculator, given the canonical bytes of its cookie. Nobody can make one without the
    /// secret of the gateways.
    pub fn mark(&self, id: &[u8]) -> u64 {
        self.0.name(Kind::ApplicationSession, id).spread()
    }

    fn name(&self, token: &SessionToken) -> RecordKey {
        self.0.name(Kind::OfflineToken, token.reveal())
    }
}
