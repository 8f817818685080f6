//! The storage port over an object store: Amazon S3 and compatible stores, Google
//! Cloud Storage, Azure Blob Storage.
//!
//! Each object is a request over a network, so the rules differ from those of a
//! directory: the number of requests counts more than the number of bytes.
//! `docs/decisions/0008-object-stores.md` has the reasons.
//!
//! - `objects` is the bucket by typed keys, `metadata` what is kept with an
//!   object, `multipart` how large objects are written and copied.
//! - `tags` are those that are created and replace no other.
//! - `reads` are the reads for clients, `lists` the lists.
//! - `uploads` are the upload sessions.

mod error;
mod lists;
mod metadata;
mod multipart;
mod objects;
mod reads;
mod scrub;
mod tags;
#[cfg(test)]
mod tests;
mod uploads;

pub use uploads::{MAX_BLOB_SIZE, MEMORY_LIMIT, Options, PurgeLine, Purging};

use bytes::Bytes;
use objects::Objects;
use roadstead_buckets::Backend;
use roadstead_oci::{ByteRange, Digest, MediaType, Reference, RepositoryName, Tag};
use roadstead_storage::condemned::Marker;
use roadstead_storage::{
    Appended, Blob, Bodies, Collection, Commit, Content, Created, Cursor, Hashed, Key, Listing,
    NamesQuery, Page, Partial, Quarantine, Storage, StorageError, StoredManifest, UploadSession,
};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use uploads::Uploads;

/// The storage port over an object store.
#[derive(Debug)]
pub struct CloudStorage<B> {
    objects: Arc<Objects>,
    uploads: Uploads,
    marker: Marker,
    bodies: PhantomData<B>,
}

impl<B: Bodies> CloudStorage<B> {
    /// Storage in a bucket.
    pub fn new(backend: Backend, options: Options) -> Self {
        let objects = Arc::new(Objects::new(backend));
        let uploads = Uploads::new(Arc::clone(&objects), options);
        Self { objects, uploads, marker: Marker::default(), bodies: PhantomData }
    }
}

impl<B: Bodies> Storage for CloudStorage<B> {
    type Upload = B::Upload;
    type Download = B::Download;

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<StoredManifest<Content<B::Download>>, StorageError> {
        let StoredManifest { digest, media_type, size, content } =
            self.objects.manifest(repository, reference).await?;
        Ok(StoredManifest { digest, media_type, size, content: Content::Bytes(content) })
    }

    async fn manifest_stat(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<StoredManifest<()>, StorageError> {
        Ok(self.objects.manifest_stat(repository, reference).await?)
    }

    async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        range: Option<ByteRange>,
    ) -> Result<Blob<B::Download>, StorageError> {
        Ok(self.objects.blob::<B>(repository, digest, range).await?)
    }

    async fn blob_size(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<u64, StorageError> {
        Ok(self.objects.blob_size(repository, digest).await?)
    }

    async fn blob_url(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<String>, StorageError> {
        Ok(self.objects.blob_url(repository, digest).await?)
    }

    async fn missing_blobs(
        &self,
        repository: &RepositoryName,
        digests: &[&Digest],
    ) -> Result<Vec<Digest>, StorageError> {
        Ok(self.objects.missing_blobs(repository, digests).await?)
    }

    async fn missing_manifests(
        &self,
        repository: &RepositoryName,
        digests: &[&Digest],
    ) -> Result<Vec<Digest>, StorageError> {
        Ok(self.objects.missing_manifests(repository, digests).await?)
    }

    async fn holder(
        &self,
        digest: &Digest,
        readable: impl Fn(&RepositoryName) -> bool,
    ) -> Result<RepositoryName, StorageError> {
        Ok(self.objects.holder(digest, readable).await?)
    }

    async fn read(&self, key: &Key) -> Result<Bytes, StorageError> {
        Ok(self.objects.read(key).await?)
    }

    async fn exists(&self, key: &Key) -> Result<bool, StorageError> {
        match self.objects.check(key).await.map_err(StorageError::from) {
            Ok(()) => Ok(true),
            Err(StorageError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn write(&self, key: &Key, value: Bytes) -> Result<(), StorageError> {
        Ok(self.objects.put(key, value).await?)
    }

    async fn link(
        &self,
        key: &Key,
        digest: &Digest,
        media_type: Option<&MediaType>,
    ) -> Result<(), StorageError> {
        Ok(self.objects.link(key, digest, media_type).await?)
    }

    async fn create_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        media_type: &MediaType,
    ) -> Result<Created, StorageError> {
        Ok(self.objects.create_tag(repository, tag, digest, media_type).await?)
    }

    async fn delete(&self, key: &Key) -> Result<(), StorageError> {
        Ok(self.objects.delete(key).await?)
    }

    async fn remove(&self, key: &Key) -> Result<(), StorageError> {
        Ok(self.objects.remove(key).await?)
    }

    async fn unlink(&self, key: &Key, digest: &Digest) -> Result<(), StorageError> {
        Ok(self.objects.unlink(key, digest).await?)
    }

    async fn tidy(&self, _: &RepositoryName) -> Result<(), StorageError> {
        // A bucket has no directories.
        Ok(())
    }

    async fn holds_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        media_type: &MediaType,
    ) -> Result<bool, StorageError> {
        Ok(self.objects.holds_manifest(repository, digest, media_type).await?)
    }

    async fn hash_blob(
        &self,
        digest: &Digest,
        from: Option<&Partial>,
        limit: u64,
    ) -> Result<Hashed, StorageError> {
        Ok(self.objects.hash_blob(digest, from, limit).await?)
    }

    async fn quarantine(&self, seen: &Quarantine) -> Result<bool, StorageError> {
        Ok(self.objects.quarantine(seen).await?)
    }

    async fn pause(&self, time: Duration) {
        B::pause(time).await;
    }

    fn marker(&self) -> Option<&Marker> {
        Some(&self.marker)
    }

    async fn names(&self, query: &NamesQuery) -> Result<Page, StorageError> {
        Ok(self.objects.names(query).await?)
    }

    async fn enumerate(
        &self,
        collection: &Collection,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Listing, StorageError> {
        Ok(self.objects.enumerate(collection, after, limit).await?)
    }

    fn new_session(&self, repository: &RepositoryName, random: [u8; 16]) -> UploadSession {
        self.uploads.new_session(repository, random)
    }

    async fn begin(&self, session: &UploadSession) -> Result<(), StorageError> {
        Ok(self.uploads.begin(session).await?)
    }

    async fn status(&self, session: &UploadSession) -> Result<u64, StorageError> {
        Ok(self.uploads.status(session).await?)
    }

    async fn append(
        &self,
        session: &UploadSession,
        at: Option<u64>,
        length: Option<u64>,
        body: B::Upload,
    ) -> Result<Appended, StorageError> {
        Ok(self.uploads.append(self, session, at, length, body).await?)
    }

    async fn commit(&self, commit: &Commit) -> Result<u64, StorageError> {
        Ok(self.uploads.commit(self, commit).await?)
    }

    async fn append_and_commit(
        &self,
        commit: &Commit,
        body: B::Upload,
    ) -> Result<u64, StorageError> {
        Ok(self.uploads.append_and_commit(self, commit, body).await?)
    }

    async fn store(&self, commit: &Commit, body: B::Upload) -> Result<u64, StorageError> {
        Ok(self.uploads.store(self, commit, body).await?)
    }

    async fn discard(&self, session: &UploadSession) -> Result<(), StorageError> {
        Ok(self.uploads.discard(session).await?)
    }
}
