//! The one table from what went wrong to what is answered.

use super::form::BadForm;
use super::passage::{About, Passage};
use super::reply::Reply;
use super::{Gateway, route};
use crate::clock::Chance;
use crate::domain::submission::Doubt;
use crate::domain::time::Timestamp;
use crate::pages::{Pages, Problem, ProblemKind, View};
use crate::store;
use crate::telemetry::metrics::{Refusal, Request};
use http::{HeaderMap, StatusCode};
use pingora::{Error, ErrorSource, ErrorType};
use std::time::Duration;

/// Why a request cannot be answered as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
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
    /// Too many attempts.
    #[error("too many")]
    TooMany(Timestamp),
    /// Too many mails.
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

/// After this long it makes sense to try again when the store or the calculator is down.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// More requests are with the calculator than may be.
pub(super) const OVERLOADED: ErrorType = ErrorType::Custom("overloaded");

impl From<BadForm> for Failure {
    fn from(form: BadForm) -> Self {
        Self::Form(form)
    }
}

impl Failure {
    /// What the calculator's side did wrong; `None` if it was the client, who is gone or sent nonsense.
    pub(super) fn of(error: &Error) -> Option<Self> {
        match (&error.etype, &error.esource) {
            (ErrorType::HTTPStatus(_) | ErrorType::InvalidHTTPHeader, ErrorSource::Downstream) => {
                Some(Self::Refused(Refusal::Malformed))
            }
            (_, ErrorSource::Downstream) => None,
            (etype, _) if *etype == OVERLOADED => Some(Self::Overloaded),
            (
                ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::WriteTimedout | ErrorType::TLSHandshakeTimedout,
                _,
            ) => Some(Self::UpstreamSlow),
            (_, ErrorSource::Upstream) | (ErrorType::ConnectError | ErrorType::ConnectRefused | ErrorType::ConnectNoRoute, _) => {
                Some(Self::UpstreamDown)
            }
            _ => Some(Self::Internal),
        }
    }

    /// What it goes out with.
    pub(super) fn status(&self) -> StatusCode {
        self.kind().0
    }

    /// What the page says, which tells whoever posted a form what became of it.
    fn kind_about(&self, about: &About) -> ProblemKind {
        match (self.kind().1, about) {
            (ProblemKind::StoreDown, About::Form) => ProblemKind::StoreDownForm,
            (ProblemKind::StoreDown, About::KeptForm(_)) => ProblemKind::StoreDownKeptForm,
            (kind, _) => kind,
        }
    }

    fn kind(&self) -> (StatusCode, ProblemKind) {
        match self {
            Self::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, ProblemKind::StoreDown),
            Self::Refused(Refusal::Host) => (StatusCode::MISDIRECTED_REQUEST, ProblemKind::WrongHost),
            Self::Refused(Refusal::Method) | Self::Method => (StatusCode::METHOD_NOT_ALLOWED, ProblemKind::MethodNotAllowed),
            Self::Form(BadForm::TooLarge | BadForm::NoRoom) => (StatusCode::PAYLOAD_TOO_LARGE, ProblemKind::TooLarge),
            Self::Form(BadForm::Foreign) => (StatusCode::FORBIDDEN, ProblemKind::ForeignForm),
            Self::Doubtful(doubt) => (StatusCode::BAD_REQUEST, ProblemKind::Doubtful(*doubt)),
            Self::FormReturned(_, status) => (*status, ProblemKind::FormReturned),
            Self::Refused(_) | Self::Form(BadForm::BrokenOff | BadForm::Malformed) => {
                (StatusCode::BAD_REQUEST, ProblemKind::BadRequest)
            }
            Self::NotFound => (StatusCode::NOT_FOUND, ProblemKind::NotFound),
            Self::TooMany(until) => (StatusCode::TOO_MANY_REQUESTS, ProblemKind::TooMany { until: *until }),
            Self::MailsExhausted(until) => (StatusCode::TOO_MANY_REQUESTS, ProblemKind::MailsExhausted { until: *until }),
            Self::Busy | Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, ProblemKind::Busy),
            Self::UpstreamDown => (StatusCode::BAD_GATEWAY, ProblemKind::UpstreamDown),
            Self::UpstreamSlow => (StatusCode::GATEWAY_TIMEOUT, ProblemKind::UpstreamSlow),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, ProblemKind::Internal),
        }
    }

    fn outcome(&self) -> Request {
        match self {
            Self::Store(_) | Self::Busy | Self::UpstreamDown | Self::UpstreamSlow | Self::FormReturned(..) | Self::Internal => {
                Request::Failed
            }
            Self::Overloaded => Request::Shed,
            _ => Request::Refused,
        }
    }

    fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        match self {
            Self::Store(_) | Self::Busy | Self::Overloaded | Self::UpstreamDown | Self::UpstreamSlow | Self::FormReturned(..) => {
                Some(TRY_AGAIN)
            }
            Self::TooMany(until) | Self::MailsExhausted(until) => Some(until.after(now)),
            _ => None,
        }
    }

    /// The answer: a page for a person, a few words for a program; with an incident number where the log has more to say.
    pub(super) fn reply(&self, headers: &HeaderMap, passage: &mut Passage, pages: &Pages, chance: Chance) -> Reply {
        let (status, kind) = (self.status(), self.kind_about(&passage.about));
        passage.outcome = self.outcome();
        let reply = if route::is_navigation(headers) {
            let incident = incident(chance);
            let return_to = match (self, &passage.about) {
                (Self::FormReturned(page, _), _) | (Self::Store(_) | Self::Overloaded, About::KeptForm(page)) => {
                    Some(page.as_str())
                }
                _ => None,
            };
            let view = View::Problem(Problem { kind, incident: Some(&incident), return_to });
            let page = Reply::page(status, pages.render(&view, passage.now));
            passage.incident = Some(incident);
            page
        } else {
            Reply::problem(status, status.canonical_reason().unwrap_or("error"))
        };
        let reply = match self.retry_after(passage.now) {
            Some(after) => reply.retry_after(after),
            None => reply,
        };
        if status == StatusCode::METHOD_NOT_ALLOWED { reply.allow("GET, HEAD, POST") } else { reply }
    }
}

impl Gateway {
    /// The answer to a failure, counted and logged.
    pub(super) fn failed(&self, failure: &Failure, headers: &HeaderMap, passage: &mut Passage) -> Reply {
        if let Failure::Refused(reason) = failure {
            self.metrics.request_refused(*reason);
        }
        let reply = failure.reply(headers, passage, &self.pages.now(), self.chance);
        if passage.outcome == Request::Failed {
            let source = std::error::Error::source(failure).map(ToString::to_string);
            tracing::error!(target: "gateway", incident = passage.incident.as_deref(), %failure, source, "a request failed");
        }
        reply
    }
}

/// A number short enough to be read out on the telephone, of symbols that are not mistaken for one another.
fn incident(chance: Chance) -> String {
    const SYMBOLS: [char; 32] = [
        'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'J', 'K', 'L', 'M', 'N', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z',
        '2', '3', '4', '5', '6', '7', '8', '9',
    ];
    let mut bytes = [0; 8];
    chance.fill(&mut bytes);
    bytes.iter().filter_map(|byte| SYMBOLS.get(usize::from(byte % 32))).collect()
}
