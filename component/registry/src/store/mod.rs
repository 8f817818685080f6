//! The order of writes: what is stored first, and what makes it visible last.
//!
//! Operations that are one call of the storage port are not repeated here: the
//! endpoints call [`Store::storage`] for them.

mod blobs;
mod deletions;
mod history;
mod immutable;
mod left;
mod manifests;
mod pulls;
mod quotas;
mod referrers;
mod repository;
mod retained;
mod revisions;
mod tags;
mod tombstones;

pub(crate) use blobs::Opened;
pub(crate) use history::{HistoryPage, HistoryQuery, LONGEST, Recorded};
pub(crate) use immutable::Refusal;
use left::Left;
use pulls::Pulls;
pub(crate) use pulls::recorded;
pub(crate) use quotas::{Added, Count, Push, blob_hash, tag_hash};
pub(crate) use referrers::Referrer;

use crate::Switches;
use roadstead_access::{Immutable, Quotas, Retention};
use roadstead_config::StoredEvents;
use roadstead_storage::Storage;

/// The registry's content.
#[derive(Debug)]
pub(crate) struct Store<S> {
    /// The storage port: reads, upload sessions and lists.
    pub(crate) storage: S,
    /// Whether nothing is written.
    read_only: bool,
    /// Which tags never change.
    immutable: Immutable,
    /// How much repositories may hold.
    pub(crate) quotas: Quotas,
    /// Which tags expire.
    pub(crate) retention: Retention,
    /// Which tags were pulled, until that is recorded.
    pulls: Pulls,
    /// Events of pulls, until they are written.
    left: Left,
    /// Whether the storage has events of hosts that send none.
    pub(crate) leaves_events: bool,
}

impl<S: Storage> Store<S> {
    pub(crate) fn new(storage: S, switches: &Switches) -> Self {
        Self {
            storage,
            read_only: switches.read_only,
            immutable: switches.immutable.clone(),
            quotas: switches.quotas.clone(),
            retention: switches.retention.clone(),
            pulls: Pulls::default(),
            left: Left::default(),
            leaves_events: switches.stored_events != StoredEvents::Off,
        }
    }

    /// Whether nothing is written.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }
}
