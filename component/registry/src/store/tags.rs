//! Tags are listed and deleted.

use super::deletions::Announcement;
use super::{Refusal, Store};
use roadstead_oci::{Digest, RepositoryName, Tag};
use roadstead_storage::condemned::is_marked;
use roadstead_storage::{
    Collection, Key, NameList, NamesQuery, Page, Pages, Storage, StorageError,
};

/// How many tags are looked at in one operation, where all are.
///
/// Limit: tags that a deletion reads at a time; test: `tags_of_many_pages_are_deleted`.
const STEP: usize = 500;

/// How many tags are announced, and deleted, before the announcement is renewed. Few,
/// as each takes several operations: pushes must not take a deletion that is only
/// slow to have died.
///
/// Limit: tags that a deletion announces at a time; test: `tags_of_many_pages_are_deleted`.
const ANNOUNCED: usize = 16;

impl<S: Storage> Store<S> {
    /// A page of a repository's tags (end-8), in lexical order.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when there is no such repository.
    pub(crate) async fn tags(
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

    /// Deletes a tag. The manifest stays.
    pub(crate) async fn delete_tag(&self, name: &RepositoryName, tag: &Tag) -> Result<(), Refusal> {
        self.check_deletable(name, tag).await?;
        if self.retention.has_tags() || is_marked(&self.storage).await? {
            // First: an undo of the run that once removed it would bring it back.
            self.storage.delete(&Key::MovedTag(name.clone(), tag.clone())).await?;
        }
        self.storage.remove(&Key::Tag(name.clone(), tag.clone())).await?;
        // As distribution does. A concurrent push of the tag may lose its entry: then
        // its history has the tag itself. What fails to be deleted does no harm.
        let _ = self.delete_history(name, tag).await;
        if self.retention.asks_for_pulls(name.as_str()) {
            let _ = self.storage.delete(&Key::Pulled(name.clone(), tag.clone())).await;
        }
        Ok(())
    }

    /// Deletes the digests that a tag has had.
    pub(super) async fn delete_history(
        &self,
        name: &RepositoryName,
        tag: &Tag,
    ) -> Result<(), StorageError> {
        let history = Collection::TagHistory(name.clone(), tag.clone());
        let mut pages = Pages::new(&history, None, STEP);
        while let Some(entries) = pages.next(&self.storage).await? {
            for entry in entries {
                self.storage.delete(&entry.key).await?;
            }
        }
        Ok(())
    }

    /// Deletes all tags that point to a digest, and says how many. A tag is
    /// announced before it is read the last time. One that cannot be deleted ends it.
    pub(super) async fn delete_tags_of(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        announcement: &mut Announcement,
    ) -> Result<usize, Refusal> {
        let (mut after, mut count) = (None, 0);
        loop {
            let page = self.tags_page(name, after.as_deref(), STEP, true).await?;
            self.check_page(name, &page, Some(digest))?;
            let tags = page.names.iter().zip(&page.values);
            let tags = tags.filter(|(_, link)| link.trim_end() == digest.as_str());
            let tags: Vec<Tag> = tags.filter_map(|(tag, _)| Tag::parse(tag).ok()).collect();
            if tags.is_empty() && page.more {
                self.renew(announcement, &[]).await?;
            }
            count += tags.len();
            for announced in tags.chunks(ANNOUNCED) {
                self.renew(announcement, announced).await?;
                for tag in announced {
                    self.renew_in_time(announcement, announced).await?;
                    // First, so that a repetition finds both: without the tag, its
                    // history alone would keep the repository in the catalog.
                    self.delete_history(name, tag).await?;
                    self.renew_in_time(announcement, announced).await?;
                    self.storage.unlink(&Key::Tag(name.clone(), tag.clone()), digest).await?;
                }
            }
            match page.names.into_iter().next_back() {
                Some(last) if page.more => after = Some(last),
                _ => return Ok(count),
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
        let (list, after) = (NameList::Tags(name.clone()), after.map(str::to_owned));
        self.storage.names(&NamesQuery { list, values, after, limit }).await
    }

    /// Whether the repository holds anything.
    async fn repository_exists(&self, name: &RepositoryName) -> Result<bool, StorageError> {
        for collection in [Collection::Revisions(name.clone()), Collection::Layers(name.clone())] {
            let listing = self.storage.enumerate(&collection, None, 1).await?;
            if !listing.entries.is_empty() || listing.next.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
