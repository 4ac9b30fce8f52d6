//! What one request carries on its way through the gateway.

pub(crate) mod attempts;
pub(crate) mod cookie_changes;
pub(crate) mod lease;

use crate::gateway::concurrency::Slot;
use crate::gateway::listener::connections::{Connection, Connections};
use crate::gateway::outgoing::OutgoingForm;
use crate::gateway::request::cookies::{Ambiguous, CookieNames, RequestCookies};
use crate::gateway::request::origin::Scheme;
use crate::gateway::websocket::recheck::RecheckTask;
use crate::gateway::websocket::registry::WebSocketGuard;
use crate::telemetry::metrics::{Refusal, Request};
use attempts::Attempts;
use cookie_changes::SessionCookieChanges;
use domain::ids::SessionToken;
use domain::policy::Permit;
use domain::route::Page;
use domain::submission::Body;
use domain::throttle::ClientAddress;
use domain::time::Timestamp;
use http::{HeaderMap, Version};
use lease::UpstreamLease;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

/// What a broker is doing with a request; a failure's page speaks of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// Opens a page of the calculator or of the portal.
    Page,
    /// Posts a form to the calculator or to the portal.
    Form,
    /// Sends a held form from this page of the gateway.
    KeptForm(String),
    /// Opens a page of the gateway, the sign-in for one.
    SignIn,
    Tan,
    SignOut {
        forget_browser: bool,
    },
}

impl RequestKind {
    /// The kind of a request for one of the gateway's own pages.
    pub(crate) fn page(page: Page) -> Self {
        match page {
            Page::Tan => Self::Tan,
            Page::SignOut => Self::SignOut {
                forget_browser: false,
            },
            _ => Self::SignIn,
        }
    }
}

/// The gateway's session in a browser.
#[derive(Clone, Copy)]
pub(crate) struct BrowserSession {
    pub(crate) token: SessionToken,
    /// The store's time up to which the browser's offline token is valid evidence.
    pub(crate) offline_token_as_of: Option<Timestamp>,
}

/// Whether the answer is to carry a new offline token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OfflineTokenDue {
    No,
    /// Only in place of an old one.
    IfOld,
    /// In any case: the browser's own misses something.
    Now,
}

/// The state of one request, from its header to its log line.
pub struct RequestContext {
    /// The time by which every rule judges this request.
    pub(crate) now: Timestamp,
    /// The start, for durations.
    pub(crate) began: Instant,
    /// The client's address: the peer's, or the one that a trusted proxy names.
    pub(crate) client: Option<IpAddr>,
    /// The scheme of this host's pages.
    pub(crate) scheme: Scheme,
    /// Whether a WebSocket may follow the header.
    pub(crate) is_handshake: bool,
    /// Whether a body comes with the request.
    pub(crate) body: Body,
    cookies: Option<RequestCookies>,
    pub(crate) handed_over: Option<Instant>,
    /// The end, for metrics and log.
    pub(crate) outcome: Request,
    /// The reason of a refusal before any other decision, for the log.
    pub(crate) refused: Option<Refusal>,
    pub(crate) about: RequestKind,
    /// The fault of the calculator's server, for the log.
    pub(crate) upstream_error: Option<&'static str>,
    /// The number that a failure's page shows and the log repeats.
    pub(crate) incident: Option<String>,
    pub(crate) connection: Option<Arc<Connection>>,
    /// The WebSocket that the request became.
    pub(crate) websocket: Option<WebSocketGuard>,
    /// Re-checks what entitles to the WebSocket, where that is no session of the gateway.
    pub(crate) recheck: Option<RecheckTask>,
    pub(crate) attempts: Attempts,
    pub(crate) lease: Option<UpstreamLease>,
    /// A held form, in place of the request's own body.
    pub(crate) outgoing: Option<OutgoingForm>,
    /// The browser's session, for a new offline token.
    pub(crate) session: Option<BrowserSession>,
    pub(crate) offline_token_due: OfflineTokenDue,
    /// Changes to the calculator's session cookies; most requests have none.
    pub(crate) session_cookies: Option<Box<SessionCookieChanges>>,
    pub(crate) to_portal: bool,
    pub(crate) slot: Option<Slot>,
    permit: Option<Permit>,
    upload: Option<Upload>,
    under_way: Option<RequestInFlight>,
}

impl RequestContext {
    /// Begins with nothing known but the time. Until the header is read, the request is a failure without a client.
    pub(crate) fn begin(now: Timestamp) -> Self {
        Self {
            now,
            began: Instant::now(),
            client: None,
            scheme: Scheme::Https,
            is_handshake: false,
            body: Body::Some,
            cookies: None,
            handed_over: None,
            outcome: Request::Failed,
            refused: None,
            about: RequestKind::Page,
            upstream_error: None,
            incident: None,
            connection: None,
            websocket: None,
            recheck: None,
            attempts: Attempts::default(),
            lease: None,
            outgoing: None,
            session: None,
            offline_token_due: OfflineTokenDue::No,
            session_cookies: None,
            to_portal: false,
            slot: None,
            permit: None,
            upload: None,
            under_way: None,
        }
    }

    /// The client as rate limits count it.
    pub(crate) fn rate_limit_key(&self) -> ClientAddress {
        ClientAddress::of(self.client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }

    /// Reads the gateway's cookies, at most once a request.
    pub(crate) fn read_cookies(
        &mut self,
        names: CookieNames,
        headers: &HeaderMap,
    ) -> Result<RequestCookies, Ambiguous> {
        let cookies = self.cookies(names, headers)?;
        self.cookies = Some(cookies);
        Ok(cookies)
    }

    /// Like [`read_cookies`](Self::read_cookies), for those who cannot write down what they read.
    pub(crate) fn cookies(
        &self,
        names: CookieNames,
        headers: &HeaderMap,
    ) -> Result<RequestCookies, Ambiguous> {
        self.cookies.map_or_else(|| names.read(headers), Ok)
    }

    /// Counts the request as under way until the context is dropped, however it ends.
    pub(crate) fn enter(&mut self, connections: &Arc<Connections>) {
        connections.request_began();
        self.under_way = Some(RequestInFlight(Arc::clone(connections)));
    }

    /// A body comes with the request: from now on the client may not be too slow about it.
    pub(crate) fn expect_body(&mut self, version: Version) {
        let connection = self.connection.as_ref().filter(|_| self.upload.is_none());
        if let Some(connection) = connection {
            connection.upload_rate().begin(version, Instant::now());
            self.upload = Some(Upload(Arc::clone(connection)));
        }
    }

    /// Counts bytes of the body that go on to the calculator.
    pub(crate) fn body_taken(&mut self, version: Version, bytes: usize) {
        if bytes > 0 {
            self.expect_body(version);
        }
        if let Some(connection) = &self.connection {
            connection.upload_rate().taken(bytes);
        }
    }

    /// The body has arrived.
    pub(crate) fn body_complete(&mut self) {
        self.upload = None;
    }

    /// Whether a body that came on the connection was malformed.
    pub(crate) fn has_malformed_body(&self) -> bool {
        self.connection
            .as_ref()
            .is_some_and(|connection| connection.following().is_malformed())
    }

    /// Lets the request through to the calculator.
    pub(crate) fn grant(&mut self, permit: Permit) {
        self.permit = Some(permit);
    }

    /// Whether a broker is known to be signed in here, and not by the portal alone.
    pub(crate) fn is_signed_in(&self) -> bool {
        !self.to_portal
            && self
                .permit
                .as_ref()
                .is_some_and(|permit| permit.broker().is_some())
    }

    /// The permit. Without one nothing goes to the calculator: a forgotten decision is an error, not an admission.
    pub(crate) fn permit(&self) -> pingora::Result<&Permit> {
        self.permit
            .as_ref()
            .ok_or_else(|| pingora::Error::explain(pingora::ErrorType::InternalError, "no permit"))
    }
}

/// A body that is under way, until it has arrived or nobody waits for it any more.
struct Upload(Arc<Connection>);

impl Drop for Upload {
    fn drop(&mut self) {
        self.0.upload_rate().end();
    }
}

struct RequestInFlight(Arc<Connections>);

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.0.request_ended();
    }
}
