//! Sessions and revocations.

use super::{NO_TOKEN, Sealed, durable};
use crate::store::engine::{Change, Engine, Expect, TxOutcome};
use crate::store::vault::{Kind, RecordKey};
use crate::store::{
    Error, Invalidation, Result, RevocationStore, SessionStore, SubscriptionEpoch, read_time,
};
use async_trait::async_trait;
use domain::ids::SessionToken;
use domain::session::Session;
use domain::time::Timestamp;
use domain::vtnr::Vtnr;
use std::time::Duration;
use tokio::sync::broadcast;

/// The smallest difference between two times.
const MOMENT: Duration = Duration::from_millis(1);
/// A revocation must outlive all trust and sessions granted before it (`login.trust_lifetime`, at
/// most 90 days).
pub(super) const REVOCATION_LIVES: Duration = Duration::from_secs(181 * 86_400);

impl<E: Engine> Sealed<E> {
    /// Names the record of the newest sign-in's time.
    pub(super) fn newest_key(&self) -> RecordKey {
        self.vault.name(Kind::Newest, b"")
    }
}

#[async_trait]
impl<E: Engine> RevocationStore for Sealed<E> {
    async fn revoke_broker(&self, vtnr: Vtnr, at: Timestamp) -> Result<()> {
        let name = self.vault.revocation_key(vtnr);
        // The store's clock may have been set back since: sessions begun by its previous time must
        // end too.
        let newest = self
            .read(self.newest_key())
            .await?
            .and_then(|time| read_time(&time));
        let at = newest.map_or(at, |newest| newest.max(at));
        loop {
            let (expect, at) = match self.find::<Timestamp>(name, NO_TOKEN).await {
                // Later than every session begun since the previous revocation, however it was
                // dated (`SignInStore::sign_in`).
                Ok(Some(before)) => (
                    vec![(name, Expect::Is(before.version))],
                    at.max(before.value.plus(MOMENT)),
                ),
                Ok(None) => (vec![(name, Expect::Absent)], at),
                Err(Error::Unsealable(_)) => (Vec::new(), at),
                Err(error) => return Err(error),
            };
            let write = vec![(
                name,
                self.seal(name, NO_TOKEN, &at)?.into(),
                REVOCATION_LIVES,
            )];
            let change = Change {
                expect,
                write,
                announce: vec![Invalidation::Broker(name)],
                ..durable()
            };
            if self.engine.commit(&change).await? != TxOutcome::Conflict {
                return Ok(());
            }
        }
    }

    async fn revoked_at(&self, vtnr: Vtnr) -> Result<Option<Timestamp>> {
        Ok(self
            .find(self.vault.revocation_key(vtnr), NO_TOKEN)
            .await?
            .map(|seen| seen.value))
    }
}

#[async_trait]
impl<E: Engine> SessionStore for Sealed<E> {
    async fn find_session(&self, token: &SessionToken) -> Result<Option<Session>> {
        Ok(self
            .find(self.vault.session_key(token), token.reveal())
            .await?
            .map(|seen| seen.value))
    }

    async fn touch_session(
        &self,
        token: &SessionToken,
        session: &Session,
        lives: Duration,
    ) -> Result<bool> {
        let name = self.vault.session_key(token);
        let expect = vec![(name, Expect::Present)];
        let write = vec![(
            name,
            self.seal(name, token.reveal(), session)?.into(),
            lives,
        )];
        Ok(self
            .engine
            .commit(&Change {
                expect,
                write,
                ..Change::default()
            })
            .await?
            == TxOutcome::Done)
    }

    async fn end_session(&self, token: &SessionToken) -> Result<()> {
        let name = self.vault.session_key(token);
        let change = Change {
            delete: vec![name],
            announce: vec![Invalidation::Session(name)],
            ..durable()
        };
        self.apply(change).await
    }

    fn invalidations(&self) -> broadcast::Receiver<Invalidation> {
        self.engine.invalidations()
    }

    fn subscription(&self) -> Option<SubscriptionEpoch> {
        self.engine.subscription()
    }
}
