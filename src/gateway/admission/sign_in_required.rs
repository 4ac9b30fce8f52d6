//! What a request gets that nobody is signed in with.

use crate::gateway::context::RequestContext;
use crate::gateway::proxy::Gateway;
use crate::gateway::request::audience::Audience;
use crate::gateway::request::cookies::RequestCookies;
use crate::gateway::request::route;
use crate::gateway::respond::reply::Reply;
use crate::pages::{SignInBy, View};
use crate::telemetry::metrics::Request;
use http::{Method, StatusCode};
use pingora::proxy::Session;

impl Gateway {
    /// Nobody is signed in: a browser going somewhere is led to the sign-in, what it posts is kept, a script is told so, and a client
    /// of which none of this is known gets a page that leads to the sign-in.
    pub(crate) async fn sign_in_required(
        &self,
        http: &mut Session,
        held: &RequestCookies,
        context: &mut RequestContext,
    ) -> Reply {
        let request = http.req_header();
        let audience = Audience::of(&request.headers);
        if audience == Audience::Script {
            context.outcome = Request::Unauthorized;
            return Reply::problem(StatusCode::UNAUTHORIZED, "sign-in required");
        }
        if !is_safe_method(&request.method) {
            return self.take_form(http, held, context).await;
        }
        self.lead_to_sign_in(SignInBy::Number, http, context)
    }

    /// A browser that goes to a page is redirected to the sign-in. Who does not say what it is gets a page that leads there.
    pub(crate) fn lead_to_sign_in(
        &self,
        by: SignInBy,
        http: &Session,
        context: &mut RequestContext,
    ) -> Reply {
        let (request, requested_target) = (
            http.req_header(),
            route::requested_target(http.req_header()),
        );
        let page = match by {
            SignInBy::Number => self.routes.page("vtnr-login", requested_target.as_str()),
            SignInBy::Certificate => self.routes.page("zertifikat", requested_target.as_str()),
        };
        if Audience::of(&request.headers) == Audience::Navigation
            && request.method != Method::OPTIONS
        {
            context.outcome = Request::SignInRequired;
            return Reply::see_other(&page);
        }
        context.outcome = Request::Unauthorized;
        let view = View::SignInRequired {
            return_to: requested_target.as_str(),
            by,
        };
        Reply::page(
            StatusCode::UNAUTHORIZED,
            self.pages.now().render(&view, context.now),
        )
        .refresh(&page)
    }
}

/// Whether a method only looks at something. Office asks with OPTIONS before it opens a link.
pub(crate) fn is_safe_method(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
