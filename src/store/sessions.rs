//! Sessions, revocations, and how caches learn that sessions ended.

use super::{RecordKey, Result};
use async_trait::async_trait;
use domain::ids::SessionToken;
use domain::session::Session;
use domain::time::Timestamp;
use domain::vtnr::Vtnr;
use std::time::Duration;
use tokio::sync::broadcast;

/// Ends every session and all browser trust of a broker at once.
#[async_trait]
pub trait RevocationStore: Send + Sync {
    /// Revokes all sessions and trust that the broker has until `at`, on every gateway. The
    /// revocation is dated later than everything that has begun so far, since clocks may have been
    /// set back.
    async fn revoke_broker(&self, vtnr: Vtnr, at: Timestamp) -> Result<()>;

    /// Returns the time of the broker's last revocation. A session or trust begun at or before it
    /// is void.
    async fn revoked_at(&self, vtnr: Vtnr) -> Result<Option<Timestamp>>;
}

/// Keeps sessions, and broadcasts which ones have ended.
#[async_trait]
pub trait SessionStore: RevocationStore {
    /// Finds the session of a token. The caller judges its age.
    async fn find_session(&self, token: &SessionToken) -> Result<Option<Session>>;

    /// Updates a session that is in use. Returns false if none exists: an ended session stays
    /// ended.
    async fn touch_session(
        &self,
        token: &SessionToken,
        session: &Session,
        lives: Duration,
    ) -> Result<bool>;

    /// Ends a session on every gateway.
    async fn end_session(&self, token: &SessionToken) -> Result<()>;

    /// Subscribes to invalidations, this gateway's own included. A lagging receiver must assume
    /// [`Invalidation::All`].
    fn invalidations(&self) -> broadcast::Receiver<Invalidation>;

    /// Returns the current gap-free subscription; `None` while invalidations do not arrive. A
    /// session that a cache read in another epoch may have ended unnoticed.
    fn subscription(&self) -> Option<SubscriptionEpoch>;
}

/// A period in which invalidations arrive without a gap. Later epochs compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubscriptionEpoch(pub u32);

/// A message to session caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// One session has ended.
    Session(RecordKey),
    /// A broker was revoked, named by the revocation's key: any session may be affected.
    Broker(RecordKey),
    /// Any session may have ended.
    All,
    /// Every session that ended before this time, by the store's clock, has been announced.
    Watermark(Timestamp),
    /// The subscription of this epoch broke. What was read in it serves an outage at most.
    Gap(SubscriptionEpoch),
    /// Invalidations arrive again, in a new epoch. Those published in between are lost.
    Resubscribed,
}
