//! Client certificates: which of them prove who somebody is, what is wrong with the others, and whom they name.
//!
//! It knows X.509 and no HTTP: [`crate::gateway`] brings what was shown on a connection, [`crate::identity::directory`] knows whose it is. The
//! handshake lets every certificate through, so that a browser is told on a page what is wrong instead of being cut off
//! ([`Handshake`]); nothing is proven by that. Each request's certificate is judged here, by what is trusted at that time: so a
//! connection that was resumed, or has been open for long, is judged like a new one.
//!
//! # How a certificate is judged
//!
//! ```text
//!                    handshake.rs                       client_certificate: each request
//! client ── TLS ── asks, lets all through ── Shown ── same judgement still holds? ── yes ──┐
//!                  proof of the key, if               └─ no: Trust::judge                  ├── directory: for whom? ── policy
//!                  it has one that counts                key, chain, dates, lists, field ──┘
//! ```
//!
//! - **Proof of the key.** rustls asks the verifier whether the client's signature is right. It is checked
//!   wherever `key::check` passes; where it does not (malformed, outdated kinds of keys), the handshake goes on
//!   without a proof, and the judgement refuses the certificate by the same function.
//! - **Nothing is proven by the handshake.** A resumed connection brings the chain of the first one, unchecked.
//!   `PresentedChain` holds it; a judgement holds for a minute at most, never beyond a date in chain or lists,
//!   and only while the `Trust` that made it is in force (`Arc::ptr_eq`). Accepted ones are remembered over
//!   connections, by the SHA-256 of all that was shown; refused ones are not, so that nobody can fill that
//!   memory.
//! - **What strangers can show** is bounded in the handshake (`is_excessive`): a chain is kept with the
//!   connection and for its resumption, and webpki tries the ways through it in every order.
//! - **Issuers** are known to the directory by their common names, so that `bundle.rs` takes no two authorities
//!   of one name. A list must be signed by an issuer of the bundle, and of two lists of one issuer, of which
//!   webpki would look at the first alone, neither is taken.
//! - **A reload** puts issuers in force only if the field and the columns by which the directory was read are
//!   the same (`app/reload.rs`): else a new issuer could speak for brokers whose lines name none.
//! - **The clock** is the machine's, not the store's: what a certificate says of its time is meant by it.
//! - **The host.** A request that came in by this door must name its host, and that of the handshake if the
//!   client named one: else 421. The main listener knows no certificate, and this one no session cookie.
//! - **Other sites.** `crosses_sites`: what `SameSite=Lax` is for cookies.
//! - **TLS by rustls itself** (`listener/client_cert_tls.rs`): Pingora's stream reads subject and serial number
//!   of every certificate in the handshake and panics where it cannot.
//! - **A WebSocket** is looked after by a task of its own (`RecheckTask`), once a second and at each sign-out.

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

/// As many authorities may stand between a certificate and its issuer. What it takes to look for a way through them grows with every order
/// that they can be put in.
const MOST_BETWEEN: usize = 4;
/// All that is shown together, in bytes: more than any client has.
const MOST_SHOWN: usize = 16 * 1_024;

/// Whether this is more than a client with a certificate has to show.
fn is_excessive(leaf: &CertificateDer<'_>, between: &[CertificateDer<'_>]) -> bool {
    let bytes = between.iter().fold(leaf.len(), |bytes, certificate| {
        bytes.saturating_add(certificate.len())
    });
    between.len() > MOST_BETWEEN || bytes > MOST_SHOWN
}

/// Whom a certificate that was accepted names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The name of the issuer of the bundle under which it was issued.
    pub issuer: Arc<str>,
    /// What the configured field says.
    pub name: String,
    /// SHA-256 of the public key, as SubjectPublicKeyInfo in DER.
    pub key: [u8; 32],
}

/// A certificate that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub holder: Holder,
    /// Until when that holds, if nothing else changes.
    pub until: Timestamp,
}

/// Why a certificate proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
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
    /// The configured field is missing, there more than once, or no name.
    Unnamed,
    /// Whether it was revoked cannot be known: there is no list of its issuer, or the list is too old.
    Unverifiable,
}

/// Why what is trusted cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{}", .0.display())]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// A file can be read and not be used.
    #[error("{}: {}", .0.display(), .1)]
    Unusable(PathBuf, String),
}

/// What is trusted: issuers, and their lists of what they revoked.
pub struct TrustStore {
    issuers: Vec<Issuer>,
    lists: Vec<crl::RevocationList>,
    identity: Identity,
}

impl TrustStore {
    /// Reads the issuers' certificates, and their lists of revoked ones, where there are any.
    ///
    /// # Errors
    /// [`Error`] if one of them is missing, or there is something in it that is not fit to be trusted.
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
            let what = "two lists of one issuer, of which only one would be looked at".to_owned();
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

    /// When the first of the lists of revoked certificates is too old to be believed.
    pub fn lists_end(&self) -> Option<Timestamp> {
        self.lists
            .iter()
            .map(crl::RevocationList::next_update)
            .min()
    }

    /// Judges what was shown on a connection: a certificate, and perhaps those of the authorities between it and its issuer.
    ///
    /// # Errors
    /// [`Flaw`] says why it proves nothing.
    pub fn judge(&self, shown: &[CertificateDer<'_>], now: Timestamp) -> Result<Accepted, Flaw> {
        let [leaf, between @ ..] = shown else {
            return Err(Flaw::Missing);
        };
        if is_excessive(leaf, between) {
            return Err(Flaw::Malformed);
        }
        // What does not pass this was not asked in the handshake to prove that it has the key.
        key::check(leaf)?;
        let certificate = EndEntityCert::try_from(leaf).map_err(|_| Flaw::Malformed)?;
        let parsed = parse(leaf)?;
        if key::has_outdated_signature(&parsed) {
            return Err(Flaw::Outdated);
        }
        if !is_for_signing(&parsed) {
            return Err(Flaw::WrongPurpose);
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
            .map_err(|error| flaw(&error, &parsed, now))?;
        // webpki takes anchors as they are; of those with one key, one that was renewed perhaps, each has its own time.
        let mut issuers = self
            .issuers
            .iter()
            .filter(|issuer| issuer.anchor() == path.anchor());
        let issuer = issuers
            .find(|issuer| issuer.begins_at() <= now && now < issuer.ends_at())
            .ok_or(Flaw::Untrusted)?;
        let name = self.identity.of(&parsed).ok_or(Flaw::Unnamed)?;
        let holder = Holder {
            issuer: Arc::clone(issuer.shared_name()),
            name,
            key: sha256(parsed.public_key().raw),
        };
        let on_the_way: Vec<_> = path
            .intermediate_certificates()
            .map(webpki::Cert::der)
            .collect();
        let ends = on_the_way
            .iter()
            .filter_map(|between| parse(between).ok())
            .map(|between| moment(between.validity().not_after));
        let is_asked = |list: &&crl::RevocationList| {
            list.is_of(issuer)
                || path
                    .intermediate_certificates()
                    .any(|by| list.is_by(by.subject()))
        };
        let lists = self
            .lists
            .iter()
            .filter(is_asked)
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

fn flaw(error: &webpki::Error, leaf: &X509Certificate<'_>, now: Timestamp) -> Flaw {
    use webpki::Error as E;
    match error {
        E::CertNotValidYet { .. } if now < moment(leaf.validity().not_before) => Flaw::NotYetValid,
        E::CertExpired { .. } if now >= moment(leaf.validity().not_after) => Flaw::Expired,
        E::CertRevoked => Flaw::Revoked,
        E::UnknownRevocationStatus
        | E::CrlExpired { .. }
        | E::InvalidCrlSignatureForPublicKey
        | E::IssuerNotCrlSigner => Flaw::Unverifiable,
        E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension | E::CaUsedAsEndEntity => {
            Flaw::WrongPurpose
        }
        E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Flaw::Outdated,
        _ => Flaw::Untrusted,
    }
}

/// Whether its key may sign a handshake. Where nothing is said of that, it may (RFC 5280, 4.2.1.3).
fn is_for_signing(certificate: &X509Certificate<'_>) -> bool {
    match certificate.key_usage() {
        Ok(Some(usage)) => usage.value.digital_signature(),
        Ok(None) => true,
        Err(_) => false,
    }
}

fn parse<'d>(der: &'d CertificateDer<'_>) -> Result<X509Certificate<'d>, Flaw> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Flaw::Malformed),
    }
}

/// A moment of X.509. Before 1970 is never.
fn moment(time: x509_parser::time::ASN1Time) -> Timestamp {
    Timestamp::from_millis(
        u64::try_from(time.timestamp())
            .unwrap_or(0)
            .saturating_mul(1_000),
    )
}
