//! What a request is for, and what it means to do, by the bytes that are forwarded.

use crate::gateway::proxy::Gateway;
use crate::gateway::request::conformance;
use crate::gateway::request::route::Route;
use domain::submission::{self, Body, Charset, Intent};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use pingora::proxy::Session;

impl Gateway {
    /// What a request is for. A rule with a query may match any path: what could be the submission is never public on the
    /// calculator's servers.
    pub(crate) fn route(&self, http: &mut Session) -> Route {
        let route = self.routes.of(http.req_header());
        let is_public = match route {
            Route::Public => true,
            Route::Portal => self.portal_server.is_none(),
            Route::Asset(_) | Route::Login(_) | Route::Protected => false,
        };
        if is_public && self.intent(http) != Intent::Use {
            Route::Protected
        } else {
            route
        }
    }

    /// What a request means to do, judged by the bytes that are forwarded.
    pub(crate) fn intent(&self, http: &mut Session) -> Intent {
        let (body, request) = (body_of(http), http.req_header());
        let (method, target, charset) = (
            request.method.as_str(),
            request.raw_path(),
            charset_of(&request.headers),
        );
        self.submission.now().judge(&submission::Request {
            method,
            target,
            body,
            charset,
        })
    }
}

/// Whether a body comes with a request. Over HTTP/2 none of its fields need say so.
pub(crate) fn body_of(http: &mut Session) -> Body {
    if conformance::announces_body(&http.req_header().headers)
        || !http.as_downstream_mut().is_body_empty()
    {
        Body::Some
    } else {
        Body::None
    }
}

/// The charset that a request names.
fn charset_of(headers: &HeaderMap) -> Charset {
    Charset::of(
        headers
            .get_all(CONTENT_TYPE)
            .iter()
            .map(HeaderValue::as_bytes),
    )
}
