//! An offer to take away: CSV and PDF.

use super::latin1;
use super::motor::rows;
use super::pdf;
use super::visit::CalculatorVisit;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};

/// `GET /kfz/angebot.csv?id=`: for the spreadsheets of the time, so ISO-8859-1 and semicolons.
pub(super) async fn csv(visit: CalculatorVisit) -> Response {
    let Some(offer) = visit.offer() else {
        return visit.no_offer();
    };
    let lines: Vec<String> = rows(&offer)
        .iter()
        .map(|row| row.iter().map(quote).collect::<Vec<_>>().join(";"))
        .collect();
    let body = latin1::encode(&format!("Feld;Wert\r\n{}\r\n", lines.join("\r\n")));
    download(
        "text/csv; charset=ISO-8859-1",
        &format!("angebot-{}.csv", offer.id),
        body,
    )
}

pub(super) async fn pdf(visit: CalculatorVisit) -> Response {
    let Some(offer) = visit.offer() else {
        return visit.no_offer();
    };
    let body = pdf::write(
        &format!("Angebot {} zur Kfz-Versicherung", offer.id),
        &rows(&offer),
    );
    download(
        "application/pdf",
        &format!("angebot-{}.pdf", offer.id),
        body,
    )
}

fn quote(cell: &String) -> String {
    // A spreadsheet would take these beginnings for a formula.
    let cell = if cell.starts_with(['=', '+', '-', '@']) {
        format!("'{cell}")
    } else {
        cell.clone()
    };
    format!("\"{}\"", cell.replace('"', "\"\""))
}

fn download(content_type: &'static str, name: &str, body: Vec<u8>) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    (
        [
            (CONTENT_TYPE, content_type.to_owned()),
            (CONTENT_DISPOSITION, disposition),
        ],
        body,
    )
        .into_response()
}
