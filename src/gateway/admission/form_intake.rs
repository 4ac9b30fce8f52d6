//! Which forms are kept, and where they come from.
//!
//! A form is kept if it comes from a page of this host or from a site that may post forms here (`login.entry_origins`): a comparison
//! portal, a broker's own software. Otherwise the gateway would send other sites' forms in a broker's name.
//!
//! Browsers send no `SameSite=Lax` cookie along with a form of another site, so that nobody seems to be signed in. Such a form is kept
//! without a session; the browser is then led, by a GET that does carry its cookies, to the page that names the site and sends the
//! form once its broker presses the button. So a listed site makes nothing happen by itself.

use crate::gateway::admission::held_forms::HeldForms;
use crate::gateway::context::RequestContext;
use crate::gateway::request::audience::Audience;
use crate::gateway::request::cookies::RequestCookies;
use crate::gateway::request::form::{self, BadForm, Initiator, read_body};
use crate::gateway::respond::reply::Reply;
use crate::held_forms::{Actor, FormKey, SaveError};
use crate::pages::{FormOfAnotherSite, SessionEnded, View};
use crate::telemetry::metrics::{HeldFormOutcome as Outcome, Request};
use domain::held_form::{FormStage, HeldForm, is_keepable, is_of_html_forms};
use domain::return_to::ReturnTo;
use domain::session::Session as BrokerSession;
use domain::time::Timestamp;
use domain::vtnr::Vtnr;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, REFERER};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use std::time::Duration;

/// The time within which a form must arrive. The largest does at 140 kbit/s.
const INTAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest media type that is kept, in bytes; a multipart boundary has at most 70 (RFC 2046, 5.1.1).
const MAX_MEDIA_TYPE: usize = 256;

/// A form that was kept just now.
#[derive(Clone, Copy)]
struct Kept {
    place: FormKey,
    holder: TokenCookie,
}

/// The cookie that holds the token of a kept form.
#[derive(Clone, Copy)]
enum TokenCookie {
    /// The cookie for all forms that were posted in this browser.
    Browser,
    /// A cookie of the form's own. With a form of another site the browser does not send the common one, which must not be replaced.
    Form,
}

impl HeldForms {
    /// Answers a form that came without a session.
    pub(crate) async fn take_without_session(
        &self,
        http: &mut Session,
        cookies: &RequestCookies,
        context: &mut RequestContext,
    ) -> Reply {
        if form::is_foreign(http.req_header(), context.scheme) {
            return self.take_from_another_site(http, cookies, context).await;
        }
        context.outcome = Request::SignInRequired;
        let kept = self.keep(http, cookies, None, context).await;
        let page = kept.map(|kept| self.links.form_page(kept.place.id)).ok();
        let view = SessionEnded {
            return_to: page.as_deref().unwrap_or("/"),
            save_result: self.save_result(&kept, context.now),
        };
        let html = self
            .pages
            .now()
            .render(&View::SessionEnded(view), context.now);
        self.with_token(Reply::page(StatusCode::UNAUTHORIZED, html), kept)
    }

    async fn take_from_another_site(
        &self,
        http: &mut Session,
        cookies: &RequestCookies,
        context: &mut RequestContext,
    ) -> Reply {
        context.outcome = Request::Refused;
        match self.keep(http, cookies, None, context).await {
            Ok(kept) => {
                context.outcome = Request::SignInRequired;
                let page = self.links.form_page(kept.place.id);
                self.with_token(Reply::see_other(&page), Ok(kept))
            }
            Err(why) => self.form_of_another_site(http.req_header(), Err(why), context.now),
        }
    }

    /// Answers the Antragsversand of a session without a confirmed address: it is kept, and the broker can confirm the address.
    pub(crate) async fn take_blocked_submission(
        &self,
        http: &mut Session,
        cookies: &RequestCookies,
        session: &BrokerSession,
        context: &mut RequestContext,
    ) -> Reply {
        let kept = self.keep(http, cookies, Some(session.vtnr), context).await;
        let page = kept.map(|kept| self.links.form_page(kept.place.id)).ok();
        let page = self.blocked(
            session.vtnr,
            self.save_result(&kept, context.now),
            page.as_deref().unwrap_or("/"),
            context.now,
        );
        self.with_token(page, kept)
    }

    /// The page that says that a form came from another site and went nowhere.
    pub(crate) fn form_of_another_site(
        &self,
        request: &RequestHeader,
        kept: Result<(), SaveError>,
        now: Timestamp,
    ) -> Reply {
        let view = View::FormOfAnotherSite(FormOfAnotherSite {
            site: form::origin_of(request).and_then(host_in),
            save_result: self.save_result(&kept, now),
        });
        Reply::page(StatusCode::FORBIDDEN, self.pages.now().render(&view, now))
    }

    /// The origin of a form of another site, if that site may post forms here. In a frame of another site no cookie can be set and no
    /// page of the gateway is shown.
    fn entry_origin(&self, request: &RequestHeader) -> Option<String> {
        let in_a_frame = request
            .headers
            .get("sec-fetch-dest")
            .is_some_and(|place| place != HeaderValue::from_static("document"));
        if in_a_frame || Audience::of(&request.headers) == Audience::Script {
            return None;
        }
        let origin = form::origin_of(request)?;
        let rules = self.sign_ins.rules.now();
        let mut listed = rules.login.entry_origins.iter();
        listed
            .find(|listed| listed.eq_ignore_ascii_case(origin))
            .cloned()
    }

    async fn keep(
        &self,
        http: &mut Session,
        cookies: &RequestCookies,
        owner: Option<Vtnr>,
        context: &RequestContext,
    ) -> Result<Kept, SaveError> {
        let kept = self.try_to_keep(http, cookies, owner, context).await;
        let actor = Actor {
            client: context.rate_limit_key(),
            broker: owner,
        };
        // Programs post all the time what is not kept.
        let is_form = Audience::of(&http.req_header().headers) == Audience::Navigation
            || !matches!(kept, Err(SaveError::Unfit));
        if is_form {
            let outcome = kept.map_or_else(Outcome::from, |_| Outcome::Kept);
            self.forms.note(outcome, actor);
        }
        kept
    }

    async fn try_to_keep(
        &self,
        http: &mut Session,
        cookies: &RequestCookies,
        owner: Option<Vtnr>,
        context: &RequestContext,
    ) -> Result<Kept, SaveError> {
        let form = self.particulars(http.req_header(), owner, context)?;
        let client = context.rate_limit_key();
        let announced = length(&http.req_header().headers);
        let mut reservation = self.forms.reserve(client, announced)?;
        let largest = self.forms.limits().largest;
        let body = read_body(http, INTAKE_TIMEOUT, |length| match length {
            length if length > largest => Err(BadForm::TooLarge),
            length if !reservation.grow(length) => Err(BadForm::NoRoom),
            _ => Ok(()),
        });
        let body = body.await.map_err(|bad| match bad {
            BadForm::TooLarge => SaveError::TooLarge,
            BadForm::NoRoom => SaveError::NoRoom,
            BadForm::BrokenOff | BadForm::Malformed | BadForm::Foreign => SaveError::Failed,
        })?;
        let place = self.forms.keep(cookies.form_token, client, &form, &body);
        let place = place.await;
        drop(reservation);
        let holder = if form.origin.is_some() && cookies.form_token.is_none() {
            TokenCookie::Form
        } else {
            TokenCookie::Browser
        };
        place.map(|place| Kept { place, holder })
    }

    /// What is kept of a request besides its body.
    fn particulars(
        &self,
        request: &RequestHeader,
        owner: Option<Vtnr>,
        context: &RequestContext,
    ) -> Result<HeldForm, SaveError> {
        let origin = match form::initiator_of(request, context.scheme) {
            Initiator::Own => None,
            Initiator::Foreign => Some(self.entry_origin(request).ok_or(SaveError::Foreign)?),
            Initiator::Person | Initiator::Unknown => return Err(SaveError::Unfit),
        };
        if request.method != Method::POST || request.headers.contains_key(CONTENT_ENCODING) {
            return Err(SaveError::Unfit);
        }
        let target = std::str::from_utf8(request.raw_path())
            .ok()
            .and_then(|target| ReturnTo::parse(target).ok());
        let content_type = text(&request.headers, CONTENT_TYPE)
            .filter(|kind| kind.len() <= MAX_MEDIA_TYPE && is_keepable(kind))
            .filter(|kind| !is_scripts(kind, request));
        let (target, content_type) = target.zip(content_type).ok_or(SaveError::Unfit)?;
        let referer =
            text(&request.headers, REFERER).filter(|referer| referer.len() <= ReturnTo::LONGEST);
        Ok(HeldForm {
            target,
            content_type,
            referer,
            origin,
            owner,
            held_since: context.now,
            stage: FormStage::Waits,
        })
    }

    /// Adds the cookie that opens the form. It lives as long as the form, and as the browser's other kept forms.
    fn with_token(&self, reply: Reply, kept: Result<Kept, SaveError>) -> Reply {
        let Ok(Kept { place, holder }) = kept else {
            return reply;
        };
        let lifetime = self.forms.limits().lifetime;
        reply.with_cookie(match holder {
            TokenCookie::Browser => self.cookie_names.set_form_token(&place.token, lifetime),
            TokenCookie::Form => {
                self.cookie_names
                    .set_form_token_of(place.id, &place.token, lifetime)
            }
        })
    }
}

/// Whether this is a press on the gateway's button: no page of a calculator has a form of its kind.
pub(crate) fn is_press(request: &RequestHeader) -> bool {
    let content_type = text(&request.headers, CONTENT_TYPE).unwrap_or_default();
    request.method == Method::POST && content_type.eq_ignore_ascii_case("text/plain")
}

/// Whether a script posted this: no form is JSON in a client that does not say that it navigates.
fn is_scripts(content_type: &str, request: &RequestHeader) -> bool {
    Audience::of(&request.headers) != Audience::Navigation && !is_of_html_forms(content_type)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

/// The announced length of a body, in bytes. The framing was found sound.
fn length(headers: &HeaderMap) -> Option<usize> {
    // What cannot be counted is too large as well.
    text(headers, CONTENT_LENGTH).map(|length| length.parse().unwrap_or(usize::MAX))
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
