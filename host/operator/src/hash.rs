//! Whether bytes have a digest.

use roadstead_oci::{Algorithm, Digest};
use roadstead_storage::BlobHash;

/// The hash of a content so far, and the digest that it must have.
#[derive(Debug)]
pub struct Hash {
    expected: Digest,
    state: BlobHash,
}

impl Hash {
    /// Of no bytes yet.
    pub fn of(expected: Digest) -> Self {
        Self { state: BlobHash::new(expected.algorithm()), expected }
    }

    /// The digest that the bytes must have.
    pub fn expected(&self) -> &Digest {
        &self.expected
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    /// Compares all of them with the digest.
    ///
    /// # Errors
    /// When they have another.
    pub fn verify(self) -> Result<(), String> {
        match self.state.finish().map_err(|error| error.to_string())? {
            found if found == self.expected => Ok(()),
            found => Err(format!("its digest is {found} instead of {}", self.expected)),
        }
    }
}

/// The digest of some bytes.
///
/// # Errors
/// When the algorithm is not supported.
pub fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Result<Digest, String> {
    let mut state = BlobHash::new(algorithm);
    state.update(bytes);
    state.finish().map_err(|error| error.to_string())
}
