//! Lists of what the archives hold: names for clients, and all objects for maintenance.

use super::index::Repository;
use super::page::Pages;
use super::{ArchiveStore, Contents};
use roadstead_bridge::storage::{LIST_LIMIT, Reply};
use roadstead_oci::Digest;
use roadstead_storage::{Collection, Cursor, Entry, Key, Listing, NameList, NamesQuery, Page};
use std::time::SystemTime;

impl<C: Contents> ArchiveStore<C> {
    /// A page of names; see `Storage::names`.
    pub(super) fn names(&self, query: &NamesQuery) -> Page {
        let mut pages = Pages::new(query);
        match &query.list {
            NameList::Repositories(_) => {
                let (all, no_value) = (self.index.repositories(), String::new);
                pages.take(all, |(name, _)| name.as_str().into(), |_| no_value());
            }
            NameList::Tags(name) => {
                let tags = self.index.repository(name).map_or(&[][..], Repository::tags);
                pages.take(tags, |(tag, _)| tag.as_str().into(), |(_, digest)| digest.to_string());
            }
            NameList::Referrers { repository, subject } => {
                let Some(held) = self.index.repository(repository) else { return Page::default() };
                // Of one that is damaged, the registry lists nothing where the value is empty.
                let value = |(_, digest): &(Digest, Digest)| {
                    self.descriptor(held, digest).ok().flatten().unwrap_or_default()
                };
                pages.take(held.referrers(subject), |(_, digest)| referrer(digest).into(), value);
            }
        }
        pages.page()
    }

    /// A part of a collection. Of what only changes leave behind, archives have nothing.
    pub(super) fn enumerate(
        &self,
        collection: &Collection,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Listing {
        let (prefix, limit) = (collection.prefix(), limit.min(LIST_LIMIT));
        let after = after.map_or("", |cursor| cursor.0.as_str());
        let keys = self.index.keys(collection).into_iter();
        let mut keys: Vec<(String, Key)> = keys
            .filter(|key| !matches!(key, Key::Blob(_)) || self.holds(key))
            .map(|key| (key.to_string().split_off(prefix.len()), key))
            .filter(|(place, _)| place.as_str() > after)
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let more = keys.len() > limit;
        keys.truncate(limit);
        let last = keys.last().map_or(after, |(place, _)| place);
        let next = more.then(|| Cursor(last.to_owned()));
        let entries = keys.into_iter().map(|(_, key)| Entry {
            size: self.value_size(&key),
            key,
            modified: SystemTime::UNIX_EPOCH,
        });
        Listing { entries: entries.collect(), next }
    }

    /// The size of an object that is listed.
    fn value_size(&self, key: &Key) -> u64 {
        match key {
            Key::Blob(digest) => self.contents.size(digest).unwrap_or_default(),
            key => self.read(key).map_or(0, |(reply, _)| match reply {
                Reply::Value { size, .. } => size,
                _ => 0,
            }),
        }
    }
}

/// The name of a referrer in a list.
fn referrer(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().as_str(), digest.encoded())
}
