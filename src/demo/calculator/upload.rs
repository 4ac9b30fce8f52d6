//! A document for an application. It is measured, not kept, so its size does not matter.

use super::visit::CalculatorVisit;
use axum::extract::Multipart;
use axum::extract::multipart::{Field, MultipartError, MultipartRejection};
use axum::response::Response;
use http::StatusCode;
use minijinja::{Value, context};
use ring::digest::{Context, SHA256};

/// `GET /upload`: the form.
pub(super) async fn show(visit: CalculatorVisit) -> Response {
    visit.page("upload.html", context! {})
}

/// `POST /upload`: name, size and SHA-256 of every file in the form.
pub(super) async fn take(
    visit: CalculatorVisit,
    form: Result<Multipart, MultipartRejection>,
) -> Response {
    let Ok(form) = form else {
        return refuse(&visit);
    };
    match measure_all(form).await {
        Ok(files) if files.is_empty() => refuse(&visit),
        Ok(files) => visit.page("upload.html", context! { files }),
        Err(_) => refuse(&visit),
    }
}

fn refuse(visit: &CalculatorVisit) -> Response {
    let text = "Es ist kein Dokument angekommen. Bitte wählen Sie eine Datei aus und versuchen Sie es noch einmal.";
    visit.notice(StatusCode::BAD_REQUEST, "Dokument hochladen", text)
}

async fn measure_all(mut form: Multipart) -> Result<Vec<Value>, MultipartError> {
    let mut files = Vec::new();
    while let Some(field) = form.next_field().await? {
        if field.file_name().is_some_and(|name| !name.is_empty()) {
            files.push(measure(field).await?);
        }
    }
    Ok(files)
}

async fn measure(mut field: Field<'_>) -> Result<Value, MultipartError> {
    let name = field.file_name().unwrap_or_default().to_owned();
    let mut size = 0_usize;
    let mut digest = Context::new(&SHA256);
    while let Some(chunk) = field.chunk().await? {
        size += chunk.len();
        digest.update(&chunk);
    }
    let sha256: String = digest
        .finish()
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(context! { name, size, sha256 })
}
