//! The kinds of certificates and keys that can be proven in a handshake.
//!
//! The handshake and the validation use the same function: a certificate that it rejects passes the handshake without a proof, and
//! fails the validation. So the two cannot diverge.

use super::{RejectReason, parse};
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;
use x509_parser::asn1_rs::{Oid, oid};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519,
};
use x509_parser::public_key::PublicKey;

/// The minimum length of an RSA key in bits.
const RSA: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// MD5 and SHA-1 with RSA (RFC 3279, 2.2.1, and the older names of NIST), ECDSA with SHA-1 (RFC 3279, 2.2.3).
const OUTDATED_SIGNATURES: [Oid<'static>; 5] = [
    oid!(1.2.840.113549.1.1.4),
    oid!(1.2.840.113549.1.1.5),
    oid!(1.3.14.3.2.25),
    oid!(1.3.14.3.2.29),
    oid!(1.2.840.10045.4.1),
];

/// Checks that certificate and key are of a supported kind.
///
/// # Errors
/// [`RejectReason::Malformed`] or [`RejectReason::Outdated`].
pub(super) fn check(der: &CertificateDer<'_>) -> Result<(), RejectReason> {
    match EndEntityCert::try_from(der) {
        Ok(_) => {}
        Err(webpki::Error::UnsupportedCertVersion) => return Err(RejectReason::Outdated),
        Err(_) => return Err(RejectReason::Malformed),
    }
    if has_sound_key(&parse(der)?) {
        Ok(())
    } else {
        Err(RejectReason::Outdated)
    }
}

/// RSA of 2,048 bits or more, ECDSA over P-256 or P-384, Ed25519.
pub(super) fn has_sound_key(certificate: &X509Certificate<'_>) -> bool {
    let key = certificate.public_key();
    let kind = &key.algorithm.algorithm;
    if *kind == OID_PKCS1_RSAENCRYPTION {
        return matches!(key.parsed(), Ok(PublicKey::RSA(rsa)) if RSA.contains(&rsa.key_size()));
    }
    if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = key
            .algorithm
            .parameters
            .as_ref()
            .and_then(|parameters| parameters.as_oid().ok());
        return curve.is_some_and(|curve| curve == OID_EC_P256 || curve == OID_NIST_EC_P384);
    }
    *kind == OID_SIG_ED25519
}

/// Returns whether the issuer's signature uses an outdated algorithm.
pub(super) fn has_outdated_signature(certificate: &X509Certificate<'_>) -> bool {
    OUTDATED_SIGNATURES.contains(&certificate.signature_algorithm.algorithm)
}
