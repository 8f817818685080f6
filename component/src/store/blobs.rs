//! Blobs: content by digest, and which repository holds it.

use super::{Opened, Storage, StorageError, Store, keys};
use object_store::ObjectStoreExt as _;
use roadstead_oci::{ByteRange, Digest, RepositoryName};

/// A blob of a repository, opened.
pub type Blob<D> = Opened<D>;

impl<S: Storage> Store<S> {
    /// Opens a blob that the repository holds.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when the repository does not hold it, even
    /// though another one may: a digest is no key to foreign content.
    pub async fn blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        range: Option<ByteRange>,
    ) -> Result<Blob<S::Download>, StorageError> {
        let link = keys::layer_link(name, digest);
        let opened = self.storage.open(&keys::blob(digest), range, &[link]).await?;
        if linked(&opened.companions, digest) { Ok(opened) } else { Err(StorageError::NotFound) }
    }

    /// The size in bytes of a blob that the repository holds.
    pub async fn blob_size(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<u64, StorageError> {
        let link = keys::layer_link(name, digest);
        let stat = self.storage.stat(&keys::blob(digest), &[link]).await?;
        if linked(&stat.companions, digest) { Ok(stat.size) } else { Err(StorageError::NotFound) }
    }

    /// Makes a blob that `from` holds one that `name` holds as well.
    pub async fn mount(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        from: &RepositoryName,
    ) -> Result<(), StorageError> {
        self.blob_size(from, digest).await?;
        self.link_blob(name, digest).await
    }

    pub(super) async fn link_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        self.put_link(&keys::layer_link(name, digest), digest).await
    }

    pub(super) async fn put_link(
        &self,
        key: &object_store::path::Path,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        self.storage.objects().put(key, digest.to_string().into()).await?;
        Ok(())
    }
}

/// Whether the first companion is a link to `digest`.
pub(super) fn linked(companions: &[Option<String>], digest: &Digest) -> bool {
    matches!(companions.first(), Some(Some(link)) if link.trim_end() == digest.as_str())
}
