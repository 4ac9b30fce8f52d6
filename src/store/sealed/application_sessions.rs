//! Owners of the calculator's sessions, and the scopes of its session cookies.

use super::{NO_TOKEN, Sealed};
use crate::store::application_sessions::{ApplicationSessionStore, OwnerChange};
use crate::store::engine::{Change, Engine, Expect};
use crate::store::vault::{Kind, RecordKey};
use crate::store::{RateLimits, Result, Seen, WriteOutcome};
use async_trait::async_trait;
use domain::application_session::{ApplicationSession, CookieScopes};
use std::time::Duration;

/// The calculator's scopes change over time; unused ones expire and are learnt anew.
const SCOPES_LIVE: Duration = Duration::from_secs(90 * 86_400);

impl<E: Engine> Sealed<E> {
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
        self.add_limits(&mut change, rate_limits);
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
