use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer as Signer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use std::fs;
use tempfile::TempDir;

/// In the middle of the certificates' lives.
fn noon() -> Timestamp {
    at(date_time_ymd(2026, 6, 1).unix_timestamp())
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(seconds).expect("after 1970") * 1_000)
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(2030, 1, 1));
        Self(
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
                .expect("an authority"),
        )
    }

    fn issue(&self, params: &CertificateParams) -> CertificateDer<'static> {
        let key = KeyPair::generate().expect("a key");
        params
            .signed_by(&key, &self.0)
            .expect("a certificate")
            .der()
            .clone()
    }

    fn revoke(&self, serials: &[u64], next_update: i32) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2025, 5, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 5, 1),
            next_update: date_time_ymd(next_update, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let signer: &Signer<'_, KeyPair> = &self.0;
        list.signed_by(signer).expect("a list").pem().expect("PEM")
    }
}

/// A broker's certificate as it should be.
fn sound() -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Ada Löwe");
    params
        .distinguished_name
        .push(DnType::CustomDnType(vec![2, 5, 4, 5]), "VM-0815");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.serial_number = Some(SerialNumber::from(7_u64));
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
    params
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.0.path().join(name);
        fs::write(&file, content).expect("written");
        file
    }

    fn trust(&self, authorities: &[&Authority], lists: &[String]) -> Result<TrustStore, Error> {
        let bundle: String = authorities
            .iter()
            .map(|authority| authority.0.pem())
            .collect();
        let lists: Vec<_> = lists
            .iter()
            .enumerate()
            .map(|(n, list)| self.write(&format!("{n}.crl"), list))
            .collect();
        TrustStore::load(
            &self.write("ca.pem", bundle),
            &lists,
            Identity::SerialNumber,
        )
    }
}

fn validated(
    trust: &TrustStore,
    certificate: &CertificateDer<'static>,
) -> Result<Accepted, RejectReason> {
    trust.validate(std::slice::from_ref(certificate), noon())
}

#[test]
fn a_sound_certificate_names_its_holder_and_issuer_until_it_expires() {
    let authority = Authority::named("Makler CA");
    let trust = Files::new()
        .trust(&[&Authority::named("Other CA"), &authority], &[])
        .expect("trust");
    let accepted = validated(&trust, &authority.issue(&sound())).expect("accepted");
    assert_eq!(
        (&*accepted.holder.issuer, accepted.holder.name.as_str()),
        ("Makler CA", "VM-0815")
    );
    assert_eq!(
        accepted.until,
        at(date_time_ymd(2027, 1, 1).unix_timestamp())
    );
}

#[test]
fn each_flaw_is_told_from_the_others() {
    let (authority, stranger) = (Authority::named("Makler CA"), Authority::named("Makler CA"));
    let trust = Files::new().trust(&[&authority], &[]).expect("trust");
    let with = |change: fn(&mut CertificateParams)| {
        let mut params = sound();
        change(&mut params);
        authority.issue(&params)
    };
    let cases = [
        (
            RejectReason::Expired,
            with(|params| params.not_after = date_time_ymd(2026, 2, 1)),
        ),
        (
            RejectReason::NotYetValid,
            with(|params| params.not_before = date_time_ymd(2026, 7, 1)),
        ),
        (
            RejectReason::WrongPurpose,
            with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
        (
            RejectReason::WrongPurpose,
            with(|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]),
        ),
        (
            RejectReason::WrongPurpose,
            with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        ),
        (
            RejectReason::Unnamed,
            with(|params| params.distinguished_name = rcgen::DistinguishedName::new()),
        ),
        (
            RejectReason::Unnamed,
            with(|params| {
                params
                    .distinguished_name
                    .push(DnType::CustomDnType(vec![2, 5, 4, 5]), " \t ")
            }),
        ),
        (RejectReason::Untrusted, stranger.issue(&sound())),
        (
            RejectReason::Untrusted,
            sound()
                .self_signed(&KeyPair::generate().expect("a key"))
                .expect("a certificate")
                .der()
                .clone(),
        ),
        (
            RejectReason::Malformed,
            CertificateDer::from(b"no certificate".to_vec()),
        ),
        (
            RejectReason::Malformed,
            CertificateDer::from([authority.issue(&sound()).as_ref(), b"x"].concat()),
        ),
    ];
    for (number, (reason, certificate)) in cases.iter().enumerate() {
        assert_eq!(
            validated(&trust, certificate),
            Err(*reason),
            "case {number}"
        );
    }
    assert_eq!(trust.validate(&[], noon()), Err(RejectReason::Missing));
}

#[test]
fn an_authority_between_is_followed_and_its_end_counts() {
    let root = Authority::named("Root");
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Between");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2026, 8, 1));
    let between = CertifiedIssuer::signed_by(params, KeyPair::generate().expect("a key"), &root.0)
        .expect("an authority");
    let leaf = sound()
        .signed_by(&KeyPair::generate().expect("a key"), &between)
        .expect("a certificate")
        .der()
        .clone();
    let trust = Files::new().trust(&[&root], &[]).expect("trust");
    let shown = [leaf.clone(), between.der().clone()];
    let accepted = trust.validate(&shown, noon()).expect("accepted");
    assert_eq!(
        (&*accepted.holder.issuer, accepted.until),
        ("Root", at(date_time_ymd(2026, 8, 1).unix_timestamp()))
    );
    // Its own certificate is good; the way to the root is not.
    assert_eq!(
        trust.validate(&shown, at(date_time_ymd(2026, 9, 1).unix_timestamp())),
        Err(RejectReason::Untrusted)
    );
    assert_eq!(validated(&trust, &leaf), Err(RejectReason::Untrusted));
}

#[test]
fn a_list_says_who_was_revoked_and_only_while_it_is_new() {
    let authority = Authority::named("Makler CA");
    let files = Files::new();
    let certificate = authority.issue(&sound());
    let trust = |list| files.trust(&[&authority], &[list]).expect("trust");
    assert_eq!(
        validated(&trust(authority.revoke(&[7], 2027)), &certificate),
        Err(RejectReason::Revoked)
    );
    assert!(validated(&trust(authority.revoke(&[8], 2027)), &certificate).is_ok());
    assert_eq!(
        validated(&trust(authority.revoke(&[8], 2026)), &certificate),
        Err(RejectReason::Unverifiable)
    );
    // A list of that name that another key has signed says nothing.
    let forged = Authority::named("Makler CA").revoke(&[], 2027);
    let refused = files
        .trust(&[&authority], &[forged])
        .err()
        .expect("refused")
        .to_string();
    assert!(
        refused.contains("was not signed by that issuer"),
        "{refused}"
    );
    // Of two, webpki would look at one.
    let two = [authority.revoke(&[], 2027), authority.revoke(&[7], 2028)];
    let refused = files
        .trust(&[&authority], &two)
        .err()
        .expect("refused")
        .to_string();
    assert!(refused.contains("two lists of one issuer"), "{refused}");
}

#[test]
fn what_is_not_fit_to_be_trusted_is_refused_with_a_reason() {
    let (authority, files) = (Authority::named("Makler CA"), Files::new());
    let leaf = pem("CERTIFICATE", &authority.issue(&sound()));
    let list = files.write("list.crl", authority.revoke(&[], 2027));
    let other = files.write("other.crl", Authority::named("Other CA").revoke(&[], 2027));
    let good = files.write("good.pem", authority.0.pem());
    let refused = |ca: &str, lists: &[PathBuf]| {
        let error =
            TrustStore::load(&files.write("ca.pem", ca), lists, Identity::SerialNumber).err();
        error.map(|error| error.to_string()).expect("refused")
    };
    assert!(refused("", &[]).contains("no certificate in it"));
    assert!(refused("garbage", &[]).contains("no certificate in it"));
    assert!(
        refused(
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &[]
        )
        .contains("malformed")
    );
    assert!(refused(&leaf, &[]).contains("not that of a certification authority"));
    assert!(
        refused(&format!("{}{leaf}", authority.0.pem()), &[]).contains("certificate 2 (Ada Löwe)")
    );
    assert!(refused(&authority.0.pem(), &[other]).contains("belongs to no issuer"));
    let two = format!(
        "{}{}",
        authority.0.pem(),
        Authority::named("Other CA").0.pem()
    );
    assert!(refused(&two, &[list]).contains("no list of the issuer \"Other CA\""));
    assert!(
        refused(&authority.0.pem(), &[files.write("empty.crl", "")])
            .contains("no list of revoked certificates")
    );
    let missing = TrustStore::load(
        &files.0.path().join("nowhere.pem"),
        &[],
        Identity::SerialNumber,
    );
    assert!(matches!(missing, Err(Error::Unreadable(..))));
    assert!(TrustStore::load(&good, &[], Identity::SerialNumber).is_ok());
}

/// Its key stays, and its certificate is renewed: both are in the bundle for a while.
#[test]
fn of_an_issuer_that_was_renewed_the_certificate_counts_that_is_valid() {
    let key = KeyPair::generate().expect("a key");
    let authority = |from, to| {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Makler CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) =
            (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let key = KeyPair::from_pem(&key.serialize_pem()).expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    };
    let (former, renewed) = (authority(2020, 2026), authority(2025, 2030));
    let trust = Files::new()
        .trust(&[&former, &renewed], &[])
        .expect("trust");
    assert!(validated(&trust, &former.issue(&sound())).is_ok());
}

/// What comes between may be put in many orders, each of which would be tried.
#[test]
fn more_than_a_client_has_to_show_is_not_looked_at() {
    let authority = Authority::named("Makler CA");
    let trust = Files::new().trust(&[&authority], &[]).expect("trust");
    let leaf = authority.issue(&sound());
    let between = Authority::named("Between").0.der().clone();
    let shown = |count: usize| [vec![leaf.clone()], vec![between.clone(); count]].concat();
    assert!(
        trust.validate(&shown(MAX_INTERMEDIATES), noon()).is_ok(),
        "what leads nowhere does no harm"
    );
    assert_eq!(
        trust.validate(&shown(MAX_INTERMEDIATES + 1), noon()),
        Err(RejectReason::Malformed)
    );
    let long = CertificateDer::from(vec![0x30; MAX_CHAIN_BYTES]);
    assert_eq!(
        trust.validate(&[leaf.clone(), long], noon()),
        Err(RejectReason::Malformed)
    );
}

#[test]
fn two_authorities_of_one_name_cannot_be_told_apart() {
    let named = |organisation: &str| {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Issuing CA");
        params
            .distinguished_name
            .push(DnType::OrganizationName, organisation);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
                .expect("an authority"),
        )
    };
    let refused = Files::new()
        .trust(&[&named("X"), &named("Y")], &[])
        .err()
        .expect("refused")
        .to_string();
    assert!(
        refused.contains("two issuers have the common name \"Issuing CA\""),
        "{refused}"
    );
}

#[test]
fn the_identity_is_one_field_there_once() {
    let authority = Authority::named("Makler CA");
    let mut params = sound();
    let name = |text: &str| text.try_into().expect("ASCII");
    params.subject_alt_names = vec![
        SanType::Rfc822Name(name("ada@makler.example")),
        SanType::URI(name("urn:makler:0815")),
        SanType::DnsName(name("a.example")),
        SanType::DnsName(name("b.example")),
    ];
    let der = authority.issue(&params);
    let certificate = parse(&der).expect("a certificate");
    assert_eq!(
        Identity::SerialNumber.of(&certificate).as_deref(),
        Some("VM-0815")
    );
    assert_eq!(
        Identity::CommonName.of(&certificate).as_deref(),
        Some("Ada Löwe")
    );
    assert_eq!(
        Identity::Email.of(&certificate).as_deref(),
        Some("ada@makler.example")
    );
    assert_eq!(
        Identity::Uri.of(&certificate).as_deref(),
        Some("urn:makler:0815")
    );
    assert_eq!(
        Identity::HostName.of(&certificate),
        None,
        "which of the two counts would be left to chance"
    );
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        base64::engine::general_purpose::STANDARD.encode(der)
    )
}
