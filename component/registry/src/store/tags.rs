//! Tags, and the lists of tags and of repositories.

use super::{Depth, Names, Page, Storage, StorageError, Store, keys};
use futures::StreamExt as _;
use object_store::ObjectStoreExt as _;
use roadstead_oci::{Digest, MediaType, RepositoryName, Tag};

/// How many tags are looked at in one step, where all are.
const STEP: usize = 1000;

impl<S: Storage> Store<S> {
    /// A page of a repository's tags, in lexical order.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when there is no such repository.
    pub async fn tags(
        &self,
        name: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let page = self.tags_page(name, after, limit, false).await?;
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
    ) -> Result<Page, StorageError> {
        let names = Names {
            parent: keys::repositories(),
            marker: keys::marker(keys::MANIFESTS),
            values: false,
            depth: Depth::Descendants,
            after,
            limit,
        };
        self.storage.names(names).await
    }

    /// Points a tag to a digest, for the tag's readers in one step.
    pub(super) async fn put_tag(
        &self,
        name: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        media_type: &MediaType,
    ) -> Result<(), StorageError> {
        self.storage.point(&keys::tag_index_link(name, tag, digest), digest, None).await?;
        self.storage.point(&keys::tag_link(name, tag), digest, Some(media_type)).await
    }

    /// Deletes a tag. The manifest stays.
    pub async fn delete_tag(&self, name: &RepositoryName, tag: &Tag) -> Result<(), StorageError> {
        let objects = self.storage.objects();
        self.storage.remove(&keys::tag_link(name, tag)).await?;
        // The digests that it had are of no use without it. A concurrent push
        // of the tag may lose its entry, which only distribution looks at.
        let mut index = objects.list(Some(&keys::tag_index(name, tag)));
        while let Some(Ok(link)) = index.next().await {
            let _ = objects.delete(&link.location).await;
        }
        Ok(())
    }

    /// Deletes all tags that point to a digest.
    pub(super) async fn delete_tags_of(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        let mut after = None;
        loop {
            let page = self.tags_page(name, after.as_deref(), STEP, true).await?;
            for (tag, link) in page.names.iter().zip(&page.values) {
                if link.trim_end() == digest.as_str()
                    && let Ok(tag) = Tag::parse(tag)
                {
                    self.storage.delete_value(&keys::tag_link(name, &tag), link).await?;
                    let index = keys::tag_index_link(name, &tag, digest);
                    self.storage.delete_value(&index, digest.as_str()).await?;
                }
            }
            match page.names.into_iter().next_back() {
                Some(last) if page.more => after = Some(last),
                _ => return Ok(()),
            }
        }
    }

    async fn tags_page(
        &self,
        name: &RepositoryName,
        after: Option<&str>,
        limit: usize,
        values: bool,
    ) -> Result<Page, StorageError> {
        let names = Names {
            parent: keys::tags(name),
            marker: keys::marker(keys::TAG_MARKER),
            values,
            depth: Depth::Children,
            after,
            limit,
        };
        self.storage.names(names).await
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
}
