//! Scrubbing in slices: all stored data is hashed again, and all that refers to
//! something is followed.
//!
//! A scrub goes through these stages: `blobs` hashes the data of each blob,
//! `repositories` looks whether manifests, tags and referrers lead to what they say.
//! Nothing is stored between slices: [`State`] is the cursor that the caller keeps, so
//! any instance can do the next slice, and any number of scrubs go on beside each
//! other.
//!
//! Nothing is deleted. On request, data that does not have its digest is moved out of
//! the way, so that the blob is missing and clients upload it again. In a directory,
//! this is one step ([`roadstead_storage::Storage::quarantine`]). In a bucket it is as
//! careful as a removal by a collector: `docs/collection.md` has the protocol, and
//! `quarantine.rs` its steps, which begin before the stage `repositories` and end after
//! it.

mod blobs;
mod content;
mod manifests;
mod quarantine;
mod repositories;
mod state;

pub(crate) use state::State;

use crate::store::Store;
use content::Held;
use roadstead_bridge::scrub::{Counts, Finding, Kind, Progress};
use roadstead_oci::Digest;
use roadstead_storage::{
    Collection, Cursor, Holding, Key, Listing, NameList, NamesQuery, Storage, StorageError,
};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

/// About how many operations of the storage a slice takes, besides those that hash.
///
/// Limit: operations of a slice of a scrub; test: `slices_are_bounded`.
const OPERATIONS: u32 = 500;

/// How many findings end a slice.
///
/// Limit: findings after which a slice of a scrub ends; test: `slices_are_bounded`.
const FINDINGS: usize = 100;

/// How many objects are listed in one operation.
///
/// Limit: objects that a scrub lists in one operation; test: none, more are listed in steps.
const PAGE: usize = 250;

/// How many blobs of a repository are remembered within a slice.
///
/// Limit: blobs that a slice of a scrub remembers; test: none, more are looked up again.
const REMEMBERED: usize = 10_000;

/// What one slice of a scrub is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ScrubOptions {
    /// How many bytes it hashes, at most.
    pub(crate) bytes: u64,
    /// Whether the data of blobs is hashed.
    pub(crate) hash: bool,
    /// Whether damaged data is moved out of the way, and then the longest request
    /// beside it.
    pub(crate) quarantine: Option<Duration>,
    /// Whether repositories need not hold the blobs of their images.
    pub(crate) sparse: bool,
}

/// A slice of a scrub.
struct Scrub<'a, S> {
    store: &'a Store<S>,
    order: ScrubOptions,
    state: State,
    findings: Vec<Finding>,
    counts: Counts,
    hashed: u64,
    wait: Duration,
    /// Operations of the storage.
    spent: Cell<u32>,
    /// What is known of the blobs of the current repository.
    known: RefCell<HashMap<Digest, Held>>,
}

impl<S: Storage> Store<S> {
    /// Does a slice of a scrub: one step at least.
    ///
    /// # Errors
    /// When the storage fails. The same slice can be asked for again.
    pub(crate) async fn scrub(
        &self,
        state: State,
        order: ScrubOptions,
    ) -> Result<Progress, StorageError> {
        let scrub = Scrub {
            store: self,
            order,
            state,
            findings: Vec::new(),
            counts: Counts::default(),
            hashed: 0,
            wait: Duration::ZERO,
            spent: Cell::new(0),
            known: RefCell::default(),
        };
        scrub.slice().await
    }
}

impl<S: Storage> Scrub<'_, S> {
    async fn slice(mut self) -> Result<Progress, StorageError> {
        loop {
            let goes_on = self.step().await?;
            if !goes_on || self.is_spent() {
                break;
            }
        }
        let is_done = self.state.stage == state::Stage::End;
        Ok(Progress {
            findings: self.findings,
            counts: self.counts,
            stage: self.state.stage.name().to_owned(),
            percent: self.state.stage.percent(),
            operations: self.spent.get(),
            hashed: self.hashed,
            wait: u64::try_from(self.wait.as_millis()).unwrap_or(u64::MAX),
            cursor: (!is_done).then(|| self.state.print()),
        })
    }

    /// Does one step, and says whether the slice may do another.
    async fn step(&mut self) -> Result<bool, StorageError> {
        use state::Stage;
        // Whatever a cursor says, nothing is written that was not asked for.
        let moves = self.order.quarantine.is_some() && self.store.storage.marker().is_some();
        match self.state.stage.clone() {
            Stage::Announce if !moves => {
                self.state.stage = Stage::Repositories(state::RepositoryPlace::default());
            }
            Stage::Move | Stage::Clear if !moves => self.state.stage = Stage::End,
            Stage::Blobs(place) => self.blobs(place).await?,
            Stage::Announce => {
                self.announce().await?;
                return Ok(false);
            }
            Stage::Repositories(place) => self.repositories(place).await?,
            Stage::Move => self.move_aside().await?,
            Stage::Clear => self.clear().await?,
            Stage::End => return Ok(false),
        }
        Ok(self.wait.is_zero() && self.state.stage != Stage::End)
    }

    fn spend(&self, operations: u32) {
        self.spent.set(self.spent.get().saturating_add(operations));
    }

    /// Whether this slice has used its share.
    fn is_spent(&self) -> bool {
        self.spent.get() >= OPERATIONS
            || self.hashed >= self.order.bytes
            || self.findings.len() >= FINDINGS
    }

    /// Notes what was found about some content.
    fn find(&mut self, kind: Kind, digest: &Digest) -> &mut Finding {
        self.findings.push(Finding { digest: Some(digest.to_string()), ..Finding::new(kind) });
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    /// A page of a collection.
    async fn page(
        &self,
        collection: &Collection,
        after: Option<&Cursor>,
    ) -> Result<Listing, StorageError> {
        self.spend(1);
        self.store.storage.enumerate(collection, after, PAGE).await
    }

    async fn exists(&self, key: &Key) -> Result<bool, StorageError> {
        self.spend(1);
        self.store.storage.exists(key).await
    }

    /// The text of an error that concerns one object alone.
    ///
    /// # Errors
    /// The same, when the storage as a whole does not serve.
    async fn of_one_object(&self, error: StorageError) -> Result<String, StorageError> {
        if !matches!(error, StorageError::Unavailable(_) | StorageError::Failed(_)) {
            return Err(error);
        }
        self.spend(1);
        let list = NameList::Repositories(Holding::Anything);
        let query = NamesQuery { list, values: false, after: None, limit: 1 };
        match self.store.storage.names(&query).await {
            Ok(_) => Ok(error.to_string()),
            Err(_) => Err(error),
        }
    }
}
