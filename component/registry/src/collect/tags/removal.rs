//! Tags are removed, and come back when that is undone.
//!
//! Before it reads the times of tags the last time, a run announces those that it is about to
//! remove, where pushes look after they have written a tag. So a push either is found, and the tag
//! is as young as that, or it finds the announcement, and then writes again what it has lost.

use crate::collect::links::{ATTEMPTS, Announced, BATCH};
use crate::collect::run::{PAGE, Run};
use futures::future::try_join_all;
use roadstead_access::RetentionPolicy;
use roadstead_oci::{Digest, RepositoryName, Tag};
use roadstead_storage::{Collection, Entry, Key, MovedTag, Pages, Pointer, Storage, StorageError};
use std::collections::BTreeSet;

impl<S: Storage> Run<'_, S> {
    /// Removes tags. Says how far it came if it did not reach the end.
    pub(super) async fn remove_tags(
        &mut self,
        name: &RepositoryName,
        policy: &RetentionPolicy,
        doomed: &[Tag],
        least: u32,
    ) -> Result<Option<String>, StorageError> {
        let mut batches = doomed.chunks(BATCH).peekable();
        while let Some(batch) = batches.next() {
            if self.order.exclusive {
                for tag in batch {
                    self.alive().await?;
                    self.remove_tag(name, tag, None).await?;
                    self.store.forget_tag(name, tag, true).await?;
                }
            } else {
                // Where there is none, nobody looks for what was removed.
                self.mark().await?;
                self.remove_batch(name, policy, batch.to_vec()).await?;
            }
            if self.is_spent() && self.spent >= least && batches.peek().is_some() {
                return Ok(batch.last().map(|tag| tag.as_str().to_owned()));
            }
        }
        Ok(None)
    }

    async fn remove_batch(
        &mut self,
        name: &RepositoryName,
        policy: &RetentionPolicy,
        mut rest: Vec<Tag>,
    ) -> Result<(), StorageError> {
        let mut removed = Vec::new();
        for _ in 0..ATTEMPTS {
            let lines: Vec<&str> = rest.iter().map(Tag::as_str).collect();
            let mut announced = self.announce_lines(name, lines.join("\n")).await?;
            // What has become more than can be looked at stays.
            let tags = self.tag_times(name, policy, Some(&mut announced)).await?;
            let doomed = self.doomed_tags(name, policy, &tags.unwrap_or_default()).await?;
            let doomed: BTreeSet<Tag> = doomed.into_iter().collect();
            rest.retain(|tag| doomed.contains(tag));
            while let Some(tag) = rest.last() {
                self.alive().await?;
                self.renew(&mut announced).await?;
                if announced.is_late() || !self.remove_tag(name, tag, Some(&announced)).await? {
                    break;
                }
                removed.extend(rest.pop());
            }
            if rest.is_empty() {
                break;
            }
        }
        // What is left is looked at by the next run.
        self.end_moves(name).await?;
        for tag in &removed {
            self.alive().await?;
            self.spent += 2;
            // As a deletion by tag: a push at this moment may lose its entry. When it was pulled
            // is kept for an undo.
            self.store.forget_tag(name, tag, false).await?;
        }
        Ok(())
    }

    /// Removes a tag; without what is announced, for good. `false` if that took too long: then it
    /// is still there.
    async fn remove_tag(
        &mut self,
        name: &RepositoryName,
        tag: &Tag,
        announced: Option<&Announced>,
    ) -> Result<bool, StorageError> {
        let is_late = || announced.is_some_and(Announced::is_late);
        let key = Key::Tag(name.clone(), tag.clone());
        self.spent += 1;
        let value = match self.store.storage.read(&key).await {
            Err(StorageError::NotFound) => return Ok(true),
            value => value?,
        };
        // Where one leads that is damaged cannot be kept, so it stays.
        let Ok(Pointer { digest, .. }) = Pointer::parse(&key, &value) else { return Ok(true) };
        if is_late() {
            return Ok(false);
        }
        if announced.is_some() {
            self.spent += 1;
            let moved = MovedTag { digest: digest.clone(), run: self.id, restored: false };
            let kept = Key::MovedTag(name.clone(), tag.clone());
            self.store.storage.write(&kept, moved.to_string().into()).await?;
        }
        if is_late() {
            return Ok(false);
        }
        self.spent += 2;
        self.store.storage.unlink(&key, &digest).await?;
        self.count_expired(name, tag);
        Ok(true)
    }

    /// What is kept of the tags that were removed from a repository.
    async fn moved_tags(&mut self, name: &RepositoryName) -> Result<Vec<Entry>, StorageError> {
        let mut found = Vec::new();
        let collection = Collection::MovedTags(name.clone());
        let mut pages = Pages::new(&collection, None, PAGE);
        while let Some(entries) = self.next(&mut pages).await? {
            found.extend(entries);
            self.alive().await?;
        }
        Ok(found)
    }

    /// Where the tags led that were removed from a repository: those manifests stay for as long.
    pub(in crate::collect) async fn removed_tags_led_to(
        &mut self,
        name: &RepositoryName,
    ) -> Result<Vec<Digest>, StorageError> {
        if self.order.exclusive || self.state.marked.is_none() && !self.marked {
            return Ok(Vec::new());
        }
        let moved = self.moved_tags(name).await?;
        let mut digests = Vec::new();
        for chunk in moved.chunks(self.manifests_at_once()) {
            self.alive().await?;
            let read = self.read_moved_tags(name, chunk).await?;
            digests.extend(read.into_iter().map(|(_, moved)| moved.digest));
        }
        Ok(digests)
    }

    async fn read_moved_tags(
        &mut self,
        name: &RepositoryName,
        entries: &[Entry],
    ) -> Result<Vec<(Tag, MovedTag)>, StorageError> {
        self.spend(u32::try_from(entries.len()).unwrap_or(u32::MAX), 0);
        let store = self.store;
        let reads = entries.iter().map(async |entry| {
            let Key::MovedTag(_, tag) = &entry.key else { return Ok(None) };
            let moved = store.moved_tag(name, tag).await?;
            Ok::<_, StorageError>(moved.map(|moved| (tag.clone(), moved)))
        });
        Ok(try_join_all(reads).await?.into_iter().flatten().collect())
    }

    /// Deletes what is kept of removed tags once that cannot be undone any longer: a run that undoes
    /// it has begun before, and ended.
    pub(super) async fn settle_tags(&mut self, name: &RepositoryName) -> Result<(), StorageError> {
        if self.order.dry_run || self.state.marked.is_none() {
            return Ok(());
        }
        let least = self.order.keep.saturating_add(self.order.grace);
        for entry in self.moved_tags(name).await? {
            let Key::MovedTag(_, tag) = &entry.key else { continue };
            if !self.order.exclusive && self.age(entry.modified) < least {
                continue;
            }
            self.alive().await?;
            self.spent += 6;
            if self.stays_restored(name, tag, &entry).await? {
                continue;
            }
            self.store.forget_tag(name, tag, true).await?;
            self.store.storage.delete(&entry.key).await?;
        }
        Ok(())
    }

    /// Whether a tag is there that an undo has brought back, and was not pushed since.
    async fn stays_restored(
        &mut self,
        name: &RepositoryName,
        tag: &Tag,
        entry: &Entry,
    ) -> Result<bool, StorageError> {
        if !self.store.moved_tag(name, tag).await?.is_some_and(|moved| moved.restored) {
            return Ok(false);
        }
        let key = Key::Tag(name.clone(), tag.clone());
        let found = self.store.entry(&Collection::Tags(name.clone()), &key).await?;
        Ok(found.is_some_and(|found| found.modified <= entry.modified))
    }

    /// Gives back the tags that a run has removed from a repository.
    pub(in crate::collect) async fn give_back_tags(
        &mut self,
        name: &RepositoryName,
        run: u128,
    ) -> Result<(), StorageError> {
        for entry in self.moved_tags(name).await? {
            if self.age(entry.modified) >= self.order.keep && !self.order.exclusive {
                continue;
            }
            self.alive().await?;
            let read = self.read_moved_tags(name, std::slice::from_ref(&entry)).await?;
            let of_run = |moved: &MovedTag| moved.run == run && !moved.restored;
            for (tag, moved) in read.into_iter().filter(|(_, moved)| of_run(moved)) {
                self.give_back_tag(name, &tag, moved).await?;
            }
        }
        Ok(())
    }

    /// Points a tag to its manifest again, if there is no such tag, and says so in what is kept
    /// of it. If another undo did the first, and died, it does the second.
    async fn give_back_tag(
        &mut self,
        name: &RepositoryName,
        tag: &Tag,
        moved: MovedTag,
    ) -> Result<(), StorageError> {
        self.spent += 1;
        let there = self.store.target(name, tag).await?;
        if there.as_ref().is_some_and(|there| *there != moved.digest) {
            return Ok(());
        }
        if !self.order.dry_run {
            self.spent += 7;
            if there.is_none() && !self.store.restore_tag(name, tag, &moved.digest).await? {
                return Ok(());
            }
            let kept = Key::MovedTag(name.clone(), tag.clone());
            let restored = MovedTag { restored: true, ..moved };
            self.store.storage.write(&kept, restored.to_string().into()).await?;
        }
        self.state.report.restored_tags += u64::from(there.is_none());
        Ok(())
    }
}
