//! Identifiers of upload sessions that are recognized without a request.
//!
//! An upload begins with a POST, which stores nothing: the identifier itself says
//! that it was given out. Of its bytes, five are random, two are the hour, and
//! seven are a keyed hash of these and of the repository's place. An identifier
//! without a record is that of a session without bytes for [`FRESH_HOURS`], and
//! that of none later.
//!
//! The hash authorizes nothing: whoever may push may begin an upload anyway. It
//! makes identifiers hard to guess, and those unknown that were never given out,
//! as the specification wants it.

use crate::{Collection, UploadSession};
use hmac::{Hmac, KeyInit as _, Mac as _};
use roadstead_oci::{RepositoryName, UploadId};
use sha2::Sha256;
use std::fmt;
use std::time::SystemTime;

/// How long a session may have no bytes, in hours, counted in whole ones.
///
/// Limit: hours for which an empty upload is known; test:
/// `old_uploads_are_removed_and_nothing_else`.
pub const FRESH_HOURS: u16 = 24;

/// The bytes of the hour. Bytes 6 and 8 hold bits that every identifier has.
const HOUR: [usize; 2] = [5, 7];

/// The first byte of the hash.
const HASH: usize = 9;

/// What the identifiers of a storage's sessions are signed with.
pub struct SessionSecret(Vec<u8>);

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret")
    }
}

impl UploadSession {
    /// A new session, whose identifier is signed if there is a secret.
    pub fn new(
        repository: &RepositoryName,
        random: [u8; 16],
        secret: Option<&SessionSecret>,
    ) -> Self {
        match secret {
            Some(secret) => secret.new_session(repository, random),
            None => Self::from_random(repository.clone(), random),
        }
    }
}

impl SessionSecret {
    /// The secret of these bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// A keyed hash of nothing yet. `None` if the secret cannot be a key.
    pub fn hmac(&self) -> Option<Hmac<Sha256>> {
        Hmac::new_from_slice(&self.0).ok()
    }

    /// A session with an identifier that is made of random bytes.
    pub fn new_session(&self, repository: &RepositoryName, bytes: [u8; 16]) -> UploadSession {
        self.new_session_at(repository, bytes, hour())
    }

    fn new_session_at(
        &self,
        repository: &RepositoryName,
        mut bytes: [u8; 16],
        hour: u16,
    ) -> UploadSession {
        for (place, byte) in HOUR.into_iter().zip(hour.to_be_bytes()) {
            bytes[place] = byte;
        }
        let hash = self.hash(repository, &bytes);
        for (to, from) in bytes.iter_mut().skip(HASH).zip(hash) {
            *to = from;
        }
        UploadSession::from_random(repository.clone(), bytes)
    }

    /// Whether a session's identifier was given out by
    /// [`SessionSecret::new_session`] in the last [`FRESH_HOURS`], or in the next hour: the
    /// clock of another instance may be ahead, if only by a moment.
    pub fn recognizes(&self, session: &UploadSession) -> bool {
        let Some(bytes) = bytes(&session.id) else { return false };
        let began = u16::from_be_bytes(HOUR.map(|place| bytes[place]));
        let hash = self.hash(&session.repository, &bytes);
        bytes.iter().skip(HASH).eq(hash.iter().take(bytes.len() - HASH))
            && hour().wrapping_add(1).wrapping_sub(began) <= FRESH_HOURS + 1
    }

    /// The hash of an identifier's first bytes and of the place of a repository's
    /// sessions. A secret that cannot be a key gives none, and recognizes none.
    fn hash(&self, repository: &RepositoryName, bytes: &[u8; 16]) -> Vec<u8> {
        let Some(mut hash) = self.hmac() else { return Vec::new() };
        for place in [0, 1, 2, 3, 4, HOUR[0], HOUR[1]] {
            hash.update(&[bytes[place]]);
        }
        let place = Collection::Sessions(repository.clone()).prefix();
        hash.update(place.trim_end_matches('/').as_bytes());
        hash.finalize().into_bytes().to_vec()
    }
}

/// The bytes that an identifier was made of.
fn bytes(id: &UploadId) -> Option<[u8; 16]> {
    let digits: String = id.as_str().chars().filter(|&digit| digit != '-').collect();
    Some(u128::from_str_radix(&digits, 16).ok()?.to_be_bytes())
}

/// The hours since 1970, as two bytes. They repeat after seven years, which no
/// session lives to see.
fn hour() -> u16 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u16::try_from(now.as_secs() / 3600 % (u64::from(u16::MAX) + 1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{SessionSecret, hour};
    use crate::UploadSession;
    use roadstead_oci::RepositoryName;

    #[test]
    fn identifiers_are_recognized_in_their_repository_by_their_secret() {
        let (ours, theirs) = (SessionSecret::new(*b"ours"), SessionSecret::new(*b"theirs"));
        let name = |text| RepositoryName::parse(text).unwrap();
        let (here, there) = (name("a/here"), name("a/there"));
        for random in 0..100_u8 {
            let session = ours.new_session(&here, [random.wrapping_mul(77); 16]);
            let id = session.id.as_str();
            let parse =
                |name: &RepositoryName, id: &str| UploadSession::parse(name.clone(), id).unwrap();
            assert!(ours.recognizes(&parse(&here, id)));
            assert!(!ours.recognizes(&parse(&there, id)));
            assert!(!theirs.recognizes(&session));
            let mut digits: Vec<char> = id.chars().collect();
            // The last of the random bytes, of the hour and of the hash.
            for place in [9, 12, 35] {
                let before = std::mem::replace(&mut digits[place], 'f');
                let changed: String = digits.iter().collect();
                let recognized = ours.recognizes(&parse(&here, &changed));
                assert_eq!(recognized, before == 'f', "{place}: {id}");
                digits[place] = before;
            }
        }
    }

    #[test]
    fn identifiers_of_a_clock_that_is_ahead_are_recognized() {
        let (secret, name) = (SessionSecret::new(*b"ours"), RepositoryName::parse("a").unwrap());
        // If an hour begins meanwhile, nothing changes.
        for (hours, recognized) in [(-26, false), (-23, true), (0, true), (1, true), (3, false)] {
            let session = secret.new_session_at(&name, [7; 16], hour().wrapping_add_signed(hours));
            assert_eq!(secret.recognizes(&session), recognized, "{hours}");
        }
    }

    /// Instances of several versions share a bucket: all make the same hash.
    #[test]
    fn the_hash_of_an_identifier() {
        let repository = RepositoryName::parse("a/here").unwrap();
        let bytes = std::array::from_fn(|place| u8::try_from(place).unwrap());
        let hash = SessionSecret::new(*b"ours").hash(&repository, &bytes);
        assert_eq!(hash[..7], [0xde, 0x17, 0xdf, 0xd3, 0x27, 0x54, 0xb3]);
    }
}
