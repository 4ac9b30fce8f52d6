//! One request of one visitor: their session here, and the answers that keep it.

use super::Calculator;
use super::latin1::{self, LatinForm};
use super::memory::Offer;
use super::tariff::Risk;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use cookie::Cookie;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use minijinja::{Value, context};
use std::convert::Infallible;

/// The calculator's own session cookie.
const COOKIE_NAME: &str = "JSESSIONID";

pub(super) struct CalculatorVisit {
    pub(super) calculator: Calculator,
    /// The header `X-VTNR`, if it came along.
    pub(super) broker: Option<String>,
    /// The query, as a form.
    pub(super) query: LatinForm,
    session: String,
    fresh: bool,
}

impl FromRequestParts<Calculator> for CalculatorVisit {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        calculator: &Calculator,
    ) -> Result<Self, Infallible> {
        let known =
            calculator.memory(|memory| session_ids(&parts.headers).find(|id| memory.knows(id)));
        Ok(Self {
            calculator: calculator.clone(),
            broker: parts
                .headers
                .get("x-vtnr")
                .map(|value| latin1::decode(value.as_bytes())),
            query: LatinForm::parse(parts.uri.query().unwrap_or_default().as_bytes()),
            fresh: known.is_none(),
            session: known.unwrap_or_else(|| calculator.memory(|memory| memory.begin_session())),
        })
    }
}

/// Every value sent under the cookie's name: a browser may send several.
fn session_ids(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let lines = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let cookies = lines.flat_map(Cookie::split_parse).flatten();
    cookies
        .filter(|cookie| cookie.name() == COOKIE_NAME)
        .map(|cookie| cookie.value().to_owned())
}

impl CalculatorVisit {
    /// The offers of this session, oldest first.
    pub(super) fn offers(&self) -> Vec<Offer> {
        self.calculator
            .memory(|memory| memory.offers(&self.session))
    }

    /// The offer that `?id=` names.
    pub(super) fn offer(&self) -> Option<Offer> {
        let id = self.query.get("id").parse().ok()?;
        self.calculator
            .memory(|memory| memory.offer(&self.session, id))
    }

    /// Keeps an offer in this session and gives its number.
    pub(super) fn keep_offer(&self, risk: Risk) -> u32 {
        self.calculator
            .memory(|memory| memory.keep_offer(&self.session, risk))
    }

    /// A page in ISO-8859-1.
    pub(super) fn page(&self, template: &str, context: Value) -> Response {
        let sign_out = &self.calculator.inner.sign_out_path;
        let context = context! { sign_out, broker => self.broker.clone(), ..context };
        match self.calculator.inner.pages.render(template, context) {
            Ok(html) => self.answer((
                [(CONTENT_TYPE, "text/html; charset=ISO-8859-1")],
                latin1::encode(&html),
            )),
            Err(error) => {
                tracing::error!(%error, template, "failed to render a page of the demo calculator");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }

    /// A page with one sentence.
    pub(super) fn notice(&self, status: StatusCode, heading: &str, text: &str) -> Response {
        (status, self.page("notice.html", context! { heading, text })).into_response()
    }

    /// The page for an `?id=` that names nothing.
    pub(super) fn no_offer(&self) -> Response {
        let text =
            "Dieses Angebot ist nicht oder nicht mehr vorhanden. Bitte berechnen Sie es neu.";
        self.notice(StatusCode::NOT_FOUND, "Angebot nicht gefunden", text)
    }

    /// 302, as applications of that time did after a POST.
    pub(super) fn redirect(&self, path: &str) -> Response {
        self.answer((StatusCode::FOUND, [(LOCATION, path)]))
    }

    fn answer(&self, answer: impl IntoResponse) -> Response {
        let mut response = answer.into_response();
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let cookie = format!("{COOKIE_NAME}={}; Path=/; HttpOnly", self.session);
        if let Some(cookie) = self
            .fresh
            .then(|| HeaderValue::try_from(cookie).ok())
            .flatten()
        {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        response
    }
}
