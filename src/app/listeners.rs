//! The sockets that a gateway listens on: bound here, or handed over by the process whose place it takes.

use super::error::Error;
use super::handover::{Handover, Inherited};
use crate::config::Config;
use crate::gateway::{self, Door, Tls};
use crate::identity::certificate::TrustStore;
use crate::live::Live;
use std::io::ErrorKind;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted; with the usual 128, a burst of clients waits for a second or more. The kernel has its own limit.
const BACKLOG: u32 = 4_096;

pub(super) struct Listeners {
    pub(super) clients: Vec<Door>,
    pub(super) admin: TcpListener,
    /// Another handle of its socket, to be handed over.
    pub(super) admin_too: std::net::TcpListener,
}

/// Whether the process takes another one's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakesOver {
    /// Takes over the sockets that wait at `listen.handover`.
    Yes,
    /// Binds sockets of its own.
    No,
}

pub(super) fn inherit(config: &Config, takes_over: TakesOver) -> Result<Option<Inherited>, Error> {
    if takes_over == TakesOver::No {
        // Its socket would be replaced, and nobody could take its place any more.
        let taken = config
            .listen
            .handover
            .clone()
            .filter(|path| Inherited::is_to_be_had(path));
        return taken.map_or(Ok(None), |path| Err(Error::SomebodyThere { path }));
    }
    let path = config
        .listen
        .handover
        .clone()
        .ok_or(Error::NobodyToTakeOverFrom)?;
    let nobody = [ErrorKind::NotFound, ErrorKind::ConnectionRefused];
    Inherited::from(&path)
        .map(Some)
        .map_err(|source| match source.kind() {
            kind if nobody.contains(&kind) => Error::NobodyThere { path },
            _ => Error::Handover { path, source },
        })
}

/// Waits for a process that is to take this one's place, where one may.
pub(super) fn await_successor(
    config: &Config,
    doors: &[Door],
    admin: std::net::TcpListener,
) -> Result<Option<Handover>, Error> {
    let Some(path) = config.listen.handover.clone() else {
        return Ok(None);
    };
    let sockets = doors
        .iter()
        .map(|door| door.listener.try_clone())
        .chain([Ok(admin)])
        .collect::<std::io::Result<_>>();
    let waits = sockets.and_then(|sockets| Handover::wait_at(&path, sockets));
    waits
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
        clients.push(Door {
            listener: listen("listen.http", address)?,
            tls: Tls::None,
        });
    }
    if let Some(https) = &config.listen.https {
        let listener = listen("listen.https", https.address)?;
        clients.push(Door {
            listener,
            tls: Tls::Server(Live::new(gateway::tls(https).map_err(Error::Tls)?)),
        });
    }
    if let Some((certificate, trust)) = config.certificate.as_ref().zip(trust) {
        let listener = listen("certificate.listen", certificate.https.address)?;
        let acceptor = gateway::certificate_tls(&certificate.https, trust).map_err(Error::Tls)?;
        clients.push(Door {
            listener,
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
    let admin_too = admin.try_clone().map_err(failed)?;
    Ok(Listeners {
        clients,
        admin: TcpListener::from_std(admin).map_err(failed)?,
        admin_too,
    })
}

fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // The port of a gateway that was restarted is still in use by the connections that it had.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}
