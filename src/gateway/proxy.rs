//! The hooks that Pingora calls.

use crate::application_sessions::ApplicationSessions;
use crate::clock::{Chance, Clock};
use crate::directory::Directory;
use crate::gateway::admission::client_certificate::ClientCertificates;
use crate::gateway::admission::intent::body_of;
use crate::gateway::concurrency::ConcurrencyLimit;
use crate::gateway::context::{RequestContext, RequestKind};
use crate::gateway::listener::connections::Connections;
use crate::gateway::membership::Membership;
use crate::gateway::request::audience::Audience;
use crate::gateway::request::conformance::{Hosts, announces_body};
use crate::gateway::request::cookies::{CookieNames, RequestCookies};
use crate::gateway::request::origin::SocketOrigins;
use crate::gateway::request::route::{Page, Route, Routes};
use crate::gateway::request::trusted_proxies::TrustedProxies;
use crate::gateway::respond::access_log::AccessLog;
use crate::gateway::respond::failure::Failure;
use crate::gateway::respond::reply::{Reply, discard_body, has_begun};
use crate::gateway::upstream::header_policy::HeaderPolicy;
use crate::gateway::upstream::retry::Connection;
use crate::gateway::upstream::reuse::WorkerProxy;
use crate::gateway::upstream::{Sending, Upstream};
use crate::gateway::websocket::registry::WebSocketRegistry;
use crate::in_force::InForce;
use crate::pages::Pages;
use crate::parking::Parking;
use crate::portal::Portal;
use crate::sign_in::SignIns;
use crate::store::cache::Sessions;
use crate::telemetry::metrics::{Connect, Metrics, Refusal, Request};
use async_trait::async_trait;
use bytes::Bytes;
use domain::application_session::SessionCookies;
use domain::policy::{self, Decision, Permit};
use domain::session::{Session as BrokerSession, SessionLimits};
use domain::submission::{Body, SubmissionRules};
use domain::throttle::ClientAddress;
use http::StatusCode;
use http::header::EXPECT;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Everything that answering a request takes.
pub struct Gateway {
    pub(crate) routes: Routes,
    pub(crate) submission: Arc<InForce<SubmissionRules>>,
    pub(crate) hosts: Hosts,
    pub(crate) socket_origins: SocketOrigins,
    pub(crate) cookie_names: CookieNames,
    pub(crate) header_policy: HeaderPolicy,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) limits: SessionLimits,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) sign_ins: Arc<SignIns>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) membership: Membership,
    pub(crate) parking: Arc<Parking>,
    pub(crate) application_sessions: Arc<ApplicationSessions>,
    pub(crate) session_cookies: SessionCookies,
    pub(crate) certificates: Option<Arc<ClientCertificates>>,
    pub(crate) portal: Option<Arc<Portal>>,
    /// The portal's own server, where it has one.
    pub(crate) portal_server: Option<Arc<Upstream>>,
    /// The main host, by scheme and authority.
    pub(crate) home: String,
    pub(crate) pages: Arc<InForce<Pages>>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) concurrency: ConcurrencyLimit,
    pub(crate) websockets: Arc<WebSocketRegistry>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) keepalive: u64,
    /// Pingora's time limits for a read and a write: a last resort, a little longer than those of the stream, which see more.
    pub(crate) patience: Duration,
    pub(crate) trusted_proxies: TrustedProxies,
    pub(crate) access_log: AccessLog,
}

/// What becomes of a request.
pub(crate) enum Admission {
    Forward(Permit),
    Answer(Reply),
}

use Admission::{Answer, Forward};

/// What `request_filter` tells Pingora.
const ANSWERED: bool = true;
const TO_UPSTREAM: bool = false;

/// A client that sends or takes much earns time for a pause: at most so many times what it began with, `listen.body_timeout`.
pub(crate) const MOST_CREDIT: u32 = 3;

impl Gateway {
    /// The gateway's policy in the order in which it is applied. Every path ends in a permit or a reply.
    async fn admit(
        &self,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Admission, Failure> {
        let connection = self
            .certificates
            .as_ref()
            .and_then(|_| context.connection.clone());
        let certified = self.certificates.as_deref().zip(
            connection
                .as_ref()
                .and_then(|connection| connection.shown()),
        );
        let hosts = certified.map_or(&self.hosts, |(door, _)| door.hosts());
        self.check(hosts, http, context).map_err(Failure::Refused)?;
        if !matches!(
            http.req_header().method,
            http::Method::GET | http::Method::HEAD
        ) {
            context.about = RequestKind::Form;
        }
        if let Some((door, shown)) = certified {
            return Box::pin(self.admit_certified(door, shown, http, context)).await;
        }
        if let Some(marked) = self.unmark(http)? {
            return Box::pin(self.admit_marked(marked, http, context)).await;
        }
        self.admit_plain(http, context).await
    }

    /// The same for a request without a mark, or whose mark was cut off. What does not lead to the calculator is boxed, so that the future
    /// of what does, which Pingora allocates, stays small.
    pub(crate) async fn admit_plain(
        &self,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Admission, Failure> {
        match self.route(http) {
            Route::Asset(name) => return self.asset(&name, context).map(Answer),
            Route::Login(page) => {
                context.about = RequestKind::page(page);
                // Whoever wants to leave is never sent away.
                if page != Page::SignOut {
                    self.acquire_slot(None, http, context)?;
                }
                return Box::pin(self.login(page, http, context)).await.map(Answer);
            }
            Route::Public => {
                self.acquire_slot(None, http, context)?;
                context.outcome = Request::Public;
                return Ok(Forward(Permit::public()));
            }
            Route::Portal => {
                self.acquire_slot(None, http, context)?;
                (context.outcome, context.to_portal) = (Request::Public, true);
                return Ok(Forward(Permit::public()));
            }
            Route::Protected => {}
        }
        let held = self.held(http)?;
        let session = self.session_of(&held, http, context).await?;
        let session = match &self.portal {
            Some(_) => Box::pin(self.or_by_portal(session, http, context)).await?,
            None => session,
        };
        self.acquire_slot(session.as_ref(), http, context)?;
        Ok(
            match policy::decide(
                || self.intent(http),
                session.as_ref(),
                &self.limits,
                context.now,
            ) {
                Decision::Allow(permit) => {
                    context.outcome = Request::Forwarded;
                    Forward(permit)
                }
                Decision::SignIn => {
                    Answer(Box::pin(self.sign_in_required(http, &held, context)).await)
                }
                Decision::BlockSubmission(session) => {
                    Answer(Box::pin(self.block_submission(http, &held, &session, context)).await)
                }
                Decision::Refuse(doubt) => return Err(Failure::Doubtful(doubt)),
            },
        )
    }

    pub(crate) fn asset(&self, name: &str, context: &mut RequestContext) -> Result<Reply, Failure> {
        let pages = self.pages.now();
        let asset = pages.asset(name).ok_or(Failure::NotFound)?;
        context.outcome = Request::Asset;
        Ok(Reply::asset(asset.content_type, asset.body.clone()))
    }

    async fn block_submission(
        &self,
        http: &mut Session,
        held: &RequestCookies,
        session: &BrokerSession,
        context: &mut RequestContext,
    ) -> Reply {
        context.outcome = Request::SubmissionBlocked;
        self.metrics.submission_blocked();
        if Audience::of(&http.req_header().headers) == Audience::Script {
            return Reply::problem(
                StatusCode::FORBIDDEN,
                "submission needs a confirmed e-mail address",
            );
        }
        self.park_submission(http, held, session, context).await
    }

    /// What every request's session needs, whatever becomes of it (ARCHITECTURE.md, traps 1, 2 and 15).
    fn prepare(&self, http: &mut Session) {
        // Pingora turns the idle limit off after the first request; HTTP/1.0 clients that want no keep-alive must not get it,
        // and nobody during a shutdown.
        if http.as_downstream().get_keepalive().is_some() {
            http.as_downstream_mut()
                .set_keepalive((!self.connections.are_leaving()).then_some(self.keepalive));
        }
        let is_tunnel = is_handshake(http);
        // A tunnelled WebSocket may pause for ever. Over HTTP/2 the second limit is for a client that never opens its window.
        http.as_downstream_mut()
            .set_read_timeout((!is_tunnel).then_some(self.patience));
        http.as_downstream_mut()
            .set_write_timeout(Some(self.patience));
    }

    /// Who sent the request: the peer, or whom a front proxy of the operator's names.
    pub(crate) fn client_address(&self, http: &Session) -> Option<IpAddr> {
        let peer = http.client_addr()?.as_inet()?.ip();
        Some(
            self.trusted_proxies
                .client(peer, &http.req_header().headers),
        )
    }

    /// The same as counters know it.
    pub(crate) fn client_counted(&self, http: &Session) -> ClientAddress {
        ClientAddress::of(
            self.client_address(http)
                .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        )
    }
}

/// Whether what follows the header may be a tunnel. Pingora's own word says so of bodies too.
pub(crate) fn is_handshake(http: &Session) -> bool {
    http.as_downstream().is_upgrade_req() && !announces_body(&http.req_header().headers)
}

#[async_trait]
impl ProxyHttp for WorkerProxy {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        RequestContext::begin(self.clock.now())
    }

    /// No modules: the calculator's bytes are not ours to compress.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn early_request_filter(
        &self,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> pingora::Result<()> {
        context.enter(&self.connections);
        context.connection = self.connections.of(http
            .digest()
            .and_then(|digest| digest.socket_digest.as_ref()));
        if let Some(connection) = &context.connection {
            connection.header_complete(&http.req_header().headers);
        }
        self.prepare(http);
        // One that asks whether it may send its body is waited for from its first byte on.
        let asks = http.req_header().headers.contains_key(EXPECT);
        if !asks && !is_handshake(http) && body_of(http) == Body::Some {
            context.expect_body(http.req_header().version);
        }
        Ok(())
    }

    /// Answers the request here, or leaves a permit in the context for the upstream half.
    async fn request_filter(
        &self,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> pingora::Result<bool> {
        let answer = match self.admit(http, context).await {
            Ok(Forward(permit)) => {
                if self.has_doubtful_cookies(http, &permit, context) {
                    Box::pin(self.judge_cookies(http, &permit, context)).await;
                }
                context.grant(permit);
                return Ok(TO_UPSTREAM);
            }
            Ok(Answer(reply)) => Ok(reply),
            Err(failure) => Err(failure),
        };
        Box::pin(self.answer(answer, http, context)).await?;
        Ok(ANSWERED)
    }

    async fn upstream_peer(
        &self,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> pingora::Result<Box<HttpPeer>> {
        // No permit, no upstream: a forgotten decision fails closed.
        context.permit()?;
        let sending = if context.outgoing.is_some() {
            Sending::Once
        } else {
            Sending::Usual
        };
        let whose = match self.known_whose(context)? {
            Some(whose) => whose,
            None => Box::pin(self.whose(http, context)).await,
        };
        let (peer, reuse) = self.upstream_of(context).peer(
            http.req_header(),
            whose,
            sending,
            &mut context.attempts,
        )?;
        let mut peer = self.claim_server_share(peer, context)?;
        self.lease(&mut peer, reuse, http, context);
        Ok(peer)
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        peer: &HttpPeer,
        context: &mut RequestContext,
        error: Box<pingora::Error>,
    ) -> Box<pingora::Error> {
        self.connecting_failed(peer, error, context)
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        reused: bool,
        _: &HttpPeer,
        socket: RawFd,
        _: Option<&Digest>,
        context: &mut RequestContext,
    ) -> pingora::Result<()> {
        context.attempts.connected();
        context
            .lease
            .iter_mut()
            .for_each(|lease| lease.connected(socket));
        if !reused && !context.to_portal {
            self.metrics.upstream_connected(Connect::Ok);
        }
        if let Some(outgoing) = &mut context.outgoing {
            Box::pin(outgoing.connected(&self.parking, self.clock.now())).await;
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        http: &mut Session,
        request: &mut RequestHeader,
        context: &mut RequestContext,
    ) -> pingora::Result<()> {
        self.header_policy
            .strip_client_fields(request, context.session_cookies.as_deref())?;
        self.header_policy
            .add_identity(request, context.permit()?, self.client_address(http))?;
        if let Some(outgoing) = &context.outgoing {
            self.header_policy
                .apply_held_form(request, outgoing.form(), outgoing.length())?;
        }
        context.handed_over = Some(Instant::now());
        Ok(())
    }

    async fn request_body_filter(
        &self,
        http: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        context: &mut RequestContext,
    ) -> pingora::Result<()> {
        if !is_handshake(http) {
            context.body_taken(
                http.req_header().version,
                body.as_ref().map_or(0, Bytes::len),
            );
        }
        if end {
            context.body_complete();
        }
        if let Some(outgoing) = context.outgoing.as_mut().filter(|_| end) {
            *body = Some(outgoing.take_body());
        }
        // Pingora #935: an empty last DATA frame would end the body to the calculator twice, and the second end would be
        // taken for the next request on that connection.
        if end && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        http: &mut Session,
        response: &mut ResponseHeader,
        context: &mut RequestContext,
    ) -> pingora::Result<()> {
        if response.status == StatusCode::SWITCHING_PROTOCOLS
            && !http.as_downstream().is_upgrade_req()
        {
            // Pingora compares both sides and lets it pass if neither asked.
            return Err(pingora::Error::explain(
                pingora::ErrorType::InvalidHTTPHeader,
                "101 to a request that asked for none",
            )
            .into_up());
        }
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            Box::pin(self.open_websocket(http, context)).await?;
        }
        if let Some(handed_over) = context
            .handed_over
            .take_if(|_| !response.status.is_informational())
        {
            self.metrics.upstream_answered(handed_over.elapsed());
        }
        self.answer_decides(http, response, context);
        self.upstream_of(context)
            .answered(response, &context.attempts);
        self.header_policy.filter_response(response)?;
        if self.changes_sessions(response, context) {
            Box::pin(self.keep_set_cookies(http, response, context)).await?;
        }
        self.give_ticket(http, response, context)
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        http: &mut Session,
        error: Box<pingora::Error>,
        context: &mut RequestContext,
        reused: bool,
    ) -> Box<pingora::Error> {
        let connection = if reused {
            Connection::Kept
        } else {
            Connection::New
        };
        self.proxying_failed(http, peer, connection, error, context)
    }

    /// The calculator failed before it answered: a page of ours. If it had begun to answer, the broken-off answer shows as such.
    async fn fail_to_proxy(
        &self,
        http: &mut Session,
        error: &pingora::Error,
        context: &mut RequestContext,
    ) -> FailToProxy {
        let nothing = FailToProxy {
            error_code: 0,
            can_reuse_downstream: false,
        };
        let failure = if context.has_malformed_body() {
            Some(Failure::Refused(Refusal::Chunks))
        } else {
            Failure::of(error)
        };
        // A client that went away is no failure.
        if failure.is_some() {
            context.outcome = Request::Failed;
        }
        if has_begun(http) {
            return nothing;
        }
        let Some(failure) = failure else {
            return nothing;
        };
        context.upstream_error = Some(error.etype().as_str());
        let failure = match self.put_back(context).await {
            Some(page) => Failure::FormReturned(page, failure.status()),
            None => failure,
        };
        let reply = self.failed(&failure, http.req_header(), context);
        // The connection ends with this answer, which has to say so: a client that used it once more would lose that request.
        http.set_keepalive(None);
        let error_code = reply.status().as_u16();
        discard_body(http).await;
        match reply.send(http).await {
            Ok(()) => FailToProxy {
                error_code,
                can_reuse_downstream: false,
            },
            Err(_) => nothing,
        }
    }

    async fn logging(
        &self,
        http: &mut Session,
        error: Option<&pingora::Error>,
        context: &mut RequestContext,
    ) {
        self.log(http, error, context);
        if error.is_none() {
            self.give_back(context);
        }
        let Some(connection) = &context.connection else {
            return;
        };
        if !http.as_downstream_mut().is_body_done() {
            connection.left_unread();
        }
        // Over HTTP/2 other requests may be under way, and not all that comes belongs to one; there the idle limit watches.
        if http.req_header().version != http::Version::HTTP_2 {
            connection.request_done();
        }
    }

    /// What clients do is no error of ours, and each failure is logged once, with its incident number.
    fn suppress_error_log(&self, _: &Session, _: &RequestContext, _: &pingora::Error) -> bool {
        true
    }
}
