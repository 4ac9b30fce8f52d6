//! Who reads the gateway's own answers: the one place that decides between a redirect, a page and JSON.

use http::HeaderMap;
use http::header::{ACCEPT, UPGRADE};

/// Who reads an answer of the gateway's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// A browser that goes to a page and says so. It may be redirected.
    Navigation,
    /// A client that does not say what it wants: Internet Explorer mode, Office, an old WebView, a program. It gets a page, so that a
    /// person is not left with JSON, but never with a redirect or a status of success, which a program would take for its answer.
    Unspecified,
    /// A script or a program that says so. It gets a small JSON text.
    Script,
}

impl Audience {
    /// Who reads the answer to a request with these fields.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        if headers.contains_key(UPGRADE) {
            return Self::Script;
        }
        match headers
            .get("sec-fetch-mode")
            .map(http::HeaderValue::as_bytes)
        {
            // Chromium 76 to 79 has a word of its own for frames.
            Some(b"navigate" | b"nested-navigate") => Self::Navigation,
            Some(_) => Self::Script,
            None => Self::of_older_client(headers),
        }
    }

    fn of_older_client(headers: &HeaderMap) -> Self {
        let sender = headers
            .get("x-requested-with")
            .map(http::HeaderValue::as_bytes);
        if sender.is_some_and(|sender| sender.eq_ignore_ascii_case(b"XMLHttpRequest"))
            || asks_for_data(headers)
        {
            return Self::Script;
        }
        let goes_to_a_page = accepts_pages(headers) && sender.is_none_or(is_app);
        if goes_to_a_page {
            Self::Navigation
        } else {
            Self::Unspecified
        }
    }
}

/// Whether `X-Requested-With` names an Android app, as its WebView says with every request.
fn is_app(sender: &[u8]) -> bool {
    sender.contains(&b'.')
        && sender
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(byte))
}

/// Whether `Accept` asks for JSON or an event stream, which no navigation does.
fn asks_for_data(headers: &HeaderMap) -> bool {
    let is_json = |range: &[u8]| {
        let suffix = range
            .len()
            .checked_sub(b"+json".len())
            .and_then(|at| range.get(at..));
        suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"))
            || range.eq_ignore_ascii_case(b"application/json")
    };
    accepted(headers)
        .any(|range| is_json(range) || range.eq_ignore_ascii_case(b"text/event-stream"))
}

/// Whether `Accept` is a browser's that goes to a page. Java's default names HTML and images, but no XHTML, as browsers do beside images.
fn accepts_pages(headers: &HeaderMap) -> bool {
    let names = |kind: &[u8]| accepted(headers).any(|range| range.eq_ignore_ascii_case(kind));
    let names_image = || {
        accepted(headers).any(|range| {
            range
                .get(..6)
                .is_some_and(|kind| kind.eq_ignore_ascii_case(b"image/"))
        })
    };
    names(b"text/html") && (names(b"application/xhtml+xml") || !names_image())
}

/// The media ranges of `Accept`, without their parameters.
fn accepted(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let ranges = headers
        .get_all(ACCEPT)
        .iter()
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
    ranges.map(|range| {
        range
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii()
    })
}

#[cfg(test)]
mod tests;
