//! The request path: what comes in, who decides, what goes to the calculator.
//!
//! The only folder that knows Pingora. Nothing reaches the calculator without a permit (`domain::policy::Permit`), and
//! `admission/` alone hands permits out. `app` builds a gateway and serves it.
//!
//! Rooms, each of which imports only those below it (`tests/tidy/main.rs` checks the arrows):
//!
//! | room | task |
//! |---|---|
//! | `proxy` | Pingora's hooks; owns the parts |
//! | `sign_in_pages` | HTTP for the sign-in's pages |
//! | `admission` | all that can end in a permit |
//! | `upstream` | the calculator's servers, what goes up and what comes back |
//! | `websocket` | open WebSockets, which end with their session |
//! | `respond` | the gateway's own answers, failures, the access log |
//! | `listener` | sockets in; knows nothing of requests |
//! | `request` | pure reading of a request |

mod admission;
mod build;
mod concurrency;
mod context;
#[cfg(feature = "bench")]
pub mod hot_path;
mod listener;
mod membership;
mod outgoing;
mod proxy;
mod request;
mod respond;
mod sign_in_pages;
mod upstream;
mod websocket;

pub use build::{Parts, Server, build, certificate_tls, tls};
pub use listener::accept::{DrainReport, DrainTimeouts, Listener, Tls};
pub use listener::client_cert_tls::ClientCertAcceptor;
pub use listener::workers::Workers;
pub use pingora::listeners::tls::Acceptor;
