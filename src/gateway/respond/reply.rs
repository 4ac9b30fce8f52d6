//! Answers of the gateway's own.

use bytes::Bytes;
use http::StatusCode;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, EXPECT, HeaderName, LOCATION, RETRY_AFTER, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY, WWW_AUTHENTICATE,
};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use std::time::Duration;

/// Our pages' policy: nothing but our own files, no script in a page, no form to elsewhere, no foreign frame around.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
                                       form-action 'self'; base-uri 'none'; frame-ancestors 'self'";
/// An unread body is read this far and this long before the answer, so that the connection can be used again and the client
/// reads the answer instead of a reset.
const MAX_UNREAD: usize = 256 * 1_024;
const UNREAD_TIME: Duration = Duration::from_secs(5);

/// An answer: status, fields, body.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    fields: Vec<(HeaderName, String)>,
    body: Bytes,
}

impl Reply {
    /// A page of ours.
    pub(crate) fn page(status: StatusCode, html: String) -> Self {
        let mut fields = vec![
            (CONTENT_TYPE, "text/html; charset=utf-8".into()),
            (CACHE_CONTROL, "no-store".into()),
            (
                HeaderName::from_static("content-security-policy"),
                CONTENT_SECURITY_POLICY.into(),
            ),
            (
                HeaderName::from_static("x-frame-options"),
                "SAMEORIGIN".into(),
            ),
            (
                HeaderName::from_static("referrer-policy"),
                "same-origin".into(),
            ),
            (
                HeaderName::from_static("x-content-type-options"),
                "nosniff".into(),
            ),
        ];
        fields.extend(challenge(status));
        Self {
            status,
            fields,
            body: html.into(),
        }
    }

    /// A file of our pages. Its name changes with its content, so that browsers may keep it.
    pub(crate) fn asset(content_type: &'static str, body: Bytes) -> Self {
        let fields = vec![
            (CONTENT_TYPE, content_type.into()),
            (CACHE_CONTROL, "public, max-age=31536000, immutable".into()),
            (
                HeaderName::from_static("x-content-type-options"),
                "nosniff".into(),
            ),
        ];
        Self {
            status: StatusCode::OK,
            fields,
            body,
        }
    }

    /// On to another page, with GET. `location` is a path on this host; a fragment of the address stays (RFC 9110, 10.2.2).
    pub(crate) fn see_other(location: &str) -> Self {
        let fields = vec![
            (LOCATION, location.into()),
            (CACHE_CONTROL, "no-store".into()),
        ];
        Self {
            status: StatusCode::SEE_OTHER,
            fields,
            body: Bytes::new(),
        }
    }

    /// A small JSON text.
    pub(crate) fn json(body: String) -> Self {
        let fields = vec![
            (CONTENT_TYPE, "application/json".into()),
            (CACHE_CONTROL, "no-store".into()),
            (
                HeaderName::from_static("x-content-type-options"),
                "nosniff".into(),
            ),
        ];
        Self {
            status: StatusCode::OK,
            fields,
            body: body.into(),
        }
    }

    /// For what is not a navigation (RFC 9457). `title` is one of ours and needs no escaping.
    pub(crate) fn problem(status: StatusCode, title: &'static str) -> Self {
        let body = format!(
            r#"{{"type":"about:blank","title":"{title}","status":{}}}"#,
            status.as_u16()
        );
        let mut fields = vec![
            (CONTENT_TYPE, "application/problem+json".into()),
            (CACHE_CONTROL, "no-store".into()),
            (
                HeaderName::from_static("x-content-type-options"),
                "nosniff".into(),
            ),
        ];
        fields.extend(challenge(status));
        Self {
            status,
            fields,
            body: body.into(),
        }
    }

    /// Adds a cookie that is set or cleared.
    pub(crate) fn with_cookie(mut self, cookie: String) -> Self {
        self.fields.push((SET_COOKIE, cookie));
        self
    }

    /// Leads a person on to this path of this host at once; a program keeps the status. Unlike an element of the
    /// page, the field is there whatever templates the operator has.
    pub(crate) fn refresh(mut self, location: &str) -> Self {
        self.fields.push((
            HeaderName::from_static("refresh"),
            format!("0;url={location}"),
        ));
        self
    }

    /// Adds the time after which a retry makes sense, in whole seconds.
    pub(crate) fn retry_after(mut self, after: Duration) -> Self {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        self.fields.push((RETRY_AFTER, seconds.max(1).to_string()));
        self
    }

    /// Adds the methods that are allowed.
    pub(crate) fn allow(mut self, methods: &'static str) -> Self {
        self.fields.push((ALLOW, methods.into()));
        self
    }

    /// Has the browser forget what it keeps of this site, except cookies, which are cleared one by one.
    pub(crate) fn clear_site_data(mut self) -> Self {
        self.fields.push((
            HeaderName::from_static("clear-site-data"),
            "\"cache\", \"storage\"".into(),
        ));
        self
    }

    /// Has browsers use https only for a year (RFC 6797).
    pub(crate) fn https_only(mut self) -> Self {
        self.fields
            .push((STRICT_TRANSPORT_SECURITY, "max-age=31536000".into()));
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Sends it. The connection can be used again if the request's body was read to its end, for which there is [`discard_body`].
    pub(crate) async fn send(self, session: &mut Session) -> pingora::Result<()> {
        let is_head = session.req_header().method == http::Method::HEAD;
        let mut header = ResponseHeader::build(self.status, Some(self.fields.len() + 1))?;
        for (name, value) in self.fields {
            header.append_header(name, value)?;
        }
        header.set_content_length(self.body.len())?;
        let has_body = !is_head && !self.body.is_empty();
        // A client that does not take its answer is no failure of ours.
        session
            .write_response_header(Box::new(header), !has_body)
            .await
            .map_err(|error| error.into_down())?;
        if has_body {
            session
                .write_response_body(Some(self.body), true)
                .await
                .map_err(|error| error.into_down())?;
        }
        Ok(())
    }
}

/// RFC 9110, 15.5.2 asks for a challenge; no browser knows this one, so that none shows a dialog.
fn challenge(status: StatusCode) -> Option<(HeaderName, String)> {
    (status == StatusCode::UNAUTHORIZED).then(|| (WWW_AUTHENTICATE, "Session".into()))
}

/// Whether the client has got more of an answer than that one will come.
pub(crate) fn has_begun(http: &Session) -> bool {
    let is_answer = |status: StatusCode| {
        !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS
    };
    http.response_written()
        .is_some_and(|response| is_answer(response.status))
}

/// Reads what is left of the body, within bounds. What goes wrong is the client's affair: the answer follows anyway.
/// A client that asked whether it should send the body (`Expect: 100-continue`) is spared it.
pub(crate) async fn discard_body(session: &mut Session) {
    if session.req_header().headers.contains_key(EXPECT) {
        return;
    }
    let discard = async {
        let mut left = MAX_UNREAD;
        while let Ok(Some(chunk)) = session.as_mut().read_request_body().await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Too slow a client gets its answer early, and the connection ends.
    let _ = tokio::time::timeout(UNREAD_TIME, discard).await;
}
