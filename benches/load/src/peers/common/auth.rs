//! A service that nginx asks with `auth_request`: is this session known? As quick as such a thing gets: it looks into a map.

use super::Place;
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::header::COOKIE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use tokio::net::TcpListener;

/// Who is signed in, by token.
type Sessions = Arc<RwLock<HashMap<String, String>>>;

/// The session that every peer knows: see `ground/mod.rs`.
const SESSION: (&str, &str) = (crate::common::TOKEN, "60/123/4567");

pub(crate) fn run(place: &Place) {
    let sessions: Sessions = Arc::new(RwLock::new(HashMap::from([(
        SESSION.0.to_owned(),
        SESSION.1.to_owned(),
    )])));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind(place.http).await.expect("a port");
        while let Ok((tcp, _)) = listener.accept().await {
            tcp.set_nodelay(true).expect("a socket");
            let sessions = Arc::clone(&sessions);
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let answer = judge(&request, &sessions);
                    async { Ok::<_, std::convert::Infallible>(answer) }
                });
                // A client that went away is no failure.
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(tcp), service)
                    .await;
            });
        }
    });
}

fn judge(request: &Request<Incoming>, sessions: &Sessions) -> Response<Empty<Bytes>> {
    let cookies = request
        .headers()
        .get(COOKIE)
        .and_then(|field| field.to_str().ok())
        .unwrap_or_default();
    let token = cookies
        .split("; ")
        .find_map(|cookie| cookie.strip_prefix("__Host-vtnr_session="));
    let known = sessions.read().expect("no panic");
    let mut answer = Response::new(Empty::new());
    match token.and_then(|token| known.get(token)) {
        Some(vtnr) => drop(
            answer
                .headers_mut()
                .insert("x-vtnr", vtnr.parse().expect("a number")),
        ),
        None => *answer.status_mut() = StatusCode::UNAUTHORIZED,
    }
    answer
}
