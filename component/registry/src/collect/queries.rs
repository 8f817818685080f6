//! What operators ask: which runs there were, how much each repository holds, and why a
//! blob is there. Nothing is written.

use super::contents::UNSIZED;
use super::lease::Records;
use super::manifests::Damaged;
use super::parts::Known;
use super::run::{PAGE, Run, seconds};
use super::state::State;
use super::{Report, SliceOptions};
use crate::store::Store;
use roadstead_bridge::collect::{
    BlobState, Holder, ReportsAnswer, RepositoryUsage, UsageAnswer, WhyAnswer, WhyRepository,
};
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::{Collection, Key, Pages, Record, Shard, Storage, StorageError};
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime};

/// How many blobs of one repository are told apart. Of one that has more, only these
/// are counted, and the answer says so.
///
/// Limit: different blobs of a repository that `--usage` counts; test: `blobs_are_told_apart_up_to_a_limit`.
const DISTINCT: usize = 1_000_000;

/// How many manifests of a repository an answer names, of those that refer to a blob.
///
/// Limit: manifests of a repository that are named as the reason why a blob is kept; test: `why_a_blob_is_kept`.
const HOLDERS: usize = 10;

/// How many bytes an answer has when it leaves the next repositories to the next one.
///
/// Limit: bytes of an answer about repositories before it ends; test: none, more are in further answers.
const ANSWER: usize = 40 * 1024;

/// How many reports are in an answer.
///
/// Limit: reports of garbage collection in an answer; test: none, further ones are not in it.
const REPORTS: usize = 50;

/// How many tags of a manifest an answer names.
///
/// Limit: tags of a manifest that are named as the reason why a blob is kept; test: `why_a_blob_is_kept`.
const TAGS: usize = 10;

/// How many manifests below the indexes of a repository are looked at.
///
/// Limit: manifests below the indexes of a repository in which a blob is searched for; test: none, it would take as many.
const CHILDREN: usize = 10_000;

/// Nothing is decided by what is found, so no time matters.
pub(super) const LOOK: SliceOptions = SliceOptions {
    run: None,
    adopt: false,
    grace: Duration::from_hours(24 * 365),
    keep: Duration::MAX,
    interval: Duration::ZERO,
    valid: Duration::MAX,
    settled: Duration::MAX,
    pace: Duration::ZERO,
    dry_run: true,
    untagged: None,
    exclusive: false,
    undo: None,
    budget: 0,
};

/// Blobs that are told apart by 128 bits of their digests.
#[derive(Debug)]
struct Distinct {
    known: HashSet<u128>,
    limit: usize,
    is_full: bool,
}

impl Distinct {
    fn new(limit: usize) -> Self {
        Self { known: HashSet::new(), limit, is_full: false }
    }

    fn short(digest: &Digest) -> u128 {
        let digits = digest.encoded().get(..32).unwrap_or_default();
        u128::from_str_radix(digits, 16).unwrap_or_default()
    }

    fn contains(&self, digest: &Digest) -> bool {
        self.known.contains(&Self::short(digest))
    }

    /// Whether it is new.
    fn add(&mut self, digest: &Digest) -> bool {
        let short = Self::short(digest);
        if self.known.len() < self.limit {
            return self.known.insert(short);
        }
        self.is_full |= !self.known.contains(&short);
        false
    }
}

impl<S: Storage> Store<S> {
    /// The reports of the last runs, the last one first.
    pub(crate) async fn reports(&self) -> Result<ReportsAnswer, StorageError> {
        let Records { reports, failures, .. } = self.records().await?;
        let reports = reports.into_iter().map(|(run, time)| (Record::Report(run), time));
        let failures = failures.into_iter().map(|(run, time)| (Record::Failure(run), time));
        let mut kept: Vec<(Record, SystemTime)> = reports.chain(failures).collect();
        kept.sort_unstable_by_key(|(_, time)| std::cmp::Reverse(*time));
        let mut reports: Vec<Report> = Vec::new();
        for (record, _) in kept.into_iter().take(REPORTS) {
            match self.storage.read(&Key::Record(record)).await {
                // One that is damaged says nothing.
                Ok(text) => reports.extend(serde_json::from_slice::<Report>(&text)),
                Err(StorageError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ReportsAnswer { reports })
    }

    /// How much the repositories after one hold: of one at least, and then as many as
    /// `budget` operations of the storage allow. The answer after the last repository is empty, and has no `next`.
    pub(crate) async fn usage(
        &self,
        after: Option<String>,
        budget: u32,
    ) -> Result<UsageAnswer, StorageError> {
        let mut run = self.looker();
        let mut answer = UsageAnswer { repositories: Vec::new(), next: None };
        let mut bytes = 0;
        for name in run.repositories(after, PAGE).await? {
            answer.next = Some(name.as_str().to_owned());
            let usage = run.usage(&name).await?;
            bytes += length(&usage);
            answer.repositories.push(usage);
            if run.spent >= budget || bytes >= ANSWER {
                break;
            }
        }
        Ok(answer)
    }

    /// Why a blob is there: what refers to it in the repositories after one, as many of
    /// them as `budget` allows.
    pub(crate) async fn why(
        &self,
        digest: &Digest,
        after: Option<String>,
        budget: u32,
    ) -> Result<WhyAnswer, StorageError> {
        let mut run = self.looker();
        let blob = if after.is_none() { Some(run.blob_state(digest).await?) } else { None };
        let mut answer = WhyAnswer { blob, repositories: Vec::new(), next: None };
        let mut bytes = 0;
        for name in run.repositories(after, PAGE).await? {
            answer.next = Some(name.as_str().to_owned());
            if let Some(repository) = run.why(&name, digest).await? {
                bytes += length(&repository);
                answer.repositories.push(repository);
            }
            if run.spent >= budget || bytes >= ANSWER {
                break;
            }
        }
        Ok(answer)
    }

    pub(super) fn looker(&self) -> Run<'_, S> {
        let now = SystemTime::UNIX_EPOCH;
        self.slice_of(&LOOK, 0, now, now, State::default())
    }
}

/// The length of a part of an answer, in bytes.
fn length(part: &impl serde::Serialize) -> usize {
    serde_json::to_vec(part).map_or(ANSWER, |text| text.len())
}

impl<S: Storage> Run<'_, S> {
    async fn usage(&mut self, name: &RepositoryName) -> Result<RepositoryUsage, StorageError> {
        let mut distinct = Distinct::new(DISTINCT);
        let mut without_size = Vec::new();
        let mut usage =
            RepositoryUsage { name: name.as_str().to_owned(), ..RepositoryUsage::default() };
        let visited = self.visit(name, Damaged::PassesOver, None, |digest, known| {
            usage.manifests += 1;
            let own = std::iter::once((digest, Some(known.size)));
            let content = known.references.content.iter().map(|(digest, size)| (digest, *size));
            for (digest, size) in own.chain(content) {
                if !distinct.add(digest) {
                    continue;
                }
                usage.blobs += 1;
                match size {
                    Some(size) => usage.bytes += size,
                    None if without_size.len() < UNSIZED => without_size.push(digest.clone()),
                    None => usage.incomplete = true,
                }
            }
        });
        visited.await?;
        let sizes = self.data_sizes(without_size).await?;
        usage.bytes += sizes.into_iter().filter_map(|(_, size)| size).sum::<u64>();
        usage.incomplete |= distinct.is_full;
        let collection = Collection::Layers(name.clone());
        let mut pages = Pages::new(&collection, None, PAGE);
        while let Some(entries) = self.next(&mut pages).await? {
            let unneeded = entries.iter().filter(
                |entry| matches!(&entry.key, Key::Layer(_, digest) if !distinct.contains(digest)),
            );
            usage.unneeded += unneeded.count() as u64;
        }
        Ok(usage)
    }

    async fn blob_state(&mut self, digest: &Digest) -> Result<BlobState, StorageError> {
        self.spent += 3;
        let objects = self.store.blob_objects(digest).await?;
        let tombstone = match objects.tombstone {
            Some(_) => self.store.tombstone(digest).await?,
            None => None,
        };
        let sighted = match Shard::of(digest.encoded()) {
            Some(shard) => self.sighted(shard).await?.get(digest).copied(),
            None => None,
        };
        Ok(BlobState {
            size: objects.data.map(|(size, _)| size),
            written: objects.data.map(|(_, time)| seconds(time)),
            state: tombstone.map(|tombstone| tombstone.state.as_str().to_owned()),
            since: objects.tombstone.map(seconds),
            run: tombstone.map(|tombstone| format!("{:032x}", tombstone.run)),
            needed: objects.need.map(seconds),
            sighted,
        })
    }

    /// What of a repository refers to a blob, if anything does.
    async fn why(
        &mut self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<WhyRepository>, StorageError> {
        let mut holders: Vec<(Digest, Option<Digest>)> = Vec::new();
        let mut count = 0;
        let mut own = Distinct::new(DISTINCT);
        let mut below: Vec<(Digest, Digest)> = Vec::new();
        let visited = self.visit(name, Damaged::PassesOver, None, |manifest, known| {
            if manifest == digest || known.references.content.contains_key(digest) {
                count += 1;
                if holders.len() < HOLDERS {
                    holders.push((manifest.clone(), None));
                }
            }
            own.add(manifest);
            let room = CHILDREN - below.len();
            let children = known.references.manifests.iter().take(room);
            below.extend(children.map(|child| (child.clone(), manifest.clone())));
        });
        visited.await?;
        // Manifests to which only indexes lead.
        let mut at = 0;
        while let Some((child, index)) = below.get(at).cloned() {
            at += 1;
            if !own.add(&child) {
                continue;
            }
            let Known { references, size, .. } =
                self.store.read_child(&child).await?.unwrap_or_default();
            self.spend(2, size);
            if references.content.contains_key(digest) {
                count += 1;
                if holders.len() < HOLDERS {
                    holders.push((child, Some(index.clone())));
                }
            }
            let room = CHILDREN - below.len();
            below.extend(references.manifests.into_iter().take(room).map(|c| (c, index.clone())));
        }
        self.spent += 3;
        let untagged = self.store.moved_revision(name, digest).await?;
        let untagged = untagged.filter(|moved| !moved.expired);
        let layer = Key::Layer(name.clone(), digest.clone());
        let moved = Key::MovedLayer(name.clone(), digest.clone());
        let linked = self.store.storage.exists(&layer).await?;
        let moved = self.store.storage.exists(&moved).await?;
        if count == 0 && !linked && !moved && untagged.is_none() {
            return Ok(None);
        }
        let tags =
            if holders.is_empty() { BTreeMap::new() } else { self.tags_of(name, &holders).await? };
        let holders = holders.into_iter().map(|(manifest, index)| {
            let tags = tags.get(index.as_ref().unwrap_or(&manifest).as_str()).cloned();
            let index = index.map(|index| index.to_string());
            Holder { manifest: manifest.to_string(), index, tags: tags.unwrap_or_default() }
        });
        Ok(Some(WhyRepository {
            name: name.as_str().to_owned(),
            linked,
            moved,
            untagged: untagged.map(|moved| format!("{:032x}", moved.run)),
            count,
            holders: holders.collect(),
        }))
    }

    /// Tags that lead to manifests, or to the indexes by which the repository has them.
    async fn tags_of(
        &mut self,
        name: &RepositoryName,
        holders: &[(Digest, Option<Digest>)],
    ) -> Result<BTreeMap<String, Vec<String>>, StorageError> {
        let digests = holders.iter().map(|(manifest, index)| index.as_ref().unwrap_or(manifest));
        let mut tags: BTreeMap<String, Vec<String>> =
            digests.map(|digest| (digest.to_string(), Vec::new())).collect();
        let mut after = None;
        loop {
            let visited = self.tags(name, after, |tag, digest| {
                let of_digest = digest.ok().and_then(|digest| tags.get_mut(digest.as_str()));
                if let Some(of_digest) = of_digest.filter(|tags| tags.len() < TAGS) {
                    of_digest.push(tag.as_str().to_owned());
                }
            });
            after = visited.await?;
            if after.is_none() {
                return Ok(tags);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Distinct;
    use roadstead_oci::{Algorithm, Digest};

    #[test]
    fn blobs_are_told_apart_up_to_a_limit() {
        let digest = |number: u8| Digest::from_bytes(Algorithm::Sha256, &[number; 32]).unwrap();
        let mut distinct = Distinct::new(2);
        assert!(distinct.add(&digest(1)) && distinct.add(&digest(2)));
        assert!(!distinct.add(&digest(1)) && !distinct.is_full);
        assert!(!distinct.add(&digest(3)) && distinct.is_full);
        assert!(distinct.contains(&digest(2)) && !distinct.contains(&digest(3)));
    }
}
