//! The admin listener: `/metrics`, `/healthz` and `/readyz`, for the operator's machines only.
//!
//! It is read-only and needs no sign-in, and so belongs on an address that brokers cannot reach.

mod hosts;

use super::metrics::Metrics;
use async_trait::async_trait;
use bytes::Bytes;
use hosts::AdminHosts;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// A current problem of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminProblem {
    /// The affected part: `store`, `directory`, `mail`, `certificate`, `calculator`, `shutdown`.
    pub part: &'static str,
    /// One line for the operator, without secrets and e-mail addresses.
    pub detail: String,
    pub fatal: Fatal,
}

/// Whether a problem keeps brokers from signing in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fatal {
    /// The gateway is not ready: a load balancer must send clients elsewhere.
    Yes,
    /// The operator must act, but clients can be served.
    No,
}

/// A source of current problems.
#[async_trait]
pub trait Readiness: Send + Sync {
    /// Returns all current problems.
    async fn problems(&self) -> Vec<AdminProblem>;
}

/// The timeout of `/readyz`; load balancers ask again soon.
const READINESS_TIMEOUT: Duration = Duration::from_secs(3);
/// The timeout for in-flight responses after `shutdown`.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone)]
struct Admin {
    metrics: Arc<Metrics>,
    readiness: Arc<dyn Readiness>,
    hosts: AdminHosts,
}

/// Serves `listener` until `shutdown` completes, and up to a second longer. Requests must name an address, `localhost` or one of
/// `hosts` (`admin.hosts`).
///
/// # Errors
/// The listener cannot accept connections any more.
pub async fn serve(
    listener: TcpListener,
    hosts: Vec<String>,
    metrics: Arc<Metrics>,
    readiness: Arc<dyn Readiness>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let admin = Admin {
        metrics,
        readiness,
        hosts: AdminHosts::new(&hosts),
    };
    let connections = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        // A client may disconnect before it is accepted.
        let Ok((tcp, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let admin = admin.clone();
        let service = service_fn(move |request| {
            let admin = admin.clone();
            async move { Ok::<_, Infallible>(admin.answer(&request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(tcp), service);
        let connection = connections.watch(connection);
        // Connection errors of clients are not failures of the gateway.
        tokio::spawn(async move { drop(connection.await) });
    }
    // A client that reads slowly must not keep the process alive.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, connections.shutdown()).await;
    Ok(())
}

impl Admin {
    async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let (status, content_type, body) = self.find(request).await;
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
        }
        response
    }

    async fn find<B>(&self, request: &Request<B>) -> (StatusCode, &'static str, String) {
        const TEXT: &str = "text/plain; charset=utf-8";
        let hosts = &self.hosts;
        if !hosts.take(request.version(), request.uri(), request.headers()) {
            let text = "this host is not one of admin.hosts\n".to_owned();
            return (StatusCode::MISDIRECTED_REQUEST, TEXT, text);
        }
        let path = request.uri().path();
        if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
            return (StatusCode::NOT_FOUND, TEXT, "not found\n".to_owned());
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return (StatusCode::METHOD_NOT_ALLOWED, TEXT, String::new());
        }
        match path {
            "/metrics" => match self.metrics.render() {
                Ok(text) => (StatusCode::OK, prometheus::TEXT_FORMAT, text),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "failed to render the metrics");
                    (StatusCode::INTERNAL_SERVER_ERROR, TEXT, String::new())
                }
            },
            "/readyz" => {
                let asked = tokio::time::timeout(READINESS_TIMEOUT, self.readiness.problems());
                let problems = asked.await.unwrap_or_else(|_| {
                    vec![AdminProblem {
                        part: "readiness",
                        detail: "no answer in time".to_owned(),
                        fatal: Fatal::Yes,
                    }]
                });
                let (status, text) = report(&problems);
                (status, TEXT, text)
            }
            _ => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        }
    }
}

/// Renders one line for the status and one for each problem.
fn report(problems: &[AdminProblem]) -> (StatusCode, String) {
    let unready = problems.iter().any(|problem| problem.fatal == Fatal::Yes);
    let (status, verdict) = if unready {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    } else {
        (StatusCode::OK, "ready")
    };
    let mut text = format!("{verdict}\n");
    for AdminProblem {
        part,
        detail,
        fatal,
    } in problems
    {
        let weight = if *fatal == Fatal::Yes {
            "fatal"
        } else {
            "impaired"
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{part}: {weight}: {}",
            detail.replace(['\r', '\n'], " ")
        );
    }
    (status, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    struct Says(Vec<AdminProblem>);

    #[async_trait]
    impl Readiness for Says {
        async fn problems(&self) -> Vec<AdminProblem> {
            self.0.clone()
        }
    }

    /// One request on a connection of its own; the answer as it came over the wire.
    async fn ask(method: &str, path: &str, problems: Vec<AdminProblem>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move { drop(stopped.await) };
        let metrics = Arc::new(Metrics::new().expect("registered"));
        let server = tokio::spawn(serve(
            listener,
            vec!["admin".to_owned()],
            metrics,
            Arc::new(Says(problems)),
            shutdown,
        ));
        let mut client = TcpStream::connect(address).await.expect("connected");
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("answered");
        drop(stop);
        server.await.expect("no panic").expect("ended");
        answer
    }

    fn problem(part: &'static str, fatal: Fatal) -> AdminProblem {
        AdminProblem {
            part,
            detail: "the store\ndoes not answer".to_owned(),
            fatal,
        }
    }

    #[tokio::test]
    async fn a_process_that_lives_says_ok() {
        let answer = ask("GET", "/healthz", vec![problem("store", Fatal::Yes)]).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nok\n"),
            "{answer}"
        );
        assert!(answer.contains("cache-control: no-store"), "{answer}");
    }

    #[tokio::test]
    async fn metrics_are_shown_as_prometheus_reads_them() {
        let answer = ask("GET", "/metrics", vec![]).await;
        assert!(
            answer.contains("content-type: text/plain; version=0.0.4"),
            "{answer}"
        );
        assert!(
            answer.contains("\nvtnr_gateway_build_info{version="),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn mail_trouble_is_named_and_leaves_the_gateway_ready() {
        let answer = ask("GET", "/readyz", vec![problem("mail", Fatal::No)]).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            answer.ends_with("ready\nmail: impaired: the store does not answer\n"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn without_the_store_the_gateway_is_not_ready_and_says_why() {
        let answer = ask(
            "GET",
            "/readyz",
            vec![problem("mail", Fatal::No), problem("store", Fatal::Yes)],
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(
            answer.contains("\r\n\r\nnot ready\n")
                && answer.ends_with("store: fatal: the store does not answer\n"),
            "{answer}"
        );
        let answer = ask("HEAD", "/readyz", vec![problem("store", Fatal::Yes)]).await;
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn other_paths_and_methods_get_nothing() {
        for (method, path, status) in [
            ("GET", "/", 404),
            ("GET", "/metrics/", 404),
            ("GET", "/%2e/metrics", 404),
            ("POST", "/metrics", 405),
            ("DELETE", "/x", 404),
        ] {
            let answer = ask(method, path, vec![]).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{method} {path}: {answer}"
            );
            assert!(
                answer.contains("cache-control: no-store"),
                "{method} {path}: {answer}"
            );
        }
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_does_not_keep_the_process_alive() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let mut client = TcpStream::connect(listener.local_addr().expect("bound"))
            .await
            .expect("connected");
        client
            .write_all(b"GET /healthz HTTP/1.1\r\n")
            .await
            .expect("sent");
        let metrics = Arc::new(Metrics::new().expect("registered"));
        let ended = serve(
            listener,
            Vec::new(),
            metrics,
            Arc::new(Says(vec![])),
            async {},
        );
        tokio::time::timeout(DRAIN_TIMEOUT * 3, ended)
            .await
            .expect("ended in time")
            .expect("ended");
    }
}
