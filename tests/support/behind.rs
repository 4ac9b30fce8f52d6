//! A gateway before an application written by hand, and a broker who is signed in.

use super::raw::{Raw, RawAnswer};
use super::world::{ADA, Builder, StoreKind, World};
use super::{Browser, Upstream};

/// What most tests of the request path need.
pub struct Behind {
    pub world: World,
    pub upstream: Upstream,
    pub browser: Browser,
    /// The broker's session as a `Cookie` field's value.
    pub session: String,
    /// What the `Host` field must say.
    pub host: String,
}

impl Behind {
    /// A gateway over http.
    pub async fn http(upstream: Upstream) -> Self {
        Self::with(upstream, World::builder()).await
    }

    /// A gateway over https too.
    pub async fn https(upstream: Upstream) -> Self {
        Self::with(upstream, World::builder().https()).await
    }

    /// A gateway to one's own wishes.
    pub async fn with(upstream: Upstream, builder: Builder) -> Self {
        let world = builder
            .store(StoreKind::Memory)
            .upstream(&upstream.url())
            .start()
            .await;
        let browser = world.signed_in(ADA).await;
        let session = session_of(&browser);
        let host = format!("127.0.0.1:{}", world.gateways[0].port);
        Self {
            world,
            upstream,
            browser,
            session,
            host,
        }
    }

    /// A connection to the gateway.
    pub async fn connect(&self) -> Raw {
        Raw::connect(self.world.gateways[0].port).await
    }

    /// A connection straight to the application.
    pub async fn directly(&self) -> Raw {
        Raw::connect(self.upstream.port()).await
    }

    /// A request of the broker's: `line` without the version, `fields` each with its line end.
    pub fn request(&self, line: &str, fields: &str) -> Vec<u8> {
        format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n{fields}\r\n",
            self.host, self.session
        )
        .into_bytes()
    }

    /// The same over HTTP/2.
    pub fn h2(&self, method: &str, target: &str) -> http::request::Builder {
        let port = self.world.gateways[0].https.expect("a world with https");
        let request = http::Request::builder()
            .version(http::Version::HTTP_2)
            .method(method);
        request
            .uri(format!("https://localhost:{port}{target}"))
            .header("cookie", &self.session)
    }

    /// Asks on a connection of its own, as the broker.
    pub async fn ask(&self, line: &str, fields: &str) -> RawAnswer {
        let method = line.split(' ').next().unwrap_or_default();
        self.connect()
            .await
            .send(self.request(line, fields))
            .await
            .answer_to(method)
            .await
    }

    /// Asserts that the broker is still signed in.
    pub async fn still_signed_in(&self) {
        let status = self.browser.open("/ui/login/de/vtnr-login").await;
        assert!(
            status.headers.get("set-cookie").is_none(),
            "{:?}",
            status.headers
        );
        let mut client = self.connect().await;
        client.send(self.request("GET /still-there", "")).await;
        let answer = client.head().await.expect("an answer");
        assert!(!matches!(answer.status(), 303 | 401), "{answer:?}");
    }
}

/// A browser's session as a `Cookie` field's value.
pub fn session_of(browser: &Browser) -> String {
    let name = ["vtnr_session", "__Host-vtnr_session"]
        .into_iter()
        .find(|name| browser.cookie(name).is_some());
    let name = name.expect("a session");
    format!("{name}={}", browser.cookie(name).expect("a session"))
}
