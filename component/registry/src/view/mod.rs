//! What the registry's page shows: answers that take many small reads.
//!
//! Nothing is decided by them. So each is bounded: it looks at as much as its [`Budget`] allows,
//! shows what it does not know as `null`, and says that it is not complete. What is damaged is
//! shown as unknown and hides nothing of the rest.

mod config;
mod deletion;
mod image;
mod manifest;
mod repositories;
mod tags;
mod text;
mod trash;
mod tree;
mod uploads;

use crate::store::Store;
use crate::time::written;
use bytes::Bytes;
use config::Stored;
use futures::future::LocalBoxFuture;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use manifest::{Kind, Part, Shown};
use roadstead_oci::{Digest, Reference, RepositoryName, Tag};
use roadstead_storage::{
    Collection, Content, Key, NameList, NamesQuery, Pages, Pointer, Storage, StorageError,
    StoredManifest,
};
use serde::Serialize;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant, SystemTime};

/// The version of the answers: it changes when a field changes its meaning.
pub(crate) const VERSION: u32 = 1;

/// How many manifests and configs are read for one answer.
///
/// Limit: manifests and configs that are read for an answer to the page; test:
/// `an_index_with_very_many_children`.
const LOOKS: u32 = 1000;

/// How many bytes of manifests and configs are read for one answer: it ends with those that are
/// read when there are more.
///
/// Limit: bytes of manifests and configs that are read for an answer to the page, about; test:
/// `large_manifests_use_up_an_answer`.
const BYTES: u64 = 16 * 1024 * 1024;

/// For how long an answer looks at more.
///
/// Limit: time for which an answer to the page is gathered; test: none, it takes a slow storage.
const TIME: Duration = Duration::from_secs(10);

/// How many objects are read at a time. Within an index in an index it is one.
///
/// Limit: objects that are read at a time for an answer to the page; test: none, more are read in
/// steps.
const AT_ONCE: usize = 8;

/// How many tags of a repository are looked at for one answer, about.
///
/// Limit: tags of a repository that an answer to the page looks at; test: `more_tags_than_are_looked_at`.
const TAGS: usize = 20_000;

/// How many tags are listed in one operation.
///
/// Limit: tags that are listed in one operation for the page; test: none, more are listed in steps.
const STEP: usize = 1000;

/// Where each object costs a request: of how many tags it is looked up where they point, if that
/// is asked of all.
///
/// Limit: tags in a bucket whose digests an answer to the page looks up; test: `tags_in_a_bucket`.
const BUCKET_DIGESTS: usize = 200;

/// The largest config that is read: 4 MiB.
///
/// Limit: bytes of a config that the page shows; test: `a_config_that_is_too_large`.
const CONFIG: u64 = 4 * 1024 * 1024;

/// The largest config that is read for the platform of an image in a list.
///
/// Limit: bytes of a config that is read for a list; test: none, the platform is not shown.
const LISTED_CONFIG: u64 = 256 * 1024;

/// How deep indexes in indexes are followed for a size.
///
/// Limit: depth of indexes in indexes whose sizes are added up; test: `indexes_in_indexes`.
const DEPTH: u32 = 4;

/// What a caller may do in a repository, as far as rules and settings say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Can {
    pub(crate) push: bool,
    pub(crate) delete: bool,
}

/// How much more an answer may look at.
#[derive(Debug)]
struct Budget {
    left: Cell<u32>,
    bytes: Cell<u64>,
    end: Instant,
    has_failed: Cell<bool>,
}

impl Budget {
    fn new(left: u32) -> Self {
        Self::within(left, TIME)
    }

    fn within(left: u32, time: Duration) -> Self {
        let (left, bytes, end) = (Cell::new(left), Cell::new(BYTES), Instant::now() + time);
        Self { left, bytes, end, has_failed: Cell::new(false) }
    }

    /// Takes one look; `false` if there is none left.
    fn take(&self) -> bool {
        let left = self.left.get();
        let is_left = left > 0 && self.bytes.get() > 0 && Instant::now() < self.end;
        self.has_failed.set(self.has_failed.get() || !is_left);
        self.left.set(left.saturating_sub(1));
        is_left
    }

    /// Counts bytes that a look has read.
    fn read(&self, bytes: u64) {
        self.bytes.set(self.bytes.get().saturating_sub(bytes));
    }

    /// Sets looks aside, at most so many.
    fn reserve(&self, most: u32) -> u32 {
        let reserved = self.left.get().min(most);
        self.left.set(self.left.get() - reserved);
        reserved
    }

    /// Gives back what was reserved and not taken.
    fn give_back(&self, looks: u32) {
        self.left.set(self.left.get().saturating_add(looks));
    }

    /// Whether everything could be looked at.
    fn was_enough(&self) -> bool {
        !self.has_failed.get()
    }
}

/// A manifest that was read.
struct Look {
    digest: Digest,
    bytes: Bytes,
    shown: Shown,
}

/// A tag as it is listed.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Listed {
    name: String,
    pushed: SystemTime,
}

/// A time as it is shown; `None` where the storage has none, such as archives that are served.
fn shown_time(time: SystemTime) -> Option<String> {
    (time != SystemTime::UNIX_EPOCH).then(|| written(time))
}

/// `None` of what is not there or is damaged.
fn known<T>(result: Result<T, StorageError>) -> Result<Option<T>, StorageError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(StorageError::NotFound | StorageError::LinkMoved | StorageError::Failed(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

impl<S: Storage> Store<S> {
    /// Reads a manifest of a repository. It does not count as pulled.
    async fn look(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<Look, StorageError> {
        let StoredManifest { digest, media_type, content, .. } =
            self.storage.manifest(name, reference).await?;
        let bytes = match content {
            Content::Bytes(bytes) => bytes,
            Content::Stream(_) => self.manifest_bytes(&digest).await?,
        };
        let shown = Shown::of(&bytes, media_type.as_ref());
        Ok(Look { digest, bytes, shown })
    }

    /// The same by digest, if it can be read and the budget allows it.
    async fn look_at(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        budget: &Budget,
    ) -> Result<Option<Look>, StorageError> {
        if !budget.take() {
            return Ok(None);
        }
        let look = known(self.look(name, &Reference::Digest(digest.clone())).await)?;
        budget.read(look.as_ref().map_or(0, |look| look.bytes.len() as u64));
        Ok(look)
    }

    /// Reads the config of an image, unless it is larger than `limit` bytes, damaged, or not of
    /// the repository, whatever the manifest says.
    async fn read_config(
        &self,
        name: &RepositoryName,
        config: &Part,
        limit: u64,
        budget: &Budget,
    ) -> Result<Option<Stored>, StorageError> {
        if config.size.0.is_none_or(|size| size > limit) || !budget.take() {
            return Ok(None);
        }
        // Read whole below, whoever holds it.
        let held = known(self.storage.blob_size(name, &config.digest).await)?;
        if held.is_none_or(|size| size > limit) {
            return Ok(None);
        }
        let bytes = known(self.storage.read(&Key::Blob(config.digest.clone())).await)?;
        budget.read(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64));
        Ok(bytes.and_then(|bytes| Stored::of(&bytes)))
    }

    /// The bytes of all that a manifest refers to, with itself; `None` if a part of it is not
    /// known. An index counts each manifest once, and an image each blob.
    fn total<'a>(
        &'a self,
        name: &'a RepositoryName,
        (own, shown): (u64, &'a Shown),
        depth: u32,
        budget: &'a Budget,
    ) -> LocalBoxFuture<'a, Result<Option<u64>, StorageError>> {
        Box::pin(async move {
            if shown.kind() != Kind::Index {
                return Ok(shown.content_size().map(|size| own.saturating_add(size)));
            }
            let children = self.child_totals(name, shown, depth, budget).await?;
            let sum = children
                .into_values()
                .try_fold(own, |sum, total| total.map(|total| sum.saturating_add(total)));
            Ok(sum.filter(|_| !shown.manifests.is_cut))
        })
    }

    /// The same of each manifest that an index lists.
    async fn child_totals(
        &self,
        name: &RepositoryName,
        index: &Shown,
        depth: u32,
        budget: &Budget,
    ) -> Result<BTreeMap<Digest, Option<u64>>, StorageError> {
        let digests: BTreeSet<&Digest> =
            index.manifests.kept.iter().map(|child| &child.digest).collect();
        let totals = digests.into_iter().map(async |digest| {
            if depth >= DEPTH {
                return Ok((digest.clone(), None));
            }
            let Some(look) = self.look_at(name, digest, budget).await? else {
                return Ok((digest.clone(), None));
            };
            // Its bytes are not kept for as long as those below it are read.
            let Look { bytes, shown, .. } = look;
            let own = bytes.len() as u64;
            drop(bytes);
            let total = self.total(name, (own, &shown), depth + 1, budget).await?;
            Ok::<_, StorageError>((digest.clone(), total))
        });
        let at_once = if depth == 0 { AT_ONCE } else { 1 };
        stream::iter(totals).buffer_unordered(at_once).try_collect().await
    }

    /// Whether the storage takes a request for each object.
    fn costs_requests(&self) -> bool {
        self.storage.marker().is_some()
    }

    /// The tags of a repository, by name, and whether these are all.
    async fn listed_tags(
        &self,
        name: &RepositoryName,
    ) -> Result<(Vec<Listed>, bool), StorageError> {
        let collection = Collection::Tags(name.clone());
        let mut pages = Pages::new(&collection, None, STEP);
        let mut tags = Vec::new();
        // A page may have less than it could.
        for _ in 0..TAGS / STEP {
            let Some(entries) = pages.next(&self.storage).await? else { break };
            tags.extend(entries.into_iter().filter_map(|entry| match entry.key {
                Key::Tag(_, tag) => {
                    Some(Listed { name: tag.as_str().to_owned(), pushed: entry.modified })
                }
                _ => None,
            }));
        }
        tags.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok((tags, pages.cursor().is_none()))
    }

    /// Where tags point, of as many as can be looked up; and whether that are all.
    async fn all_digests(
        &self,
        name: &RepositoryName,
        tags: &[Listed],
    ) -> Result<(HashMap<String, Digest>, bool), StorageError> {
        if self.costs_requests() {
            let some: Vec<&str> =
                tags.iter().take(BUCKET_DIGESTS).map(|tag| tag.name.as_str()).collect();
            return Ok((self.digests_of(name, &some).await?, tags.len() <= BUCKET_DIGESTS));
        }
        let (mut found, mut after) = (HashMap::new(), None);
        for _ in 0..TAGS / STEP {
            let query =
                NamesQuery { list: NameList::Tags(name.clone()), values: true, after, limit: STEP };
            let page = self.storage.names(&query).await?;
            let digests = page.values.iter().map(|link| Digest::parse(link.trim_end()).ok());
            let pairs = page.names.iter().cloned().zip(digests);
            found.extend(pairs.filter_map(|(tag, digest)| Some((tag, digest?))));
            after = page.names.into_iter().next_back().filter(|_| page.more);
            if after.is_none() {
                return Ok((found, true));
            }
        }
        Ok((found, false))
    }

    /// Where some tags point. What is damaged points nowhere.
    async fn digests_of(
        &self,
        name: &RepositoryName,
        tags: &[&str],
    ) -> Result<HashMap<String, Digest>, StorageError> {
        let reads = tags.iter().map(async |text| {
            let Ok(tag) = Tag::parse(text) else { return Ok(None) };
            let key = Key::Tag(name.clone(), tag);
            let value = known(self.storage.read(&key).await)?;
            let pointer = value.and_then(|value| Pointer::parse(&key, &value).ok());
            Ok::<_, StorageError>(pointer.map(|pointer| ((*text).to_owned(), pointer.digest)))
        });
        let found: Vec<_> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES, Budget, shown_time};
    use std::time::{Duration, SystemTime};

    #[test]
    fn budgets() {
        let budget = Budget::new(3);
        assert!(budget.take() && budget.was_enough());
        assert_eq!(budget.reserve(5), 2, "no more than there is");
        assert!(!budget.take() && !budget.was_enough());
        budget.give_back(1);
        assert!(budget.take() && !budget.take());
        assert!(!budget.was_enough(), "something was left out");
        let budget = Budget::new(10);
        assert_eq!((budget.reserve(5), budget.reserve(3), budget.reserve(5)), (5, 3, 2));
        assert!(budget.was_enough(), "nothing was asked for in vain");
        let budget = Budget::new(10);
        budget.read(BYTES - 1);
        assert!(budget.take());
        budget.read(7);
        assert!(!budget.take() && !budget.was_enough());
    }

    #[test]
    fn times_that_a_storage_has() {
        assert_eq!(shown_time(SystemTime::UNIX_EPOCH), None);
        let later = SystemTime::UNIX_EPOCH + Duration::from_mins(1);
        assert_eq!(shown_time(later).as_deref(), Some("1970-01-01T00:01:00Z"));
    }
}
