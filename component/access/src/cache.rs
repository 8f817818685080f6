//! A cache of verified credentials, so that bcrypt runs once per password.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::collections::HashMap;

/// The most credentials that are cached. When it is full, all are dropped and
/// have to be verified again.
///
/// Limit: verified credentials that are remembered; test: none, a full cache only
/// costs time.
const ENTRIES: usize = 4096;

/// A keyed hash of credentials.
pub type Fingerprint = [u8; 32];

/// A key of HMAC-SHA-256, as long as its block.
pub(crate) type Key = [u8; 64];

/// Values by credentials. It does not hold the credentials, only their hash
/// under a random key that exists only in this memory.
#[derive(Debug)]
pub struct CredentialCache<T> {
    key: Key,
    entries: HashMap<Fingerprint, T>,
}

impl<T> CredentialCache<T> {
    /// An empty cache with a key of its own.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new() -> Result<Self, String> {
        Ok(Self { key: random()?, entries: HashMap::new() })
    }

    /// The fingerprint of these credentials in this cache.
    pub fn fingerprint(&self, parts: &[&str]) -> Fingerprint {
        let mut mac = keyed(&self.key);
        for part in parts {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    /// The cached value.
    pub fn get(&self, fingerprint: &Fingerprint) -> Option<&T> {
        self.entries.get(fingerprint)
    }

    /// Caches a value.
    pub fn insert(&mut self, fingerprint: Fingerprint, value: T) {
        if self.entries.len() >= ENTRIES {
            self.entries.clear();
        }
        self.entries.insert(fingerprint, value);
    }

    /// Empties the cache.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

/// Random bytes.
pub(crate) fn random() -> Result<Key, String> {
    let mut bytes = [0; 64];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random bytes: {error}"))?;
    Ok(bytes)
}

/// HMAC-SHA-256 under a key.
pub(crate) fn keyed(key: &Key) -> Hmac<Sha256> {
    Hmac::new(key.into())
}
