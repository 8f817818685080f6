//! Manifests.

use super::{Content, Referrer, Storage, StorageError, Store, blobs::linked, keys};
use bytes::Bytes;
use object_store::ObjectStoreExt as _;
use roadstead_oci::{Digest, Manifest, MediaType, Reference, RepositoryName, Tag};

/// How often a push looks whether a concurrent delete took its manifest away.
const PUSH_ATTEMPTS: usize = 3;

/// A manifest as it is stored.
#[derive(Debug)]
pub struct StoredManifest<C> {
    /// The digest that its reference stands for.
    pub digest: Digest,
    /// The media type that it was pushed with, where that was recorded.
    pub media_type: Option<MediaType>,
    /// Its size in bytes.
    pub size: u64,
    /// Its bytes, if they were asked for.
    pub content: C,
}

/// A manifest with its bytes.
pub type Stored<D> = StoredManifest<Content<D>>;

impl<S: Storage> Store<S> {
    /// Opens the manifest that a reference stands for.
    pub async fn manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<Stored<S::Download>, StorageError> {
        let digest = self.resolve(name, reference).await?;
        let companions = [keys::revision_link(name, &digest), keys::media_type(name, &digest)];
        let opened = self.storage.open(&keys::blob(&digest), None, &companions).await?;
        let media_type = recorded(&opened.companions, &digest)?;
        Ok(StoredManifest { digest, media_type, size: opened.size, content: opened.content })
    }

    /// The same without the bytes.
    pub async fn manifest_stat(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<StoredManifest<()>, StorageError> {
        let digest = self.resolve(name, reference).await?;
        let companions = [keys::revision_link(name, &digest), keys::media_type(name, &digest)];
        let stat = self.storage.stat(&keys::blob(&digest), &companions).await?;
        let media_type = recorded(&stat.companions, &digest)?;
        Ok(StoredManifest { digest, media_type, size: stat.size, content: () })
    }

    /// The bytes of a manifest, which is small by its type.
    pub async fn manifest_bytes(&self, digest: &Digest) -> Result<Bytes, StorageError> {
        Ok(self.storage.objects().get(&keys::blob(digest)).await?.bytes().await?)
    }

    /// Stores a manifest. Each object is durable before one that points to it
    /// is written, and the tags come last, so a crash leaves no tag or link
    /// that leads nowhere.
    pub async fn put_manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        manifest: &Manifest,
        bytes: Bytes,
        tags: &[Tag],
    ) -> Result<(), StorageError> {
        let objects = self.storage.objects();
        let size = bytes.len() as u64;
        objects.put(&keys::blob(digest), bytes.into()).await?;
        let recorded = manifest.media_type().as_str().to_owned();
        objects.put(&keys::media_type(name, digest), recorded.into()).await?;
        if let Some(referrer) = Referrer::of(manifest, digest, size) {
            self.put_referrer(name, &referrer).await?;
        }
        let link = keys::revision_link(name, digest);
        self.put_link(&link, digest).await?;
        for tag in tags {
            self.put_tag(name, tag, digest).await?;
        }
        // A delete of this manifest that ran meanwhile may have removed the
        // link before the tags came, which would then lead nowhere.
        for _ in 0..PUSH_ATTEMPTS {
            match objects.head(&link).await {
                Ok(_) => return Ok(()),
                Err(object_store::Error::NotFound { .. }) => self.put_link(&link, digest).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Deletes a manifest and the tags that point to it. Its link goes first,
    /// so it is gone at once, by tag as by digest.
    pub async fn delete_manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        let stat = self.manifest_stat(name, &Reference::Digest(digest.clone())).await?;
        let bytes = self.manifest_bytes(digest).await?;
        if let Ok(manifest) = Manifest::parse(&bytes, stat.media_type.as_ref())
            && let Some(referrer) = Referrer::of(&manifest, digest, stat.size)
        {
            self.delete_referrer(name, &referrer).await?;
        }
        self.storage.delete_value(&keys::revision_link(name, digest), digest.as_str()).await?;
        self.delete_tags_of(name, digest).await?;
        // Without the link it says nothing.
        let _ = self.storage.objects().delete(&keys::media_type(name, digest)).await;
        Ok(())
    }
}

/// Checks that the repository holds the manifest, and gives the media type
/// that was recorded with it.
fn recorded(
    companions: &[Option<String>],
    digest: &Digest,
) -> Result<Option<MediaType>, StorageError> {
    if !linked(companions, digest) {
        return Err(StorageError::NotFound);
    }
    let recorded = companions.get(1).cloned().flatten();
    Ok(recorded.and_then(|text| MediaType::parse(text.trim_end()).ok()))
}
