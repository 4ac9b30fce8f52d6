//! A tariff calculator in the manner of 2005: tables, ISO-8859-1, its own session cookie, pages that post and redirect.
//!
//! It stands for the application behind the gateway, so it must never know or help the gateway: it has no login,
//! counts every submission it gets, and keeps what it saw. `cli::demo` runs it for people, tests ask what arrived.

mod application;
mod documents;
mod latin1;
mod live;
mod memory;
mod motor;
mod pdf;
mod tariff;
mod upload;
mod visit;

#[cfg(test)]
mod tests;

pub use memory::{SeenRequest, SubmittedApplication};

use crate::pages::DemoPages;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use memory::CalculatorMemory;
use minijinja::context;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::net::TcpListener;
use visit::CalculatorVisit;

const TEMPLATES: &[(&str, &str)] = &[
    ("shell.html", include_str!("html/shell.html")),
    ("start.html", include_str!("html/start.html")),
    ("motor.html", include_str!("html/motor.html")),
    ("offer.html", include_str!("html/offer.html")),
    ("application.html", include_str!("html/application.html")),
    ("receipt.html", include_str!("html/receipt.html")),
    ("inbox.html", include_str!("html/inbox.html")),
    ("upload.html", include_str!("html/upload.html")),
    ("quotes.html", include_str!("html/quotes.html")),
    ("notice.html", include_str!("html/notice.html")),
];

/// The calculator. Clones share what it remembers.
#[derive(Clone)]
pub struct Calculator {
    inner: Arc<CalculatorState>,
}

struct CalculatorState {
    sign_out_path: String,
    pages: DemoPages,
    memory: Mutex<CalculatorMemory>,
}

impl Calculator {
    /// A calculator whose link `Abmelden` leads to this path, `/ui/login/de/abmelden` as a rule.
    #[must_use]
    pub fn new(sign_out_path: impl Into<String>) -> Self {
        let sign_out_path = sign_out_path.into();
        let pages = DemoPages::new(TEMPLATES);
        Self {
            inner: Arc::new(CalculatorState {
                sign_out_path,
                pages,
                memory: Mutex::default(),
            }),
        }
    }

    /// Answers on this listener until dropped.
    pub async fn serve(self, listener: TcpListener) {
        if let Err(error) = axum::serve(listener, self.router()).await {
            tracing::error!(%error, "the demo calculator stopped");
        }
    }

    /// The applications that were sent in, oldest first; the last 1,000.
    #[must_use]
    pub fn submissions(&self) -> Vec<SubmittedApplication> {
        self.memory(|memory| memory.submissions())
    }

    /// Every request as it arrived, oldest first; the last 1,000.
    #[must_use]
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.memory(|memory| memory.requests())
    }

    fn memory<T>(&self, look: impl FnOnce(&mut CalculatorMemory) -> T) -> T {
        look(&mut self.inner.memory.lock())
    }

    fn router(self) -> Router {
        Router::new()
            .route("/", get(start))
            .route("/kfz/angebot", get(motor::show).post(motor::offer))
            .route("/kfz/preis", get(motor::price))
            .route("/kfz/angebot.csv", get(documents::csv))
            .route("/kfz/angebot.pdf", get(documents::pdf))
            .route("/antrag", get(application::show))
            .route("/antrag/versand", post(application::submit))
            .route("/antrag/eingang", get(application::inbox))
            .route(
                "/upload",
                get(upload::show)
                    .post(upload::take)
                    .layer(DefaultBodyLimit::disable()),
            )
            .route("/kurse", get(live::page))
            .route("/impressum", get(imprint))
            .route("/datenschutz", get(privacy))
            .route("/ticker", get(live::ticker))
            .route("/ws/kurse", get(live::quotes))
            .merge(assets())
            .fallback(missing)
            .layer(from_fn_with_state(self.clone(), record))
            .with_state(self)
    }
}

fn assets() -> Router<Calculator> {
    Router::new()
        .route(
            "/style.css",
            get(|| async { ([(CONTENT_TYPE, "text/css")], include_str!("html/style.css")) }),
        )
        .route(
            "/skript.js",
            get(|| async {
                (
                    [(CONTENT_TYPE, "text/javascript")],
                    include_str!("html/skript.js"),
                )
            }),
        )
        .route(
            "/logo.gif",
            get(|| async {
                (
                    [(CONTENT_TYPE, "image/gif")],
                    include_bytes!("html/logo.gif"),
                )
            }),
        )
        .route(
            "/favicon.ico",
            get(|| async {
                (
                    [(CONTENT_TYPE, "image/x-icon")],
                    include_bytes!("html/favicon.ico"),
                )
            }),
        )
}

async fn start(visit: CalculatorVisit) -> Response {
    visit.page(
        "start.html",
        context! { offers => visit.offers().iter().map(motor::view).collect::<Vec<_>>() },
    )
}

async fn imprint(visit: CalculatorVisit) -> Response {
    visit.notice(
        StatusCode::OK,
        "Impressum",
        "Dies ist eine Vorführung. Die Musterversicherung und alle Preise sind frei erfunden.",
    )
}

async fn privacy(visit: CalculatorVisit) -> Response {
    visit.notice(
        StatusCode::OK,
        "Datenschutz",
        "Alles, was Sie hier eingeben, bleibt auf diesem Rechner und ist vergessen, sobald die Vorführung endet.",
    )
}

async fn missing(visit: CalculatorVisit) -> Response {
    visit.notice(
        StatusCode::NOT_FOUND,
        "Seite nicht gefunden",
        "Diese Seite gibt es im Online-Rechner nicht.",
    )
}

/// Remembers each request before anything is made of it.
async fn record(State(calculator): State<Calculator>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let target = request.uri().to_string();
    let headers = request.headers().clone();
    calculator.memory(|memory| {
        memory.saw(SeenRequest {
            method,
            target,
            headers,
        })
    });
    next.run(request).await
}
