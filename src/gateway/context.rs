//! What one request carries on its way through the gateway.

use crate::gateway::admission::application_cookies::SessionCookieChanges;
use crate::gateway::admission::held_forms::OutgoingForm;
use crate::gateway::concurrency::Slot;
use crate::gateway::listener::connections::{Connection, Connections};
use crate::gateway::request::route::Page;
use crate::gateway::upstream::Attempts;
use crate::gateway::upstream::reuse::Lease;
use crate::gateway::websocket::registry::WebSocketGuard;
use crate::telemetry::metrics::{Refusal, Request};
use domain::ids::SessionToken;
use domain::policy::Permit;
use domain::time::Timestamp;
use http::Version;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinHandle;

/// What a broker is about with a request, which the page speaks of if it fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// A page of the calculator's, or of the portal's.
    Page,
    /// What was typed into a form of theirs.
    Form,
    /// A form that is kept, and sent from this page of ours.
    KeptForm(String),
    /// The sign-in, or another page of ours.
    SignIn,
    /// The TAN.
    Tan,
    /// The sign-out.
    SignOut {
        /// The browser is to be forgotten as well.
        forget_browser: bool,
    },
}

impl RequestKind {
    /// What somebody is about on a page of ours.
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

/// A browser's session of ours.
#[derive(Clone, Copy)]
pub(crate) struct BrowserSession {
    pub(crate) token: SessionToken,
    /// As of when the ticket is that the browser has.
    pub(crate) ticket_as_of: Option<Timestamp>,
}

/// Whether the browser is to be given a session ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TicketDue {
    No,
    /// If the one that it has is old.
    IfOld,
    /// There is news that its ticket does not tell.
    Now,
}

/// One request's context.
pub(crate) struct RequestContext {
    /// The time that every rule judges this request by.
    pub(crate) now: Timestamp,
    /// For durations.
    pub(crate) began: Instant,
    /// When it was handed to the calculator.
    pub(crate) handed_over: Option<Instant>,
    /// How it ended, for the metrics and the log.
    pub(crate) outcome: Request,
    /// Why it was refused before anything else, for the log.
    pub(crate) refused: Option<Refusal>,
    /// What the broker is about.
    pub(crate) about: RequestKind,
    /// What went wrong with the server that it went to, for the log.
    pub(crate) upstream_error: Option<&'static str>,
    /// The number that a page shows and the log knows.
    pub(crate) incident: Option<String>,
    pub(crate) connection: Option<Arc<Connection>>,
    /// The WebSocket that the request became.
    pub(crate) websocket: Option<WebSocketGuard>,
    /// The look after what entitles to the WebSocket that the request became, where that is no session of ours.
    pub(crate) recheck: Option<RecheckTask>,
    /// How it fares on its way to the calculator.
    pub(crate) attempts: Attempts,
    /// The connection that it goes up on.
    pub(crate) lease: Option<Lease>,
    /// A form that was kept, in place of the request's own body.
    pub(crate) outgoing: Option<OutgoingForm>,
    /// The browser's session of ours, for a new ticket.
    pub(crate) session: Option<BrowserSession>,
    pub(crate) ticket_due: TicketDue,
    /// What is withheld of the calculator's session cookies, and begins with its answer; most requests have neither.
    pub(crate) session_cookies: Option<Box<SessionCookieChanges>>,
    /// It goes to the portal.
    pub(crate) to_portal: bool,
    /// Its place among those that are served at once.
    pub(crate) slot: Option<Slot>,
    permit: Option<Permit>,
    upload: Option<Upload>,
    under_way: Option<UnderWay>,
}

impl RequestContext {
    /// A request that arrives `now`.
    pub(crate) fn begin(now: Timestamp) -> Self {
        let (handed_over, incident, connection, websocket, recheck, outgoing) =
            (None, None, None, None, None, None);
        let (outcome, attempts, slot, permit, upload, under_way) =
            (Request::Failed, Attempts::default(), None, None, None, None);
        let (began, about) = (Instant::now(), RequestKind::Page);
        Self {
            now,
            began,
            handed_over,
            outcome,
            refused: None,
            about,
            upstream_error: None,
            incident,
            connection,
            websocket,
            recheck,
            attempts,
            lease: None,
            outgoing,
            session: None,
            ticket_due: TicketDue::No,
            session_cookies: None,
            to_portal: false,
            slot,
            permit,
            upload,
            under_way,
        }
    }

    /// Counts the request as under way until the context is dropped, however it ends.
    pub(crate) fn enter(&mut self, connections: &Arc<Connections>) {
        connections.request_began();
        self.under_way = Some(UnderWay(Arc::clone(connections)));
    }

    /// A body comes with the request: from now on the client may not be too slow about it.
    pub(crate) fn expect_body(&mut self, version: Version) {
        let connection = self.connection.as_ref().filter(|_| self.upload.is_none());
        if let Some(connection) = connection {
            connection.upload_rate().begin(version, Instant::now());
            self.upload = Some(Upload(Arc::clone(connection)));
        }
    }

    /// This much of the body goes on to the calculator.
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

/// Something that is looked after for as long as this lives.
pub(crate) struct RecheckTask(JoinHandle<()>);

impl RecheckTask {
    /// Begins to look, on the thread of the request.
    pub(crate) fn spawn(looking: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(looking))
    }
}

impl Drop for RecheckTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A body that is under way, until it has arrived or nobody waits for it any more.
struct Upload(Arc<Connection>);

impl Drop for Upload {
    fn drop(&mut self) {
        self.0.upload_rate().end();
    }
}

struct UnderWay(Arc<Connections>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.request_ended();
    }
}
