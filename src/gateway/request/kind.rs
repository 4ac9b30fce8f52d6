//! What kind of request this is: with a body or without, a WebSocket handshake, what it means to do.

use crate::gateway::request::conformance::announces_body;
use domain::held_form::HeldForm;
use domain::submission::{self, Body, Charset};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

/// Whether a WebSocket may follow the header. Pingora's own word says so of bodies too.
pub(crate) fn is_handshake(http: &Session) -> bool {
    http.as_downstream().is_upgrade_req() && !announces_body(&http.req_header().headers)
}

/// Whether a body comes with a request. Over HTTP/2 no field need announce it.
pub(crate) fn body_of(http: &mut Session) -> Body {
    if announces_body(&http.req_header().headers) || !http.as_downstream_mut().is_body_empty() {
        Body::Some
    } else {
        Body::None
    }
}

/// The parts of a request that decide whether it could be the submission: the bytes that are forwarded.
pub(crate) fn as_forwarded(request: &RequestHeader, body: Body) -> submission::Request<'_> {
    submission::Request {
        method: request.method.as_str(),
        target: request.raw_path(),
        body,
        charset: charset_of(&request.headers),
    }
}

/// The same parts of a held form.
pub(crate) fn form_as_forwarded(form: &HeldForm) -> submission::Request<'_> {
    submission::Request {
        method: Method::POST.as_str(),
        target: form.target.as_str().as_bytes(),
        body: Body::Some,
        charset: Charset::of([form.content_type.as_bytes()]),
    }
}

fn charset_of(headers: &HeaderMap) -> Charset {
    let types = headers.get_all(CONTENT_TYPE).iter();
    Charset::of(types.map(HeaderValue::as_bytes))
}

/// Whether a method changes nothing (RFC 9110, 9.2.1). Office asks with OPTIONS before it opens a link.
pub(crate) fn is_safe_method(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
