//! Credentials that were verified, so that bcrypt is paid once.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::collections::HashMap;

/// Credentials that are remembered at a time; beyond, all are forgotten and
/// verified again.
const ENTRIES: usize = 4096;

/// What stands for credentials: a keyed hash of them.
pub type Fingerprint = [u8; 32];

/// A key of HMAC-SHA-256, as long as its block.
pub(crate) type Key = [u8; 64];

/// Remembers values by credentials, which it does not hold: only their hash
/// under a key that lives in this memory alone.
#[derive(Debug)]
pub struct Cache<T> {
    key: Key,
    entries: HashMap<Fingerprint, T>,
}

impl<T> Cache<T> {
    /// An empty cache with a key of its own.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new() -> Result<Self, String> {
        Ok(Self { key: random()?, entries: HashMap::new() })
    }

    /// What stands for these credentials here.
    pub fn fingerprint(&self, parts: &[&str]) -> Fingerprint {
        let mut mac = keyed(&self.key);
        for part in parts {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    /// What is remembered.
    pub fn get(&self, fingerprint: &Fingerprint) -> Option<&T> {
        self.entries.get(fingerprint)
    }

    /// Remembers.
    pub fn insert(&mut self, fingerprint: Fingerprint, value: T) {
        if self.entries.len() >= ENTRIES {
            self.entries.clear();
        }
        self.entries.insert(fingerprint, value);
    }

    /// Forgets everything.
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
