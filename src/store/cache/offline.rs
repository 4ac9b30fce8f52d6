//! Sessions by the ticket that their browser holds ([`crate::store::offline_tokens`]), and what else a ticket proves.

use super::super::offline_tokens::OfflineToken;
use super::Sessions;
use crate::telemetry::metrics::Lookup;
use domain::ids::SessionToken;
use domain::session::{Liveness, Session};
use domain::time::Timestamp;

/// A session goes by its ticket as if it had last been used when that was written.
const TICKETS_AN_IDLE_LIMIT: u32 = 12;

impl Sessions {
    /// A ticket for a session that was just found, and as of when it is: with it, any gateway that cannot ask the store knows the
    /// session. `None` if the one that the browser has will do, while ends are not heard of, and where the store is this process's own.
    pub fn issue_offline_token(
        &self,
        token: &SessionToken,
        has: Option<Timestamp>,
        owns: impl FnOnce() -> Vec<u64>,
        now: Timestamp,
    ) -> Option<(Timestamp, Vec<u8>)> {
        // In this order: what ended before that time is not in memory any more.
        let as_of = self
            .known_ends
            .lock()
            .token_due(has, self.limits.idle / TICKETS_AN_IDLE_LIMIT)?;
        let session = self.recall(self.key(token), self.subscription(), now)?;
        let ticket = OfflineToken {
            session: Session {
                seen_at: now,
                ..session
            },
            as_of,
            owns: owns(),
        };
        self.offline_tokens
            .seal(token, &ticket)
            .map(|sealed| (as_of, sealed))
    }

    /// The session that a ticket stands for, while the store cannot be asked, if it lived when it could last be asked and is neither
    /// too old nor idle since the ticket was written. Only for the time of the grace.
    pub fn find_offline(
        &self,
        token: &SessionToken,
        sealed: &[u8],
        now: Timestamp,
    ) -> Option<Session> {
        let since = (*self.outage.lock())?.since;
        let heard_until = if self.subscription().is_some() {
            None
        } else {
            self.hearings.lock().back().map(|(_, ended_at)| *ended_at)
        };
        if now.since(heard_until.map_or(since, |ended_at| ended_at.min(since))) >= self.grace {
            return None;
        }
        let OfflineToken { session, as_of, .. } = self.offline_tokens.open(token, sealed)?;
        let names = [self.key(token), self.vault.revocation_key(session.vtnr)];
        let lives = session.liveness(&self.limits, now) == Liveness::Alive
            && self.known_ends.lock().none_since(as_of, names);
        lives.then(|| {
            self.metrics.session_looked_up(Lookup::Ticket);
            session
        })
    }

    /// The sessions of the calculator that a ticket names as the broker's own. They stay so for as long as they last, so that the age of
    /// the ticket does not matter.
    pub fn owned_by_offline_token(&self, token: &SessionToken, sealed: &[u8]) -> Vec<u64> {
        self.offline_tokens
            .open(token, sealed)
            .map(|ticket| ticket.owns)
            .unwrap_or_default()
    }

    /// By what number tickets name a session of the calculator ([`OfflineTokens::mark`]).
    pub fn mark(&self, id: &[u8]) -> u64 {
        self.offline_tokens.mark(id)
    }

    /// The store knows the session no more that this ticket stands for: its end may have been missed.
    pub fn note_ended(&self, token: &SessionToken, sealed: &[u8]) {
        if self.offline_tokens.open(token, sealed).is_some() {
            self.known_ends.lock().note(self.key(token));
        }
    }
}
