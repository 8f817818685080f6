//! Removes sessions that never ended.
//!
//! A component runs only while it serves a request. So some of the requests that
//! end an upload look at the sessions of the same repository, and remove what is
//! old: sessions that did not end, and the records of those that did.

use super::Uploads;
use super::identifiers::FRESH_HOURS;
use super::record::{GONE, Record};
use crate::error::Error;
use crate::lists::{LIST_LIMIT, ListQuery};
use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _};
use object_store::path::Path;
use roadstead_oci::{RepositoryName, UploadId};
use roadstead_storage::{Collection, Key, SessionFile, UploadSession};
use std::time::{Duration, SystemTime};

/// How many uploads there are for one that purges.
const ONE_OF: u8 = 64;

/// How many objects one purge looks at.
///
/// Limit: objects that one purge of old uploads looks at; test:
/// `old_uploads_are_removed_and_nothing_else`.
const PURGE_LIMIT: usize = LIST_LIMIT;

/// The least age of what is removed: as long as an identifier alone would stand
/// for a session without bytes, and two hours for rounding and the clocks.
///
/// Limit: least age of an upload that is removed; test:
/// `old_uploads_are_removed_and_nothing_else`.
const LEAST_AGE: Duration = Duration::from_hours(FRESH_HOURS as u64 + 2);

impl Uploads {
    /// Removes old sessions of the same repository, if it is this session's turn.
    /// What fails is left to another one.
    pub(super) async fn purge_beside(&self, session: &UploadSession) {
        let Some(age) = self.purge_after.filter(|_| is_due(&session.id)) else { return };
        if let Some(before) = SystemTime::now().checked_sub(age.max(LEAST_AGE)) {
            let _ = self.purge(&session.repository, before.into()).await;
        }
    }

    /// Removes the objects of a repository's sessions that are older than `before`.
    pub(crate) async fn purge(
        &self,
        repository: &RepositoryName,
        before: DateTime<Utc>,
    ) -> Result<(), Error> {
        let objects = &self.objects;
        let directory = Collection::Sessions(repository.clone()).prefix();
        let query = ListQuery { limit: PURGE_LIMIT, ..ListQuery::of(&directory) };
        let page = objects.list(&query).await?;
        let mut old: Vec<Path> = Vec::new();
        for object in page.objects.into_iter().filter(|object| object.meta.last_modified < before) {
            let Some(key @ Key::SessionObject(_, file)) = &object.key else { continue };
            // The parts of a session that did not end.
            if *file == SessionFile::record()
                && object.meta.size > GONE.len() as u64
                && let Ok(found) = objects.get(key).await
                && let Ok(bytes) = found.bytes().await
                && let Some(multipart) = Record::parse(&bytes).and_then(|record| record.multipart)
            {
                objects.abort(&multipart).await;
            }
            old.push(object.meta.location);
        }
        let paths = stream::iter(old.into_iter().map(Ok)).boxed();
        objects.backend.store.delete_stream(paths).for_each(async |_| {}).await;
        Ok(())
    }
}

/// Whether a session is one that purges: its first byte is random.
fn is_due(id: &UploadId) -> bool {
    u8::from_str_radix(id.as_str().get(..2).unwrap_or_default(), 16)
        .is_ok_and(|random| random % ONE_OF == 0)
}
