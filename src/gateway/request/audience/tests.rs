//! What clients send, as data.

use crate::gateway::request::audience::Audience;
use crate::gateway::request::audience::Audience::{Navigation, Script, Unspecified};
use http::{HeaderMap, HeaderName, HeaderValue};

type Fields = &'static [(&'static str, &'static str)];

const CHROME_PAGE: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,\
                           application/signed-exchange;v=b3;q=0.7";
const SAFARI_PAGE: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const IE_OFFICE_LIST: &str = "image/gif, image/jpeg, image/pjpeg, application/x-ms-application, application/xaml+xml, \
                              application/x-ms-xbap, application/vnd.ms-excel, application/msword, */*";

/// Who sends what, and who reads the answer.
const CASES: [(&str, Audience, Fields); 56] = [
    (
        "Chrome, a page",
        Navigation,
        &[
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
            ("accept", CHROME_PAGE),
        ],
    ),
    (
        "Chrome, a frame",
        Navigation,
        &[
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "iframe"),
            ("accept", CHROME_PAGE),
        ],
    ),
    (
        "Chrome 76, a frame",
        Navigation,
        &[
            ("sec-fetch-mode", "nested-navigate"),
            ("accept", CHROME_PAGE),
        ],
    ),
    (
        "Chrome, an image",
        Script,
        &[
            ("sec-fetch-mode", "no-cors"),
            (
                "accept",
                "image/avif,image/webp,image/apng,image/*,*/*;q=0.8",
            ),
        ],
    ),
    (
        "Chrome, a style sheet",
        Script,
        &[
            ("sec-fetch-mode", "no-cors"),
            ("accept", "text/css,*/*;q=0.1"),
        ],
    ),
    (
        "Chrome, a script",
        Script,
        &[("sec-fetch-mode", "no-cors"), ("accept", "*/*")],
    ),
    (
        "Chrome, fetch of HTML",
        Script,
        &[("sec-fetch-mode", "cors"), ("accept", "text/html")],
    ),
    (
        "Chrome, an embedded PDF",
        Navigation,
        &[
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "embed"),
            ("accept", CHROME_PAGE),
        ],
    ),
    (
        "Chrome, a WebSocket",
        Script,
        &[("sec-fetch-mode", "websocket"), ("upgrade", "websocket")],
    ),
    (
        "Chrome without https, a page",
        Navigation,
        &[("accept", CHROME_PAGE), ("upgrade-insecure-requests", "1")],
    ),
    (
        "Firefox, a page",
        Navigation,
        &[("sec-fetch-mode", "navigate"), ("accept", SAFARI_PAGE)],
    ),
    (
        "Firefox 89, a page",
        Navigation,
        &[(
            "accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
        )],
    ),
    (
        "Firefox 89, an image",
        Unspecified,
        &[("accept", "image/webp,*/*")],
    ),
    (
        "Firefox 89, a style sheet",
        Unspecified,
        &[("accept", "text/css,*/*;q=0.1")],
    ),
    (
        "Firefox 89, a WebSocket",
        Script,
        &[("upgrade", "websocket"), ("accept", "*/*")],
    ),
    ("Safari 15, a page", Navigation, &[("accept", SAFARI_PAGE)]),
    (
        "Safari 15, an image",
        Unspecified,
        &[(
            "accept",
            "image/webp,image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5",
        )],
    ),
    (
        "Safari 15, a script or fetch",
        Unspecified,
        &[("accept", "*/*")],
    ),
    (
        "Safari 15, a download",
        Navigation,
        &[
            ("accept", SAFARI_PAGE),
            ("referer", "https://rechner.example/"),
        ],
    ),
    (
        "IE 11, typed",
        Navigation,
        &[("accept", "text/html, application/xhtml+xml, image/jxr, */*")],
    ),
    (
        "IE 11, a link, a refresh, a frame",
        Unspecified,
        &[("accept", "*/*")],
    ),
    (
        "IE 11, a link in a document",
        Unspecified,
        &[(
            "accept",
            "image/gif, image/jpeg, image/pjpeg, application/x-ms-application, */*",
        )],
    ),
    (
        "IE 11 with Office",
        Unspecified,
        &[("accept", IE_OFFICE_LIST)],
    ),
    (
        "IE 8, typed",
        Unspecified,
        &[(
            "accept",
            "image/gif, image/x-xbitmap, image/jpeg, image/pjpeg, */*",
        )],
    ),
    (
        "IE 11, an image",
        Unspecified,
        &[(
            "accept",
            "image/png, image/svg+xml, image/jxr, image/*;q=0.8, */*;q=0.5",
        )],
    ),
    (
        "IE 11, a script",
        Unspecified,
        &[("accept", "application/javascript, */*;q=0.8")],
    ),
    (
        "GatewayServer 18, a page",
        Navigation,
        &[(
            "accept",
            "text/html, application/xhtml+xml, application/xml; q=0.9, */*; q=0.8",
        )],
    ),
    (
        "Word, discovery",
        Unspecified,
        &[("user-agent", "Microsoft Office Protocol Discovery")],
    ),
    (
        "Word, existence",
        Unspecified,
        &[
            ("user-agent", "Microsoft Office Existence Discovery"),
            ("accept", "*/*"),
        ],
    ),
    (
        "Excel, a link",
        Unspecified,
        &[
            (
                "user-agent",
                "Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
            ),
            ("accept", "*/*"),
        ],
    ),
    (
        "Outlook's WebView",
        Unspecified,
        &[
            ("user-agent", "Microsoft Outlook 16.0; Microsoft-MacOutlook"),
            ("accept", "*/*"),
        ],
    ),
    (
        "Android's WebView, a page",
        Navigation,
        &[
            ("x-requested-with", "com.makler.app"),
            ("accept", CHROME_PAGE),
        ],
    ),
    (
        "Android's WebView, an image",
        Unspecified,
        &[
            ("x-requested-with", "com.makler.app"),
            ("accept", "image/webp,image/*,*/*;q=0.8"),
        ],
    ),
    ("a WebView that says nothing", Unspecified, &[]),
    (
        "Opera 12, a page",
        Navigation,
        &[(
            "accept",
            "text/html, application/xml;q=0.9, application/xhtml+xml, image/png, */*;q=0.1",
        )],
    ),
    (
        "Chrome 19, a page",
        Navigation,
        &[(
            "accept",
            "application/xml,application/xhtml+xml,text/html;q=0.9,image/png,*/*;q=0.5",
        )],
    ),
    (
        "who accepts HTML and nothing else",
        Navigation,
        &[("accept", "text/html")],
    ),
    ("curl, wget, Python", Unspecified, &[("accept", "*/*")]),
    (
        ".NET, Go",
        Unspecified,
        &[("user-agent", "Go-http-client/2.0")],
    ),
    (
        "Java 8",
        Unspecified,
        &[(
            "accept",
            "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
        )],
    ),
    (
        "Java 21",
        Unspecified,
        &[("accept", "text/html, image/gif, image/jpeg, */*; q=0.2")],
    ),
    (
        "Java's new client",
        Script,
        &[("upgrade", "h2c"), ("http2-settings", "AAEAAEAA")],
    ),
    (
        "a Java applet",
        Unspecified,
        &[
            ("user-agent", "Mozilla/4.0 (Windows 10 10.0) Java/1.8.0"),
            ("accept", "text/html, image/gif, */*"),
        ],
    ),
    (
        "Flash",
        Unspecified,
        &[
            ("x-requested-with", "ShockwaveFlash/32.0.0.465"),
            ("accept", "*/*"),
        ],
    ),
    (
        "Flash in Firefox",
        Unspecified,
        &[
            ("x-requested-with", "ShockwaveFlash/32.0.0.465"),
            ("accept", SAFARI_PAGE),
        ],
    ),
    (
        "the PDF plug-in",
        Unspecified,
        &[("accept", "application/pdf, */*")],
    ),
    (
        "jQuery",
        Script,
        &[
            ("x-requested-with", "XMLHttpRequest"),
            ("accept", "text/html, */*; q=0.01"),
        ],
    ),
    (
        "jQuery, JSON",
        Script,
        &[
            ("x-requested-with", "XMLHttpRequest"),
            ("accept", "application/json, text/javascript, */*; q=0.01"),
        ],
    ),
    (
        "jQuery, JSON from another origin",
        Script,
        &[("accept", "application/json, text/javascript, */*; q=0.01")],
    ),
    (
        "Prototype",
        Script,
        &[
            ("x-requested-with", "xmlhttprequest"),
            ("accept", "text/javascript, text/html, application/xml, */*"),
        ],
    ),
    (
        "axios",
        Script,
        &[("accept", "application/json, text/plain, */*")],
    ),
    (
        "an API's client",
        Script,
        &[("accept", "application/vnd.insurer.v1+JSON;q=0.9")],
    ),
    (
        "an API's client, HTML as well",
        Script,
        &[("accept", "text/html;q=0.5, application/json")],
    ),
    (
        "an event stream",
        Script,
        &[("accept", "text/event-stream")],
    ),
    (
        "what is no list",
        Unspecified,
        &[("accept", ",;q=1, text/htmlx")],
    ),
    (
        "an old fetch",
        Unspecified,
        &[("accept", "*/*"), ("origin", "https://rechner.example")],
    ),
];

fn headers(fields: Fields) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    fields.iter().map(field).collect()
}

#[test]
fn each_client_is_answered_in_the_way_that_it_understands() {
    for (who, audience, fields) in CASES {
        assert_eq!(Audience::of(&headers(fields)), audience, "{who}");
    }
}

#[test]
fn a_list_may_come_in_several_fields() {
    let mut several = headers(&[("accept", "image/gif")]);
    several.append("accept", HeaderValue::from_static("APPLICATION/XHTML+XML"));
    several.append("accept", HeaderValue::from_static("Text/Html;q=0.9"));
    assert_eq!(Audience::of(&several), Navigation);
}
