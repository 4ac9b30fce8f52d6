//! Values that no log may show.

/// A value that no log may show.
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

    /// Names the configuration key that the secret came from.
    pub(super) fn of(self, key: &'static str) -> Self {
        Self { key, ..self }
    }

    pub fn reveal(&self) -> &[u8] {
        &self.bytes
    }

    /// The key of the configuration that it came from, such as `store.password_file`; empty if it came from elsewhere.
    pub fn key(&self) -> &'static str {
        self.key
    }
}

/// Secrets are equal if their text is, wherever it was written.
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
