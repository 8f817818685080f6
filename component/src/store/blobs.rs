//! Blobs: content by digest, and which repository holds it.

use super::{Opened, Storage, StorageError, Store, keys};
use bytes::Bytes;
use futures::StreamExt as _;
use object_store::ObjectStoreExt as _;
use roadstead_oci::{ByteRange, Digest, RepositoryName};

/// How many repositories are asked whether they hold a blob that is to be
/// mounted from wherever it is.
const HOLDERS: usize = 16;

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

    /// Makes a blob that `from` holds one that `name` holds as well. Without
    /// `from`, any repository will do. Only those are looked at that are
    /// `readable`.
    pub async fn mount(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        from: Option<&RepositoryName>,
        readable: impl Fn(&RepositoryName) -> bool,
    ) -> Result<(), StorageError> {
        match from {
            Some(from) if !readable(from) => return Err(StorageError::NotFound),
            Some(from) => drop(self.blob_size(from, digest).await?),
            None => self.find_holder(digest, readable).await?,
        }
        self.link_blob(name, digest).await
    }

    /// Finds a repository that holds the blob, by the hints: at most
    /// [`HOLDERS`] are looked at.
    async fn find_holder(
        &self,
        digest: &Digest,
        readable: impl Fn(&RepositoryName) -> bool,
    ) -> Result<(), StorageError> {
        let mut beside = self.storage.objects().list(Some(&keys::blob_directory(digest)));
        for _ in 0..HOLDERS {
            // Hints come first in the order of keys.
            let Some(object) = beside.next().await.transpose()? else { break };
            let Some(holder) = keys::hinted(&object.location).filter(&readable) else { continue };
            match self.blob_size(&holder, digest).await {
                Ok(_) => return Ok(()),
                Err(StorageError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StorageError::NotFound)
    }

    /// Makes a blob one that the repository does not hold. The bytes stay, as
    /// other repositories may hold it.
    pub async fn delete_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        self.blob_size(name, digest).await?;
        self.storage.objects().delete(&keys::layer_link(name, digest)).await?;
        // A hint is not trusted, so one that stays does no harm.
        let _ = self.storage.objects().delete(&keys::hint(digest, name)).await;
        Ok(())
    }

    pub(super) async fn link_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        self.put_link(&keys::layer_link(name, digest), digest).await?;
        // The link is what counts: without the hint, a mount that names no
        // repository may not find the blob.
        let _ = self.storage.objects().put(&keys::hint(digest, name), Bytes::new().into()).await;
        Ok(())
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
