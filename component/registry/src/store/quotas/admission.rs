//! Pushes, as far as quotas admit them.

use super::count::{Count, blob_hash, tag_hash};
use super::records::Added;
use crate::collect::{CountOrder, LOOKED_UP_BY_PUSH};
use crate::over_quota::{OverQuota, Resource};
use crate::store::{Refusal, Store};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use roadstead_access::QuotaRule;
use roadstead_oci::{Digest, Manifest, Reference, RepositoryName, Tag};
use roadstead_storage::{Key, QuotaName, QuotaRecord, Storage, StorageError};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// How many blobs of a push have their size looked up at a time.
///
/// Limit: blobs of a push that are looked at for a quota at a time; test: none, more are looked at
/// in steps.
const AT_ONCE: usize = 8;

/// How many operations of the storage a push spends on a count, about: pushes go on with one that
/// takes more.
///
/// Limit: operations of a count for a quota that one push does, about; test:
/// `a_count_goes_on_push_by_push`.
const BUDGET: u32 = 100;

/// How many blobs a count has found, at most, that pushes go on with: what was found is read and
/// written again by each slice.
///
/// Limit: blobs of a quota that pushes count, of more a collection does; test:
/// `large_counts_are_left_to_collections`.
const BLOBS: u64 = 20_000;

/// How often a push says what it adds, if counts end meanwhile.
///
/// Limit: attempts of a push beside counts for its quota; test: none, it takes as many counts at
/// the same moment.
const ATTEMPTS: usize = 5;

/// How old a count is when pushes count again. One that takes many operations is that many seconds
/// old at least.
///
/// Limit: age of a count for a quota from which pushes count again; test:
/// `what_no_manifest_refers_to_counts_for_some_days`.
const COUNTED_AGAIN: Duration = Duration::from_mins(15);

/// How old a count is when what is to be refused by it is counted again.
///
/// Limit: age of a count for a quota from which a push is not refused by it; test:
/// `space_comes_back_when_it_is_counted`.
const REFUSED_BY: Duration = Duration::from_secs(2);

/// What is pushed.
pub(crate) struct Push<'a> {
    /// The repository.
    pub(crate) name: &'a RepositoryName,
    /// The manifest's digest.
    pub(crate) digest: &'a Digest,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// What it refers to.
    pub(crate) manifest: &'a Manifest,
    /// The tags that are set.
    pub(crate) tags: &'a [Tag],
}

/// What a push was admitted to add, to be taken back if it fails.
#[derive(Debug, Default)]
pub(crate) struct Admission(Vec<(QuotaName, QuotaRecord)>);

/// What of a push is new under a rule.
#[derive(Default)]
struct New {
    blobs: BTreeMap<u128, u64>,
    tags: Vec<u128>,
}

/// How much is used, and how much one push needs besides.
#[derive(Clone, Copy, Default)]
struct Usage {
    bytes: u64,
    needed_bytes: u64,
    tags: u64,
    needed_tags: u64,
}

impl New {
    fn is_empty(&self) -> bool {
        self.blobs.is_empty() && self.tags.is_empty()
    }

    /// What says that a push adds this.
    fn records(&self, id: u128) -> Vec<QuotaRecord> {
        let blobs = self.blobs.iter();
        let blobs = blobs.map(|(&blob, &size)| QuotaRecord::AddedBlob { blob, size, id });
        blobs.chain(self.tags.iter().map(|&tag| QuotaRecord::AddedTag { tag, id })).collect()
    }
}

impl Usage {
    fn of(count: Option<&Count>, others: &Added, new: &New) -> Self {
        let (blobs, tags) = (others.blobs(), others.tags());
        let needed = new.blobs.iter().filter(|(blob, _)| !blobs.contains_key(blob));
        let needed_tags = new.tags.iter().filter(|tag| !tags.contains(tag)).count();
        let sum = |sizes: &mut dyn Iterator<Item = u64>| sizes.fold(0, u64::saturating_add);
        let counted = count.map_or((0, 0), |count| (count.bytes, count.tags));
        Self {
            bytes: counted.0.saturating_add(sum(&mut blobs.values().copied())),
            needed_bytes: sum(&mut needed.map(|(_, size)| *size)),
            tags: counted.1.saturating_add(tags.len() as u64),
            needed_tags: needed_tags as u64,
        }
    }

    /// Which limit a push exceeds that adds something. What others say to add may not come.
    fn over(&self, rule: &QuotaRule, new: &New) -> Option<OverQuota> {
        let exceeds = |used: u64, needed: u64, limit: u64| used.saturating_add(needed) > limit;
        let rule_name = || rule.name().to_owned();
        if let Some(limit) = rule.bytes()
            && !new.blobs.is_empty()
            && exceeds(self.bytes, self.needed_bytes, limit)
        {
            let (used, needed) = (self.bytes, Some(self.needed_bytes));
            return Some(OverQuota {
                rule: rule_name(),
                resource: Resource::Bytes,
                used,
                limit,
                needed,
            });
        }
        let limit = rule.tags()?;
        let is_over = !new.tags.is_empty() && exceeds(self.tags, self.needed_tags, limit);
        is_over.then(|| OverQuota {
            rule: rule_name(),
            resource: Resource::Tags,
            used: self.tags,
            limit,
            needed: Some(self.needed_tags),
        })
    }
}

impl<S: Storage> Store<S> {
    /// Admits a push before anything of it is stored, or refuses it if a quota has no room. Says
    /// in the storage what it adds.
    pub(crate) async fn admit(&self, push: &Push<'_>) -> Result<Admission, Refusal> {
        let mut admission = Admission::default();
        for rule in self.quotas.rules(push.name.as_str()) {
            let Some(quota) = QuotaName::parse(rule.name()) else { continue };
            if let Err(refusal) = self.admit_by(rule, &quota, push, &mut admission).await {
                self.withdraw(admission).await;
                return Err(refusal);
            }
        }
        Ok(admission)
    }

    /// Takes back what a push that failed was to add, as far as possible: the rest counts for a
    /// quarter of an hour.
    pub(crate) async fn withdraw(&self, admission: Admission) {
        let deletions = admission.0.into_iter().map(|(quota, record)| async move {
            let _ = self.storage.delete(&Key::Quota(quota, record)).await;
        });
        stream::iter(deletions).buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    async fn admit_by(
        &self,
        rule: &QuotaRule,
        quota: &QuotaName,
        push: &Push<'_>,
        admission: &mut Admission,
    ) -> Result<(), Refusal> {
        let mut counted_again = false;
        for _ in 0..ATTEMPTS {
            let count = self.counted(rule, quota).await?;
            let mut new = self.new_under(rule, quota, count.as_ref(), push).await?;
            if new.is_empty() {
                return Ok(());
            }
            let id = Uuid::new_v4().as_u128();
            let records = new.records(id);
            let before = admission.0.len();
            admission.0.extend(records.iter().map(|record| (quota.clone(), *record)));
            self.write_quota_records(quota, records.into_iter()).await?;
            let (others, now) = self.quota_added(quota).await?.without(id);
            // After the list: what is no longer in that was counted before.
            let counted = self.counted(rule, quota).await?;
            let is_same = counted.as_ref().map(Count::record) == count.as_ref().map(Count::record);
            let is_due = !counted_again && counted.as_ref().is_none_or(|count| is_due(count, now));
            let over = if is_same {
                self.over(rule, quota, push, counted.as_ref(), others, &mut new).await?
            } else {
                None
            };
            if is_same && !is_due && over.is_none() {
                return Ok(());
            }
            self.withdraw(Admission(admission.0.split_off(before))).await;
            if is_same {
                let counts = !counted_again && self.count_by_push(rule).await?;
                if let Some(over) = over.filter(|_| !counts) {
                    return Err(Refusal::Quota(Box::new(over)));
                }
                counted_again = true;
            }
        }
        Err(StorageError::Unavailable(format!("the quota {quota} is counted again and again"))
            .into())
    }

    /// Which limit a push exceeds, by what was counted and what others add.
    async fn over(
        &self,
        rule: &QuotaRule,
        quota: &QuotaName,
        push: &Push<'_>,
        count: Option<&Count>,
        mut others: Added,
        new: &mut New,
    ) -> Result<Option<OverQuota>, StorageError> {
        let over = Usage::of(count, &others, new).over(rule, new);
        if over.is_none() {
            return Ok(None);
        }
        // What was counted may be among what pushes say to add, for a while.
        if let Some(count) = count {
            let found = self.counted_of(quota, count, others.blobs().into_keys()).await?;
            others.forget(count, &found);
        }
        // What the repository holds counts already, in one way or the other.
        let held = Reference::Digest(push.digest.clone());
        match self.storage.manifest_stat(push.name, &held).await {
            Ok(_) => new.blobs.clear(),
            Err(StorageError::NotFound) => {}
            Err(error) => return Err(error),
        }
        Ok(Usage::of(count, &others, new).over(rule, new))
    }

    /// Goes on with a count, as far as a push may, and says whether it is complete. One that fails
    /// as something is damaged is left to the next collection.
    async fn count_by_push(&self, rule: &QuotaRule) -> Result<bool, StorageError> {
        let order = CountOrder {
            since: 0,
            rest: REFUSED_BY,
            budget: BUDGET,
            blobs: BLOBS,
            lookups: LOOKED_UP_BY_PUSH,
        };
        match self.count_quota(rule, &order).await {
            Err(StorageError::Failed(_)) => Ok(false),
            counted => counted,
        }
    }

    /// Checks that an upload may begin, or a blob be mounted, whose digest is known or not. What a
    /// quota has counted already may come again.
    pub(crate) async fn check_upload(
        &self,
        name: &RepositoryName,
        digest: Option<&Digest>,
    ) -> Result<(), Refusal> {
        for rule in self.quotas.rules(name.as_str()) {
            let Some((limit, quota)) = rule.bytes().zip(QuotaName::parse(rule.name())) else {
                continue;
            };
            let mut counted_again = false;
            loop {
                let mut added = self.quota_added(&quota).await?;
                let Some(count) = self.counted(rule, &quota).await? else { break };
                let used = |added: &Added| Usage::of(Some(&count), added, &New::default()).bytes;
                if used(&added) < limit {
                    break;
                }
                let blob = digest.map(blob_hash);
                if blob.is_some_and(|blob| added.blobs().contains_key(&blob)) {
                    break;
                }
                let blobs = added.blobs().into_keys().chain(blob);
                let counted = self.counted_of(&quota, &count, blobs).await?;
                added.forget(&count, &counted);
                let used = used(&added);
                if used < limit || blob.is_some_and(|blob| counted.contains_key(&blob)) {
                    break;
                }
                if counted_again || !self.count_by_push(rule).await? {
                    let (rule, resource) = (rule.name().to_owned(), Resource::Bytes);
                    let over = OverQuota { rule, resource, used, limit, needed: None };
                    return Err(Refusal::Quota(Box::new(over)));
                }
                counted_again = true;
            }
        }
        Ok(())
    }

    /// Which of some blobs a count has found.
    pub(super) async fn counted_of(
        &self,
        quota: &QuotaName,
        count: &Count,
        blobs: impl Iterator<Item = u128>,
    ) -> Result<BTreeMap<u128, u64>, StorageError> {
        let wanted: BTreeMap<u128, Option<QuotaRecord>> =
            blobs.map(|blob| (blob, count.part(blob))).collect();
        let mut parts: Vec<QuotaRecord> = wanted.values().flatten().copied().collect();
        parts.sort_unstable();
        parts.dedup();
        let mut found = BTreeMap::new();
        for part in parts {
            // One that is gone is of a count that another one has replaced: what is in it is said
            // again to be added, and counts twice until the next count.
            let read = self.read_found(quota, std::iter::once(part), |blob, size| {
                if wanted.contains_key(&blob) {
                    found.insert(blob, size);
                }
            });
            read.await?;
        }
        Ok(found)
    }

    /// What of a push the repositories of a rule do not hold, as far as the rule limits it. A blob
    /// that is not there adds nothing.
    async fn new_under(
        &self,
        rule: &QuotaRule,
        quota: &QuotaName,
        count: Option<&Count>,
        push: &Push<'_>,
    ) -> Result<New, StorageError> {
        let mut new = New::default();
        if rule.bytes().is_some() {
            let mut blobs: BTreeMap<u128, Option<&Digest>> = push
                .manifest
                .blobs()
                .map(|blob| (blob_hash(&blob.digest), Some(&blob.digest)))
                .collect();
            blobs.insert(blob_hash(push.digest), None);
            if let Some(count) = count {
                let counted = self.counted_of(quota, count, blobs.keys().copied()).await?;
                blobs.retain(|blob, _| !counted.contains_key(blob));
            }
            let sizes = blobs.into_iter().map(|(blob, digest)| async move {
                let Some(digest) = digest else { return Ok((blob, Some(push.size))) };
                match self.storage.blob_size(push.name, digest).await {
                    Ok(size) => Ok((blob, Some(size))),
                    Err(StorageError::NotFound | StorageError::LinkMoved) => Ok((blob, None)),
                    Err(error) => Err(error),
                }
            });
            let sizes: Vec<(u128, Option<u64>)> =
                stream::iter(sizes).buffered(AT_ONCE).try_collect().await?;
            new.blobs = sizes.into_iter().filter_map(|(blob, size)| Some((blob, size?))).collect();
        }
        if rule.tags().is_some() {
            for tag in push.tags {
                if self.target(push.name, tag).await?.is_none() {
                    new.tags.push(tag_hash(push.name.as_str(), tag.as_str()));
                }
            }
        }
        Ok(new)
    }
}

/// Whether a count is so old that pushes count again: by the storage's clock, as what this push
/// has just written tells it.
fn is_due(count: &Count, now: Option<SystemTime>) -> bool {
    let limit = COUNTED_AGAIN.max(Duration::from_secs(count.operations.into()));
    now.is_some_and(|now| count.age(now) >= limit)
}
