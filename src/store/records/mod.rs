//! The format of records inside the seal: JSON. Unknown fields are ignored, so that a gateway reads
//! the records of older and newer ones, as a rolling update needs.

mod browsers;
mod flows;
mod forms;
mod outbox;
mod sessions;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::ids::TOKEN_BYTES;
use serde::{Deserialize, Serialize};

/// The bytes are not a record of the expected kind.
#[derive(Debug)]
pub(super) struct MalformedRecord;

/// A domain type with a serialized form.
pub(super) trait Record: Sized {
    /// The serialized form, which must stay readable across versions.
    type Written: Serialize + for<'de> Deserialize<'de>;

    fn write(&self) -> Self::Written;
    fn read(written: Self::Written) -> Option<Self>;

    fn to_bytes(&self) -> Result<Vec<u8>, MalformedRecord> {
        serde_json::to_vec(&self.write()).map_err(|_| MalformedRecord)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, MalformedRecord> {
        serde_json::from_slice(bytes)
            .ok()
            .and_then(Self::read)
            .ok_or(MalformedRecord)
    }
}

fn token_text(token: &[u8; TOKEN_BYTES]) -> String {
    URL_SAFE_NO_PAD.encode(token)
}

fn token_bytes(text: &str) -> Option<[u8; TOKEN_BYTES]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}
