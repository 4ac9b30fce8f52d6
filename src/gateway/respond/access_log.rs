//! The log of requests: a line each, without what nobody should read there.

use crate::gateway::context::RequestContext;
use crate::gateway::proxy::Gateway;
use crate::telemetry::metrics::Label as _;
use pingora::proxy::Session;

/// So many characters of a path are logged.
const LONGEST_LOGGED: usize = 256;

/// Whether requests are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessLog {
    On,
    Off,
}

impl Gateway {
    /// Counts a request that has ended, and logs it.
    pub(crate) fn log(
        &self,
        http: &Session,
        error: Option<&pingora::Error>,
        context: &RequestContext,
    ) {
        let took = context.began.elapsed();
        self.metrics.request(context.outcome, took);
        if self.access_log == AccessLog::Off && context.incident.is_none() {
            return;
        }
        let request = http.req_header();
        let path = String::from_utf8_lossy(request.raw_path());
        // Queries and path parameters (`;jsessionid=`) may hold what nobody should read in a log; paths are cut to a sensible length.
        let path = path.split(['?', ';']).next().unwrap_or_default();
        let path = path
            .char_indices()
            .nth(LONGEST_LOGGED)
            .and_then(|(end, _)| path.get(..end))
            .unwrap_or(path);
        let status = http
            .response_written()
            .map_or(0, |response| response.status.as_u16());
        let client = self.client_address(http).map(tracing::field::display);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let (outcome, reason) = (
            context.outcome,
            context.refused.map(|reason| reason.as_str()),
        );
        let (incident, error) = (
            context.incident.as_deref(),
            error.map(|error| error.etype().as_str()),
        );
        tracing::info!(
            target: "access",
            method = request.method.as_str(), path, status, outcome = outcome.as_str(), reason, micros, client, incident, error
        );
    }
}
