//! The postbox in the browser. Mails come from anywhere, so their HTML is shown in a sandbox and loads nothing.

use super::{Postbox, ReceivedMail};
use crate::pages::DemoPages;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, StatusCode};
use minijinja::{Value, context};
use std::sync::Arc;

/// A mail's HTML inherits this: inline styles show, but no script runs and nothing is fetched from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const TEMPLATES: &[(&str, &str)] = &[
    ("shell.html", include_str!("html/shell.html")),
    ("list.html", include_str!("html/list.html")),
    ("mail.html", include_str!("html/mail.html")),
    ("missing.html", include_str!("html/missing.html")),
];

#[derive(Clone)]
struct PostboxWeb {
    postbox: Postbox,
    pages: Arc<DemoPages>,
}

pub(super) fn router(postbox: Postbox) -> Router {
    let desk = PostboxWeb {
        postbox,
        pages: Arc::new(DemoPages::new(TEMPLATES)),
    };
    Router::new()
        .route("/", get(list))
        .route("/anzahl", get(count))
        .route("/mail/{index}", get(mail))
        .route("/mail/{index}/quelltext", get(source))
        .route(
            "/postfach.css",
            get(|| async {
                (
                    [(CONTENT_TYPE, "text/css")],
                    include_str!("html/postfach.css"),
                )
            }),
        )
        .route(
            "/postfach.js",
            get(|| async {
                (
                    [(CONTENT_TYPE, "text/javascript")],
                    include_str!("html/postfach.js"),
                )
            }),
        )
        .fallback(|State(desk): State<PostboxWeb>| async move { desk.missing() })
        .with_state(desk)
}

async fn list(State(desk): State<PostboxWeb>) -> Response {
    let mails: Vec<Value> = desk
        .postbox
        .newest_first()
        .iter()
        .map(|mail| view(mail))
        .collect();
    desk.page(
        "list.html",
        context! { mails, received => desk.postbox.received() },
    )
}

/// What the list asks every two seconds, to reload itself once it changes.
async fn count(State(desk): State<PostboxWeb>) -> Response {
    (HEADERS, desk.postbox.received().to_string()).into_response()
}

async fn mail(State(desk): State<PostboxWeb>, Path(index): Path<String>) -> Response {
    let Some(mail) = desk.find(&index) else {
        return desk.missing();
    };
    desk.page("mail.html", context! { mail => view(&mail) })
}

async fn source(State(desk): State<PostboxWeb>, Path(index): Path<String>) -> Response {
    let Some(mail) = desk.find(&index) else {
        return desk.missing();
    };
    (
        HEADERS,
        [(CONTENT_TYPE, "text/plain; charset=utf-8")],
        mail.raw.clone(),
    )
        .into_response()
}

/// A mail as the pages show it.
fn view(mail: &ReceivedMail) -> Value {
    context! {
        index => mail.index,
        number => mail.index + 1,
        from => mail.from.clone(),
        to => mail.to.join(", "),
        subject => if mail.subject.is_empty() { "(ohne Betreff)" } else { &mail.subject },
        date => german(&mail.date),
        text => mail.text.clone(),
        html => mail.html.clone(),
    }
}

/// `2026-11-02T08:30:00Z` as people in Germany read it: 2.11.2026, 9:30 Uhr.
fn german(date: &str) -> Option<String> {
    let date: jiff::Timestamp = date.parse().ok()?;
    let date = date.in_tz("Europe/Berlin").ok()?;
    Some(date.strftime("%-d.%-m.%Y, %-H:%M Uhr").to_string())
}

const HEADERS: [(HeaderName, &str); 3] = [
    (CACHE_CONTROL, "no-store"),
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

impl PostboxWeb {
    fn find(&self, index: &str) -> Option<Arc<ReceivedMail>> {
        self.postbox.find(index.parse().ok()?)
    }

    fn missing(&self) -> Response {
        (
            StatusCode::NOT_FOUND,
            self.page("missing.html", context! {}),
        )
            .into_response()
    }

    fn page(&self, template: &str, context: Value) -> Response {
        match self.pages.render(template, context) {
            Ok(html) => (HEADERS, Html(html)).into_response(),
            Err(error) => {
                tracing::error!(%error, template, "failed to render a postbox page");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}
