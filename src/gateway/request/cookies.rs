//! The gateway's own cookies: reading them from every `Cookie` field, setting them, keeping them from the calculator.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cookie::{Cookie, SameSite};
use domain::device::Device;
use domain::ids::{
    BrowserToken, DeviceToken, FlowToken, FormId, FormToken, SessionToken, TOKEN_BYTES,
};
use domain::time::Timestamp;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use std::borrow::Cow;
use std::time::Duration;

/// The names of the cookies, which depend on the scheme (product rule: `__Host-` over https).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CookieNames {
    Secure,
    /// Over plain http, on loopback.
    Plain,
}

/// A cookie of ours came more than once, with different values. No browser sends that; what to believe is unclear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous;

/// What our cookies of a request hold.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestCookies {
    pub(crate) session: Option<SessionToken>,
    pub(crate) browser: Option<BrowserToken>,
    pub(crate) flow: Option<FlowToken>,
    pub(crate) device: Option<DeviceToken>,
    pub(crate) form_token: Option<FormToken>,
    /// As of when the offline token is, by its own words.
    pub(crate) offline_token_as_of: Option<Timestamp>,
}

const OURS: [&[u8]; 8] = [
    b"vtnr_session",
    b"vtnr_trust",
    b"vtnr_flow",
    b"vtnr_device",
    b"vtnr_parked",
    b"vtnr_ticket",
    b"vtnr_left",
    b"vtnr_left_portal",
];

/// What the names of kept forms' own cookies begin with.
const APART: &[u8] = b"vtnr_parked_";

const LONGEST_TOKEN: usize = TOKEN_BYTES.div_ceil(3) * 4;

impl CookieNames {
    pub(crate) const fn session(self) -> &'static str {
        match self {
            Self::Secure => "__Host-vtnr_session",
            Self::Plain => "vtnr_session",
        }
    }

    pub(crate) const fn browser(self) -> &'static str {
        match self {
            Self::Secure => "__Host-vtnr_trust",
            Self::Plain => "vtnr_trust",
        }
    }

    pub(crate) const fn flow(self) -> &'static str {
        match self {
            Self::Secure => "__Host-vtnr_flow",
            Self::Plain => "vtnr_flow",
        }
    }

    pub(crate) const fn device(self) -> &'static str {
        match self {
            Self::Secure => "__Host-vtnr_device",
            Self::Plain => "vtnr_device",
        }
    }

    pub(crate) const fn form_token(self) -> &'static str {
        match self {
            Self::Secure => "__Host-vtnr_parked",
            Self::Plain => "vtnr_parked",
        }
    }

    pub(crate) const fn offline_token(self) -> &'static str {
        match self {
            Self::Secure => "__Host-vtnr_ticket",
            Self::Plain => "vtnr_ticket",
        }
    }

    /// The certificate that the broker signed out of.
    pub(crate) const fn left(self) -> &'static str {
        match self {
            Self::Secure => "__Host-vtnr_left",
            Self::Plain => "vtnr_left",
        }
    }

    /// The portal's cookies that the broker signed out of. Hosts that differ by their port only share their cookies, hence another name.
    pub(crate) const fn left_portal(self) -> &'static str {
        match self {
            Self::Secure => "__Host-vtnr_left_portal",
            Self::Plain => "vtnr_left_portal",
        }
    }

    /// Reads our cookies from all `Cookie` fields; browsers split the field on HTTP/2.
    pub(crate) fn read(self, headers: &HeaderMap) -> Result<RequestCookies, Ambiguous> {
        let mut session = None;
        let mut browser = None;
        let mut flow = None;
        let mut device = None;
        let mut form_token = None;
        let mut offline_token = None;
        for (name, value) in pairs(headers) {
            let place = match name {
                name if name == self.session().as_bytes() => &mut session,
                name if name == self.browser().as_bytes() => &mut browser,
                name if name == self.flow().as_bytes() => &mut flow,
                name if name == self.device().as_bytes() => &mut device,
                name if name == self.form_token().as_bytes() => &mut form_token,
                name if name == self.offline_token().as_bytes() => &mut offline_token,
                _ => continue,
            };
            if place.is_some_and(|before| before != value) {
                return Err(Ambiguous);
            }
            *place = Some(value);
        }
        Ok(RequestCookies {
            session: session.and_then(token).map(SessionToken::from_bytes),
            browser: browser.and_then(token).map(BrowserToken::from_bytes),
            flow: flow.and_then(token).map(FlowToken::from_bytes),
            device: device.and_then(token).map(DeviceToken::from_bytes),
            form_token: form_token.and_then(token).map(FormToken::from_bytes),
            offline_token_as_of: offline_token.and_then(as_of),
        })
    }

    /// Like [`read`](Self::read), for a request about one form, whose token may lie in a cookie of its own.
    pub(crate) fn read_for(
        self,
        form: FormId,
        headers: &HeaderMap,
    ) -> Result<RequestCookies, Ambiguous> {
        let held = self.read(headers)?;
        let name = self.form_token_of(form);
        let own = pairs(headers)
            .find(|(found, _)| *found == name.as_bytes())
            .and_then(|(_, value)| token(value));
        Ok(RequestCookies {
            form_token: own.map(FormToken::from_bytes).or(held.form_token),
            ..held
        })
    }

    /// The names of the cookies that hold the token of one form each.
    pub(crate) fn apart(self, headers: &HeaderMap) -> Vec<String> {
        let id = |name: &[u8]| {
            let digits = name
                .strip_prefix(self.form_token().as_bytes())?
                .strip_prefix(b"_")?;
            FormId::parse(std::str::from_utf8(digits).ok()?)
        };
        pairs(headers)
            .filter_map(|(name, _)| id(name))
            .map(|form| self.form_token_of(form))
            .collect()
    }

    fn form_token_of(self, form: FormId) -> String {
        format!("{}_{form}", self.form_token())
    }

    /// The offline token, sealed.
    pub(crate) fn read_offline_token(self, headers: &HeaderMap) -> Option<Vec<u8>> {
        let (_, value) =
            pairs(headers).find(|(name, _)| *name == self.offline_token().as_bytes())?;
        let at = value.iter().position(|byte| *byte == b'.')?;
        URL_SAFE_NO_PAD.decode(value.get(at + 1..)?).ok()
    }

    /// The `Cookie` field as the calculator gets it: one, without ours and what is withheld. `None` if nothing is left.
    pub(crate) fn for_calculator<'h>(
        self,
        headers: &'h HeaderMap,
        is_withheld: impl Fn(&[u8]) -> bool,
    ) -> Option<Cow<'h, [u8]>> {
        let mut fields = headers.get_all(COOKIE).iter();
        let first = fields.next()?;
        let more = fields.next().is_some();
        let goes_up =
            |crumb: &&[u8]| !self.owns(name_and_value(crumb).0) && !is_withheld(crumb.trim_ascii());
        if !more && crumbs(headers).all(|crumb| goes_up(&crumb)) {
            return Some(Cow::Borrowed(first.as_bytes()));
        }
        let mut joined = Vec::with_capacity(
            headers
                .get_all(COOKIE)
                .iter()
                .map(|field| field.len() + 2)
                .sum(),
        );
        for field in headers.get_all(COOKIE) {
            for crumb in field.as_bytes().split(|byte| *byte == b';').filter(goes_up) {
                let crumb = crumb.trim_ascii_start();
                if !joined.is_empty() {
                    joined.extend_from_slice(b"; ");
                }
                joined.extend_from_slice(crumb);
            }
        }
        (!joined.is_empty()).then_some(Cow::Owned(joined))
    }

    /// Whether this cookie is ours, whichever of the two names it goes by.
    pub(crate) fn owns(self, name: &[u8]) -> bool {
        let bare = name
            .strip_prefix(b"__Host-")
            .or_else(|| name.strip_prefix(b"__Secure-"))
            .unwrap_or(name);
        OURS.contains(&bare) || bare.starts_with(APART)
    }

    /// Whether a `Set-Cookie` field of the calculator would set a cookie of ours.
    pub(crate) fn is_set_by(self, field: &HeaderValue) -> bool {
        let mut parts = field
            .as_bytes()
            .split(|byte| matches!(byte, b'=' | b';'))
            .map(<[u8]>::trim_ascii);
        // Browsers send a cookie without a name as its value alone, which then reads like one with a name.
        parts
            .find(|part| !part.is_empty())
            .is_some_and(|name| self.owns(name))
    }

    pub(crate) fn set_session(self, token: &SessionToken) -> String {
        self.set(self.session(), token.reveal(), None)
    }

    pub(crate) fn set_browser(self, token: &BrowserToken, lives: Duration) -> String {
        self.set(self.browser(), token.reveal(), Some(lives))
    }

    pub(crate) fn set_flow(self, token: &FlowToken) -> String {
        self.set(self.flow(), token.reveal(), None)
    }

    pub(crate) fn set_device(self, token: &DeviceToken) -> String {
        self.set(self.device(), token.reveal(), Some(Device::LIFETIME))
    }

    pub(crate) fn set_form_token(self, token: &FormToken, lives: Duration) -> String {
        self.set(self.form_token(), token.reveal(), Some(lives))
    }

    pub(crate) fn set_form_token_of(
        self,
        form: FormId,
        token: &FormToken,
        lives: Duration,
    ) -> String {
        self.set(self.form_token_of(form), token.reveal(), Some(lives))
    }

    pub(crate) fn set_offline_token(self, as_of: Timestamp, sealed: &[u8]) -> String {
        let value = format!("{}.{}", as_of.as_millis(), URL_SAFE_NO_PAD.encode(sealed));
        self.build(self.offline_token(), value).build().to_string()
    }

    /// The broker has signed out of the certificate with this digest.
    pub(crate) fn set_left(self, certificate: &[u8; TOKEN_BYTES]) -> String {
        self.set(self.left(), certificate, None)
    }

    /// Whether the broker has signed out of the certificate with this digest, and not in again.
    pub(crate) fn has_left(self, headers: &HeaderMap, certificate: &[u8; TOKEN_BYTES]) -> bool {
        holds(headers, self.left(), certificate)
    }

    /// The broker has signed out of the portal's cookies with this digest.
    pub(crate) fn set_left_portal(self, claim: &[u8; TOKEN_BYTES]) -> String {
        self.set(self.left_portal(), claim, None)
    }

    /// Whether the broker has signed out of the portal's cookies with this digest, and not in again.
    pub(crate) fn has_left_portal(self, headers: &HeaderMap, claim: &[u8; TOKEN_BYTES]) -> bool {
        holds(headers, self.left_portal(), claim)
    }

    pub(crate) fn clear(self, name: impl Into<Cow<'static, str>>) -> String {
        self.build(name, String::new())
            .max_age(cookie::time::Duration::ZERO)
            .build()
            .to_string()
    }

    fn set(
        self,
        name: impl Into<Cow<'static, str>>,
        token: &[u8; TOKEN_BYTES],
        lives: Option<Duration>,
    ) -> String {
        let cookie = self.build(name, URL_SAFE_NO_PAD.encode(token));
        let lives = lives.and_then(|lives| cookie::time::Duration::try_from(lives).ok());
        match lives {
            Some(lives) => cookie.max_age(lives).build().to_string(),
            None => cookie.build().to_string(),
        }
    }

    fn build(
        self,
        name: impl Into<Cow<'static, str>>,
        value: String,
    ) -> cookie::CookieBuilder<'static> {
        Cookie::build((name.into(), value))
            .path("/")
            .http_only(true)
            .secure(self == Self::Secure)
            .same_site(SameSite::Lax)
    }
}

/// The cookies of all `Cookie` fields, each with its value.
pub(crate) fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    crumbs(headers).map(name_and_value)
}

/// The cookies of all `Cookie` fields as they came, without the blanks around.
pub(crate) fn crumbs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
}

fn holds(headers: &HeaderMap, cookie: &str, digest: &[u8; TOKEN_BYTES]) -> bool {
    pairs(headers)
        .any(|(name, value)| name == cookie.as_bytes() && token(value).as_ref() == Some(digest))
}

/// A cookie taken apart, without the blanks around.
pub(crate) fn name_and_value(crumb: &[u8]) -> (&[u8], &[u8]) {
    let at = crumb
        .iter()
        .position(|byte| *byte == b'=')
        .unwrap_or(crumb.len());
    let (name, value) = crumb.split_at(at);
    (
        name.trim_ascii(),
        value.get(1..).unwrap_or_default().trim_ascii(),
    )
}

fn as_of(offline_token: &[u8]) -> Option<Timestamp> {
    let digits = offline_token.split(|byte| *byte == b'.').next()?;
    std::str::from_utf8(digits)
        .ok()?
        .parse()
        .ok()
        .map(Timestamp::from_millis)
}

fn token(value: &[u8]) -> Option<[u8; TOKEN_BYTES]> {
    let mut buffer = [0; LONGEST_TOKEN];
    let length = URL_SAFE_NO_PAD.decode_slice(value, &mut buffer).ok()?;
    buffer.get(..length)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(fields: &[&str]) -> HeaderMap {
        fields
            .iter()
            .map(|field| (COOKIE, HeaderValue::from_str(field).expect("a field value")))
            .collect()
    }

    fn encoded(byte: u8) -> String {
        URL_SAFE_NO_PAD.encode([byte; TOKEN_BYTES])
    }

    #[test]
    fn our_cookies_are_found_in_every_field_and_crumb() {
        let (one, two) = (encoded(1), encoded(2));
        let fields = [
            format!("a=b; vtnr_session={one}"),
            format!("x; vtnr_flow={two};"),
        ];
        let held = CookieNames::Plain
            .read(&headers(&fields.each_ref().map(String::as_str)))
            .expect("unambiguous");
        assert_eq!(held.session, Some(SessionToken::from_bytes([1; 32])));
        assert_eq!(held.flow, Some(FlowToken::from_bytes([2; 32])));
        assert_eq!(held.browser, None);
        let secure = CookieNames::Secure
            .read(&headers(&fields.each_ref().map(String::as_str)))
            .expect("unambiguous");
        assert_eq!(
            secure.session, None,
            "over https only the __Host- name counts"
        );
    }

    #[test]
    fn what_is_no_token_is_no_cookie() {
        let long = "A".repeat(5_000);
        for value in ["", "x", "=", "%00", long.as_str(), &encoded(1)[1..]] {
            let held = CookieNames::Plain
                .read(&headers(&[&format!("vtnr_session={value}")]))
                .expect("unambiguous");
            assert_eq!(held.session, None, "{value}");
        }
    }

    #[test]
    fn two_different_values_for_one_cookie_of_ours_are_refused() {
        let (one, two) = (encoded(1), encoded(2));
        let twice = |a: &str, b: &str| {
            CookieNames::Plain
                .read(&headers(&[&format!("vtnr_session={a}; vtnr_session={b}")]))
                .err()
        };
        assert_eq!(twice(&one, &two), Some(Ambiguous));
        assert_eq!(twice(&one, &one), None);
    }

    #[test]
    fn the_calculator_gets_its_own_cookies_in_one_field() {
        let seen = |fields: &[&str]| {
            CookieNames::Secure
                .for_calculator(&headers(fields), |_| false)
                .map(|field| String::from_utf8(field.into_owned()).expect("ASCII"))
        };
        assert_eq!(
            seen(&["a=1; b=\"2 3\""]).as_deref(),
            Some("a=1; b=\"2 3\""),
            "byte for byte where nothing is ours"
        );
        assert_eq!(seen(&["a=1;b=2", "c=3"]).as_deref(), Some("a=1; b=2; c=3"));
        assert_eq!(
            seen(&["a=1; __Host-vtnr_session=x; b=2"]).as_deref(),
            Some("a=1; b=2")
        );
        assert_eq!(seen(&["vtnr_flow=x; __Secure-vtnr_trust=y"]), None);
        assert_eq!(
            seen(&["__Host-vtnr_left=x; __Host-vtnr_left_portal=y; vtnr_left_portal=z"]),
            None
        );
        assert_eq!(
            seen(&["vtnr_sessions=x"]).as_deref(),
            Some("vtnr_sessions=x")
        );
        assert_eq!(
            seen(&["a=1; __Host-vtnr_parked_00000000000000ab=x; vtnr_parked_y=z; vtnr_parkedx=2"])
                .as_deref(),
            Some("a=1; vtnr_parkedx=2")
        );
        assert_eq!(seen(&[]), None);
    }

    proptest! {
        #[test]
        fn whatever_a_client_sends_as_cookies_ours_do_not_go_on(field in "[a-z_=; \\x80-\\xff\"]{0,40}(__Host-)?vtnr_(session|trust|flow|device)[=; a-z]{0,20}") {
            let Ok(value) = HeaderValue::from_bytes(field.as_bytes()) else { return Ok(()) };
            let mut headers = HeaderMap::new();
            headers.append(COOKIE, value);
            let _ = CookieNames::Secure.read(&headers);
            if let Some(left) = CookieNames::Secure.for_calculator(&headers, |_| false) {
                let names = left.split(|byte| *byte == b';').map(|crumb| name_and_value(crumb).0);
                prop_assert!(names.into_iter().all(|name| !CookieNames::Secure.owns(name)));
            }
        }
    }

    #[test]
    fn the_calculator_cannot_set_our_cookies() {
        for field in [
            "vtnr_session=x; Path=/",
            "=__Host-vtnr_session=x",
            " = vtnr_flow=x",
            " __Host-vtnr_trust =x",
            "vtnr_flow",
            "__Host-vtnr_session=; Max-Age=0",
        ] {
            assert!(
                CookieNames::Secure.is_set_by(&HeaderValue::from_static(field)),
                "{field}"
            );
        }
        assert!(
            !CookieNames::Secure.is_set_by(&HeaderValue::from_static("JSESSIONID=vtnr_session=x"))
        );
    }

    #[test]
    fn a_form_of_another_site_has_a_cookie_of_its_own() {
        let (form, other) = (FormId::from_bits(0xab), FormId::from_bits(0xac));
        let cookie = CookieNames::Secure.set_form_token_of(
            form,
            &FormToken::from_bytes([3; 32]),
            Duration::from_secs(900),
        );
        let (pair, attributes) = cookie.split_once("; ").expect("attributes");
        assert_eq!(
            attributes,
            "HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=900"
        );
        let headers = headers(&[&format!(
            "__Host-vtnr_parked={}; {pair}; __Host-vtnr_parked_x=y",
            encoded(4)
        )]);
        let token = |form| {
            CookieNames::Secure
                .read_for(form, &headers)
                .expect("unambiguous")
                .form_token
        };
        assert_eq!(token(form), Some(FormToken::from_bytes([3; 32])));
        assert_eq!(token(other), Some(FormToken::from_bytes([4; 32])));
        assert_eq!(
            CookieNames::Secure.apart(&headers),
            ["__Host-vtnr_parked_00000000000000ab"]
        );
    }

    #[test]
    fn an_offline_token_comes_back_as_it_was_given() {
        let cookie = CookieNames::Secure
            .set_offline_token(Timestamp::from_millis(1_700_000_000_123), b"sealed");
        let (pair, attributes) = cookie.split_once("; ").expect("attributes");
        assert_eq!(attributes, "HttpOnly; SameSite=Lax; Secure; Path=/");
        let headers = headers(&["a=b", pair]);
        assert_eq!(
            CookieNames::Secure.read_offline_token(&headers).as_deref(),
            Some(&b"sealed"[..])
        );
        let held = CookieNames::Secure.read(&headers).expect("unambiguous");
        assert_eq!(
            held.offline_token_as_of,
            Some(Timestamp::from_millis(1_700_000_000_123))
        );
    }

    #[test]
    fn what_is_no_offline_token_is_none() {
        for value in [
            "",
            ".",
            "x.y",
            "1700000000123",
            "99999999999999999999.c2VhbGVk!",
            "-1.?",
        ] {
            let headers = headers(&[&format!("vtnr_ticket={value}")]);
            assert_eq!(
                CookieNames::Plain
                    .read_offline_token(&headers)
                    .filter(|offline_token| !offline_token.is_empty()),
                None,
                "{value}"
            );
        }
    }

    #[test]
    fn cookies_are_set_as_the_prefix_demands() {
        let cookie = CookieNames::Secure.set_session(&SessionToken::from_bytes([0; 32]));
        assert_eq!(
            cookie,
            format!(
                "__Host-vtnr_session={}; HttpOnly; SameSite=Lax; Secure; Path=/",
                encoded(0)
            )
        );
        let cookie = CookieNames::Plain.set_browser(
            &BrowserToken::from_bytes([0; 32]),
            Duration::from_secs(30 * 86_400),
        );
        assert_eq!(
            cookie,
            format!(
                "vtnr_trust={}; HttpOnly; SameSite=Lax; Path=/; Max-Age=2592000",
                encoded(0)
            )
        );
        let cookie = CookieNames::Secure.set_device(&DeviceToken::from_bytes([0; 32]));
        assert_eq!(
            cookie,
            format!(
                "__Host-vtnr_device={}; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=15552000",
                encoded(0)
            )
        );
        assert_eq!(
            CookieNames::Secure.clear("__Host-vtnr_flow"),
            "__Host-vtnr_flow=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0"
        );
    }
}
