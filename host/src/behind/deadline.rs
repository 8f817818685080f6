//! How long the storage directory may take to answer.
//!
//! A file system that hangs, as of a server that is gone, does not fail: its
//! calls return when it is back. No request waits for that. The thread does, and
//! what it brings then is dropped.

use roadstead_bridge::storage::Operation;
use roadstead_storage::StorageError;
use std::fmt;
use std::time::Duration;

/// The limits of one directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// For reads of single objects, and for what tells whether they exist.
    pub(crate) read: Duration,
    /// For writes of single objects, syncs included, and of pieces of uploads.
    pub(crate) write: Duration,
    /// For what takes longer the more there is: lists, hashing bytes again, and
    /// syncing whole blobs.
    pub(crate) long: Duration,
}

/// Limit: time for a read from a storage directory, after which 503 is answered;
/// test: `a_directory_that_hangs_is_unavailable`.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// Limit: time for a small write to a storage directory, after which 503 is
/// answered; test: `a_directory_that_hangs_is_unavailable`.
const WRITE_LIMIT: Duration = Duration::from_mins(1);

/// Limit: time for a list or the commit of a blob, after which 503 is answered;
/// test: `a_directory_that_hangs_is_unavailable`.
const LONG_LIMIT: Duration = Duration::from_mins(10);

impl Default for Deadlines {
    fn default() -> Self {
        Self { read: READ_LIMIT, write: WRITE_LIMIT, long: LONG_LIMIT }
    }
}

impl Deadlines {
    /// How long an operation may take.
    pub(crate) fn of(&self, operation: &Operation) -> Duration {
        match operation {
            Operation::Manifest { .. }
            | Operation::Blob { .. }
            | Operation::MissingBlobs { .. }
            | Operation::MissingManifests { .. }
            | Operation::Hints { .. }
            | Operation::Read(_)
            | Operation::PushState { .. }
            | Operation::Exists(_)
            | Operation::Status(_) => self.read,
            Operation::Link { .. }
            | Operation::LinkTag { .. }
            | Operation::CreateTag { .. }
            | Operation::Remove(_)
            | Operation::Unlink { .. }
            | Operation::Quarantine(_)
            | Operation::Begin(_)
            | Operation::Discard(_) => self.write,
            Operation::Tidy(_)
            | Operation::Hash { .. }
            | Operation::Names(_)
            | Operation::Enumerate { .. }
            | Operation::Commit(_) => self.long,
        }
    }
}

/// The result of `work`, which does `what`, if there is one in time.
pub(crate) async fn within<T>(
    limit: Duration,
    what: impl fmt::Debug,
    work: impl Future<Output = Result<T, StorageError>>,
) -> Result<T, StorageError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(StorageError::Unavailable(format!(
            "{what:?}: the file system has not answered for {limit:?}; check the disk, or the \
             server that it is on"
        )))
    })
}
