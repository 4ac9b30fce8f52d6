//! What may be tried again when the calculator fails: the one place that says so.
//!
//! Whatever a request asks, it may try another server as long as no connection stood: not a byte of it went up. Once one stood, only
//! what promises to change nothing goes up a second time, and nothing ever a third.

use crate::gateway::context::RequestContext;
use crate::gateway::respond::reply::has_begun;
use crate::gateway::upstream::UpstreamSide;
use domain::submission::Body;
use http::Method;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, RetryType};

impl UpstreamSide {
    /// No connection to a server came about.
    pub(crate) fn connecting_failed(
        &self,
        peer: &HttpPeer,
        mut error: Box<Error>,
        context: &mut RequestContext,
    ) -> Box<Error> {
        let retry = self
            .of(context)
            .connecting_failed(peer, &error, &mut context.attempts);
        error.set_retry(retry);
        error
    }

    /// A server failed while it had the request. Whether it did what it was asked is not known, so that only a GET or HEAD without a
    /// body is tried again, once, and if its connection ended before an answer began: on a new connection if it came on a kept one, which
    /// may have ended before the request came; else at another server, if there is one.
    pub(crate) fn proxying_failed(
        &self,
        http: &mut Session,
        peer: &HttpPeer,
        connection: ConnectionOrigin,
        mut error: Box<Error>,
        context: &mut RequestContext,
    ) -> Box<Error> {
        let changes_nothing = matches!(http.req_header().method, Method::GET | Method::HEAD)
            && context.body == Body::None
            && !http.as_ref().retry_buffer_truncated();
        let retry = changes_nothing
            && context.attempts.went_up_once()
            && !has_begun(http)
            && ended_unanswered(&error)
            && match connection {
                ConnectionOrigin::Kept => true,
                ConnectionOrigin::New => {
                    context.attempts.avoid(peer);
                    self.of(context).is_another_up(&context.attempts)
                }
            };
        error.set_retry(retry);
        error
    }
}

/// What a request came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionOrigin {
    /// A connection that an earlier request left.
    Kept,
    New,
}

/// Whether the connection ended, and nothing else: Pingora marks what it read of the end so, and what it could not write at all.
fn ended_unanswered(error: &Error) -> bool {
    let could_not_write =
        *error.etype() == ErrorType::WriteError && *error.esource() == ErrorSource::Upstream;
    error.retry == RetryType::ReusedOnly || could_not_write
}
