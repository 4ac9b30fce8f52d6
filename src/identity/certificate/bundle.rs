//! The trusted issuers: a PEM file of their certificates. A single unfit one makes the file unusable.

use super::{Error, key, moment};
use domain::time::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use std::path::Path;
use std::sync::Arc;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{FromDer as _, X509Version};
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::SubjectPublicKeyInfo;

/// A certification authority whose certificates are accepted.
pub struct Issuer {
    anchor: TrustAnchor<'static>,
    /// Subject as written in certificates and revocation lists.
    subject: Vec<u8>,
    /// Public key, as SubjectPublicKeyInfo in DER.
    key: Vec<u8>,
    name: Arc<str>,
    begins_at: Timestamp,
    ends_at: Timestamp,
}

impl Issuer {
    /// Returns the common name of its subject.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the end of its own certificate's validity.
    pub fn ends_at(&self) -> Timestamp {
        self.ends_at
    }

    pub(super) fn begins_at(&self) -> Timestamp {
        self.begins_at
    }

    pub(super) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn anchor(&self) -> &TrustAnchor<'static> {
        &self.anchor
    }

    /// Returns whether it signed this CRL.
    pub(super) fn has_signed(&self, list: &CertificateRevocationList<'_>) -> bool {
        SubjectPublicKeyInfo::from_der(&self.key)
            .is_ok_and(|(_, key)| list.verify_signature(&key).is_ok())
    }

    /// Returns the subject in DER.
    pub(super) fn subject(&self) -> &[u8] {
        &self.subject
    }
}

/// Reads the bundle, at least one issuer.
pub(super) fn read(file: &Path) -> Result<Vec<Issuer>, Error> {
    let pem = std::fs::read(file).map_err(|error| Error::Unreadable(file.to_owned(), error))?;
    let unusable = |what: String| Error::Unusable(file.to_owned(), what);
    let mut issuers = Vec::new();
    for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(&pem)) {
        let certificate = certificate
            .map_err(|error| unusable(format!("certificate {number} cannot be read: {error}")))?;
        issuers.push(
            issuer(&certificate)
                .map_err(|what| unusable(format!("certificate {number} {what}")))?,
        );
    }
    for (number, issuer) in issuers.iter().enumerate() {
        // The directory identifies issuers by name.
        if issuers
            .iter()
            .take(number)
            .any(|other: &Issuer| other.name == issuer.name && other.subject != issuer.subject)
        {
            return Err(unusable(format!(
                "two issuers have the common name {:?}, and are two authorities",
                issuer.name
            )));
        }
    }
    if issuers.is_empty() {
        return Err(unusable("there is no certificate in it; without an issuer no client certificate could be accepted".into()));
    }
    Ok(issuers)
}

fn issuer(der: &CertificateDer<'_>) -> Result<Issuer, String> {
    let Ok(([], certificate)) = X509Certificate::from_der(der) else {
        return Err("is malformed".into());
    };
    let name = certificate
        .subject()
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok())
        .map(str::to_owned);
    let name = name.unwrap_or_else(|| certificate.subject().to_string());
    let wrong = |what: &str| Err(format!("({name}) {what}"));
    if certificate.version() != X509Version::V3 {
        return wrong("is not X.509 version 3; ask the authority for certificates of today");
    }
    if !certificate.is_ca() {
        return wrong("is not that of a certification authority");
    }
    if matches!(certificate.key_usage(), Ok(Some(usage)) if !usage.value.key_cert_sign()) {
        return wrong("may not issue certificates");
    }
    if !key::has_sound_key(&certificate) {
        return wrong(
            "has a key that is not trusted any more: RSA of 2,048 bits or more, P-256, P-384 and Ed25519 are",
        );
    }
    let anchor = match webpki::anchor_from_trusted_cert(der) {
        Ok(anchor) => anchor.to_owned(),
        Err(error) => return wrong(&format!("cannot be used: {error}")),
    };
    let validity = certificate.validity();
    Ok(Issuer {
        anchor,
        subject: certificate.subject().as_raw().to_vec(),
        key: certificate.public_key().raw.to_vec(),
        name: name.into(),
        begins_at: moment(validity.not_before),
        ends_at: moment(validity.not_after),
    })
}
