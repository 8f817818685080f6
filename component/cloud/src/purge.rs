//! What nobody ended is removed, on occasion.
//!
//! Nothing runs in a component but requests. So some of those that end an
//! upload look at the uploads of the same repository, and remove what is old:
//! sessions without an end, and what says of others that they have ended.

use super::bucket::Bucket;
use super::identifiers::FRESH_HOURS;
use super::record::{self, GONE, Record};
use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use std::time::{Duration, SystemTime};

/// One of how many uploads does it.
const ONE_OF: u8 = 64;

/// How many objects are looked at and removed in one request at most.
const PURGE_LIMIT: usize = 1000;

/// How long the end of a session is kept at least: as long as its identifier
/// alone would make it a session without bytes, and an hour for the clocks.
const LEAST_AGE: Duration = Duration::from_hours(FRESH_HOURS as u64 + 2);

impl Bucket {
    /// Removes old uploads beside a session, if it is its turn. What fails is
    /// tried again by another.
    pub(super) async fn purge_beside(&self, session: &Path) {
        let (Some(age), Some((uploads, id))) =
            (self.options.purge_after, session.as_ref().rsplit_once('/'))
        else {
            return;
        };
        let its_turn = u8::from_str_radix(id.get(..2).unwrap_or_default(), 16)
            .is_ok_and(|random| random % ONE_OF == 0);
        let since = SystemTime::now().checked_sub(age.max(LEAST_AGE));
        if its_turn
            && let Some(since) = since
            && let Ok(uploads) = Path::parse(uploads)
        {
            self.purge(&uploads, since.into()).await;
        }
    }

    /// Removes what is older than `since` of the uploads of one repository.
    pub(super) async fn purge(&self, uploads: &Path, since: DateTime<Utc>) {
        let found = self.objects().list(Some(uploads)).take(PURGE_LIMIT);
        let old: Vec<ObjectMeta> = found
            .filter_map(async |object| object.ok().filter(|object| object.last_modified < since))
            .collect()
            .await;
        for object in &old {
            // Parts that nobody can complete any more.
            if object.location.filename() == record::key(uploads).filename()
                && object.size > GONE.len() as u64
                && let Ok(found) = self.objects().get(&object.location).await
                && let Ok(bytes) = found.bytes().await
                && let Some(record) = Record::parse(&bytes)
            {
                self.abort(record.multipart.as_ref()).await;
            }
        }
        let keys = stream::iter(old.into_iter().map(|object| Ok(object.location))).boxed();
        self.objects().delete_stream(keys).for_each(async |_| {}).await;
    }
}
