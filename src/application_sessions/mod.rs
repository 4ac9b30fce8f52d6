//! Whose the calculator's own sessions are.
//!
//! The first broker with whom a session is seen owns it, by the calculator's answer or, where nobody owns it yet, by a request; the store
//! remembers that, and memory what was found there. While the store cannot be asked, memory and the browser's session ticket prove what they
//! know, and what nobody can prove is withheld. [`crate::gateway`] brings the cookies; it alone knows HTTP.

mod owner_cache;

use crate::store::application_sessions::OwnerChange;
use crate::store::{ApplicationSessionStore, Error, RateLimits, Result, WriteOutcome};
use domain::application_session::{
    ApplicationSession, ApplicationSessionId, CookieScope, CookieScopes, Origin,
};
use domain::throttle::ClientAddress;
use domain::vtnr::Vtnr;
use owner_cache::OwnerCache;
use parking_lot::RwLock;
use std::sync::Arc;

/// Knows whose the calculator's sessions are.
pub struct ApplicationSessions {
    store: Arc<dyn ApplicationSessionStore>,
    memory: OwnerCache,
    scopes: RwLock<CookieScopes>,
}

/// Whether a session of the calculator's may be used by a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It is the broker's own.
    Own,
    /// It is another broker's.
    Foreign,
    /// The store could not be asked, and nothing else proves that it is the broker's own.
    Unproven,
    /// Nobody owns it, and too many were remembered today for this client.
    OverLimit,
}

/// Whether the store is worth asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// As far as is known.
    Up,
    /// It did not answer a moment ago.
    Down,
}

/// What was found in the store.
enum OwnerLookup {
    Is(Ownership),
    /// It cannot be asked.
    Unknown,
}

/// Several gateways may learn the same at once.
const RACES: usize = 4;

impl ApplicationSessions {
    /// Owners in this store.
    pub fn new(store: Arc<dyn ApplicationSessionStore>) -> Self {
        Self {
            store,
            memory: OwnerCache::default(),
            scopes: RwLock::default(),
        }
    }

    /// Whether this gateway knows without asking that the session is this broker's.
    pub fn is_known(&self, id: &ApplicationSessionId<'_>, vtnr: Vtnr) -> bool {
        self.memory.is_recorded(self.memory.key(id, vtnr))
    }

    /// Whether this broker may use this session; makes it theirs if nobody owns it, and in an answer of the calculator's also if somebody
    /// does. `has_proof` says whether the browser proves what the store cannot be asked.
    pub async fn claim(
        &self,
        id: &ApplicationSessionId<'_>,
        vtnr: Vtnr,
        learnt: Learnt,
        reach: Reach,
        has_proof: impl FnOnce(&[u8]) -> bool,
    ) -> Ownership {
        let key = self.memory.key(id, vtnr);
        if self.memory.is_recorded(key) {
            return Ownership::Own;
        }
        let bytes = id.to_bytes();
        let found = match reach {
            Reach::Up => self.claim_in_store(&bytes, vtnr, learnt).await,
            Reach::Down => OwnerLookup::Unknown,
        };
        match found {
            // The first request that brings it has it remembered for long.
            OwnerLookup::Is(Ownership::Own) if learnt.origin == Origin::Answer => {
                self.memory.note_provisionally(key);
                Ownership::Own
            }
            OwnerLookup::Is(Ownership::Own) => {
                self.memory.record(key);
                Ownership::Own
            }
            OwnerLookup::Is(other) => other,
            OwnerLookup::Unknown
                if learnt.origin == Origin::Answer
                    || self.memory.is_provisional(key)
                    || has_proof(&bytes) =>
            {
                self.memory.note_provisionally(key);
                Ownership::Own
            }
            OwnerLookup::Unknown => Ownership::Unproven,
        }
    }

    /// Whether anybody owns this session, for a request that is nobody's.
    pub async fn has_owner(&self, id: &ApplicationSessionId<'_>, reach: Reach) -> bool {
        // What cannot be found out belongs to somebody.
        reach == Reach::Down || !matches!(self.store.find_owners(&id.to_bytes()).await, Ok(None))
    }

    async fn claim_in_store(&self, id: &[u8], vtnr: Vtnr, learnt: Learnt) -> OwnerLookup {
        for _ in 0..RACES {
            match self.try_to_claim(id, vtnr, learnt).await {
                Ok(Some(ownership)) => return OwnerLookup::Is(ownership),
                // Another request or gateway was faster.
                Ok(None) => {}
                // It was tampered with: nothing else is believed in its place.
                Err(Error::Unsealable(_)) => return OwnerLookup::Is(Ownership::Foreign),
                Err(_) => return OwnerLookup::Unknown,
            }
        }
        OwnerLookup::Unknown
    }

    async fn try_to_claim(
        &self,
        id: &[u8],
        vtnr: Vtnr,
        learnt: Learnt,
    ) -> Result<Option<Ownership>> {
        let seen = self.store.find_owners(id).await?;
        let (next, rate_limits) = match &seen {
            Some(seen) if seen.value.belongs_to(vtnr) => (seen.value.clone(), RateLimits::none()),
            Some(_) if learnt.origin == Origin::Request => return Ok(Some(Ownership::Foreign)),
            Some(seen) => (seen.value.and(vtnr), RateLimits::none()),
            None => (
                ApplicationSession::of(vtnr),
                RateLimits::take(vec![ApplicationSession::charge(
                    learnt.client,
                    learnt.origin,
                )]),
            ),
        };
        // What the calculator has only set may never be used: an application can begin a session with every answer.
        let is_unused = learnt.origin == Origin::Answer && seen.is_none();
        let lives = if is_unused {
            ApplicationSession::UNUSED_LIFETIME
        } else {
            ApplicationSession::LIFETIME
        };
        let change = OwnerChange {
            id,
            seen: seen.as_ref(),
            next: &next,
            lives,
        };
        Ok(match self.store.keep_owners(change, &rate_limits).await? {
            WriteOutcome::Done => Some(Ownership::Own),
            WriteOutcome::Conflict => None,
            WriteOutcome::OverLimit { .. } => Some(Ownership::OverLimit),
        })
    }

    /// The calculator sets session cookies in these scopes.
    pub async fn learn_scopes(&self, scopes: &[CookieScope]) {
        let is_known = scopes.iter().all(|scope| self.scopes.read().has(scope));
        if is_known || !self.scopes.write().add(scopes) {
            return;
        }
        // Counted and logged by the store itself. What it does not take now, this gateway knows all the same.
        for _ in 0..RACES {
            if !matches!(self.merge_scopes().await, Ok(WriteOutcome::Conflict)) {
                return;
            }
        }
    }

    async fn merge_scopes(&self) -> Result<WriteOutcome> {
        let seen = self.store.find_scopes().await?;
        let mut all = seen
            .as_ref()
            .map(|seen| seen.value.clone())
            .unwrap_or_default();
        let news = all.add(self.scopes.read().all());
        self.scopes.write().add(all.all());
        if news {
            self.store.keep_scopes(seen.as_ref(), &all).await
        } else {
            Ok(WriteOutcome::Done)
        }
    }

    /// All scopes in which any gateway has seen the calculator set session cookies; while the store cannot be asked, this one.
    pub async fn scopes(&self) -> CookieScopes {
        if let Ok(Some(seen)) = self.store.find_scopes().await {
            self.scopes.write().add(seen.value.all());
        }
        self.scopes.read().clone()
    }
}

/// How the gateway learnt of a session that is claimed.
#[derive(Clone, Copy, Debug)]
pub struct Learnt {
    /// By an answer or by a request.
    pub origin: Origin,
    /// Who brought it, or gets it.
    pub client: ClientAddress,
}

#[cfg(test)]
mod tests;
