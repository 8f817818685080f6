//! Why an operation on the bucket failed, as far as callers in this crate tell
//! failures apart.

use roadstead_buckets::{Refusal, is_unavailable};
use roadstead_storage::StorageError;

/// Why an operation failed. The texts are for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Error {
    /// For a reason that the storage port names.
    Storage(StorageError),
    /// The condition of a write does not hold: the object exists already, or has
    /// changed.
    Conflict(String),
    /// The store does not support a condition or an option of the request.
    Unsupported(String),
    /// A multipart upload cannot be completed: the store does not have its parts.
    MissingParts(String),
}

impl Error {
    /// There is no such object or session.
    pub(crate) const NOT_FOUND: Self = Self::Storage(StorageError::NotFound);

    /// A failure that no retry and no caller can mend.
    pub(crate) fn failed(cause: impl Into<String>) -> Self {
        Self::Storage(StorageError::Failed(cause.into()))
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        let text = || error.to_string();
        match &error {
            object_store::Error::NotFound { .. } => Self::NOT_FOUND,
            object_store::Error::AlreadyExists { .. }
            | object_store::Error::Precondition { .. } => Self::Conflict(text()),
            object_store::Error::NotSupported { .. }
            | object_store::Error::NotImplemented { .. } => Self::Unsupported(text()),
            error => match Refusal::cause_of(error) {
                Some(Refusal::MissingParts(_)) => Self::MissingParts(text()),
                Some(refusal) if refusal.is_full() => Self::Storage(StorageError::Full(text())),
                _ if is_unavailable(error) => Self::Storage(StorageError::Unavailable(text())),
                _ => Self::failed(text()),
            },
        }
    }
}

impl From<Error> for StorageError {
    fn from(error: Error) -> Self {
        match error {
            Error::Storage(error) => error,
            Error::Conflict(text) | Error::Unsupported(text) | Error::MissingParts(text) => {
                Self::Failed(text)
            }
        }
    }
}
