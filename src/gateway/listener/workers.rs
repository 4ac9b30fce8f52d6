//! Worker threads that serve clients. Each has its own runtime and keeps the connections that it accepted.
//!
//! So no request moves between cores, and there is no lock of a shared scheduler. Everything else (the store's connections, the
//! outbox, the admin listener) runs on another runtime.

use crate::gateway::listener::accept::{GatewayServer, Listener};
use pingora::proxy::{HttpProxy, ProxyHttp};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The running worker threads.
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
    over: watch::Sender<bool>,
}

impl Workers {
    /// Starts a thread for each of the server's proxies. Every thread accepts clients on all of these listeners.
    ///
    /// # Errors
    /// The operating system cannot start a thread or duplicate a socket.
    pub fn start<S>(server: &Arc<GatewayServer<S>>, listeners: &[Listener]) -> io::Result<Self>
    where
        S: ProxyHttp + Send + Sync + 'static,
        S::CTX: Send + Sync,
    {
        let mut workers = Self {
            threads: Vec::new(),
            over: watch::Sender::new(false),
        };
        for (nr, proxy) in server.proxies().iter().enumerate() {
            let listeners = listeners
                .iter()
                .map(Listener::try_clone)
                .collect::<io::Result<Vec<_>>>()?;
            let server = Arc::clone(server);
            let proxy = Arc::clone(proxy);
            let over = workers.over.subscribe();
            let (begins, begun) = sync_channel(1);
            let serve = move || {
                let runtime = match Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(begins.send(Err(error))),
                };
                drop(begins.send(Ok(())));
                runtime.block_on(serve(server, proxy, listeners, over));
                // Whatever is still open, such as a WebSocket, had its grace period.
                runtime.shutdown_background();
            };
            workers.threads.push(
                std::thread::Builder::new()
                    .name(format!("worker-{nr}"))
                    .spawn(serve)?,
            );
            begun.recv().map_err(io::Error::other)??;
        }
        Ok(workers)
    }

    /// Stops all threads at once, and waits for them.
    pub async fn stop(self) {
        self.over.send_replace(true);
        let join = move || {
            self.threads
                .into_iter()
                .for_each(|thread| drop(thread.join()))
        };
        // A panicked thread must not prevent the exit.
        let _ = tokio::task::spawn_blocking(join).await;
    }
}

impl Listener {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
            tls: self.tls.clone(),
        })
    }
}

async fn serve<S>(
    server: Arc<GatewayServer<S>>,
    proxy: Arc<HttpProxy<S>>,
    listeners: Vec<Listener>,
    mut over: watch::Receiver<bool>,
) where
    S: ProxyHttp + Send + Sync + 'static,
    S::CTX: Send + Sync,
{
    let mut serving = JoinSet::new();
    for Listener { socket, tls } in listeners {
        match TcpListener::from_std(socket) {
            Ok(listener) => {
                drop(serving.spawn(Arc::clone(&server).serve(Arc::clone(&proxy), listener, tls)))
            }
            Err(error) => {
                tracing::error!(target: "gateway", %error, "a worker thread cannot accept clients")
            }
        }
    }
    // A dropped sender means shutdown, too.
    let _ = over.wait_for(|over| *over).await;
}
