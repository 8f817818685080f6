//! Which repository holds a blob.

use super::Store;
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::{Key, Storage, StorageError};

impl<S: Storage> Store<S> {
    /// Makes a blob of the repository `from` one of `name` as well: a
    /// cross-repository mount (end-11). Without `from`, any repository will do
    /// that is `readable`.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when no readable repository holds it.
    pub(crate) async fn mount(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        from: Option<&RepositoryName>,
        readable: impl Fn(&RepositoryName) -> bool,
    ) -> Result<(), StorageError> {
        match from {
            Some(from) if !readable(from) => return Err(StorageError::NotFound),
            Some(from) => drop(self.storage.blob_size(from, digest).await?),
            None => drop(self.storage.holder(digest, readable).await?),
        }
        let link = Key::Layer(name.clone(), digest.clone());
        self.storage.link(&link, digest, None).await
    }

    /// Makes a blob one that the repository does not hold (end-10). The bytes
    /// stay, as other repositories may hold it.
    pub(crate) async fn delete_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        self.storage.blob_size(name, digest).await?;
        self.storage.delete(&Key::Layer(name.clone(), digest.clone())).await
    }
}
