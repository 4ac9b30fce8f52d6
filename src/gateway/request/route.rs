//! What a request is for.

use domain::ids::FormId;
use domain::return_to::ReturnTo;
use http::HeaderMap;
use http::header::{ACCEPT, UPGRADE};
use percent_encoding::{AsciiSet, percent_encode};
use pingora::http::RequestHeader;
use pingora::{ErrorType, OrErr};

/// Escapes nothing of ASCII; what is beyond it is escaped always.
const BEYOND_ASCII: &AsciiSet = &AsciiSet::EMPTY;

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// A file of our pages.
    Asset(String),
    /// A page of the sign-in.
    Login(Page),
    /// A path that needs no sign-in.
    Public,
    /// A path of the insurer's portal, which needs none either.
    Portal,
    /// The calculator.
    Protected,
}

/// Our pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// The prefix itself.
    Start,
    SignIn,
    Tan,
    UnknownEmail,
    Password,
    SignOut,
    Form,
    Help,
    Certificate,
    Portal,
    Status,
    /// Nothing of ours.
    Unknown,
}

/// Paths and rules, from the configuration.
pub(crate) struct Routes {
    prefix: String,
    public: Vec<String>,
    portal: Vec<String>,
}

impl Routes {
    pub(crate) fn new(prefix: &str, public: &[String], portal: &[String]) -> Self {
        Self {
            prefix: prefix.to_owned(),
            public: public.to_vec(),
            portal: portal.to_vec(),
        }
    }

    /// What this request is for, judged by the bytes that would be forwarded.
    pub(crate) fn of(&self, request: &RequestHeader) -> Route {
        let path = request
            .raw_path()
            .split(|byte| *byte == b'?')
            .next()
            .unwrap_or_default();
        if let Some(page) = path.strip_prefix(self.prefix.as_bytes()) {
            return own(page);
        }
        if self
            .prefix
            .strip_suffix('/')
            .is_some_and(|prefix| path == prefix.as_bytes())
        {
            return Route::Login(Page::Start);
        }
        if self.public.iter().any(|public| path == public.as_bytes()) {
            return Route::Public;
        }
        if self
            .portal
            .iter()
            .any(|portal| path.starts_with(portal.as_bytes()))
            && is_plain(path)
        {
            return Route::Portal;
        }
        Route::Protected
    }

    /// Where one of our pages is, for a browser that wants to go to `return_to` afterwards.
    pub(crate) fn page(&self, name: &str, return_to: &str) -> String {
        if return_to == "/" {
            return format!("{}{name}", self.prefix);
        }
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("return_to", return_to)
            .finish();
        format!("{}{name}?{query}", self.prefix)
    }

    /// The page from which a form that was kept is sent.
    pub(crate) fn form_page(&self, id: FormId) -> String {
        format!("{}eingabe?nr={id}", self.prefix)
    }

    /// Whether this is the page from which a form that was kept is sent: the one page of ours that a sign-in may lead to.
    pub(crate) fn is_form_page(&self, path: &str) -> bool {
        let id = path
            .strip_prefix(&self.prefix)
            .and_then(|page| page.strip_prefix("eingabe?nr="));
        id.and_then(FormId::parse).is_some()
    }

    /// Whether a path is one of ours: a sign-in must not lead back into itself.
    pub(crate) fn is_own(&self, path: &str) -> bool {
        path.starts_with(&self.prefix) || self.prefix.strip_suffix('/') == path.split('?').next()
    }
}

/// Whether all servers take this path for the same one, so that what begins below a prefix stays there: no escapes, no parameters, no
/// empty or dotted segments, nothing but letters, digits and signs that mean nothing.
fn is_plain(path: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-._~!$'()*+,=:@".contains(byte);
    let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
    let mut is_sound = path.iter().all(is_plain);
    while let Some(segment) = segments.next() {
        is_sound &= !segment.ends_with(b".") && (!segment.is_empty() || segments.peek().is_none());
    }
    is_sound
}

/// What the mark of a form that is to be sent begins with. It stands at the end of the query and never reaches the calculator.
const MARK: &str = "vtnr-eingabe=";

/// Where a form is to be posted to be sent: where it went at first, so that what the calculator answers finds its images and links.
pub(crate) fn with_mark(target: &str, id: FormId) -> String {
    let separator = if target.contains('?') { '&' } else { '?' };
    format!("{target}{separator}{MARK}{id}")
}

/// The target without its mark, and which form the mark means; `None` if there is no mark.
pub(crate) fn without_mark(target: &[u8]) -> Option<(&str, FormId)> {
    // Every request is asked, so that only its end is looked at.
    let (before, end) =
        target.split_at_checked(target.len().checked_sub(MARK.len() + FormId::DIGITS)?)?;
    let id = FormId::parse(std::str::from_utf8(end.strip_prefix(MARK.as_bytes())?).ok()?)?;
    Some((
        std::str::from_utf8(before).ok()?.strip_suffix(['?', '&'])?,
        id,
    ))
}

/// Puts another target in the place of a request's own, which stays with its host.
pub(crate) fn retarget(request: &mut RequestHeader, target: &str) -> pingora::Result<()> {
    // Over HTTP/2 the host stands in the target.
    let (Some(scheme), Some(authority)) = (
        request.uri.scheme().cloned(),
        request.uri.authority().cloned(),
    ) else {
        return request.set_raw_path(target.as_bytes());
    };
    let uri = http::Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(target)
        .build();
    request.set_uri(uri.or_err(ErrorType::InvalidHTTPHeader, "a target without its mark")?);
    Ok(())
}

fn own(page: &[u8]) -> Route {
    if let Some(asset) = page.strip_prefix(b"assets/") {
        return Route::Asset(String::from_utf8_lossy(asset).into_owned());
    }
    Route::Login(match page {
        b"" => Page::Start,
        b"vtnr-login" => Page::SignIn,
        b"tan" => Page::Tan,
        b"unbekannte-e-mail" => Page::UnknownEmail,
        b"benutzerschluessel" => Page::Password,
        b"abmelden" => Page::SignOut,
        b"eingabe" => Page::Form,
        b"hilfe" => Page::Help,
        b"zertifikat" => Page::Certificate,
        b"portal" => Page::Portal,
        b"status" => Page::Status,
        _ => Page::Unknown,
    })
}

/// Where a request wants to go, for after a sign-in. Bytes beyond ASCII, which Internet Explorer sends as they are, are escaped.
pub(crate) fn requested_target(request: &RequestHeader) -> ReturnTo {
    let target: String = percent_encode(request.raw_path(), BEYOND_ASCII).collect();
    ReturnTo::parse(&target).unwrap_or_else(|_| ReturnTo::start())
}

/// Whether the answer may be a stream that is silent for long: a WebSocket, or server-sent events.
pub(crate) fn may_stay_silent(headers: &HeaderMap) -> bool {
    let asks_for_events = headers
        .get(ACCEPT)
        .is_some_and(|accept| accept.as_bytes().starts_with(b"text/event-stream"));
    headers.contains_key(UPGRADE) || asks_for_events
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes {
        Routes::new(
            "/ui/login/de/",
            &["/favicon.ico".to_owned()],
            &["/portal/".to_owned()],
        )
    }

    fn route(method: &str, target: &str) -> Route {
        routes().of(&RequestHeader::build(method, target.as_bytes(), None).expect("a request"))
    }

    #[test]
    fn our_paths_are_ours_and_all_others_are_protected() {
        let cases = [
            (
                "GET",
                "/ui/login/de/vtnr-login?return_to=%2Fx",
                Route::Login(Page::SignIn),
            ),
            ("GET", "/ui/login/de", Route::Login(Page::Start)),
            ("GET", "/ui/login/de/", Route::Login(Page::Start)),
            ("POST", "/ui/login/de/tan", Route::Login(Page::Tan)),
            (
                "POST",
                "/ui/login/de/benutzerschluessel?return_to=%2Fx",
                Route::Login(Page::Password),
            ),
            (
                "GET",
                "/ui/login/de/../../antrag",
                Route::Login(Page::Unknown),
            ),
            (
                "GET",
                "/ui/login/de/assets/a.css",
                Route::Asset("a.css".into()),
            ),
            ("GET", "/ui/login/", Route::Protected),
            ("GET", "/", Route::Protected),
            ("GET", "/favicon.ico?x", Route::Public),
            ("GET", "/favicon.ico/x", Route::Protected),
            ("POST", "/antrag/versand?x=/favicon.ico", Route::Protected),
            ("GET", "/x?/ui/login/de/tan", Route::Protected),
            ("POST", "/portal/anmelden?x=%2f..", Route::Portal),
            ("GET", "/portal/", Route::Portal),
            ("GET", "/portal/a/b.css", Route::Portal),
            ("GET", "/portal", Route::Protected),
            ("GET", "/Portal/", Route::Protected),
            ("GET", "/portal/../antrag", Route::Protected),
            ("GET", "/portal/..;/antrag", Route::Protected),
            ("GET", "/portal/;x/antrag", Route::Protected),
            ("GET", "/portal/%2e%2e/antrag", Route::Protected),
            ("GET", "/portal/..%2fantrag", Route::Protected),
            ("GET", "/portal/.../antrag", Route::Protected),
            ("GET", "/portal//antrag", Route::Protected),
            ("GET", "//portal/antrag", Route::Protected),
            ("GET", "/portal/a\\..\\..\\antrag", Route::Protected),
        ];
        for (method, target, expected) in cases {
            assert_eq!(route(method, target), expected, "{method} {target}");
        }
    }

    #[test]
    fn a_link_to_a_page_carries_where_the_broker_wants_to_go() {
        assert_eq!(routes().page("tan", "/"), "/ui/login/de/tan");
        assert_eq!(
            routes().page("tan", "/kfz?id=42&x=ä"),
            "/ui/login/de/tan?return_to=%2Fkfz%3Fid%3D42%26x%3D%C3%A4"
        );
        assert!(
            routes().is_own("/ui/login/de/tan")
                && routes().is_own("/ui/login/de")
                && !routes().is_own("/ui/login/den")
        );
    }

    #[test]
    fn a_deep_link_is_remembered_as_it_was_sent() {
        let requested_target = |target: &[u8]| {
            requested_target(&RequestHeader::build("GET", target, None).expect("a request"))
                .as_str()
                .to_owned()
        };
        for target in [
            "/kfz?pfad=C:\\dok\\a.pdf",
            "/kfz?a=|^'",
            "/kfz?a=%5C&b=\\",
            "/kfz?\\\\x",
        ] {
            assert_eq!(requested_target(target.as_bytes()), target);
        }
        assert_eq!(
            requested_target(b"/kfz?name=M\xfcller"),
            "/kfz?name=M%FCller"
        );
        assert_eq!(
            requested_target("/kfz?name=Müller".as_bytes()),
            "/kfz?name=M%C3%BCller"
        );
        assert_eq!(requested_target(b"/kfz\\x?y"), "/");
    }

    #[test]
    fn a_form_that_was_kept_is_sent_to_where_it_went_at_first() {
        let id = FormId::from_bits(0xab);
        for (target, marked) in [
            ("/kfz", "/kfz?vtnr-eingabe=00000000000000ab"),
            ("/kfz?x=1", "/kfz?x=1&vtnr-eingabe=00000000000000ab"),
            ("/kfz?", "/kfz?&vtnr-eingabe=00000000000000ab"),
        ] {
            assert_eq!(with_mark(target, id), marked);
            assert_eq!(
                without_mark(marked.as_bytes()),
                Some((target, id)),
                "{marked}"
            );
        }
        for other in [
            "/kfz?vtnr-eingabe=1",
            "/kfz?xvtnr-eingabe=00000000000000ab",
            "/kfz?vtnr-eingabe=00000000000000ab&x=1",
        ] {
            assert_eq!(without_mark(other.as_bytes()), None, "{other}");
        }
        assert!(
            routes().is_form_page(&routes().form_page(id))
                && !routes().is_form_page("/ui/login/de/eingabe?nr=x")
        );
    }

    #[test]
    fn another_target_stays_with_the_host() {
        let mut request =
            RequestHeader::build("POST", b"/kfz?x=%C3%BC&m", None).expect("a request");
        retarget(&mut request, "/kfz?x=%C3%BC").expect("a target");
        assert_eq!(request.raw_path(), b"/kfz?x=%C3%BC");
        request.set_uri("https://rechner.example/kfz?m".parse().expect("a URI"));
        retarget(&mut request, "/kfz").expect("a target");
        assert_eq!(
            (
                request.raw_path(),
                request.uri.authority().map(|host| host.as_str())
            ),
            (&b"/kfz"[..], Some("rechner.example"))
        );
    }
}
