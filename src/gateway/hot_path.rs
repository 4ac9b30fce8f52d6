//! What a forwarded request costs the gateway itself: the hooks that Pingora calls, and the steps within them, without a socket.
//!
//! `benches/hot_path.rs` and `tests/hot_path/main.rs` time it and count what it allocates. It calls what serves requests and decides nothing.

use crate::config::Config;
use crate::gateway::build::{Parts, assemble};
use crate::gateway::context::RequestContext;
use crate::gateway::proxy::WorkerProxy;
use crate::gateway::request::conformance;
use crate::gateway::request::kind::as_forwarded;
use crate::gateway::upstream::reuse::ConnectionReuse;
use domain::ids::SessionToken;
use domain::policy::{self, Decision, Permit};
use domain::route::Route;
use domain::session::Session as BrokerSession;
use domain::submission::Body;
use domain::time::Timestamp;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{ProxyHttp, Session};
use std::sync::Arc;
use tokio::io::{AsyncWriteExt as _, DuplexStream};

/// A gateway, and a request that has arrived at it.
pub struct HotPath {
    gateway: WorkerProxy,
    http: Session,
    /// The connection lives as long as its other end.
    _client: DuplexStream,
}

impl HotPath {
    /// A gateway of these parts that has read the header of `request`, which has no body. The calculator is never connected to.
    ///
    /// # Errors
    /// What Pingora says of a request that it cannot read.
    pub async fn new(config: &Config, parts: Parts, request: &[u8]) -> pingora::Result<Self> {
        let gateway = Arc::new(assemble(config, parts).await);
        let reuse = ConnectionReuse::new(gateway.cookie_names, 0, config.upstream.pool_size);
        let gateway = WorkerProxy { gateway, reuse };
        let (http, client) = read(request).await?;
        Ok(Self {
            gateway,
            http,
            _client: client,
        })
    }

    /// The header as Pingora copies it for the calculator.
    pub fn copied(&self) -> RequestHeader {
        self.http.req_header().clone()
    }

    /// Whether `strict` lets the request in.
    pub fn check(&self) -> bool {
        conformance::check(self.http.req_header(), &self.gateway.admission.hosts).is_ok()
            && conformance::check_length(self.http.as_downstream()).is_ok()
    }

    /// Whether it is for the calculator.
    pub fn route(&self) -> bool {
        self.gateway
            .admission
            .route(self.http.req_header(), Body::None)
            == Route::Protected
    }

    /// The session that its cookies name.
    pub fn cookies(&self) -> Option<SessionToken> {
        let headers = &self.http.req_header().headers;
        self.gateway.cookie_names.read(headers).ok()?.session
    }

    /// The time, as each request asks for it.
    pub fn now(&self) -> Timestamp {
        self.gateway.clock.now()
    }

    /// The live session of a broker in the directory; `None` also if the store cannot answer.
    pub async fn session(&self, token: &SessionToken, now: Timestamp) -> Option<BrokerSession> {
        self.gateway
            .admission
            .sessions
            .find(Some(token), now)
            .await
            .ok()
            .flatten()
    }

    /// What the policy gives for this session.
    pub fn decide(&self, session: Option<&BrokerSession>, now: Timestamp) -> Option<Permit> {
        let admission = &self.gateway.admission;
        let request = as_forwarded(self.http.req_header(), Body::None);
        let rules = admission.submission.load();
        match policy::decide(&request, &rules, session, &admission.limits, now) {
            Decision::Allow(permit) => Some(permit),
            _ => None,
        }
    }

    /// Takes away what is not for the calculator.
    ///
    /// # Errors
    /// A field that Pingora does not take.
    pub fn strip(&self, request: &mut RequestHeader) -> pingora::Result<()> {
        self.gateway
            .upstream
            .header_policy
            .strip_client_fields(request, None)
    }

    /// Puts in who asks.
    ///
    /// # Errors
    /// A field that Pingora does not take.
    pub fn inject(&self, request: &mut RequestHeader, permit: &Permit) -> pingora::Result<()> {
        self.gateway.upstream.header_policy.add_identity(
            request,
            permit,
            self.gateway.client_address(&self.http),
        )
    }

    /// Takes from the calculator's answer what is not for the client.
    ///
    /// # Errors
    /// A field that Pingora does not take.
    pub fn clean(&self, answer: &mut ResponseHeader) -> pingora::Result<()> {
        self.gateway.upstream.header_policy.filter_response(answer)
    }

    /// All that Pingora asks the gateway for a request without a body that is forwarded and answered, in its order.
    ///
    /// # Errors
    /// The request is not forwarded.
    pub async fn pass(
        &mut self,
        up: &mut RequestHeader,
        answer: &mut ResponseHeader,
    ) -> pingora::Result<()> {
        let Self { gateway, http, .. } = self;
        let mut context: RequestContext = gateway.new_ctx();
        gateway.early_request_filter(http, &mut context).await?;
        gateway.request_filter(http, &mut context).await?;
        let peer = gateway.upstream_peer(http, &mut context).await?;
        gateway
            .connected_to_upstream(http, true, &peer, 0, None, &mut context)
            .await?;
        gateway
            .upstream_request_filter(http, up, &mut context)
            .await?;
        gateway
            .request_body_filter(http, &mut None, true, &mut context)
            .await?;
        gateway.response_filter(http, answer, &mut context).await?;
        gateway.logging(http, None, &mut context).await;
        Ok(())
    }
}

/// Has Pingora read the header of a request.
async fn read(request: &[u8]) -> pingora::Result<(Session, DuplexStream)> {
    let broken_off = |error| {
        pingora::Error::because(pingora::ErrorType::ReadError, "a request in memory", error)
    };
    let (mut client, server) = tokio::io::duplex(request.len().max(1));
    client.write_all(request).await.map_err(broken_off)?;
    let mut http = Session::new_h1(Box::new(server));
    http.as_downstream_mut().read_request().await?;
    Ok((http, client))
}
