//! A gateway before an application that says what it was told, and three visitors: nobody, a broker without e-mail, and a broker.

use crate::support::behind::session_of;
use crate::support::{Behind, Upstream, World};

/// Mails and the client's address set no limits here.
pub(crate) const FREE: &str = "[limits]\nmail_pause = \"1000 in 1s\"\nmail_burst = \"1000 in 1m\"\nmail_day = \"1000 in 24h\"\n\
                               wrong_tans_client = \"100000 in 24h\"\nfailures_client = \"100000 in 1h\"\nvtnrs_client = \"100000 in 1h\"\n";

pub(crate) const LOGIN: &str = "/ui/login/de/";
pub(crate) const PUBLIC: &str = "/oeffentlich";
pub(crate) const SUBMISSION: &str = "/antrag/versand";

pub(crate) struct House {
    pub(crate) behind: Behind,
    without_email: String,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visitor {
    Nobody,
    WithoutEmail,
    Broker,
}

impl House {
    pub(crate) async fn open() -> Self {
        let further = format!("{FREE}[upstream]\npublic_paths = [\"{PUBLIC}\"]");
        let behind = Behind::with(telling().await, World::builder().https().config(&further)).await;
        let without_email = session_of(&behind.world.signed_in_without_email().await);
        Self {
            behind,
            without_email,
        }
    }

    /// The `Cookie` field's value; empty for nobody.
    pub(crate) fn cookie(&self, who: Visitor) -> &str {
        match who {
            Visitor::Nobody => "",
            Visitor::WithoutEmail => &self.without_email,
            Visitor::Broker => &self.behind.session,
        }
    }

    /// A request: `line` without the version, `fields` each with its line end.
    pub(crate) fn request(&self, who: Visitor, line: &str, fields: &str) -> String {
        let cookie = self.cookie(who);
        let cookie = if cookie.is_empty() {
            String::new()
        } else {
            format!("Cookie: {cookie}\r\n")
        };
        let host = if fields.starts_with("Host: ") {
            String::new()
        } else {
            format!("Host: {}\r\n", self.behind.host)
        };
        format!("{line} HTTP/1.1\r\n{host}{cookie}{fields}\r\n")
    }

    /// The status of the answer on a connection of its own; 0 if none comes.
    pub(crate) async fn status(&self, who: Visitor, line: &str, fields: &str) -> u16 {
        self.status_of(self.request(who, line, fields)).await
    }

    pub(crate) async fn status_of(&self, request: impl AsRef<[u8]>) -> u16 {
        self.behind
            .connect()
            .await
            .send(request)
            .await
            .head()
            .await
            .map_or(0, |head| head.status())
    }

    pub(crate) fn arrived(&self) -> usize {
        self.behind.upstream.requests().len()
    }

    /// What was thrown at it did no harm: it stands, and answers a broker.
    pub(crate) async fn still_stands(&self) {
        assert_eq!(
            self.behind.world.metric("vtnr_gateway_panics_total").await,
            0.0
        );
        assert_eq!(self.status(Visitor::Broker, "GET /", "").await, 200);
    }
}

/// Says who asks, by the identity field, and for what: so that an answer that goes astray shows.
pub(crate) async fn telling() -> Upstream {
    Upstream::start(|mut wire| async move {
        while let Some(request) = wire.request().await {
            let target = request.line.split(' ').nth(1).unwrap_or_default();
            let said = format!(
                "{} {target} {}",
                request.values("x-vtnr").join(","),
                request.body.len()
            );
            wire.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{said}",
                said.len()
            ))
            .await;
        }
    })
    .await
}
