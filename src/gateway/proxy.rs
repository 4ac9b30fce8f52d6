//! The hooks that Pingora calls, in the order of a request.

use crate::clock::Clock;
use crate::gateway::admission::{Admission, Disposition};
use crate::gateway::context::RequestContext;
use crate::gateway::listener::connections::Connections;
use crate::gateway::request::cookies::CookieNames;
use crate::gateway::request::kind::{body_of, is_handshake};
use crate::gateway::request::origin::page_scheme;
use crate::gateway::request::trusted_proxies::TrustedProxies;
use crate::gateway::respond::Responder;
use crate::gateway::respond::failure::Failure;
use crate::gateway::respond::reply::{discard_body, has_begun};
use crate::gateway::sign_in_pages::SignInPages;
use crate::gateway::upstream::UpstreamSide;
use crate::gateway::upstream::application_cookies::ApplicationCookies;
use crate::gateway::upstream::retry::ConnectionOrigin;
use crate::gateway::upstream::reuse::ConnectionReuse;
use crate::gateway::websocket::registry::WebSocketRegistry;
use crate::telemetry::metrics::{Connect, Metrics, Refusal, Request};
use async_trait::async_trait;
use bytes::Bytes;
use domain::policy::Permit;
use domain::session::{Level, Proof};
use domain::submission::Body;
use http::StatusCode;
use http::header::EXPECT;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use std::net::IpAddr;
use std::ops::Deref;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The parts of a gateway; each owns its state.
pub struct Gateway {
    pub(crate) admission: Arc<Admission>,
    pub(crate) sign_in_pages: SignInPages,
    pub(crate) upstream: UpstreamSide,
    pub(crate) application_cookies: Arc<ApplicationCookies>,
    pub(crate) responder: Responder,
    pub(crate) websockets: Arc<WebSocketRegistry>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) trusted_proxies: TrustedProxies,
    pub(crate) cookie_names: CookieNames,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    /// The idle time between two requests of a connection, in seconds.
    pub(crate) keepalive: u64,
    /// Pingora's timeout for one read or write: a last resort, a little longer than those of the client's stream, which see more.
    pub(crate) io_timeout: Duration,
}

/// What `request_filter` tells Pingora.
const ANSWERED: bool = true;
const TO_UPSTREAM: bool = false;

/// A gateway as one thread serves it, with kept connections to the calculator of its own.
pub struct WorkerProxy {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) reuse: ConnectionReuse,
}

impl Deref for WorkerProxy {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.gateway
    }
}

impl Gateway {
    /// Reads from the header what the whole request needs, and sets its timeouts (`src/PINGORA.md`, traps 1, 2 and 15).
    fn prepare(&self, http: &mut Session, context: &mut RequestContext) {
        // Pingora turns the idle limit off after the first request; HTTP/1.0 clients that want no keep-alive must not get it,
        // and nobody during a shutdown.
        if http.as_downstream().get_keepalive().is_some() {
            let keepalive = (!self.connections.is_draining()).then_some(self.keepalive);
            http.as_downstream_mut().set_keepalive(keepalive);
        }
        context.client = self.client_address(http);
        context.scheme = page_scheme(self.cookie_names, http);
        context.is_handshake = is_handshake(http);
        context.body = body_of(http);
        // A WebSocket may be silent for ever. Over HTTP/2 the second limit is for a client that never opens its window.
        let read_timeout = (!context.is_handshake).then_some(self.io_timeout);
        http.as_downstream_mut().set_read_timeout(read_timeout);
        http.as_downstream_mut()
            .set_write_timeout(Some(self.io_timeout));
    }

    /// The peer, or the client that a trusted proxy names.
    pub(crate) fn client_address(&self, http: &Session) -> Option<IpAddr> {
        let peer = http.client_addr()?.as_inet()?.ip();
        let headers = &http.req_header().headers;
        Some(self.trusted_proxies.client(peer, headers))
    }

    /// Withholds the calculator's session cookies of other brokers.
    async fn withhold_cookies(
        &self,
        http: &Session,
        permit: &Permit,
        context: &mut RequestContext,
    ) {
        let broker = self.admission.broker_of(http, permit, context).await;
        self.application_cookies
            .withhold_foreign(http, broker, context)
            .await;
    }

    /// Remembers whose the sessions are that the calculator begins, and has the browser delete what was withheld.
    async fn keep_set_cookies(
        &self,
        http: &Session,
        response: &mut ResponseHeader,
        context: &mut RequestContext,
    ) -> pingora::Result<()> {
        let broker = self
            .admission
            .broker_of(http, context.permit()?, context)
            .await;
        self.application_cookies
            .keep_set_cookies(http, response, broker, context)
            .await
    }

    /// A WebSocket opens. It ends with the gateway, and with what entitles its broker to it, if there is one.
    async fn open_websocket(
        &self,
        http: &Session,
        context: &mut RequestContext,
    ) -> pingora::Result<()> {
        let broker = context.permit()?.broker();
        let connection = context.connection.clone().ok_or_else(unwatched)?;
        let handle = connection.close_handle();
        context.recheck = match broker {
            Some((
                vtnr,
                Level::Full {
                    proof: Proof::Certificate,
                },
            )) => {
                let certificates = self.admission.certificates.as_ref().ok_or_else(unwatched)?;
                Some(certificates.recheck(Arc::clone(&connection), vtnr))
            }
            Some((
                vtnr,
                Level::Full {
                    proof: Proof::Portal,
                },
            )) => {
                let portal = self.admission.portal.as_ref().ok_or_else(unwatched)?;
                let recheck = portal.recheck(vtnr, handle, http.req_header(), context);
                Some(recheck.ok_or_else(unwatched)?)
            }
            _ => None,
        };
        context.websocket = Some(if broker.is_none() || context.recheck.is_some() {
            self.websockets.open_unowned(handle)
        } else {
            let cookies = context.cookies(self.cookie_names, &http.req_header().headers);
            let session = cookies.ok().and_then(|cookies| cookies.session);
            let session = session.ok_or_else(unwatched)?;
            self.websockets.open(&session, handle).await
        });
        Ok(())
    }
}

fn unwatched() -> Box<pingora::Error> {
    pingora::Error::explain(
        pingora::ErrorType::InternalError,
        "a WebSocket without a session",
    )
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
        self.prepare(http, context);
        // One that asks whether it may send its body is waited for from its first byte on.
        let asks = http.req_header().headers.contains_key(EXPECT);
        if !asks && !context.is_handshake && context.body == Body::Some {
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
        let answer = match self.admission.admit(http, context).await {
            Ok(Disposition::Forward(permit)) => {
                let broker = permit.broker().map(|(vtnr, _)| vtnr);
                let headers = &http.req_header().headers;
                if !self.upstream.is_for_portal_server(context)
                    && self.application_cookies.has_doubtful(headers, broker)
                {
                    Box::pin(self.withhold_cookies(http, &permit, context)).await;
                }
                context.grant(permit);
                return Ok(TO_UPSTREAM);
            }
            Ok(Disposition::Page(page)) => {
                Box::pin(self.sign_in_pages.answer(page, http, context)).await
            }
            Ok(Disposition::Asset(name)) => self.responder.asset(&name, context),
            Ok(Disposition::Reply(reply)) => Ok(reply),
            Err(failure) => Err(failure),
        };
        Box::pin(self.responder.answer(answer, http, context)).await?;
        Ok(ANSWERED)
    }

    async fn upstream_peer(
        &self,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> pingora::Result<Box<HttpPeer>> {
        let (mut peer, reuse) = self.upstream.peer(http, context).await?;
        self.reuse.lease(&mut peer, reuse, http, context);
        Ok(peer)
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        peer: &HttpPeer,
        context: &mut RequestContext,
        error: Box<pingora::Error>,
    ) -> Box<pingora::Error> {
        self.upstream.connecting_failed(peer, error, context)
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
            Box::pin(outgoing.connected(&self.admission.held_forms.forms, self.clock.now())).await;
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        context: &mut RequestContext,
    ) -> pingora::Result<()> {
        self.upstream
            .header_policy
            .strip_client_fields(request, context.session_cookies.as_deref())?;
        self.upstream
            .header_policy
            .add_identity(request, context.permit()?, context.client)?;
        if let Some(outgoing) = &context.outgoing {
            self.upstream.header_policy.apply_held_form(
                request,
                outgoing.form(),
                outgoing.length(),
            )?;
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
        if !context.is_handshake {
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
        self.reuse.answer_decides(http, response, context);
        self.upstream
            .of(context)
            .answered(response, &context.attempts);
        self.upstream.header_policy.filter_response(response)?;
        if !self.upstream.is_for_portal_server(context)
            && self.application_cookies.changes_sessions(response, context)
        {
            Box::pin(self.keep_set_cookies(http, response, context)).await?;
        }
        let owned = || self.application_cookies.owned_sessions(http, context);
        self.admission
            .sessions
            .add_offline_token(response, context, owned)
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
            ConnectionOrigin::Kept
        } else {
            ConnectionOrigin::New
        };
        self.upstream
            .proxying_failed(http, peer, connection, error, context)
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
        let failure = match self.admission.held_forms.put_back(context).await {
            Some(page) => Failure::FormReturned(page, failure.status()),
            None => failure,
        };
        let reply = self.responder.failed(&failure, http.req_header(), context);
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
        self.responder.log(http, error, context);
        if error.is_none() {
            self.reuse.give_back(context);
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
