//! Which of a client's fields arrive at the calculator: none by which a front would name a user or move a path, and all that is honest.

use crate::support::behind::Behind;
use crate::support::raw::{H2, RawAnswer};
use crate::support::upstream::{Request, Upstream};
use crate::support::world::World;
use bytes::Bytes;

/// Fields by which fronts name a user, a certificate, an address, a path, a host or a method, as their documents spell them.
#[rustfmt::skip]
pub(crate) const UNTRUSTED: &[&str] = &[
    "$WSAT", "$WSCC", "$WSIS", "$WSRA", "$WSRU", "$WSSC", "!~REMOTE_USER", "AJP_uid", "Affiliation", "Auth-Cn", "Auth-User", "AUTH_TYPE", "CAS-User", "CF-Access-Authenticated-User-Email",
    "CF-Access-Jwt-Assertion", "CF-Connecting-IP", "CF-Connecting-IPv6", "CT-REMOTE-USER", "Client-Cert", "Client-Cert-Chain", "Client-IP", "ClientIP", "CloudFront-Viewer-Address",
    "DISGUISED-HOST", "Entitlement", "Eppn", "Fastly-Client-IP", "Fly-Client-IP", "Forwarded", "Forwarded-For", "Front-End-Https", "HTTPS", "Impersonate-Group", "Impersonate-User",
    "MELLON_NAME_ID", "MS-ASPNETCORE-CLIENTCERT", "MS-ASPNETCORE-WINAUTHTOKEN", "OAM_IDENTITY_DOMAIN", "OAM_REMOTE_USER", "OIDC_CLAIM_sub", "OIDC_access_token", "Osso-User-Dn",
    "PATH_INFO", "PATH_TRANSLATED", "Persistent-Id", "Proxy", "Proxy-Auth-Cert", "Proxy-Client-IP", "Proxy-Remote-User", "Proxy-User-Dn", "QUERY_STRING", "REMOTE_ADDR", "REMOTE_USER",
    "REQUEST_METHOD", "REQUEST_URI", "Real-IP", "Redirect-Remote-User", "Remote-Email", "Remote-Groups", "Remote-Name", "Remote-User", "Request-Base", "SCRIPT_FILENAME", "SCRIPT_NAME",
    "SMUSER", "SM_AUTHTYPE", "SM_SERVERSESSIONID", "SM_UNIVERSALID", "SM_USER", "SM_USERDN", "SSL-Client-Cert", "SSL-Client-S-DN-CN", "SSL-Client-Verify", "SSL_CLIENT_CERT", "SSL_CLIENT_S_DN",
    "Sec-Istio-Auth-UserInfo", "Shib-Session-Id", "Tailscale-User-Login", "Teleport-Jwt-Assertion", "True-Client-IP", "Unscoped-Affiliation", "WL-Path-Prepend", "WL-Proxy-Client-Cert",
    "WL-Proxy-Client-IP", "WL-Proxy-SSL", "WAS-DEFAULT-HOSTNAME", "X-ARR-ClientCert", "X-ARR-SSL", "X-Accel-Mapping", "X-Accel-Redirect", "X-Amzn-Mtls-Clientcert", "X-Amzn-Mtls-Clientcert-Subject",
    "X-Amzn-Oidc-Data", "X-Amzn-Oidc-Identity", "X-Amzn-Request-Context", "X-Anonymous-Consumer", "X-Apigateway-Api-Userinfo", "X-Appengine-User-Email", "X-Appengine-User-IP", "X-Astro-Path",
    "X-Auth-Email", "X-Auth-Request-Email", "X-Auth-Request-Groups", "X-Auth-Request-Preferred-Username", "X-Auth-Request-User", "X-Auth-Roles", "X-Auth-Subject", "X-Auth-User",
    "X-Auth-Userid", "X-Auth-Username", "X-Authenticated-Userid", "X-Authentik-Username", "X-Azure-ClientIP", "X-Client-Cert", "X-Client-Certificate", "X-Client-DN", "X-Client-IP",
    "X-Client-S-DN", "X-Client-Verify", "X-Cluster-Client-IP", "X-Consumer-Custom-ID", "X-Consumer-ID", "X-Consumer-Username", "X-Credential-Identifier", "X-Custom-IP-Authorization",
    "X-Endpoint-API-UserInfo", "X-Envoy-External-Address", "X-Envoy-Original-Path", "X-Forwarded-Access-Token", "X-Forwarded-Client-Cert", "X-Forwarded-Email", "X-Forwarded-For",
    "X-Forwarded-Groups", "X-Forwarded-Host", "X-Forwarded-Path", "X-Forwarded-PathBase", "X-Forwarded-Prefix", "X-Forwarded-Preferred-Username", "X-Forwarded-Proto", "X-Forwarded-Script-Name",
    "X-Forwarded-Tls-Client-Cert", "X-Forwarded-Uri", "X-Forwarded-User", "X-Goog-Authenticated-User-Email", "X-Goog-Iap-Jwt-Assertion", "X-HTTP-DestinationURL", "X-HTTP-Host-Override",
    "X-HTTP-Method", "X-HTTP-Method-Override", "X-Host", "X-IIS-WindowsAuthToken", "X-Ingress-Path", "X-Invoke-Path", "X-JWT-Assertion", "X-Matched-Path", "X-Method-Override",
    "X-Middleware-Subrequest", "X-MS-Client-Principal", "X-MS-Client-Principal-Id", "X-MS-Client-Principal-Name", "X-MS-Endpoint-Absolute-Path", "X-MS-Original-URL", "X-MS-Proxy",
    "X-MS-Token-AAD-Id-Token", "X-NF-Client-Connection-IP", "X-Original-Host", "X-Original-Path", "X-Original-URI", "X-Original-URL", "X-Originating-IP", "X-PathInfo", "X-Pomerium-Claim-Email",
    "X-Pomerium-Jwt-Assertion", "X-Proxied-User", "X-ProxiedEntitiesChain", "X-Proxy-REMOTE-USER", "X-Proxy-Roles", "X-Proxy-User", "X-ProxyContextPath", "X-ProxyUser-Ip", "X-RStudio-Username",
    "X-Real-IP", "X-Remote-Addr", "X-Remote-Extra-Scopes", "X-Remote-Group", "X-Remote-IP", "X-Remote-User", "X-Replaced-Path", "X-Request-Base", "X-Rewrite-URL", "X-SSL", "X-SSL-Client-CN",
    "X-SSL-Client-Cert", "X-SSL-Client-DN", "X-SSL-Client-Verify", "X-Scheme", "X-Script-Name", "X-ScriptName", "X-Sendfile-Type", "X-Tls-Client-Cert", "X-Token-Subject", "X-Token-User-Email",
    "X-Traversal-Path", "X-True-IP", "X-Url-Scheme", "X-User", "X-Userinfo", "X-VTNR", "X-VTNR-Level", "X-Vhm-Root", "X-Vouch-User", "X-WAWS-Unencoded-URL", "X-WEBAUTH-EMAIL", "X-WEBAUTH-USER",
    "X-WebObjects-Remote-User", "X-WebLogic-Force-JVMID", "Z-Forwarded-For", "es-security-runas-user", "iv-creds", "iv-groups", "iv-remote-address", "iv-user", "iv-user-l",
    "iv_server_name", "l5d-client-id", "mellon-uid", "pd-h-session-id", "ssl_client_escaped_cert", "wsgi.url_scheme", "X-Intern", "X-Intern-Rolle",
];

/// What browsers, their scripts and honest applications send.
const HONEST: &[(&str, &str)] = &[
    ("Accept-Language", "de-DE,de;q=0.9"),
    ("Authorization", "Bearer abc"),
    ("Cache-Control", "no-cache"),
    ("DNT", "1"),
    ("DPR", "2"),
    ("Depth", "1"),
    ("Destination", "/dok/neu.pdf"),
    ("Faces-Request", "partial/ajax"),
    ("HX-Request", "true"),
    ("Idempotency-Key", "7"),
    ("If-Match", "\"x\""),
    ("If-Modified-Since", "Tue, 29 Sep 2026 12:02:30 GMT"),
    ("If-None-Match", "\"y\""),
    ("Last-Event-ID", "17"),
    ("Origin", "https://anderswo.example"),
    ("Overwrite", "F"),
    ("Priority", "u=1, i"),
    ("Range", "bytes=0-1"),
    ("Save-Data", "on"),
    ("SOAPAction", "\"urn:tarif\""),
    ("Sec-CH-UA", "\"Chromium\";v=\"142\""),
    ("Sec-Fetch-Mode", "cors"),
    ("Tus-Resumable", "1.0.0"),
    ("Upload-Offset", "0"),
    ("User-Agent", "Mozilla/5.0"),
    ("X-Ajax-Engine", "alt"),
    ("X-AjaxPro-Method", "Rechne"),
    ("X-Auth-Token", "abc"),
    ("X-CSRF-Token", "abc"),
    ("X-GWT-Permutation", "0A1B"),
    ("X-Internal", "nicht X-Intern"),
    ("X-MicrosoftAjax", "Delta=true"),
    ("X-Prototype-Version", "1.7.3"),
    ("X-Request-ID", "4711"),
    ("X-Requested-With", "XMLHttpRequest"),
    ("X-XSRF-TOKEN", "abc"),
    ("X_Legacy_Token", "listed"),
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
];

/// A gateway with a public path, a portal on the calculator's own server, and the operator's own names.
async fn behind() -> Behind {
    let config = "[upstream]\npublic_paths = [\"/favicon.ico\"]\nstrip = [\"X-Intern\", \"X-Intern-*\"]\npass_fields = [\"X_Legacy_Token\"]\n\
                  [portal]\ncheck_url = \"http://127.0.0.1:9/wer\"\ncookies = [\"PORTAL\"]\npaths = [\"/portal/\"]";
    Behind::with(
        Upstream::fine().await,
        World::builder().https().config(config),
    )
    .await
}

/// Each name in every spelling that some server takes for it.
pub(crate) fn spelled(names: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = names.iter().map(ToString::to_string).collect();
    for separator in ["-", "_", "."] {
        all.extend(
            names
                .iter()
                .map(|name| name.replace(['-', '_', '.'], separator)),
        );
        all.extend(
            names
                .iter()
                .map(|name| name.to_uppercase().replacen(['-', '_'], separator, 1)),
        );
    }
    all.extend(names.iter().map(|name| name.to_lowercase()));
    all.sort();
    all.dedup();
    all
}

/// Fields as they stand in a header, each with a value by which it is known.
pub(crate) fn forged(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("{name}: forged\r\n"))
        .collect()
}

/// The same request over HTTP/2, as far as HTTP/2 has such names.
async fn over_http2(
    behind: &Behind,
    client: &mut H2,
    line: &str,
    fields: &[(String, String)],
) -> http::Response<Vec<u8>> {
    let (method, target) = line.split_once(' ').expect("two words");
    let request = fields
        .iter()
        .fold(behind.h2(method, target), |request, (name, value)| {
            request.header(name, value)
        });
    client
        .get(request.body(()).expect("a request"))
        .await
        .expect("an answer")
}

fn values(request: &Request) -> Vec<(&str, &str)> {
    request
        .fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

#[tokio::test]
async fn no_field_that_names_a_user_or_moves_a_path_arrives_in_any_spelling() {
    let behind = behind().await;
    let mut client = H2::connect(&behind.world).await;
    let names = spelled(UNTRUSTED);
    let lines = [
        "GET /kfz",
        "OPTIONS /kfz",
        "GET /favicon.ico",
        "GET /portal/x",
        "HEAD /portal/x",
    ];
    for names in names.chunks(100) {
        let fields: Vec<_> = names
            .iter()
            .map(|name| (name.to_lowercase(), "forged".to_owned()))
            .collect();
        for line in lines {
            assert_eq!(
                behind.ask(line, &forged(names)).await.status(),
                200,
                "{line}"
            );
            let first = behind.upstream.last();
            assert_eq!(
                over_http2(&behind, &mut client, line, &fields)
                    .await
                    .status(),
                200,
                "{line}"
            );
            for seen in [first, behind.upstream.last()] {
                assert!(
                    seen.line.starts_with(line)
                        && values(&seen).iter().all(|(_, value)| *value != "forged"),
                    "{seen:#?}"
                );
                assert_eq!(
                    seen.values("x-vtnr").len(),
                    usize::from(line.ends_with("/kfz")),
                    "{seen:#?}"
                );
            }
        }
    }
    let handshake = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    behind
        .ask("GET /ws", &format!("{handshake}{}", forged(&names[..100])))
        .await;
    let seen = behind.upstream.last();
    assert!(
        seen.line.starts_with("GET /ws ")
            && !values(&seen).iter().any(|(_, value)| *value == "forged"),
        "{seen:#?}"
    );
}

#[tokio::test]
async fn honest_fields_arrive_and_so_does_the_one_that_the_operator_lists() {
    let behind = behind().await;
    let mut client = H2::connect(&behind.world).await;
    let fields: Vec<_> = HONEST
        .iter()
        .map(|(name, value)| (name.to_lowercase(), (*value).to_owned()))
        .collect();
    for line in ["GET /kfz", "GET /favicon.ico", "GET /portal/x"] {
        let lines: String = HONEST
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let answer: RawAnswer = behind.ask(line, &lines).await;
        assert_eq!(answer.status(), 200, "{line}");
        let first = behind.upstream.last();
        assert!(
            HONEST.iter().all(|field| values(&first).contains(field)),
            "{line}: {first:#?}"
        );
        assert_eq!(
            over_http2(&behind, &mut client, line, &fields)
                .await
                .status(),
            200,
            "{line}"
        );
        let second = behind.upstream.last();
        for (name, value) in HONEST {
            assert_eq!(
                second.values(name),
                [*value],
                "{line} over HTTP/2: {second:#?}"
            );
        }
        // What is like the listed name and is not it.
        let like = "X_Legacy.Token: forged\r\nX-Legacy_Token: forged\r\nX_Legacy_Token2: forged\r\nx_legacy_token: arrives\r\n";
        behind.ask(line, like).await;
        let seen = behind.upstream.last();
        assert!(
            !values(&seen).iter().any(|(_, value)| *value == "forged"),
            "{seen:#?}"
        );
        assert_eq!(seen.values("x_legacy_token"), ["arrives"]);
    }
}

/// An HTTP/1.1 server could take trailer fields for fields.
#[tokio::test]
async fn trailer_fields_do_not_arrive() {
    let behind = behind().await;
    let mut client = H2::connect(&behind.world).await;
    let fields = "Transfer-Encoding: chunked\r\nTrailer: X-VTNR, X-Spur\r\n";
    let mut raw = behind.connect().await;
    raw.send(behind.request("POST /eins", fields)).await;
    let answer = raw
        .send("3\r\nabc\r\n0\r\nX-VTNR: forged\r\nX-Spur: forged\r\nSCRIPT_NAME: forged\r\n\r\n")
        .await
        .answer()
        .await;
    assert_eq!(answer.status(), 200);
    let (answer, mut body) = client
        .begin(behind.h2("POST", "/zwei").body(()).expect("a request"))
        .await;
    body.send_data(Bytes::from_static(b"abc"), false)
        .expect("queued");
    let trailers = ["x-vtnr", "x-spur", "script_name"].map(|name| {
        (
            http::HeaderName::from_static(name),
            http::HeaderValue::from_static("forged"),
        )
    });
    body.send_trailers(trailers.into_iter().collect())
        .expect("queued");
    assert_eq!(answer.await.expect("an answer").status(), 200);
    let seen = behind.upstream.requests();
    assert!(
        seen.iter().all(|request| request.body == b"abc") && seen.len() == 2,
        "{seen:#?}"
    );
    let arrived = behind.upstream.bytes().concat();
    assert!(
        !String::from_utf8_lossy(&arrived).contains("forged"),
        "{seen:#?}"
    );
}
