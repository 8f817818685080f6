//! Removes sessions that never ended.
//!
//! A component runs only while it serves a request. So some of the requests that
//! end an upload look at the sessions of the same repository, and remove what is
//! old: sessions that did not end, and the records of those that did. Each removes
//! little, as its client waits, and begins at a random place, so that all are
//! looked at in time. An upload leaves one object or two, and each sixteenth
//! removes up to [`PURGE_LIMIT`].

use super::Uploads;
use super::identifiers::FRESH_HOURS;
use super::record::{GONE, HEAD_LIMIT, multipart_of};
use crate::error::Error;
use crate::lists::{ListQuery, ListedObject};
use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::GetRange;
use object_store::path::Path;
use roadstead_oci::{RepositoryName, UploadId};
use roadstead_storage::{Collection, Key, SessionFile, StorageError, UploadSession};
use std::time::{Duration, Instant, SystemTime};

/// How many uploads there are for one that purges.
const ONE_OF: u8 = 16;

/// How many objects one purge removes.
///
/// Limit: the objects that one upload removes; test: `a_purge_is_small`.
pub(crate) const PURGE_LIMIT: usize = 32;

/// How many records are read at a time, of up to [`HEAD_LIMIT`] bytes.
///
/// Limit: records of uploads that one purge reads at a time; test: `a_purge_is_small`.
const CONCURRENT_READS: usize = 8;

/// The least age of what is removed: as long as an identifier alone would stand
/// for a session without bytes, and two hours for rounding and the clocks.
///
/// Limit: least age of an upload that is removed; test:
/// `old_uploads_are_removed_and_nothing_else`.
const LEAST_AGE: Duration = Duration::from_hours(FRESH_HOURS as u64 + 2);

/// After what time a purge removes no more: a client waits for it.
///
/// Limit: time after which a purge in a bucket removes no more; test: none, it takes a store that is slow.
const PURGE_TIME: Duration = Duration::from_secs(10);

impl Uploads {
    /// Removes old sessions of the same repository, if it is this session's turn.
    /// What fails is left to another one.
    pub(super) async fn purge_beside(&self, session: &UploadSession) {
        let Some(age) = self.purge_after.filter(|_| is_due(&session.id)) else { return };
        if let Some(before) = SystemTime::now().checked_sub(age.max(LEAST_AGE)) {
            let place = uuid::Uuid::new_v4().to_string();
            let _ = self.purge(&session.repository, before.into(), place).await;
        }
    }

    /// Removes objects of a repository's sessions that are older than `before`:
    /// the first [`PURGE_LIMIT`] after `place`, and then those from the beginning.
    /// Ends at the first failure, as a store that hangs would do so again.
    pub(crate) async fn purge(
        &self,
        repository: &RepositoryName,
        before: DateTime<Utc>,
        place: String,
    ) -> Result<(), Error> {
        let begun = Instant::now();
        let directory = Collection::Sessions(repository.clone()).prefix();
        let is_of_session = |o: &ListedObject| matches!(o.key, Some(Key::SessionObject(..)));
        let is_old = |o: &ListedObject| o.meta.last_modified < before;
        let mut old = Vec::new();
        let mut places = vec![String::new(), place];
        while let Some(after) = places.pop().filter(|_| old.len() < PURGE_LIMIT) {
            let page = self.objects.list(&ListQuery { after, ..ListQuery::of(&directory) }).await?;
            old.extend(page.objects.into_iter().filter(|o| is_of_session(o) && is_old(o)));
            if page.token.is_some() {
                break;
            }
        }
        // Found by both lists.
        old.sort_by(|a, b| a.name.cmp(&b.name));
        old.dedup_by(|a, b| a.name == b.name);
        old.truncate(PURGE_LIMIT);
        let aborted = stream::iter(old).map(async |object| {
            let late = begun.elapsed() > PURGE_TIME;
            if late { Ok(None) } else { self.abort_parts(object, before).await }
        });
        let paths: Vec<Option<Path>> = aborted.buffered(CONCURRENT_READS).try_collect().await?;
        let paths = stream::iter(paths.into_iter().flatten().map(Ok)).boxed();
        let mut deletions = self.objects.backend.store.delete_stream(paths);
        while let Some(deleted) = deletions.next().await {
            if let Err(error @ Error::Storage(StorageError::Unavailable(_))) =
                deleted.map_err(Error::from)
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Removes the parts that an object of a session names, if it is the record of
    /// one that did not end. Returns the object's path, unless the session has gone
    /// on since it was listed.
    async fn abort_parts(
        &self,
        object: ListedObject,
        before: DateTime<Utc>,
    ) -> Result<Option<Path>, Error> {
        if let Some(key @ Key::SessionObject(_, file)) = &object.key
            && *file == SessionFile::record()
            && object.meta.size > GONE.len() as u64
        {
            // Without its tail, which may have the size of a part.
            let head = GetRange::Bounded(0..HEAD_LIMIT);
            let head = match self.objects.get_range(key, head).await {
                Err(Error::NOT_FOUND) => return Ok(Some(object.meta.location)),
                found => found?,
            };
            if head.meta.last_modified >= before {
                return Ok(None);
            }
            let head = head.bytes().await?;
            if let Some(multipart) = multipart_of(&head) {
                self.objects.abort(&multipart).await;
            }
        }
        Ok(Some(object.meta.location))
    }
}

/// Whether a session is one that purges: its first byte is random.
fn is_due(id: &UploadId) -> bool {
    u8::from_str_radix(id.as_str().get(..2).unwrap_or_default(), 16)
        .is_ok_and(|random| random % ONE_OF == 0)
}
