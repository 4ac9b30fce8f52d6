//! Issues offline tokens to browsers, and accepts them while the store is down
//! ([`crate::store::offline_tokens`]).

use super::Sessions;
use crate::store::offline_tokens::OfflineToken;
use crate::telemetry::metrics::Lookup;
use domain::ids::SessionToken;
use domain::session::{Liveness, Session};
use domain::time::Timestamp;

/// How often a token is renewed per idle limit: a session found by its token counts as last used
/// when that was issued.
const TOKENS_PER_IDLE_LIMIT: u32 = 12;

impl Sessions {
    /// Issues an offline token for a session that was just found, and returns it with its date.
    /// Returns `None` if the browser's token of the date `has` will do, while invalidations do not
    /// arrive, and for a store that no other gateway shares.
    pub fn issue_offline_token(
        &self,
        token: &SessionToken,
        has: Option<Timestamp>,
        owns: impl FnOnce() -> Vec<u64>,
        now: Timestamp,
    ) -> Option<(Timestamp, Vec<u8>)> {
        // In this order: whatever ended before that time is out of memory.
        let as_of = self
            .revocations
            .lock()
            .token_due(has, self.limits.idle / TOKENS_PER_IDLE_LIMIT)?;
        let session = self.get(self.key(token), self.subscription(), now)?;
        let offline_token = OfflineToken {
            session: Session {
                seen_at: now,
                ..session
            },
            as_of,
            owns: owns(),
        };
        let sealed = self.offline_tokens.seal(token, &offline_token)?;
        Some((as_of, sealed))
    }

    /// Accepts an offline token while the store is down and the grace lasts: its session must have
    /// been alive when the store last answered, and be neither too old nor idle since the token was
    /// issued.
    pub fn find_offline(
        &self,
        token: &SessionToken,
        sealed: &[u8],
        now: Timestamp,
    ) -> Option<Session> {
        if !self.is_within_grace(now) {
            return None;
        }
        let OfflineToken { session, as_of, .. } = self.offline_tokens.open(token, sealed)?;
        let names = [self.key(token), self.vault.revocation_key(session.vtnr)];
        let is_alive = session.liveness(&self.limits, now) == Liveness::Alive
            && self.revocations.lock().none_since(as_of, names);
        is_alive.then(|| {
            self.metrics.session_looked_up(Lookup::OfflineToken);
            session
        })
    }

    /// Returns the calculator's sessions that an offline token names as the broker's own. Ownership
    /// never ends, so that the token's age does not matter.
    pub fn owned_by_offline_token(&self, token: &SessionToken, sealed: &[u8]) -> Vec<u64> {
        self.offline_tokens
            .open(token, sealed)
            .map(|offline_token| offline_token.owns)
            .unwrap_or_default()
    }

    /// Returns the number by which offline tokens name a session of the calculator
    /// ([`OfflineTokens::mark`]).
    ///
    /// [`OfflineTokens::mark`]: crate::store::offline_tokens::OfflineTokens::mark
    pub fn mark(&self, id: &[u8]) -> u64 {
        self.offline_tokens.mark(id)
    }

    /// Records the end of a session that the store no longer has although the browser holds a token
    /// for it: the invalidation may have been lost.
    pub fn note_ended(&self, token: &SessionToken, sealed: &[u8]) {
        if self.offline_tokens.open(token, sealed).is_some() {
            self.revocations.lock().note(self.key(token));
        }
    }
}
