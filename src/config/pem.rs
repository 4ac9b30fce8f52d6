//! Certificate and key files, checked before anything relies on them.

use super::read::Reader;
use super::secret_file::is_open_to_others;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::Path;

/// Reads the certificates of a PEM file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|_| format!("{} is not a PEM file", path.display()))?;
    if chain.is_empty() {
        Err(format!("{} contains no PEM certificate", path.display()))
    } else {
        Ok(chain)
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = read(path)?;
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| format!("{} contains no PEM private key", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

impl Reader<'_> {
    /// Checks that certificate and key are usable and match.
    pub(super) fn check_tls_files(&mut self, cert: &Path, key: &Path) {
        const CERT: &str = "listen.tls.cert";
        const KEY: &str = "listen.tls.key";
        let chain = certificates(cert)
            .map_err(|what| self.mistake(CERT, what))
            .ok();
        let secret = private_key(key)
            .map_err(|what| self.mistake(KEY, what))
            .ok();
        if is_open_to_others(key) {
            self.warn(
                KEY,
                &format!(
                    "{} is readable by group or others; chmod 600 it",
                    key.display()
                ),
            );
        }
        let (Some(chain), Some(secret)) = (chain, secret) else {
            return;
        };
        let Ok(signer) = default_provider().key_provider.load_private_key(secret) else {
            self.mistake(
                KEY,
                format!(
                    "{} contains an unsupported type of key; use RSA, ECDSA P-256/P-384 or Ed25519",
                    key.display()
                ),
            );
            return;
        };
        if CertifiedKey::new(chain, signer).keys_match().is_err() {
            self.mistake(
                KEY,
                format!(
                    "{} is not the key of the certificate in {}",
                    key.display(),
                    cert.display()
                ),
            );
        }
    }
}
