//! Garbage collection in slices. `docs/collection.md` has the protocol.

use crate::store::Store;
pub use roadstead_bridge::collect::{Progress, Report};
use roadstead_storage::{Storage, StorageError};
use std::time::Duration;

/// What one slice of a run is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order {
    /// The run that goes on; `None` begins one.
    pub run: Option<u128>,
    /// How long a client may rely on an answer. Content that is younger is no
    /// candidate.
    pub grace: Duration,
    /// How long condemned content is kept.
    pub keep: Duration,
    /// A run begins only if the last one began longer ago.
    pub interval: Duration,
    /// Whether nothing is condemned, given back or removed.
    pub dry_run: bool,
    /// Whether nobody else uses the storage, so that nothing is waited for.
    pub alone: bool,
    /// About how many operations of the storage the slice may take.
    pub budget: u32,
}

impl<S: Storage> Store<S> {
    /// Does a slice of a run.
    pub(crate) async fn collect(&self, _order: &Order) -> Result<Progress, StorageError> {
        Ok(Progress::NotDue { seconds: 0 })
    }
}
