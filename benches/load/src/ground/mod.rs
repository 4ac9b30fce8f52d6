//! What a measurement stands on: processes on their cores, ports, certificates, files.

pub(crate) mod gateway;
pub(crate) mod process;
pub(crate) mod servers;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// The session that peers with a check of their own know.
pub(crate) const TOKEN: &str = include_str!("token.txt");
/// As long as those of the gateway, for who takes none.
pub(crate) const TICKET: &str = include_str!("ticket.txt");
/// The broker whose session it is.
pub(crate) const VTNR: &str = "60/123/4567";

/// The sizes of the files that are asked for, by their names.
pub(crate) const FILES: [(&str, usize); 3] = [("1k", 1 << 10), ("16k", 16 << 10), ("1m", 1 << 20)];

/// What a signed-in browser has.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) token: String,
    pub(crate) ticket: String,
}

impl Held {
    /// What peers know.
    pub(crate) fn of_peers() -> Self {
        Self {
            token: TOKEN.to_owned(),
            ticket: TICKET.to_owned(),
        }
    }
}

/// A folder for all that is written, with the files that the upstream serves and a certificate.
pub(crate) struct Ground {
    folder: TempDir,
    /// The folder of the programs that this one was built with.
    pub(crate) programs: PathBuf,
}

impl Ground {
    pub(crate) fn lay() -> Self {
        let folder = TempDir::new().expect("a folder");
        let ground = Self {
            folder,
            programs: programs(),
        };
        std::fs::create_dir(ground.path("www")).expect("a folder");
        for (name, size) in FILES {
            let body: Vec<u8> = (0..size).map(|at| b"Tarifrechner "[at % 13]).collect();
            std::fs::write(ground.path("www").join(name), &body).expect("written");
            // The same under a path that needs no sign-in.
            std::fs::write(ground.path("www").join(format!("public-{name}")), &body)
                .expect("written");
        }
        std::fs::write(ground.path("www/check"), "checked").expect("written");
        let made =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(ground.path("cert.pem"), made.cert.pem()).expect("written");
        std::fs::write(ground.path("key.pem"), made.signing_key.serialize_pem()).expect("written");
        private(&ground.path("key.pem"));
        ground
    }

    /// A client that trusts all contenders.
    pub(crate) fn trusting(&self) -> Arc<ClientConfig> {
        let certificate =
            CertificateDer::from_pem_file(self.path("cert.pem")).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(certificate).expect("a root");
        Arc::new(
            ClientConfig::builder()
                .with_root_certificates(roots)
                .with_no_client_auth(),
        )
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text, for configuration files.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).expect("written");
        self.text(name)
    }
}

/// Nobody but the owner may read it.
pub(crate) fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("permissions");
}

fn programs() -> PathBuf {
    let this = std::env::current_exe().expect("a path");
    this.parent().expect("a folder").to_owned()
}

/// An address that nobody listens on yet.
pub(crate) fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
}
