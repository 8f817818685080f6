//! Multipart uploads, and copies of large objects.

use crate::error::Error;
use crate::metadata::Metadata;
use crate::objects::Objects;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::PutMultipartOptions;
use object_store::multipart::PartId;
use roadstead_buckets::S3Operations;
use roadstead_oci::RepositoryName;
use roadstead_storage::Key;
use serde::{Deserialize, Serialize};

const MIB: u64 = 1024 * 1024;

/// How large an object can be, in bytes, that S3 writes or copies by one
/// request. Copies of the other stores have no such limit.
///
/// Limit: bytes of an object that S3 writes or copies in one request; test:
/// `large_objects_are_copied_by_parts`.
pub(crate) const REQUEST_LIMIT: u64 = 5 * 1024 * MIB;

/// The size of the parts in which S3 copies a larger object, in bytes.
///
/// Limit: bytes of a part of a copy; test: `large_objects_are_copied_by_parts`.
const COPY_PART: u64 = 1024 * MIB;

/// How many parts are copied at a time.
///
/// Limit: parts that are copied at a time; test: `large_objects_are_copied_by_parts`.
const CONCURRENT_COPIES: usize = 4;

/// A multipart upload that has not been completed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Multipart {
    /// The object that the parts become.
    pub(crate) key: Key,
    /// The store's name for the upload.
    pub(crate) id: String,
    /// The size of all parts but the last, where they must be equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) equal: Option<u64>,
    /// The store's names for the parts, in order.
    pub(crate) parts: Vec<String>,
}

impl Objects {
    /// Begins a multipart upload of the object `key`, which `repository` may
    /// hold when it is a blob.
    pub(crate) async fn begin_multipart(
        &self,
        key: &Key,
        repository: &RepositoryName,
        equal: Option<u64>,
    ) -> Result<Multipart, Error> {
        let (store, path) = (&self.backend.multipart, self.path(key));
        let attributes = Metadata::Holder(repository).into();
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let created = store.create_multipart_opts(&path, options).await;
        let id = match created.map_err(Error::from) {
            // Azure's client takes no metadata here.
            Err(Error::Unsupported(_)) => store.create_multipart(&path).await?,
            other => other?,
        };
        Ok(Multipart { key: key.clone(), id, equal, parts: Vec::new() })
    }

    /// Sends the next part. Returns the store's name for it.
    pub(crate) async fn send_part(
        &self,
        multipart: &Multipart,
        part: Bytes,
    ) -> Result<String, Error> {
        let Multipart { key, id, parts, .. } = multipart;
        let path = self.path(key);
        let sent = self.backend.multipart.put_part(&path, id, parts.len(), part.into());
        Ok(sent.await?.content_id)
    }

    /// Completes an upload by its last part, which is left out if it is empty.
    pub(crate) async fn complete(&self, multipart: &Multipart, last: &Bytes) -> Result<(), Error> {
        let mut names = multipart.parts.clone();
        if !last.is_empty() {
            names.push(self.send_part(multipart, last.clone()).await?);
        }
        let parts = names.into_iter().map(|content_id| PartId { content_id }).collect();
        let path = self.path(&multipart.key);
        self.backend.multipart.complete_multipart(&path, &multipart.id, parts).await?;
        Ok(())
    }

    /// Gives up an upload. If that fails, its parts stay, which nobody sees, until
    /// the bucket's own rules for incomplete uploads remove them.
    pub(crate) async fn abort(&self, multipart: &Multipart) {
        let path = self.path(&multipart.key);
        let _ = self.backend.multipart.abort_multipart(&path, &multipart.id).await;
    }

    /// Copies an object of `size` bytes within the store, by one request if
    /// possible. `repository` may hold the copy. `true` means that the copy is
    /// known to be complete.
    pub(crate) async fn copy_sized(
        &self,
        (from, size): (&Key, u64),
        to: &Key,
        repository: &RepositoryName,
    ) -> Result<bool, Error> {
        match self.backend.s3.as_deref() {
            Some(s3) if size > REQUEST_LIMIT => {
                self.copy_by_parts(s3, (from, size), to, repository, COPY_PART).await?;
                Ok(true)
            }
            _ => {
                self.copy(from, to).await?;
                Ok(false)
            }
        }
    }

    /// Copies an object as a multipart upload with parts of `part` bytes.
    pub(crate) async fn copy_by_parts(
        &self,
        s3: &dyn S3Operations,
        (from, size): (&Key, u64),
        to: &Key,
        repository: &RepositoryName,
        part: u64,
    ) -> Result<(), Error> {
        let mut copy = self.begin_multipart(to, repository, None).await?;
        let (source, target, id) = (self.path(from), self.path(to), copy.id.clone());
        let starts = (0..size).step_by(usize::try_from(part).unwrap_or(usize::MAX));
        let parts = starts.enumerate().map(|(index, start)| {
            let range = start..size.min(start + part);
            s3.copy_part(&source, range, &target, &id, index)
        });
        let copied: Result<Vec<PartId>, _> =
            stream::iter(parts).buffered(CONCURRENT_COPIES).try_collect().await;
        let completed = match copied {
            Ok(parts) => {
                copy.parts = parts.into_iter().map(|part| part.content_id).collect();
                self.complete(&copy, &Bytes::new()).await
            }
            Err(error) => Err(error.into()),
        };
        if completed.is_err() {
            self.abort(&copy).await;
        }
        completed
    }
}
