//! Upload sessions: their records, read and written.

use super::bucket::{Bucket, UPLOAD, note};
use super::record::{self, FIRST_LINE, GONE, Multipart, Record, Summary};
use crate::store::{StorageError, keys};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStoreExt as _, PutMode, PutOptions, UpdateVersion};
use roadstead_oci::Digest;
use std::time::Duration;

/// How long a blob that no link makes visible is taken to be there: a garbage
/// collection may run between two requests of an upload.
pub(super) const TRUSTED_FOR: Duration = Duration::from_mins(5);

/// Which record it was that was read.
#[derive(Clone, Debug)]
pub(super) enum Version {
    /// There was none.
    New,
    /// It ended here, and is named so by the store.
    Known(u64, UpdateVersion),
}

impl Version {
    fn offset(&self) -> u64 {
        match self {
            Self::New => 0,
            Self::Known(offset, _) => *offset,
        }
    }
}

impl Bucket {
    /// Makes a session. One whose identifier says by itself that it is ours
    /// takes no request.
    pub(super) async fn begin(&self, session: &Path) -> Result<(), StorageError> {
        if self.is_fresh(session) {
            return Ok(());
        }
        self.save(session, &Record::new(), &Version::New).await
    }

    /// How many bytes a session has.
    pub(super) async fn status(&self, session: &Path) -> Result<u64, StorageError> {
        let key = record::key(session);
        let range = Some(GetRange::Bounded(0..FIRST_LINE));
        let options = GetOptions { range, ..GetOptions::default() };
        let bytes = match self.objects().get_opts(&key, options).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) if self.is_fresh(session) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        if *bytes == *GONE {
            return Err(StorageError::NotFound);
        }
        let summary = Summary::parse(&bytes).ok_or_else(|| damaged(&key))?;
        self.check_unfinished(session, summary.whole.as_ref()).await?;
        Ok(summary.offset)
    }

    /// Reads a session's record.
    pub(super) async fn load(&self, session: &Path) -> Result<(Record, Version), StorageError> {
        let key = record::key(session);
        let found = match self.objects().get(&key).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) if self.is_fresh(session) => {
                return Ok((Record::new(), Version::New));
            }
            Err(error) => return Err(error.into()),
        };
        let (e_tag, version) = (found.meta.e_tag.clone(), found.meta.version.clone());
        let age = chrono::Utc::now().signed_duration_since(found.meta.last_modified);
        let bytes = found.bytes().await?;
        if *bytes == *GONE {
            return Err(StorageError::NotFound);
        }
        let record = Record::parse(&bytes).ok_or_else(|| damaged(&key))?;
        if let Some(whole) = &record.whole
            && age.to_std().is_ok_and(|age| age > TRUSTED_FOR)
        {
            self.objects().head(&keys::blob(whole)).await?;
        }
        let version = Version::Known(record.offset, UpdateVersion { e_tag, version });
        Ok((record, version))
    }

    /// Writes a session's record, if it is still the one that was read.
    ///
    /// # Errors
    /// [`StorageError::Offset`] or [`StorageError::Busy`] when it is not.
    pub(super) async fn save(
        &self,
        session: &Path,
        record: &Record,
        version: &Version,
    ) -> Result<(), StorageError> {
        let key = record::key(session);
        let failed = |error: serde_json::Error| StorageError::Failed(error.to_string());
        let payload = record.print().map_err(failed)?;
        let mode = match version {
            _ if !self.conditional() => PutMode::Overwrite,
            Version::New => PutMode::Create,
            Version::Known(_, version) => PutMode::Update(version.clone()),
        };
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.objects().put_opts(&key, payload.clone(), options).await {
            Ok(_) => Ok(()),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => Err(self.conflict(session, version).await),
            Err(
                object_store::Error::NotImplemented { .. }
                | object_store::Error::NotSupported { .. },
            ) => {
                self.refuses_conditions();
                if matches!(version, Version::New) && self.status(session).await? > 0 {
                    return Err(self.conflict(session, version).await);
                }
                self.objects().put(&key, payload).await?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What to say to a request that finds another one's record.
    async fn conflict(&self, session: &Path, version: &Version) -> StorageError {
        match self.status(session).await {
            // Where it began is where it ends: what changed cannot be seen.
            Ok(offset) if offset == version.offset() => StorageError::Busy,
            Ok(offset) => StorageError::Offset(offset),
            Err(error) => error,
        }
    }

    /// Whether the session whose bytes are the blob `whole` has not ended: the
    /// link that makes the blob visible names the session that made it.
    pub(super) async fn check_unfinished(
        &self,
        session: &Path,
        whole: Option<&Digest>,
    ) -> Result<(), StorageError> {
        let Some(link) = whole.and_then(|digest| keys::layer_link_of(session, digest)) else {
            return Ok(());
        };
        let attributes = match self.objects().get(&link).await {
            Ok(found) => found.attributes,
            Err(object_store::Error::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match note(&attributes, UPLOAD) {
            Some(upload) if session.filename() == Some(&upload) => Err(StorageError::NotFound),
            _ => Ok(()),
        }
    }

    /// Reads the bytes of a session that are stored as a blob, so that more
    /// can follow.
    pub(super) async fn unfold(&self, record: &mut Record) -> Result<(), StorageError> {
        if let Some(whole) = record.whole.take() {
            record.tail = self.objects().get(&keys::blob(&whole)).await?.bytes().await?;
        }
        Ok(())
    }

    /// Says that a session has ended.
    pub(super) async fn end(&self, session: &Path) -> Result<(), StorageError> {
        let key = record::key(session);
        if self.options.secret.is_some() {
            // Without a record, it would be a session without bytes again.
            self.objects().put(&key, GONE.into()).await?;
        } else {
            self.delete(&key).await?;
        }
        Ok(())
    }

    /// Removes a session and its bytes.
    pub(super) async fn discard(&self, session: &Path) -> Result<(), StorageError> {
        let (record, _) = self.load(session).await?;
        self.check_unfinished(session, record.whole.as_ref()).await?;
        self.end(session).await?;
        self.abort(record.multipart.as_ref()).await;
        Ok(())
    }

    /// Gives up a multipart upload. What cannot be given up now is invisible,
    /// and ends by the rules that a bucket has for such.
    pub(super) async fn abort(&self, multipart: Option<&Multipart>) {
        let Some(multipart) = multipart else { return };
        let key = Path::from(multipart.key.as_str());
        let _ = self.backend.multipart.abort_multipart(&self.full(&key), &multipart.id).await;
    }
}

/// A name for an object below a session that nothing else has.
pub(super) fn unique(session: &Path) -> Path {
    session.clone().join(format!("data-{}", uuid::Uuid::new_v4().simple()))
}

fn damaged(key: &Path) -> StorageError {
    StorageError::Failed(format!("{key} is damaged"))
}
