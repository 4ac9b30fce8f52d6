//! Owners of the calculator's own sessions, and the scopes of the cookies that carry these.

use super::{RateLimits, Result, Seen, WriteOutcome};
use async_trait::async_trait;
use domain::application_session::{ApplicationSession, CookieScopes};
use std::time::Duration;

/// A conditional write of a session's owners.
pub struct OwnerChange<'a> {
    /// The canonical bytes of the session's cookie.
    pub id: &'a [u8],
    /// The owners on which the change is based; `None` requires that nobody owns the session.
    pub seen: Option<&'a Seen<ApplicationSession>>,
    pub next: &'a ApplicationSession,
    pub lives: Duration,
}

/// Keeps the owners of application sessions. A session is found by a digest of its cookie's name
/// and value, so that a copy of the store reveals none.
#[async_trait]
pub trait ApplicationSessionStore: Send + Sync {
    /// Finds the owners of a session; `None` if nobody owns it.
    ///
    /// # Errors
    /// [`super::Error`] if the store cannot answer.
    async fn find_owners(&self, id: &[u8]) -> Result<Option<Seen<ApplicationSession>>>;

    /// Writes a session's owners if they are unchanged since they were seen and the rate limits
    /// allow it.
    ///
    /// # Errors
    /// [`super::Error`] if the store cannot answer.
    async fn keep_owners(
        &self,
        change: OwnerChange<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome>;

    /// Returns the scopes in which the calculator was seen to set session cookies.
    ///
    /// # Errors
    /// [`super::Error`] if the store cannot answer.
    async fn find_scopes(&self) -> Result<Option<Seen<CookieScopes>>>;

    /// Writes the scopes if they are unchanged since they were seen.
    ///
    /// # Errors
    /// [`super::Error`] if the store cannot answer.
    async fn keep_scopes(
        &self,
        seen: Option<&Seen<CookieScopes>>,
        next: &CookieScopes,
    ) -> Result<WriteOutcome>;
}
