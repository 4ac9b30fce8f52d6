//! Whose the calculator's own sessions are, and where it sets the cookies for them.
//!
//! A session is found by a digest of its cookie's name and value, so that a copy of the store reveals none.

use super::engine::{Change, Engine, Expect};
use super::sealed::NO_TOKEN;
use super::vault::{Kind, RecordKey};
use super::{Measured, RateLimits, Result, Sealed, Seen, WriteOutcome};
use crate::telemetry::metrics::StoreOperation;
use async_trait::async_trait;
use domain::application_session::{ApplicationSession, CookieScopes};
use std::time::Duration;

/// A session's new owners.
pub struct OwnerChange<'a> {
    /// The session, by the canonical bytes of its cookie.
    pub id: &'a [u8],
    /// As it was read; `None` if nobody owned it.
    pub seen: Option<&'a Seen<ApplicationSession>>,
    /// As it is to be.
    pub next: &'a ApplicationSession,
    /// How long they are remembered.
    pub lives: Duration,
}

/// Scopes change with the calculator; those that it does not use any more are learnt anew.
const SCOPES_LIVE: Duration = Duration::from_secs(90 * 86_400);

/// The operations.
#[async_trait]
pub trait ApplicationSessionStore: Send + Sync {
    /// Whose this session is. `None` if nobody owns it.
    ///
    /// # Errors
    /// [`super::Error`] if the store cannot answer.
    async fn find_owners(&self, id: &[u8]) -> Result<Option<Seen<ApplicationSession>>>;

    /// Keeps a session's owners, if they still are as they were seen and the charges allow it.
    ///
    /// # Errors
    /// [`super::Error`] if the store cannot answer.
    async fn keep_owners(
        &self,
        change: OwnerChange<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome>;

    /// The scopes in which the calculator was seen to set session cookies.
    ///
    /// # Errors
    /// [`super::Error`] if the store cannot answer.
    async fn find_scopes(&self) -> Result<Option<Seen<CookieScopes>>>;

    /// Keeps them, if they still are as they were seen.
    ///
    /// # Errors
    /// [`super::Error`] if the store cannot answer.
    async fn keep_scopes(
        &self,
        seen: Option<&Seen<CookieScopes>>,
        next: &CookieScopes,
    ) -> Result<WriteOutcome>;
}

impl<E> Sealed<E> {
    fn owner_key(&self, id: &[u8]) -> RecordKey {
        self.vault.name(Kind::ApplicationSession, id)
    }

    fn scopes_key(&self) -> RecordKey {
        self.vault.name(Kind::CookieScopes, b"")
    }
}

fn expected<T>(seen: Option<&Seen<T>>) -> Expect {
    seen.map_or(Expect::Absent, |seen| Expect::Is(seen.version.clone()))
}

#[async_trait]
impl<E: Engine> ApplicationSessionStore for Sealed<E> {
    async fn find_owners(&self, id: &[u8]) -> Result<Option<Seen<ApplicationSession>>> {
        self.find(self.owner_key(id), NO_TOKEN).await
    }

    async fn keep_owners(
        &self,
        change: OwnerChange<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        let OwnerChange {
            id,
            seen,
            next,
            lives,
        } = change;
        let name = self.owner_key(id);
        let write = vec![(name, self.seal(name, NO_TOKEN, next)?.into(), lives)];
        let mut change = Change {
            expect: vec![(name, expected(seen))],
            write,
            ..Change::default()
        };
        self.add_charges(&mut change, rate_limits);
        self.settle(change, rate_limits).await
    }

    async fn find_scopes(&self) -> Result<Option<Seen<CookieScopes>>> {
        self.find(self.scopes_key(), NO_TOKEN).await
    }

    async fn keep_scopes(
        &self,
        seen: Option<&Seen<CookieScopes>>,
        next: &CookieScopes,
    ) -> Result<WriteOutcome> {
        let name = self.scopes_key();
        let write = vec![(name, self.seal(name, NO_TOKEN, next)?.into(), SCOPES_LIVE)];
        let change = Change {
            expect: vec![(name, expected(seen))],
            write,
            ..Change::default()
        };
        self.settle(change, &RateLimits::none()).await
    }
}

#[async_trait]
impl<S: ApplicationSessionStore + super::Store> ApplicationSessionStore for Measured<S> {
    async fn find_owners(&self, id: &[u8]) -> Result<Option<Seen<ApplicationSession>>> {
        self.watch(StoreOperation::FindOwners, self.store.find_owners(id))
            .await
    }

    async fn keep_owners(
        &self,
        change: OwnerChange<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        self.watch(
            StoreOperation::KeepOwners,
            self.store.keep_owners(change, rate_limits),
        )
        .await
    }

    async fn find_scopes(&self) -> Result<Option<Seen<CookieScopes>>> {
        self.watch(StoreOperation::FindScopes, self.store.find_scopes())
            .await
    }

    async fn keep_scopes(
        &self,
        seen: Option<&Seen<CookieScopes>>,
        next: &CookieScopes,
    ) -> Result<WriteOutcome> {
        self.watch(
            StoreOperation::KeepScopes,
            self.store.keep_scopes(seen, next),
        )
        .await
    }
}
