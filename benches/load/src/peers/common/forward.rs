//! Forwarding with hyper on both sides, as the plain proxy and the hybrid do it.

use bytes::Bytes;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Either, Empty};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::net::SocketAddr;

/// A pool of connections to the upstream, and where that is.
#[derive(Clone)]
pub(crate) struct Forwarder {
    client: Client<HttpConnector, Incoming>,
    upstream: SocketAddr,
}

/// What concerns one connection only (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
];

impl Forwarder {
    pub(crate) fn new(upstream: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(1_024)
            .build(connector);
        Self { client, upstream }
    }

    /// Serves a connection, in whichever version of HTTP its client speaks.
    pub(crate) async fn serve<I: Read + Write + Unpin + Send + 'static>(self, io: I) {
        let service = service_fn(move |request| {
            let forwarder = self.clone();
            async move { Ok::<_, std::convert::Infallible>(forwarder.forward(request).await) }
        });
        let mut server = auto::Builder::new(TokioExecutor::new());
        server.http1().timer(TokioTimer::new());
        server.http2().timer(TokioTimer::new());
        // A client that went away is no failure.
        let _ = server.serve_connection(io, service).await;
    }

    async fn forward(
        &self,
        mut request: Request<Incoming>,
    ) -> Response<Either<Incoming, BoxBody<Bytes, hyper::Error>>> {
        HOP_BY_HOP
            .iter()
            .for_each(|name| drop(request.headers_mut().remove(name)));
        if let Some(authority) = request
            .uri()
            .authority()
            .filter(|_| !request.headers().contains_key(HOST))
            .cloned()
        {
            request
                .headers_mut()
                .insert(HOST, authority.as_str().parse().expect("an authority"));
        }
        let target = request
            .uri()
            .path_and_query()
            .map_or("/", |target| target.as_str());
        *request.uri_mut() = format!("http://{}{target}", self.upstream)
            .parse()
            .expect("a URI");
        *request.version_mut() = Version::HTTP_11;
        match self.client.request(request).await {
            Ok(mut answer) => {
                HOP_BY_HOP
                    .iter()
                    .for_each(|name| drop(answer.headers_mut().remove(name)));
                *answer.version_mut() = Version::HTTP_11;
                answer.map(Either::Left)
            }
            Err(_) => {
                let empty = Empty::new().map_err(|never| match never {}).boxed();
                let mut answer = Response::new(Either::Right(empty));
                *answer.status_mut() = StatusCode::BAD_GATEWAY;
                answer
            }
        }
    }
}

/// A socket as hyper takes it.
pub(crate) fn io<S>(stream: S) -> TokioIo<S> {
    TokioIo::new(stream)
}
