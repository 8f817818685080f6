//! A session as a request finds it, and how a request leaves it.

use super::Uploads;
use super::record::{
    FIRST_LINE_LIMIT, FirstLine, GONE, HEAD_LIMIT, PrintedRecord, Record, mark_of,
};
use crate::error::Error;
use crate::metadata;
use bytes::Bytes;
use object_store::{GetRange, ObjectMeta, PutMode, UpdateVersion};
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::{Key, SessionFile, StorageError, UploadSession};
use std::time::Duration;

/// How long a blob that is not linked is trusted to exist: a garbage collection
/// may run between two requests of an upload.
///
/// Limit: time for which an unlinked blob is trusted to exist; test:
/// `an_upload_goes_on_that_was_stored_as_a_blob`.
pub(super) const TRUSTED_FOR: Duration = Duration::from_mins(5);

/// A session as a request finds it. `R` is what the request needs of its record.
#[derive(Debug)]
pub(crate) enum Session<R> {
    /// Its identifier was given out, and nothing is stored: it has no bytes.
    Fresh,
    /// Its record holds or names all bytes.
    Open(R),
    /// All bytes are stored as a blob. Until the session's repository links it,
    /// clients do not see it, and the session can go on.
    Stored(R, Digest),
    /// It has ended, or was never begun.
    Ended,
}

/// The record of a session, as it was read.
#[derive(Debug)]
pub(crate) struct LoadedRecord {
    pub(crate) record: Record,
    pub(super) version: RecordVersion,
    /// How long ago it was written.
    pub(super) age: Duration,
}

/// Which record a write replaces.
#[derive(Clone, Debug)]
pub(super) enum RecordVersion {
    /// None: there must not be one.
    Absent,
    /// The one that was read.
    Read {
        /// The size of the session by this record.
        size: u64,
        /// How the store identifies it.
        version: UpdateVersion,
    },
}

impl RecordVersion {
    fn size(&self) -> u64 {
        match self {
            Self::Absent => 0,
            Self::Read { size, .. } => *size,
        }
    }
}

impl Uploads {
    /// See [`roadstead_storage::Storage::new_session`].
    pub(crate) fn new_session(
        &self,
        repository: &RepositoryName,
        random: [u8; 16],
    ) -> UploadSession {
        UploadSession::new(repository, random, self.secret.as_ref())
    }

    /// Whether a session without a record is [`Session::Fresh`].
    pub(super) fn recognizes(&self, session: &UploadSession) -> bool {
        self.secret.as_ref().is_some_and(|secret| secret.recognizes(session))
    }

    /// Begins a session. One whose identifier is recognized takes no request.
    pub(crate) async fn begin(&self, session: &UploadSession) -> Result<(), Error> {
        if self.recognizes(session) {
            return Ok(());
        }
        self.save(session, Record::default().print()?, &RecordVersion::Absent).await
    }

    /// How many bytes a session has.
    pub(crate) async fn status(&self, session: &UploadSession) -> Result<u64, Error> {
        let range = Some(GetRange::Bounded(0..FIRST_LINE_LIMIT));
        let found = self.find(session, range, |_, _, line| Some(line.size)).await?;
        match self.unless_linked(session, found).await? {
            Session::Fresh => Ok(0),
            Session::Open(size) | Session::Stored(size, _) => Ok(size),
            Session::Ended => Err(Error::NOT_FOUND),
        }
    }

    /// Loads a session with its record. One that is [`Session::Stored`] may have
    /// ended, which only the link to its blob says: [`Uploads::unless_linked`]
    /// looks at that.
    pub(crate) async fn load(
        &self,
        session: &UploadSession,
    ) -> Result<Session<LoadedRecord>, Error> {
        self.find(session, None, |bytes, meta, line| {
            let age = chrono::Utc::now().signed_duration_since(meta.last_modified);
            let (e_tag, version) = (meta.e_tag.clone(), meta.version.clone());
            let version = UpdateVersion { e_tag, version };
            Some(LoadedRecord {
                record: Record::parse(bytes)?,
                version: RecordVersion::Read { size: line.size, version },
                age: age.to_std().unwrap_or_default(),
            })
        })
        .await
    }

    /// Reads a session's record, or a range of it that has the first line.
    async fn find<R>(
        &self,
        session: &UploadSession,
        range: Option<GetRange>,
        parse: impl FnOnce(&Bytes, &ObjectMeta, &FirstLine) -> Option<R>,
    ) -> Result<Session<R>, Error> {
        let key = record_key(session);
        let found = match range {
            Some(range) => self.objects.get_range(&key, range).await,
            None => self.objects.get(&key).await,
        };
        let found = match found {
            Err(Error::NOT_FOUND) if self.recognizes(session) => return Ok(Session::Fresh),
            Err(Error::NOT_FOUND) => return Ok(Session::Ended),
            other => other?,
        };
        let meta = found.meta.clone();
        let bytes = found.bytes().await?;
        if *bytes == *GONE {
            return Ok(Session::Ended);
        }
        let parsed = FirstLine::parse(&bytes)
            .and_then(|line| parse(&bytes, &meta, &line).map(|record| (record, line.blob)));
        match parsed {
            Some((record, None)) => Ok(Session::Open(record)),
            Some((record, Some(digest))) => Ok(Session::Stored(record, digest)),
            None => Err(Error::failed(format!("{key} is damaged"))),
        }
    }

    /// The same session, but ended if its blob is linked: the link names the
    /// session that made it.
    pub(super) async fn unless_linked<R>(
        &self,
        session: &UploadSession,
        found: Session<R>,
    ) -> Result<Session<R>, Error> {
        let Session::Stored(_, digest) = &found else { return Ok(found) };
        let link = Key::Layer(session.repository.clone(), digest.clone());
        match self.objects.get(&link).await {
            Ok(link) if metadata::upload(&link.attributes).as_ref() == Some(&session.id) => {
                Ok(Session::Ended)
            }
            Ok(_) | Err(Error::NOT_FOUND) => Ok(found),
            Err(error) => Err(error),
        }
    }

    /// Loads the bytes of a session so that more can follow. It must end at `at`
    /// if that is given.
    pub(super) async fn resume(
        &self,
        session: &UploadSession,
        at: Option<u64>,
    ) -> Result<(Record, RecordVersion), Error> {
        let found = self.load(session).await?;
        let (loaded, blob) = match self.unless_linked(session, found).await? {
            Session::Fresh => {
                check_offset(0, at)?;
                return Ok((Record::default(), RecordVersion::Absent));
            }
            Session::Open(loaded) => (loaded, None),
            Session::Stored(loaded, digest) => (loaded, Some(digest)),
            Session::Ended => return Err(Error::NOT_FOUND),
        };
        let LoadedRecord { record, version, .. } = loaded;
        check_offset(record.size, at)?;
        match blob {
            Some(digest) => Ok((self.with_bytes(record, digest).await?, version)),
            None => Ok((record, version)),
        }
    }

    /// The record of a session whose bytes are stored as a blob, with these bytes.
    pub(super) async fn with_bytes(&self, record: Record, digest: Digest) -> Result<Record, Error> {
        let tail = self.objects.get(&Key::Blob(digest)).await?.bytes().await?;
        Ok(Record { tail, ..record })
    }

    /// Writes a session's record.
    ///
    /// # Errors
    /// [`StorageError::Offset`] or [`StorageError::Busy`] when it would not
    /// replace the one that was read.
    pub(super) async fn save(
        &self,
        session: &UploadSession,
        record: PrintedRecord,
        replaced: &RecordVersion,
    ) -> Result<(), Error> {
        let key = record_key(session);
        let PrintedRecord { payload, mark } = record;
        if !self.objects.is_conditional() {
            return self.objects.put(&key, payload).await;
        }
        let mode = match replaced {
            RecordVersion::Absent => PutMode::Create,
            RecordVersion::Read { version, .. } => PutMode::Update(version.clone()),
        };
        match self.objects.put_if(&key, payload.clone(), mode).await {
            // The first attempt may have been applied whatever its response was.
            Err(Error::Conflict(_)) if self.has_mark(&key, &mark).await? => Ok(()),
            Err(Error::Conflict(_)) => Err(self.conflict(session, replaced).await),
            Err(Error::Unsupported(_)) => {
                if matches!(replaced, RecordVersion::Absent) && self.status(session).await? > 0 {
                    return Err(self.conflict(session, replaced).await);
                }
                self.objects.put(&key, payload).await
            }
            other => other,
        }
    }

    /// Whether the record at `key` is of the write with this mark.
    async fn has_mark(&self, key: &Key, mark: &str) -> Result<bool, Error> {
        match self.objects.get_range(key, GetRange::Bounded(0..HEAD_LIMIT)).await {
            Ok(found) => Ok(mark_of(&found.bytes().await?).is_some_and(|found| found == mark)),
            Err(Error::NOT_FOUND) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The error of a request that finds another record than it has read.
    async fn conflict(&self, session: &UploadSession, replaced: &RecordVersion) -> Error {
        match self.status(session).await {
            // The offset says nothing of the change.
            Ok(size) if size == replaced.size() => StorageError::Busy.into(),
            Ok(size) => StorageError::Offset(size).into(),
            Err(error) => error,
        }
    }

    /// Records that a session has ended.
    pub(super) async fn end(&self, session: &UploadSession) -> Result<(), Error> {
        let key = record_key(session);
        if self.secret.is_some() {
            // Without a record, it would be a session without bytes again.
            self.objects.put(&key, GONE).await
        } else {
            self.objects.delete(&key).await
        }
    }

    /// Removes a session and its bytes. Those that are stored as a blob stay, like
    /// those of a blob that was deleted.
    pub(crate) async fn discard(&self, session: &UploadSession) -> Result<(), Error> {
        let found = self.load(session).await?;
        match self.unless_linked(session, found).await? {
            Session::Fresh | Session::Stored(..) => self.end(session).await,
            Session::Open(loaded) => {
                self.end(session).await?;
                if let Some(multipart) = &loaded.record.multipart {
                    self.objects.abort(multipart).await;
                }
                Ok(())
            }
            Session::Ended => Err(Error::NOT_FOUND),
        }
    }
}

/// Checks that a session of `size` bytes ends at `at`, if that is given.
pub(super) fn check_offset(size: u64, at: Option<u64>) -> Result<(), Error> {
    match at {
        Some(at) if at != size => Err(StorageError::Offset(size).into()),
        _ => Ok(()),
    }
}

/// The object that holds a session's record.
pub(super) fn record_key(session: &UploadSession) -> Key {
    Key::SessionObject(session.clone(), SessionFile::record())
}

/// An object of a session that nothing else has the name of.
pub(super) fn unique_key(session: &UploadSession) -> Key {
    let unique = uuid::Uuid::new_v4().as_u128();
    Key::SessionObject(session.clone(), SessionFile::parts(unique))
}
