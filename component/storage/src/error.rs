//! Why a storage operation failed.

use roadstead_oci::Digest;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};

/// Why a storage operation failed. The same type travels from a directory, over
/// the bridge of a native host, to the protocol, which maps it to a response.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageError {
    /// There is no such object or upload session.
    NotFound,
    /// The repository has no link to the blob, but the one that a collector has moved
    /// aside: it can be given back. Only of `Storage::blob` and `blob_size`, where a look
    /// for that link costs no request.
    LinkMoved,
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
    /// There is no room: the disk is full, or a quota is used up. The text is
    /// for the log, never for clients; so are those below.
    Full(String),
    /// The storage can be read and not written.
    ReadOnly(String),
    /// The storage cannot be reached or refuses to serve at the moment; a retry
    /// may succeed.
    Unavailable(String),
    /// The storage failed.
    Failed(String),
}

impl StorageError {
    /// What the log should say: nothing of what clients bring about.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Full(cause)
            | Self::ReadOnly(cause)
            | Self::Unavailable(cause)
            | Self::Failed(cause) => Some(cause),
            Self::NotFound
            | Self::LinkMoved
            | Self::Offset(_)
            | Self::Busy
            | Self::DigestMismatch(_)
            | Self::Range(_)
            | Self::Aborted
            | Self::BodyLength(_) => None,
        }
    }

    /// The error of a file system's call that must not look like a missing
    /// object, even if a part of its path is missing. The text names the remedy.
    pub fn of_file_system(error: &io::Error) -> Self {
        let (class, remedy): (fn(String) -> Self, _) = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => (
                Self::Full,
                "free space on its file system, or raise the quota; no restart is needed",
            ),
            ErrorKind::ReadOnlyFilesystem => (
                Self::ReadOnly,
                "mount its file system writable, or say that it is read-only with \
                 REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED=true",
            ),
            ErrorKind::PermissionDenied => {
                (Self::Unavailable, "let the user that the registry runs as read and write it")
            }
            ErrorKind::TimedOut
            | ErrorKind::StaleNetworkFileHandle
            | ErrorKind::NotConnected
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable => (
                Self::Unavailable,
                "check that its file system is mounted, and that its server can be reached",
            ),
            ErrorKind::OutOfMemory => (Self::Unavailable, "give the registry more memory"),
            _ => match raw_code(error) {
                Some(code) if FILES.contains(&code) => {
                    (Self::Unavailable, "raise the limit of open files (ulimit -n, LimitNOFILE)")
                }
                Some(code) if DEVICE.contains(&code) => {
                    (Self::Unavailable, "check the disk; the kernel's log says more")
                }
                _ => return Self::Failed(error.to_string()),
            },
        };
        class(format!("{error}; {remedy}"))
    }
}

/// EMFILE and ENFILE, which have no [`ErrorKind`].
#[cfg(not(target_os = "wasi"))]
const FILES: [i32; 2] = [24, 23];
#[cfg(target_os = "wasi")]
const FILES: [i32; 2] = [33, 41];

/// EIO, ENXIO and ENODEV.
#[cfg(not(target_os = "wasi"))]
const DEVICE: [i32; 3] = [5, 6, 19];
#[cfg(target_os = "wasi")]
const DEVICE: [i32; 3] = [29, 60, 43];

/// The system's code of an error, or of the error that it wraps.
fn raw_code(error: &io::Error) -> Option<i32> {
    if !cfg!(any(unix, target_os = "wasi")) {
        return None;
    }
    let wrapped = || error.source()?.downcast_ref::<io::Error>()?.raw_os_error();
    error.raw_os_error().or_else(wrapped)
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("not found"),
            Self::LinkMoved => f.write_str("the link to the blob was moved"),
            Self::Offset(offset) => write!(f, "the upload session ends at byte {offset}"),
            Self::Busy => f.write_str("another request is appending to the upload session"),
            Self::DigestMismatch(Some(digest)) => write!(f, "the content has the digest {digest}"),
            Self::DigestMismatch(None) => f.write_str("the content has another digest"),
            Self::Range(size) => write!(f, "no byte of the range is in the {size} bytes"),
            Self::Aborted => f.write_str("the request's body ended early"),
            Self::BodyLength(length) => write!(f, "the request's body had {length} bytes"),
            Self::Full(cause)
            | Self::ReadOnly(cause)
            | Self::Unavailable(cause)
            | Self::Failed(cause) => f.write_str(cause),
        }
    }
}

impl Error for StorageError {}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A path below a file, or a directory where a file is expected,
            // holds no object.
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
                Self::NotFound
            }
            _ => Self::of_file_system(&error),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::StorageError;
    use std::fmt;
    use std::io;

    #[derive(Debug)]
    struct Wrapped(io::Error);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "write /srv/file: {}", self.0)
        }
    }

    impl std::error::Error for Wrapped {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    /// By the system's code, alone and with the path around it.
    #[test]
    fn every_code_has_its_class_and_its_remedy() {
        let full: fn(String) -> StorageError = StorageError::Full;
        let (read_only, unavailable) = (StorageError::ReadOnly, StorageError::Unavailable);
        for (code, class, remedy) in [
            (28, full, "free space"),         // ENOSPC
            (122, full, "raise the quota"),   // EDQUOT
            (27, full, "free space"),         // EFBIG
            (30, read_only, "mount"),         // EROFS
            (13, unavailable, "user"),        // EACCES
            (1, unavailable, "user"),         // EPERM
            (24, unavailable, "LimitNOFILE"), // EMFILE
            (23, unavailable, "LimitNOFILE"), // ENFILE
            (5, unavailable, "disk"),         // EIO
            (6, unavailable, "disk"),         // ENXIO
            (19, unavailable, "disk"),        // ENODEV
            (116, unavailable, "mounted"),    // ESTALE
            (107, unavailable, "mounted"),    // ENOTCONN
            (110, unavailable, "mounted"),    // ETIMEDOUT
            (12, unavailable, "memory"),      // ENOMEM
        ] {
            let error = || io::Error::from_raw_os_error(code);
            let kind = error().kind();
            for error in [error(), io::Error::new(kind, Wrapped(error()))] {
                let text = error.to_string();
                let found = StorageError::from(error);
                let cause = found.cause().unwrap().to_owned();
                assert!(cause.starts_with(&text) && cause.contains(remedy), "{cause}");
                assert_eq!(found, class(cause), "{code}");
            }
        }
        let other = StorageError::from(io::Error::from_raw_os_error(39));
        assert!(matches!(other, StorageError::Failed(_)), "{other:?}");
        for code in [2, 20, 21] {
            let missing = io::Error::from_raw_os_error(code);
            assert!(matches!(StorageError::of_file_system(&missing), StorageError::Failed(_)));
            assert_eq!(StorageError::from(missing), StorageError::NotFound);
        }
    }
}
