//! What is remembered of a rule of quotas, as it is stored.

use super::count::Count;
use crate::store::Store;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use roadstead_access::QuotaRule;
use roadstead_storage::{
    Collection, Cursor, Entry, Key, Pages, QuotaName, QuotaRecord, Storage, StorageError,
};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::time::SystemTime;

/// How many objects of a quota are read, written or deleted at a time.
///
/// Limit: objects of a quota that are read, written or deleted at a time; test: none, more are
/// in steps.
const AT_ONCE: usize = 8;

/// How many objects are listed in one operation.
///
/// Limit: objects of a quota that are listed in one operation; test: none, more are listed in
/// steps.
const PAGE: usize = 1000;

/// What the names of complete counts begin with.
const COUNTS: &str = "count-";

/// How often the last count is looked for, if others replace it meanwhile.
///
/// Limit: looks for what was counted for a quota; test: none, it takes as many counts at the same
/// moment.
const LOOKS: usize = 3;

/// How many blobs and tags that were added since the last count are looked at.
///
/// Limit: blobs and tags that were added since the last count of a quota and that a push looks
/// at; test: none, it would take as many pushes.
const ADDED: usize = 20_000;

/// What pushes say to add.
#[derive(Clone, Debug, Default)]
pub(crate) struct Added(pub(crate) Vec<(QuotaRecord, SystemTime)>);

impl Added {
    /// Takes an entry of a list, if it is of the kind.
    fn take(&mut self, entry: &Entry) -> bool {
        match entry.key {
            Key::Quota(
                _,
                record @ (QuotaRecord::AddedBlob { .. } | QuotaRecord::AddedTag { .. }),
            ) if self.0.len() < ADDED => {
                self.0.push((record, entry.modified));
                true
            }
            _ => false,
        }
    }

    /// The blobs that were added, with their sizes.
    pub(crate) fn blobs(&self) -> HashMap<u128, u64> {
        let blobs = self.0.iter().filter_map(|(record, _)| match record {
            QuotaRecord::AddedBlob { blob, size, .. } => Some((*blob, *size)),
            _ => None,
        });
        blobs.collect()
    }

    /// The tags that were added.
    pub(crate) fn tags(&self) -> HashSet<u128> {
        let tags = self.0.iter().filter_map(|(record, _)| match record {
            QuotaRecord::AddedTag { tag, .. } => Some(*tag),
            _ => None,
        });
        tags.collect()
    }

    /// Forgets what was counted.
    pub(crate) fn forget(&mut self, count: &Count, blobs: &BTreeMap<u128, u64>) {
        self.0.retain(|(record, _)| match record {
            QuotaRecord::AddedBlob { blob, .. } => !blobs.contains_key(blob),
            QuotaRecord::AddedTag { tag, .. } => !count.has_tag(*tag),
            _ => false,
        });
    }

    /// Without what one push adds, and the time at which it has said so.
    pub(crate) fn without(self, push: u128) -> (Self, Option<SystemTime>) {
        let (own, others): (Vec<_>, Vec<_>) = self.0.into_iter().partition(|(record, _)| {
            matches!(record,
                QuotaRecord::AddedBlob { id, .. } | QuotaRecord::AddedTag { id, .. } if *id == push)
        });
        (Self(others), own.last().map(|(_, time)| *time))
    }
}

impl<S: Storage> Store<S> {
    /// What one count has found, or has found so far. What is damaged was not counted.
    pub(crate) async fn read_count(
        &self,
        quota: &QuotaName,
        record: QuotaRecord,
    ) -> Result<Option<Count>, StorageError> {
        match self.storage.read(&Key::Quota(quota.clone(), record)).await {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(StorageError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What was counted for a rule: by the complete count that began last, if it was for the same
    /// repositories.
    pub(crate) async fn counted(
        &self,
        rule: &QuotaRule,
        quota: &QuotaName,
    ) -> Result<Option<Count>, StorageError> {
        let collection = Collection::Quota(quota.clone());
        for _ in 0..LOOKS {
            let mut pages = Pages::new(&collection, Some(Cursor(COUNTS.to_owned())), PAGE);
            let mut last = None;
            'list: while let Some(entries) = pages.next(&self.storage).await? {
                for entry in entries {
                    match entry.key {
                        // They are in order.
                        Key::Quota(_, record @ QuotaRecord::Count { .. }) => last = Some(record),
                        _ => break 'list,
                    }
                }
            }
            let Some(last) = last else { return Ok(None) };
            // One that is gone by now was replaced.
            if let Some(count) = self.read_count(quota, last).await? {
                return Ok(Some(count).filter(|count| count.is_of(rule)));
            }
        }
        Ok(None)
    }

    pub(crate) async fn write_count(
        &self,
        quota: &QuotaName,
        record: QuotaRecord,
        count: &Count,
    ) -> Result<(), StorageError> {
        let text = serde_json::to_vec(count);
        let text = text.map_err(|error| StorageError::Failed(error.to_string()))?;
        self.storage.write(&Key::Quota(quota.clone(), record), text.into()).await
    }

    /// The blobs of some parts with their sizes; `None` if a part is gone.
    pub(crate) async fn read_found(
        &self,
        quota: &QuotaName,
        parts: impl Iterator<Item = QuotaRecord>,
        mut visit: impl FnMut(u128, u64),
    ) -> Result<bool, StorageError> {
        let reads = parts.map(|part| self.read_part(quota, part));
        let mut read = stream::iter(reads).buffered(AT_ONCE);
        while let Some(text) = read.try_next().await? {
            let Some(text) = text else { return Ok(false) };
            for line in text.split(|byte| *byte == b'\n') {
                let line = std::str::from_utf8(line).ok().and_then(|line| line.split_once(' '));
                let Some((blob, size)) = line else { continue };
                if let (Ok(blob), Ok(size)) = (u128::from_str_radix(blob, 16), size.parse()) {
                    visit(blob, size);
                }
            }
        }
        Ok(true)
    }

    async fn read_part(
        &self,
        quota: &QuotaName,
        part: QuotaRecord,
    ) -> Result<Option<Bytes>, StorageError> {
        match self.storage.read(&Key::Quota(quota.clone(), part)).await {
            Ok(text) => Ok(Some(text)),
            Err(StorageError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores blobs in parts under a name, of which the count tells then.
    pub(crate) async fn write_found(
        &self,
        quota: &QuotaName,
        id: u128,
        count: &mut Count,
        blobs: impl Iterator<Item = (u128, u64)>,
    ) -> Result<(), StorageError> {
        count.divide(id, count.blobs);
        let mut parts: BTreeMap<QuotaRecord, String> =
            count.found().map(|part| (part, String::new())).collect();
        for (blob, size) in blobs {
            if let Some(text) = count.part(blob).and_then(|part| parts.get_mut(&part)) {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{blob:032x} {size}");
            }
        }
        let writes = parts.into_iter().map(|(part, text)| async move {
            self.storage.write(&Key::Quota(quota.clone(), part), text.into()).await
        });
        stream::iter(writes).buffered(AT_ONCE).try_collect().await
    }

    /// Writes records without a value.
    pub(crate) async fn write_quota_records(
        &self,
        quota: &QuotaName,
        records: impl Iterator<Item = QuotaRecord>,
    ) -> Result<(), StorageError> {
        let writes = records.map(|record| async move {
            self.storage.write(&Key::Quota(quota.clone(), record), Bytes::new()).await
        });
        stream::iter(writes).buffered(AT_ONCE).try_collect().await
    }

    /// Deletes records.
    pub(crate) async fn delete_quota_records(
        &self,
        quota: &QuotaName,
        records: impl Iterator<Item = QuotaRecord>,
    ) -> Result<(), StorageError> {
        let deletions = records.map(|record| async move {
            self.storage.delete(&Key::Quota(quota.clone(), record)).await
        });
        stream::iter(deletions).buffered(AT_ONCE).try_collect().await
    }

    /// What pushes say to add. They come first among the records of a rule.
    pub(crate) async fn quota_added(&self, quota: &QuotaName) -> Result<Added, StorageError> {
        let collection = Collection::Quota(quota.clone());
        let mut pages = Pages::new(&collection, None, PAGE);
        let mut added = Added::default();
        while let Some(entries) = pages.next(&self.storage).await? {
            if !entries.iter().all(|entry| added.take(entry)) {
                break;
            }
        }
        Ok(added)
    }

    /// All that is remembered of a rule: what pushes say to add, and the rest.
    pub(crate) async fn quota_records(
        &self,
        quota: &QuotaName,
    ) -> Result<(Added, Vec<(QuotaRecord, SystemTime)>), StorageError> {
        let collection = Collection::Quota(quota.clone());
        let mut pages = Pages::new(&collection, None, PAGE);
        let (mut added, mut rest) = (Added::default(), Vec::new());
        while let Some(entries) = pages.next(&self.storage).await? {
            for entry in &entries {
                let Key::Quota(_, record) = &entry.key else { continue };
                // What is added and not taken, as there is too much of it, must not take the place of
                // the rest.
                let is_added =
                    matches!(record, QuotaRecord::AddedBlob { .. } | QuotaRecord::AddedTag { .. });
                if !added.take(entry) && !is_added && rest.len() < ADDED {
                    rest.push((*record, entry.modified));
                }
            }
        }
        Ok((added, rest))
    }
}
