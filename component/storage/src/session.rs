//! Upload sessions by name.

use roadstead_oci::{InvalidUploadId, RepositoryName, UploadId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// How many uploads there are for one that removes abandoned ones.
const ONE_OF: u8 = 16;

/// After what time an upload removes no more abandoned ones ([`UploadSession::purges`]): its
/// client waits for it.
///
/// Limit: time after which an upload removes no more abandoned ones; test: none, it takes a store that is slow.
pub const PURGE_TIME: Duration = Duration::from_secs(10);

/// The least age of an upload that another one removes: while a request sends it, only its
/// parts or files say that it goes on, and a slow client takes its time for each.
///
/// Limit: least age of an upload that another one removes; test:
/// `uploads_that_go_on_are_kept`.
pub const PURGE_LEAST_AGE: Duration = Duration::from_hours(1);

/// An upload session of a repository (distribution-spec, "Pushing blobs").
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct UploadSession {
    /// The repository that the blob is pushed to.
    pub repository: RepositoryName,
    /// The session's identifier, unique within the repository.
    pub id: UploadId,
}

impl UploadSession {
    /// The session of `repository` whose identifier is made of 16 random bytes;
    /// see [`UploadId::from_random`].
    pub fn from_random(repository: RepositoryName, random: [u8; 16]) -> Self {
        Self { repository, id: UploadId::from_random(random) }
    }

    /// Parses the identifier.
    ///
    /// # Errors
    /// When it is not a UUID in lower case.
    pub fn parse(repository: RepositoryName, id: &str) -> Result<Self, InvalidUploadId> {
        Ok(Self { repository, id: UploadId::parse(id)? })
    }

    /// Whether it is one of 16 that remove abandoned uploads, where nothing runs between
    /// requests. Its first byte is random.
    pub fn purges(&self) -> bool {
        u8::from_str_radix(self.id.as_str().get(..2).unwrap_or_default(), 16)
            .is_ok_and(|random| random.is_multiple_of(ONE_OF))
    }
}

impl fmt::Display for UploadSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/_uploads/{}", self.repository, self.id)
    }
}

/// The name of an object that belongs to an upload session: a relative path of
/// at most [`SessionFile::MAX_LENGTH`] bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionFile(String);

impl SessionFile {
    /// The longest name, in bytes: distribution's are `startedat`, `data` and
    /// `hashstates/sha256/<offset>`.
    ///
    /// Limit: bytes of the name of an upload's object; test: `what_is_no_key`.
    pub const MAX_LENGTH: usize = 255;

    /// Parses a name: segments of ASCII letters, digits, `.`, `_` and `-`,
    /// separated by `/`; no segment is empty, `.` or `..`.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let segment =
            |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(plain);
        (text.len() <= Self::MAX_LENGTH && text.split('/').all(segment))
            .then(|| Self(text.to_owned()))
    }

    /// What an object store keeps of a session; see the adapter's `record`.
    pub fn record() -> Self {
        Self("record".to_owned())
    }

    /// The object that a multipart upload of a session becomes before its
    /// digest is known; `unique` sets it apart from all others.
    pub fn parts(unique: u128) -> Self {
        Self(format!("data-{unique:032x}"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
