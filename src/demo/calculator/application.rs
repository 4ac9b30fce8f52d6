//! The application and the Antragsversand, its electronic submission. Every POST counts as one, as it did in 2005.

use super::latin1::LatinForm;
use super::memory::SubmittedApplication;
use super::motor;
use super::visit::CalculatorVisit;
use axum::body::Bytes;
use axum::response::Response;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use minijinja::{Value, context};

/// `GET /antrag?id=`: the form.
pub(super) async fn show(visit: CalculatorVisit) -> Response {
    match visit.offer() {
        Some(offer) => visit.page(
            "application.html",
            context! { offer => motor::view(&offer), name => offer.risk.name.clone() },
        ),
        None => visit.no_offer(),
    }
}

/// `POST /antrag/versand`: takes the application and gives the receipt number.
pub(super) async fn submit(visit: CalculatorVisit, headers: HeaderMap, body: Bytes) -> Response {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let urlencoded = content_type.starts_with("application/x-www-form-urlencoded");
    let fields = if urlencoded {
        LatinForm::parse(&body).fields
    } else {
        Vec::new()
    };
    let vtnr = visit.broker.clone();
    let body = body.to_vec();
    let submission = SubmittedApplication {
        receipt: String::new(),
        vtnr,
        content_type,
        fields,
        body,
    };
    let receipt = visit.calculator.memory(|memory| memory.submit(submission));
    visit.page("receipt.html", context! { receipt })
}

/// `GET /antrag/eingang`: what was received, newest first.
pub(super) async fn inbox(visit: CalculatorVisit) -> Response {
    let received = visit.calculator.submissions();
    let submissions: Vec<Value> = received.iter().rev().map(view).collect();
    visit.page("inbox.html", context! { submissions })
}

fn view(submission: &SubmittedApplication) -> Value {
    let form = LatinForm {
        fields: submission.fields.clone(),
    };
    context! {
        receipt => submission.receipt.clone(),
        vtnr => submission.vtnr.clone(),
        offer => form.get("id"),
        name => form.get("name"),
        bytes => submission.body.len(),
    }
}
