//! Old sessions of one repository.

use super::{CONCURRENT, Found, PURGE_LIMIT, Purge, PurgeLine, Purged, problem};
use crate::error::Error;
use crate::lists::{ListQuery, ListedObject};
use crate::uploads::record::{FirstLine, GONE, HEAD_LIMIT, multipart_of};
use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{GetRange, ObjectMeta, PutMode, UpdateVersion};
use roadstead_buckets::SentParts;
use roadstead_oci::RepositoryName;
use roadstead_storage::{Collection, Key, SessionFile, UploadSession};

/// How many lists one purge asks for: several only of a store that begins each at
/// the beginning, or for a session with very many objects.
///
/// Limit: lists of a repository's sessions in one purge; test:
/// `a_purge_goes_on_where_lists_begin_at_the_beginning`.
const LISTS: usize = 10;

/// The objects of a session.
#[derive(Clone, Debug)]
pub(super) struct StoredSession {
    pub(super) session: UploadSession,
    pub(super) objects: Vec<ListedObject>,
}

impl StoredSession {
    /// When it was written to last.
    pub(super) fn newest(&self) -> Option<DateTime<Utc>> {
        self.objects.iter().map(|object| object.meta.last_modified).max()
    }

    fn size(&self) -> u64 {
        self.objects.iter().map(|object| object.meta.size).sum()
    }

    fn paths(&self) -> Vec<Path> {
        self.objects.iter().map(|object| object.meta.location.clone()).collect()
    }

    /// The text that a list begins after which goes on behind it: `0` follows the
    /// slash.
    fn end(&self) -> String {
        format!("{}0", self.session.id)
    }
}

/// A part of a repository's sessions.
pub(super) struct Part {
    sessions: Vec<StoredSession>,
    /// After which text the list goes on.
    next: Option<String>,
}

impl Part {
    /// Whether there is neither anything to look at nor any more.
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.next.is_none()
    }
}

impl Purge<'_> {
    /// Removes old sessions of a repository, those listed after `after`. Returns
    /// after which text the next purge goes on, if there is more.
    pub(crate) async fn sessions(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
    ) -> Result<(Purged, Option<String>), Error> {
        let part = self.old_sessions(repository, after).await?;
        self.remove_sessions(part, after).await
    }

    /// The sessions that [`Self::sessions`] looks at.
    pub(super) async fn old_sessions(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
    ) -> Result<Part, Error> {
        let Part { sessions, mut next } = self.list(repository, after).await?;
        let (mut old, mut count): (Vec<StoredSession>, _) = (Vec::new(), 0);
        for session in sessions {
            if session.newest().is_none_or(|newest| newest >= self.old) {
                continue;
            }
            if count >= PURGE_LIMIT {
                next = old.last().map(StoredSession::end);
                break;
            }
            count += session.objects.len();
            old.push(session);
        }
        Ok(Part { sessions: old, next })
    }

    /// Removes those of them that have been abandoned or have ended.
    pub(super) async fn remove_sessions(
        &self,
        Part { sessions, next }: Part,
        after: Option<&str>,
    ) -> Result<(Purged, Option<String>), Error> {
        let found = stream::iter(&sessions).map(async |session| {
            if self.is_late() { Ok(Found::Late) } else { self.look_at(session).await }
        });
        let found = found.buffered(CONCURRENT).try_collect().await?;
        let (purged, in_time) = self.remove(found).await?;
        let again = || Some(after.unwrap_or_default().to_owned());
        Ok((purged, if in_time { next } else { again() }))
    }

    /// Lists a part of a repository's sessions.
    async fn list(&self, repository: &RepositoryName, after: Option<&str>) -> Result<Part, Error> {
        let directory = Collection::Sessions(repository.clone()).prefix();
        let after = after.unwrap_or_default();
        let mut query = ListQuery { after: after.to_owned(), ..ListQuery::of(&directory) };
        let mut listed = Vec::new();
        for _ in 0..LISTS {
            let page = self.uploads.objects.list(&query).await?;
            // Not all stores begin where they are asked to.
            listed.extend(page.objects.into_iter().filter(|object| object.name.as_str() > after));
            query.token = page.token;
            if query.token.is_none() {
                return Ok(Part { sessions: by_session(listed), next: None });
            }
            let mut sessions = by_session(listed);
            // It may go on: what is listed of it does not say whether it is old.
            let cut = sessions.pop();
            if let Some(next) = sessions.last().map(StoredSession::end) {
                return Ok(Part { sessions, next: Some(next) });
            }
            listed = cut.map(|cut| cut.objects).unwrap_or_default();
        }
        // A session of more objects than that is passed by.
        let next = by_session(listed).last().map(StoredSession::end);
        Ok(Part { sessions: Vec::new(), next })
    }

    /// Finds out what is to be removed of a session whose objects are old, and
    /// removes what is not among them.
    pub(super) async fn look_at(&self, found: &StoredSession) -> Result<Found, Error> {
        let is_record = |object: &&ListedObject| {
            let record = SessionFile::record();
            matches!(&object.key, Some(Key::SessionObject(_, file)) if *file == record)
        };
        match found.objects.iter().find(is_record) {
            // Of another registry, or what was left of one.
            None => Ok(abandoned(found, found.size())),
            Some(record) if record.meta.size <= GONE.len() as u64 => Ok(self.ended(found)),
            Some(_) => self.look_at_record(found).await,
        }
    }

    async fn look_at_record(&self, found: &StoredSession) -> Result<Found, Error> {
        let objects = &self.uploads.objects;
        let key = Key::SessionObject(found.session.clone(), SessionFile::record());
        // Without its tail, which may have the size of a part.
        let head = match objects.get_range(&key, GetRange::Bounded(0..HEAD_LIMIT)).await {
            Err(Error::NOT_FOUND) => return Ok(Found::Kept),
            head => head?,
        };
        let meta = head.meta.clone();
        if meta.last_modified >= self.old {
            return Ok(Found::Kept);
        }
        let head = head.bytes().await?;
        let line = FirstLine::parse(&head);
        if line.as_ref().is_some_and(|line| line.blob.is_some()) {
            // In the usual push, nothing else says that it has ended.
            return Ok(self.ended(found));
        }
        let multipart = multipart_of(&head);
        if let Some(multipart) = &multipart {
            let path = objects.path(&multipart.key);
            let parts = multipart.parts.len();
            if self.sent(&path, &multipart.id, parts, meta.last_modified).await?.is_none() {
                return Ok(Found::Kept);
            }
        }
        let old = abandoned(found, line.map_or_else(|| found.size(), |line| line.size));
        if self.purging.dry_run {
            return Ok(old);
        }
        let is_recognized = self.uploads.secret.is_some() && meta.last_modified >= self.forgotten;
        let old = match old {
            // Without a record, it would be a session without bytes again.
            Found::Old { upload, purged, mut objects } if is_recognized => {
                if !self.mark_gone(&key, meta).await? {
                    return Ok(Found::Kept);
                }
                let record = self.uploads.objects.path(&key);
                objects.retain(|path| *path != record);
                Found::Old { upload, purged, objects }
            }
            old => old,
        };
        if let Some(multipart) = &multipart {
            objects.abort(multipart).await;
        }
        Ok(old)
    }

    /// What was sent to a multipart upload after its first parts, or `None` if it
    /// goes on. Nothing else was written of it after `known`.
    pub(super) async fn sent(
        &self,
        path: &Path,
        id: &String,
        parts: usize,
        known: DateTime<Utc>,
    ) -> Result<Option<SentParts>, Error> {
        // Then the age is one that no request reaches.
        let Some(lists) = &self.uploads.objects.backend.uploads else {
            return Ok(Some(SentParts::default()));
        };
        match lists.sent_parts(path, id, parts).await.map_err(Error::from) {
            Ok(sent) if sent.newest.is_some_and(|newest| newest >= self.old) => Ok(None),
            Ok(sent) => Ok(Some(sent)),
            Err(Error::NOT_FOUND) => Ok(Some(SentParts::default())),
            // A store that does not say: as above, once the age is such a one.
            Err(error) => {
                (self.purging.log)(PurgeLine::Detail, &problem(error));
                Ok((known < self.forgotten).then(SentParts::default))
            }
        }
    }

    /// Replaces a record by one that says that its session has ended. `false` if
    /// the session has gone on.
    async fn mark_gone(&self, key: &Key, record: ObjectMeta) -> Result<bool, Error> {
        let objects = &self.uploads.objects;
        if !objects.is_conditional() {
            objects.put(key, GONE).await?;
            return Ok(true);
        }
        let (e_tag, version) = (record.e_tag, record.version);
        let mode = PutMode::Update(UpdateVersion { e_tag, version });
        match objects.put_if(key, GONE.into(), mode).await {
            Ok(()) => Ok(true),
            Err(Error::Conflict(_) | Error::Unsupported(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A session that has ended: it goes once its identifier is forgotten.
    fn ended(&self, found: &StoredSession) -> Found {
        if found.newest().is_none_or(|newest| newest >= self.forgotten) {
            return Found::Kept;
        }
        let purged = Purged { records: 1, ..Purged::default() };
        Found::Old { upload: found.session.to_string(), purged, objects: found.paths() }
    }
}

/// A session that never ended, with the bytes that it had received. Of one with
/// many objects, some are left to another purge.
fn abandoned(found: &StoredSession, bytes: u64) -> Found {
    let mut objects = found.paths();
    objects.truncate(PURGE_LIMIT);
    let purged = Purged { uploads: 1, bytes, ..Purged::default() };
    Found::Old { upload: found.session.to_string(), purged, objects }
}

/// Groups objects, which are in the order of keys, by their sessions.
pub(super) fn by_session(objects: Vec<ListedObject>) -> Vec<StoredSession> {
    let mut sessions: Vec<StoredSession> = Vec::new();
    for object in objects {
        let Some(Key::SessionObject(session, _)) = &object.key else { continue };
        match sessions.last_mut() {
            Some(last) if last.session == *session => last.objects.push(object),
            _ => {
                let session = session.clone();
                sessions.push(StoredSession { session, objects: vec![object] });
            }
        }
    }
    sessions
}
