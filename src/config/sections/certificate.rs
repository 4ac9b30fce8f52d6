//! `[certificate]`

use super::super::document::Value;
use super::super::kinds::{address, line, word};
use super::super::read::Reader;
use super::super::{Certificate, CertificateColumns, Https, ListenConfig};
use super::listen::public_url;
use crate::clock::Clock;
use crate::identity::certificate::{Identity, TrustStore};

const SECTION: &str = "certificate";
const LISTEN: &str = "certificate.listen";
const PUBLIC_URL: &str = "certificate.public_url";
const CERT: &str = "certificate.cert";
const KEY: &str = "certificate.key";
const CA: &str = "certificate.ca_file";
const CRLS: &str = "certificate.crl_files";
const ISSUER_COLUMN: &str = "certificate.issuer_column";

const IDENTITIES: [(&str, Identity); 5] = [
    ("subject.serial_number", Identity::SerialNumber),
    ("subject.common_name", Identity::CommonName),
    ("san.email", Identity::Email),
    ("san.uri", Identity::Uri),
    ("san.dns", Identity::HostName),
];

pub(super) fn certificate(
    reader: &mut Reader<'_>,
    listen: Option<&ListenConfig>,
) -> Option<Certificate> {
    let own = listen.and_then(|listen| listen.https.clone());
    let listen_on = reader.optional(LISTEN, address);
    let url = reader.optional(PUBLIC_URL, public_url);
    let cert = reader.optional(CERT, line).map(|name| reader.path(&name));
    let key = reader.optional(KEY, line).map(|name| reader.path(&name));
    let ca_file = reader.optional(CA, line).map(|name| reader.path(&name));
    let crl_files = reader.list(CRLS, line).map(|names| {
        names
            .iter()
            .map(|name| reader.path(name))
            .collect::<Vec<_>>()
    });
    let identity = reader.or(
        "certificate.identity",
        "subject.serial_number",
        word(&IDENTITIES),
    );
    let column = reader.or("certificate.column", "zertifikat", column);
    let issuer_column = reader.optional(ISSUER_COLUMN, self::column);
    let key_column = reader.optional("certificate.key_column", self::column);
    if !reader.has_section(SECTION) {
        return None;
    }
    for needed in [LISTEN, PUBLIC_URL, CA] {
        if !reader.is_given(needed) {
            reader.missing(needed, "is missing; [certificate] requires it");
        }
    }
    if reader.is_given(CERT) != reader.is_given(KEY) {
        reader.missing(SECTION, "has only one of cert and key; give both or none");
    }
    let files = cert.zip(key).or_else(|| own.map(|own| (own.cert, own.key)));
    if files.is_none() && reader.is_given(LISTEN) {
        reader.missing(
            CERT,
            "is missing, and so is listen.tls.cert; the certificate listener needs one of them for https",
        );
    }
    let (cert, key) = files?;
    reader.check_tls_files(&cert, &key);
    if reader.is_given(KEY) {
        reader.refuse_other_writers(KEY, &key);
    }
    let url = url?;
    if !url.secure {
        reader.mistake(
            PUBLIC_URL,
            "must begin with https://, since client certificates need TLS",
        );
    }
    if let Some(listen) = listen {
        if !listen.public_url.secure {
            reader.mistake(PUBLIC_URL, "requires listen.public_url to begin with https:// too, since both hosts share cookies");
        }
        if listen.public_url.authority == url.authority {
            reader.mistake(
                PUBLIC_URL,
                "is the same as listen.public_url; choose another host or port",
            );
        }
    }
    let columns = CertificateColumns {
        name: column?,
        issuer: issuer_column,
        key: key_column,
    };
    let certificate = Certificate {
        https: Https {
            address: listen_on?,
            cert,
            key,
        },
        public_url: url,
        ca_file: ca_file?,
        crl_files: crl_files?,
        identity: identity?,
        columns,
    };
    check_files(reader, &certificate);
    Some(certificate)
}

fn check_files(reader: &mut Reader<'_>, certificate: &Certificate) {
    match TrustStore::load(
        &certificate.ca_file,
        &certificate.crl_files,
        certificate.identity,
    ) {
        Ok(trust) => {
            let mut names: Vec<_> = trust
                .issuers()
                .iter()
                .map(crate::identity::certificate::Issuer::name)
                .collect();
            names.sort_unstable();
            names.dedup();
            if names.len() > 1 && certificate.columns.issuer.is_none() {
                let what = "is missing; certificate.ca_file has several issuers, and without this column one could issue certificates \
                            for another's brokers";
                reader.missing(ISSUER_COLUMN, what);
            }
            let now = Clock::System.now();
            if let Some(expired) = trust
                .issuers()
                .iter()
                .find(|issuer| issuer.ends_at() <= now)
            {
                reader.warn(
                    CA,
                    &format!(
                        "the certificate of issuer {:?} has expired; certificates issued by it are refused",
                        expired.name()
                    ),
                );
            }
            if trust.lists_end().is_some_and(|end| end <= now) {
                reader.warn(
                    CRLS,
                    "a list is past its nextUpdate; certificates of its issuer are refused",
                );
            }
        }
        Err(error) => {
            let cause = std::error::Error::source(&error)
                .map(|cause| format!(": {cause}"))
                .unwrap_or_default();
            reader.mistake(
                CA,
                format!("or certificate.crl_files cannot be used: {error}{cause}"),
            );
        }
    }
    if certificate.crl_files.is_empty() {
        reader.warn(
            CRLS,
            "is empty: revoked certificates are accepted until they expire",
        );
    }
}

/// Reads the title of a directory column.
fn column(value: &Value) -> Result<String, String> {
    let title = line(value)?;
    match title.trim() {
        "" => Err("is empty".into()),
        title if title.eq_ignore_ascii_case("vtnr") || title.eq_ignore_ascii_case("email") => {
            Err(format!("{title:?} is reserved; choose another column"))
        }
        title => Ok(title.to_owned()),
    }
}
