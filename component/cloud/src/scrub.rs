//! The data of blobs is hashed again, and moved out of the way if it is damaged.

use crate::error::Error;
use crate::multipart::REQUEST_LIMIT;
use crate::objects::Objects;
use futures::TryStreamExt as _;
use roadstead_oci::Digest;
use roadstead_storage::{BlobHash, HASH_LIMIT, Hashed, Key, Partial, Quarantine, StorageError};
use std::time::SystemTime;

impl Objects {
    /// See [`roadstead_storage::Storage::hash_blob`]. One request, and one more for an
    /// empty blob.
    pub(crate) async fn hash_blob(
        &self,
        digest: &Digest,
        from: Option<&Partial>,
        limit: u64,
    ) -> Result<Hashed, Error> {
        let key = Key::Blob(digest.clone());
        let offset = from.map_or(0, |from| from.offset);
        let mut hash = BlobHash::resume(digest.algorithm(), from)?;
        let end = offset.saturating_add(limit.clamp(1, HASH_LIMIT));
        let found = match self.get_range(&key, (offset..end).into()).await {
            Ok(found) => found,
            Err(error @ Error::Storage(StorageError::NotFound | StorageError::Unavailable(_))) => {
                return Err(error);
            }
            Err(error) => {
                // No byte of the range is in it.
                let size = self.head(&key).await?.size;
                if size > offset {
                    return Err(error);
                }
                return Ok(Hashed::new(hash, offset, 0, size)?);
            }
        };
        let (size, expected) = (found.meta.size, found.range.end.saturating_sub(found.range.start));
        let mut bytes = found.into_stream();
        let mut read = 0;
        while let Some(chunk) = bytes.try_next().await? {
            hash.update(&chunk);
            read += chunk.len() as u64;
        }
        if read != expected {
            return Err(Error::failed(format!("the body of {key} ended early")));
        }
        Ok(Hashed::new(hash, offset, read, size)?)
    }

    /// See [`roadstead_storage::Storage::quarantine`].
    pub(crate) async fn quarantine(&self, seen: &Quarantine) -> Result<bool, Error> {
        let (data, aside) = (Key::Blob(seen.digest.clone()), Key::Quarantined(seen.digest.clone()));
        if !self.is_seen(&data, seen).await? {
            return Ok(false);
        }
        match self.head(&aside).await {
            Ok(_) => {}
            Err(Error::NOT_FOUND) if self.backend.s3.is_some() && seen.size > REQUEST_LIMIT => {
                return Err(Error::failed(format!(
                    "{data} has {} bytes, and S3 copies at most 5 GiB in one request: copy it \
                     elsewhere and delete it with the store's own tools",
                    seen.size
                )));
            }
            Err(Error::NOT_FOUND) => self.copy(&data, &aside).await?,
            Err(error) => return Err(error),
        }
        if seen.prepare {
            return Ok(true);
        }
        // The copy took its time.
        if !self.is_seen(&data, seen).await? {
            return Ok(false);
        }
        self.delete(&data).await?;
        Ok(true)
    }

    async fn is_seen(&self, data: &Key, seen: &Quarantine) -> Result<bool, Error> {
        match self.head(data).await {
            Ok(meta) => {
                // A head has whole seconds, and a list has more.
                let modified = SystemTime::from(meta.last_modified);
                let apart = modified.duration_since(seen.modified).unwrap_or_else(|e| e.duration());
                Ok(meta.size == seen.size && apart.as_secs() == 0)
            }
            Err(Error::NOT_FOUND) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
