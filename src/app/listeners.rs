//! The listening sockets: bound here, or inherited from the process that this one replaces.

use super::error::Error;
use super::handover::{Handover, Inherited};
use crate::config::Config;
use crate::gateway::{self, Listener, Tls};
use crate::identity::certificate::TrustStore;
use crate::live::Live;
use std::io::ErrorKind;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

/// The accept queue's length; with the usual 128, a burst of clients waits for a second or more. The kernel may lower it.
const BACKLOG: u32 = 4_096;

pub(super) struct Listeners {
    pub(super) clients: Vec<Listener>,
    pub(super) admin: TcpListener,
    /// A duplicate handle, for the handover to the next process.
    pub(super) admin_handle: std::net::TcpListener,
}

/// Whether the process replaces a running one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakesOver {
    /// Inherits the sockets from the process at `listen.handover`.
    Yes,
    /// Binds its own sockets.
    No,
}

pub(super) fn inherit(config: &Config, takes_over: TakesOver) -> Result<Option<Inherited>, Error> {
    if takes_over == TakesOver::No {
        // Starting would replace the handover socket of the running process, and nobody could take over from it.
        let taken = config
            .listen
            .handover
            .clone()
            .filter(|path| Inherited::is_available(path));
        return taken.map_or(Ok(None), |path| Err(Error::SomebodyThere { path }));
    }
    let path = config
        .listen
        .handover
        .clone()
        .ok_or(Error::NobodyToTakeOverFrom)?;
    let absent = [ErrorKind::NotFound, ErrorKind::ConnectionRefused];
    Inherited::from(&path)
        .map(Some)
        .map_err(|source| match source.kind() {
            kind if absent.contains(&kind) => Error::NobodyThere { path },
            _ => Error::Handover { path, source },
        })
}

/// Opens the handover socket for the next process, if `listen.handover` is set.
pub(super) fn await_successor(
    config: &Config,
    listeners: &[Listener],
    admin: std::net::TcpListener,
) -> Result<Option<Handover>, Error> {
    let Some(path) = config.listen.handover.clone() else {
        return Ok(None);
    };
    let sockets = listeners
        .iter()
        .map(|listener| listener.socket.try_clone())
        .chain([Ok(admin)])
        .collect::<std::io::Result<_>>();
    let handover = sockets.and_then(|sockets| Handover::bind(&path, sockets));
    handover
        .map(Some)
        .map_err(|source| Error::Handover { path, source })
}

pub(super) async fn handed_over(successor: Option<Handover>) {
    match successor {
        Some(successor) => successor.done().await,
        None => std::future::pending().await,
    }
}

pub(super) fn bind(
    config: &Config,
    trust: Option<&TrustStore>,
    mut inherited: Option<&mut Inherited>,
) -> Result<Listeners, Error> {
    let mut listen = |key, address| {
        let handed_over = inherited
            .as_mut()
            .and_then(|inherited| inherited.take(address));
        handed_over
            .map_or_else(|| listen(address), Ok)
            .map_err(|source| Error::Listen {
                key,
                address,
                source,
            })
    };
    let mut clients = Vec::new();
    if let Some(address) = config.listen.http {
        clients.push(Listener {
            socket: listen("listen.http", address)?,
            tls: Tls::None,
        });
    }
    if let Some(https) = &config.listen.https {
        let socket = listen("listen.https", https.address)?;
        clients.push(Listener {
            socket,
            tls: Tls::Server(Live::new(gateway::tls(https).map_err(Error::Tls)?)),
        });
    }
    if let Some((certificate, trust)) = config.certificate.as_ref().zip(trust) {
        let socket = listen("certificate.listen", certificate.https.address)?;
        let acceptor = gateway::certificate_tls(&certificate.https, trust).map_err(Error::Tls)?;
        clients.push(Listener {
            socket,
            tls: Tls::Certificates(Live::new(acceptor)),
        });
    }
    let key = "admin.listen";
    let address = config.admin_listen;
    let admin = listen(key, address)?;
    let failed = |source| Error::Listen {
        key,
        address,
        source,
    };
    admin.set_nonblocking(true).map_err(failed)?;
    let admin_handle = admin.try_clone().map_err(failed)?;
    Ok(Listeners {
        clients,
        admin: TcpListener::from_std(admin).map_err(failed)?,
        admin_handle,
    })
}

fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // After a restart, connections of the previous process still occupy the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}
