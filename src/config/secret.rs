//! Secret values: no `Display`, redacted `Debug`.

/// Secret value, which no log may show.
#[derive(Clone)]
pub struct Secret {
    bytes: Vec<u8>,
    key: &'static str,
}

impl Secret {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            key: "",
        }
    }

    /// Notes the configuration key of the secret.
    pub(super) fn of(self, key: &'static str) -> Self {
        Self { key, ..self }
    }

    pub fn reveal(&self) -> &[u8] {
        &self.bytes
    }

    /// Configuration key, such as `store.password_file`; empty for a secret from elsewhere.
    pub fn key(&self) -> &'static str {
        self.key
    }
}

/// Compares the bytes only, not the key.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Secret {}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
