//! Scopes of the calculator's cookies: where a cookie is set, and how it is deleted there.

use crate::gateway::request::cookies::CookieNames;
use cookie::Cookie;
use cookie::time::OffsetDateTime;
use domain::application_session::CookieScope;
use domain::time::Timestamp;
use pingora::http::RequestHeader;
use std::borrow::Cow;

/// A cookie of unknown scope is deleted in at most this many folders of the request's path.
const MAX_FOLDERS: usize = 8;

/// Where a `Set-Cookie` field sets its cookie; none if it deletes it.
pub(crate) fn scope_of(
    field: &[u8],
    request: &RequestHeader,
    now: Timestamp,
) -> Option<CookieScope> {
    let cookie = Cookie::parse(std::str::from_utf8(field).ok()?).ok()?;
    let is_past = |ends: OffsetDateTime| {
        u64::try_from(ends.unix_timestamp()).is_ok_and(|ends| ends * 1_000 <= now.as_millis())
            || ends.unix_timestamp() < 0
    };
    let deletes = match cookie.max_age() {
        Some(age) => age.whole_seconds() <= 0,
        None => cookie.expires_datetime().is_some_and(is_past),
    };
    let path = cookie
        .path()
        .filter(|path| path.starts_with('/'))
        .map_or_else(|| default_path(request), str::to_owned);
    let scope = CookieScope {
        name: cookie.name().to_owned(),
        path: Some(path),
        domain: cookie
            .domain()
            .filter(|domain| !domain.is_empty())
            .map(str::to_owned),
        partitioned: cookie.partitioned().unwrap_or_default(),
    };
    (!deletes).then_some(scope)
}

/// Where browsers put a cookie without a path (RFC 6265, 5.1.4).
pub(crate) fn default_path(request: &RequestHeader) -> String {
    let path = request
        .raw_path()
        .split(|byte| *byte == b'?')
        .next()
        .unwrap_or_default();
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    let folder = path
        .get(..end)
        .filter(|folder| !folder.is_empty())
        .unwrap_or(b"/");
    String::from_utf8_lossy(folder).into_owned()
}

pub(crate) fn scope(name: &str, path: &str) -> CookieScope {
    CookieScope {
        name: name.to_owned(),
        path: Some(path.to_owned()),
        domain: None,
        partitioned: false,
    }
}

/// The folders in which a cookie that came with a request for this path may have been set.
pub(crate) fn folders(name: &str, target: &[u8]) -> Vec<CookieScope> {
    let path = target
        .split(|byte| *byte == b'?')
        .next()
        .unwrap_or_default();
    let path = String::from_utf8_lossy(path);
    let slashes = path
        .match_indices('/')
        .map(|(at, _)| at)
        .skip(1)
        .take(MAX_FOLDERS);
    let folders = slashes.filter_map(|at| path.get(..at)).map(Cow::Borrowed);
    std::iter::once(Cow::Borrowed("/"))
        .chain(folders)
        .map(|folder| scope(name, &folder))
        .collect()
}

pub(crate) fn deletion(scope: &CookieScope, cookie_names: CookieNames) -> String {
    let attribute = |name: &str, value: &Option<String>| {
        value
            .as_ref()
            .map(|value| format!("; {name}={value}"))
            .unwrap_or_default()
    };
    let path = attribute("Path", &scope.path);
    let domain = attribute("Domain", &scope.domain);
    let secure = if cookie_names == CookieNames::Secure {
        "; Secure"
    } else {
        ""
    };
    let partitioned = if scope.partitioned {
        "; Partitioned"
    } else {
        ""
    };
    format!(
        "{}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{path}{domain}{secure}{partitioned}",
        scope.name
    )
}
