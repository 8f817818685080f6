//! The hash of a blob's stored bytes, which may take several operations.

use crate::StorageError;
use roadstead_oci::{Algorithm, Digest};
use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};
use std::fmt::Write as _;

/// The most bytes that one operation hashes: a larger limit is cut down to it.
///
/// Limit: bytes of a blob that one operation of the storage hashes; test:
/// `a_directory_keeps_the_contract`.
pub const HASH_LIMIT: u64 = 64 * 1024 * 1024;

/// A hash of one of the algorithms that goes on.
#[derive(Clone, Debug)]
pub enum BlobHash {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
}

impl BlobHash {
    /// The hash of no bytes.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Goes on where an operation has stopped, or begins.
    ///
    /// # Errors
    /// [`StorageError::Failed`] when the state is none of this algorithm.
    pub fn resume(algorithm: Algorithm, from: Option<&Partial>) -> Result<Self, StorageError> {
        match from {
            None => Ok(Self::new(algorithm)),
            Some(partial) => Self::parse(algorithm, &partial.state)
                .ok_or_else(|| StorageError::Failed("the state of a hash is damaged".to_owned())),
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of all bytes.
    ///
    /// # Errors
    /// Never: a hash has the length of its algorithm.
    pub fn finish(self) -> Result<Digest, StorageError> {
        let digest = match self {
            Self::Sha256(hash) => Digest::from_bytes(Algorithm::Sha256, &hash.finalize()),
            Self::Sha512(hash) => Digest::from_bytes(Algorithm::Sha512, &hash.finalize()),
        };
        digest.ok_or_else(|| {
            StorageError::Failed("a hash does not have the length of its algorithm".to_owned())
        })
    }

    /// The state in hexadecimal digits.
    pub fn print(&self) -> String {
        match self {
            Self::Sha256(hash) => print(&hash.serialize()),
            Self::Sha512(hash) => print(&hash.serialize()),
        }
    }

    /// Reads what [`Self::print`] printed.
    pub fn parse(algorithm: Algorithm, text: &str) -> Option<Self> {
        match algorithm {
            Algorithm::Sha256 => parse(text).map(Self::Sha256),
            Algorithm::Sha512 => parse(text).map(Self::Sha512),
        }
    }
}

fn print(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn parse<H: SerializableState>(text: &str) -> Option<H> {
    let mut bytes = SerializedState::<H>::default();
    if text.len() != bytes.len() * 2 {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(i * 2..i * 2 + 2)?, 16).ok()?;
    }
    H::deserialize(&bytes).ok()
}

/// How far the hash of a blob's bytes has come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partial {
    /// So many bytes are hashed.
    pub offset: u64,
    /// The state after them, as [`BlobHash`] prints it.
    pub state: String,
}

/// What an operation has hashed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hashed {
    /// The size of the stored object in bytes.
    pub size: u64,
    /// How many bytes this operation has read.
    pub read: u64,
    /// The result so far.
    pub outcome: HashOutcome,
}

/// The result of hashing a blob's bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashOutcome {
    /// Another operation goes on here.
    Partial(Partial),
    /// All bytes have this digest.
    Whole(Digest),
}

impl Hashed {
    /// The result of hashing `read` bytes after `offset` of an object of `size` bytes.
    ///
    /// # Errors
    /// Those of [`BlobHash::finish`].
    pub fn new(hash: BlobHash, offset: u64, read: u64, size: u64) -> Result<Self, StorageError> {
        let offset = offset.saturating_add(read);
        let outcome = if offset >= size {
            HashOutcome::Whole(hash.finish()?)
        } else {
            HashOutcome::Partial(Partial { offset, state: hash.print() })
        };
        Ok(Self { size, read, outcome })
    }
}

#[cfg(test)]
mod tests {
    use super::BlobHash;
    use roadstead_oci::Algorithm;

    #[test]
    fn hashes_go_on_after_every_byte() {
        let bytes: Vec<u8> = (0..=255).collect();
        for algorithm in Algorithm::ALL {
            let mut whole = BlobHash::new(algorithm);
            whole.update(&bytes);
            let expected = whole.finish().unwrap();
            for at in 0..bytes.len() {
                let (before, after) = bytes.split_at(at);
                let mut first = BlobHash::new(algorithm);
                first.update(before);
                let mut rest = BlobHash::parse(algorithm, &first.print()).unwrap();
                rest.update(after);
                assert_eq!(rest.finish().unwrap(), expected, "{algorithm} {at}");
            }
        }
    }

    #[test]
    fn states_of_others_are_refused() {
        let state = BlobHash::new(Algorithm::Sha256).print();
        assert!(BlobHash::parse(Algorithm::Sha512, &state).is_none());
        for text in ["", "00", &state[2..], &format!("{state}00"), &"zz".repeat(state.len() / 2)] {
            assert!(BlobHash::parse(Algorithm::Sha256, text).is_none(), "{text}");
        }
        // More bytes in the block than it has.
        let full = format!("{}ff", &state[..state.len() - 2]);
        assert!(BlobHash::parse(Algorithm::Sha256, &full).is_none());
    }
}
