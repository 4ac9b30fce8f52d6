//! The gateway's own answers: pages, redirects, failures, and the access log.

pub(crate) mod access_log;
pub(crate) mod failure;
pub(crate) mod reply;

use crate::clock::Rng;
use crate::gateway::context::{RequestContext, RequestKind};
use crate::gateway::request::audience::Audience;
use crate::gateway::request::cookies::CookieNames;
use crate::gateway::request::links::Links;
use crate::live::Live;
use crate::pages::{Pages, Problem, View};
use crate::telemetry::logging::chain;
use crate::telemetry::metrics::{Metrics, Refusal, Request};
use access_log::AccessLog;
use domain::return_to::ReturnTo;
use failure::Failure;
use http::StatusCode;
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use reply::{Reply, discard_body};
use std::sync::Arc;

/// Sends the gateway's own answers and logs requests.
pub(crate) struct Responder {
    pub(crate) pages: Arc<Live<Pages>>,
    pub(crate) links: Arc<Links>,
    pub(crate) cookie_names: CookieNames,
    pub(crate) access_log: AccessLog,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) rng: Rng,
}

impl Responder {
    /// Answers a request that does not go to the calculator.
    pub(crate) async fn answer(
        &self,
        answer: Result<Reply, Failure>,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> pingora::Result<()> {
        discard_body(http).await;
        let answer = if context.has_malformed_body() {
            // Nobody can tell where the next request would begin.
            http.set_keepalive(None);
            Err(Failure::Refused(Refusal::Chunks))
        } else {
            answer
        };
        let reply =
            answer.unwrap_or_else(|failure| self.failed(&failure, http.req_header(), context));
        let reply = if self.cookie_names == CookieNames::Secure {
            reply.https_only()
        } else {
            reply
        };
        reply.send(http).await
    }

    /// The answer to a failure, counted and logged.
    pub(crate) fn failed(
        &self,
        failure: &Failure,
        request: &RequestHeader,
        context: &mut RequestContext,
    ) -> Reply {
        if let Failure::Refused(reason) = failure {
            context.refused = Some(*reason);
            self.metrics.request_refused(*reason);
        }
        context.outcome = failure.outcome();
        let reply = match Audience::of(&request.headers) {
            Audience::Navigation | Audience::Unspecified => {
                self.problem_page(failure, request, context)
            }
            Audience::Script => Reply::problem(failure.status(), failure.title()),
        };
        let reply = match failure.retry_after(context.now) {
            Some(after) => reply.retry_after(after),
            None => reply,
        };
        if context.outcome == Request::Failed {
            let incident = context.incident.as_deref();
            let server = context.attempts.server().map(tracing::field::display);
            tracing::error!(
                target: "gateway", incident, failure = chain(failure), error = context.upstream_error, server, "request failed"
            );
        }
        if failure.status() == StatusCode::METHOD_NOT_ALLOWED {
            reply.allow("GET, HEAD, POST")
        } else {
            reply
        }
    }

    /// The page for a person, with an incident number where the log has more to say.
    fn problem_page(
        &self,
        failure: &Failure,
        request: &RequestHeader,
        context: &mut RequestContext,
    ) -> Reply {
        let incident = incident(self.rng);
        let target = failure.target(&context.about, request);
        let return_to = match &context.about {
            RequestKind::SignIn | RequestKind::Tan => self.links.return_to(request.raw_path()),
            RequestKind::KeptForm(page) => {
                ReturnTo::parse(page).unwrap_or_else(|_| ReturnTo::start())
            }
            RequestKind::Page | RequestKind::Form | RequestKind::SignOut { .. } => {
                ReturnTo::start()
            }
        };
        let view = View::Problem(Problem {
            kind: failure.kind_about(context),
            incident: Some(&incident),
            return_to: return_to.as_str(),
            target: target.as_deref(),
            signed_in: context.is_signed_in(),
            wait: failure.retry_after(context.now),
        });
        let page = Reply::page(
            failure.status(),
            self.pages.now().render(&view, context.now),
        );
        context.incident = Some(incident);
        page
    }

    /// Finds a file of the gateway's pages.
    pub(crate) fn asset(&self, name: &str, context: &mut RequestContext) -> Result<Reply, Failure> {
        let pages = self.pages.now();
        let asset = pages.asset(name).ok_or(Failure::NotFound)?;
        context.outcome = Request::Asset;
        Ok(Reply::asset(asset.content_type, asset.body.clone()))
    }

    /// Counts a request that has ended, and logs it where that is due.
    pub(crate) fn log(
        &self,
        http: &Session,
        error: Option<&pingora::Error>,
        context: &RequestContext,
    ) {
        let took = context.began.elapsed();
        self.metrics.request(context.outcome, took);
        if self.access_log == AccessLog::On || context.incident.is_some() {
            access_log::write(http, error, took, context);
        }
    }
}

/// A number short enough to be read out on the telephone, of symbols that are not mistaken for one another.
fn incident(rng: Rng) -> String {
    const SYMBOLS: [char; 32] = [
        'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'J', 'K', 'L', 'M', 'N', 'P', 'Q', 'R', 'S', 'T',
        'U', 'V', 'W', 'X', 'Y', 'Z', '2', '3', '4', '5', '6', '7', '8', '9',
    ];
    let mut bytes = [0; 8];
    rng.fill(&mut bytes);
    bytes
        .iter()
        .filter_map(|byte| SYMBOLS.get(usize::from(byte % 32)))
        .collect()
}
