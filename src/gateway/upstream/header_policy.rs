//! Fields that tell the calculator who asks: the client's own are taken away, in every spelling (`domain/client_fields.rs`); ours are put in.

use crate::config::{PublicUrl, UpstreamConfig};
use crate::gateway::context::cookie_changes::SessionCookieChanges;
use crate::gateway::request::cookies::CookieNames;
use bytes::Bytes;
use domain::client_fields::ClientFields;
use domain::held_form::HeldForm;
use domain::policy::Permit;
use domain::session::Level;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, EXPIRES, HOST,
    ORIGIN, REFERER, SET_COOKIE, TRANSFER_ENCODING,
};
use http::{HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{ErrorType, OrErr};
use std::borrow::Cow;
use std::fmt::Display;
use std::io::{Cursor, Write as _};
use std::net::IpAddr;

/// What is stripped from and put into requests.
pub(crate) struct HeaderPolicy {
    cookie_names: CookieNames,
    vtnr: Option<FieldName>,
    level: Option<FieldName>,
    scheme: HeaderValue,
    client_fields: ClientFields,
}

/// A field's name from the configuration, in lower case, as Pingora takes it without a copy.
struct FieldName(Bytes);

impl HeaderPolicy {
    pub(crate) fn new(
        cookie_names: CookieNames,
        url: &PublicUrl,
        upstream: &UpstreamConfig,
    ) -> Self {
        let scheme = HeaderValue::from_static(if url.secure { "https" } else { "http" });
        let own = [
            upstream.vtnr_header.as_deref(),
            upstream.level_header.as_deref(),
        ];
        let client_fields = ClientFields::new(
            own.into_iter().flatten(),
            &upstream.strip,
            &upstream.pass_fields,
        );
        let [vtnr, level] = own.map(|name| name.and_then(FieldName::new));
        Self {
            cookie_names,
            vtnr,
            level,
            scheme,
            client_fields,
        }
    }

    /// Takes away the fields that a client must not set, our cookies, and those that are withheld; on every request, whoever sent it.
    pub(crate) fn strip_client_fields(
        &self,
        request: &mut RequestHeader,
        changes: Option<&SessionCookieChanges>,
    ) -> pingora::Result<()> {
        let is_dropped = |name: &&HeaderName| self.client_fields.drops(name.as_str().as_bytes());
        let dropped: Vec<HeaderName> = request.headers.keys().filter(is_dropped).cloned().collect();
        for name in dropped {
            request.remove_header(&name);
        }
        let joined = match self.cookie_names.for_calculator(&request.headers, |crumb| {
            changes.is_some_and(|changes| changes.withholds(crumb))
        }) {
            Some(Cow::Borrowed(_)) => return Ok(()),
            Some(Cow::Owned(joined)) => HeaderValue::from_maybe_shared(Bytes::from(joined)).ok(),
            None => None,
        };
        match joined {
            Some(joined) => request.insert_header("Cookie", joined),
            None => {
                request.remove_header(&COOKIE);
                Ok(())
            }
        }
    }

    /// Puts in who asks, as the permit says, and where the request came from.
    pub(crate) fn add_identity(
        &self,
        request: &mut RequestHeader,
        permit: &Permit,
        client: Option<IpAddr>,
    ) -> pingora::Result<()> {
        if let Some(client) = client {
            request.insert_header("X-Forwarded-For", written(client)?)?;
        }
        request.insert_header("X-Forwarded-Proto", self.scheme.clone())?;
        if let Some(host) = request.headers.get(HOST).cloned() {
            request.insert_header("X-Forwarded-Host", host)?;
        }
        let Some((vtnr, level)) = permit.broker() else {
            return Ok(());
        };
        if let Some(FieldName(name)) = &self.vtnr {
            request.insert_header(name.clone(), written(vtnr)?)?;
        }
        if let Some(FieldName(name)) = &self.level {
            request.insert_header(name.clone(), HeaderValue::from_static(level_name(level)))?;
        }
        Ok(())
    }

    /// Makes a request that of a form that was kept: where it went, what it was, and how long.
    pub(crate) fn apply_held_form(
        &self,
        request: &mut RequestHeader,
        form: &HeldForm,
        length: usize,
    ) -> pingora::Result<()> {
        request.set_raw_path(form.target.as_str().as_bytes())?;
        for name in [TRANSFER_ENCODING, CONTENT_ENCODING, EXPECT, REFERER] {
            request.remove_header(&name);
        }
        if let Some(referer) = &form.referer {
            request.insert_header(REFERER, referer.as_str())?;
        }
        if let Some(origin) = &form.origin {
            request.insert_header(ORIGIN, origin.as_str())?;
        }
        request.insert_header(CONTENT_TYPE, form.content_type.as_str())?;
        request.insert_header(CONTENT_LENGTH, length)
    }

    /// Takes from an answer what would set our cookies, and what speaks of the connection to the calculator only.
    pub(crate) fn filter_response(&self, response: &mut ResponseHeader) -> pingora::Result<()> {
        response.remove_header("Keep-Alive");
        if !response
            .headers
            .get_all(SET_COOKIE)
            .iter()
            .any(|field| self.cookie_names.is_set_by(field))
        {
            return Ok(());
        }
        let theirs: Vec<HeaderValue> = response
            .headers
            .get_all(SET_COOKIE)
            .iter()
            .filter(|field| !self.cookie_names.is_set_by(field))
            .cloned()
            .collect();
        response.remove_header(&SET_COOKIE);
        theirs
            .into_iter()
            .try_for_each(|field| response.append_header(SET_COOKIE, field).map(|_| ()))
    }
}

/// Whether a cache that others use too may keep this answer: it says how long it stays fresh, and not that it is for one alone.
pub(crate) fn is_shared(response: &ResponseHeader) -> bool {
    let mut fields = response.headers.get_all(CACHE_CONTROL).iter().peekable();
    if fields.peek().is_none() {
        return response.headers.contains_key(EXPIRES);
    }
    let is_for_one = |directive: &[u8]| {
        let name = directive.trim_ascii();
        [&b"private"[..], b"no-store", b"no-cache"]
            .iter()
            .any(|own| name.eq_ignore_ascii_case(own))
    };
    !fields.any(|field| field.as_bytes().split(|byte| *byte == b',').any(is_for_one))
}

impl FieldName {
    fn new(name: &str) -> Option<Self> {
        let name = HeaderName::try_from(name).ok()?;
        Some(Self(Bytes::copy_from_slice(name.as_str().as_bytes())))
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Full { .. } => "full",
        Level::WithoutSubmission => "without-submission",
    }
}

/// An address or a number as a field's value, copied once. Neither is longer than 45 signs.
fn written(what: impl Display) -> pingora::Result<HeaderValue> {
    let mut text = Cursor::new([0; 48]);
    write!(text, "{what}").or_err(
        ErrorType::InternalError,
        "an address or number that is too long",
    )?;
    let length = usize::try_from(text.position()).unwrap_or(0);
    let text = text.get_ref().get(..length).unwrap_or_default();
    HeaderValue::from_bytes(text).or_err(ErrorType::InvalidHTTPHeader, "an address or number")
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::held_form::FormStage;
    use domain::policy::{Decision, decide};
    use domain::return_to::ReturnTo;
    use domain::route::{PortalServers, Route, Routes};
    use domain::session::{Session, SessionLimits};
    use domain::submission::{self, Body, Charset, LetterCase, PathAlphabet, SubmissionRules};
    use domain::time::Timestamp;
    use domain::vtnr::Vtnr;
    use std::time::Duration;

    fn header_policy() -> HeaderPolicy {
        let (own, scheme) = (
            ["X-VTNR", "X-VTNR-Level"],
            HeaderValue::from_static("https"),
        );
        let [vtnr, level] = own.map(FieldName::new);
        HeaderPolicy {
            cookie_names: CookieNames::Secure,
            vtnr,
            level,
            scheme,
            client_fields: ClientFields::new(own, &[], &[]),
        }
    }

    fn rules() -> SubmissionRules {
        let paths = ["/antrag/versand".to_owned()];
        SubmissionRules::new(paths, LetterCase::AsWritten, PathAlphabet::Ascii)
            .expect("sound rules")
    }

    fn request() -> submission::Request<'static> {
        submission::Request {
            method: "GET",
            target: b"/",
            body: Body::None,
            charset: Charset::of([]),
        }
    }

    fn permit() -> Permit {
        let now = Timestamp::from_millis(1);
        let session = Session::begin(
            Vtnr::parse("60/123/4567").expect("well-formed"),
            Level::WithoutSubmission,
            now,
        );
        let limits = SessionLimits {
            idle: Duration::from_secs(60),
            absolute: Duration::from_secs(60),
        };
        match decide(&request(), &rules(), Some(&session), &limits, now) {
            Decision::Allow(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    fn public() -> Permit {
        let routes = Routes::new("/ui/", &["/".to_owned()], &[], PortalServers::Calculator);
        match routes.of(&request(), &rules()) {
            Route::Public(route) => Permit::public(route),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_clients_own_identity_fields_do_not_arrive_in_any_spelling() {
        let mut request = RequestHeader::build("GET", b"/", None).expect("a request");
        let forged = [
            "X-VTNR",
            "x-vtnr",
            "X_VTNR",
            "x.vtnr",
            "X-Vtnr_Level",
            "X+VTNR",
            "x~vtnr!level",
            "X'Forwarded*For",
            "X-Forwarded-For",
            "x_forwarded_host",
            "X-Forwarded-Anything",
            "Forwarded",
            "X-Original-URL",
            "X_Rewrite_Url",
            "X-HTTP-Method-Override",
            "X-Real-IP",
            "X-SSL-Client-Cert",
        ];
        for name in forged {
            request.append_header(name, "forged").expect("a field");
        }
        request
            .append_header("X-Vtnr-Other", "kept")
            .expect("a field");
        request
            .append_header("Host", "rechner.example")
            .expect("a field");
        header_policy()
            .strip_client_fields(&mut request, None)
            .expect("strips");
        header_policy()
            .add_identity(
                &mut request,
                &permit(),
                Some("192.0.2.7".parse().expect("an address")),
            )
            .expect("injects");
        let all: Vec<_> = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII")))
            .collect();
        assert!(!all.iter().any(|(_, value)| *value == "forged"), "{all:?}");
        for (name, value) in [
            ("x-vtnr", "60/123/4567"),
            ("x-vtnr-level", "without-submission"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "rechner.example"),
            ("x-vtnr-other", "kept"),
        ] {
            assert_eq!(
                request.headers.get_all(name).iter().collect::<Vec<_>>(),
                [value],
                "{name}"
            );
        }
    }

    #[test]
    fn a_public_path_names_nobody() {
        let mut request = RequestHeader::build("GET", b"/", None).expect("a request");
        request.append_header("X-VTNR", "forged").expect("a field");
        header_policy()
            .strip_client_fields(&mut request, None)
            .expect("strips");
        header_policy()
            .add_identity(&mut request, &public(), None)
            .expect("injects");
        assert!(request.headers.get("x-vtnr").is_none());
    }

    #[test]
    fn a_kept_forms_own_particulars_take_the_place_of_the_presss() {
        let mut request = RequestHeader::build("POST", b"/kfz?m", None).expect("a request");
        let press = [
            ("Content-Type", "text/plain"),
            ("Content-Length", "0"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Encoding", "gzip"),
            ("Expect", "100-continue"),
            ("Referer", "https://rechner.example/ui/login/de/eingabe"),
            ("Origin", "https://rechner.example"),
            ("User-Agent", "kept"),
        ];
        for (name, value) in press {
            request.append_header(name, value).expect("a field");
        }
        let form = HeldForm {
            target: ReturnTo::parse("/kfz?x=1").expect("a path"),
            content_type: "application/json".into(),
            referer: None,
            origin: Some("https://vergleich.example".into()),
            owner: None,
            held_since: Timestamp::from_millis(1),
            stage: FormStage::Waits,
        };
        header_policy()
            .apply_held_form(&mut request, &form, 7)
            .expect("dressed");
        let fields: Vec<_> = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII")))
            .collect();
        let expected = [
            ("content-length", "7"),
            ("content-type", "application/json"),
            ("origin", "https://vergleich.example"),
            ("user-agent", "kept"),
        ];
        assert!(
            expected.iter().all(|field| fields.contains(field)) && fields.len() == expected.len(),
            "{fields:?}"
        );
        assert_eq!(request.raw_path(), b"/kfz?x=1");
    }

    #[test]
    fn the_calculators_answer_keeps_its_own_cookies_only() {
        let mut response = ResponseHeader::build(200, None).expect("an answer");
        for field in [
            "JSESSIONID=1; Path=/",
            "__Host-vtnr_session=planted; Path=/; Secure",
            "theme=dark",
        ] {
            response
                .append_header("Set-Cookie", field)
                .expect("a field");
        }
        response
            .append_header("Keep-Alive", "timeout=5")
            .expect("a field");
        header_policy()
            .filter_response(&mut response)
            .expect("cleans");
        let left: Vec<_> = response.headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(left, ["JSESSIONID=1; Path=/", "theme=dark"]);
        assert!(response.headers.get("keep-alive").is_none());
    }
}
