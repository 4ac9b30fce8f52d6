//! `upstream.strip` and `upstream.pass_fields`

use super::super::document::Value;
use super::super::kinds::{quoted, text};
use super::super::read::Reader;
use super::upstream::RESERVED_HEADERS;
use domain::client_fields::{covers, is_plain_name, untrusted};
use http::HeaderName;

const STRIP: &str = "upstream.strip";
const PASS: &str = "upstream.pass_fields";

/// Fields that no request can do without.
const NEEDED: [&str; 9] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "sec-websocket-key",
    "transfer-encoding",
    "upgrade",
];

/// Reads `upstream.strip` and `upstream.pass_fields`; `own` are the gateway's identity fields.
pub(super) fn client_fields(
    reader: &mut Reader<'_>,
    own: &[Option<&str>],
) -> Option<(Vec<String>, Vec<String>)> {
    let strip = reader.list(STRIP, pattern);
    let pass = reader.list(PASS, |value| exception(value, own));
    let strip = strip?;
    let pass = pass?;
    for name in &pass {
        if let Some(pattern) = strip.iter().find(|pattern| covers(pattern, name)) {
            reader.mistake(
                PASS,
                format!(
                    "{} is removed by {} in {STRIP}; delete one of them",
                    quoted(name),
                    quoted(pattern)
                ),
            );
        }
        if is_plain_name(name) {
            let warning = format!(
                "{} need not be listed: only names with characters other than letters, digits and - are removed",
                quoted(name)
            );
            reader.warn(PASS, &warning);
        }
    }
    Some((strip, pass))
}

fn pattern(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    let name = text.strip_suffix('*').unwrap_or(&text);
    if name.contains('*') || HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(format!(
            "{} is not a header field name; \"*\" is allowed at its end only, as in \"X-Internal-*\"",
            quoted(&text)
        ));
    }
    match NEEDED.iter().find(|needed| covers(&text, needed)) {
        Some(needed) => Err(format!(
            "{} would remove {needed}, which requests need",
            quoted(&text)
        )),
        None => Ok(text),
    }
}

fn exception(value: &Value, own: &[Option<&str>]) -> Result<String, String> {
    let text = text(value)?;
    if text.contains('*') || HeaderName::from_bytes(text.as_bytes()).is_err() {
        return Err(format!(
            "{} is not a header field name, such as \"X_Legacy_Token\"",
            quoted(&text)
        ));
    }
    if let Some((pattern, source)) = untrusted(&text) {
        return Err(format!(
            "{} can be mistaken for {pattern} ({source}), which clients must not send",
            quoted(&text)
        ));
    }
    if let Some(own) = own.iter().flatten().find(|own| covers(own, &text)) {
        return Err(format!(
            "{} can be mistaken for {own}, the gateway's identity field",
            quoted(&text)
        ));
    }
    match RESERVED_HEADERS
        .iter()
        .find(|taken| covers(taken, &text) && !taken.eq_ignore_ascii_case(&text))
    {
        Some(taken) => Err(format!(
            "{} can be mistaken for {taken}, which has a meaning in HTTP",
            quoted(&text)
        )),
        None => Ok(text),
    }
}
