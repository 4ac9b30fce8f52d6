//! Brokers who are signed in at the insurer's portal are signed in here.
//!
//! Unless the portal forbids it, its cookies come along with requests that pages of other sites make. So, as with certificates,
//! such requests count as anonymous.

use crate::gateway::concurrency::{Class, ConcurrencyLimit};
use crate::gateway::context::RequestContext;
use crate::gateway::request::audience::Audience;
use crate::gateway::request::cookies::{CookieNames, pairs};
use crate::gateway::request::form::crosses_sites;
use crate::gateway::respond::failure::Failure;
use crate::gateway::websocket::control::CloseHandle;
use crate::gateway::websocket::portal_recheck::PortalRecheck;
use crate::gateway::websocket::recheck::RecheckTask;
use crate::identity::directory::Directory;
use crate::identity::portal::{Portal, PortalAnswer, PortalClaim, QuestionSender};
use crate::sign_in::SignIns;
use crate::telemetry::metrics::{Metrics, Outcome, Step};
use domain::session::{Level, Proof, Session as BrokerSession, SessionLimits};
use domain::submission::Intent;
use domain::throttle::ClientAddress;
use domain::time::Timestamp;
use domain::vtnr::Vtnr;
use http::HeaderMap;
use http::header::USER_AGENT;
use pingora::http::RequestHeader;
use std::sync::Arc;
use tokio::time::Instant;

/// What the portal says of a browser.
pub(crate) struct AtPortal {
    pub(crate) claim: PortalClaim,
    /// Known at the portal, and the broker has not signed out of it here.
    pub(crate) session: Option<BrokerSession>,
    /// The broker has signed out of it here.
    pub(crate) has_left: bool,
    /// What the portal says; nothing if it was not asked.
    pub(crate) answer: Option<PortalAnswer>,
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

/// Finds out from the portal who is signed in there.
pub(crate) struct PortalSessions {
    pub(crate) portal: Arc<Portal>,
    pub(crate) cookie_names: CookieNames,
    pub(crate) directory: Arc<Directory>,
    pub(crate) sign_ins: Arc<SignIns>,
    pub(crate) concurrency: Arc<ConcurrencyLimit>,
    pub(crate) limits: SessionLimits,
    pub(crate) metrics: Arc<Metrics>,
}

impl PortalSessions {
    /// The session that counts for a request: the gateway's own, or the portal's where the own one does not suffice for what the
    /// request means to do.
    ///
    /// # Errors
    /// [`Failure::Overloaded`]: the portal would have to be asked, and no slot is free.
    pub(crate) async fn or_own(
        &self,
        own: Option<BrokerSession>,
        intent: impl FnOnce() -> Intent,
        request: &RequestHeader,
        context: &mut RequestContext,
    ) -> Result<Option<BrokerSession>, Failure> {
        match own.map(|session| session.level) {
            Some(Level::Full { .. }) => Ok(own),
            // The portal is not asked about what pages load.
            Some(Level::WithoutSubmission)
                if intent() == Intent::Use
                    && Audience::of(&request.headers) != Audience::Navigation =>
            {
                Ok(best(own, self.known(request, context).as_ref()))
            }
            Some(Level::WithoutSubmission) | None => {
                Ok(best(own, self.ask(request, context).await?.as_ref()))
            }
        }
    }

    /// Asks the portal about the sender of a request; `None` if the request has nothing of the portal's. While the portal is asked,
    /// the request holds a stranger's slot.
    ///
    /// # Errors
    /// [`Failure::Overloaded`]: no slot is free.
    pub(crate) async fn ask(
        &self,
        request: &RequestHeader,
        context: &mut RequestContext,
    ) -> Result<Option<AtPortal>, Failure> {
        let Some(claim) = self.claim(request, context) else {
            return Ok(None);
        };
        let answer = match self.portal.known(&claim) {
            Some(known) => known,
            None => {
                let key = context.rate_limit_key();
                let had_slot = context.slot.is_some();
                if !had_slot {
                    context.slot = Some(self.concurrency.acquire(Class::Anybody(key))?);
                }
                let sender = sender(&request.headers, context);
                let note = |vtnr| self.note(vtnr, key);
                let answer = self.portal.ask(&claim, &sender, note).await;
                context.slot.take_if(|_| !had_slot);
                answer
            }
        };
        Ok(Some(self.as_said(
            claim,
            Some(answer),
            &request.headers,
            context.now,
        )))
    }

    /// Repeats what the portal said a moment ago, if anything. Does not ask, so that nobody waits.
    pub(crate) fn known(
        &self,
        request: &RequestHeader,
        context: &RequestContext,
    ) -> Option<AtPortal> {
        let claim = self.claim(request, context)?;
        let known = self.portal.known(&claim);
        Some(self.as_said(claim, known, &request.headers, context.now))
    }

    fn claim(&self, request: &RequestHeader, context: &RequestContext) -> Option<PortalClaim> {
        if crosses_sites(request, context.scheme) {
            return None;
        }
        self.portal.claim(pairs(&request.headers))
    }

    fn as_said(
        &self,
        claim: PortalClaim,
        answer: Option<PortalAnswer>,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> AtPortal {
        let has_left = self.cookie_names.has_left_portal(headers, claim.sum());
        let vtnr = match answer {
            Some(PortalAnswer::SignedIn(vtnr)) if self.directory.knows(vtnr) && !has_left => {
                Some(vtnr)
            }
            _ => None,
        };
        let level = Level::Full {
            proof: Proof::Portal,
        };
        AtPortal {
            claim,
            session: vtnr.map(|vtnr| BrokerSession::begin(vtnr, level, now)),
            has_left,
            answer,
        }
    }

    fn note(&self, vtnr: Vtnr, client: ClientAddress) {
        if self.directory.knows(vtnr) {
            self.sign_ins
                .note(Step::Portal, Outcome::Ok, Some(vtnr), client);
        } else {
            self.sign_ins
                .note(Step::Portal, Outcome::InvalidVtnr, None, client);
        }
    }

    /// Re-checks a WebSocket that was opened on the portal's word; see [`PortalRecheck`].
    pub(crate) fn recheck(
        &self,
        permitted: Vtnr,
        handle: &Arc<CloseHandle>,
        request: &RequestHeader,
        context: &RequestContext,
    ) -> Option<RecheckTask> {
        let claim = self.claim(request, context)?;
        let sender = sender(&request.headers, context);
        let portal = Arc::clone(&self.portal);
        let directory = Arc::clone(&self.directory);
        let mut recheck = PortalRecheck::begin(permitted, &self.limits, Instant::now());
        let is_over = async move {
            loop {
                tokio::time::sleep_until(recheck.next(Instant::now())).await;
                if recheck.is_at_end(Instant::now()) || !directory.knows(permitted) {
                    return;
                }
                let answer = portal.ask(&claim, &sender, |_| {}).await;
                if recheck.ends_with(answer, Instant::now()) {
                    return;
                }
            }
        };
        Some(RecheckTask::spawn(
            Arc::clone(handle),
            Arc::clone(&self.metrics),
            is_over,
        ))
    }
}

fn sender(headers: &HeaderMap, context: &RequestContext) -> QuestionSender {
    QuestionSender {
        address: context.client,
        agent: headers.get(USER_AGENT).cloned(),
    }
}
