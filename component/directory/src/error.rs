//! What can go wrong in a directory.

use roadstead_oci::Digest;
use std::{fmt, io};

/// Why a call on a [`crate::Directory`] failed.
#[derive(Debug)]
pub enum Error {
    /// There is no such object or session.
    NotFound,
    /// The object exists and was to be created.
    AlreadyExists,
    /// Bytes were to be appended to a session at another place than its end.
    Offset {
        /// Where the session ends, in bytes.
        expected: u64,
    },
    /// Another request is appending to the session.
    Busy,
    /// The session's bytes do not have the digest they were to have. The
    /// session and its bytes are gone.
    DigestMismatch {
        /// The digest that the bytes have.
        actual: Digest,
    },
    /// The file system failed.
    Io(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A key below a file, or a directory where a file is asked for,
            // holds no object.
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory => Self::NotFound,
            io::ErrorKind::AlreadyExists => Self::AlreadyExists,
            _ => Self::Io(error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("not found"),
            Self::AlreadyExists => f.write_str("already exists"),
            Self::Offset { expected } => write!(f, "the upload session ends at byte {expected}"),
            Self::Busy => f.write_str("another request is appending to this upload session"),
            Self::DigestMismatch { actual } => write!(f, "the content has the digest {actual}"),
            Self::Io(error) => write!(f, "file system: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}
