//! Tags that never change, by the rules of the settings: they are created and not replaced, and
//! stay, with the manifest that they point to, until a rule lets them go. What that manifest refers
//! to is protected from the collector alone, as that of any tag.
//!
//! Who pushes one finds out early that it points elsewhere, before anything is written; what
//! decides is the storage ([`Storage::create_tag`]). What deletes several tags looks at each of
//! them when it is about to delete it, and before that at all, so that it is refused before it
//! has deleted some.

use super::Store;
use crate::error::ImmutableTag;
use crate::over_quota::OverQuota;
use futures::future::try_join_all;
use roadstead_access::ImmutableRule;
use roadstead_oci::{Digest, MediaType, RepositoryName, Tag};
use roadstead_storage::{Created, Key, NameList, NamesQuery, Page, Pointer, Storage, StorageError};

/// How many tags are looked at in one operation.
///
/// Limit: tags that are looked at in one operation before a deletion; test: none, more are looked
/// at in steps.
const STEP: usize = 1000;

/// Why something was not written or deleted.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A tag never changes.
    Immutable(Box<ImmutableTag>),
    /// A quota has no room.
    Quota(Box<OverQuota>),
    /// The storage failed.
    Storage(StorageError),
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl<S: Storage> Store<S> {
    /// Checks that tags can be pushed: those that never change are new, or point to the same
    /// manifest.
    pub(crate) async fn check_tags(
        &self,
        name: &RepositoryName,
        tags: &[Tag],
        digest: &Digest,
    ) -> Result<(), Refusal> {
        let fixed = self.fixed_tags(name, tags);
        let found = try_join_all(fixed.iter().map(|(tag, _)| self.target(name, tag))).await?;
        for ((tag, rule), found) in fixed.into_iter().zip(found) {
            if let Some(found) = found.filter(|found| found != digest) {
                return Err(refused(tag, Some(found), rule, false));
            }
        }
        Ok(())
    }

    /// Those of some tags that never change, in their order, so that of two pushes of the same
    /// tags one creates all of them.
    pub(super) fn fixed_tags<'a>(
        &'a self,
        name: &RepositoryName,
        tags: &'a [Tag],
    ) -> Vec<(&'a Tag, &'a ImmutableRule)> {
        let rule = |tag: &'a Tag| Some((tag, self.immutable.rule(name.as_str(), tag.as_str())?));
        let mut fixed: Vec<_> = tags.iter().filter_map(rule).collect();
        fixed.sort_unstable_by_key(|(tag, _)| *tag);
        fixed
    }

    /// Points a tag that never changes to a manifest.
    pub(super) async fn create_tag(
        &self,
        name: &RepositoryName,
        (tag, rule): (&Tag, &ImmutableRule),
        digest: &Digest,
        media_type: &MediaType,
    ) -> Result<(), Refusal> {
        match self.storage.create_tag(name, tag, digest, media_type).await? {
            Created::Here => Ok(()),
            Created::Elsewhere(found) => Err(refused(tag, Some(found), rule, false)),
        }
    }

    /// Checks that a tag can be deleted.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when it is one that never changes, and is not there: the next
    /// moment it may be.
    pub(super) async fn check_deletable(
        &self,
        name: &RepositoryName,
        tag: &Tag,
    ) -> Result<(), Refusal> {
        let Some(rule) = self.immutable.keeps(name.as_str(), tag.as_str()) else { return Ok(()) };
        let key = Key::Tag(name.clone(), tag.clone());
        let value = self.storage.read(&key).await?;
        match Pointer::parse(&key, &value) {
            Ok(found) => Err(refused(tag, Some(found.digest), rule, true)),
            // It is damaged, and leads nowhere.
            Err(_) => Ok(()),
        }
    }

    /// Checks that no tag of a repository, or of a manifest in it, is one that cannot be deleted.
    pub(super) async fn check_all_deletable(
        &self,
        name: &RepositoryName,
        digest: Option<&Digest>,
    ) -> Result<(), Refusal> {
        if !self.immutable.may_keep(name.as_str()) {
            return Ok(());
        }
        let mut after = None;
        loop {
            let list = NameList::Tags(name.clone());
            let query = NamesQuery { list, values: true, after, limit: STEP };
            let page = self.storage.names(&query).await?;
            self.check_page(name, &page, digest)?;
            match page.names.into_iter().next_back() {
                Some(end) if page.more => after = Some(end),
                _ => return Ok(()),
            }
        }
    }

    /// The same for a page of tags with the digests that they point to.
    pub(super) fn check_page(
        &self,
        name: &RepositoryName,
        page: &Page,
        digest: Option<&Digest>,
    ) -> Result<(), Refusal> {
        for (text, link) in page.names.iter().zip(&page.values) {
            let link = link.trim_end();
            if digest.is_some_and(|digest| link != digest.as_str()) {
                continue;
            }
            let Some(rule) = self.immutable.keeps(name.as_str(), text) else { continue };
            if let (Ok(tag), Ok(found)) = (Tag::parse(text), Digest::parse(link)) {
                return Err(refused(&tag, Some(found), rule, true));
            }
        }
        Ok(())
    }

    /// The refusal to delete a repository in which a tag was found that cannot be deleted.
    pub(super) fn kept(&self, name: &RepositoryName, tag: &Tag) -> Option<Refusal> {
        let rule = self.immutable.keeps(name.as_str(), tag.as_str())?;
        Some(refused(tag, None, rule, true))
    }

    /// The digest that a tag points to, if there is one. What cannot be read is damaged, or else
    /// what comes next fails too.
    pub(crate) async fn target(
        &self,
        name: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<Digest>, StorageError> {
        let key = Key::Tag(name.clone(), tag.clone());
        match self.storage.read(&key).await {
            Ok(value) => Ok(Pointer::parse(&key, &value).ok().map(|pointer| pointer.digest)),
            Err(StorageError::NotFound | StorageError::Failed(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn refused(tag: &Tag, digest: Option<Digest>, rule: &ImmutableRule, deletion: bool) -> Refusal {
    let (tag, rule) = (tag.clone(), rule.name().to_owned());
    Refusal::Immutable(Box::new(ImmutableTag { tag, digest, rule, deletion }))
}
