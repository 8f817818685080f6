//! Whether bytes have a digest.

use roadstead_oci::{Algorithm, Digest};
use sha2::{Digest as _, Sha256, Sha512};

/// The hash of a content so far, and the digest that it must have.
pub(crate) struct Hash {
    expected: Digest,
    state: State,
}

enum State {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hash {
    /// Of no bytes yet.
    pub(crate) fn of(expected: Digest) -> Self {
        let state = match expected.algorithm() {
            Algorithm::Sha256 => State::Sha256(Sha256::default()),
            Algorithm::Sha512 => State::Sha512(Box::default()),
        };
        Self { expected, state }
    }

    /// Takes the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha256(hash) => hash.update(bytes),
            State::Sha512(hash) => hash.update(bytes),
        }
    }

    /// Compares all of them with the digest.
    ///
    /// # Errors
    /// When they have another.
    pub(crate) fn verify(self) -> Result<(), String> {
        let hash = match self.state {
            State::Sha256(hash) => hash.finalize().to_vec(),
            State::Sha512(hash) => hash.finalize().to_vec(),
        };
        match Digest::from_bytes(self.expected.algorithm(), &hash) {
            Some(found) if found == self.expected => Ok(()),
            Some(found) => Err(format!("its digest is {found} instead of {}", self.expected)),
            None => Err("a hash has the wrong length".to_owned()),
        }
    }
}
