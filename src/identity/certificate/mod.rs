//! Client certificates: validates them, gives a reason for each rejection, and names the holder.
//!
//! This module knows X.509 and no HTTP: [`crate::gateway`] passes the chain presented on a connection,
//! [`crate::identity::directory`] knows the broker. The handshake accepts every certificate, so that a browser gets a page with the
//! reason instead of a closed connection ([`Handshake`]); it proves nothing. The certificate is validated here on each request,
//! against the current trust store, so that a resumed or long-lived connection is treated like a new one.
//!
//! # How a certificate is validated
//!
//! ```text
//!                    handshake.rs                       client_certificate: each request
//! client ── TLS ── requests, accepts all ─ PresentedChain ─ cached verdict still valid? ── yes ──┐
//!                  proof of the key, if                        └─ no: TrustStore::validate         ├── directory: broker? ── policy
//!                  the kind of key is known                       key, chain, dates, CRLs, field ──┘
//! ```
//!
//! - **Proof of the key.** rustls asks the verifier to check the client's signature. It is checked if `key::check`
//!   passes; otherwise (malformed, outdated kinds of keys) the handshake continues without a proof, and the
//!   validation rejects the certificate by the same function.
//! - **The handshake proves nothing.** A resumed connection brings the chain of the first one, unchecked, in a
//!   `PresentedChain`. A verdict is valid for a minute at most, never beyond a date in the chain or the CRLs, and
//!   only with the `TrustStore` that made it (`Arc::ptr_eq`). Positive verdicts are cached across connections, by
//!   the SHA-256 of the whole chain; negative ones are not, so that nobody can fill the cache.
//! - **Chains from strangers** are limited in the handshake (`is_excessive`): a chain is kept with the connection
//!   and for its resumption, and webpki tries its certificates in every order.
//! - **Issuers.** The directory identifies issuers by common name, so `bundle.rs` rejects two authorities with one
//!   name. A CRL must be signed by an issuer of the bundle. Two CRLs of one issuer are an error, because webpki
//!   would use the first alone.
//! - **A reload** replaces the issuers only if the field, and the columns by which the directory was read, are
//!   unchanged (`app/reload.rs`); otherwise a new issuer could speak for brokers whose lines name none.
//! - **The clock** is the machine's, not the store's: validity dates refer to real time.
//! - **The host.** A request on this listener must name its host, and the same host as in the handshake if the
//!   client named one there; otherwise 421. The main listener accepts no certificate, this one no session cookie.
//! - **Other sites.** `crosses_sites` corresponds to `SameSite=Lax` for cookies.
//! - **TLS by rustls itself** (`listener/client_cert_tls.rs`): Pingora's stream reads subject and serial number of
//!   every certificate in the handshake, and panics if it cannot.
//! - **A WebSocket** is re-checked by its own task (`RecheckTask`), once a second and at each sign-out.

mod bundle;
mod crl;
mod handshake;
mod holder;
mod key;
#[cfg(test)]
mod tests;

pub use bundle::Issuer;
pub use handshake::Handshake;
pub use holder::Identity;

use crate::digest::sha256;
use domain::time::Timestamp;
use rustls::pki_types::{CertificateDer, UnixTime};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// The maximum number of intermediate certificates. The cost of finding a path grows with the number of their permutations.
const MAX_INTERMEDIATES: usize = 4;
/// The maximum size of a chain in bytes, larger than any real one.
const MAX_CHAIN_BYTES: usize = 16 * 1_024;

/// Returns whether a chain is larger than any real one.
fn is_excessive(leaf: &CertificateDer<'_>, between: &[CertificateDer<'_>]) -> bool {
    let bytes = between.iter().fold(leaf.len(), |bytes, certificate| {
        bytes.saturating_add(certificate.len())
    });
    between.len() > MAX_INTERMEDIATES || bytes > MAX_CHAIN_BYTES
}

/// The holder of an accepted certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The common name of the issuer in the bundle.
    pub issuer: Arc<str>,
    /// The value of the configured field.
    pub name: String,
    /// SHA-256 of the public key, as SubjectPublicKeyInfo in DER.
    pub key: [u8; 32],
}

/// A certificate that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub holder: Holder,
    /// The end of the verdict's validity, if nothing else changes.
    pub until: Timestamp,
}

/// The reason for rejecting a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectReason {
    Missing,
    Malformed,
    /// X.509 v1, SHA-1 or older, RSA of less than 2,048 bits, or a kind of key that is not supported.
    Outdated,
    NotYetValid,
    Expired,
    Revoked,
    /// No issuer of the bundle issued it.
    Untrusted,
    /// Issued for another purpose than client authentication.
    WrongPurpose,
    /// The configured field is missing, repeated, or not a name.
    Unnamed,
    /// The revocation status is unknown: the issuer has no CRL, or it has expired.
    Unverifiable,
}

/// The reason why the trust store cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}", .0.display())]
    Unreadable(PathBuf, #[source] std::io::Error),
    #[error("{}: {}", .0.display(), .1)]
    Unusable(PathBuf, String),
}

/// The trusted issuers and their certificate revocation lists.
pub struct TrustStore {
    issuers: Vec<Issuer>,
    lists: Vec<crl::RevocationList>,
    identity: Identity,
}

impl TrustStore {
    /// Reads the issuers' certificates and their CRLs, if there are any.
    ///
    /// # Errors
    /// [`Error`] if a file is missing, or contains something that must not be trusted.
    pub fn load(ca_file: &Path, crl_files: &[PathBuf], identity: Identity) -> Result<Self, Error> {
        let issuers = bundle::read(ca_file)?;
        let lists = crl_files
            .iter()
            .map(|file| crl::read(file, &issuers))
            .collect::<Result<Vec<_>, _>>()?;
        let lists: Vec<_> = lists.into_iter().flatten().collect();
        let twice = lists.iter().enumerate().any(|(number, list)| {
            lists
                .iter()
                .take(number)
                .any(|other| other.stands_for(list))
        });
        if let Some(file) = crl_files.first().filter(|_| twice) {
            let what = "two lists of one issuer, of which only one would be used".to_owned();
            return Err(Error::Unusable(file.clone(), what));
        }
        if !crl_files.is_empty() {
            let without = issuers
                .iter()
                .find(|issuer| !lists.iter().any(|list| list.is_of(issuer)));
            if let Some(issuer) = without {
                let what = format!(
                    "certificate.crl_files has no list of the issuer {:?}",
                    issuer.name()
                );
                return Err(Error::Unusable(ca_file.to_owned(), what));
            }
        }
        Ok(Self {
            issuers,
            lists,
            identity,
        })
    }

    /// The issuers of the bundle.
    pub fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    /// Returns the time when the first CRL expires.
    pub fn lists_end(&self) -> Option<Timestamp> {
        self.lists
            .iter()
            .map(crl::RevocationList::next_update)
            .min()
    }

    /// Validates the chain presented on a connection: a certificate, followed by any intermediates.
    ///
    /// # Errors
    /// [`RejectReason`]
    pub fn validate(
        &self,
        shown: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<Accepted, RejectReason> {
        let [leaf, between @ ..] = shown else {
            return Err(RejectReason::Missing);
        };
        if is_excessive(leaf, between) {
            return Err(RejectReason::Malformed);
        }
        // Without this check, the handshake did not require a proof of the key.
        key::check(leaf)?;
        let certificate = EndEntityCert::try_from(leaf).map_err(|_| RejectReason::Malformed)?;
        let parsed = parse(leaf)?;
        if key::has_outdated_signature(&parsed) {
            return Err(RejectReason::Outdated);
        }
        if !is_for_signing(&parsed) {
            return Err(RejectReason::WrongPurpose);
        }
        let anchors: Vec<_> = self
            .issuers
            .iter()
            .map(|issuer| issuer.anchor().clone())
            .collect();
        let lists: Vec<&CertRevocationList<'_>> =
            self.lists.iter().map(crl::RevocationList::list).collect();
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let time = UnixTime::since_unix_epoch(Duration::from_millis(now.as_millis()));
        let path = certificate
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &anchors,
                between,
                time,
                KeyUsage::client_auth(),
                revocation,
                None,
            )
            .map_err(|error| reason(&error, &parsed, now))?;
        // webpki ignores the validity of anchors; two with the same key, one of them renewed, have different dates.
        let mut issuers = self
            .issuers
            .iter()
            .filter(|issuer| issuer.anchor() == path.anchor());
        let issuer = issuers
            .find(|issuer| issuer.begins_at() <= now && now < issuer.ends_at())
            .ok_or(RejectReason::Untrusted)?;
        let name = self.identity.of(&parsed).ok_or(RejectReason::Unnamed)?;
        let holder = Holder {
            issuer: Arc::clone(issuer.shared_name()),
            name,
            key: sha256(parsed.public_key().raw),
        };
        let intermediates: Vec<_> = path
            .intermediate_certificates()
            .map(webpki::Cert::der)
            .collect();
        let ends = intermediates
            .iter()
            .filter_map(|between| parse(between).ok())
            .map(|between| moment(between.validity().not_after));
        let is_used = |list: &&crl::RevocationList| {
            list.is_of(issuer)
                || path
                    .intermediate_certificates()
                    .any(|by| list.is_by(by.subject()))
        };
        let lists = self
            .lists
            .iter()
            .filter(is_used)
            .map(crl::RevocationList::next_update);
        let until = ends
            .chain([moment(parsed.validity().not_after), issuer.ends_at()])
            .chain(lists)
            .min();
        Ok(Accepted {
            holder,
            until: until.unwrap_or(now),
        })
    }
}

fn reason(error: &webpki::Error, leaf: &X509Certificate<'_>, now: Timestamp) -> RejectReason {
    use webpki::Error as E;
    match error {
        E::CertNotValidYet { .. } if now < moment(leaf.validity().not_before) => {
            RejectReason::NotYetValid
        }
        E::CertExpired { .. } if now >= moment(leaf.validity().not_after) => RejectReason::Expired,
        E::CertRevoked => RejectReason::Revoked,
        E::UnknownRevocationStatus
        | E::CrlExpired { .. }
        | E::InvalidCrlSignatureForPublicKey
        | E::IssuerNotCrlSigner => RejectReason::Unverifiable,
        E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension | E::CaUsedAsEndEntity => {
            RejectReason::WrongPurpose
        }
        E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => RejectReason::Outdated,
        _ => RejectReason::Untrusted,
    }
}

/// Returns whether the key may sign a handshake, as it may without a key usage extension (RFC 5280, 4.2.1.3).
fn is_for_signing(certificate: &X509Certificate<'_>) -> bool {
    match certificate.key_usage() {
        Ok(Some(usage)) => usage.value.digital_signature(),
        Ok(None) => true,
        Err(_) => false,
    }
}

fn parse<'d>(der: &'d CertificateDer<'_>) -> Result<X509Certificate<'d>, RejectReason> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(RejectReason::Malformed),
    }
}

/// Converts an X.509 time; times before 1970 become 0.
fn moment(time: x509_parser::time::ASN1Time) -> Timestamp {
    Timestamp::from_millis(
        u64::try_from(time.timestamp())
            .unwrap_or(0)
            .saturating_mul(1_000),
    )
}
