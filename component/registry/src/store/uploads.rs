//! Upload sessions of a repository.

use super::{Appended, Storage, StorageError, Store, keys};
use object_store::path::Path;
use roadstead_oci::{Digest, RepositoryName, UploadId};

/// Where bytes were to be appended: at a place that the client names, or at
/// the session's end, wherever that is.
pub type Offset = Option<u64>;

impl<S: Storage> Store<S> {
    /// Makes an upload session, of random bits.
    pub async fn begin_upload(
        &self,
        name: &RepositoryName,
        random: [u8; 16],
    ) -> Result<UploadId, StorageError> {
        let id = self.upload_id(name, random);
        self.storage.begin(&keys::upload(name, &id)).await?;
        Ok(id)
    }

    /// Makes a body a blob that the repository holds.
    pub async fn store_blob(
        &self,
        name: &RepositoryName,
        random: [u8; 16],
        body: Option<S::Upload>,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        let session = keys::upload(name, &self.upload_id(name, random));
        let links = links::<S>(name, digest);
        self.storage.store(&session, body, &keys::blob(digest), digest, &links).await?;
        Ok(())
    }

    fn upload_id(&self, name: &RepositoryName, random: [u8; 16]) -> UploadId {
        UploadId::from_random(self.storage.session_bits(&keys::uploads(name), random))
    }

    /// How many bytes a session holds.
    pub async fn upload_size(
        &self,
        name: &RepositoryName,
        id: &UploadId,
    ) -> Result<u64, StorageError> {
        self.storage.status(&keys::upload(name, id)).await
    }

    /// Appends to a session; see [`Storage::append`].
    pub async fn append_upload(
        &self,
        name: &RepositoryName,
        id: &UploadId,
        at: Offset,
        length: Option<u64>,
        body: S::Upload,
    ) -> Result<Appended, StorageError> {
        self.storage.append(&keys::upload(name, id), at, length, body).await
    }

    /// Ends a session: its bytes become a blob that the repository holds.
    /// The blob is there before the link that makes it visible. A receipt of
    /// [`Store::append_upload`] may save a look at the session.
    pub async fn commit_upload(
        &self,
        name: &RepositoryName,
        id: &UploadId,
        at: Offset,
        receipt: Option<&str>,
        body: Option<S::Upload>,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        let session = keys::upload(name, id);
        let links = links::<S>(name, digest);
        if let (None, None, Some(receipt)) = (at, &body, receipt)
            && self.storage.conclude(&session, receipt, digest, &links).await?
        {
            return Ok(());
        }
        self.storage.commit(&session, at, body, &keys::blob(digest), digest, &links).await?;
        Ok(())
    }

    /// Removes a session.
    pub async fn cancel_upload(
        &self,
        name: &RepositoryName,
        id: &UploadId,
    ) -> Result<(), StorageError> {
        self.storage.discard(&keys::upload(name, id)).await
    }
}

/// What makes a blob one of the repository.
fn links<S: Storage>(name: &RepositoryName, digest: &Digest) -> Vec<(Path, String)> {
    let mut links = vec![(keys::layer_link(name, digest), digest.to_string())];
    if S::ONE_STEP {
        links.push((keys::hint(digest, name), String::new()));
    }
    links
}
