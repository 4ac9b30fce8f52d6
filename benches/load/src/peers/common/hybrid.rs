//! Pingora's server, listeners and TLS, with HTTP spoken by hyper on both sides: a `ServerApp` in the place of `HttpProxy`.

use super::Place;
use super::forward::{Forwarder, io};
use super::raw::listeners;
use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::listeners::L4BufferSettings;
use pingora::protocols::Stream;
use pingora::server::configuration::ServerConf;
use pingora::server::{Server, ShutdownWatch};
use pingora::services::listening::Service;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

struct Hybrid {
    upstream: SocketAddr,
    /// Made on first use: a pool belongs to a runtime.
    forwarder: OnceLock<Forwarder>,
}

#[async_trait]
impl ServerApp for Hybrid {
    async fn process_new(self: &Arc<Self>, stream: Stream, _: &ShutdownWatch) -> Option<Stream> {
        let forwarder = self
            .forwarder
            .get_or_init(|| Forwarder::new(self.upstream))
            .clone();
        forwarder.serve(io(stream)).await;
        None
    }
}

pub(crate) fn run(place: &Place) {
    let mut server = Server::new_with_opt_and_conf(
        None,
        ServerConf {
            threads: 1,
            work_stealing: false,
            ..ServerConf::default()
        },
    );
    server.bootstrap();
    let mut service = Service::new(
        "hybrid".into(),
        Hybrid {
            upstream: place.upstream,
            forwarder: OnceLock::new(),
        },
    );
    for listener in listeners(place) {
        service.add_listener(listener.l4_buffer(L4BufferSettings::default().read(0)));
    }
    server.add_service(service);
    server.run_forever();
}
