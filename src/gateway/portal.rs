//! Who is signed in at the insurer's portal is signed in here.
//!
//! The portal's cookies come along with requests that pages of other sites make, unless the portal forbids it; so, as with
//! certificates, such requests count for nobody.

use super::certified::crosses_sites;
use super::cookies::pairs;
use super::failure::Failure;
use super::passage::Watch;
use super::tunnel::{Cut, Line};
use super::{Gateway, Passage};
use crate::domain::session::{Level, Proof, Session as BrokerSession};
use crate::domain::submission::Intent;
use crate::domain::throttle::ClientAddress;
use crate::domain::vtnr::Vtnr;
use crate::portal::{Answer, Claim, Sender};
use crate::telemetry::metrics::{Outcome, Step};
use http::header::USER_AGENT;
use pingora::proxy::Session;
use std::sync::Arc;
use std::time::Duration;

/// How often the portal is asked about an open WebSocket, at most.
const LOOK: Duration = Duration::from_secs(5);

/// What the portal says of a browser.
pub(super) struct AtPortal {
    pub(super) claim: Claim,
    /// It is known there, and the broker has not signed out of it here.
    pub(super) session: Option<BrokerSession>,
    /// The broker has signed out of it here.
    pub(super) has_left: bool,
    /// The portal did not answer.
    pub(super) is_silent: bool,
}

/// Of a browser's own session and its session by the portal, the one that counts: a full one before another, and never two brokers'.
pub(super) fn best(own: Option<BrokerSession>, at_portal: Option<&AtPortal>) -> Option<BrokerSession> {
    if own.is_some_and(|own| matches!(own.level, Level::Full { .. })) {
        return own;
    }
    let by_portal = at_portal.and_then(|at_portal| at_portal.session);
    // Nobody's application goes out as somebody else's.
    by_portal.filter(|session| own.is_none_or(|own| own.vtnr == session.vtnr)).or(own)
}

impl Gateway {
    /// The session that a request has by the portal, where the gateway's own does not suffice for what it wants.
    pub(super) async fn or_by_portal(
        &self,
        own: Option<BrokerSession>,
        http: &mut Session,
        passage: &mut Passage,
    ) -> Result<Option<BrokerSession>, Failure> {
        let suffices = match own.map(|session| session.level) {
            Some(Level::Full { .. }) => true,
            Some(Level::WithoutSubmission) => self.intent(http) == Intent::Use,
            None => false,
        };
        if suffices {
            return Ok(own);
        }
        Ok(best(own, self.at_portal(http, passage).await?.as_ref()))
    }

    /// What the portal says of who sent a request; `None` if it has nothing of the portal's. Whoever must be asked about has a seat
    /// among those whom nobody knows.
    pub(super) async fn at_portal(&self, http: &Session, passage: &mut Passage) -> Result<Option<AtPortal>, Failure> {
        let Some(portal) = self.portal.as_ref().filter(|_| !crosses_sites(http)) else { return Ok(None) };
        let headers = &http.req_header().headers;
        let Some(claim) = portal.claim(pairs(headers)) else { return Ok(None) };
        let answer = match portal.known(&claim, passage.now) {
            Some(known) => known,
            None => {
                let has_seat = passage.seat.is_some();
                if !has_seat {
                    self.seat(None, http, passage)?;
                }
                let sender = Sender { address: self.client_address(http), agent: headers.get(USER_AGENT).cloned() };
                let client = self.client_counted(http);
                let answer = portal.ask(&claim, &sender, |vtnr| self.note_portal(vtnr, client)).await;
                passage.seat.take_if(|_| !has_seat);
                answer
            }
        };
        let vtnr = match answer {
            Answer::SignedIn(vtnr) if self.directory.knows(vtnr) => Some(vtnr),
            Answer::SignedIn(_) | Answer::Nobody | Answer::Unavailable => None,
        };
        let has_left = self.jar.has_left(headers, claim.sum());
        let vtnr = vtnr.filter(|_| !has_left);
        let session = vtnr.map(|vtnr| BrokerSession::begin(vtnr, Level::Full { proof: Proof::Portal }, passage.now));
        Ok(Some(AtPortal { claim, session, has_left, is_silent: answer == Answer::Unavailable }))
    }

    fn note_portal(&self, vtnr: Vtnr, client: ClientAddress) {
        let is_known = self.directory.knows(vtnr);
        let outcome = if is_known { Outcome::Ok } else { Outcome::InvalidVtnr };
        self.sign_ins.note(Step::Portal, outcome, Some(vtnr).filter(|_| is_known), client);
    }

    /// Ends a WebSocket once the portal says that its broker is not signed in any more.
    pub(super) fn watch_at_portal(&self, http: &Session, permitted: Vtnr, line: &Arc<Line>) -> Option<Watch> {
        let portal = Arc::clone(self.portal.as_ref()?);
        let headers = &http.req_header().headers;
        let claim = portal.claim(pairs(headers))?;
        let sender = Sender { address: self.client_address(http), agent: headers.get(USER_AGENT).cloned() };
        let (directory, line) = (Arc::clone(&self.directory), Arc::clone(line));
        Some(Watch::over(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                // A portal that does not answer says nothing, and cuts nothing.
                let answer = portal.ask(&claim, &sender, |_| {}).await;
                let is_over = match answer {
                    Answer::SignedIn(vtnr) => vtnr != permitted || !directory.knows(vtnr),
                    Answer::Nobody => true,
                    Answer::Unavailable => !directory.knows(permitted),
                };
                if is_over {
                    return line.cut(Cut::SessionEnded);
                }
            }
        }))
    }
}
