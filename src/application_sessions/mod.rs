//! Ownership of the calculator's own sessions.
//!
//! The first broker seen with a session owns it: by the calculator's response, or by a request
//! while nobody owns it. The store keeps the owners, and a cache in memory what was found there.
//! While the store is down, the cache and the browser's offline token prove ownership, and cookies
//! that nothing proves are withheld. [`crate::gateway`] passes the cookies; this module knows no
//! HTTP.

mod owner_cache;

use crate::store::application_sessions::OwnerChange;
use crate::store::{ApplicationSessionStore, Error, RateLimits, Result, WriteOutcome};
use domain::application_session::{
    ApplicationSession, ApplicationSessionId, CookieScope, CookieScopes, SessionOrigin,
};
use domain::throttle::ClientAddress;
use domain::vtnr::Vtnr;
use owner_cache::OwnerCache;
use parking_lot::RwLock;
use std::sync::Arc;

/// Assigns the calculator's sessions to brokers.
pub struct ApplicationSessions {
    store: Arc<dyn ApplicationSessionStore>,
    memory: OwnerCache,
    scopes: RwLock<CookieScopes>,
}

/// Tells whether a broker may use a session of the calculator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    Own,
    Foreign,
    /// The store is down, and nothing else proves that the broker owns the session.
    Unproven,
    /// Nobody owns the session, and this client has claimed too many today.
    OverLimit,
}

/// Tells whether to ask the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Up,
    /// The store did not answer a moment ago.
    Down,
}

/// The result of asking the store.
enum OwnerLookup {
    Is(Ownership),
    Unknown,
}

/// Limits retries when several gateways learn of a session at once.
const RACES: usize = 4;

impl ApplicationSessions {
    /// Creates an empty cache in front of this store.
    pub fn new(store: Arc<dyn ApplicationSessionStore>) -> Self {
        Self {
            store,
            memory: OwnerCache::default(),
            scopes: RwLock::default(),
        }
    }

    /// Returns whether the cache has this broker as an owner of the session.
    pub fn is_known(&self, id: &ApplicationSessionId<'_>, vtnr: Vtnr) -> bool {
        self.memory.is_recorded(self.memory.key(id, vtnr))
    }

    /// Returns whether this broker may use this session, and makes the broker an owner if there is
    /// none or the calculator's response set the session. While the store is down, `has_proof`
    /// tells whether the browser's offline token proves ownership.
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
            // The first request with the session makes the store keep it for long.
            OwnerLookup::Is(Ownership::Own) if learnt.origin == SessionOrigin::Answer => {
                self.memory.note_provisionally(key);
                Ownership::Own
            }
            OwnerLookup::Is(Ownership::Own) => {
                self.memory.record(key);
                Ownership::Own
            }
            OwnerLookup::Is(other) => other,
            OwnerLookup::Unknown
                if learnt.origin == SessionOrigin::Answer
                    || self.memory.is_provisional(key)
                    || has_proof(&bytes) =>
            {
                self.memory.note_provisionally(key);
                Ownership::Own
            }
            OwnerLookup::Unknown => Ownership::Unproven,
        }
    }

    /// Returns whether anybody owns this session, for a request without a broker.
    pub async fn has_owner(&self, id: &ApplicationSessionId<'_>, reach: Reach) -> bool {
        // A session that cannot be looked up counts as owned.
        reach == Reach::Down || !matches!(self.store.find_owners(&id.to_bytes()).await, Ok(None))
    }

    async fn claim_in_store(&self, id: &[u8], vtnr: Vtnr, learnt: Learnt) -> OwnerLookup {
        for _ in 0..RACES {
            match self.try_to_claim(id, vtnr, learnt).await {
                Ok(Some(ownership)) => return OwnerLookup::Is(ownership),
                // Another request or gateway was faster.
                Ok(None) => {}
                // The record was tampered with: nothing else is believed in its place.
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
            Some(_) if learnt.origin == SessionOrigin::Request => {
                return Ok(Some(Ownership::Foreign));
            }
            Some(seen) => (seen.value.and(vtnr), RateLimits::none()),
            None => (
                ApplicationSession::of(vtnr),
                RateLimits::take(vec![ApplicationSession::hit(learnt.client, learnt.origin)]),
            ),
        };
        // A session that was only set may never be used: an application can begin one with every
        // response.
        let is_unused = learnt.origin == SessionOrigin::Answer && seen.is_none();
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

    /// Adds scopes in which the calculator sets session cookies.
    pub async fn learn_scopes(&self, scopes: &[CookieScope]) {
        let is_known = scopes.iter().all(|scope| self.scopes.read().has(scope));
        if is_known || !self.scopes.write().add(scopes) {
            return;
        }
        // Errors are counted and logged by the store. This gateway knows the scopes even if the
        // store fails.
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

    /// Returns the scopes in which any gateway, or this one while the store is down, has seen the
    /// calculator set session cookies.
    pub async fn scopes(&self) -> CookieScopes {
        if let Ok(Some(seen)) = self.store.find_scopes().await {
            self.scopes.write().add(seen.value.all());
        }
        self.scopes.read().clone()
    }
}

/// The evidence for a claim to a session.
#[derive(Clone, Copy, Debug)]
pub struct Learnt {
    pub origin: SessionOrigin,
    /// The client that sent the session, or receives it.
    pub client: ClientAddress,
}

#[cfg(test)]
mod tests;
