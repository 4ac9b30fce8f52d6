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
    #[error("the pages cannot be rendered")]
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
        "--takeover: no gateway listens at {} (listen.handover); \
         if none is running, start this one without --takeover", path.display()
    )]
    NobodyThere { path: PathBuf },
    #[error(
        "listen.handover: another gateway listens at {}: \
         give this one its own path, or start it with --takeover to replace the other", path.display()
    )]
    SomebodyThere { path: PathBuf },
    #[error("--takeover needs listen.handover, with the path of the gateway to replace")]
    NobodyToTakeOverFrom,
    #[error("--takeover: nobody could sign in here, so the previous process keeps running")]
    NobodyCouldSignIn(#[source] store::Error),
    #[error("listen.tls: {0}")]
    Tls(String),
    #[error("certificates cannot be accepted")]
    Certificates(#[from] certificate::Error),
    #[error("the portal cannot be used")]
    Portal(#[from] portal::Error),
    #[error("the metrics cannot be set up")]
    Metrics(#[from] metrics::Error),
    #[error("clients cannot be served")]
    Threads(#[source] std::io::Error),
    #[error("signals cannot be received")]
    Signals(#[source] std::io::Error),
}
