//! The stage `links`: links move aside, or back.

use super::decisions::{Action, Objects, Verb};
use super::lease::Stopwatch;
use super::manifests::Damaged;
use super::run::{LOOK_VALID, PAGE, Run};
use super::state::Act;
use bytes::Bytes;
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::{Collection, Cursor, Key, Pages, Storage, StorageError};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, SystemTime};

/// How many links are announced before they move.
///
/// Limit: links that a collector moves under one announcement; test: `links_move_in_batches`.
pub(super) const BATCH: usize = 64;

/// How many moved links are looked at before a slice may end.
///
/// Limit: moved links that a collector lists in one operation; test: none, more are listed in steps.
const MOVED_PAGE: usize = 200;

/// After what time a collector renews the announcement of moves.
///
/// Limit: age of an announcement of moves that is renewed; test: none, it takes a store that is slow.
const RENEWED_AFTER: Duration = Duration::from_secs(2);

/// Age of an announcement that names digests, but of a collector that has died.
///
/// Limit: age of announced moves that are taken to have ended; test: none, it takes a collector that died.
const ABANDONED: Duration = Duration::from_hours(1);

/// How often the move of a batch begins again because it took too long.
///
/// Limit: attempts to move links in a slow storage; test: none, it takes a store that is slow.
pub(super) const ATTEMPTS: usize = 3;

/// A part of what is to be done, by digest.
struct Part(HashMap<Digest, Verb>);

/// Moves that are announced.
pub(super) struct Announced {
    key: Key,
    text: String,
    /// When that was written last.
    at: Stopwatch,
    /// Whether it was not renewed in time.
    late: bool,
}

impl Announced {
    /// Gives up the moves that are announced: others may rely on what was to be moved.
    pub(super) fn give_up(&mut self) {
        self.late = true;
    }

    /// Whether others may have passed it over: nothing may be taken away because of it.
    pub(super) fn is_late(&self) -> bool {
        self.late || self.at.elapsed() > LOOK_VALID
    }
}

impl Part {
    fn new(actions: &[Action]) -> Self {
        Self(actions.iter().map(|action| (action.digest.clone(), action.verb)).collect())
    }

    fn verb(&self, digest: &Digest) -> Option<Verb> {
        self.0.get(digest).copied()
    }
}

impl<S: Storage> Run<'_, S> {
    /// Goes through the links of the repositories, and says whether that is all of
    /// them.
    pub(super) async fn links(
        &mut self,
        actions: &[Action],
        act: &mut Act,
    ) -> Result<bool, StorageError> {
        let part = Part::new(actions);
        let limit = if act.within.is_some() { 1 } else { PAGE };
        let names = self.repositories(act.repository.clone(), limit).await?;
        if names.is_empty() {
            return Ok(true);
        }
        for name in names {
            self.alive().await?;
            // Another repository may have come or gone since.
            let after = act.within.take().filter(|(of, _)| of == name.as_str()).map(|(_, at)| at);
            if after.is_none() && !self.layer_links(&name, &part, act).await? {
                break;
            }
            if let Some(reached) = self.moved_links(&name, &part, act, after).await? {
                act.within = Some((name.as_str().to_owned(), reached));
                break;
            }
            act.repository = Some(name.as_str().to_owned());
            if self.is_spent() {
                break;
            }
        }
        Ok(false)
    }

    /// Moves the links of a repository to blobs that are condemned, and finds those to
    /// blobs that were to be removed. Says whether all are done: those that were moved
    /// are not found again.
    async fn layer_links(
        &mut self,
        name: &RepositoryName,
        part: &Part,
        act: &mut Act,
    ) -> Result<bool, StorageError> {
        let mut condemned = Vec::new();
        let collection = Collection::Layers(name.clone());
        let mut pages = Pages::new(&collection, None, PAGE);
        while let Some(entries) = self.next(&mut pages).await? {
            for entry in entries {
                let Key::Layer(_, digest) = entry.key else { continue };
                match part.verb(&digest) {
                    Some(Verb::Condemn) if self.is_young(entry.modified) => {
                        act.left.insert(digest);
                    }
                    Some(Verb::Condemn) if !act.left.contains(&digest) => condemned.push(digest),
                    Some(Verb::Remove) => {
                        act.linked.insert(digest);
                    }
                    _ => {}
                }
            }
        }
        let mut batches = condemned.chunks(BATCH).peekable();
        while let Some(batch) = batches.next() {
            self.move_links(name, batch, &mut act.left).await?;
            if self.is_spent() && batches.peek().is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_young(&self, time: SystemTime) -> bool {
        !self.order.exclusive && self.age(time) < self.order.grace
    }

    /// Moves links of a repository, except those that one of its manifests needs.
    async fn move_links(
        &mut self,
        name: &RepositoryName,
        batch: &[Digest],
        left: &mut BTreeSet<Digest>,
    ) -> Result<(), StorageError> {
        let mut rest: Vec<Digest> = batch.to_vec();
        for _ in 0..ATTEMPTS {
            let mut announced = self.announce_moves(name, batch).await?;
            let mut needed = HashSet::new();
            let visited = self.visit(name, Damaged::Ends, Some(&mut announced), |digest, known| {
                let all = std::iter::once(digest).chain(known.references.content.keys());
                needed.extend(all.filter(|digest| batch.contains(digest)).cloned());
            });
            visited.await?;
            rest.retain(|digest| !needed.contains(digest));
            left.extend(needed);
            while let Some(digest) = rest.last() {
                self.alive().await?;
                self.renew(&mut announced).await?;
                if announced.late {
                    break;
                }
                let link = Key::Layer(name.clone(), digest.clone());
                self.spent += 2;
                if !self.order.exclusive {
                    let moved = Key::MovedLayer(name.clone(), digest.clone());
                    self.store.storage.link(&moved, digest, None).await?;
                }
                if announced.is_late() && !self.order.exclusive {
                    break;
                }
                self.store.storage.delete(&link).await?;
                rest.pop();
            }
            if rest.is_empty() {
                break;
            }
        }
        left.extend(rest);
        self.end_moves(name).await
    }

    fn moves(&self, name: &RepositoryName) -> Key {
        Key::Moves { repository: name.clone(), id: self.slice }
    }

    /// Announces that links of a repository are about to move. Pushes that publish from
    /// now on wait, and what was published before is found: each side writes before it
    /// reads.
    pub(super) async fn announce_moves(
        &mut self,
        name: &RepositoryName,
        digests: &[Digest],
    ) -> Result<Announced, StorageError> {
        let lines: Vec<&str> = digests.iter().map(Digest::as_str).collect();
        self.announce_lines(name, lines.join("\n")).await
    }

    /// The same of what is named by these lines: digests of links that move, or tags that are
    /// removed.
    pub(super) async fn announce_lines(
        &mut self,
        name: &RepositoryName,
        text: String,
    ) -> Result<Announced, StorageError> {
        let key = self.moves(name);
        let mut announced = Announced { key, text, at: Stopwatch::start(), late: false };
        if !self.order.exclusive {
            self.pace.announces = true;
            self.write_moves(&mut announced).await?;
        }
        Ok(announced)
    }

    async fn write_moves(&mut self, announced: &mut Announced) -> Result<(), StorageError> {
        announced.at = Stopwatch::start();
        self.spent += 1;
        self.store.storage.write(&announced.key, announced.text.clone().into()).await
    }

    /// Ends announced moves. What stays tells pushes to look at their blobs again.
    pub(super) async fn end_moves(&mut self, name: &RepositoryName) -> Result<(), StorageError> {
        if self.order.exclusive {
            return Ok(());
        }
        self.spent += 1;
        self.store.storage.write(&self.moves(name), Bytes::new()).await?;
        self.pace.announces = false;
        Ok(())
    }

    /// Writes an announcement again before those who wait take the collector to have
    /// died. One that was not in time may have been passed over.
    pub(super) async fn renew(&mut self, announced: &mut Announced) -> Result<(), StorageError> {
        let age = announced.at.elapsed();
        if self.order.exclusive || age < RENEWED_AFTER {
            return Ok(());
        }
        announced.late |= age > LOOK_VALID;
        self.write_moves(announced).await
    }

    /// Gives links of a repository back, finds those that were moved lately, and with
    /// the last part tidies up what is left over. Says where it goes on if it did not
    /// reach the end.
    async fn moved_links(
        &mut self,
        name: &RepositoryName,
        part: &Part,
        act: &mut Act,
        after: Option<Cursor>,
    ) -> Result<Option<Cursor>, StorageError> {
        let tidies = act.part + 1 == self.state.actions;
        let collection = Collection::Moved(name.clone());
        let mut pages = Pages::new(&collection, after, MOVED_PAGE);
        while let Some(entries) = self.next(&mut pages).await? {
            for entry in entries {
                let Key::MovedLayer(_, digest) = &entry.key else { continue };
                match part.verb(digest) {
                    Some(Verb::GiveBack) if !act.left.contains(digest) => {
                        self.give_back(name, digest).await?;
                    }
                    Some(Verb::Condemn) if self.order.exclusive && !act.left.contains(digest) => {
                        self.spent += 1;
                        self.store.storage.delete(&entry.key).await?;
                    }
                    // There was a link until lately.
                    Some(Verb::Remove) if self.age(entry.modified) < self.order.keep => {
                        act.linked.insert(digest.clone());
                    }
                    None if tidies => self.tidy_moved(name, digest, entry.modified).await?,
                    _ => {}
                }
            }
            if let Some(next) = pages.cursor().filter(|_| self.is_spent()) {
                return Ok(Some(next.clone()));
            }
        }
        if tidies {
            self.tidy_announcements(name).await?;
        }
        Ok(None)
    }

    async fn give_back(
        &mut self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        let link = Key::Layer(name.clone(), digest.clone());
        self.spent += 2;
        if !self.store.storage.exists(&link).await? {
            self.store.storage.link(&link, digest, None).await?;
        }
        Ok(())
    }

    /// A moved link without anything to be done about its blob: a run died, or the blob
    /// was given back or removed.
    async fn tidy_moved(
        &mut self,
        name: &RepositoryName,
        digest: &Digest,
        modified: SystemTime,
    ) -> Result<(), StorageError> {
        self.spent += 1;
        let Objects { data, tombstone, .. } = self.store.blob_objects(digest).await?;
        if tombstone.is_some() {
            // It was condemned since it was listed, or is of another part.
            return Ok(());
        }
        self.spent += 1;
        let link = Key::Layer(name.clone(), digest.clone());
        if data.is_some() && !self.store.storage.exists(&link).await? {
            self.spent += 1;
            self.store.storage.write(&Key::Need(digest.clone()), Bytes::new()).await?;
            if !self.gives_way(digest).await? {
                self.give_back(name, digest).await?;
            }
        } else if self.is_left_over(modified) {
            let moved = Key::MovedLayer(name.clone(), digest.clone());
            self.store.storage.delete(&moved).await?;
        }
        Ok(())
    }

    /// Whether what was written at a time has no use any more.
    pub(super) fn is_left_over(&self, time: SystemTime) -> bool {
        self.order.exclusive || self.age(time) >= 2 * self.order.grace
    }

    /// Deletes announcements of moves that began long ago: whoever has read links before
    /// that has ended, and so has the collector.
    async fn tidy_announcements(&mut self, name: &RepositoryName) -> Result<(), StorageError> {
        let collection = Collection::Deletions(name.clone());
        let mut pages = Pages::new(&collection, None, PAGE);
        for entry in self.next(&mut pages).await?.unwrap_or_default() {
            if !matches!(entry.key, Key::Moves { .. }) {
                continue;
            }
            if self.is_left_over(entry.modified) {
                self.spent += 1;
                self.store.storage.delete(&entry.key).await?;
            } else if entry.size > 0 && self.age(entry.modified) > ABANDONED {
                self.spent += 1;
                self.store.storage.write(&entry.key, Bytes::new()).await?;
            }
        }
        Ok(())
    }
}
