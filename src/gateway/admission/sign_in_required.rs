//! What a request gets that nobody is signed in with.

use crate::gateway::context::Passage;
use crate::gateway::proxy::Gateway;
use crate::gateway::request::audience::Audience;
use crate::gateway::request::cookies::Held;
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
        held: &Held,
        passage: &mut Passage,
    ) -> Reply {
        let request = http.req_header();
        let audience = Audience::of(&request.headers);
        if audience == Audience::Script {
            passage.outcome = Request::Unauthorized;
            return Reply::problem(StatusCode::UNAUTHORIZED, "sign-in required");
        }
        if !is_look(&request.method) {
            return self.take_form(http, held, passage).await;
        }
        self.lead_to_sign_in(SignInBy::Number, http, passage)
    }

    /// A browser that goes to a page is redirected to the sign-in. Who does not say what it is gets a page that leads there.
    pub(crate) fn lead_to_sign_in(
        &self,
        by: SignInBy,
        http: &Session,
        passage: &mut Passage,
    ) -> Reply {
        let (request, wanted) = (http.req_header(), route::wanted(http.req_header()));
        let page = match by {
            SignInBy::Number => self.routes.page("vtnr-login", wanted.as_str()),
            SignInBy::Certificate => self.routes.page("zertifikat", wanted.as_str()),
        };
        if Audience::of(&request.headers) == Audience::Navigation
            && request.method != Method::OPTIONS
        {
            passage.outcome = Request::SignInRequired;
            return Reply::see_other(&page);
        }
        passage.outcome = Request::Unauthorized;
        let view = View::SignInRequired {
            return_to: wanted.as_str(),
            by,
        };
        Reply::page(
            StatusCode::UNAUTHORIZED,
            self.pages.now().render(&view, passage.now),
        )
        .refresh(&page)
    }
}

/// Whether a method only looks at something. Office asks with OPTIONS before it opens a link.
pub(crate) fn is_look(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
