//! The third stage: links move aside, or back.

use super::blobs::{Action, Objects, Verb};
use super::run::{LOOK_VALID, PAGE, Run};
use super::state::{Stage, Step};
use bytes::Bytes;
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::condemned::TombstoneState;
use roadstead_storage::{Collection, Cursor, Key, Record, Storage, StorageError};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Instant, SystemTime};

/// How many links are announced before they move.
///
/// Limit: links that a collector moves under one announcement; test: `links_move_in_batches`.
const BATCH: usize = 64;

/// How many moved links are looked at before a slice may end.
///
/// Limit: moved links that a collector lists in one operation; test: none, more are listed in steps.
const MOVED_PAGE: usize = 200;

/// How often the move of a batch begins again because it took too long.
///
/// Limit: attempts to move links in a slow storage; test: none, it takes a store that is slow.
const ATTEMPTS: usize = 3;

/// A part of what is to be done, by digest.
pub(super) struct Part(HashMap<Digest, Action>);

impl Part {
    fn new(actions: Vec<Action>) -> Self {
        Self(actions.into_iter().map(|action| (action.digest.clone(), action)).collect())
    }

    fn verb(&self, digest: &Digest) -> Option<Verb> {
        self.0.get(digest).map(|action| action.verb)
    }
}

/// What is found and done while links move.
struct Links {
    part: Part,
    /// Blobs that stay as they are until the next run.
    left: BTreeSet<Digest>,
    /// Blobs that a repository links again.
    linked: BTreeSet<Digest>,
    /// Whether what is left over is deleted.
    tidy: bool,
}

impl<S: Storage> Run<'_, S> {
    /// Does the next step of a part, as far as this slice may.
    pub(super) async fn act(&mut self, part: u32, step: Step) -> Result<(), StorageError> {
        let text = self.record(Record::Actions(self.id, part)).await?;
        let actions = Action::parse_all(&text).ok_or_else(|| {
            StorageError::Failed(format!("{}: damaged", Record::Actions(self.id, part)))
        })?;
        let next = match step {
            Step::Announce { done, left } => Some(self.announce_all(&actions, done, left).await?),
            Step::Links { done, within, left, linked } => {
                let last = part + 1 == self.state.actions;
                let links = Links { part: Part::new(actions), left, linked, tidy: last };
                Some(self.all_links(links, done, within).await?)
            }
            Step::Conclude { done, left, linked } => {
                Some(self.conclude(&actions, done, left, linked).await?)
            }
            Step::Remove { done, left, linked } => {
                Some(self.remove_all(&actions, done, left, linked).await?)
            }
            Step::Tombstones { done } => self.clear_tombstones(&actions, done).await?,
        };
        self.state.stage = match next {
            Some(step) => Stage::Act { part, step },
            None if part + 1 == self.state.actions => Stage::End,
            None => Stage::Act { part: part + 1, step: Step::first() },
        };
        Ok(())
    }

    /// Condemns blobs, or says that they are needed, before their links change.
    async fn announce_all(
        &mut self,
        actions: &[Action],
        done: usize,
        mut left: BTreeSet<Digest>,
    ) -> Result<Step, StorageError> {
        for (number, action) in actions.iter().enumerate().skip(done) {
            if number > done && self.is_spent() {
                return Ok(Step::Announce { done: number, left });
            }
            match action.verb {
                // Alone, nobody looks for it.
                Verb::Condemn if !self.order.alone => {
                    self.mark().await?;
                    self.write_tombstone(&action.digest, TombstoneState::Condemned).await?;
                }
                Verb::GiveBack => {
                    self.spent += 1;
                    self.store
                        .storage
                        .write(&Key::Need(action.digest.clone()), Bytes::new())
                        .await?;
                    if self.gives_way(&action.digest).await? {
                        left.insert(action.digest.clone());
                    }
                }
                Verb::Condemn | Verb::Remove | Verb::Keep => {}
            }
        }
        Ok(Step::Links { done: None, within: None, left, linked: BTreeSet::new() })
    }

    /// Says in the storage that something in it is condemned.
    async fn mark(&mut self) -> Result<(), StorageError> {
        if self.marked {
            return Ok(());
        }
        let marker = Key::Record(Record::Marker);
        self.spent += 1;
        // Its time says since when, so it is written once.
        if !self.store.storage.exists(&marker).await? {
            self.store.storage.write(&marker, Bytes::new()).await?;
        }
        self.marked = true;
        Ok(())
    }

    /// Writes a tombstone.
    pub(super) async fn write_tombstone(
        &mut self,
        digest: &Digest,
        state: TombstoneState,
    ) -> Result<(), StorageError> {
        self.spent += 1;
        self.store.write_tombstone(digest, state, self.slice).await
    }

    /// Whether another collector may be about to remove the data of a blob.
    async fn gives_way(&mut self, digest: &Digest) -> Result<bool, StorageError> {
        if self.tombstone_state(digest).await? != Some(TombstoneState::Removing) {
            return Ok(false);
        }
        self.spent += 1;
        let objects = self.store.blob_objects(digest).await?;
        Ok(objects.tombstone.is_some_and(|time| self.age(time) < 2 * self.order.grace))
    }

    async fn all_links(
        &mut self,
        mut links: Links,
        mut done: Option<String>,
        mut within: Option<Cursor>,
    ) -> Result<Step, StorageError> {
        let names =
            self.repositories(done.clone(), if within.is_some() { 1 } else { PAGE }).await?;
        if names.is_empty() {
            let Links { left, linked, .. } = links;
            return Ok(Step::Conclude { done: 0, left, linked });
        }
        for name in names {
            if within.is_none() && !self.layer_links(&name, &mut links).await? {
                break;
            }
            within = self.moved_links(&name, &mut links, within).await?;
            if within.is_some() {
                break;
            }
            done = Some(name.as_str().to_owned());
            if self.is_spent() {
                break;
            }
        }
        let Links { left, linked, .. } = links;
        Ok(Step::Links { done, within, left, linked })
    }

    /// Moves the links of a repository to blobs that are condemned, and finds those to
    /// blobs that were to be removed. Says whether all are done: those that were moved
    /// are not found again.
    async fn layer_links(
        &mut self,
        name: &RepositoryName,
        links: &mut Links,
    ) -> Result<bool, StorageError> {
        let mut condemned = Vec::new();
        let mut after = None;
        loop {
            let collection = Collection::Layers(name.clone());
            self.spent += 1;
            let listing = self.store.storage.enumerate(&collection, after.as_ref(), PAGE).await?;
            for entry in listing.entries {
                let Key::Layer(_, digest) = entry.key else { continue };
                match links.part.verb(&digest) {
                    Some(Verb::Condemn) if self.is_young(entry.modified) => {
                        links.left.insert(digest);
                    }
                    Some(Verb::Condemn) if !links.left.contains(&digest) => condemned.push(digest),
                    Some(Verb::Remove) => {
                        links.linked.insert(digest);
                    }
                    _ => {}
                }
            }
            match listing.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let mut batches = condemned.chunks(BATCH).peekable();
        while let Some(batch) = batches.next() {
            self.move_links(name, batch, &mut links.left).await?;
            if self.is_spent() && batches.peek().is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_young(&self, time: SystemTime) -> bool {
        !self.order.alone && self.age(time) < self.order.grace
    }

    /// Moves links of a repository, except those that one of its manifests needs.
    async fn move_links(
        &mut self,
        name: &RepositoryName,
        batch: &[Digest],
        left: &mut BTreeSet<Digest>,
    ) -> Result<(), StorageError> {
        let announcement = Key::Moves { repository: name.clone(), id: self.slice };
        let lines: Vec<&str> = batch.iter().map(Digest::as_str).collect();
        let mut rest: Vec<Digest> = batch.to_vec();
        for _ in 0..ATTEMPTS {
            // Pushes that publish from now on wait, and what was published before is
            // found: each side writes before it reads.
            let announced = Instant::now();
            if !self.order.alone {
                self.spent += 1;
                self.store.storage.write(&announcement, lines.join("\n").into()).await?;
            }
            let mut needed = HashSet::new();
            self.references_in(name, |digest| {
                if batch.contains(digest) {
                    needed.insert(digest.clone());
                }
            })
            .await?;
            rest.retain(|digest| !needed.contains(digest));
            left.extend(needed);
            while let Some(digest) = rest.last() {
                if announced.elapsed() > LOOK_VALID && !self.order.alone {
                    break;
                }
                let link = Key::Layer(name.clone(), digest.clone());
                self.spent += 2;
                if !self.order.alone {
                    let moved = Key::MovedLayer(name.clone(), digest.clone());
                    self.store.storage.link(&moved, digest, None).await?;
                    self.state.moved = true;
                }
                self.store.storage.delete(&link).await?;
                rest.pop();
            }
            if rest.is_empty() {
                break;
            }
        }
        left.extend(rest);
        if !self.order.alone {
            self.spent += 1;
            self.store.storage.write(&announcement, Bytes::new()).await?;
        }
        Ok(())
    }

    /// Gives links of a repository back, finds those that were moved lately, and tidies
    /// up what is left over. Says where it goes on if it did not reach the end.
    async fn moved_links(
        &mut self,
        name: &RepositoryName,
        links: &mut Links,
        mut after: Option<Cursor>,
    ) -> Result<Option<Cursor>, StorageError> {
        let collection = Collection::Moved(name.clone());
        loop {
            self.spent += 1;
            let listing =
                self.store.storage.enumerate(&collection, after.as_ref(), MOVED_PAGE).await?;
            for entry in listing.entries {
                let Key::MovedLayer(_, digest) = &entry.key else { continue };
                self.state.moved = true;
                match links.part.verb(digest) {
                    Some(Verb::GiveBack) if !links.left.contains(digest) => {
                        self.give_back(name, digest).await?;
                    }
                    // There was a link until lately.
                    Some(Verb::Remove)
                        if !self.order.alone && self.age(entry.modified) < self.order.keep =>
                    {
                        links.linked.insert(digest.clone());
                    }
                    None if links.tidy => self.tidy_moved(name, digest, entry.modified).await?,
                    _ => {}
                }
            }
            match listing.next {
                Some(next) if self.is_spent() => return Ok(Some(next)),
                Some(next) => after = Some(next),
                None => break,
            }
        }
        if links.tidy {
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
    fn is_left_over(&self, time: SystemTime) -> bool {
        self.order.alone || self.age(time) >= 2 * self.order.grace
    }

    /// Deletes announcements of moves that began long ago: whoever has read links before
    /// that has ended, and so has the collector.
    async fn tidy_announcements(&mut self, name: &RepositoryName) -> Result<(), StorageError> {
        self.spent += 1;
        let collection = Collection::Deletions(name.clone());
        let listing = self.store.storage.enumerate(&collection, None, PAGE).await?;
        for entry in listing.entries {
            if matches!(entry.key, Key::Moves { .. }) && self.is_left_over(entry.modified) {
                self.spent += 1;
                self.store.storage.delete(&entry.key).await?;
            }
        }
        Ok(())
    }

    /// Says of blobs that their links have moved, or are back.
    async fn conclude(
        &mut self,
        actions: &[Action],
        done: usize,
        left: BTreeSet<Digest>,
        linked: BTreeSet<Digest>,
    ) -> Result<Step, StorageError> {
        for (number, action) in actions.iter().enumerate().skip(done) {
            if number > done && self.is_spent() {
                return Ok(Step::Conclude { done: number, left, linked });
            }
            let digest = &action.digest;
            match action.verb {
                Verb::Condemn if self.order.alone || left.contains(digest) => {}
                Verb::Condemn => {
                    self.write_tombstone(digest, TombstoneState::Unlinked).await?;
                    self.count(Verb::Condemn, action.size);
                }
                Verb::GiveBack if left.contains(digest) => {}
                Verb::GiveBack => {
                    self.spent += 1;
                    self.store.storage.delete(&Key::Tombstone(digest.clone())).await?;
                    self.count(Verb::GiveBack, action.size);
                }
                // The next run moves the link.
                Verb::Remove if linked.contains(digest) => {
                    self.write_tombstone(digest, TombstoneState::Condemned).await?;
                }
                Verb::Remove | Verb::Keep => {}
            }
        }
        Ok(Step::Remove { done: 0, left, linked })
    }
}
