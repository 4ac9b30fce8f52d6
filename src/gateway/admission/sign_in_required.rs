//! Answers requests that come without a session.

use crate::gateway::admission::Admission;
use crate::gateway::context::RequestContext;
use crate::gateway::request::audience::Audience;
use crate::gateway::request::cookies::RequestCookies;
use crate::gateway::request::kind::is_safe_method;
use crate::gateway::request::links::requested_target;
use crate::gateway::respond::reply::Reply;
use crate::pages::{SignInBy, View};
use crate::telemetry::metrics::Request;
use http::{Method, StatusCode};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

impl Admission {
    /// Leads a browser that goes to a page to the sign-in, keeps what it posts, tells a script by a status, and gives a client that
    /// does not say what it is a page that leads to the sign-in.
    pub(crate) async fn sign_in_required(
        &self,
        http: &mut Session,
        cookies: &RequestCookies,
        context: &mut RequestContext,
    ) -> Reply {
        let request = http.req_header();
        if Audience::of(&request.headers) == Audience::Script {
            context.outcome = Request::Unauthorized;
            return Reply::problem(StatusCode::UNAUTHORIZED, "sign-in required");
        }
        if !is_safe_method(&request.method) {
            return self
                .held_forms
                .take_without_session(http, cookies, context)
                .await;
        }
        self.lead_to_sign_in(SignInBy::Number, request, context)
    }

    /// Redirects a browser to the sign-in. A client that does not say what it is gets a page that leads there.
    pub(crate) fn lead_to_sign_in(
        &self,
        by: SignInBy,
        request: &RequestHeader,
        context: &mut RequestContext,
    ) -> Reply {
        let target = requested_target(request);
        let page = match by {
            SignInBy::Number => self.links.page("vtnr-login", target.as_str()),
            SignInBy::Certificate => self.links.page("zertifikat", target.as_str()),
        };
        if Audience::of(&request.headers) == Audience::Navigation
            && request.method != Method::OPTIONS
        {
            context.outcome = Request::SignInRequired;
            return Reply::see_other(&page);
        }
        context.outcome = Request::Unauthorized;
        let view = View::SignInRequired {
            return_to: target.as_str(),
            by,
        };
        Reply::page(
            StatusCode::UNAUTHORIZED,
            self.pages.now().render(&view, context.now),
        )
        .refresh(&page)
    }
}
