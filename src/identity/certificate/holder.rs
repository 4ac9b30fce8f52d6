//! The holder's identity: one field of the certificate, which must occur exactly once.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{OID_X509_COMMON_NAME, OID_X509_SERIALNUMBER, Oid};

/// Longer values are not names.
const LONGEST: usize = 256;

/// The field with the holder's identity: `certificate.identity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// `serialNumber` of the subject: a number of the holder, not the certificate's serial number.
    SerialNumber,
    /// `commonName` of the subject.
    CommonName,
    /// An e-mail address of the alternative names.
    Email,
    /// A URI of the alternative names.
    Uri,
    /// A host name of the alternative names.
    HostName,
}

impl Identity {
    /// Returns the field's value, if it occurs exactly once and is a name.
    pub(super) fn of(self, certificate: &X509Certificate<'_>) -> Option<String> {
        let mut values = match self {
            Self::SerialNumber => of_subject(certificate, &OID_X509_SERIALNUMBER),
            Self::CommonName => of_subject(certificate, &OID_X509_COMMON_NAME),
            Self::Email | Self::Uri | Self::HostName => self.of_alternatives(certificate),
        };
        // With two values, the choice would be arbitrary.
        let only = values.pop().filter(|_| values.is_empty())?;
        let name = only?.trim();
        let is_name =
            !name.is_empty() && name.len() <= LONGEST && !name.chars().any(char::is_control);
        is_name.then(|| name.to_owned())
    }

    fn of_alternatives<'c>(self, certificate: &'c X509Certificate<'_>) -> Vec<Option<&'c str>> {
        let Ok(Some(names)) = certificate.subject_alternative_name() else {
            return Vec::new();
        };
        let names = names.value.general_names.iter();
        let value = |name: &'c GeneralName<'_>| match (self, name) {
            (Self::Email, GeneralName::RFC822Name(name))
            | (Self::Uri, GeneralName::URI(name))
            | (Self::HostName, GeneralName::DNSName(name)) => Some(Some(*name)),
            _ => None,
        };
        names.filter_map(value).collect()
    }
}

/// Returns the subject's values of one kind; `None` for a value that is not text.
fn of_subject<'c>(
    certificate: &'c X509Certificate<'_>,
    kind: &Oid<'static>,
) -> Vec<Option<&'c str>> {
    let attributes = certificate.subject().iter_attributes();
    attributes
        .filter(|attribute| attribute.attr_type() == kind)
        .map(|attribute| attribute.as_str().ok())
        .collect()
}
