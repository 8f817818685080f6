//! What a tag has pointed to, newest first.
//!
//! The storage has an entry for each manifest that a tag has pointed to, as distribution keeps it:
//! named after the digest, and written again whenever the tag is pushed with it. So the time of an
//! entry is that of the last push, and what is newest is known only when all entries were read.
//! As many of them are held in memory as the page has.

use super::Store;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use roadstead_oci::{Digest, Manifest, MediaType, Reference, RepositoryName, Tag};
use roadstead_storage::{Collection, Cursor, Entry, Key, Listing, Pages, Storage, StorageError};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::SystemTime;

/// How many entries are listed in one operation.
///
/// Limit: entries of a tag's history that are listed in one operation; test:
/// `a_long_history_is_bounded`.
const STEP: usize = 1000;

/// How many entries are put into order for one request, about.
///
/// Limit: entries of a tag's history that are put into order; test: `a_long_history_is_bounded`.
pub(crate) const LONGEST: usize = 20_000;

/// How many manifests are looked up at a time.
///
/// Limit: manifests of a tag's history that are looked up at a time; test: none, more are looked
/// up in steps.
const CONCURRENT: usize = 8;

/// Which entries of a history are wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct HistoryQuery {
    /// At most so many: the newest.
    pub(crate) limit: usize,
    /// Only older ones.
    pub(crate) before: Option<SystemTime>,
    /// And of those of the time `before` itself, the ones after this digest.
    pub(crate) last: Option<Digest>,
    /// Only newer ones.
    pub(crate) since: Option<SystemTime>,
    /// Only this one.
    pub(crate) digest: Option<Digest>,
}

/// An entry of a history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Recorded {
    /// What the tag pointed to.
    pub(crate) digest: Digest,
    /// Since when; if it was pushed again, the last time.
    pub(crate) at: SystemTime,
    /// Media type and size in bytes, if the repository still has the manifest.
    pub(crate) manifest: Option<(MediaType, u64)>,
}

/// The newest entries of a history.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct HistoryPage {
    /// The entries, the newest first; of one time, in the order of digests.
    pub(crate) entries: Vec<Recorded>,
    /// Whether there are older ones.
    pub(crate) more: bool,
}

/// The newest entries that were found so far.
struct Newest<'a> {
    query: &'a HistoryQuery,
    /// One more than is wanted: so it is known whether there are more.
    found: BTreeSet<(Reverse<SystemTime>, Digest)>,
}

impl Newest<'_> {
    fn take(&mut self, digest: &Digest, at: SystemTime) {
        let HistoryQuery { limit, before, last, since, digest: only } = self.query;
        let older = before.is_none_or(|before| {
            at < before || (at == before && last.as_ref().is_some_and(|last| digest > last))
        });
        let wanted = only.as_ref().is_none_or(|only| only == digest);
        if older && since.is_none_or(|since| at > since) && wanted {
            self.found.insert((Reverse(at), digest.clone()));
            if self.found.len() > limit + 1 {
                self.found.pop_last();
            }
        }
    }
}

impl<S: Storage> Store<S> {
    /// A page of what a tag has pointed to. `None` if that is too long to be put into order.
    pub(crate) async fn tag_history(
        &self,
        name: &RepositoryName,
        tag: &Tag,
        query: &HistoryQuery,
    ) -> Result<Option<HistoryPage>, StorageError> {
        if query.limit == 0 {
            return Ok(Some(HistoryPage::default()));
        }
        let current = self.target(name, tag).await?;
        let mut newest = Newest { query, found: BTreeSet::new() };
        let complete = match &query.digest {
            Some(digest) => self.find_entry(name, tag, digest, &mut newest).await?,
            None => self.read_entries(name, tag, current.as_ref(), &mut newest).await?,
        };
        let Some(is_listed) = complete else { return Ok(None) };
        // The entry of a push that ended early, or beside a deletion, is missing.
        let wanted = query.digest.as_ref().is_none_or(|only| current.as_ref() == Some(only));
        if let (Some(current), false, true) = (&current, is_listed, wanted)
            && let Some(at) = self.tag_time(name, tag).await?
        {
            newest.take(current, at);
        }
        let more = newest.found.len() > query.limit;
        let found = newest.found.into_iter().take(query.limit);
        let entries = found.map(async |(Reverse(at), digest)| {
            let manifest = self.description(name, &digest).await?;
            Ok::<_, StorageError>(Recorded { digest, at, manifest })
        });
        let entries = stream::iter(entries).buffered(CONCURRENT).try_collect().await?;
        Ok(Some(HistoryPage { entries, more }))
    }

    /// Reads all entries, and says whether one is of `current`; `None` if they are too many.
    async fn read_entries(
        &self,
        name: &RepositoryName,
        tag: &Tag,
        current: Option<&Digest>,
        newest: &mut Newest<'_>,
    ) -> Result<Option<bool>, StorageError> {
        let collection = Collection::TagHistory(name.clone(), tag.clone());
        let mut pages = Pages::new(&collection, None, STEP);
        let mut is_listed = false;
        // A page may have less than it could: what it skips is no entry.
        for _ in 0..LONGEST / STEP {
            let Some(entries) = pages.next(&self.storage).await? else {
                return Ok(Some(is_listed));
            };
            for entry in entries {
                if let Key::TagHistory(.., digest) = &entry.key {
                    is_listed |= current == Some(digest);
                    newest.take(digest, entry.modified);
                }
            }
        }
        Ok(pages.cursor().is_none().then_some(is_listed))
    }

    /// Reads the entry of a digest, and says whether there is one.
    async fn find_entry(
        &self,
        name: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        newest: &mut Newest<'_>,
    ) -> Result<Option<bool>, StorageError> {
        let collection = Collection::TagHistory(name.clone(), tag.clone());
        let key = Key::TagHistory(name.clone(), tag.clone(), digest.clone());
        let found = self.entry(&collection, &key).await?;
        if let Some(entry) = &found {
            newest.take(digest, entry.modified);
        }
        Ok(Some(found.is_some()))
    }

    /// When a tag was written.
    async fn tag_time(
        &self,
        name: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<SystemTime>, StorageError> {
        let key = Key::Tag(name.clone(), tag.clone());
        let found = self.entry(&Collection::Tags(name.clone()), &key).await?;
        Ok(found.map(|entry| entry.modified))
    }

    /// The entry of a collection that is this object.
    pub(crate) async fn entry(
        &self,
        collection: &Collection,
        key: &Key,
    ) -> Result<Option<Entry>, StorageError> {
        let text = key.to_string();
        let before = text.strip_prefix(&collection.prefix());
        // A link is alone in its directory, whose name comes just before it.
        let before = before.and_then(|place| place.strip_suffix("/link"));
        let Some(before) = before else { return Ok(None) };
        let cursor = Cursor(before.to_owned());
        let Listing { entries, .. } = self.storage.enumerate(collection, Some(&cursor), 1).await?;
        Ok(entries.into_iter().find(|entry| entry.key == *key))
    }

    /// Media type and size of a manifest, if the repository has it, or a collector has taken it
    /// away and a pull by digest would bring it back.
    async fn description(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<(MediaType, u64)>, StorageError> {
        let reference = Reference::Digest(digest.clone());
        let media_type = match self.storage.manifest_stat(name, &reference).await {
            Ok(stat) => match stat.media_type {
                Some(media_type) => return Ok(Some((media_type, stat.size))),
                None => None,
            },
            Err(StorageError::NotFound) => match self.moved_revision(name, digest).await? {
                Some(moved) if !moved.expired => moved.media_type,
                _ => return Ok(None),
            },
            // A damaged link hides nothing of the others.
            Err(StorageError::Failed(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        match self.manifest_bytes(digest).await {
            Ok(bytes) => {
                let manifest = Manifest::parse_stored(&bytes, media_type.as_ref());
                let media_type = manifest.map(|manifest| manifest.media_type().clone());
                Ok(media_type.ok().map(|media_type| (media_type, bytes.len() as u64)))
            }
            Err(StorageError::NotFound | StorageError::Failed(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
