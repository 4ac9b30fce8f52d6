//! One of several servers of an old application: it keeps its sessions in its own memory.

use super::Upstream;
use super::upstream::{Request, Wire};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

/// What its health path is.
pub const HEALTH: &str = "/gesund";

/// What is answered on a connection that ends with it: none is kept of it.
pub const ALONE: &str = "/allein";

/// What is answered after some milliseconds, so that there is always something under way.
pub const SLOW: &str = "/langsam";

/// A server.
pub struct Node {
    pub upstream: Upstream,
    name: &'static str,
    state: Arc<State>,
}

/// How it treats requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Answers.
    Well,
    /// Answers, but says of itself that it is not well.
    Unwell,
    /// Reads and never answers.
    Hanging,
    /// Ends the connection in place of an answer.
    Ending,
}

struct State {
    mode: Mutex<Mode>,
    /// What its cookies end with.
    suffix: &'static str,
    sessions: Mutex<HashSet<String>>,
}

/// Sessions begun by all servers, so that each has a number of its own.
static BEGUN: AtomicUsize = AtomicUsize::new(0);

impl Node {
    /// A server whose cookies say nothing of it.
    pub async fn start(name: &'static str) -> Self {
        Self::with(name, "").await
    }

    /// A server whose session cookies end with `suffix`.
    pub async fn with(name: &'static str, suffix: &'static str) -> Self {
        Self::at(
            TcpListener::bind("127.0.0.1:0").await.expect("a port"),
            name,
            suffix,
        )
    }

    fn at(listener: TcpListener, name: &'static str, suffix: &'static str) -> Self {
        let state = Arc::new(State {
            mode: Mutex::new(Mode::Well),
            suffix,
            sessions: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let upstream = Upstream::at(listener, move |wire| {
            let state = Arc::clone(&shared);
            async move { state.serve(name, wire).await }
        });
        Self {
            upstream,
            name,
            state,
        }
    }

    pub fn set(&self, mode: Mode) {
        *self.state.mode.lock().expect("no panic") = mode;
    }

    /// Ends it with all that it remembers.
    pub async fn kill(&mut self) {
        self.upstream.kill().await;
    }

    /// The same server again, at the same address and with an empty memory.
    pub async fn again(&self) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", self.upstream.port()))
            .await
            .expect("the port is free again");
        Self::at(listener, self.name, self.state.suffix)
    }

    /// What reached it but for questions how it is.
    pub fn requests(&self) -> Vec<Request> {
        self.upstream
            .requests()
            .into_iter()
            .filter(|request| !request.line.contains(HEALTH))
            .collect()
    }
}

impl State {
    async fn serve(&self, name: &str, mut wire: Wire) {
        while let Some(request) = wire.request().await {
            let mode = *self.mode.lock().expect("no panic");
            match mode {
                Mode::Hanging => return wire.ended().await,
                Mode::Ending if !request.line.contains(HEALTH) => return,
                Mode::Unwell if request.line.contains(HEALTH) => {
                    wire.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
                        .await;
                }
                Mode::Well | Mode::Unwell | Mode::Ending => {
                    if request.line.contains(SLOW) {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    wire.send(self.answer(name, &request)).await;
                    if request.line.contains(ALONE) {
                        return;
                    }
                }
            }
        }
    }

    fn answer(&self, name: &str, request: &Request) -> String {
        let mut sessions = self.sessions.lock().expect("no panic");
        let cookies = request.values("cookie").join("; ");
        let known = cookies
            .split("; ")
            .filter_map(|cookie| cookie.strip_prefix("JSESSIONID="))
            .any(|id| sessions.contains(id));
        let (cookie, word) = if known {
            (String::new(), "known")
        } else {
            let id = format!(
                "{name}-{}{}",
                BEGUN.fetch_add(1, Ordering::SeqCst),
                self.suffix
            );
            let cookie = format!("Set-Cookie: JSESSIONID={id}; Path=/; HttpOnly\r\n");
            sessions.insert(id);
            (cookie, "new")
        };
        let body = format!("{name} {word}");
        let last = if request.line.contains(ALONE) {
            "Connection: close\r\n"
        } else {
            ""
        };
        format!(
            "HTTP/1.1 200 OK\r\n{cookie}{last}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}
