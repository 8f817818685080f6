//! How far purges are, and when the next one is due: [`PLACE`].
//!
//! What is lost of it, because two instances write at once, is done again.

use super::Purge;
use crate::error::Error;
use object_store::ObjectStoreExt as _;
use roadstead_buckets::UploadMarker;
use roadstead_oci::RepositoryName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The object that holds it.
const PLACE: &str = ".roadstead/upload-purge";

/// How many repositories it has at most. The others are looked at again before
/// the interval is over.
///
/// Limit: repositories whose last purge of uploads is remembered; test:
/// `progress_is_bounded`.
const REPOSITORIES: usize = 500;

/// The most bytes that are read of it: more than the longest names make.
///
/// Limit: bytes of the progress of purges in a bucket; test: none, it is the
/// registry's own.
const SIZE_LIMIT: u64 = 512 * 1024;

/// How far purges are.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The settings that it is of: with others, everything is due.
    age: u64,
    dry_run: bool,
    #[serde(default)]
    repositories: BTreeMap<String, Run<String>>,
    #[serde(default)]
    multiparts: Option<Run<UploadMarker>>,
    /// The walk over all repositories, by the name of the last one.
    #[serde(default)]
    walk: Option<Run<String>>,
}

/// A purge of something, in parts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Run<After> {
    /// When it began, in seconds since 1970.
    begun: u64,
    /// Where it goes on; `None` when it is done.
    pub(super) after: Option<After>,
}

impl<After> Run<After> {
    /// Whether there is nothing to do: it is done, and the next one is not due. A
    /// clock that was wrong stops no purge for longer than an interval.
    fn rests(&self, now: u64, interval: u64) -> bool {
        self.after.is_none() && self.begun.abs_diff(now) < interval
    }
}

impl Progress {
    /// Reads it; what cannot be understood counts as none.
    pub(super) async fn read(purge: &Purge<'_>) -> Result<Self, Error> {
        let objects = &purge.uploads.objects;
        let none = Self {
            age: purge.purging.age.as_secs(),
            dry_run: purge.purging.dry_run,
            ..Self::default()
        };
        let found = objects.backend.store.get(&objects.path_of(PLACE)).await;
        let found = match found.map_err(Error::from) {
            Err(Error::NOT_FOUND) => return Ok(none),
            found => found?,
        };
        if found.meta.size > SIZE_LIMIT {
            return Ok(none);
        }
        let read: Self = serde_json::from_slice(&found.bytes().await?).unwrap_or_default();
        let same = read.age == none.age && read.dry_run == none.dry_run;
        Ok(if same { read } else { none })
    }

    /// The run over a repository's sessions that is to go on; `None` if none is
    /// due.
    pub(super) fn of_repository(
        &self,
        purge: &Purge<'_>,
        repository: &RepositoryName,
    ) -> Option<Run<String>> {
        due(self.repositories.get(repository.as_str()), purge)
    }

    /// The same for the multipart uploads of all repositories.
    pub(super) fn of_multiparts(&self, purge: &Purge<'_>) -> Option<Run<UploadMarker>> {
        due(self.multiparts.as_ref(), purge)
    }

    /// The walk over all repositories that is to go on.
    pub(super) fn of_walk(&self, purge: &Purge<'_>) -> Option<Run<String>> {
        due(self.walk.as_ref(), purge)
    }

    /// Notes after which repository the walk goes on.
    pub(super) fn note_walk(&mut self, run: &Run<String>, after: Option<String>) {
        self.walk = Some(Run { begun: run.begun, after });
    }

    /// Notes where a run over a repository goes on.
    pub(super) fn note_repository(
        &mut self,
        purge: &Purge<'_>,
        repository: &RepositoryName,
        run: &Run<String>,
        after: Option<String>,
    ) {
        self.repositories.insert(repository.to_string(), Run { begun: run.begun, after });
        let (now, interval) = times(purge);
        self.repositories.retain(|_, run| run.after.is_some() || run.rests(now, interval));
        while self.repositories.len() > REPOSITORIES {
            let oldest = self.repositories.iter().min_by_key(|(_, run)| run.begun);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else { return };
            self.repositories.remove(&oldest);
        }
    }

    /// Notes where the run over multipart uploads goes on.
    pub(super) fn note_multiparts(&mut self, run: &Run<UploadMarker>, after: Option<UploadMarker>) {
        self.multiparts = Some(Run { begun: run.begun, after });
    }

    /// Writes it.
    pub(super) async fn write(&self, purge: &Purge<'_>) -> Result<(), Error> {
        let json = serde_json::to_vec(self).map_err(|error| Error::failed(error.to_string()))?;
        let objects = &purge.uploads.objects;
        objects.backend.store.put(&objects.path_of(PLACE), json.into()).await?;
        Ok(())
    }
}

/// The run to go on with: the one that is not done, or a new one if it is due.
fn due<After: Clone>(run: Option<&Run<After>>, purge: &Purge<'_>) -> Option<Run<After>> {
    let (now, interval) = times(purge);
    match run {
        Some(run) if run.rests(now, interval) => None,
        Some(run) if run.after.is_some() => Some(run.clone()),
        _ => Some(Run { begun: now, after: None }),
    }
}

/// The time and the interval, in seconds.
fn times(purge: &Purge<'_>) -> (u64, u64) {
    let now = u64::try_from(purge.now.timestamp()).unwrap_or_default();
    (now, purge.purging.interval.as_secs())
}
