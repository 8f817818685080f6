//! What is remembered of a rule of quotas, as it is stored.

use crate::store::Store;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use roadstead_access::QuotaRule;
use roadstead_storage::{
    Collection, Cursor, Entry, Key, Pages, QuotaName, QuotaRecord, Storage, StorageError,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

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

/// How many blobs one part of what a count has found has, about.
///
/// Limit: blobs in one part of what a count for a quota has found, about; test:
/// `blobs_are_kept_in_parts`.
const PART: u64 = 4096;

/// What a count has found, or has found so far.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Count {
    /// A hash of the rule's patterns.
    repositories: String,
    /// The name under which the blobs are stored, as 32 hexadecimal digits.
    pub(crate) id: String,
    /// In how many parts.
    parts: u16,
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
    pub(crate) tags: u64,
    /// When it began, in milliseconds since 1970 by the storage's clock.
    pub(crate) begun: u64,
    /// Operations of the storage that it took.
    pub(crate) operations: u32,
    /// If it goes on: the last repository that was visited.
    pub(crate) done: Option<String>,
    /// Those of the tags that pushes say to add and that it has counted, as their records name
    /// them.
    pub(crate) added_tags: Vec<String>,
    /// Whether there are more blobs than were counted.
    pub(crate) incomplete: bool,
}

/// What pushes say to add.
#[derive(Clone, Debug, Default)]
pub(crate) struct Added(pub(crate) Vec<(QuotaRecord, SystemTime)>);

impl Count {
    /// The beginning of a count.
    pub(crate) fn begin(rule: &QuotaRule, begun: u64) -> Self {
        Self { repositories: patterns(rule), begun, ..Self::default() }
    }

    /// Whether it is of the repositories that the rule is for.
    pub(crate) fn is_of(&self, rule: &QuotaRule) -> bool {
        self.repositories == patterns(rule)
    }

    /// How long before `now` it began, both by the storage's clock.
    pub(crate) fn age(&self, now: SystemTime) -> Duration {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(Duration::from_millis(self.begun))
    }

    /// The record of it when it is complete.
    pub(crate) fn record(&self) -> QuotaRecord {
        let id = u128::from_str_radix(&self.id, 16).unwrap_or_default();
        QuotaRecord::Count { begun: self.begun, id }
    }

    /// Whether it has counted a tag that a push says to add.
    pub(crate) fn has_tag(&self, tag: u128) -> bool {
        let text = format!("{tag:032x}");
        self.added_tags.contains(&text)
    }

    /// The parts of the blobs, unless there are none.
    pub(crate) fn found(&self) -> impl Iterator<Item = QuotaRecord> + use<> {
        let id = u128::from_str_radix(&self.id, 16).ok();
        let parts = (0..self.parts.min(256)).filter_map(|part| u8::try_from(part).ok());
        parts.filter_map(move |part| Some(QuotaRecord::Found(id?, part)))
    }

    /// The part in which a blob is, if it was found.
    pub(crate) fn part(&self, blob: u128) -> Option<QuotaRecord> {
        let id = u128::from_str_radix(&self.id, 16).ok()?;
        let shift = match self.parts {
            0 => return None,
            1 => return Some(QuotaRecord::Found(id, 0)),
            16 => 124,
            _ => 120,
        };
        u8::try_from(blob >> shift).ok().map(|part| QuotaRecord::Found(id, part))
    }

    /// Divides so many blobs into parts that are stored under a name.
    fn divide(&mut self, id: u128, blobs: u64) {
        self.id = format!("{id:032x}");
        self.parts = match blobs {
            0..=PART => 1,
            _ if blobs <= 16 * PART => 16,
            _ => 256,
        };
    }
}

/// A hash of a rule's patterns.
fn patterns(rule: &QuotaRule) -> String {
    base16(&Sha256::digest(rule.repositories()))
}

fn base16(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// By what a tag of a repository is told apart from others.
pub(crate) fn tag_hash(repository: &str, tag: &str) -> u128 {
    let hash = Sha256::digest(format!("{repository}:{tag}"));
    hash.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

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
                if let Key::Quota(_, record) = &entry.key
                    && !added.take(entry)
                    && rest.len() < ADDED
                {
                    rest.push((*record, entry.modified));
                }
            }
        }
        Ok((added, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::{Count, PART, tag_hash};
    use roadstead_storage::QuotaRecord;

    #[test]
    fn blobs_are_kept_in_parts() {
        for (blobs, parts) in [(0, 1), (PART, 1), (PART + 1, 16), (65_536, 16), (65_537, 256)] {
            let mut count = Count::default();
            assert_eq!(count.part(7), None);
            count.divide(9, blobs);
            let all: Vec<_> = count.found().collect();
            assert_eq!(all.len(), parts, "{blobs}");
            for blob in [0, 7, u128::MAX, u128::MAX / 3] {
                assert!(all.contains(&count.part(blob).unwrap()), "{blobs} {blob}");
            }
            assert_eq!(all.last(), count.part(u128::MAX).as_ref());
            assert!(matches!(all[0], QuotaRecord::Found(9, 0)));
        }
    }

    #[test]
    fn tags_are_told_apart() {
        assert_eq!(tag_hash("a", "b"), tag_hash("a", "b"));
        assert_ne!(tag_hash("a", "b"), tag_hash("a/b", "b"));
    }
}
