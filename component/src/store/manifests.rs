//! Manifests, tags, and the lists of both.

use super::{Content, Depth, Names, Storage, StorageError, Store, blobs::linked, keys};
use bytes::Bytes;
use futures::StreamExt as _;
use object_store::ObjectStoreExt as _;
use roadstead_oci::{Digest, MediaType, Reference, RepositoryName, Tag};

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
        media_type: &MediaType,
        bytes: Bytes,
        tag: Option<&Tag>,
    ) -> Result<(), StorageError> {
        let objects = self.storage.objects();
        objects.put(&keys::blob(digest), bytes.into()).await?;
        let recorded = media_type.as_str().to_owned();
        objects.put(&keys::media_type(name, digest), recorded.into()).await?;
        self.put_link(&keys::revision_link(name, digest), digest).await?;
        if let Some(tag) = tag {
            self.put_link(&keys::tag_index_link(name, tag, digest), digest).await?;
            self.put_link(&keys::tag_link(name, tag), digest).await?;
        }
        Ok(())
    }

    /// A page of a repository's tags, in lexical order.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when there is no such repository.
    pub async fn tags(
        &self,
        name: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Names, StorageError> {
        let marker = keys::marker(keys::TAG_MARKER);
        let page =
            self.storage.names(&keys::tags(name), &marker, Depth::Children, after, limit).await?;
        if page.names.is_empty() && !self.repository_exists(name).await? {
            return Err(StorageError::NotFound);
        }
        Ok(page)
    }

    /// A page of the repositories that hold manifests, in lexical order.
    pub async fn repositories(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Names, StorageError> {
        let marker = keys::marker(keys::MANIFESTS);
        let parent = keys::repositories();
        self.storage.names(&parent, &marker, Depth::Descendants, after, limit).await
    }

    /// Whether the repository holds anything.
    async fn repository_exists(&self, name: &RepositoryName) -> Result<bool, StorageError> {
        for prefix in [keys::revisions(name), keys::layers(name)] {
            if self.storage.objects().list(Some(&prefix)).next().await.transpose()?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The digest that a reference stands for.
    async fn resolve(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<Digest, StorageError> {
        let tag = match reference {
            Reference::Digest(digest) => return Ok(digest.clone()),
            Reference::Tag(tag) => tag,
        };
        let key = keys::tag_link(name, tag);
        let link = self.storage.objects().get(&key).await?.bytes().await?;
        std::str::from_utf8(&link)
            .ok()
            .and_then(|link| Digest::parse(link.trim_end()).ok())
            .ok_or_else(|| StorageError::Failed(format!("{key} holds no digest")))
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
