//! Forms that pages of other sites post into the calculator: a comparison portal's, broker software's.
//!
//! Browsers send no cookie with `SameSite=Lax` along with such a form, so that nobody seems to be signed in. It is kept only if its site
//! is in `login.entry_origins`; the browser is then led, by a GET that does carry its cookies, to the page that names the site and sends
//! the form once its broker presses the button. So a listed site makes nothing happen by itself.

use crate::gateway::admission::held_forms::Kept;
use crate::gateway::context::RequestContext;
use crate::gateway::proxy::Gateway;
use crate::gateway::request::audience::Audience;
use crate::gateway::request::cookies::RequestCookies;
use crate::gateway::request::form;
use crate::gateway::respond::reply::Reply;
use crate::pages::{FormOfAnotherSite, View};
use crate::parking::NotKept;
use crate::telemetry::metrics::Request;
use domain::time::Timestamp;
use http::StatusCode;
use http::header::HeaderValue;
use pingora::http::RequestHeader;
use pingora::proxy::Session;

impl Gateway {
    /// Takes a form that came without a session.
    pub(crate) async fn take_form(
        &self,
        http: &mut Session,
        held: &RequestCookies,
        context: &mut RequestContext,
    ) -> Reply {
        if !form::is_foreign(http.req_header(), self.scheme(http)) {
            return self.park_without_session(http, held, context).await;
        }
        context.outcome = Request::Refused;
        match self.park(http, held, None, context.now).await {
            Ok(kept) => {
                context.outcome = Request::SignInRequired;
                let page = self.routes.form_page(kept.place.id);
                self.with_place(Reply::see_other(&page), Ok(kept))
            }
            Err(why) => self.form_of_another_site(http.req_header(), Err(why), context.now),
        }
    }

    /// The page that says that a form came from another site, and went nowhere.
    pub(crate) fn form_of_another_site(
        &self,
        request: &RequestHeader,
        kept: Result<Kept, NotKept>,
        now: Timestamp,
    ) -> Reply {
        let site = form::origin_of(request).and_then(host_in);
        let view = View::FormOfAnotherSite(FormOfAnotherSite {
            site,
            keeping: self.keeping(kept, now),
        });
        Reply::page(StatusCode::FORBIDDEN, self.pages.now().render(&view, now))
    }

    /// The origin that a form of another site comes from, if it is one of those that may post forms here. In a frame of another site no
    /// cookie can be set and no page of ours is shown.
    pub(crate) fn entry_origin(&self, request: &RequestHeader) -> Option<String> {
        let in_a_frame = request
            .headers
            .get("sec-fetch-dest")
            .is_some_and(|place| place != HeaderValue::from_static("document"));
        if in_a_frame || Audience::of(&request.headers) == Audience::Script {
            return None;
        }
        let origin = form::origin_of(request)?;
        let rules = self.sign_ins.rules.now();
        rules
            .login
            .entry_origins
            .iter()
            .find(|listed| listed.eq_ignore_ascii_case(origin))
            .cloned()
    }
}

/// The host of an origin, with its port, fit to be shown; `None` for what names none, such as `null`.
pub(crate) fn host_in(origin: &str) -> Option<&str> {
    const LONGEST: usize = 253 + ":65535".len();
    let (_, host) = origin.split_once("://")?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    (!host.is_empty() && host.len() <= LONGEST && host.bytes().all(is_plain)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_host_is_shown() {
        for (origin, host) in [
            ("https://vergleich.example", Some("vergleich.example")),
            ("http://127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("https://[2001:db8::1]:8443", Some("[2001:db8::1]:8443")),
            ("null", None),
            ("https://", None),
            ("https://a b", None),
            ("https://a/<b>", None),
        ] {
            assert_eq!(host_in(origin), host, "{origin}");
        }
        assert_eq!(host_in(&format!("https://{}", "a".repeat(300))), None);
    }
}
