//! Forms posted to our own pages.

use crate::gateway::request::audience::Audience;
use crate::gateway::request::origin::{
    Origin, OriginHeader, Scheme, is_of_own_host, origin_header,
};
use http::header::{CONTENT_TYPE, EXPECT, ORIGIN, REFERER};
use http::{HeaderMap, Method};
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use std::time::Duration;
use zeroize::Zeroize as _;

/// Our longest form has a broker number, an address and a path.
const MAX_FORM: usize = 16 * 1_024;
/// By so much room for a body grows.
const STEP: usize = 64 * 1_024;
const FORM_TIME: Duration = Duration::from_secs(10);

/// The fields of a form, each at most once. One may be a password or a TAN: there is no `Debug`, and they are overwritten in the end.
#[derive(Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Drop for Form {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}

/// Why a form cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadForm {
    /// Larger than any form of the gateway.
    TooLarge,
    /// Arrived too slowly or broke off.
    BrokenOff,
    /// Not `application/x-www-form-urlencoded` in UTF-8, or a field appears twice.
    Malformed,
    /// Posted by a page of another site.
    Foreign,
    /// There is no memory left for it.
    NoRoom,
}

impl Form {
    /// Reads a form to its end.
    pub(crate) async fn read(session: &mut Session, scheme: Scheme) -> Result<Self, BadForm> {
        if is_foreign(session.req_header(), scheme) {
            return Err(BadForm::Foreign);
        }
        let mut body = read_body(session, FORM_TIME, |length| {
            if length > MAX_FORM {
                Err(BadForm::TooLarge)
            } else {
                Ok(())
            }
        })
        .await?;
        if !is_urlencoded(&session.req_header().headers) && !body.is_empty() {
            return Err(BadForm::Malformed);
        }
        let form = Self::parse(&body);
        body.zeroize();
        form
    }

    fn parse(body: &[u8]) -> Result<Self, BadForm> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(body) {
            // The decoder puts U+FFFD where the bytes are not UTF-8.
            if name.contains('\u{fffd}')
                || value.contains('\u{fffd}')
                || fields.iter().any(|(known, _)| *known == name)
            {
                return Err(BadForm::Malformed);
            }
            fields.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(fields))
    }

    /// A field's value, empty if it is missing.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }
}

/// Reads a request's body to its end, if it comes within this time. `may_have` is asked about each length before it is reached.
pub(crate) async fn read_body(
    session: &mut Session,
    time: Duration,
    may_have: impl FnMut(usize) -> Result<(), BadForm>,
) -> Result<Vec<u8>, BadForm> {
    tokio::time::timeout(time, read_all(session, may_have))
        .await
        .unwrap_or(Err(BadForm::BrokenOff))
}

async fn read_all(
    session: &mut Session,
    mut may_have: impl FnMut(usize) -> Result<(), BadForm>,
) -> Result<Vec<u8>, BadForm> {
    if session.req_header().headers.contains_key(EXPECT) {
        session
            .as_downstream_mut()
            .write_continue_response()
            .await
            .map_err(|_| BadForm::BrokenOff)?;
    }
    let mut body = Vec::new();
    loop {
        match session.as_mut().read_request_body().await {
            Ok(Some(chunk)) => {
                may_have(body.len() + chunk.len())?;
                // In steps: to double what is there each time would hold room that nobody counts.
                if body.capacity() - body.len() < chunk.len() {
                    body.reserve_exact(chunk.len().max(STEP));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(None) => return Ok(body),
            Err(_) => return Err(BadForm::BrokenOff),
        }
    }
}

fn is_urlencoded(headers: &HeaderMap) -> bool {
    let media_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    media_type.is_some_and(|media_type| {
        media_type
            .trim()
            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
    })
}

/// Whether a request that changes something was made by another site's page. A client that says nothing of where it comes from is no
/// browser, and nobody's cookies ride on its requests.
pub(crate) fn is_foreign(request: &RequestHeader, scheme: Scheme) -> bool {
    initiator_of(request, scheme) == Initiator::Foreign
}

/// Whether a page of another site made the request, as browsers mean it: hosts below one registered domain are one site.
pub(crate) fn is_of_another_site(request: &RequestHeader, scheme: Scheme) -> bool {
    let is_same_site = request
        .headers
        .get("sec-fetch-site")
        .is_some_and(|site| site.as_bytes() == b"same-site");
    initiator_of(request, scheme) == Initiator::Foreign && !is_same_site
}

/// Whether another site's page made the request, and not by leading the browser here: no cookie with `SameSite=Lax` would come along.
pub(crate) fn crosses_sites(request: &RequestHeader, scheme: Scheme) -> bool {
    // A page in a frame is a navigation too, and could be laid under other things to click on.
    let in_a_frame = request
        .headers
        .get("sec-fetch-dest")
        .is_some_and(|place| place.as_bytes() != b"document");
    let is_navigation = Audience::of(&request.headers) == Audience::Navigation && !in_a_frame;
    let leads_here = is_navigation && matches!(request.method, Method::GET | Method::HEAD);
    !leads_here && is_of_another_site(request, scheme)
}

/// Whose page made a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Initiator {
    /// One of this host.
    Own,
    /// None: the address was typed, or comes from a bookmark.
    Person,
    /// One of another site.
    Foreign,
    /// The request does not say.
    Unknown,
}

/// Whose page made a request, where pages of its host have this scheme. Browsers say so themselves: `Sec-Fetch-Site`, or, where they are
/// older than 2023, `Origin`, or, in Internet Explorer, `Referer`, which a page of another site cannot forge.
pub(crate) fn initiator_of(request: &RequestHeader, scheme: Scheme) -> Initiator {
    match request
        .headers
        .get("sec-fetch-site")
        .map(http::HeaderValue::as_bytes)
    {
        Some(b"same-origin") => return Initiator::Own,
        Some(b"none") => return Initiator::Person,
        Some(_) => return Initiator::Foreign,
        None => {}
    }
    match origin_header(&request.headers) {
        OriginHeader::Origin(origin) if is_of_own_host(origin, request, scheme) => Initiator::Own,
        OriginHeader::Origin(_) | OriginHeader::Nonsense => Initiator::Foreign,
        OriginHeader::Nothing => match origin_of(request) {
            None => Initiator::Unknown,
            Some(page)
                if Origin::parse(page)
                    .is_some_and(|page| is_of_own_host(page, request, scheme)) =>
            {
                Initiator::Own
            }
            Some(_) => Initiator::Foreign,
        },
    }
}

/// The origin of the page that made a request, by `Origin`, or else by the `Referer` of what is not a mere look: a link from another
/// site leads here as well. What cannot be read is nobody's, like `null`.
pub(crate) fn origin_of(request: &RequestHeader) -> Option<&str> {
    match request.headers.get(ORIGIN) {
        Some(origin) => Some(origin.to_str().unwrap_or("null")),
        None if matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS) => None,
        None => request
            .headers
            .get(REFERER)
            .and_then(|referer| referer.to_str().ok())
            .and_then(origin_in),
    }
}

/// The origin of an address.
fn origin_in(address: &str) -> Option<&str> {
    let (scheme, rest) = address.split_once("://")?;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    address.get(..scheme.len() + "://".len() + authority.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_form_of_one_field_with_two_values(body in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(form) = Form::parse(&body) {
                let names: std::collections::HashSet<_> = form.0.iter().map(|(name, _)| name).collect();
                prop_assert_eq!(names.len(), form.0.len());
            }
        }
    }

    #[test]
    fn fields_are_decoded_and_none_comes_twice() {
        let form =
            Form::parse(b"vtnr=60%2F123%2F4567&email=a%2Bb%40c.de&tan=B+C").expect("well-formed");
        assert_eq!(
            (
                form.field("vtnr"),
                form.field("email"),
                form.field("tan"),
                form.field("x")
            ),
            ("60/123/4567", "a+b@c.de", "B C", "")
        );
        assert_eq!(
            Form::parse(b"vtnr=1&vtnr=2").err(),
            Some(BadForm::Malformed)
        );
        assert_eq!(
            Form::parse(b"vtnr=1&%76tnr=2").err(),
            Some(BadForm::Malformed)
        );
        assert_eq!(Form::parse(b"vtnr=%FF").err(), Some(BadForm::Malformed));
    }

    fn request(fields: &HeaderMap) -> RequestHeader {
        let mut request = RequestHeader::build("POST", b"/", None).expect("a request");
        for (name, value) in fields {
            request
                .append_header(name.clone(), value.clone())
                .expect("a field");
        }
        request
    }

    #[test]
    fn forms_of_other_sites_are_told_from_our_own() {
        let own = [
            headers(&[("sec-fetch-site", "same-origin")]),
            headers(&[("sec-fetch-site", "none")]),
            headers(&[]),
            headers(&[("sec-fetch-site", "same-origin"), ("origin", "null")]),
            headers(&[
                ("origin", "https://Rechner.example"),
                ("host", "rechner.example"),
            ]),
        ];
        assert!(
            own.iter()
                .all(|fields| !is_foreign(&request(fields), Scheme::Https))
        );
        let foreign = [
            headers(&[("sec-fetch-site", "cross-site")]),
            headers(&[("sec-fetch-site", "same-site")]),
            headers(&[
                ("origin", "https://evil.example"),
                ("host", "rechner.example"),
            ]),
            headers(&[
                ("origin", "http://rechner.example"),
                ("host", "rechner.example"),
            ]),
            headers(&[
                ("sec-fetch-site", "cross-site"),
                ("origin", "https://rechner.example"),
                ("host", "rechner.example"),
            ]),
            headers(&[("origin", "null"), ("host", "rechner.example")]),
            headers(&[("origin", "https://rechner.example")]),
        ];
        assert!(
            foreign
                .iter()
                .all(|fields| is_foreign(&request(fields), Scheme::Https))
        );
    }

    #[test]
    fn where_nothing_else_is_said_the_page_before_tells_whose_a_form_is() {
        let (own, foreign) = (
            "https://rechner.example/kfz?x=1",
            "https://evil.example/rechner.example",
        );
        let maker = |method: &str, fields: &[(&'static str, &'static str)]| {
            let fields = headers(fields);
            let mut request = RequestHeader::build(method, b"/", None).expect("a request");
            for (name, value) in &fields {
                request
                    .append_header(name.clone(), value.clone())
                    .expect("a field");
            }
            initiator_of(&request, Scheme::Https)
        };
        let host = ("host", "rechner.example");
        for (method, referer, expected) in [
            ("POST", own, Initiator::Own),
            ("POST", "https://RECHNER.example", Initiator::Own),
            ("POST", foreign, Initiator::Foreign),
            ("POST", "https://rechner.example:8443/", Initiator::Foreign),
            (
                "POST",
                "https://rechner.example@evil.example/",
                Initiator::Foreign,
            ),
            (
                "POST",
                "https://rechner.example.evil.example/",
                Initiator::Foreign,
            ),
            ("POST", "about:blank", Initiator::Unknown),
            ("POST", "", Initiator::Unknown),
            ("GET", foreign, Initiator::Unknown),
            ("GET", own, Initiator::Unknown),
        ] {
            assert_eq!(
                maker(method, &[host, ("referer", referer)]),
                expected,
                "{method} {referer}"
            );
        }
        assert_eq!(
            maker("POST", &[host, ("referer", own), ("origin", "null")]),
            Initiator::Foreign
        );
        assert_eq!(
            maker(
                "POST",
                &[host, ("referer", own), ("sec-fetch-site", "cross-site")]
            ),
            Initiator::Foreign
        );
        assert_eq!(maker("POST", &[host]), Initiator::Unknown);
    }
}
