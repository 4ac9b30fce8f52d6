//! The admin listener: `/metrics`, `/healthz` and `/readyz`, for the operator's machines only.
//!
//! It changes nothing, needs no sign-in, and so belongs on an address that brokers do not reach.

mod hosts;

use super::metrics::Metrics;
use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hosts::AdminHosts;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Something that the gateway cannot do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminProblem {
    /// Which part: `store`, `directory`, `mail`, `certificate`, `calculator`, `shutdown`.
    pub part: &'static str,
    /// What is wrong, in one line for the operator; no secret, no e-mail address.
    pub detail: String,
    /// Whether brokers can still sign in.
    pub fatal: Fatal,
}

/// Whether a problem keeps brokers from signing in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fatal {
    /// The state makes the gateway unready: a load balancer must send clients elsewhere.
    Yes,
    /// The state concerns the operator only; clients may come.
    No,
}

/// Knows what the gateway cannot do.
#[async_trait]
pub trait Readiness: Send + Sync {
    /// Everything that is wrong now; empty if all is well.
    async fn problems(&self) -> Vec<AdminProblem>;
}

/// Longest that `/readyz` takes; load balancers ask again soon.
const READINESS_TIMEOUT: Duration = Duration::from_secs(3);
/// How long answers under way may take once `shutdown` came.
const FAREWELL: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct Admin {
    metrics: Arc<Metrics>,
    readiness: Arc<dyn Readiness>,
}

/// Answers on `listener`, for requests to these hosts (`admin.hosts`), addresses and `localhost`, until `shutdown` completes, and at most a second longer.
///
/// # Errors
/// None at present; `axum` keeps the right to give one.
pub async fn serve(
    listener: TcpListener,
    hosts: Vec<String>,
    metrics: Arc<Metrics>,
    readiness: Arc<dyn Readiness>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = router(Admin { metrics, readiness }, AdminHosts::new(&hosts));
    let (stopping, mut stopped) = watch::channel(());
    let until = async move {
        shutdown.await;
        drop(stopping);
    };
    let answers = axum::serve(listener, router).with_graceful_shutdown(until);
    // A client that reads slowly must not keep the process alive.
    let farewell = async {
        while stopped.changed().await.is_ok() {}
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        ended = answers => ended,
        () = farewell => Ok(()),
    }
}

fn router(admin: Admin, hosts: AdminHosts) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .fallback(async || (StatusCode::NOT_FOUND, "not found\n"))
        .layer(axum::middleware::from_fn_with_state(hosts, hosts::check))
        .layer(axum::middleware::map_response(not_to_be_stored))
        .with_state(admin)
}

async fn not_to_be_stored(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match admin.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the metrics cannot be shown"
            );
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let asked = tokio::time::timeout(READINESS_TIMEOUT, admin.readiness.problems()).await;
    let problems = asked.unwrap_or_else(|_| {
        vec![AdminProblem {
            part: "readiness",
            detail: "no answer in time".to_owned(),
            fatal: Fatal::Yes,
        }]
    });
    report(&problems).into_response()
}

/// One line for the verdict and one for each problem.
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
        tokio::time::timeout(FAREWELL * 3, ended)
            .await
            .expect("ended in time")
            .expect("ended");
    }
}
