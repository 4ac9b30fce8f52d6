//! Certification authorities of a test's own, and the certificates that they issue.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber,
};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(86_400);

/// An authority, with a folder for its files.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate and its key, as files.
#[derive(Clone)]
pub struct Identity {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn named(name: &str) -> Self {
        let mut params = lasting(CertificateParams::default());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
            .expect("an authority");
        let authority = Self {
            issuer,
            folder: TempDir::new().expect("a folder"),
        };
        authority.write("ca.pem", authority.issuer.pem());
        authority.write("ca.key", authority.issuer.key().serialize_pem());
        authority
    }

    /// Its own certificate, as PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        // Renamed into its place, as whoever replaces a file that others read does.
        let (new, file) = (self.file(&format!("{name}.new")), self.file(name));
        std::fs::write(&new, content).expect("written");
        std::fs::rename(new, &file).expect("renamed");
        file
    }

    /// A certificate as it should be, of the holder with this number, and this serial number; changed as the test needs it.
    pub fn issue(
        &self,
        holder: &str,
        serial: u64,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let mut params = lasting(CertificateParams::default());
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Makler {holder}"));
        params
            .distinguished_name
            .push(DnType::CustomDnType(vec![2, 5, 4, 5]), holder);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.serial_number = Some(SerialNumber::from(serial));
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        self.keep(
            &format!("{holder}-{serial}"),
            certificate.pem(),
            key.serialize_pem(),
        )
    }

    /// One that nobody but itself has signed.
    pub fn self_signed(&self, holder: &str) -> Identity {
        let mut params = lasting(CertificateParams::default());
        params
            .distinguished_name
            .push(DnType::CustomDnType(vec![2, 5, 4, 5]), holder);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        self.keep("self-signed", certificate.pem(), key.serialize_pem())
    }

    /// What rcgen does not make: `openssl req` with these words, then `openssl x509` with those.
    pub fn by_openssl(
        &self,
        name: &str,
        holder: &str,
        request: &[&str],
        sign: &[&str],
    ) -> Identity {
        let (cert, key, csr) = (
            self.file(&format!("{name}.pem")),
            self.file(&format!("{name}.key")),
            self.file(&format!("{name}.csr")),
        );
        let subject = format!("/serialNumber={holder}/CN=Makler {holder}");
        openssl(
            &[
                "req",
                "-new",
                "-nodes",
                "-subj",
                &subject,
                "-keyout",
                &text(&key),
                "-out",
                &text(&csr),
            ],
            request,
        );
        let (ca, ca_key) = (text(&self.file("ca.pem")), text(&self.file("ca.key")));
        let given = [
            "x509",
            "-req",
            "-days",
            "30",
            "-in",
            &text(&csr),
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-out",
            &text(&cert),
        ];
        openssl(&given, sign);
        Identity { cert, key }
    }

    /// Its list of revoked certificates, as PEM.
    pub fn list(&self, serials: &[u64]) -> String {
        self.list_until(serials, SystemTime::now() + DAY)
    }

    /// The same, to be renewed by then.
    pub fn list_until(&self, serials: &[u64], until: SystemTime) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: SystemTime::now().into(),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: (SystemTime::now() - DAY).into(),
            next_update: until.into(),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&*self.issuer)
            .expect("a list")
            .pem()
            .expect("PEM")
    }

    fn keep(&self, name: &str, cert: String, key: String) -> Identity {
        Identity {
            cert: self.write(&format!("{name}.pem"), cert),
            key: self.write(&format!("{name}.key"), key),
        }
    }
}

/// Valid since yesterday, for a month.
fn lasting(mut params: CertificateParams) -> CertificateParams {
    (params.not_before, params.not_after) = (
        (SystemTime::now() - DAY).into(),
        (SystemTime::now() + 30 * DAY).into(),
    );
    params
}

fn openssl(words: &[&str], further: &[&str]) {
    let done = Command::new("openssl")
        .args(words)
        .args(further)
        .output()
        .expect("openssl runs");
    assert!(
        done.status.success(),
        "openssl {words:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}
