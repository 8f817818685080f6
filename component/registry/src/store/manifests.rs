//! Manifests.

use super::{Content, Pointer, Referrer, Storage, StorageError, Store, blobs::linked, keys};
use bytes::Bytes;
use futures::future::join;
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

/// What a pointer to a manifest says, with the bytes where they came along.
struct Linked {
    pointer: Pointer,
    bytes: Option<Bytes>,
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
        if !S::ONE_STEP {
            let Linked { pointer, bytes } = self.linked_manifest(name, reference).await?;
            let bytes = match bytes {
                Some(bytes) => bytes,
                None => self.manifest_bytes(&pointer.digest).await?,
            };
            let (size, content) = (bytes.len() as u64, Content::Bytes(bytes));
            let Pointer { digest, media_type } = pointer;
            return Ok(StoredManifest { digest, media_type, size, content });
        }
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
        if !S::ONE_STEP {
            return self.linked_stat(name, reference).await;
        }
        let digest = self.resolve(name, reference).await?;
        let companions = [keys::revision_link(name, &digest), keys::media_type(name, &digest)];
        let stat = self.storage.stat(&keys::blob(&digest), &companions).await?;
        let media_type = recorded(&stat.companions, &digest)?;
        Ok(StoredManifest { digest, media_type, size: stat.size, content: () })
    }

    /// Reads what a reference stands for where each object is a request: two
    /// at most. A tag's link is trusted, as it goes with its manifest.
    async fn linked_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<Linked, StorageError> {
        let digest = match reference {
            Reference::Tag(tag) => {
                let pointer = self.storage.pointer(&keys::tag_link(name, tag)).await?;
                return Ok(Linked { pointer, bytes: None });
            }
            Reference::Digest(digest) => digest,
        };
        let link = keys::revision_link(name, digest);
        let (pointer, bytes) = join(self.storage.pointer(&link), self.manifest_bytes(digest)).await;
        let pointer = pointer?;
        if pointer.digest != *digest {
            return Err(StorageError::NotFound);
        }
        Ok(Linked { pointer, bytes: Some(bytes?) })
    }

    /// The size and the media type of what a reference stands for where each
    /// object is a request. One that another registry pushed has its media
    /// type within.
    async fn linked_stat(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<StoredManifest<()>, StorageError> {
        let key = match reference {
            Reference::Tag(tag) => keys::tag_link(name, tag),
            Reference::Digest(digest) => keys::revision_link(name, digest),
        };
        let Pointer { digest, media_type } = self.storage.pointer(&key).await?;
        let (media_type, size) = if media_type.is_some() {
            (media_type, self.storage.stat(&keys::blob(&digest), &[]).await?.size)
        } else {
            let bytes = self.manifest_bytes(&digest).await?;
            let parsed = Manifest::parse(&bytes, None).ok();
            (parsed.map(|manifest| manifest.media_type().clone()), bytes.len() as u64)
        };
        match reference {
            Reference::Digest(named) if *named != digest => Err(StorageError::NotFound),
            _ => Ok(StoredManifest { digest, media_type, size, content: () }),
        }
    }

    /// The digest that a reference stands for.
    async fn resolve(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<Digest, StorageError> {
        match reference {
            Reference::Digest(digest) => Ok(digest.clone()),
            Reference::Tag(tag) => {
                Ok(self.storage.pointer(&keys::tag_link(name, tag)).await?.digest)
            }
        }
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
        let media_type = manifest.media_type();
        if S::ONE_STEP {
            let recorded = media_type.as_str().to_owned();
            objects.put(&keys::media_type(name, digest), recorded.into()).await?;
        }
        if let Some(referrer) = Referrer::of(manifest, digest, size) {
            self.put_referrer(name, &referrer).await?;
        }
        let link = keys::revision_link(name, digest);
        self.storage.point(&link, digest, Some(media_type)).await?;
        for tag in tags {
            self.put_tag(name, tag, digest, media_type).await?;
        }
        // A delete of this manifest that ran meanwhile may have removed the
        // link before the tags came, which would then lead nowhere.
        for _ in 0..PUSH_ATTEMPTS {
            match objects.head(&link).await {
                Ok(_) => return Ok(()),
                Err(object_store::Error::NotFound { .. }) => {
                    self.storage.point(&link, digest, Some(media_type)).await?;
                }
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
        if S::ONE_STEP {
            // Without the link it says nothing.
            let _ = self.storage.objects().delete(&keys::media_type(name, digest)).await;
        }
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
