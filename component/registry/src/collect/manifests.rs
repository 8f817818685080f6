//! The stage `manifests`: what the manifests of all repositories refer to.
//!
//! A manifest never changes, so what it refers to is kept, in parts that each begin
//! with a digest: a run reads new manifests only. A part that is lost is made again.

use super::links::Announced;
use super::live::Fact;
use super::parts::{Known, PART, Part};
use super::references::References;
use super::run::{PAGE, Run};
use super::state::Stage;
use crate::store::Store;
use futures::future::try_join_all;
use roadstead_oci::{Digest, Manifest, Reference, RepositoryName};
use roadstead_storage::{Collection, Cursor, Entry, Key, Pages, Shard, Storage, StorageError};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, SystemTime};

/// How many digests the manifests that a step has read may name before it ends: what
/// they name is in memory.
///
/// Limit: digests that the manifests of one step of a collector name; test: `references_are_split`.
const REFERRED: usize = 100_000;

/// How many manifests are read at a time.
///
/// Limit: manifests that a collector reads at a time; test: none, more are read in steps.
const READ_AT_ONCE: usize = 8;

/// Operations of the storage that a manifest takes to be read.
const READ: u32 = 4;

/// How many manifests to which only indexes refer are followed in one step; more are in
/// further rounds.
///
/// Limit: manifests below indexes that a collector follows in one step; test: none, more are followed in further steps.
pub(super) const FOLLOWED: usize = 10_000;

/// What is done about a manifest whose bytes are gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Damaged {
    /// Nothing may be concluded, as it is not known what it refers to.
    Ends,
    /// It is passed over, where nothing is removed because of it.
    PassesOver,
}

/// How long a manifest that another registry wrote says that it may write more.
///
/// Limit: time since another registry wrote a manifest, in which nothing is removed; test: `manifests_of_another_registry`.
const FOREIGN: Duration = Duration::from_hours(30 * 24);

impl<S: Storage> Store<S> {
    /// What a manifest of a repository refers to.
    async fn read_manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Known, StorageError> {
        let bytes = self.storage.read(&Key::Blob(digest.clone())).await?;
        let stat = self.storage.manifest_stat(name, &Reference::Digest(digest.clone())).await?;
        // Another registry records no media type.
        let foreign = match &stat.media_type {
            Some(media_type) => !self.storage.holds_manifest(name, digest, media_type).await?,
            None => true,
        };
        Ok(Known { references: References::of(&bytes), size: bytes.len() as u64, foreign })
    }
}

impl<S: Storage> Store<S> {
    /// What a manifest refers to, if there is one: what is too large is none.
    pub(super) async fn read_child(&self, digest: &Digest) -> Result<Option<Known>, StorageError> {
        let data = self.blob_objects(digest).await?.data;
        if data.is_none_or(|(size, _)| size > Manifest::MAX_SIZE as u64) {
            return Ok(None);
        }
        match self.storage.read(&Key::Blob(digest.clone())).await {
            Ok(bytes) => {
                let (references, size) = (References::of(&bytes), bytes.len() as u64);
                Ok(Some(Known { references, size, foreign: false }))
            }
            Err(StorageError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<S: Storage> Run<'_, S> {
    /// Reads what the manifests of the next repository refer to, or some of them.
    pub(super) async fn manifests(
        &mut self,
        done: Option<String>,
        within: Option<(String, Digest)>,
    ) -> Result<(), StorageError> {
        let mut names =
            self.repositories(done.clone(), if within.is_some() { 1 } else { PAGE }).await?;
        if names.is_empty() {
            self.store_found().await?;
            self.state.stage = Stage::Children { shard: 0, more: false };
            return Ok(());
        }
        names.reverse();
        let (mut done, mut within) = (done, within);
        while let Some(name) = names.pop() {
            self.alive().await?;
            // Another repository may have come or gone since.
            let after = within.take().filter(|(of, _)| of == name.as_str()).map(|(_, at)| at);
            if let Some(reached) = self.repository(&name, after).await? {
                within = Some((name.as_str().to_owned(), reached));
            } else {
                self.state.report.repositories += u64::from(!self.state.untagged.again);
                done = Some(name.as_str().to_owned());
            }
            self.state.stage = Stage::Manifests { done: done.clone(), within: within.clone() };
            if within.is_some() || self.is_spent() {
                break;
            }
        }
        Ok(())
    }

    /// Reads what the manifests of a repository refer to, after `within`. Says how far
    /// it came if it did not reach the end.
    async fn repository(
        &mut self,
        name: &RepositoryName,
        within: Option<Digest>,
    ) -> Result<Option<Digest>, StorageError> {
        if within.is_none() || self.left_out.is_none() {
            self.leave_out(name).await?;
        }
        let starts = self.part_starts(name).await?;
        let mut index = match &within {
            Some(within) => starts.partition_point(|start| start <= within).saturating_sub(1),
            None => 0,
        };
        let mut after = within;
        loop {
            let Some(start) = starts.get(index) else { return Ok(None) };
            let end = starts.get(index + 1);
            if let Some(reached) = self.part(name, start, end, after.take()).await? {
                return Ok(Some(reached));
            }
            index += 1;
            if self.is_spent()
                && let Some(next) = starts.get(index)
            {
                // No manifest comes between.
                return Ok(Some(next.clone()));
            }
        }
    }

    /// Reads what the manifests from `start` to `end` refer to, of those after `after`.
    /// Says how far it came if it did not reach the end.
    async fn part(
        &mut self,
        name: &RepositoryName,
        start: &Digest,
        end: Option<&Digest>,
        after: Option<Digest>,
    ) -> Result<Option<Digest>, StorageError> {
        let key = Key::References(name.clone(), start.clone());
        let (mut known, exists) = self.known(&key).await?;
        let from = match &after {
            // A manifest that is `start` itself comes after this.
            Some(after) if after != start => revision_cursor(after, "/link"),
            _ => revision_cursor(start, ""),
        };
        let after = after.filter(|after| after != start);
        let collection = Collection::Revisions(name.clone());
        let mut pages = Pages::new(&collection, Some(from), PAGE);
        let mut kept: BTreeMap<Digest, Known> = BTreeMap::new();
        let (mut reached, mut read, mut ended, mut stopped) = (None, 0, false, false);
        let (former, mut referred) = (known.0.len(), 0);
        while !ended && !stopped {
            let entries = self.next(&mut pages).await?.unwrap_or_default();
            let revisions = before(&entries, end);
            ended = pages.cursor().is_none() || revisions.len() < entries.len();
            let mut chunks = revisions.chunks(self.manifests_at_once()).peekable();
            while let Some(chunk) = chunks.next() {
                self.alive().await?;
                let mut new = self.read_new(name, chunk, &known, Damaged::Ends).await?;
                read += new.len();
                for entry in chunk {
                    let Key::Revision(_, digest) = &entry.key else { continue };
                    let Some(one) = new.remove(digest).or_else(|| known.0.remove(digest)) else {
                        continue;
                    };
                    self.take(digest, &one, entry.modified);
                    referred += one.references.content.len();
                    kept.insert(digest.clone(), one);
                    reached = Some(digest.clone());
                }
                if self.found.is_full() {
                    self.store_found().await?;
                }
                let much = (self.is_spent() && read > 0)
                    || kept.len() >= PART
                    || (referred >= REFERRED && read > 0);
                if much && (chunks.peek().is_some() || !ended) {
                    ended = false;
                    stopped = true;
                    break;
                }
            }
            self.alive().await?;
        }
        // Of what was known, that which was not looked at stays as it is.
        known.0.retain(|digest, _| {
            after.as_ref().is_some_and(|after| digest <= after)
                || (!ended && reached.as_ref().is_some_and(|reached| digest > reached))
        });
        let changed = read > 0 || known.0.len() + kept.len() != former;
        known.0.append(&mut kept);
        if changed {
            self.write_known(&key, known, exists).await?;
        }
        Ok(if ended { None } else { reached })
    }

    /// How many manifests are read at a time.
    pub(super) fn manifests_at_once(&self) -> usize {
        self.at_once(READ_AT_ONCE, READ)
    }

    /// Reads those manifests that are not known.
    pub(super) async fn read_new(
        &mut self,
        name: &RepositoryName,
        entries: &[&Entry],
        known: &Part,
        damaged: Damaged,
    ) -> Result<BTreeMap<Digest, Known>, StorageError> {
        // The link of another registry may have been written again by this one, which counts
        // only beside others.
        let beside_others = !self.order.exclusive;
        let is_new = |digest: &Digest, written| {
            known.0.get(digest).is_none_or(|known| {
                known.foreign && beside_others && self.age(written) < 2 * self.order.grace
            })
        };
        let new = entries.iter().filter_map(|entry| match &entry.key {
            Key::Revision(_, digest) if is_new(digest, entry.modified) => Some(digest),
            _ => None,
        });
        let store = self.store;
        let reads = new.map(|digest| async move {
            match store.read_manifest(name, digest).await {
                Ok(known) => Ok(Some((digest.clone(), known))),
                Err(StorageError::NotFound) if damaged == Damaged::PassesOver => Ok(None),
                Err(StorageError::NotFound) => {
                    // It may have been deleted since it was listed.
                    let revision = Key::Revision(name.clone(), digest.clone());
                    let exists = store.storage.exists(&revision).await?;
                    if exists { Err(missing(name, digest)) } else { Ok(None) }
                }
                Err(error) => Err(error),
            }
        });
        let read: BTreeMap<_, _> = try_join_all(reads).await?.into_iter().flatten().collect();
        for known in read.values() {
            self.spend(READ, known.size);
        }
        Ok(read)
    }

    fn take(&mut self, digest: &Digest, known: &Known, modified: SystemTime) {
        if self.left_out.as_ref().is_some_and(|left_out| left_out.contains(digest)) {
            return;
        }
        self.state.report.manifests += u64::from(!self.state.untagged.again);
        self.state.foreign |= known.foreign && self.age(modified) < FOREIGN;
        self.found.add(digest, Fact::Read);
        self.take_references(&known.references);
    }

    pub(super) fn take_references(&mut self, references: &References) {
        for content in references.content.keys() {
            self.found.add(content, Fact::Referred);
        }
        for manifest in &references.manifests {
            self.found.add(manifest, Fact::Child);
        }
    }

    /// Reads the manifests of a shard to which only indexes refer. One that is missing
    /// refers to nothing.
    pub(super) async fn children(&mut self, shard: u8, more: bool) -> Result<(), StorageError> {
        let Some(current) = Shard::all().nth(usize::from(shard)) else {
            self.store_found().await?;
            self.state.stage = if more {
                Stage::Children { shard: 0, more: false }
            } else if self.state.untagged.again {
                Stage::Blobs { shard: 0 }
            } else {
                Stage::Tags { done: None, within: None }
            };
            return Ok(());
        };
        self.alive().await?;
        let mut queue: VecDeque<Digest> = self.live(current).await?.unread().into();
        let mut seen: BTreeSet<Digest> = queue.iter().cloned().collect();
        let more = more || !queue.is_empty();
        while !queue.is_empty() {
            let chunk: Vec<Digest> =
                queue.drain(..self.manifests_at_once().min(queue.len())).collect();
            let store = self.store;
            let reads = chunk.iter().map(|digest| store.read_child(digest));
            let read = try_join_all(reads).await?;
            for (digest, child) in chunk.iter().zip(read) {
                self.found.add(digest, Fact::Read);
                let Known { references, size, .. } = child.unwrap_or_default();
                self.spend(2, size);
                self.take_references(&references);
                for manifest in references.manifests {
                    if seen.len() < FOLLOWED && seen.insert(manifest.clone()) {
                        queue.push_back(manifest);
                    }
                }
            }
            if self.found.is_full() {
                self.store_found().await?;
            }
            self.alive().await?;
        }
        // The next shards look at it.
        self.store_found().await?;
        self.state.stage = Stage::Children { shard: shard + 1, more };
        Ok(())
    }

    /// Visits the manifests of a repository, with what they refer to, by what is kept or
    /// by themselves. `announced` is renewed meanwhile. One that has just been deleted
    /// refers to nothing; `damaged` says what is done about one whose bytes are gone.
    pub(super) async fn visit(
        &mut self,
        name: &RepositoryName,
        damaged: Damaged,
        announced: Option<&mut Announced>,
        mut visit: impl FnMut(&Digest, &Known),
    ) -> Result<(), StorageError> {
        let all = |digest: &Digest, known: &Known| {
            visit(digest, known);
            true
        };
        self.visit_while(name, damaged, announced, None, all).await.map(drop)
    }

    /// The same until this slice has spent `most` operations, or `visit` says that it is enough: says
    /// whether these were all. A collector must see all of them, and gives no `most`.
    pub(super) async fn visit_while(
        &mut self,
        name: &RepositoryName,
        damaged: Damaged,
        mut announced: Option<&mut Announced>,
        most: Option<u32>,
        mut visit: impl FnMut(&Digest, &Known) -> bool,
    ) -> Result<bool, StorageError> {
        let nothing = Known::default();
        let starts = self.part_starts(name).await?;
        for (index, start) in starts.iter().enumerate() {
            let end = starts.get(index + 1);
            let (known, _) = self.known(&Key::References(name.clone(), start.clone())).await?;
            let collection = Collection::Revisions(name.clone());
            let mut pages = Pages::new(&collection, Some(revision_cursor(start, "")), PAGE);
            while let Some(entries) = self.next(&mut pages).await? {
                let revisions = before(&entries, end);
                for chunk in revisions.chunks(self.manifests_at_once()) {
                    if most.is_some_and(|most| self.spent >= most) {
                        return Ok(false);
                    }
                    match &mut announced {
                        Some(announced) => self.renew(announced).await?,
                        None => self.keep_pace().await,
                    }
                    let new = self.read_new(name, chunk, &known, damaged).await?;
                    for entry in chunk {
                        let Key::Revision(_, digest) = &entry.key else { continue };
                        let one = new.get(digest).or_else(|| known.0.get(digest));
                        if !visit(digest, one.unwrap_or(&nothing)) {
                            return Ok(false);
                        }
                    }
                }
                if revisions.len() < entries.len() {
                    break;
                }
            }
        }
        Ok(true)
    }
}

/// Those links to manifests that come before the next part.
fn before<'a>(entries: &'a [Entry], end: Option<&Digest>) -> Vec<&'a Entry> {
    let is_before = |entry: &&Entry| match &entry.key {
        Key::Revision(_, digest) => end.is_none_or(|end| digest < end),
        _ => false,
    };
    entries.iter().filter(is_before).collect()
}

/// Where a repository's links to manifests go on at a digest: with it, or with the
/// `suffix` of a link after it.
fn revision_cursor(digest: &Digest, suffix: &str) -> Cursor {
    Cursor(format!("{}/{}{suffix}", digest.algorithm(), digest.encoded()))
}

/// A link whose manifest is missing tells that something was lost: it is not known
/// what the manifest refers to.
fn missing(name: &RepositoryName, digest: &Digest) -> StorageError {
    StorageError::Failed(format!(
        "the manifest {digest} of {name} is missing, so that it is not known what it refers to; \
         push it again, or delete it"
    ))
}
