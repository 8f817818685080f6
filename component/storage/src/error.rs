//! Why a storage operation failed.

use roadstead_oci::Digest;
use serde::{Deserialize, Serialize};
use std::{fmt, io};

/// Why a storage operation failed. The same type travels from a directory, over
/// the bridge of a native host, to the protocol, which maps it to a response.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageError {
    /// There is no such object or upload session.
    NotFound,
    /// The upload session ends at this byte, and not where bytes were to be
    /// appended.
    Offset(u64),
    /// Another request is appending to the upload session.
    Busy,
    /// The content does not have the expected digest. Holds the digest that it
    /// has, unless an object store compared them without naming it.
    DigestMismatch(Option<Digest>),
    /// No byte of the requested range is in the object, which has this size.
    Range(u64),
    /// The request's body ended early: the client closed the connection.
    Aborted,
    /// The request's body had this many bytes instead of the announced number.
    BodyLength(u64),
    /// The storage cannot be reached or refuses to serve at the moment; a retry
    /// may succeed. The text is for the log, never for clients.
    Unavailable(String),
    /// The storage failed. The text is for the log, never for clients.
    Failed(String),
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("not found"),
            Self::Offset(offset) => write!(f, "the upload session ends at byte {offset}"),
            Self::Busy => f.write_str("another request is appending to the upload session"),
            Self::DigestMismatch(Some(digest)) => write!(f, "the content has the digest {digest}"),
            Self::DigestMismatch(None) => f.write_str("the content has another digest"),
            Self::Range(size) => write!(f, "no byte of the range is in the {size} bytes"),
            Self::Aborted => f.write_str("the request's body ended early"),
            Self::BodyLength(length) => write!(f, "the request's body had {length} bytes"),
            Self::Unavailable(cause) | Self::Failed(cause) => f.write_str(cause),
        }
    }
}

impl std::error::Error for StorageError {}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A path below a file, or a directory where a file is expected,
            // holds no object.
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory => Self::NotFound,
            _ => Self::Failed(format!("file system: {error}")),
        }
    }
}
