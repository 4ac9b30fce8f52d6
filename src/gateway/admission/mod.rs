//! All that can end in a permit.
//!
//! [`Admission::admit`] applies the policy in its order, and every path of it ends in a [`Disposition`]. The permit itself is made by
//! `domain::policy` alone. Nothing here calls the gateway's own pages: where one is asked for, the proxy is told which.

pub(crate) mod client_certificate;
mod form_intake;
pub(crate) mod held_forms;
pub(crate) mod portal;
pub(crate) mod session;
mod sign_in_required;

use crate::gateway::concurrency::{Class, ConcurrencyLimit};
use crate::gateway::context::{RequestContext, RequestKind};
use crate::gateway::listener::connections::Connection;
use crate::gateway::listener::presented_certificate::PresentedChain;
use crate::gateway::request::audience::Audience;
use crate::gateway::request::conformance::{self, Hosts};
use crate::gateway::request::cookies::CookieNames;
use crate::gateway::request::form::{self, BadForm};
use crate::gateway::request::kind::as_forwarded;
use crate::gateway::request::links::{
    Links, may_stay_silent, requested_target, retarget, without_mark,
};
use crate::gateway::request::origin::WebSocketOrigins;
use crate::gateway::respond::failure::Failure;
use crate::gateway::respond::reply::Reply;
use crate::live::Live;
use crate::pages::Pages;
use crate::sign_in::SignIns;
use crate::telemetry::metrics::{Metrics, Refusal, Request};
use client_certificate::{ClientCertificates, refuse_other_names};
use domain::ids::FormId;
use domain::policy::{self, Decision, Permit};
use domain::route::{Page, Route, Routes};
use domain::session::{Session as BrokerSession, SessionLimits};
use domain::submission::{Body, SubmissionRules};
use domain::vtnr::Vtnr;
use form_intake::is_press;
use held_forms::{HeldForms, Press};
use http::{Method, StatusCode};
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use portal::{AtPortal, PortalSessions, best};
use session::BrokerSessions;
use std::sync::Arc;

/// What becomes of a request.
pub(crate) enum Disposition {
    /// The request goes to the calculator or to the portal.
    Forward(Permit),
    /// The request is for one of the gateway's own pages.
    Page(Page),
    /// The request is for a file of the gateway's pages.
    Asset(String),
    /// The gateway answers at once.
    Reply(Reply),
}

/// Decides what becomes of each request.
pub(crate) struct Admission {
    pub(crate) routes: Routes,
    pub(crate) submission: Arc<Live<SubmissionRules>>,
    pub(crate) hosts: Hosts,
    pub(crate) websocket_origins: WebSocketOrigins,
    pub(crate) cookie_names: CookieNames,
    pub(crate) limits: SessionLimits,
    pub(crate) sessions: BrokerSessions,
    pub(crate) held_forms: HeldForms,
    pub(crate) certificates: Option<Arc<ClientCertificates>>,
    pub(crate) portal: Option<PortalSessions>,
    pub(crate) sign_ins: Arc<SignIns>,
    pub(crate) links: Arc<Links>,
    pub(crate) pages: Arc<Live<Pages>>,
    pub(crate) concurrency: Arc<ConcurrencyLimit>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Admission {
    /// Applies the policy to a request.
    ///
    /// # Errors
    /// Why the request cannot be judged.
    pub(crate) async fn admit(
        &self,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Disposition, Failure> {
        let connection = context
            .connection
            .clone()
            .filter(|_| self.certificates.is_some());
        let certified = self.certified(connection.as_deref());
        self.check(
            certified.map_or(&self.hosts, |(certificates, _)| certificates.hosts()),
            http,
            context,
        )?;
        if !matches!(http.req_header().method, Method::GET | Method::HEAD) {
            context.about = RequestKind::Form;
        }
        match certified {
            Some((_, shown)) => refuse_other_names(shown, http.req_header())?,
            None => {
                if let Some(form) = unmark(http)? {
                    return Box::pin(self.admit_marked(form, http, context)).await;
                }
            }
        }
        self.admit_unmarked(http, context).await
    }

    /// Applies the policy to a request without a mark, or whose mark was cut off. What does not lead to the calculator is boxed, so
    /// that the future of what does, which Pingora allocates, stays small.
    async fn admit_unmarked(
        &self,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Disposition, Failure> {
        let connection = context
            .connection
            .clone()
            .filter(|_| self.certificates.is_some());
        let certified = self.certified(connection.as_deref());
        match self.route(http.req_header(), context.body) {
            Route::Asset(name) => Ok(Disposition::Asset(name)),
            Route::Page(page) => {
                context.about = RequestKind::page(page);
                // A broker who wants to sign out is never sent away.
                if page != Page::SignOut {
                    self.acquire_slot(None, http.req_header(), context)?;
                }
                Ok(Disposition::Page(page))
            }
            Route::Public(route) => {
                self.acquire_slot(None, http.req_header(), context)?;
                context.outcome = Request::Public;
                Ok(Disposition::Forward(Permit::public(route)))
            }
            // The portal is another way in, and its pages are on the main host; on the certificates' host they are as any others.
            Route::Portal(route) if certified.is_none() => {
                self.acquire_slot(None, http.req_header(), context)?;
                context.outcome = Request::Public;
                context.to_portal = true;
                Ok(Disposition::Forward(Permit::public(route)))
            }
            Route::Portal(_) | Route::Protected => match certified {
                Some((certificates, shown)) => {
                    self.admit_by_certificate(certificates, shown, http.req_header(), context)
                }
                None => self.admit_by_session(http, context).await,
            },
        }
    }

    async fn admit_by_session(
        &self,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Disposition, Failure> {
        let cookies = context.read_cookies(self.cookie_names, &http.req_header().headers)?;
        let headers = &http.req_header().headers;
        let session = self.sessions.find_for(&cookies, headers, context).await?;
        let session = match &self.portal {
            Some(portal) => {
                let request = http.req_header();
                Box::pin(self.or_at_portal(portal, session, request, context)).await?
            }
            None => session,
        };
        self.acquire_slot(session.as_ref(), http.req_header(), context)?;
        let decision = policy::decide(
            &as_forwarded(http.req_header(), context.body),
            &self.submission.load(),
            session.as_ref(),
            &self.limits,
            context.now,
        );
        match decision {
            Decision::Allow(permit) => {
                context.outcome = Request::Forwarded;
                Ok(Disposition::Forward(permit))
            }
            Decision::SignIn => {
                let reply = Box::pin(self.sign_in_required(http, &cookies, context)).await;
                Ok(Disposition::Reply(reply))
            }
            Decision::BlockSubmission(session) => {
                context.outcome = Request::SubmissionBlocked;
                self.metrics.submission_blocked();
                if Audience::of(&http.req_header().headers) == Audience::Script {
                    return Ok(Disposition::Reply(Reply::problem(
                        StatusCode::FORBIDDEN,
                        "submission needs a confirmed e-mail address",
                    )));
                }
                let reply = self
                    .held_forms
                    .take_blocked_submission(http, &cookies, &session, context);
                Ok(Disposition::Reply(Box::pin(reply).await))
            }
            Decision::Refuse(doubt) => Err(Failure::Doubtful(doubt)),
        }
    }

    async fn or_at_portal(
        &self,
        portal: &PortalSessions,
        own: Option<BrokerSession>,
        request: &RequestHeader,
        context: &mut RequestContext,
    ) -> Result<Option<BrokerSession>, Failure> {
        let body = context.body;
        let intent = || {
            self.submission
                .load()
                .classify(&as_forwarded(request, body))
        };
        portal.or_own(own, intent, request, context).await
    }

    /// A request with a mark: a press on the gateway's button; or one from a page that stands at such an address since it answered a
    /// form, which goes to the calculator like any other.
    async fn admit_marked(
        &self,
        id: FormId,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Disposition, Failure> {
        if is_press(http.req_header()) {
            // A body that breaks off would break the kept form off with it.
            if context.body == Body::Some {
                return Err(Failure::Form(BadForm::Malformed));
            }
            return self.send_held_form(id, http, context).await;
        }
        let request = http.req_header();
        if matches!(request.method, Method::GET | Method::HEAD)
            && Audience::of(&request.headers) == Audience::Navigation
        {
            // From a bookmark, or typed: the address is cleared of the mark.
            context.outcome = Request::LoginPage;
            let target = requested_target(request);
            return Ok(Disposition::Reply(Reply::see_other(target.as_str())));
        }
        self.admit_unmarked(http, context).await
    }

    async fn send_held_form(
        &self,
        id: FormId,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Disposition, Failure> {
        let request = http.req_header();
        if form::is_foreign(request, context.scheme) {
            return Err(Failure::Form(BadForm::Foreign));
        }
        context.outcome = Request::LoginPage;
        context.about = RequestKind::KeptForm(self.links.form_page(id));
        let cookies = self.cookie_names.read_for(id, &request.headers)?;
        let own = self.sessions.find(cookies.session.as_ref(), context.now);
        let own = own.await?;
        let session = best(own, self.at_portal(request, context).await?.as_ref());
        self.acquire_slot(session.as_ref(), request, context)?;
        let press = self
            .held_forms
            .press(id, &cookies, session.as_ref(), context);
        match press.await? {
            Press::Reply(reply) => Ok(Disposition::Reply(reply)),
            Press::Send(permit, outgoing) => {
                context.outcome = Request::Forwarded;
                context.outgoing = Some(*outgoing);
                // A second press leaves the first answer, which must not stop the form half-way.
                http.as_downstream_mut().set_abort_on_close(false);
                Ok(Disposition::Forward(permit))
            }
        }
    }

    /// The portal's word on the sender of a request, where there is a portal.
    ///
    /// # Errors
    /// [`Failure::Overloaded`]: the portal would have to be asked, and no slot is free.
    pub(crate) async fn at_portal(
        &self,
        request: &RequestHeader,
        context: &mut RequestContext,
    ) -> Result<Option<AtPortal>, Failure> {
        match &self.portal {
            Some(portal) => portal.ask(request, context).await,
            None => Ok(None),
        }
    }

    /// Like [`at_portal`](Self::at_portal), but only what the portal said a moment ago.
    pub(crate) fn known_at_portal(
        &self,
        request: &RequestHeader,
        context: &RequestContext,
    ) -> Option<AtPortal> {
        self.portal.as_ref()?.known(request, context)
    }

    /// The broker of a request that has this permit, also where the policy did not have to ask.
    pub(crate) async fn broker_of(
        &self,
        http: &Session,
        permit: &Permit,
        context: &RequestContext,
    ) -> Option<Vtnr> {
        if let Some((vtnr, _)) = permit.broker() {
            return Some(vtnr);
        }
        let request = http.req_header();
        if let Some(vtnr) = self.certified_broker(request, context) {
            return Some(vtnr);
        }
        if let Ok(cookies) = context.cookies(self.cookie_names, &request.headers) {
            let session = self.sessions.peek(&cookies, &request.headers, context.now);
            if let Some(session) = session.await {
                return Some(session.vtnr);
            }
        }
        self.known_at_portal(request, context)
            .and_then(|at_portal| at_portal.session)
            .map(|session| session.vtnr)
    }

    /// The certificates, and what the client of this connection presented, where it came in by their listener.
    pub(crate) fn certified<'c>(
        &self,
        connection: Option<&'c Connection>,
    ) -> Option<(&Arc<ClientCertificates>, &'c PresentedChain)> {
        self.certificates.as_ref().zip(connection?.shown())
    }

    /// Refuses what is not fit to be judged.
    fn check(
        &self,
        hosts: &Hosts,
        http: &Session,
        context: &RequestContext,
    ) -> Result<(), Failure> {
        let check = || {
            if context.has_malformed_body() {
                return Err(Refusal::Chunks);
            }
            conformance::check(http.req_header(), hosts)?;
            conformance::check_length(http.as_downstream())?;
            self.websocket_origins
                .check(http.req_header(), context.scheme)
        };
        check().map_err(Failure::Refused)
    }

    /// What a request is for.
    pub(crate) fn route(&self, request: &RequestHeader, body: Body) -> Route {
        self.routes
            .of(&as_forwarded(request, body), &self.submission.load())
    }

    /// Takes a slot for the time of the request, in the name of this session or as a stranger.
    ///
    /// # Errors
    /// [`Failure::Overloaded`]: none is free.
    pub(crate) fn acquire_slot(
        &self,
        session: Option<&BrokerSession>,
        request: &RequestHeader,
        context: &mut RequestContext,
    ) -> Result<(), Failure> {
        let stays_open = || context.is_handshake || may_stay_silent(&request.headers);
        let class = match session {
            None => Class::Anybody(context.rate_limit_key()),
            Some(session) if stays_open() => Class::KeptOpen(session.vtnr),
            Some(_) => Class::SignedIn,
        };
        context.slot = Some(self.concurrency.acquire(class)?);
        Ok(())
    }
}

/// Cuts the mark off a request's target, and says which form it means.
fn unmark(http: &mut Session) -> Result<Option<FormId>, Failure> {
    let request = http.req_header_mut();
    let marked = without_mark(request.raw_path());
    let Some((target, id)) = marked.map(|(target, id)| (target.to_owned(), id)) else {
        return Ok(None);
    };
    retarget(request, &target).map_err(|_| Failure::Refused(Refusal::Target))?;
    Ok(Some(id))
}
