//! Names and seals of records: the store's content reveals nothing, and records cannot be swapped.
//!
//! All keys are derived from the operator's secret. A record's name is a digest (HMAC-SHA256) of
//! its id, so that a copy of the store reveals neither tokens nor broker numbers, and nobody can
//! try them out without the secret. A record is sealed (AES-256-GCM) with a key of its own, derived
//! from its name and, where a browser holds a token, from that token: a copy of the store together
//! with the secret still opens no session, and a record copied onto another name cannot be opened
//! there (security.md, T14 to T17).

use crate::clock::Rng;
use domain::device::UserMark;
use domain::held_form::HeldFormLimits;
use domain::ids::SessionToken;
use domain::vtnr::Vtnr;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{hkdf, hmac};
use std::fmt;

/// A record's name: its kind, and a digest of its id.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordKey {
    kind: Kind,
    digest: [u8; DIGEST_BYTES],
}

/// 192 bits: short, and free of collisions.
const DIGEST_BYTES: usize = 24;

/// The kind of a record, the first letter of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Session,
    Flow,
    FlowMoved,
    Trust,
    Device,
    Revocation,
    Letter,
    Delivery,
    Counter,
    CountedOnce,
    Form,
    FormBody,
    OfflineToken,
    Newest,
    ApplicationSession,
    CookieScopes,
}

impl Kind {
    const ALL: [Self; 16] = [
        Self::Session,
        Self::Flow,
        Self::FlowMoved,
        Self::Trust,
        Self::Device,
        Self::Revocation,
        Self::Letter,
        Self::Delivery,
        Self::Counter,
        Self::CountedOnce,
        Self::Form,
        Self::FormBody,
        Self::OfflineToken,
        Self::Newest,
        Self::ApplicationSession,
        Self::CookieScopes,
    ];

    const fn letter(self) -> u8 {
        match self {
            Self::Session => b's',
            Self::Flow => b'f',
            Self::FlowMoved => b'm',
            Self::Trust => b't',
            Self::Device => b'u',
            Self::Revocation => b'r',
            Self::Letter => b'l',
            Self::Delivery => b'd',
            Self::Counter => b'c',
            Self::CountedOnce => b'o',
            Self::Form => b'p',
            Self::FormBody => b'b',
            Self::OfflineToken => b'k',
            Self::Newest => b'n',
            Self::ApplicationSession => b'a',
            Self::CookieScopes => b'i',
        }
    }

    /// Limits the size in bytes of records that are read. Most have a few hundred; an attacker with
    /// write access to the store must not fill this process's memory.
    pub(crate) const fn longest(self) -> usize {
        match self {
            Self::FormBody => HeldFormLimits::MAX_BODY + 1_024,
            _ => 64 * 1_024,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Flow => "sign-in",
            Self::FlowMoved => "sign-in's new token",
            Self::Trust => "trust",
            Self::Device => "device",
            Self::Revocation => "revocation",
            Self::Letter => "letter",
            Self::Delivery => "delivery",
            Self::Counter => "counter",
            Self::CountedOnce => "counted-once mark",
            Self::Form => "kept form",
            Self::FormBody => "kept form's body",
            Self::OfflineToken => "offline token",
            Self::Newest => "time of the newest sign-in",
            Self::ApplicationSession => "owner of a session of the calculator",
            Self::CookieScopes => "scopes of the calculator's session cookies",
        }
    }
}

impl RecordKey {
    /// Encodes the name for the store, for instance as `s:` and 48 hexadecimal digits.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut name = Vec::with_capacity(2 + 2 * DIGEST_BYTES);
        name.extend([self.kind.letter(), b':']);
        for byte in self.digest {
            name.extend(format!("{byte:02x}").bytes());
        }
        name
    }

    /// Decodes the result of [`RecordKey::to_bytes`].
    pub fn from_bytes(name: &[u8]) -> Option<Self> {
        let (prefix, digits) = name.split_at_checked(2)?;
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| prefix == [kind.letter(), b':'])?;
        let mut digest = [0; DIGEST_BYTES];
        let pairs = digits.chunks_exact(2);
        if digits.len() != 2 * DIGEST_BYTES {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(pairs) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self { kind, digest })
    }

    pub(crate) const fn kind(self) -> Kind {
        self.kind
    }

    /// Returns bits of the digest, which serve as a hash in tables: nobody can craft collisions
    /// without the secret.
    pub(super) fn spread(self) -> u64 {
        self.digest
            .first_chunk()
            .map_or(0, |bits| u64::from_ne_bytes(*bits))
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:…", char::from(self.kind.letter()))
    }
}

/// The record was damaged, moved, or sealed with another secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsealable;

/// Names, seals and opens records with keys derived from the operator's secret.
#[derive(Clone)]
pub struct Vault {
    names: hmac::Key,
    seals: hmac::Key,
    rng: Rng,
}

impl Vault {
    /// Derives the keys from the secret (HKDF-SHA256, RFC 5869).
    pub fn new(secret: &[u8], rng: Rng) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"vtnr-gateway store v1").extract(secret);
        Self {
            names: derive(&root, b"names"),
            seals: derive(&root, b"seals"),
            rng,
        }
    }

    /// Names the record of this kind with this id.
    pub(crate) fn name(&self, kind: Kind, id: &[u8]) -> RecordKey {
        let mut context = hmac::Context::with_key(&self.names);
        context.update(&[kind.letter()]);
        context.update(id);
        let mut digest = [0; DIGEST_BYTES];
        for (byte, from) in digest.iter_mut().zip(context.sign().as_ref()) {
            *byte = *from;
        }
        RecordKey { kind, digest }
    }

    /// Names the record of a session. [`super::Invalidation::Session`] carries this name.
    pub fn session_key(&self, token: &SessionToken) -> RecordKey {
        self.name(Kind::Session, token.reveal())
    }

    /// Names the record of a broker's revocation.
    pub fn revocation_key(&self, vtnr: Vtnr) -> RecordKey {
        self.name(Kind::Revocation, &vtnr.number().to_be_bytes())
    }

    /// Returns a broker's pseudonym for the audit log: sixteen stable digits, irreversible without
    /// the secret.
    pub fn pseudonym(&self, vtnr: Vtnr) -> String {
        let digest = hmac::sign(
            &self.names,
            &[b"broker ", &vtnr.number().to_be_bytes()[..]].concat(),
        );
        digest
            .as_ref()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Returns a stable number for a user key, unpredictable without the secret.
    pub fn lot(&self, user: UserMark) -> u64 {
        let digest = hmac::sign(&self.names, &[&b"user "[..], user.digest()].concat());
        digest
            .as_ref()
            .first_chunk()
            .map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    /// Seals a record for its name; `token` is the browser's token, or empty for records that no
    /// browser's token protects.
    pub(crate) fn seal(
        &self,
        name: RecordKey,
        token: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, Unsealable> {
        let mut nonce = [0; NONCE_LEN];
        self.rng.fill(&mut nonce);
        let key = self.key_for(name, token)?;
        let aad = Aad::from(name.to_bytes());
        // Allocated at full length, since a form's body must not be copied once more.
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + key.algorithm().tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let text = sealed.get_mut(NONCE_LEN..).ok_or(Unsealable)?;
        let tag = key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, text)
            .map_err(|_| Unsealable)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens the result of [`Vault::seal`] for the same name and token.
    pub(crate) fn open(
        &self,
        name: RecordKey,
        token: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, Unsealable> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(Unsealable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unsealable)?;
        let mut opened = sealed.to_vec();
        let key = self.key_for(name, token)?;
        let plain = key
            .open_in_place(nonce, Aad::from(name.to_bytes()), &mut opened)
            .map_err(|_| Unsealable)?
            .len();
        opened.truncate(plain);
        Ok(opened)
    }

    fn key_for(&self, name: RecordKey, token: &[u8]) -> Result<LessSafeKey, Unsealable> {
        let mut context = hmac::Context::with_key(&self.seals);
        context.update(&name.to_bytes());
        context.update(token);
        UnboundKey::new(&AES_256_GCM, context.sign().as_ref())
            .map(LessSafeKey::new)
            .map_err(|_| Unsealable)
    }
}

#[expect(
    clippy::expect_used,
    reason = "HKDF refuses only outputs of more than 255 blocks"
)]
fn derive(root: &hkdf::Prk, purpose: &[u8]) -> hmac::Key {
    let info = [purpose];
    let key = root.expand(&info, hmac::HMAC_SHA256).expect("one block");
    hmac::Key::from(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(secret: &[u8]) -> Vault {
        Vault::new(secret, Rng)
    }

    #[test]
    fn a_record_opens_only_under_its_own_name_and_with_its_own_token() {
        let ours = vault(b"secret");
        let (name, other) = (
            ours.name(Kind::Session, b"a"),
            ours.name(Kind::Session, b"b"),
        );
        let sealed = ours.seal(name, b"token", b"content").expect("seals");
        assert_eq!(
            ours.open(name, b"token", &sealed).as_deref(),
            Ok(&b"content"[..])
        );
        assert_eq!(
            ours.open(other, b"token", &sealed),
            Err(Unsealable),
            "copied onto another name"
        );
        assert_eq!(
            ours.open(ours.name(Kind::Flow, b"a"), b"token", &sealed),
            Err(Unsealable),
            "taken for another kind"
        );
        assert_eq!(
            ours.open(name, b"other", &sealed),
            Err(Unsealable),
            "without the browser's token"
        );
        assert_eq!(
            vault(b"Secret").open(name, b"token", &sealed),
            Err(Unsealable),
            "without the secret"
        );
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(
                ours.open(name, b"token", &damaged),
                Err(Unsealable),
                "byte {at}"
            );
        }
        assert_eq!(ours.open(name, b"token", b"short"), Err(Unsealable));
    }

    #[test]
    fn names_and_pseudonyms_stay_those_of_earlier_versions() {
        let vault = vault(b"secret");
        let name = vault.name(Kind::Session, b"a").to_bytes();
        assert_eq!(
            String::from_utf8_lossy(&name),
            "s:1e4fbfc7cbd57901a89a0bf5c02bb34bb1518e481dcbaeb5"
        );
        let vtnr = Vtnr::from_number(601_234_567).expect("in range");
        assert_eq!(vault.pseudonym(vtnr), "e78efcb2bd705b42");
    }

    #[test]
    fn the_same_content_never_looks_the_same() {
        let vault = vault(b"secret");
        let name = vault.name(Kind::Session, b"a");
        assert_ne!(
            vault.seal(name, b"", b"content"),
            vault.seal(name, b"", b"content")
        );
    }

    #[test]
    fn a_name_survives_being_written_and_read() {
        let name = vault(b"secret").name(Kind::Trust, b"a");
        assert_eq!(RecordKey::from_bytes(&name.to_bytes()), Some(name));
        for wrong in [&b""[..], b"t:", b"x:00", b"t:zz", &name.to_bytes()[..49]] {
            assert_eq!(RecordKey::from_bytes(wrong), None);
        }
    }
}
