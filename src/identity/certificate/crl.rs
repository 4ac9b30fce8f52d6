//! Certificate revocation lists (CRLs), in PEM or DER, each signed by an issuer of the bundle.

use super::{Error, Issuer, moment};
use domain::time::Timestamp;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;
use std::path::Path;
use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

pub(super) struct RevocationList {
    list: CertRevocationList<'static>,
    issuer: Vec<u8>,
    next_update: Timestamp,
}

impl RevocationList {
    pub(super) fn list(&self) -> &CertRevocationList<'static> {
        &self.list
    }

    pub(super) fn is_of(&self, issuer: &Issuer) -> bool {
        self.issuer == issuer.subject()
    }

    /// Returns whether it was issued by this subject, in DER without the outer tag and length.
    pub(super) fn is_by(&self, subject: &[u8]) -> bool {
        self.issuer.ends_with(subject)
    }

    /// Returns whether both cover the same certificates, possibly at different times.
    pub(super) fn stands_for(&self, other: &Self) -> bool {
        self.issuer == other.issuer
            && self.list.issuing_distribution_point() == other.list.issuing_distribution_point()
    }

    /// Returns the time of the next update, from which on the list has expired.
    pub(super) fn next_update(&self) -> Timestamp {
        self.next_update
    }
}

/// Reads the lists of a file, at least one.
pub(super) fn read(file: &Path, issuers: &[Issuer]) -> Result<Vec<RevocationList>, Error> {
    let bytes = std::fs::read(file).map_err(|error| Error::Unreadable(file.to_owned(), error))?;
    let unusable = |what: String| Error::Unusable(file.to_owned(), what);
    let ders: Vec<CertificateRevocationListDer<'_>> = if bytes.starts_with(&[0x30]) {
        vec![CertificateRevocationListDer::from(bytes.as_slice())]
    } else {
        let lists = CertificateRevocationListDer::pem_slice_iter(&bytes).collect::<Result<_, _>>();
        lists.map_err(|error| unusable(format!("a list cannot be read: {error}")))?
    };
    let lists = ders
        .iter()
        .map(|der| list(der, issuers))
        .collect::<Result<Vec<_>, _>>()
        .map_err(unusable)?;
    if lists.is_empty() {
        Err(unusable(
            "there is no list of revoked certificates in it".into(),
        ))
    } else {
        Ok(lists)
    }
}

fn list(
    der: &CertificateRevocationListDer<'_>,
    issuers: &[Issuer],
) -> Result<RevocationList, String> {
    let Ok(([], parsed)) = CertificateRevocationList::from_der(der) else {
        return Err("a list is malformed".into());
    };
    let issuer = parsed.issuer().as_raw().to_vec();
    let mut of_that_name = issuers
        .iter()
        .filter(|known| known.subject() == issuer)
        .peekable();
    if of_that_name.peek().is_none() {
        return Err(format!(
            "the list of {} belongs to no issuer in certificate.ca_file",
            parsed.issuer()
        ));
    }
    if !of_that_name.any(|issuer| issuer.has_signed(&parsed)) {
        return Err(format!(
            "the list of {} was not signed by that issuer",
            parsed.issuer()
        ));
    }
    let next_update = parsed.next_update().map(moment);
    let next_update =
        next_update.ok_or("a list does not say until when it is to be believed (nextUpdate)")?;
    let list = OwnedCertRevocationList::from_der(der)
        .map_err(|error| format!("a list cannot be used: {error}"))?;
    Ok(RevocationList {
        list: list.into(),
        issuer,
        next_update,
    })
}
