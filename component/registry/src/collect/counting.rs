//! Counts what the repositories of a quota hold, in slices that anyone may do: a push, or a
//! collector at the end of its run.
//!
//! A slice reads what the ones before have found, visits further repositories, and stores all of
//! it under a name of its own before the record `counting` says so. So whoever does the same slice
//! at the same time, or dies in it, spoils nothing; if what was found is gone, the count begins
//! again.

use super::contents::Held;
use super::found::Found;
use super::run::{PAGE, Run};
use crate::store::{Added, Count, Store, blob_hash, tag_hash};
use roadstead_access::QuotaRule;
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::{QuotaName, QuotaRecord, Storage, StorageError};
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// How many blobs a count tells apart. Of a quota that holds more, only these are counted.
///
/// Limit: different blobs that the repositories of a quota hold and that are counted; test:
/// `blobs_are_counted_up_to_a_limit`.
const BLOBS: usize = 500_000;

/// How many blobs of a repository a push looks up, if neither a push nor a count has seen their
/// size: what a manifest says of it may be anything.
///
/// Limit: blobs of a repository whose size a push looks up to count a quota; test: none, more are
/// counted by the next count.
pub(crate) const LOOKED_UP_BY_PUSH: usize = 1000;

/// How many a collector looks up.
///
/// Limit: blobs of a repository whose size a collector looks up to count a quota; test: none, more
/// are counted by the next count.
const LOOKED_UP: usize = 50_000;

/// How many tags that pushes have added a count recognizes.
///
/// Limit: new tags that a count for a quota recognizes; test: none, the rest counts twice until
/// it is a quarter of an hour old.
const ADDED_TAGS: usize = 1000;

/// How many bytes a blob that was found takes, about.
const LINE: u64 = 45;

/// How long a push may take from what it says to add until it has added it. It waits for others
/// for some minutes at most.
///
/// Limit: time after which what a push was to add is not waited for by counts; test:
/// `what_a_push_that_died_was_to_add_counts_for_a_while`.
const SETTLED: Duration = Duration::from_mins(15);

/// How old a count that is not complete may become before it begins again.
///
/// Limit: age of a count for a quota that goes on; test: none, it takes a day.
const VALID: Duration = Duration::from_hours(24);

/// A slice of a count.
struct Slice<'a> {
    rule: &'a QuotaRule,
    /// Sets it apart from others, also of the same count.
    id: u128,
    /// When it begins, by the storage's clock.
    now: SystemTime,
    /// What pushes say to add, as it begins.
    added: Added,
    /// The tags among that.
    added_tags: HashSet<u128>,
    /// What else is remembered of the rule, as it begins.
    rest: Vec<(QuotaRecord, SystemTime)>,
    count: Count,
    found: Found,
    /// Operations that were spent before, and how many may be spent.
    before: u32,
    budget: u32,
    lookups: usize,
}

/// What a slice of a count is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CountOrder {
    /// A count that began before this, in milliseconds since 1970, does not go on.
    pub(crate) since: u64,
    /// None begins if the last one began less than this ago.
    pub(crate) rest: Duration,
    /// About how many operations of the storage it may take, after one repository at least.
    pub(crate) budget: u32,
    /// None goes on, or begins again, that has found more blobs than this.
    pub(crate) blobs: u64,
    /// How many blobs of a repository may be looked up.
    pub(crate) lookups: usize,
}

impl<S: Storage> Store<S> {
    /// Goes on with the count of a rule, or begins one. `true` says that it is complete.
    pub(crate) async fn count_quota(
        &self,
        rule: &QuotaRule,
        order: &CountOrder,
    ) -> Result<bool, StorageError> {
        self.looker().count_slice(rule, order).await
    }
}

impl<S: Storage> Run<'_, S> {
    /// Goes on with the count for the next rule after a run, as far as this slice may. Says
    /// whether all rules are done. What fails is left to pushes.
    pub(super) async fn count_quotas(&mut self) -> Result<bool, StorageError> {
        let store = self.store;
        let Some(rule) = store.quotas.all().get(self.state.quotas) else { return Ok(true) };
        if self.order.dry_run {
            return Ok(true);
        }
        self.alive().await?;
        let order = CountOrder {
            since: millis(self.begun),
            rest: Duration::ZERO,
            budget: self.order.budget.saturating_sub(self.spent),
            blobs: u64::MAX,
            lookups: LOOKED_UP,
        };
        let complete = self.count_slice(rule, &order).await.unwrap_or(true);
        self.state.quotas += usize::from(complete);
        Ok(false)
    }

    async fn count_slice(
        &mut self,
        rule: &QuotaRule,
        order: &CountOrder,
    ) -> Result<bool, StorageError> {
        let Some(quota) = QuotaName::parse(rule.name()) else { return Ok(true) };
        let id = Uuid::new_v4().as_u128();
        let own = QuotaRecord::Begun(id);
        self.store.write_quota_records(&quota, std::iter::once(own)).await?;
        let Some(mut slice) = self.slice_of_count(rule, &quota, id, order).await? else {
            self.store.delete_quota_records(&quota, std::iter::once(own)).await?;
            return Ok(false);
        };
        let complete = self.go_on(&mut slice).await?;
        let former: Vec<QuotaRecord> = slice.count.found().collect();
        let spent = self.spent.saturating_sub(slice.before);
        let Slice { count, found, .. } = &mut slice;
        count.operations = count.operations.saturating_add(spent);
        count.incomplete |= found.is_full;
        count.blobs = found.counted as u64;
        count.bytes = found.all().fold(0, |sum, (_, size)| sum.saturating_add(size));
        self.store.write_found(&quota, id, count, found.all()).await?;
        self.spend(3, count.blobs * LINE);
        if complete {
            count.done = None;
            self.store.write_count(&quota, count.record(), count).await?;
            return self.clear(&quota, &slice).await.map(|()| true);
        }
        self.store.write_count(&quota, QuotaRecord::Counting, count).await?;
        self.store.delete_quota_records(&quota, former.into_iter().chain([own])).await?;
        Ok(false)
    }

    /// Begins a slice, with what is remembered. `None` if none is to be done.
    async fn slice_of_count<'a>(
        &mut self,
        rule: &'a QuotaRule,
        quota: &QuotaName,
        id: u128,
        order: &CountOrder,
    ) -> Result<Option<Slice<'a>>, StorageError> {
        let (before, store) = (self.spent, self.store);
        let (added, rest) = store.quota_records(quota).await?;
        let own = QuotaRecord::Begun(id);
        let now = rest.iter().find(|(record, _)| *record == own).map(|(_, time)| *time);
        let now = now.ok_or_else(|| {
            StorageError::Failed("a list does not show what was written".to_owned())
        })?;
        let last = store.counted(rule, quota).await?;
        let former = store.read_count(quota, QuotaRecord::Counting).await?;
        let mut former = former.filter(|count| {
            let age = Duration::from_millis(millis(now).saturating_sub(count.begun));
            let is_old = last.as_ref().is_some_and(|last| last.begun >= count.begun);
            count.is_of(rule) && count.begun >= order.since && age < VALID && !is_old
        });
        let rests = last.as_ref().is_some_and(|last| last.age(now) < order.rest);
        let blobs = [&former, &last].map(|count| count.as_ref().map_or(0, |count| count.blobs));
        if (rests && former.is_none()) || blobs.iter().any(|blobs| *blobs > order.blobs) {
            return Ok(None);
        }
        self.spend(4, blobs.iter().sum::<u64>().saturating_mul(LINE));
        let mut found = Found::new(BLOBS);
        if let Some(count) = &former {
            let take = |blob, size| {
                found.count(blob, Some(size));
            };
            if !store.read_found(quota, count.found(), take).await? {
                (former, found) = (None, Found::new(BLOBS));
            }
        }
        // Sizes that were seen, and not only said by manifests.
        for (blob, size) in added.blobs() {
            found.know(blob, size);
        }
        if let Some(last) = &last {
            // What is gone is looked up again.
            store.read_found(quota, last.found(), |blob, size| found.know(blob, size)).await?;
        }
        let count = former.unwrap_or_else(|| Count::begin(rule, millis(now)));
        let added_tags = added.tags();
        // As much again as it takes to read and write what was found.
        let budget = order.budget.max(self.spent.saturating_sub(before).saturating_mul(2));
        let lookups = order.lookups;
        Ok(Some(Slice {
            rule,
            id,
            now,
            added,
            added_tags,
            rest,
            count,
            found,
            before,
            budget,
            lookups,
        }))
    }

    /// Visits repositories, and says whether there are no more.
    async fn go_on(&mut self, slice: &mut Slice<'_>) -> Result<bool, StorageError> {
        let (from, to) = slice.rule.bounds();
        // One character less, so that what is just this comes after it.
        let start = from.get(..from.len().saturating_sub(1)).unwrap_or_default();
        let start = start.trim_end_matches(['/', '.', '_', '-']);
        let start = Some(start.to_owned()).filter(|start| !start.is_empty());
        let mut after = slice.count.done.clone().or(start);
        loop {
            let names = self.repositories(after.take(), PAGE).await?;
            let Some(last) = names.last() else { return Ok(true) };
            after = Some(last.as_str().to_owned());
            for name in names {
                let text = name.as_str();
                if text > to.as_str() && !text.starts_with(&to) {
                    return Ok(true);
                }
                if slice.rule.fits(text) {
                    match self.count_repository(slice, &name).await {
                        // Something is damaged, which must not hold up pushes to others.
                        Err(StorageError::Failed(_)) => slice.count.incomplete = true,
                        counted => counted?,
                    }
                }
                slice.count.done = Some(text.to_owned());
                if self.spent.saturating_sub(slice.before) >= slice.budget {
                    return Ok(false);
                }
            }
        }
    }

    async fn count_repository(
        &mut self,
        slice: &mut Slice<'_>,
        name: &RepositoryName,
    ) -> Result<(), StorageError> {
        let mut unseen: BTreeMap<u128, Digest> = BTreeMap::new();
        let Slice { found, count, added_tags, now, lookups, .. } = slice;
        let visited = self.contents(name, *now, |digest, held: Held| {
            let (blob, seen) = (blob_hash(digest), held.seen_size());
            if !found.count(blob, seen) && !unseen.contains_key(&blob) {
                if unseen.len() < *lookups {
                    unseen.insert(blob, digest.clone());
                } else {
                    count.incomplete = true;
                }
            }
        });
        visited.await?;
        // It may be a manifest that was visited after what refers to it.
        unseen.retain(|blob, _| !found.counts(*blob));
        let unseen = unseen.into_values().collect();
        // What is not there takes no space, whatever a manifest says.
        for (digest, size) in self.data_sizes(unseen).await? {
            if let Some(size) = size {
                found.count(blob_hash(&digest), Some(size));
            }
        }
        let tags = self.tag_names(name, |tag| {
            count.tags += 1;
            if !added_tags.is_empty() && count.added_tags.len() < ADDED_TAGS {
                let hash = tag_hash(name.as_str(), tag);
                if added_tags.contains(&hash) {
                    count.added_tags.push(format!("{hash:032x}"));
                }
            }
        });
        tags.await
    }

    /// Deletes what is remembered and no longer needed, after a count: what pushes said to add long
    /// before it began, as it has counted that, and former counts. What was said since stays,
    /// even if it was counted: a count that goes on at the same time may not have found it.
    async fn clear(&mut self, quota: &QuotaName, slice: &Slice<'_>) -> Result<(), StorageError> {
        let Slice { id, added, rest, count, .. } = slice;
        let begun = SystemTime::UNIX_EPOCH + Duration::from_millis(count.begun);
        let is_settled =
            |time: SystemTime| begun.duration_since(time).is_ok_and(|age| age >= SETTLED);
        let is_former = |record: &QuotaRecord| {
            matches!(record, QuotaRecord::Count { .. }) && *record < count.record()
        };
        let former: HashSet<u128> = rest
            .iter()
            .filter_map(|(record, _)| match record {
                QuotaRecord::Count { id, .. } if is_former(record) => Some(*id),
                _ => None,
            })
            .collect();
        let added = added.0.iter().filter(|(_, time)| is_settled(*time));
        let rest = rest.iter().filter(|(record, time)| match record {
            QuotaRecord::Begun(other) => other == id || is_settled(*time),
            QuotaRecord::Found(other, _) => former.contains(other) || is_settled(*time),
            QuotaRecord::Count { .. } => is_former(record),
            QuotaRecord::Counting => true,
            _ => false,
        });
        let records = added.chain(rest).map(|(record, _)| *record);
        self.store.delete_quota_records(quota, records).await
    }
}

/// Milliseconds since 1970.
fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Found;

    #[test]
    fn blobs_are_counted_up_to_a_limit() {
        let mut found = Found::new(2);
        found.know(1, 10);
        // What was seen counts, and not what is said.
        assert!(found.count(1, Some(99)) && found.count(1, None));
        assert!(!found.count(2, None), "its size is not known");
        assert!(found.count(2, Some(5)));
        assert!(!found.is_full && found.counts(2) && !found.counts(3));
        assert!(found.count(3, Some(7)) && found.is_full && !found.counts(3));
        let mut all: Vec<_> = found.all().collect();
        all.sort_unstable();
        assert_eq!(all, [(1, 10), (2, 5)]);
    }
}
