//! Storage in an object store: Amazon S3 and what speaks like it, Google Cloud
//! Storage, Azure Blob Storage.
//!
//! Each object is a request over a network, so the rules differ from those of
//! a directory: few requests count more than few bytes. The module `record` says
//! how an upload session is kept, `parts` how large its parts are, and
//! `docs/decisions/0008-object-stores.md` why.

mod append;
mod bucket;
mod commit;
mod identifiers;
mod intake;
mod lists;
mod names;
mod parts;
mod passing;
mod purge;
mod read;
mod receipts;
mod record;
mod session;
#[cfg(test)]
mod tests;
mod walk;

pub use bucket::{Backend, Options};
pub use parts::{MAX_BLOB_SIZE, MEMORY_LIMIT};

use super::{
    Appended, Depth, Names, Opened, Page, Pointer, RequestBody, Stat, Storage, StorageError,
};
use bucket::Bucket;
use bytes::Bytes;
use futures::stream::BoxStream;
use http::StatusCode;
use http::request::Parts;
use object_store::ObjectStore;
use object_store::path::Path;
use roadstead_oci::{ByteRange, Digest, MediaType, RepositoryName};
use sha2::Sha256;
use std::fmt;
use std::marker::PhantomData;

/// A request's body that is read a piece at a time.
#[expect(async_fn_in_trait, reason = "a component has one thread; no future needs to be Send")]
pub trait ChunkedBody: RequestBody {
    /// How many bytes it has, if the client said so.
    fn length(&self) -> Option<u64>;

    /// Has the platform hash the bytes on their way, after those that `sha256`
    /// has seen. `false` if it does not.
    async fn begin_hash(&mut self, _sha256: &Sha256) -> bool {
        false
    }

    /// After the end, the hash that [`ChunkedBody::begin_hash`] began.
    fn end_hash(&mut self) -> Option<Sha256> {
        None
    }

    /// The next bytes; `None` at its end, an error if it breaks off before.
    async fn chunk(&mut self) -> Result<Option<Bytes>, Aborted>;

    /// Sends a body, of which nothing was read and the length is known, as
    /// that of another request. Gives the answer.
    ///
    /// # Errors
    /// [`StorageError::Aborted`] when the body broke off.
    async fn pass_on(self, head: Parts) -> Result<(StatusCode, Bytes), StorageError>;
}

/// A body broke off before its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Aborted;

/// Bulk bytes, as the platform has them.
#[expect(async_fn_in_trait, reason = "a component has one thread; no future needs to be Send")]
pub trait Bodies: fmt::Debug + 'static {
    /// See [`Storage::Upload`].
    type Upload: ChunkedBody;
    /// See [`Storage::Download`].
    type Download;

    /// What streams `bytes` to a client. An error cuts it short, which the
    /// client notices by its length.
    fn download(bytes: BoxStream<'static, object_store::Result<Bytes>>) -> Self::Download;

    /// What streams the body of the answer to a request without one, whatever
    /// that answer is. `None` where no platform streams by itself.
    async fn fetch(_request: Parts) -> Option<(http::response::Parts, Self::Download)> {
        None
    }
}

/// The storage port over an object store.
#[derive(Debug)]
pub struct CloudStorage<B> {
    bucket: Bucket,
    bodies: PhantomData<B>,
}

impl<B: Bodies> CloudStorage<B> {
    /// Storage in the bucket that `backend` leads to.
    pub fn new(backend: Backend, options: Options) -> Self {
        Self { bucket: Bucket::new(backend, options), bodies: PhantomData }
    }
}

impl<B: Bodies> Storage for CloudStorage<B> {
    type Upload = B::Upload;
    type Download = B::Download;

    const ONE_STEP: bool = false;

    fn objects(&self) -> &dyn ObjectStore {
        self.bucket.objects()
    }

    async fn open(
        &self,
        key: &Path,
        range: Option<ByteRange>,
        companions: &[Path],
    ) -> Result<Opened<B::Download>, StorageError> {
        self.bucket.open::<B>(key, range, companions).await
    }

    async fn stat(&self, key: &Path, companions: &[Path]) -> Result<Stat, StorageError> {
        self.bucket.stat(key, companions).await
    }

    async fn pointer(&self, key: &Path) -> Result<Pointer, StorageError> {
        self.bucket.pointer(key).await
    }

    async fn point(
        &self,
        key: &Path,
        digest: &Digest,
        media_type: Option<&MediaType>,
    ) -> Result<(), StorageError> {
        self.bucket.point(key, digest, media_type).await
    }

    async fn remove(&self, key: &Path) -> Result<(), StorageError> {
        self.bucket.remove(key).await
    }

    async fn holder(&self, key: &Path) -> Result<Option<RepositoryName>, StorageError> {
        self.bucket.holder(key).await
    }

    async fn url(&self, key: &Path) -> Result<Option<String>, StorageError> {
        self.bucket.url(key).await
    }

    async fn names(&self, query: Names<'_>) -> Result<Page, StorageError> {
        match query.depth {
            Depth::Children => self.bucket.children(&query).await,
            Depth::Descendants => self.bucket.descendants(&query).await,
        }
    }

    async fn delete_value(&self, key: &Path, value: &str) -> Result<(), StorageError> {
        self.bucket.delete_value(key, value).await
    }

    fn session_bits(&self, uploads: &Path, random: [u8; 16]) -> [u8; 16] {
        self.bucket.session_bits(uploads, random)
    }

    async fn begin(&self, session: &Path) -> Result<(), StorageError> {
        self.bucket.begin(session).await
    }

    async fn status(&self, session: &Path) -> Result<u64, StorageError> {
        self.bucket.status(session).await
    }

    async fn append(
        &self,
        session: &Path,
        at: Option<u64>,
        length: Option<u64>,
        body: B::Upload,
    ) -> Result<Appended, StorageError> {
        self.bucket.append(session, at, length, body).await
    }

    async fn conclude(
        &self,
        session: &Path,
        receipt: &str,
        digest: &Digest,
        links: &[(Path, String)],
    ) -> Result<bool, StorageError> {
        self.bucket.conclude(session, receipt, digest, links).await
    }

    async fn commit(
        &self,
        session: &Path,
        at: Option<u64>,
        body: Option<B::Upload>,
        to: &Path,
        digest: &Digest,
        links: &[(Path, String)],
    ) -> Result<u64, StorageError> {
        self.bucket.commit(session, at, body, to, digest, links).await
    }

    async fn discard(&self, session: &Path) -> Result<(), StorageError> {
        self.bucket.discard(session).await
    }

    async fn store(
        &self,
        session: &Path,
        body: Option<B::Upload>,
        to: &Path,
        digest: &Digest,
        links: &[(Path, String)],
    ) -> Result<u64, StorageError> {
        self.bucket.store(session, body, to, digest, links).await
    }
}
