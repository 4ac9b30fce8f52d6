//! The one table from what went wrong to what is answered.

use crate::gateway::concurrency::Overloaded;
use crate::gateway::context::{RequestContext, RequestKind};
use crate::gateway::request::cookies::Ambiguous;
use crate::gateway::request::form::BadForm;
use crate::pages::{ProblemKind, UpstreamKind};
use crate::store;
use crate::telemetry::metrics::{Refusal, Request};
use domain::return_to::ReturnTo;
use domain::submission::Doubt;
use domain::time::Timestamp;
use http::{Method, StatusCode};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorSource, ErrorType};
use std::time::Duration;

/// Why a request cannot be answered as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The store cannot answer. Nothing is known of the session then: no cookie is touched, and nothing is forwarded.
    #[error("store")]
    Store(#[from] store::Error),
    /// The request is not fit to be looked at.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// The request could be read as the Antragsversand, which its session may not send.
    #[error("doubtful: {0:?}")]
    Doubtful(Doubt),
    /// A form of ours cannot be read.
    #[error("form: {0:?}")]
    Form(BadForm),
    /// The method is not one that this page knows.
    #[error("method")]
    Method,
    /// There is no such page of ours.
    #[error("not found")]
    NotFound,
    #[error("too many")]
    TooMany(Timestamp),
    #[error("mails exhausted")]
    MailsExhausted(Timestamp),
    /// Requests of one browser hindered each other.
    #[error("busy")]
    Busy,
    /// More requests at once than are served.
    #[error("overloaded")]
    Overloaded,
    /// The calculator cannot be reached, or sends what is no answer.
    #[error("upstream down")]
    UpstreamDown,
    /// The calculator did not answer in time.
    #[error("upstream slow")]
    UpstreamSlow,
    /// The calculator could not be reached to send it a form that was kept; it is kept on, under this page.
    #[error("upstream unreachable, a form is kept on")]
    FormReturned(String, StatusCode),
    /// A fault of our own.
    #[error("internal")]
    Internal,
}

/// So soon it makes sense to try again what is over in seconds, as a rule: another Redis takes the place of the former one in two to
/// four, and a server that listens again is found within two. The pages have their words for it from the same number.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// Retry time for a server that takes requests and hangs.
const LATER: Duration = Duration::from_secs(60);

/// More requests are with the calculator than may be.
pub(crate) const OVERLOADED: ErrorType = ErrorType::Custom("overloaded");

impl From<Overloaded> for Failure {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded
    }
}

impl From<Ambiguous> for Failure {
    fn from(_: Ambiguous) -> Self {
        Self::Refused(Refusal::Header)
    }
}

impl From<BadForm> for Failure {
    fn from(form: BadForm) -> Self {
        Self::Form(form)
    }
}

impl Failure {
    /// What the calculator's side did wrong; `None` if it was the client, who is gone or sent nonsense.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        match (&error.etype, &error.esource) {
            (ErrorType::HTTPStatus(_) | ErrorType::InvalidHTTPHeader, ErrorSource::Downstream) => {
                Some(Self::Refused(Refusal::Malformed))
            }
            (_, ErrorSource::Downstream) => None,
            (etype, _) if *etype == OVERLOADED => Some(Self::Overloaded),
            (
                ErrorType::ConnectTimedout
                | ErrorType::ReadTimedout
                | ErrorType::WriteTimedout
                | ErrorType::TLSHandshakeTimedout,
                _,
            ) => Some(Self::UpstreamSlow),
            (_, ErrorSource::Upstream)
            | (
                ErrorType::ConnectError | ErrorType::ConnectRefused | ErrorType::ConnectNoRoute,
                _,
            ) => Some(Self::UpstreamDown),
            _ => Some(Self::Internal),
        }
    }

    /// What it goes out with.
    pub(crate) fn status(&self) -> StatusCode {
        self.kind().0
    }

    /// What a program is told.
    pub(crate) fn title(&self) -> &'static str {
        match self {
            Self::Refused(Refusal::Origin) => "pages of this origin may not open WebSockets",
            _ => self.status().canonical_reason().unwrap_or("error"),
        }
    }

    /// What the page says, which tells of what the broker was about: whoever posted a form, what became of it.
    pub(crate) fn kind_about(&self, context: &RequestContext) -> ProblemKind {
        let server = if context.to_portal {
            UpstreamKind::Portal
        } else {
            UpstreamKind::Calculator
        };
        match (self, &context.about) {
            (Self::Store(_), RequestKind::Page) => ProblemKind::StoreDownPage,
            (Self::Store(_), RequestKind::Form) => ProblemKind::StoreDownForm,
            (Self::Store(_), RequestKind::KeptForm(_)) => ProblemKind::StoreDownKeptForm,
            (Self::Store(_), RequestKind::Tan) => ProblemKind::StoreDownTan,
            (Self::Store(_), RequestKind::SignOut { forget_browser }) => {
                ProblemKind::StoreDownSignOut {
                    forget_browser: *forget_browser,
                }
            }
            (Self::Busy | Self::Overloaded, RequestKind::Form) => ProblemKind::BusyForm,
            (Self::UpstreamDown | Self::UpstreamSlow, RequestKind::Form)
                if context.attempts.never_went_up() =>
            {
                ProblemKind::UpstreamUnsent(server)
            }
            (
                Self::UpstreamDown | Self::UpstreamSlow,
                RequestKind::Form | RequestKind::KeptForm(_),
            ) => ProblemKind::UpstreamUncertain(server),
            (Self::UpstreamDown, _) => ProblemKind::UpstreamDown(server),
            (Self::UpstreamSlow, _) => ProblemKind::UpstreamSlow(server),
            _ => self.kind().1,
        }
    }

    fn kind(&self) -> (StatusCode, ProblemKind) {
        match self {
            Self::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, ProblemKind::StoreDown),
            Self::Refused(Refusal::Host) => {
                (StatusCode::MISDIRECTED_REQUEST, ProblemKind::WrongHost)
            }
            Self::Refused(Refusal::Method) | Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                ProblemKind::MethodNotAllowed,
            ),
            Self::Form(BadForm::TooLarge | BadForm::NoRoom) => {
                (StatusCode::PAYLOAD_TOO_LARGE, ProblemKind::TooLarge)
            }
            Self::Form(BadForm::Foreign) | Self::Refused(Refusal::Origin) => {
                (StatusCode::FORBIDDEN, ProblemKind::ForeignForm)
            }
            Self::Doubtful(doubt) => (StatusCode::BAD_REQUEST, ProblemKind::Doubtful(*doubt)),
            Self::FormReturned(_, status) => (*status, ProblemKind::FormReturned),
            Self::Refused(_) | Self::Form(BadForm::BrokenOff | BadForm::Malformed) => {
                (StatusCode::BAD_REQUEST, ProblemKind::BadRequest)
            }
            Self::NotFound => (StatusCode::NOT_FOUND, ProblemKind::NotFound),
            Self::TooMany(until) => (
                StatusCode::TOO_MANY_REQUESTS,
                ProblemKind::TooMany { until: *until },
            ),
            Self::MailsExhausted(until) => (
                StatusCode::TOO_MANY_REQUESTS,
                ProblemKind::MailsExhausted { until: *until },
            ),
            Self::Busy | Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, ProblemKind::Busy),
            Self::UpstreamDown => (
                StatusCode::BAD_GATEWAY,
                ProblemKind::UpstreamDown(UpstreamKind::Calculator),
            ),
            Self::UpstreamSlow => (
                StatusCode::GATEWAY_TIMEOUT,
                ProblemKind::UpstreamSlow(UpstreamKind::Calculator),
            ),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, ProblemKind::Internal),
        }
    }

    pub(crate) fn outcome(&self) -> Request {
        match self {
            Self::Store(_)
            | Self::Busy
            | Self::UpstreamDown
            | Self::UpstreamSlow
            | Self::FormReturned(..)
            | Self::Internal => Request::Failed,
            Self::Overloaded => Request::Shed,
            _ => Request::Refused,
        }
    }

    pub(crate) fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        match self {
            Self::UpstreamSlow | Self::FormReturned(_, StatusCode::GATEWAY_TIMEOUT) => Some(LATER),
            Self::Store(_)
            | Self::Busy
            | Self::Overloaded
            | Self::UpstreamDown
            | Self::FormReturned(..) => Some(SOON),
            Self::TooMany(until) | Self::MailsExhausted(until) => Some(until.after(now)),
            _ => None,
        }
    }

    /// What can be asked for again without doing anything twice, or where what was typed is kept.
    pub(crate) fn target(&self, about: &RequestKind, request: &RequestHeader) -> Option<String> {
        // What cannot be linked as it was asked for is not linked at all.
        let requested_target = ReturnTo::parse(&String::from_utf8_lossy(request.raw_path()))
            .ok()
            .map(|requested_target| requested_target.as_str().to_owned());
        let is_safe = matches!(request.method, Method::GET | Method::HEAD);
        match (self, about) {
            (Self::FormReturned(page, _), _)
            | (Self::Store(_) | Self::Overloaded, RequestKind::KeptForm(page)) => {
                Some(page.clone())
            }
            // A page of ours that took a form can be looked at as well.
            (_, RequestKind::SignIn | RequestKind::Tan) => requested_target,
            (_, RequestKind::Page | RequestKind::SignOut { .. }) => {
                requested_target.filter(|_| is_safe)
            }
            (_, RequestKind::Form | RequestKind::KeptForm(_)) => None,
        }
    }
}
