//! Whose certificate is whose: what certificates say of their holders, and the brokers that they stand for.

use super::error::LineFault;
use crate::identity::certificate::Holder;
use domain::vtnr::Vtnr;
use std::collections::HashMap;

/// The certificates of all brokers, by the holder's name.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Holders(HashMap<Box<str>, Vec<CertificateOwner>>);

/// What a certificate with a name must have besides, and for whom it then stands.
#[derive(Debug, PartialEq)]
pub(super) struct CertificateOwner {
    /// Issuer; without a column for it, any of the bundle.
    pub(super) issuer: Option<Box<str>>,
    /// The SHA-256 of its public key; any where the cell is empty.
    pub(super) key: Option<[u8; 32]>,
    pub(super) vtnr: Vtnr,
}

impl Holders {
    /// Adds one, unless a certificate that it is for could stand for another broker too.
    pub(super) fn add(&mut self, name: &str, entry: CertificateOwner) -> Result<(), LineFault> {
        let entries = self.0.entry(name.into()).or_default();
        if entries
            .iter()
            .any(|other| other.vtnr != entry.vtnr && other.overlaps(&entry))
        {
            return Err(LineFault::SharedCertificate);
        }
        entries.push(entry);
        Ok(())
    }

    /// For whom a holder's certificate stands.
    pub(super) fn find(&self, holder: &Holder) -> Option<Vtnr> {
        self.0
            .get(holder.name.as_str())?
            .iter()
            .find(|entry| entry.is_for(holder))
            .map(|entry| entry.vtnr)
    }
}

impl CertificateOwner {
    fn is_for(&self, holder: &Holder) -> bool {
        self.issuer
            .as_deref()
            .is_none_or(|issuer| issuer == &*holder.issuer)
            && self.key.is_none_or(|key| key == holder.key)
    }

    fn overlaps(&self, other: &Self) -> bool {
        let may_be_one =
            |issuers: Option<(&str, &str)>| issuers.is_none_or(|(one, other)| one == other);
        may_be_one(self.issuer.as_deref().zip(other.issuer.as_deref()))
            && self
                .key
                .zip(other.key)
                .is_none_or(|(one, other)| one == other)
    }
}
