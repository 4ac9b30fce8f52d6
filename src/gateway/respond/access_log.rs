//! The access log: one line a request, without anything that nobody should read in a log.

use crate::gateway::context::RequestContext;
use crate::telemetry::metrics::Label as _;
use pingora::proxy::Session;
use std::time::Duration;

/// The longest path that is logged, in characters.
const MAX_LOGGED_PATH: usize = 256;

/// Whether every request is logged, or failures only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessLog {
    On,
    Off,
}

/// Writes the line of one request.
pub(crate) fn write(
    http: &Session,
    error: Option<&pingora::Error>,
    took: Duration,
    context: &RequestContext,
) {
    let request = http.req_header();
    let path = String::from_utf8_lossy(request.raw_path());
    // Queries and path parameters (`;jsessionid=`) may hold what nobody should read in a log; paths are cut to a sensible length.
    let path = path.split(['?', ';']).next().unwrap_or_default();
    let path = path
        .char_indices()
        .nth(MAX_LOGGED_PATH)
        .and_then(|(end, _)| path.get(..end))
        .unwrap_or(path);
    let status = http
        .response_written()
        .map_or(0, |response| response.status.as_u16());
    let client = context.client.map(tracing::field::display);
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let outcome = context.outcome;
    let reason = context.refused.map(|reason| reason.as_str());
    let incident = context.incident.as_deref();
    let error = error.map(|error| error.etype().as_str());
    tracing::info!(
        target: "access",
        method = request.method.as_str(), path, status, outcome = outcome.as_str(), reason, micros, client, incident, error
    );
}
