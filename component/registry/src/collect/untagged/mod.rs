//! The stage `untagged`: manifests to which nothing leads are taken away, and those that
//! were taken away earlier come back if they are needed, or go for good.
//!
//! The mark of this run has found what they refer to, so that becomes free in the next
//! run; where nobody else uses the storage, the rest is marked again at once.

mod graph;
mod moves;
mod taken;

use super::live::Fact;
use super::manifests::Damaged;
use super::parts::Known as Manifest;
use super::run::{PAGE, Run};
use super::state::Stage;
use graph::Graph;
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::{Collection, Key, Pages, Storage, StorageError};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};
use taken::Taken;

/// The most manifests of a repository among which a run finds those to which nothing
/// leads. A repository with more is passed over, and keeps them.
///
/// Limit: manifests of a repository whose untagged ones are deleted; test: none, a test with as many takes too long.
const MOST: usize = 250_000;

/// How many manifests and repositories the report of a run names that only looks.
///
/// Limit: untagged manifests, and repositories that are passed over, that a report names; test: none, untagged manifests are counted all the same.
const NAMED: usize = 50;

/// How many repositories a report names that is kept: an answer has many reports.
///
/// Limit: repositories that are passed over, that a report names which is kept; test: none, they are only a hint.
const NAMED_FOR_LONG: usize = 2;

/// What is known of a repository.
enum Known {
    /// There is nothing to do.
    Nothing,
    /// It has too many manifests.
    TooMuch,
    All(Graph),
}

/// Keeps a manifest, and what it refers to.
fn keep_with(graph: &mut Graph, digest: &Digest, known: &Manifest) {
    graph.keep(digest);
    for digest in known.references.content.keys() {
        graph.keep(digest);
    }
}

impl<S: Storage> Run<'_, S> {
    /// Goes through the next repositories.
    pub(super) async fn untagged(
        &mut self,
        done: Option<String>,
        within: Option<(String, Digest)>,
    ) -> Result<(), StorageError> {
        // The marker is written before the first link moves, so without it, and unless
        // manifests are to go, there is nothing to look for.
        let looks = self.order.undo.is_some() || self.state.marked.is_some();
        let by_policy = self.store.retention.deletes_untagged();
        if !looks && self.state.untagged.age.is_none() && !by_policy {
            return self.after_untagged().await;
        }
        let limit = if within.is_some() { 1 } else { PAGE };
        let names = self.repositories(done.clone(), limit).await?;
        if names.is_empty() {
            return self.after_untagged().await;
        }
        let (mut done, mut within) = (done, within);
        for name in names {
            self.alive().await?;
            // Another repository may have come or gone since.
            let after = within.take().filter(|(of, _)| of == name.as_str()).map(|(_, at)| at);
            match self.untagged_in(&name, after).await? {
                Some(reached) => within = Some((name.as_str().to_owned(), reached)),
                None => done = Some(name.as_str().to_owned()),
            }
            self.state.stage = Stage::Untagged { done: done.clone(), within: within.clone() };
            if self.found.is_full() {
                self.store_found().await?;
            }
            if within.is_some() || self.is_spent() {
                break;
            }
        }
        Ok(())
    }

    async fn after_untagged(&mut self) -> Result<(), StorageError> {
        self.store_found().await?;
        self.state.stage = if self.state.untagged.freed && self.order.exclusive {
            (self.state.untagged.freed, self.state.untagged.again) = (false, true);
            self.state.parts.clear();
            Stage::default()
        } else {
            Stage::Blobs { shard: 0 }
        };
        Ok(())
    }

    /// Goes through one repository, from a manifest on. Says how far it came if it did
    /// not reach the end.
    async fn untagged_in(
        &mut self,
        name: &RepositoryName,
        after: Option<Digest>,
    ) -> Result<Option<Digest>, StorageError> {
        if let Some(run) = self.order.undo {
            self.give_back_manifests(name, run).await?;
            // Which lead to manifests.
            self.give_back_tags(name, run).await?;
            return Ok(None);
        }
        let before = self.spent;
        let mut taken = self.taken(name).await?;
        let mut graph = match self.graph(name, &mut taken).await? {
            Known::All(graph) => graph,
            Known::Nothing => return Ok(None),
            Known::TooMuch => {
                self.hold(name, &mut taken, None).await?;
                if self.untagged_age(name).is_some() {
                    self.pass_over(name);
                }
                return Ok(None);
            }
        };
        self.settle(name, &taken, &graph).await?;
        let mut doomed = graph.doomed();
        doomed.retain(|(digest, _)| after.as_ref().is_none_or(|after| digest > after));
        if self.order.dry_run {
            for (digest, size) in &doomed {
                self.count_untagged(name, digest, *size);
            }
            self.state.untagged.freed |= !doomed.is_empty();
            return Ok(None);
        }
        // As much is done with what was found as it took to find it.
        let least = self.spent.saturating_mul(2).saturating_sub(before);
        if self.order.exclusive {
            self.delete_untagged(name, &doomed, least).await
        } else {
            self.take_away(name, &mut graph, &doomed, least).await
        }
    }

    /// What leads to the manifests of a repository, those that stay by themselves, and
    /// what was taken away is held.
    async fn graph(
        &mut self,
        name: &RepositoryName,
        taken: &mut [Taken],
    ) -> Result<Known, StorageError> {
        let deletes = self.deletes_untagged(name);
        if taken.is_empty() && !deletes {
            return Ok(Known::Nothing);
        }
        let Some(revisions) = self.revisions(name).await? else { return Ok(Known::TooMuch) };
        let stays = |time: SystemTime| !deletes || self.stays_by_age(name, time);
        if taken.is_empty() && revisions.values().all(|time| stays(*time)) {
            return Ok(Known::Nothing);
        }
        for one in taken.iter_mut() {
            one.linked = revisions.get(&one.digest).copied();
        }
        let young = revisions.iter().filter(|(_, time)| stays(**time));
        let young: Vec<Digest> = young.map(|(digest, _)| digest.clone()).collect();
        let gone = taken.iter().map(|one| one.digest.clone()).collect();
        let mut graph = Graph::new(revisions.into_keys().collect(), &gone);
        for digest in &young {
            graph.keep(digest);
        }
        drop((young, gone));
        if deletes && !self.keep_tagged(name, &mut graph).await? {
            return Ok(Known::TooMuch);
        }
        self.hold(name, taken, Some(&mut graph)).await?;
        let policy = self.store.retention.untagged(name.as_str());
        let keeps_referrers = policy.is_some_and(|(_, keeps_referrers)| keeps_referrers);
        let visited = self.visit(name, Damaged::Ends, None, |digest, known| {
            if keeps_referrers && known.references.subject.is_some() {
                graph.keep(digest);
            }
            if graph.holds(digest) {
                graph.add(digest, &known.references, known.size);
            } else {
                // It has come since it was listed.
                keep_with(&mut graph, digest, known);
            }
        });
        visited.await?;
        Ok(Known::All(graph))
    }

    /// The links to manifests of a repository with their times; `None` if there are more
    /// than [`MOST`].
    async fn revisions(
        &mut self,
        name: &RepositoryName,
    ) -> Result<Option<BTreeMap<Digest, SystemTime>>, StorageError> {
        let mut revisions = BTreeMap::new();
        let collection = Collection::Revisions(name.clone());
        let mut pages = Pages::new(&collection, None, PAGE);
        while let Some(entries) = self.next(&mut pages).await? {
            for entry in entries {
                if let Key::Revision(_, digest) = entry.key {
                    revisions.insert(digest, entry.modified);
                }
            }
            if revisions.len() > MOST {
                return Ok(None);
            }
            self.alive().await?;
        }
        Ok(Some(revisions))
    }

    /// Says of what tags lead to that it stays. `false` if a tag is damaged, so that it
    /// is not known what it leads to.
    async fn keep_tagged(
        &mut self,
        name: &RepositoryName,
        graph: &mut Graph,
    ) -> Result<bool, StorageError> {
        let (mut after, mut is_damaged) = (None, false);
        loop {
            self.alive().await?;
            let visited = self.tags(name, after, |_, digest| match digest {
                Ok(digest) => graph.keep(&digest),
                Err(_) => is_damaged = true,
            });
            after = visited.await?;
            if after.is_none() || is_damaged {
                break;
            }
        }
        // After the tags: one is kept before it is removed.
        for digest in self.removed_tags_led_to(name).await? {
            graph.keep(&digest);
        }
        Ok(!is_damaged)
    }

    /// How old a manifest of a repository is when it goes, if it does at all: by the policy
    /// for it, or else as the run was asked to.
    fn untagged_age(&self, name: &RepositoryName) -> Option<Duration> {
        let policy = self.store.retention.untagged(name.as_str()).map(|(age, _)| age);
        policy.or(self.state.untagged.age.map(Duration::from_secs))
    }

    /// Whether manifests of a repository go in this run. While another registry writes, which
    /// does not know the protocol, they stay.
    fn deletes_untagged(&self, name: &RepositoryName) -> bool {
        self.untagged_age(name).is_some() && (self.order.exclusive || !self.state.foreign)
    }

    /// Whether a manifest stays because its link was written lately.
    fn stays_by_age(&self, name: &RepositoryName, written: SystemTime) -> bool {
        let least = self.untagged_age(name).unwrap_or(Duration::MAX);
        let least = if self.order.exclusive { least } else { least.max(self.order.grace) };
        self.age(written) < least
    }

    pub(super) fn pass_over(&mut self, name: &RepositoryName) {
        let most = if self.order.dry_run { NAMED } else { NAMED_FOR_LONG };
        let named = &mut self.state.report.passed_over;
        let named_before = named.iter().any(|other| other == name.as_str());
        if named.len() < most && !named_before {
            named.push(name.as_str().to_owned());
        }
    }

    /// Counts a manifest that is taken away, or would be.
    fn count_untagged(&mut self, name: &RepositoryName, digest: &Digest, size: u64) {
        let report = &mut self.state.report;
        report.untagged += 1;
        report.untagged_bytes += size;
        if report.dry_run && report.eligible.len() < NAMED {
            report.eligible.push(format!("{name}@{digest}"));
        }
    }

    /// In a run that only looks, finds out which manifests would be gone when the rest
    /// is marked again.
    pub(super) async fn leave_out(&mut self, name: &RepositoryName) -> Result<(), StorageError> {
        self.left_out = None;
        if !(self.state.untagged.again && self.order.dry_run) {
            return Ok(());
        }
        let mut left_out = BTreeSet::new();
        let mut taken = self.taken(name).await?;
        if let Known::All(graph) = self.graph(name, &mut taken).await? {
            left_out.extend(graph.doomed().into_iter().map(|(digest, _)| digest));
            for digest in graph.needed() {
                let child = self.store.read_child(&digest).await?.unwrap_or_default();
                self.spend(2, child.size);
                self.found.add(&digest, Fact::Read);
                self.take_references(&child.references);
            }
        }
        self.left_out = Some(left_out);
        Ok(())
    }
}
