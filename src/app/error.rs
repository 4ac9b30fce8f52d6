//! Errors that prevent the start of a gateway, with the messages that `serve` prints.

use crate::identity::certificate;
use crate::identity::directory;
use crate::identity::portal;
use crate::identity::users;
use crate::mail;
use crate::pages;
use crate::store;
use crate::telemetry::metrics;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The reason why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{key}: cannot listen on {address}")]
    Listen {
        key: &'static str,
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("the directory cannot be used")]
    Directory(#[from] directory::Error),
    #[error("password.file")]
    Users(#[from] users::Error),
    #[error("the pages cannot be drawn")]
    Pages(#[from] pages::Error),
    #[error("mails cannot be written")]
    Mail(#[from] mail::Error),
    #[error("the store cannot be used")]
    Store(#[from] store::Error),
    #[error("listen.handover: {}", path.display())]
    Handover {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "--takeover: no gateway waits at {} (listen.handover) for another process to take its place; \
         if none runs, start this one without --takeover", path.display()
    )]
    NobodyThere { path: PathBuf },
    #[error(
        "listen.handover: another gateway waits at {} for a process to take its place: \
         give this one a path of its own, or start it with --takeover to take that one's place", path.display()
    )]
    SomebodyThere { path: PathBuf },
    #[error(
        "--takeover needs listen.handover, the same that the gateway has whose place is to be taken"
    )]
    NobodyToTakeOverFrom,
    #[error("--takeover: nobody could sign in here, so that the former process keeps its place")]
    NobodyCouldSignIn(#[source] store::Error),
    #[error("listen.tls: {0}")]
    Tls(String),
    #[error("certificates cannot be accepted")]
    Certificates(#[from] certificate::Error),
    #[error("the portal cannot be asked")]
    Portal(#[from] portal::Error),
    #[error("the metrics cannot be set up")]
    Metrics(#[from] metrics::Error),
    #[error("clients cannot be served")]
    Threads(#[source] std::io::Error),
    #[error("signals cannot be received")]
    Signals(#[source] std::io::Error),
}
