//! Old multipart uploads of a whole bucket, as far as a store lists them: also
//! those that no record names, because the process that began them was killed, or
//! that another registry began.

use super::sessions::by_session;
use super::{CONCURRENT, Found, Purge, PurgeLine, Purged, problem};
use crate::error::Error;
use crate::lists::ListQuery;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use roadstead_buckets::{OpenUpload, UploadLists, UploadMarker};
use roadstead_storage::{Key, LAYOUT, UploadSession};

/// How many multipart uploads one purge looks at: fewer than objects, as each takes
/// up to seven requests.
///
/// Limit: multipart uploads that one upload looks at; test:
/// `multipart_uploads_are_found_by_the_list_of_the_store`.
const LIMIT: usize = 16;

impl Purge<'_> {
    /// Removes old multipart uploads, those listed after `after`. Returns where the
    /// next purge goes on, if there is more.
    pub(crate) async fn multiparts(
        &self,
        lists: &dyn UploadLists,
        after: Option<&UploadMarker>,
    ) -> Result<(Purged, Option<UploadMarker>), Error> {
        let prefix = format!("{}/", self.uploads.objects.path_of(LAYOUT));
        let listed = lists.list_uploads(&prefix, after, LIMIT).await.map_err(Error::from);
        let listed = match listed {
            // Not all stores have such a list, and not all credentials may read it.
            Err(error) => {
                (self.purging.log)(PurgeLine::Detail, &problem(error));
                return Ok((Purged::default(), None));
            }
            Ok(listed) => listed,
        };
        let old = listed.uploads.into_iter().filter(|upload| upload.initiated < self.old);
        let found = stream::iter(old).map(async |upload| {
            if self.is_late() { Ok(Found::Late) } else { self.look_at_multipart(&upload).await }
        });
        let found = found.buffered(CONCURRENT).try_collect().await?;
        let (purged, in_time) = self.remove(found).await?;
        let again = || Some(after.cloned().unwrap_or_default());
        Ok((purged, if in_time { listed.next } else { again() }))
    }

    /// Aborts an upload that was begun long ago, unless it goes on.
    async fn look_at_multipart(&self, upload: &OpenUpload) -> Result<Found, Error> {
        let objects = &self.uploads.objects;
        let root = objects.backend.root.as_ref();
        let key = upload.key.as_ref().strip_prefix(root).unwrap_or_default();
        let key = Key::parse(key.trim_start_matches('/'));
        let session = match &key {
            // Its record may have the newer bytes.
            Ok(Key::SessionObject(session, _)) => self.look_at_session(session).await?,
            Ok(Key::Blob(_)) => None,
            // Of something else.
            _ => return Ok(Found::Kept),
        };
        if matches!(session, Some(Found::Kept)) {
            return Ok(Found::Kept);
        }
        let Some(sent) = self.sent(&upload.key, &upload.id, 0, upload.initiated).await? else {
            return Ok(Found::Kept);
        };
        if !self.purging.dry_run {
            let aborted = objects.backend.multipart.abort_multipart(&upload.key, &upload.id).await;
            match aborted.map_err(Error::from) {
                // Its session has named it.
                Ok(()) | Err(Error::NOT_FOUND) => {}
                Err(error) => return Err(error),
            }
        }
        let parts = Purged { uploads: 1, bytes: sent.bytes, ..Purged::default() };
        Ok(match session {
            Some(Found::Old { upload, purged, objects }) => {
                let purged = if purged.uploads > 0 { purged } else { parts };
                Found::Old { upload, purged, objects }
            }
            _ => Found::Old {
                upload: format!("the multipart upload of {}", upload.key),
                purged: parts,
                objects: Vec::new(),
            },
        })
    }

    /// What is to be removed of the session that a multipart upload is of; `None`
    /// if it has no objects, or has ended.
    async fn look_at_session(&self, session: &UploadSession) -> Result<Option<Found>, Error> {
        let directory = format!("{}/", Key::Session(session.clone()));
        let page = self.uploads.objects.list(&ListQuery::of(&directory)).await?;
        if page.token.is_some() {
            return Ok(Some(Found::Kept));
        }
        let mut sessions = by_session(page.objects);
        let Some(found) = sessions.pop() else { return Ok(None) };
        if found.newest().is_some_and(|newest| newest >= self.old) {
            return Ok(Some(Found::Kept));
        }
        Ok(Some(self.look_at(&found).await?))
    }
}
