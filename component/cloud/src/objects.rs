//! Objects in the bucket, by typed keys.

use crate::error::Error;
use crate::metadata::Metadata;
use crate::reads::RecentManifests;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, GetResult, ObjectMeta, ObjectStoreExt as _, PutMode, PutOptions,
    PutPayload,
};
use roadstead_buckets::Backend;
use roadstead_oci::{Digest, MediaType};
use roadstead_storage::{Key, Pointer};
use std::sync::atomic::{AtomicBool, Ordering};

/// The objects in a bucket, below its root. Each method sends one request.
#[derive(Debug)]
pub(crate) struct Objects {
    pub(crate) backend: Backend,
    /// Whether conditional writes are honoured, as far as is known.
    conditional: AtomicBool,
    /// Used by `manifest` and `manifest_stat` only. They always read the link.
    pub(crate) recent: RecentManifests,
}

impl Objects {
    pub(crate) fn new(backend: Backend) -> Self {
        let conditional = AtomicBool::new(backend.conditional);
        Self { conditional, backend, recent: RecentManifests::default() }
    }

    /// The path of an object in the bucket: the only place that makes one of a
    /// key.
    pub(crate) fn path(&self, key: &Key) -> Path {
        self.path_of(&key.to_string())
    }

    /// The path of a directory, or of an object that is not of the registry.
    pub(crate) fn path_of(&self, text: &str) -> Path {
        // Keys consist of characters that a path takes as they are.
        self.backend.root.parts().chain(Path::from(text).parts()).collect()
    }

    /// Gets an object whole.
    pub(crate) async fn get(&self, key: &Key) -> Result<GetResult, Error> {
        Ok(self.backend.store.get(&self.path(key)).await?)
    }

    /// Gets a part of an object.
    pub(crate) async fn get_range(&self, key: &Key, range: GetRange) -> Result<GetResult, Error> {
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        Ok(self.backend.store.get_opts(&self.path(key), options).await?)
    }

    /// An object's size, date and version.
    pub(crate) async fn head(&self, key: &Key) -> Result<ObjectMeta, Error> {
        Ok(self.get_head(key).await?.meta)
    }

    /// The same, with its metadata.
    pub(crate) async fn get_head(&self, key: &Key) -> Result<GetResult, Error> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        Ok(self.backend.store.get_opts(&self.path(key), options).await?)
    }

    /// Checks that an object exists. A small one is read: a response without a body
    /// does not say whether the object is missing or the bucket.
    pub(crate) async fn check(&self, key: &Key) -> Result<(), Error> {
        match key {
            Key::Blob(_) => self.head(key).await.map(drop),
            _ => self.read(key).await.map(drop),
        }
    }

    /// The value of an object, of at most [`Key::value_limit`] bytes.
    pub(crate) async fn read(&self, key: &Key) -> Result<Bytes, Error> {
        read_value(key, self.get(key).await?).await
    }

    /// The value of a link, and the media type in its metadata.
    pub(crate) async fn pointer(&self, key: &Key) -> Result<Pointer, Error> {
        let found = self.get(key).await?;
        let media_type = crate::metadata::media_type(&found.attributes);
        let pointer = Pointer::parse(key, &read_value(key, found).await?)?;
        Ok(Pointer { media_type, ..pointer })
    }

    /// Writes an object.
    pub(crate) async fn put(&self, key: &Key, value: impl Into<PutPayload>) -> Result<(), Error> {
        self.put_with(key, value.into(), PutOptions::default()).await
    }

    /// Writes an object with metadata.
    pub(crate) async fn put_described(
        &self,
        key: &Key,
        value: impl Into<PutPayload>,
        metadata: Metadata<'_>,
    ) -> Result<(), Error> {
        let options = PutOptions { attributes: metadata.into(), ..PutOptions::default() };
        self.put_with(key, value.into(), options).await
    }

    /// Writes an object under a condition.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the condition does not hold, and
    /// [`Error::Unsupported`] when the store knows no such conditions, which is
    /// remembered.
    pub(crate) async fn put_if(
        &self,
        key: &Key,
        value: PutPayload,
        mode: PutMode,
    ) -> Result<(), Error> {
        let options = PutOptions { mode, ..PutOptions::default() };
        let result = self.put_with(key, value, options).await;
        if matches!(result, Err(Error::Unsupported(_))) {
            // Another instance finds it out by a request of its own.
            self.conditional.store(false, Ordering::Relaxed);
        }
        result
    }

    /// Writes a link that does not exist; fails as [`Objects::put_if`] does.
    pub(crate) async fn create_link(
        &self,
        key: &Key,
        digest: &Digest,
        media_type: &MediaType,
    ) -> Result<(), Error> {
        let attributes = Metadata::MediaType(media_type).into();
        let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
        let result = self.put_with(key, digest.to_string().into(), options).await;
        if matches!(result, Err(Error::Unsupported(_))) {
            self.conditional.store(false, Ordering::Relaxed);
        }
        result
    }

    async fn put_with(
        &self,
        key: &Key,
        value: PutPayload,
        options: PutOptions,
    ) -> Result<(), Error> {
        self.backend.store.put_opts(&self.path(key), value, options).await?;
        Ok(())
    }

    /// Whether the store honours conditional writes, as far as is known.
    pub(crate) fn is_conditional(&self) -> bool {
        self.conditional.load(Ordering::Relaxed)
    }

    /// Writes a link.
    pub(crate) async fn link(
        &self,
        key: &Key,
        digest: &Digest,
        media_type: Option<&MediaType>,
    ) -> Result<(), Error> {
        let value = digest.to_string();
        match media_type {
            Some(media_type) => {
                self.put_described(key, value, Metadata::MediaType(media_type)).await
            }
            None => self.put(key, value).await,
        }
    }

    /// Deletes an object. Idempotent.
    pub(crate) async fn delete(&self, key: &Key) -> Result<(), Error> {
        if let Key::Blob(digest) = key {
            self.recent.forget(digest);
        }
        match self.backend.store.delete(&self.path(key)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Deletes an object that must exist. Most stores do not say whether a
    /// deleted object existed, so this takes two requests.
    pub(crate) async fn remove(&self, key: &Key) -> Result<(), Error> {
        self.check(key).await?;
        self.delete(key).await
    }

    /// Deletes a link that leads to `digest`, by two requests. Not all stores
    /// delete conditionally: what is written between the two is lost, so a push
    /// looks for announced deletions after it has written.
    pub(crate) async fn unlink(&self, key: &Key, digest: &Digest) -> Result<(), Error> {
        let value = match self.read(key).await {
            Err(Error::NOT_FOUND) => return Ok(()),
            other => other?,
        };
        match Pointer::parse(key, &value) {
            Ok(pointer) if pointer.digest == *digest => self.delete(key).await,
            _ => Ok(()),
        }
    }

    /// Copies an object within the store.
    pub(crate) async fn copy(&self, from: &Key, to: &Key) -> Result<(), Error> {
        Ok(self.backend.store.copy(&self.path(from), &self.path(to)).await?)
    }
}

/// The body of a response, which must not be longer than such a value can be.
async fn read_value(key: &Key, found: GetResult) -> Result<Bytes, Error> {
    let (size, limit) = (found.meta.size, key.value_limit());
    if size > limit as u64 {
        return Err(Error::failed(format!("{key} has {size} bytes, and can have {limit}")));
    }
    Ok(found.bytes().await?)
}
