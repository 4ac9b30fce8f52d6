//! SHA-256, as an array.

use ring::digest::{SHA256, digest};

/// The SHA-256 of these bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.iter_mut()
        .zip(digest(&SHA256, bytes).as_ref())
        .for_each(|(byte, digest)| *byte = *digest);
    sum
}
