//! What an operator could build in Rust instead, each a process of its own: `load-peer KIND HTTP HTTPS UPSTREAM CERT KEY`.

mod auth;
mod forward;
mod hybrid;
mod plain;
mod raw;

use std::net::SocketAddr;
use std::process::ExitCode;

/// The session that peers with a check of their own know.
pub(crate) const TOKEN: &str = include_str!("../../ground/token.txt");

/// Where a peer listens and what it stands before.
pub(crate) struct Place {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) upstream: SocketAddr,
    pub(crate) cert: String,
    pub(crate) key: String,
}

pub(crate) fn run() -> ExitCode {
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("the only provider");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, http, https, upstream, cert, key] = arguments.as_slice() else {
        eprintln!("load-peer KIND HTTP HTTPS UPSTREAM CERT KEY");
        return ExitCode::from(64);
    };
    let address = |text: &String| text.parse().expect("an address");
    let place = Place {
        http: address(http),
        https: address(https),
        upstream: address(upstream),
        cert: cert.clone(),
        key: key.clone(),
    };
    match kind.as_str() {
        "raw" => raw::run(&place, raw::Settings::AsTheyCome),
        "tuned" => raw::run(&place, raw::Settings::Tuned),
        "hybrid" => hybrid::run(&place),
        "plain" => plain::run(&place),
        "auth" => auth::run(&place),
        _ => {
            eprintln!("load-peer: no such kind: {kind}");
            return ExitCode::from(64);
        }
    }
    ExitCode::SUCCESS
}
