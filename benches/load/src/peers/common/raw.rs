//! Pingora as its own guide shows it: a pass-through, without any check.

use super::Place;
use async_trait::async_trait;

use pingora::listeners::tls::TlsSettings;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::modules::http::HttpModules;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use std::net::SocketAddr;

/// How Pingora is set up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settings {
    /// Nothing is set.
    AsTheyCome,
    /// No stealing between threads, no buffer for reading at the listener, no modules, a peer made once, a pool larger than the load.
    Tuned,
}

struct PassThrough {
    upstream: SocketAddr,
    peer: HttpPeer,
    settings: Settings,
}

#[async_trait]
impl ProxyHttp for PassThrough {
    type CTX = ();

    fn new_ctx(&self) {}

    fn init_downstream_modules(&self, modules: &mut HttpModules) {
        if self.settings == Settings::AsTheyCome {
            modules.add_module(
                pingora::modules::http::compression::ResponseCompressionBuilder::enable(0),
            );
        }
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(match self.settings {
            Settings::AsTheyCome => HttpPeer::new(self.upstream, false, String::new()),
            Settings::Tuned => self.peer.clone(),
        }))
    }
}

pub(crate) fn run(place: &Place, settings: Settings) {
    let mut conf = ServerConf {
        threads: 1,
        ..ServerConf::default()
    };
    if settings == Settings::Tuned {
        conf.work_stealing = false;
        conf.upstream_keepalive_pool_size = 1_024;
    }
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let peer = HttpPeer::new(place.upstream, false, String::new());
    let mut service = http_proxy_service(
        &server.configuration,
        PassThrough {
            upstream: place.upstream,
            peer,
            settings,
        },
    );
    for listener in listeners(place) {
        service.add_listener(match settings {
            Settings::AsTheyCome => listener,
            Settings::Tuned => listener.l4_buffer(L4BufferSettings::default().read(0)),
        });
    }
    server.add_service(service);
    server.run_forever();
}

/// Plain http, and https with HTTP/2.
pub(crate) fn listeners(place: &Place) -> [ListenerConfig; 2] {
    let mut tls = TlsSettings::intermediate(&place.cert, &place.key).expect("a certificate");
    tls.enable_h2();
    [
        ListenerConfig::tcp(place.http.to_string()),
        ListenerConfig::tcp(place.https.to_string()).tls(tls),
    ]
}
