//! Who is signed in at the insurer's portal is signed in here.
//!
//! The portal's cookies come along with requests that pages of other sites make, unless the portal forbids it; so, as with
//! certificates, such requests count for nobody.

use crate::gateway::admission::client_certificate::crosses_sites;
use crate::gateway::context::RecheckTask;
use crate::gateway::context::RequestContext;
use crate::gateway::proxy::Gateway;
use crate::gateway::request::audience::Audience;
use crate::gateway::request::cookies::pairs;
use crate::gateway::respond::failure::Failure;
use crate::gateway::websocket::control::{CloseHandle, CloseReason};
use crate::portal::{Answer, Claim, Portal, Sender};
use crate::telemetry::metrics::{Outcome, Step};
use domain::session::{Level, Proof, Session as BrokerSession, SessionLimits};
use domain::submission::Intent;
use domain::throttle::ClientAddress;
use domain::time::Timestamp;
use domain::vtnr::Vtnr;
use http::header::USER_AGENT;
use pingora::proxy::Session;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often the portal is asked about an open WebSocket, at most.
const PORTAL_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// So long one stays open after the portal's last yes has ceased to count.
const PORTAL_GRACE: Duration = Duration::from_secs(60);

/// What the portal says of a browser.
pub(crate) struct AtPortal {
    pub(crate) claim: Claim,
    /// It is known there, and the broker has not signed out of it here.
    pub(crate) session: Option<BrokerSession>,
    /// The broker has signed out of it here.
    pub(crate) has_left: bool,
    /// What the portal says; nothing if it was not asked.
    pub(crate) answer: Option<Answer>,
}

/// Of a browser's own session and its session by the portal, the one that counts: a full one before another, and never two brokers'.
pub(crate) fn best(
    own: Option<BrokerSession>,
    at_portal: Option<&AtPortal>,
) -> Option<BrokerSession> {
    if own.is_some_and(|own| matches!(own.level, Level::Full { .. })) {
        return own;
    }
    let by_portal = at_portal.and_then(|at_portal| at_portal.session);
    // Nobody's application goes out as somebody else's.
    by_portal
        .filter(|session| own.is_none_or(|own| own.vtnr == session.vtnr))
        .or(own)
}

impl Gateway {
    /// The session that a request has by the portal, where the gateway's own does not suffice for what it wants.
    pub(crate) async fn or_by_portal(
        &self,
        own: Option<BrokerSession>,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Option<BrokerSession>, Failure> {
        let suffices = match own.map(|session| session.level) {
            Some(Level::Full { .. }) => true,
            // What pages load is not what the portal is asked about.
            Some(Level::WithoutSubmission) => {
                self.intent(http) == Intent::Use
                    && Audience::of(&http.req_header().headers) != Audience::Navigation
            }
            None => false,
        };
        if suffices {
            return Ok(match own.map(|session| session.level) {
                Some(Level::WithoutSubmission) => {
                    best(own, self.known_at_portal(http, context.now).as_ref())
                }
                _ => own,
            });
        }
        Ok(best(own, self.at_portal(http, context).await?.as_ref()))
    }

    /// What the portal says of who sent a request; `None` if it has nothing of the portal's. Whoever must be asked about has a slot
    /// among those whom nobody knows.
    pub(crate) async fn at_portal(
        &self,
        http: &Session,
        context: &mut RequestContext,
    ) -> Result<Option<AtPortal>, Failure> {
        let Some((portal, claim)) = self.portal_claim(http) else {
            return Ok(None);
        };
        let answer = match portal.known(&claim) {
            Some(known) => known,
            None => {
                let has_slot = context.slot.is_some();
                if !has_slot {
                    self.acquire_slot(None, http, context)?;
                }
                let sender = self.sender(http);
                let client = self.client_counted(http);
                let answer = portal
                    .ask(&claim, &sender, |vtnr| self.note_portal(vtnr, client))
                    .await;
                context.slot.take_if(|_| !has_slot);
                answer
            }
        };
        Ok(Some(self.as_said(claim, Some(answer), http, context.now)))
    }

    /// What the portal has said a moment ago, if anything, of who sent a request. It is not asked, so that nobody waits.
    pub(crate) fn known_at_portal(&self, http: &Session, now: Timestamp) -> Option<AtPortal> {
        let (portal, claim) = self.portal_claim(http)?;
        let known = portal.known(&claim);
        Some(self.as_said(claim, known, http, now))
    }

    fn portal_claim(&self, http: &Session) -> Option<(&Arc<Portal>, Claim)> {
        let portal = self
            .portal
            .as_ref()
            .filter(|_| !crosses_sites(http, self.scheme(http)))?;
        Some((portal, portal.claim(pairs(&http.req_header().headers))?))
    }

    fn sender(&self, http: &Session) -> Sender {
        Sender {
            address: self.client_address(http),
            agent: http.req_header().headers.get(USER_AGENT).cloned(),
        }
    }

    fn as_said(
        &self,
        claim: Claim,
        answer: Option<Answer>,
        http: &Session,
        now: Timestamp,
    ) -> AtPortal {
        let has_left = self
            .cookie_names
            .has_left_portal(&http.req_header().headers, claim.sum());
        let vtnr = match answer {
            Some(Answer::SignedIn(vtnr)) if self.directory.knows(vtnr) && !has_left => Some(vtnr),
            _ => None,
        };
        let session = vtnr.map(|vtnr| {
            BrokerSession::begin(
                vtnr,
                Level::Full {
                    proof: Proof::Portal,
                },
                now,
            )
        });
        AtPortal {
            claim,
            session,
            has_left,
            answer,
        }
    }

    fn note_portal(&self, vtnr: Vtnr, client: ClientAddress) {
        let is_known = self.directory.knows(vtnr);
        let outcome = if is_known {
            Outcome::Ok
        } else {
            Outcome::InvalidVtnr
        };
        self.sign_ins.note(
            Step::Portal,
            outcome,
            Some(vtnr).filter(|_| is_known),
            client,
        );
    }

    /// Ends a WebSocket that was opened by the portal's word; see [`PortalRecheck`].
    pub(crate) fn watch_at_portal(
        &self,
        http: &Session,
        permitted: Vtnr,
        handle: &Arc<CloseHandle>,
    ) -> Option<RecheckTask> {
        let (portal, claim) = self.portal_claim(http)?;
        let (portal, sender) = (Arc::clone(portal), self.sender(http));
        let (directory, metrics, handle) = (
            Arc::clone(&self.directory),
            Arc::clone(&self.metrics),
            Arc::clone(handle),
        );
        let mut lookout = PortalRecheck::begin(permitted, &self.limits, Instant::now());
        Some(RecheckTask::spawn(async move {
            loop {
                tokio::time::sleep_until(lookout.next(Instant::now())).await;
                let is_over = lookout.is_at_end(Instant::now())
                    || !directory.knows(permitted)
                    || lookout.ends_with(portal.ask(&claim, &sender, |_| {}).await, Instant::now());
                if is_over {
                    handle.close(CloseReason::SessionEnded);
                    return metrics.websocket_cut();
                }
            }
        }))
    }
}

/// The look after one WebSocket that was opened by the portal's word. It ends when the portal says otherwise, when its word has not counted
/// for a while, since nobody could tell then who has signed out, and at the limit of every session.
struct PortalRecheck {
    permitted: Vtnr,
    ends_at: Instant,
    /// When the portal's yes counted last.
    counted_at: Instant,
}

impl PortalRecheck {
    fn begin(permitted: Vtnr, limits: &SessionLimits, now: Instant) -> Self {
        Self {
            permitted,
            ends_at: now + limits.absolute,
            counted_at: now,
        }
    }

    /// When to look next.
    fn next(&self, now: Instant) -> Instant {
        self.ends_at.min(now + PORTAL_CHECK_INTERVAL)
    }

    fn is_at_end(&self, now: Instant) -> bool {
        now >= self.ends_at
    }

    /// Whether it is over with this answer.
    fn ends_with(&mut self, answer: Answer, now: Instant) -> bool {
        match answer {
            Answer::SignedIn(vtnr) => {
                self.counted_at = now;
                vtnr != self.permitted
            }
            Answer::Nobody => true,
            Answer::Unavailable => now.duration_since(self.counted_at) >= PORTAL_GRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const LIMITS: SessionLimits = SessionLimits {
        idle: MINUTE,
        absolute: Duration::from_secs(3_600),
    };

    fn broker(number: u32) -> Vtnr {
        Vtnr::from_number(601_234_567 + number).expect("nine digits")
    }

    #[test]
    fn a_websocket_ends_when_the_portal_says_otherwise_or_nothing_for_long() {
        let now = Instant::now();
        let mut lookout = PortalRecheck::begin(broker(0), &LIMITS, now);
        assert!(!lookout.ends_with(Answer::Unavailable, now + MINUTE / 2));
        assert!(!lookout.ends_with(Answer::SignedIn(broker(0)), now + MINUTE));
        assert!(!lookout.ends_with(
            Answer::Unavailable,
            now + 2 * MINUTE - PORTAL_CHECK_INTERVAL
        ));
        assert!(lookout.ends_with(Answer::Unavailable, now + 2 * MINUTE));
        assert!(
            lookout.ends_with(Answer::Nobody, now)
                && lookout.ends_with(Answer::SignedIn(broker(1)), now)
        );
    }

    #[test]
    fn a_websocket_ends_at_the_limit_of_every_session_to_the_moment() {
        let now = Instant::now();
        let lookout = PortalRecheck::begin(broker(0), &LIMITS, now);
        let end = now + LIMITS.absolute;
        assert_eq!(
            (
                lookout.next(now),
                lookout.next(end - PORTAL_CHECK_INTERVAL / 2)
            ),
            (now + PORTAL_CHECK_INTERVAL, end)
        );
        assert!(!lookout.is_at_end(end - PORTAL_CHECK_INTERVAL) && lookout.is_at_end(end));
    }
}
