//! The certificate that a client presented in its TLS handshake, and the verdict on it.

use crate::digest::sha256;
use crate::identity::certificate::{Holder, RejectReason, TrustStore};
use domain::time::Timestamp;
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use std::sync::Arc;

/// What was shown in a connection's handshake.
#[derive(Debug)]
pub(crate) struct PresentedChain {
    /// The certificate, and those between it and its issuer; empty if there was none.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// The host that the client named in the handshake.
    pub(crate) server_name: Option<String>,
    /// The SHA-256 of the chain.
    pub(crate) sum: [u8; 32],
    pub(crate) verdict: Mutex<Option<CachedVerdict>>,
}

/// The verdict of a trust store on a chain, and how long it counts.
#[derive(Clone)]
pub(crate) struct CachedVerdict {
    pub(crate) by: Arc<TrustStore>,
    pub(crate) holds_until: Timestamp,
    pub(crate) holder: Result<Holder, RejectReason>,
}

impl std::fmt::Debug for CachedVerdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CachedVerdict")
    }
}

impl PresentedChain {
    pub(crate) fn new(chain: &[CertificateDer<'_>], server_name: Option<&str>) -> Self {
        let mut all =
            Vec::with_capacity(chain.iter().map(|certificate| certificate.len() + 8).sum());
        for certificate in chain {
            all.extend_from_slice(&certificate.len().to_be_bytes());
            all.extend_from_slice(certificate);
        }
        Self {
            chain: chain
                .iter()
                .map(|certificate| certificate.clone().into_owned())
                .collect(),
            server_name: server_name.map(str::to_owned),
            sum: sha256(&all),
            verdict: Mutex::default(),
        }
    }
}

impl CachedVerdict {
    pub(crate) fn holds(&self, trust: &Arc<TrustStore>, now: Timestamp) -> bool {
        Arc::ptr_eq(&self.by, trust) && now < self.holds_until
    }
}
