//! The way in with a certificate, as browsers and brokers' software use it.

use crate::support;
use crate::support::authority::{Authority, Identity};
use crate::support::chromium::Chromium;
use crate::support::curl::Curl;
use crate::support::redis::Redis;
use crate::support::upstream::Upstream;
use crate::support::world::{ADA, BEN, Builder, StoreKind, World};
use crate::support::{Raw, eventually, ports};
use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme, SupportedProtocolVersion,
};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const SUBMIT: [&str; 2] = ["-d", "angebot=42"];

/// The serial number of a certificate that is revoked from the beginning.
const REVOKED: u64 = 3;

/// A world with a listener for certificates, and the authority whose certificates are accepted there.
struct Certified {
    world: World,
    authority: Authority,
    port: u16,
}

fn an_hour_ago<T: From<SystemTime>>() -> T {
    (SystemTime::now() - Duration::from_secs(3_600)).into()
}

/// Two brokers with certificates.
fn brokers() -> String {
    format!(
        "vtnr;email;zertifikat\n{};{};VM-1\n{};;VM-2\n",
        ADA.0, ADA.1, BEN.0
    )
}

impl Certified {
    async fn start() -> Self {
        Self::built(World::builder(), "").await
    }

    async fn built(builder: Builder, further: &str) -> Self {
        let (authority, port) = (
            Authority::named("vtnr-gateway test authority"),
            ports::free(),
        );
        authority.write("crl.pem", authority.list(&[REVOKED]));
        let config = format!(
            "[certificate]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"https://localhost:{port}\"\nca_file = {:?}\ncrl_files = [{:?}]\n{further}",
            authority.file("ca.pem"),
            authority.file("crl.pem")
        );
        let world = builder
            .https()
            .brokers(&brokers())
            .config(&config)
            .start()
            .await;
        Self {
            world,
            authority,
            port,
        }
    }

    fn curl(&self) -> Curl {
        Curl::at(&format!("https://localhost:{}", self.port)).and(&[
            "-4",
            "-H",
            "Accept: application/json",
        ])
    }

    fn main_host(&self) -> Curl {
        Curl::at(&format!(
            "https://localhost:{}",
            self.world.gateways[0].https.expect("https")
        ))
    }

    fn ada(&self) -> Identity {
        self.authority.issue("VM-1", 1, |_| {})
    }
}

#[tokio::test]
async fn a_good_certificate_is_a_full_session_without_a_page_a_cookie_or_a_tan() {
    let upstream = Upstream::fine().await;
    let certified = Certified::built(World::builder().upstream(&upstream.url()), "").await;
    for version in ["--http1.1", "--http2"] {
        let curl = certified.curl().with(&certified.ada()).and(&[version]);
        let answer = curl.get("/kfz/angebot?id=42").await;
        answer.is(200);
        assert_eq!(
            answer.version,
            if version == "--http2" { "2" } else { "1.1" }
        );
        assert_eq!(answer.field("set-cookie"), None);
        curl.and(&SUBMIT).get("/antrag/versand").await.is(200);
    }
    let requests = upstream.requests();
    assert_eq!(requests.len(), 4);
    for request in &requests {
        assert_eq!(
            (request.values("x-vtnr"), request.values("x-vtnr-level")),
            (vec![ADA.0], vec!["full"]),
            "{request:?}"
        );
    }
    assert!(certified.world.mails().await.is_empty());
    certified
        .world
        .log_has(r#""step":"certificate","outcome":"ok""#)
        .await;
    // With the lines of the four requests themselves.
    let all =
        |log: &str| (log.matches(r#""target":"access""#).count() >= 4).then(|| log.to_owned());
    let log = certified.world.log_shows("all requests", all).await;
    assert!(
        !log.contains("VM-1") && !log.contains(ADA.0),
        "no log names a holder or broker"
    );
    assert!(
        certified
            .world
            .metric(r#"vtnr_gateway_sign_ins_total{outcome="ok",step="certificate"}"#)
            .await
            >= 1.0
    );
}

#[tokio::test]
async fn what_could_be_the_submission_is_public_on_the_certificates_host_no_more_than_on_the_main_one()
 {
    let upstream = Upstream::fine().await;
    let further = "[upstream]\npublic_paths = [\"/favicon.ico\"]\n[submission]\npaths = [\"/index.php?r=antrag/versand\"]";
    let certified = Certified::built(World::builder().upstream(&upstream.url()), further).await;
    for version in ["--http1.1", "--http2"] {
        let stranger = certified.curl().and(&[version]);
        stranger.get("/favicon.ico").await.is(200);
        stranger
            .and(&SUBMIT)
            .get("/favicon.ico?r=faq")
            .await
            .is(200);
        let before = upstream.requests().len();
        for target in [
            "/favicon.ico?r=antrag/versand",
            "/favicon.ico?r=%61ntrag/versand",
            "/favicon.ico?x=1&r=antrag%2Fversand",
        ] {
            stranger.and(&SUBMIT).get(target).await.is(401);
        }
        assert_eq!(upstream.requests().len(), before, "nothing goes up");
        let ada = certified.curl().with(&certified.ada()).and(&[version]);
        ada.and(&SUBMIT)
            .get("/favicon.ico?r=antrag/versand")
            .await
            .is(200);
        assert_eq!(upstream.last().values("x-forwarded-proto"), ["https"]);
    }
}

#[tokio::test]
async fn a_form_that_could_not_be_sent_is_told_of_here_too() {
    let certified = Certified::built(
        World::builder().upstream(&format!("http://127.0.0.1:{}", ports::free())),
        "",
    )
    .await;
    let ada = certified.curl().with(&certified.ada()).navigating();
    ada.and(&SUBMIT)
        .get("/antrag/versand")
        .await
        .is(502)
        .shows("Ihre Eingabe haben wir nicht weitergegeben");
    ada.get("/kfz?id=42")
        .await
        .is(502)
        .shows("href=\"/kfz?id=42\" data-keep-fragment>ERNEUT VERSUCHEN");
}

#[tokio::test]
async fn certificates_go_by_the_machines_clock_and_not_by_redis() {
    let folder = tempfile::tempdir().expect("a folder");
    let offset = folder.path().join("offset");
    std::fs::write(&offset, "+60d").expect("written");
    let redis = Redis::with_clock(&offset);
    let store = format!("[store]\nurl = {:?}", redis.url());
    let certified = Certified::built(World::builder().store(StoreKind::Memory), &store).await;
    certified
        .curl()
        .with(&certified.ada())
        .get("/")
        .await
        .is(200);
    std::fs::write(&offset, "-2d").expect("written");
    let steps = async || {
        certified
            .world
            .metric("vtnr_gateway_store_clock_steps_total")
            .await
    };
    eventually("the gateway goes by Redis' clock", async || {
        (steps().await >= 1.0).then_some(())
    })
    .await;
    let over = certified
        .authority
        .issue("VM-1", 2, |params| params.not_after = an_hour_ago());
    certified
        .curl()
        .with(&over)
        .navigating()
        .get("/")
        .await
        .is(403)
        .shows("abgelaufen");
    certified
        .curl()
        .with(&certified.ada())
        .get("/")
        .await
        .is(200);
}

#[tokio::test]
async fn each_unfit_certificate_gets_a_page_that_says_what_is_wrong_and_offers_the_other_ways() {
    let upstream = Upstream::fine().await;
    let certified = Certified::built(World::builder().upstream(&upstream.url()), "").await;
    let authority = &certified.authority;
    let other = Authority::named("Makler CA");
    let revoked = authority.issue("VM-1", REVOKED, |_| {});
    let extensions = authority.write(
        "v3.cnf",
        "keyUsage = digitalSignature\nextendedKeyUsage = clientAuth\n",
    );
    // Without extensions openssl makes certificates of version 1.
    let v3 = ["-extfile", extensions.to_str().expect("UTF-8")];
    let cases = [
        (
            "abgelaufen",
            "client certificate expired",
            authority.issue("VM-1", 2, |params| params.not_after = an_hour_ago()),
        ),
        ("gesperrt", "client certificate revoked", revoked),
        (
            "von einer Stelle",
            "client certificate of an unknown issuer",
            other.issue("VM-1", 1, |_| {}),
        ),
        (
            "von einer Stelle",
            "client certificate of an unknown issuer",
            authority.self_signed("VM-1"),
        ),
        (
            "für einen anderen Zweck",
            "client certificate not for client authentication",
            authority.issue("VM-1", 4, |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]
            }),
        ),
        (
            "für einen anderen Zweck",
            "client certificate not for client authentication",
            authority.issue("VM-1", 5, |params| {
                params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]
            }),
        ),
        (
            "zu keiner Vermittlernummer",
            "client certificate of nobody known",
            authority.issue("VM-9", 6, |_| {}),
        ),
        (
            "nicht mehr als sicher",
            "client certificate outdated",
            authority.by_openssl(
                "rsa1024",
                "VM-1",
                &["-newkey", "rsa:1024"],
                &[&["-sha256"], &v3[..]].concat(),
            ),
        ),
        (
            "nicht mehr als sicher",
            "client certificate outdated",
            authority.by_openssl("v1", "VM-1", &["-newkey", "rsa:2048"], &["-sha256"]),
        ),
        (
            "nicht mehr als sicher",
            "client certificate outdated",
            authority.by_openssl(
                "sha1",
                "VM-1",
                &["-newkey", "rsa:2048"],
                &[&["-sha1"], &v3[..]].concat(),
            ),
        ),
    ];
    for (words, title, identity) in &cases {
        for version in ["--http1.1", "--http2"] {
            let curl = certified.curl().with(identity).and(&[version]);
            let page = curl.navigating().get("/kfz/angebot?id=42").await;
            page.is(403)
                .shows(words)
                .shows("Anmelden mit Vermittlernummer")
                .shows("return_to=/kfz/angebot%3Fid%3D42");
            curl.get("/kfz/angebot?id=42").await.is(401).shows(title);
        }
    }
    let none = certified.curl();
    none.navigating()
        .get("/")
        .await
        .is(403)
        .shows("Ihr Browser hat kein Zertifikat gesendet");
    none.get("/")
        .await
        .is(401)
        .shows("client certificate required");
    none.navigating()
        .and(&SUBMIT)
        .get("/antrag/versand")
        .await
        .is(403)
        .shows("Ihre Eingabe wurde nicht gesendet");
    upstream.saw_nothing("certificates that prove nothing");
    // No alert ended a connection before this one, which speaks no TLS.
    Raw::connect(certified.port)
        .await
        .send("GET / HTTP/1.1\r\n\r\n")
        .await
        .rest()
        .await;
    certified
        .world
        .metric_is(
            r#"vtnr_gateway_connections_rejected_total{reason="handshake"}"#,
            1.0,
        )
        .await;
}

#[tokio::test]
async fn what_is_no_certificate_at_all_gets_a_page_too() {
    let certified = Certified::start().await;
    let ada = certified.ada();
    let key = || PrivateKeyDer::from_pem_file(&ada.key).expect("a key");
    let good = CertificateDer::from_pem_file(&ada.cert).expect("a certificate");
    // As long as the header says, and nonsense within; and a good one with a byte too many.
    let garbage = CertificateDer::from(vec![0x30, 0x03, 0x02, 0x01, 0x05]);
    let longer = CertificateDer::from([good.as_ref(), &[0]].concat());
    for certificate in [garbage, longer] {
        let answer = Tls::showing(vec![certificate], key(), &TLS13)
            .ask(certified.port, "localhost", "/")
            .await;
        let (answer, _) = answer.expect("an answer");
        assert!(
            answer.starts_with("HTTP/1.1 401 ") && answer.contains("client certificate malformed"),
            "{answer}"
        );
    }
}

/// Whoever copies a certificate has no key for it.
#[tokio::test]
async fn a_certificate_without_its_key_is_no_certificate() {
    let certified = Certified::start().await;
    let (ada, mallory) = (
        certified.ada(),
        certified.authority.issue("VM-9", 9, |_| {}),
    );
    let stolen = CertificateDer::from_pem_file(&ada.cert).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(&mallory.key).expect("a key");
    for version in [&TLS13, &TLS12] {
        let answer = Tls::showing(vec![stolen.clone()], key.clone_key(), version)
            .ask(certified.port, "localhost", "/")
            .await;
        assert!(answer.is_none(), "{answer:?}");
    }
}

#[tokio::test]
async fn a_resumed_connection_is_judged_anew() {
    let certified = Certified::start().await;
    for (serial, version) in [(21, &TLS13), (22, &TLS12)] {
        let identity = certified.authority.issue("VM-1", serial, |_| {});
        let client = Tls::of(&identity, version);
        let (before, kind) = client
            .ask(certified.port, "localhost", "/")
            .await
            .expect("an answer");
        assert!(
            before.starts_with("HTTP/1.1 200 ") && kind == HandshakeKind::Full,
            "{before}"
        );
        let (before, kind) = client
            .ask(certified.port, "localhost", "/")
            .await
            .expect("an answer");
        assert!(
            before.starts_with("HTTP/1.1 200 ") && kind == HandshakeKind::Resumed,
            "{kind:?}: {before}"
        );
        certified
            .authority
            .write("crl.pem", certified.authority.list(&[serial]));
        eventually("the list was read", async || {
            let answer = certified.curl().with(&identity).get("/").await;
            (answer.status == 401).then_some(())
        })
        .await;
        let (after, _) = client
            .ask(certified.port, "localhost", "/")
            .await
            .expect("an answer");
        assert!(
            after.starts_with("HTTP/1.1 401 ") && after.contains("revoked"),
            "{after}"
        );
    }
}

/// The connections were made while all was well.
#[tokio::test]
async fn an_open_connection_and_its_websocket_end_with_the_certificate() {
    let upstream = sockets().await;
    let certified = Certified::built(World::builder().upstream(&upstream.url()), "").await;
    let identity = certified.authority.issue("VM-1", 31, |_| {});
    let mut plain = Tls::of(&identity, &TLS13)
        .connect(certified.port, "localhost")
        .await
        .expect("a connection");
    assert!(
        request(&mut plain, certified.port, "/")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    let mut socket = certified.websocket(&identity).await;
    certified
        .authority
        .write("crl.pem", certified.authority.list(&[31]));
    is_cut(&mut socket).await;
    assert!(
        request(&mut plain, certified.port, "/")
            .await
            .starts_with("HTTP/1.1 401 ")
    );
}

#[tokio::test]
async fn a_broker_who_leaves_the_directory_is_out_with_the_next_request() {
    let certified = Certified::start().await;
    let mut connection = Tls::of(&certified.ada(), &TLS13)
        .connect(certified.port, "localhost")
        .await
        .expect("a connection");
    assert!(
        request(&mut connection, certified.port, "/")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    certified
        .world
        .write_brokers(&format!("vtnr;email;zertifikat\n{};;VM-2\n", BEN.0));
    eventually("the directory was read", async || {
        let answer = request(&mut connection, certified.port, "/").await;
        (answer.starts_with("HTTP/1.1 401 ") && answer.contains("nobody known")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_connection_for_one_host_carries_no_request_for_another() {
    let certified = Certified::start().await;
    let https = certified.world.gateways[0].https.expect("https");
    let (own, ada) = (certified.port, certified.ada());
    // (name in the handshake, host in the request, whether it is let in)
    let cases = [
        (own, "localhost", format!("localhost:{own}"), true),
        (own, "localhost", format!("LOCALHOST:{own}"), true),
        (own, "localhost", format!("localhost.:{own}"), true),
        (own, "LocalHost", format!("localhost:{own}"), true),
        (own, "127.0.0.1", format!("localhost:{own}"), true),
        (own, "localhost", format!("localhost:{https}"), false),
        (own, "localhost", "rechner.example".to_owned(), false),
        (own, "localhost", format!("127.0.0.1:{own}"), false),
        (own, "rechner.example", format!("localhost:{own}"), false),
        (own, "sub.localhost", format!("localhost:{own}"), false),
        (https, "localhost", format!("localhost:{own}"), false),
    ];
    for (port, name, host, is_let_in) in cases {
        let mut connection = Tls::of(&ada, &TLS13)
            .connect(port, name)
            .await
            .expect("a connection");
        let answer = request_for(&mut connection, &host, "/").await;
        let status = if is_let_in {
            "HTTP/1.1 200 "
        } else {
            "HTTP/1.1 421 "
        };
        assert!(answer.starts_with(status), "{port} {name} {host}: {answer}");
    }
}

#[tokio::test]
async fn a_hello_in_records_of_one_byte_is_asked_for_a_certificate_too() {
    let certified = Certified::start().await;
    let port = shredding(certified.port).await;
    for version in [&TLS13, &TLS12] {
        let mut with = Tls::of(&certified.ada(), version)
            .connect(port, "localhost")
            .await
            .expect("a connection");
        assert!(
            request(&mut with, certified.port, "/")
                .await
                .starts_with("HTTP/1.1 200 ")
        );
        let mut without = Tls::without(version)
            .connect(port, "localhost")
            .await
            .expect("a connection");
        assert!(
            request(&mut without, certified.port, "/")
                .await
                .starts_with("HTTP/1.1 401 ")
        );
    }
}

#[tokio::test]
async fn the_main_host_asks_nobody_for_a_certificate_and_believes_none() {
    let upstream = Upstream::fine().await;
    let certified = Certified::built(World::builder().upstream(&upstream.url()), "").await;
    let https = certified.world.gateways[0].https.expect("https");
    let client = Tls::of(&certified.ada(), &TLS13);
    let mut connection = client
        .connect(https, "localhost")
        .await
        .expect("a connection");
    assert!(
        request(&mut connection, https, "/")
            .await
            .starts_with("HTTP/1.1 401 ")
    );
    assert!(
        !client.was_asked(),
        "a browser with some certificate would show a pop-up"
    );
    // Nor does a field that fronts use for it count, on either host.
    let claims = [
        "X-SSL-Client-S-DN: serialNumber=VM-1",
        "X-SSL-Client-Verify: SUCCESS",
        "X-Client-Cert: VM-1",
        "Client-Cert: :VM-1:",
    ];
    for host in [certified.main_host(), certified.curl()] {
        let claiming = claims
            .iter()
            .fold(host, |curl, claim| curl.and(&["-H", claim]));
        claiming.get("/").await.is(401);
    }
    upstream.saw_nothing("certificates in header fields");
    let claiming = claims
        .iter()
        .fold(certified.curl().with(&certified.ada()), |curl, claim| {
            curl.and(&["-H", claim])
        });
    claiming
        .and(&["-H", "X-VTNR: 60/123/4568"])
        .get("/")
        .await
        .is(200);
    let request = upstream.only();
    assert_eq!(request.values("x-vtnr"), [ADA.0]);
    let arrived = request
        .fields
        .iter()
        .find(|(_, value)| value.contains("VM-1") || value == "SUCCESS");
    assert!(arrived.is_none(), "{arrived:?}");
}

#[tokio::test]
async fn a_session_cookie_of_the_main_host_is_nothing_on_that_of_certificates() {
    let certified = Certified::start().await;
    let (browser, base) = (
        certified.world.browser(),
        format!("https://localhost:{}", certified.port),
    );
    let before = certified.world.postbox.mails().len();
    browser
        .claim(ADA.0, ADA.1, "/")
        .await
        .leads_to("/ui/login/de/tan");
    let tan = support::world::tan_of(&certified.world.postbox.next(before).await);
    browser.enter_tan(&tan, "/").await.leads_to("/");
    browser.get("/").await.is(200);
    browser.at(&base).fetch("/").await.is(401);
}

/// A browser sends its certificate along whoever's page makes the request.
#[tokio::test]
async fn what_another_sites_page_sends_in_a_brokers_name_is_refused() {
    let upstream = Upstream::fine().await;
    let certified = Certified::built(World::builder().upstream(&upstream.url()), "").await;
    let ada = certified.curl().with(&certified.ada());
    let from = |site: &str, mode: &str| {
        let (site, mode) = (
            format!("Sec-Fetch-Site: {site}"),
            format!("Sec-Fetch-Mode: {mode}"),
        );
        ada.and(&["-H", &site, "-H", &mode, "-H", "Accept: text/html"])
    };
    from("cross-site", "navigate")
        .and(&SUBMIT)
        .get("/antrag/versand")
        .await
        .is(403);
    from("cross-site", "no-cors")
        .and(&SUBMIT)
        .get("/antrag/versand")
        .await
        .is(403);
    from("cross-site", "no-cors")
        .get("/kunden.json")
        .await
        .is(403);
    let old = Curl::at(&format!("https://localhost:{}", certified.port))
        .with(&certified.ada())
        .and(&["-4"]);
    for field in [
        "Origin: https://evil.example",
        "Referer: https://evil.example/",
    ] {
        let posted = old
            .and(&["-H", field, "-H", "Accept: image/gif, */*"])
            .and(&SUBMIT)
            .get("/antrag/versand")
            .await;
        posted
            .is(403)
            .shows("Die Eingabe kam von der Website <strong>evil.example</strong>");
    }
    ada.and(&["-H", "Origin: null"])
        .and(&SUBMIT)
        .get("/antrag/versand")
        .await
        .is(403);
    upstream.saw_nothing("other sites' requests");
    let framed = from("cross-site", "navigate").and(&["-H", "Sec-Fetch-Dest: iframe"]);
    framed.get("/antrag").await.is(403);
    upstream.saw_nothing("another site's frame");
    from("same-origin", "navigate")
        .and(&["-H", "Sec-Fetch-Dest: iframe"])
        .get("/kfz")
        .await
        .is(200);
    from("cross-site", "navigate")
        .and(&["-H", "Sec-Fetch-Dest: document"])
        .get("/kfz")
        .await
        .is(200);
    // A link from another site leads here as it always did, and so does what pages of the insurer's other hosts send.
    from("cross-site", "navigate").get("/kfz").await.is(200);
    from("same-site", "navigate")
        .and(&SUBMIT)
        .get("/antrag/versand")
        .await
        .is(200);
    from("same-origin", "navigate")
        .and(&SUBMIT)
        .get("/antrag/versand")
        .await
        .is(200);
}

#[tokio::test]
async fn who_signs_out_is_out_in_this_browser_until_they_say_otherwise() {
    let certified = Certified::start().await;
    let identity = certified.ada();
    let ada = certified.curl().with(&identity).navigating();
    ada.get("/ui/login/de/abmelden").await.is(200).shows(ADA.0);
    let out = ada.and(&["-d", ""]).get("/ui/login/de/abmelden").await;
    certified
        .world
        .log_has(r#""step":"sign_out","outcome":"ok","broker""#)
        .await;
    out.is(200)
        .shows("Sie sind abgemeldet")
        .shows("Ihr Zertifikat steht in diesem Browser weiter zur Verfügung");
    let cookies = out.cookies();
    assert!(cookies.contains("__Host-vtnr_left="), "{cookies}");
    let left = ada.and(&["-b", &cookies]);
    let answer = left.get("/kfz/angebot?id=42").await;
    assert_eq!(
        answer.is(303).field("location"),
        Some("/ui/login/de/zertifikat?return_to=%2Fkfz%2Fangebot%3Fid%3D42")
    );
    certified
        .curl()
        .with(&identity)
        .and(&["-b", &cookies])
        .get("/kfz")
        .await
        .is(401);
    left.get("/ui/login/de/zertifikat?return_to=%2Fkfz")
        .await
        .is(200)
        .shows("MIT ZERTIFIKAT ANMELDEN");
    left.get("/ui/login/de/abmelden")
        .await
        .shows("zurzeit nicht angemeldet");
    let back = left
        .and(&["-d", ""])
        .get("/ui/login/de/zertifikat?return_to=%2Fkfz")
        .await;
    assert_eq!(back.is(303).field("location"), Some("/kfz"));
    assert!(
        back.head.contains("__Host-vtnr_left=; ") && back.head.contains("Max-Age=0"),
        "{}",
        back.head
    );
    // Another certificate in the same browser is somebody else.
    certified
        .curl()
        .with(&certified.authority.issue("VM-2", 41, |_| {}))
        .and(&["-b", &cookies])
        .get("/")
        .await
        .is(200);
}

#[tokio::test]
async fn the_two_hosts_lead_to_each_other() {
    let certified = Certified::start().await;
    let main = certified.world.gateways[0].https.expect("https");
    let page = certified
        .main_host()
        .navigating()
        .get("/ui/login/de/vtnr-login?return_to=%2Fkfz%3Fid%3D42")
        .await;
    page.is(200).shows(&format!(
        "href=\"https://localhost:{}/kfz?id=42\" data-keep-fragment>Anmelden mit Zertifikat",
        certified.port
    ));
    let to = certified
        .main_host()
        .navigating()
        .get("/ui/login/de/zertifikat?return_to=%2Fkfz")
        .await;
    assert_eq!(
        to.is(303).field("location"),
        Some(&*format!("https://localhost:{}/kfz", certified.port))
    );
    for page in ["vtnr-login?return_to=%2Fkfz", "tan", "unbekannte-e-mail"] {
        let back = certified
            .curl()
            .navigating()
            .get(&format!("/ui/login/de/{page}"))
            .await;
        assert_eq!(
            back.is(303).field("location"),
            Some(&*format!("https://localhost:{main}/ui/login/de/{page}"))
        );
    }
    certified
        .curl()
        .navigating()
        .get("/ui/login/de/hilfe")
        .await
        .is(200)
        .shows("Unterstützung beim Login");
    certified
        .curl()
        .navigating()
        .and(&["-d", "vtnr=60/123/4567"])
        .get("/ui/login/de/vtnr-login")
        .await
        .is(405);
}

/// Two authorities may give the same number to two people.
#[tokio::test]
async fn a_certificate_counts_for_its_issuer_and_key_alone() {
    let upstream = Upstream::fine().await;
    let (first, second) = (
        Authority::named("Makler CA 1"),
        Authority::named("Makler CA 2"),
    );
    let bundle = first.write("bundle.pem", format!("{}{}", first.pem(), second.pem()));
    let (ada, ben) = (
        first.issue("VM-1", 1, |_| {}),
        second.issue("VM-1", 1, |_| {}),
    );
    let pinned = first.issue("VM-3", 3, |_| {});
    let port = ports::free();
    let brokers = format!(
        "vtnr;email;zertifikat;aussteller;schluessel\n{};;VM-1;Makler CA 1;\n{};;VM-1;Makler CA 2;\n{};;VM-3;Makler CA 1;{}\n",
        ADA.0,
        BEN.0,
        ADA.0,
        public_key_sum(&pinned)
    );
    let config = format!(
        "[certificate]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"https://localhost:{port}\"\nca_file = {bundle:?}\n\
         issuer_column = \"aussteller\"\nkey_column = \"schluessel\"\n"
    );
    let world = World::builder()
        .upstream(&upstream.url())
        .https()
        .brokers(&brokers)
        .config(&config)
        .start()
        .await;
    let curl =
        Curl::at(&format!("https://localhost:{port}")).and(&["-H", "Accept: application/json"]);
    for (identity, vtnr) in [(&ada, ADA.0), (&ben, BEN.0), (&pinned, ADA.0)] {
        curl.with(identity).get("/").await.is(200);
        assert_eq!(upstream.last().values("x-vtnr"), [vtnr]);
    }
    // The same name of the same issuer, with another key; and the name of one issuer's broker from the other.
    curl.with(&first.issue("VM-3", 4, |_| {}))
        .get("/")
        .await
        .is(401)
        .shows("nobody known");
    curl.with(&second.issue("VM-3", 5, |_| {}))
        .get("/")
        .await
        .is(401)
        .shows("nobody known");
    drop(world);
}

/// What an authority forgot to renew is told before brokers tell of it.
#[tokio::test]
async fn a_list_that_is_too_old_is_told_to_operators_and_brokers() {
    let certified = Certified::start().await;
    let ada = certified.curl().with(&certified.ada());
    let gauge = "vtnr_gateway_certificate_lists_end_timestamp_seconds";
    assert!(certified.world.metric(gauge).await > 1.7e9);
    ada.get("/").await.is(200);
    certified.authority.write(
        "crl.pem",
        certified
            .authority
            .list_until(&[], SystemTime::now() + Duration::from_secs(2)),
    );
    eventually("the list was read and is too old", async || {
        (ada.get("/").await.status == 401).then_some(())
    })
    .await;
    ada.get("/").await.shows("cannot be checked at the moment");
    ada.navigating()
        .get("/")
        .await
        .is(403)
        .shows("lässt sich zurzeit nicht prüfen")
        .shows("Das liegt nicht an Ihnen");
    let ready = Curl::at(&format!(
        "http://127.0.0.1:{}",
        certified.world.gateways[0].admin
    ))
    .get("/readyz")
    .await;
    ready
        .is(200)
        .shows("a list of revoked certificates is too old");
    // One that is older still does not take its place, and a new one does.
    let (failed, before) = (
        "vtnr_gateway_config_reload_failures_total",
        certified.world.metric(gauge).await,
    );
    certified.authority.write(
        "crl.pem",
        certified
            .authority
            .list_until(&[], SystemTime::now() - Duration::from_secs(3_600)),
    );
    eventually("it was refused", async || {
        (certified.world.metric(failed).await >= 1.0).then_some(())
    })
    .await;
    assert_eq!(certified.world.metric(gauge).await, before);
    certified
        .authority
        .write("crl.pem", certified.authority.list(&[]));
    eventually("she is let in again", async || {
        (ada.get("/").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn issuers_and_lists_are_read_again_and_what_is_wrong_never_takes_the_place_of_what_is_right()
{
    let certified = Certified::start().await;
    let ada = certified.curl().with(&certified.ada());
    ada.get("/").await.is(200);
    let failed = "vtnr_gateway_config_reload_failures_total";
    for (file, broken) in [("ca.pem", ""), ("ca.pem", "garbage"), ("crl.pem", "")] {
        let (before, good) = (
            certified.world.metric(failed).await,
            std::fs::read(certified.authority.file(file)).expect("read"),
        );
        certified.authority.write(file, broken);
        eventually("it was refused", async || {
            (certified.world.metric(failed).await > before).then_some(())
        })
        .await;
        ada.get("/").await.is(200);
        certified.curl().get("/").await.is(401);
        certified.authority.write(file, good);
    }
    // An authority that takes the place of the former one: its certificates are good, and the others no more.
    let next = Authority::named("Makler CA");
    let hers = next.issue("VM-1", 1, |_| {});
    certified.authority.write("crl.pem", next.list(&[]));
    certified.authority.write("ca.pem", next.pem());
    eventually("it was read", async || {
        (certified.curl().with(&hers).get("/").await.status == 200).then_some(())
    })
    .await;
    ada.get("/").await.is(401).shows("unknown issuer");
}

/// The directory is read by the columns of the start: who may speak for whom must not change before they do.
#[tokio::test]
async fn another_issuer_with_columns_of_its_own_waits_for_a_restart() {
    let certified = Certified::start().await;
    let (ada, other) = (
        certified.curl().with(&certified.ada()),
        Authority::named("Other CA"),
    );
    let theirs = certified.curl().with(&other.issue("VM-1", 1, |_| {}));
    ada.get("/").await.is(200);
    let both = format!("{}{}", certified.authority.pem(), other.pem());
    let lists = format!("{}{}", certified.authority.list(&[]), other.list(&[]));
    certified.authority.write("crl.pem", lists);
    certified.authority.write("ca.pem", both);
    let brokers = format!(
        "vtnr;email;zertifikat;aussteller\n{};;VM-1;vtnr-gateway test authority\n{};;VM-1;Other CA\n",
        ADA.0, BEN.0
    );
    certified.world.write_brokers(&brokers);
    let config = certified.world.gateways[0].config();
    let text = std::fs::read_to_string(config).expect("read").replace(
        "[certificate]",
        "[certificate]\nissuer_column = \"aussteller\"",
    );
    std::fs::write(config, text).expect("written");
    certified
        .world
        .log_has(r#""needs_restart":"certificate"#)
        .await;
    theirs.get("/").await.is(401).shows("unknown issuer");
}

/// Whoever shows as much as TLS lets through would have the gateway keep and search it.
#[tokio::test]
async fn a_chain_that_no_client_has_ends_in_the_handshake() {
    let certified = Certified::start().await;
    let ada = certified.ada();
    let leaf = CertificateDer::from_pem_file(&ada.cert).expect("a certificate");
    let between =
        CertificateDer::from_pem_file(certified.authority.file("ca.pem")).expect("a certificate");
    let key = || PrivateKeyDer::from_pem_file(&ada.key).expect("a key");
    for (further, is_let_in) in [
        (vec![between.clone(); 4], true),
        (vec![between; 5], false),
        (vec![vec![0x30; 16_384].into()], false),
    ] {
        let chain = [vec![leaf.clone()], further].concat();
        let answer = Tls::showing(chain, key(), &TLS13)
            .ask(certified.port, "localhost", "/")
            .await;
        assert_eq!(
            answer.is_some_and(|(answer, _)| answer.starts_with("HTTP/1.1 200 ")),
            is_let_in
        );
    }
}

/// The certificate is good, and stands for somebody else now.
#[tokio::test]
async fn a_websocket_ends_when_its_certificate_gets_another_broker_or_its_browser_signs_out() {
    let certified = Certified::built(World::builder().upstream(&sockets().await.url()), "").await;
    let ada = certified.ada();
    let mut socket = certified.websocket(&ada).await;
    certified
        .curl()
        .with(&ada)
        .navigating()
        .and(&["-d", ""])
        .get("/ui/login/de/abmelden")
        .await
        .is(200);
    is_cut(&mut socket).await;
    let mut socket = certified.websocket(&ada).await;
    certified
        .world
        .write_brokers(&format!("vtnr;email;zertifikat\n{};;VM-1\n", BEN.0));
    is_cut(&mut socket).await;
    certified
        .world
        .metric_is("vtnr_gateway_websockets_cut_total", 2.0)
        .await;
}

/// A calculator that answers, and takes WebSockets.
async fn sockets() -> Upstream {
    Upstream::start(|mut wire| async move {
        while let Some(request) = wire.request().await {
            if request.values("upgrade").is_empty() {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
                    .await;
            } else {
                wire.become_websocket().await;
                wire.ended().await;
            }
        }
    })
    .await
}

impl Certified {
    async fn websocket(&self, identity: &Identity) -> TlsStream<TcpStream> {
        let mut socket = Tls::of(identity, &TLS13)
            .connect(self.port, "localhost")
            .await
            .expect("a connection");
        let handshake = format!(
            "GET /live HTTP/1.1\r\nHost: localhost:{}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.port
        );
        socket
            .write_all(handshake.as_bytes())
            .await
            .expect("written");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.expect("a byte"));
        }
        assert!(
            head.starts_with(b"HTTP/1.1 101 "),
            "{}",
            String::from_utf8_lossy(&head)
        );
        socket
    }
}

async fn is_cut(socket: &mut TlsStream<TcpStream>) {
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut rest)).await;
    ended.expect("it is cut").expect("in an orderly way");
    assert_eq!(
        rest,
        [0x88, 0x02, 0x11, 0x31],
        "a close frame with the code 4401"
    );
}

/// A TLS client that remembers sessions, and whether it was asked for a certificate.
struct Tls {
    config: Arc<ClientConfig>,
    shows: Arc<Shows>,
}

#[derive(Debug)]
struct Shows {
    certified: Option<Arc<CertifiedKey>>,
    was_asked: AtomicBool,
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.was_asked.store(true, Ordering::Release);
        self.certified.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl Tls {
    fn of(identity: &Identity, version: &'static SupportedProtocolVersion) -> Self {
        let certificate = CertificateDer::from_pem_file(&identity.cert).expect("a certificate");
        Self::showing(
            vec![certificate],
            PrivateKeyDer::from_pem_file(&identity.key).expect("a key"),
            version,
        )
    }

    fn without(version: &'static SupportedProtocolVersion) -> Self {
        Self::with(None, version)
    }

    /// Shows what it is given, whether that is a certificate or not.
    fn showing(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        let key = rustls::crypto::ring::sign::any_supported_type(&key).expect("a key");
        Self::with(Some(Arc::new(CertifiedKey::new(chain, key))), version)
    }

    fn with(
        certified: Option<Arc<CertifiedKey>>,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        let shows = Arc::new(Shows {
            certified,
            was_asked: AtomicBool::new(false),
        });
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("a version");
        let config = config
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody));
        let mut config = config.with_client_cert_resolver(Arc::clone(&shows) as _);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            config: Arc::new(config),
            shows,
        }
    }

    fn was_asked(&self) -> bool {
        self.shows.was_asked.load(Ordering::Acquire)
    }

    async fn connect(&self, port: u16, name: &str) -> Option<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(("127.0.0.1", port))
            .await
            .expect("it listens");
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        TlsConnector::from(Arc::clone(&self.config))
            .connect(name, tcp)
            .await
            .ok()
    }

    /// One request on a connection of its own.
    async fn ask(&self, port: u16, name: &str, path: &str) -> Option<(String, HandshakeKind)> {
        let mut connection = self.connect(port, name).await?;
        let kind = connection
            .get_ref()
            .1
            .handshake_kind()
            .expect("a handshake");
        let answer = try_request_for(&mut connection, &format!("localhost:{port}"), path).await?;
        Some((answer, kind))
    }
}

async fn request(connection: &mut TlsStream<TcpStream>, port: u16, path: &str) -> String {
    request_for(connection, &format!("localhost:{port}"), path).await
}

async fn request_for(connection: &mut TlsStream<TcpStream>, host: &str, path: &str) -> String {
    try_request_for(connection, host, path)
        .await
        .expect("an answer")
}

/// One request on a connection that others follow on; the answer has a length.
async fn try_request_for(
    connection: &mut TlsStream<TcpStream>,
    host: &str,
    path: &str,
) -> Option<String> {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\r\n");
    connection.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    loop {
        let mut buffer = [0; 4_096];
        let read = connection
            .read(&mut buffer)
            .await
            .ok()
            .filter(|read| *read > 0)?;
        answer.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&answer).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse::<usize>()
                .ok()
        });
        let whole = match length {
            Some(length) => body.len() >= length,
            None => body.ends_with("0\r\n\r\n"),
        };
        if whole {
            return Some(text);
        }
    }
}

/// Stands before a port, and sends a client's first record on in records of one byte.
async fn shredding(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let own = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(("127.0.0.1", port))
                .await
                .expect("it listens");
            tokio::spawn(async move {
                let mut header = [0; 5];
                client.read_exact(&mut header).await.expect("a record");
                let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
                client.read_exact(&mut hello).await.expect("the rest of it");
                for byte in hello {
                    server
                        .write_all(&[header[0], header[1], header[2], 0, 1, byte])
                        .await
                        .expect("written");
                }
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    own
}

/// SHA-256 of a certificate's public key, by openssl.
fn public_key_sum(identity: &Identity) -> String {
    let file = identity.cert.to_str().expect("UTF-8");
    let command = format!(
        "openssl x509 -in {file} -pubkey -noout | openssl pkey -pubin -outform der | sha256sum | cut -d' ' -f1"
    );
    let output = Command::new("sh")
        .args(["-c", &command])
        .output()
        .expect("sh runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Takes any server's certificate.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[tokio::test]
async fn a_client_that_does_not_say_what_it_wants_gets_a_page_with_the_status_of_a_failure() {
    let certified = Certified::start().await;
    let curl = Curl::at(&format!("https://localhost:{}", certified.port)).and(&["-4"]);
    let missing = curl.get("/kfz").await;
    missing
        .is(401)
        .shows("Ihr Browser hat kein Zertifikat gesendet");
    let ada = curl.with(&certified.ada());
    ada.get("/").await.is(200);
    let out = ada.and(&["-d", ""]).get("/ui/login/de/abmelden").await;
    let left = ada.and(&["-b", &out.is(200).cookies()]);
    let told = left.get("/kfz?x=1").await;
    told.is(401)
        .shows("<h1>Bitte melden Sie sich an</h1>")
        .shows("/ui/login/de/zertifikat?return_to=/kfz%3Fx%3D1");
    assert_eq!(
        told.field("refresh"),
        Some("0;url=/ui/login/de/zertifikat?return_to=%2Fkfz%3Fx%3D1")
    );
    assert_eq!(told.field("set-cookie"), None);
    left.and(&["-d", "a=1"])
        .get("/kfz")
        .await
        .is(401)
        .shows("action=\"/ui/login/de/zertifikat?return_to=/kfz\"");
}

/// A broker with a browser in which the certificate is installed.
#[tokio::test]
async fn a_browser_with_a_certificate_is_let_in_and_out_and_in_again() {
    let certified = Certified::start().await;
    let base = format!("https://localhost:{}", certified.port);
    let ada = certified.authority.issue("VM-1", 51, |_| {});
    let browser = Chromium::builder()
        .flag("--ignore-certificate-errors")
        .certificate(&ada)
        .start()
        .await;
    browser.open(&format!("{base}/kfz")).await;
    browser.shows("Kfz").await;
    browser.open(&format!("{base}/ui/login/de/abmelden")).await;
    browser.shows(ADA.0).await;
    browser.is_accessible("sign-out").await;
    browser.click("form button").await;
    browser.shows("Sie sind abgemeldet").await;
    browser.open(&format!("{base}/kfz#unten")).await;
    browser.shows("MIT ZERTIFIKAT ANMELDEN").await;
    browser.is_accessible("certificate-signed-out").await;
    browser.click("form button").await;
    browser.shows("Kfz").await;
    assert!(browser.place().await.ends_with("/kfz#unten"));
}

#[tokio::test]
async fn a_browser_is_told_what_is_wrong_with_its_certificate() {
    let certified = Certified::start().await;
    let base = format!("https://localhost:{}", certified.port);
    let revoked = certified.authority.issue("VM-1", REVOKED, |_| {});
    let browser = Chromium::builder()
        .flag("--ignore-certificate-errors")
        .certificate(&revoked)
        .start()
        .await;
    browser.open(&format!("{base}/kfz")).await;
    browser.shows("Ihr Zertifikat wurde gesperrt").await;
    browser.is_accessible("certificate-revoked").await;
    drop(browser);
    let without = Chromium::builder()
        .flag("--ignore-certificate-errors")
        .start()
        .await;
    without.open(&format!("{base}/kfz")).await;
    without
        .shows("Ihr Browser hat kein Zertifikat gesendet")
        .await;
    without.click("nav.ways a").await;
    without.shows("Bitte melden Sie sich an").await;
    assert!(without.place().await.ends_with("vtnr-login?return_to=/kfz"));
}
