//! The motor tariff in the browser: form, price while typing, offer.

use super::latin1::{self, LatinForm};
use super::memory::Offer;
use super::tariff::{Risk, euros, german};
use super::visit::CalculatorVisit;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use minijinja::{Value, context};

/// What the empty form begins with.
const DEFAULTS: &[u8] = b"beginn=01.01.2027&sf=0&km=15.000&deckung=HP&zahlung=1";

/// What a price depends on and nobody has typed yet when the form opens.
const ASKED: [&str; 3] = ["hsn", "tsn", "geburtsdatum"];
const INCOMPLETE: &str = "Bitte vervollständigen Sie Ihre Angaben.";

/// `GET /kfz/angebot`: the form, or with `?id=` the offer.
pub(super) async fn show(visit: CalculatorVisit) -> Response {
    if visit.query.get("id").is_empty() {
        return form_page(&visit, &LatinForm::parse(DEFAULTS), &[]);
    }
    match visit.offer() {
        Some(offer) => visit.page("offer.html", context! { offer => view(&offer) }),
        None => visit.no_offer(),
    }
}

/// `POST /kfz/angebot`: computes and keeps an offer, and redirects to it.
pub(super) async fn offer(visit: CalculatorVisit, body: Bytes) -> Response {
    let form = LatinForm::parse(&body);
    match Risk::parse(&form) {
        Ok(risk) => visit.redirect(&format!("/kfz/angebot?id={}", visit.keep_offer(risk))),
        Err(mistakes) => form_page(&visit, &form, &mistakes),
    }
}

/// `GET /kfz/preis`: the price for the form as it stands, as XML. A name or number plate is not needed for it.
pub(super) async fn price(visit: CalculatorVisit) -> Response {
    let mut form = visit.query.clone();
    form.fields.extend([
        ("name".into(), "-".into()),
        ("kennzeichen".into(), "-".into()),
    ]);
    let inside = match Risk::parse(&form) {
        Ok(risk) => {
            let price = risk.price();
            format!(
                "<rate>{}</rate><jahr>{}</jahr>",
                euros(price.instalment),
                euros(price.year)
            )
        }
        Err(_) if ASKED.iter().any(|name| form.get(name).is_empty()) => {
            format!("<hinweis>{INCOMPLETE}</hinweis>")
        }
        Err(mistakes) => format!(
            "<hinweis>{}</hinweis>",
            mistakes.first().unwrap_or(&INCOMPLETE)
        ),
    };
    let xml = format!("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<preis>{inside}</preis>\n");
    let headers = [
        (CONTENT_TYPE, "text/xml; charset=ISO-8859-1"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, latin1::encode(&xml)).into_response()
}

fn form_page(visit: &CalculatorVisit, form: &LatinForm, mistakes: &[&'static str]) -> Response {
    let classes: Vec<u32> = (0..=35).collect();
    visit.page(
        "motor.html",
        context! { form => form.view(), mistakes => mistakes.to_vec(), classes },
    )
}

/// An offer for the templates.
pub(super) fn view(offer: &Offer) -> Value {
    context! { id => offer.id, rows => rows(offer), year => euros(offer.risk.price().year) }
}

/// An offer line by line: label and value.
pub(super) fn rows(offer: &Offer) -> Vec<Vec<String>> {
    let risk = &offer.risk;
    let price = offer.risk.price();
    let payment = match risk.instalments {
        1 => "jährlich",
        2 => "halbjährlich",
        _ => "vierteljährlich",
    };
    let rows = [
        ("Angebotsnummer", offer.id.to_string()),
        ("Versicherungsnehmer", risk.name.clone()),
        ("Geburtsdatum", german(risk.birth)),
        ("Kennzeichen", risk.plate.clone()),
        ("HSN / TSN", format!("{} / {}", risk.hsn, risk.tsn)),
        ("Versicherungsbeginn", german(risk.start)),
        ("Schadenfreiheitsklasse", risk.no_claims_label()),
        (
            "Kilometerleistung",
            format!("{} km im Jahr", thousands(risk.kilometres)),
        ),
        ("Deckung", risk.cover.label().to_owned()),
        ("Zahlungsweise", payment.to_owned()),
        ("Rate", format!("{} EUR", euros(price.instalment))),
        ("Jahresbeitrag", format!("{} EUR", euros(price.year))),
        (
            "darin Versicherungsteuer",
            format!("{} EUR", euros(price.tax)),
        ),
    ];
    rows.into_iter()
        .map(|(label, value)| vec![label.to_owned(), value])
        .collect()
}

fn thousands(number: u32) -> String {
    euros(u64::from(number) * 100)
        .trim_end_matches(",00")
        .to_owned()
}
