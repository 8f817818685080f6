//! Removes uploads that never ended.
//!
//! A component runs only while it serves a request. So some of the requests that
//! end an upload look at old ones, and remove them: `sessions` those of the same
//! repository, and the records of uploads that ended; `multiparts` what the store
//! lists of multipart uploads in the whole bucket. Each removes little, as its
//! client waits: an upload leaves one object or two, and each sixteenth removes up
//! to [`PURGE_LIMIT`]. Where the next one goes on, and when a purge is due again,
//! is in an object that all instances share: `progress`.

mod multiparts;
mod progress;
mod sessions;
mod walk;

use super::Uploads;
use crate::error::Error;
use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _};
use object_store::path::Path;
use progress::Progress;
use roadstead_oci::RepositoryName;
use roadstead_storage::FRESH_HOURS;
use roadstead_storage::{PURGE_LEAST_AGE, PURGE_TIME, StorageError, UploadSession};
use std::time::{Duration, Instant, SystemTime};

/// How many objects one purge removes.
///
/// Limit: the objects that one upload removes; test: `a_purge_is_small`.
pub(crate) const PURGE_LIMIT: usize = 32;

/// How many uploads are looked at at a time: of a record up to
/// [`super::record::HEAD_LIMIT`] bytes are read.
///
/// Limit: uploads that one purge looks at at a time; test: `a_purge_is_small`.
const CONCURRENT: usize = 8;

/// After what age an identifier alone no longer stands for a session without
/// bytes, with two hours for rounding and the clocks: until then, what says that a
/// session has ended must stay.
///
/// Limit: least age of the record of an ended upload that is removed; test:
/// `old_uploads_are_removed_and_nothing_else`.
const FORGOTTEN_AGE: Duration = Duration::from_hours(FRESH_HOURS as u64 + 2);

/// How uploads are removed that never ended.
#[derive(Clone, Copy, Debug)]
pub struct Purging {
    /// Those to which nothing was added for this long; at least an hour, and 26
    /// hours in a store that does not say what it has of a multipart upload.
    pub age: Duration,
    /// How long after a purge began the same repository is looked at again, and
    /// so for the list of multipart uploads.
    pub interval: Duration,
    /// They are only logged, and stay.
    pub dry_run: bool,
    /// Takes a line, without its end.
    pub log: fn(PurgeLine, &str),
}

/// What a line says of a purge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PurgeLine {
    /// That something could not be removed.
    Problem,
    /// How much was removed or, in a dry run, what would be.
    Summary,
    /// What was removed, and other details.
    Detail,
}

/// What a purge has removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Purged {
    /// Uploads that never ended.
    pub(crate) uploads: u64,
    /// Bytes that they had received.
    pub(crate) bytes: u64,
    /// Records of uploads that ended.
    pub(crate) records: u64,
}

impl Purged {
    fn add(&mut self, other: Self) {
        self.uploads += other.uploads;
        self.bytes += other.bytes;
        self.records += other.records;
    }
}

/// What a purge has found of one upload.
#[derive(Debug)]
enum Found {
    /// It goes on, or its record is still needed.
    Kept,
    /// The time for this purge is over.
    Late,
    /// What is to be removed of it.
    Old { upload: String, purged: Purged, objects: Vec<Path> },
}

/// One purge.
pub(crate) struct Purge<'a> {
    uploads: &'a Uploads,
    purging: Purging,
    now: DateTime<Utc>,
    /// Uploads whose last write was before this are old.
    old: DateTime<Utc>,
    /// Records of ended uploads that are older are not needed; see
    /// [`FORGOTTEN_AGE`].
    forgotten: DateTime<Utc>,
    begun: Instant,
}

impl Uploads {
    /// Removes old uploads, if it is this session's turn. What fails is left to
    /// another one.
    pub(super) async fn purge_beside(&self, session: &UploadSession) {
        let Some(purging) = self.purging.filter(|_| session.purges()) else { return };
        if let Some(purge) = Purge::at(self, purging, SystemTime::now())
            && let Err(error) = purge.carry_on(&session.repository).await
        {
            (purging.log)(PurgeLine::Detail, &problem(error));
        }
    }
}

impl<'a> Purge<'a> {
    /// A purge at a time; `None` if nothing can be so old.
    pub(crate) fn at(uploads: &'a Uploads, purging: Purging, now: SystemTime) -> Option<Self> {
        let least = match uploads.objects.backend.uploads {
            Some(_) => PURGE_LEAST_AGE,
            None => FORGOTTEN_AGE,
        };
        let before = |age: Duration| Some(DateTime::from(now.checked_sub(age)?));
        let (old, forgotten) = (before(purging.age.max(least))?, before(FORGOTTEN_AGE)?);
        Some(Self { uploads, purging, now: now.into(), old, forgotten, begun: Instant::now() })
    }

    /// Purges a part of what is due: of a repository's sessions, of the multipart
    /// uploads, or of the sessions of other repositories.
    pub(crate) async fn carry_on(&self, repository: &RepositoryName) -> Result<(), Error> {
        let mut progress = Progress::read(self).await?;
        let sessions = progress.of_repository(self, repository);
        let multiparts = progress.of_multiparts(self);
        let lists = self.uploads.objects.backend.uploads.as_deref();
        let purged = match (sessions, multiparts, lists) {
            // By chance, where several are due.
            (sessions, Some(run), Some(lists)) if sessions.is_none() || is_heads() => {
                let purged = self.multiparts(lists, run.after.as_ref()).await;
                let (purged, next) = self.or_later(purged);
                progress.note_multiparts(&run, next);
                purged
            }
            (sessions, ..) => match (progress.of_walk(self), sessions) {
                (Some(run), sessions) if sessions.is_none() || is_heads() => {
                    self.walk(&mut progress, &run).await
                }
                (_, Some(run)) => {
                    let purged = self.sessions(repository, run.after.as_deref()).await;
                    let (purged, next) = self.or_later(purged);
                    progress.note_repository(self, repository, &run, next);
                    purged
                }
                (_, None) => return Ok(()),
            },
        };
        self.summarize(purged);
        progress.write(self).await
    }

    /// What was purged. What fails is logged, and waits for the next run: a store
    /// that refuses something does so again.
    fn or_later<After>(
        &self,
        purged: Result<(Purged, Option<After>), Error>,
    ) -> (Purged, Option<After>) {
        purged.unwrap_or_else(|error| {
            (self.purging.log)(PurgeLine::Problem, &problem(error));
            (Purged::default(), None)
        })
    }

    /// Logs an upload.
    fn note(&self, upload: &str, Purged { uploads, bytes, .. }: Purged) {
        let (line, done) = if self.purging.dry_run {
            (PurgeLine::Summary, "would be removed")
        } else {
            (PurgeLine::Detail, "removed")
        };
        if uploads > 0 {
            let text = format!("abandoned upload {done}: {upload} with {bytes} bytes");
            (self.purging.log)(line, &text);
        }
    }

    /// Logs what was removed.
    fn summarize(&self, Purged { uploads, bytes, records }: Purged) {
        let done = if self.purging.dry_run { "would be removed" } else { "removed" };
        let line = match (uploads, records) {
            (0, 0) => return,
            (0, _) => PurgeLine::Detail,
            _ => PurgeLine::Summary,
        };
        let text = format!(
            "abandoned uploads {done}: {uploads} with {bytes} bytes; records of uploads that \
             ended: {records}"
        );
        (self.purging.log)(line, &text);
    }

    fn is_late(&self) -> bool {
        self.begun.elapsed() > PURGE_TIME
    }

    /// Removes what was found, and logs it. Also returns whether time sufficed.
    async fn remove(&self, found: Vec<Found>) -> Result<(Purged, bool), Error> {
        let (mut all, mut paths, mut in_time) = (Purged::default(), Vec::new(), true);
        let mut notes = Vec::new();
        for found in found {
            match found {
                Found::Kept => {}
                Found::Late => in_time = false,
                Found::Old { upload, purged, objects } => {
                    all.add(purged);
                    paths.extend(objects);
                    notes.push((upload, purged));
                }
            }
        }
        if !self.purging.dry_run {
            self.delete(paths).await?;
        }
        for (upload, purged) in notes {
            self.note(&upload, purged);
        }
        Ok((all, in_time))
    }

    /// Deletes objects. One that is gone already is no failure.
    async fn delete(&self, paths: Vec<Path>) -> Result<(), Error> {
        let paths = stream::iter(paths.into_iter().map(Ok)).boxed();
        let mut deletions = self.uploads.objects.backend.store.delete_stream(paths);
        while let Some(deleted) = deletions.next().await {
            match deleted.map_err(Error::from) {
                Ok(_) | Err(Error::NOT_FOUND) => {}
                // A store that hangs or refuses would do so again.
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn problem(error: Error) -> String {
    let error = StorageError::from(error);
    format!("cannot remove abandoned uploads: {}", error.cause().unwrap_or("not found"))
}

fn is_heads() -> bool {
    uuid::Uuid::new_v4().as_u128().is_multiple_of(2)
}
