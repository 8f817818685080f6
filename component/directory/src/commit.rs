//! The end of an upload session: verified bytes become an object.

use crate::{Appender, Directory, Error, Key, WriteMode};
use roadstead_oci::{Algorithm, Digest};
use sha2::{Digest as _, Sha256, Sha512};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes read at a time where bytes are hashed again.
pub(crate) const HASH_BUFFER: usize = 256 * 1024;

impl Directory {
    /// Verifies that the session's bytes have the digest `expected` and makes
    /// them the object of `to`. Returns their number. The session is gone
    /// afterwards, whatever the outcome of the verification.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`] when they do not; [`Error::NotFound`] without
    /// such a session; [`Error::Busy`] while a request appends to it.
    pub fn commit(&self, session: &Key, to: &Key, expected: &Digest) -> Result<u64, Error> {
        self.commit_appended(session, self.append(session, None)?, to, expected)
    }

    /// The same, with bytes that were appended but not finished: the session
    /// ends with this call, so they need not be recorded before.
    pub fn commit_appended(
        &self,
        session: &Key,
        appender: Appender,
        to: &Key,
        expected: &Digest,
    ) -> Result<u64, Error> {
        let (file, path, state, lock) = appender.into_parts();
        let actual = match expected.algorithm() {
            Algorithm::Sha256 => Digest::from_bytes(Algorithm::Sha256, &state.sha256.finalize()),
            // Sessions are hashed with SHA-256 as they come, since a client
            // names the algorithm only at the end.
            Algorithm::Sha512 => {
                Digest::from_bytes(Algorithm::Sha512, &hash_again::<Sha512>(&path)?)
            }
        };
        let actual = actual.ok_or_else(|| Error::Io(io::Error::other("hash of a wrong length")))?;
        if actual != *expected {
            self.discard(session)?;
            drop(lock);
            return Err(Error::DigestMismatch { actual });
        }
        file.sync_all().map_err(Error::Io)?;
        drop(file);
        self.publish(&path, to, WriteMode::Overwrite)?;
        // The object is there. What may stay behind of the session is swept.
        let _ = self.discard(session);
        drop(lock);
        Ok(state.offset)
    }

    /// The digest of an object.
    pub fn digest(&self, key: &Key, algorithm: Algorithm) -> Result<Digest, Error> {
        let path = self.path(key);
        let digest = match algorithm {
            Algorithm::Sha256 => Digest::from_bytes(algorithm, &hash_again::<Sha256>(&path)?),
            Algorithm::Sha512 => Digest::from_bytes(algorithm, &hash_again::<Sha512>(&path)?),
        };
        digest.ok_or_else(|| Error::Io(io::Error::other("hash of a wrong length")))
    }
}

fn hash_again<H: sha2::Digest>(path: &Path) -> Result<Vec<u8>, Error> {
    let mut file = File::open(path)?;
    let mut hash = H::new();
    let mut buffer = vec![0; HASH_BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().to_vec()),
            n => hash.update(&buffer[..n]),
        }
    }
}
