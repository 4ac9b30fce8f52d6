//! Links to the gateway's own pages, and targets of requests that are changed on their way.

use domain::ids::FormId;
use domain::return_to::ReturnTo;
use http::HeaderMap;
use http::header::{ACCEPT, UPGRADE};
use percent_encoding::{AsciiSet, percent_encode};
use pingora::http::RequestHeader;
use pingora::{ErrorType, OrErr};

/// Escapes nothing of ASCII; what is beyond it is escaped always.
const BEYOND_ASCII: &AsciiSet = &AsciiSet::EMPTY;

/// Addresses of the gateway's own pages.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    prefix: String,
}

impl Links {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
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

    /// Where a browser wants to go after the page with this target; the start page if the target names nothing, another host,
    /// or the sign-in itself.
    pub(crate) fn return_to(&self, target: &[u8]) -> ReturnTo {
        let query = target
            .splitn(2, |byte| *byte == b'?')
            .nth(1)
            .unwrap_or_default();
        form_urlencoded::parse(query)
            .find(|(name, _)| name == "return_to")
            .and_then(|(_, path)| ReturnTo::parse(&path).ok())
            .filter(|path| !self.is_own(path.as_str()) || self.is_form_page(path.as_str()))
            .unwrap_or_else(ReturnTo::start)
    }

    /// Whether a path is one of ours: a sign-in must not lead back into itself.
    pub(crate) fn is_own(&self, path: &str) -> bool {
        path.starts_with(&self.prefix) || self.prefix.strip_suffix('/') == path.split('?').next()
    }
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

    fn links() -> Links {
        Links::new("/ui/login/de/")
    }

    #[test]
    fn a_link_to_a_page_carries_where_the_broker_wants_to_go() {
        assert_eq!(links().page("tan", "/"), "/ui/login/de/tan");
        assert_eq!(
            links().page("tan", "/kfz?id=42&x=ä"),
            "/ui/login/de/tan?return_to=%2Fkfz%3Fid%3D42%26x%3D%C3%A4"
        );
        assert!(
            links().is_own("/ui/login/de/tan")
                && links().is_own("/ui/login/de")
                && !links().is_own("/ui/login/den")
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
            links().is_form_page(&links().form_page(id))
                && !links().is_form_page("/ui/login/de/eingabe?nr=x")
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
