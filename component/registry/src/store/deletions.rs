//! Deletions by digest are announced, so that no push is lost beside one.
//!
//! A deletion reads where it may remove something, and removes it later: what is
//! pushed in between would be gone, and no store can compare and delete. So a
//! deletion writes an announcement before it reads, and removes it after its last
//! removal; a push looks for announcements after its last write. One of the two
//! comes first: either the deletion finds what was pushed, or the push finds the
//! announcement. Then it waits, looks whether all that it wrote is still there,
//! and writes it again if not.
//!
//! A deletion of the whole repository ([`super::repository`]) announces itself
//! in the same way, to all pushes at once.
//!
//! A collector announces in the same place that it moves links of the repository to
//! blobs that nothing refers to, or to manifests that nothing leads to: a push that
//! names them waits, and every push looks again whether its blobs are linked if links
//! were moved.
//!
//! `docs/decisions/0011-deletions.md` has the order of reads and writes, and
//! `docs/collection.md` that of a collector.

use super::Store;
use bytes::Bytes;
use roadstead_oci::{Digest, RepositoryName, Tag};
use roadstead_storage::condemned::DEAD_AFTER;
use roadstead_storage::{Collection, Entry, Key, Pages, Storage, StorageError};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How many announcements are listed in one operation.
///
/// Limit: announcements of deletions that are listed in one operation; test: none, more are listed in steps.
const STEP: usize = 1000;

/// How long a push waits before it looks again, at first; each time twice as long.
///
/// Limit: first pause of a push beside a deletion; test: `a_deletion_that_died_does_not_hold_up_pushes`.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest of these pauses.
///
/// Limit: longest pause of a push beside a deletion; test: `a_deletion_that_died_does_not_hold_up_pushes`.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// After what time a deletion renews its announcement before it goes on. With that
/// and one removal, which in a bucket is two requests of up to 25 s, it is shorter
/// than [`DEAD_AFTER`], after which one that does not change is taken to have died.
///
/// Limit: age of an announcement that is renewed; test: none, it takes a store that is slow.
const RENEWED_AFTER: Duration = Duration::from_secs(5);

/// How long a push pauses, in all its attempts, before it asks its client to try
/// again; with the time that the storage takes, up to twice as long, of which one step between two
/// looks counts for half at most. Two processes may
/// die one after the other, each within what the push has to wait for.
///
/// Limit: time that a push waits for deletions; test: `a_push_does_not_wait_for_ever`.
const PATIENCE: Duration = Duration::from_mins(2);

/// How much older than a new one an announcement is when its deletion has surely
/// ended, by the clock of the storage.
///
/// Limit: age of announcements that the next deletion removes; test: `a_deletion_removes_announcements_of_long_ago`.
const LONG_AGO: Duration = Duration::from_hours(1);

/// A manifest that was pushed, as far as announcements can concern it.
#[derive(Debug)]
pub(super) struct Push<'a> {
    /// The repository.
    pub(super) name: &'a RepositoryName,
    /// The manifest.
    pub(super) digest: &'a Digest,
    /// The tags that were written.
    pub(super) tags: &'a [Tag],
    /// The blobs that it names.
    pub(super) blobs: &'a [&'a Digest],
    /// What else it names, if it is no image: manifests, perhaps.
    pub(super) named: &'a BTreeSet<Digest>,
}

/// How long a push has waited for deletions, and what it has seen.
#[derive(Debug)]
pub(super) struct Waited {
    /// In pauses alone, without the time that the storage took.
    paused: Duration,
    /// With that time, up to `counted`.
    all: Duration,
    counted: Instant,
    /// Announcements, with what was paused when they were first found as they are.
    seen: Vec<(Entry, Duration)>,
    /// Whether links of the repository were moved.
    moved: bool,
}

impl Waited {
    pub(super) fn new() -> Self {
        Self {
            paused: Duration::ZERO,
            all: Duration::ZERO,
            counted: Instant::now(),
            seen: Vec::new(),
            moved: false,
        }
    }

    /// Counts the time since the last call, and says whether a push has waited for too long.
    /// A storage that is slow needs longer than its pauses until it is known that a deletion
    /// has died. One step counts for half of the time at most, so that a process that was
    /// stopped meanwhile looks again before it gives up.
    fn is_too_long(&mut self) -> bool {
        self.all += self.counted.elapsed().min(PATIENCE);
        self.counted = Instant::now();
        self.paused >= PATIENCE || self.all >= 2 * PATIENCE
    }

    /// Whether an announcement has been as it is for so long that whoever wrote it
    /// has died.
    fn has_died(&mut self, announcement: &Entry) -> bool {
        if let Some((_, first)) = self.seen.iter().find(|(known, _)| known == announcement) {
            return self.paused >= *first + DEAD_AFTER;
        }
        self.seen.push((announcement.clone(), self.paused));
        false
    }
}

/// A deletion that is announced.
#[derive(Debug)]
pub(super) struct Announcement {
    pub(super) key: Key,
    value: Bytes,
    /// When it was written last.
    written: Instant,
}

impl<S: Storage> Store<S> {
    /// Announces that a manifest is about to be deleted.
    pub(super) async fn announce(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Announcement, StorageError> {
        let (repository, digest) = (name.clone(), digest.clone());
        let key = Key::Deletion { repository, digest, id: Uuid::new_v4().as_u128() };
        self.announce_as(key).await
    }

    /// Writes an announcement without a value.
    pub(super) async fn announce_as(&self, key: Key) -> Result<Announcement, StorageError> {
        let value = Bytes::new();
        self.storage.write(&key, value.clone()).await?;
        Ok(Announcement { key, value, written: Instant::now() })
    }

    /// Writes an announcement again, with the tags that are about to be deleted.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] when a push has taken the deletion to have
    /// died.
    pub(super) async fn renew(
        &self,
        announcement: &mut Announcement,
        tags: &[Tag],
    ) -> Result<(), StorageError> {
        let tags: Vec<&str> = tags.iter().map(Tag::as_str).collect();
        self.renew_as(announcement, tags.join("\n").into()).await
    }

    /// Writes an announcement again, with this value.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] as of [`Store::renew`].
    pub(super) async fn renew_as(
        &self,
        announcement: &mut Announcement,
        value: Bytes,
    ) -> Result<(), StorageError> {
        self.check(announcement).await?;
        self.storage.write(&announcement.key, value.clone()).await?;
        announcement.value = value;
        announcement.written = Instant::now();
        Ok(())
    }

    /// Writes an announcement again as it is, if it is not new any more.
    pub(super) async fn keep(&self, announcement: &mut Announcement) -> Result<(), StorageError> {
        if announcement.written.elapsed() < RENEWED_AFTER {
            return Ok(());
        }
        let value = announcement.value.clone();
        self.renew_as(announcement, value).await
    }

    /// The same, if it is not new any more.
    pub(super) async fn renew_in_time(
        &self,
        announcement: &mut Announcement,
        tags: &[Tag],
    ) -> Result<(), StorageError> {
        if announcement.written.elapsed() < RENEWED_AFTER {
            return Ok(());
        }
        self.renew(announcement, tags).await
    }

    async fn check(&self, announcement: &Announcement) -> Result<(), StorageError> {
        if self.storage.exists(&announcement.key).await? {
            return Ok(());
        }
        let cause = "the deletion took too long, and a push went on without it";
        Err(StorageError::Unavailable(cause.to_owned()))
    }

    /// Ends an announced deletion. One that fails is not ended: its last request
    /// may still be carried out.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] as of [`Store::renew`].
    pub(super) async fn end(&self, announcement: Announcement) -> Result<(), StorageError> {
        self.check(&announcement).await?;
        self.storage.delete(&announcement.key).await
    }

    /// Removes announcements of deletions that died long before this one began, so
    /// that pushes do not have to read them.
    pub(super) async fn remove_old(
        &self,
        name: &RepositoryName,
        announcement: &Announcement,
    ) -> Result<(), StorageError> {
        let collection = Collection::Deletions(name.clone());
        let listing = self.storage.enumerate(&collection, None, STEP).await?;
        let own = listing.entries.iter().find(|entry| entry.key == announcement.key);
        let Some(begun) = own.map(|entry| entry.modified) else { return Ok(()) };
        let deletions = listing.entries.iter();
        let deletions = deletions.filter(|entry| !matches!(entry.key, Key::Moves { .. }));
        for entry in deletions {
            if begun.duration_since(entry.modified).is_ok_and(|age| age > LONG_AGO) {
                self.storage.delete(&entry.key).await?;
            }
        }
        Ok(())
    }

    /// Waits for the deletions that may remove what a push has written, and for the
    /// moves of links that it relies on, for as long as the push may still wait.
    /// Returns whether links of the repository were moved.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] when they go on for too long.
    pub(super) async fn outwait(
        &self,
        push: &Push<'_>,
        waited: &mut Waited,
    ) -> Result<bool, StorageError> {
        let mut pause = FIRST_PAUSE;
        while !waited.is_too_long() {
            let current = self.announced(push, waited).await?;
            let mut waits = false;
            for entry in current {
                let has_died = waited.has_died(&entry);
                match entry.key {
                    // It stays, as other pushes have to look for what it moved. If the
                    // collector goes on, it announces itself again first.
                    Key::Moves { .. } => waits |= !has_died,
                    key => {
                        waits = true;
                        if has_died {
                            self.storage.delete(&key).await?;
                        }
                    }
                }
            }
            if !waits {
                return Ok(waited.moved);
            }
            self.pause(waited, &mut pause).await;
        }
        let cause = format!("deletions in {} do not end", push.name);
        Err(StorageError::Unavailable(cause))
    }

    /// Waits while a collector may take a manifest away that is being deleted, and keeps
    /// the deletion announced.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] when it goes on for too long, or as of [`Store::renew`].
    pub(super) async fn outwait_moves(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        announcement: &mut Announcement,
    ) -> Result<(), StorageError> {
        let named = BTreeSet::new();
        let deletion = Push { name, digest, tags: &[], blobs: &[], named: &named };
        let (mut waited, mut pause) = (Waited::new(), FIRST_PAUSE);
        while !waited.is_too_long() {
            let mut moves = self.announced(&deletion, &mut waited).await?;
            moves.retain(|entry| matches!(entry.key, Key::Moves { .. }));
            let alive = moves.iter().filter(|entry| !waited.has_died(entry)).count();
            if alive == 0 {
                return Ok(());
            }
            self.keep(announcement).await?;
            self.pause(&mut waited, &mut pause).await;
        }
        Err(StorageError::Unavailable(format!("moves of manifests in {name} do not end")))
    }

    async fn pause(&self, waited: &mut Waited, pause: &mut Duration) {
        self.storage.pause(*pause).await;
        waited.paused += *pause;
        *pause = (2 * *pause).min(LONGEST_PAUSE);
    }

    /// What is announced and concerns a push. What is not any longer, or has changed, is
    /// forgotten.
    async fn announced(
        &self,
        push: &Push<'_>,
        waited: &mut Waited,
    ) -> Result<Vec<Entry>, StorageError> {
        let collection = Collection::Deletions(push.name.clone());
        let mut found = Vec::new();
        let mut pages = Pages::new(&collection, None, STEP);
        while let Some(entries) = pages.next(&self.storage).await? {
            for entry in entries {
                waited.moved |= matches!(entry.key, Key::Moves { .. });
                if self.concerns(&entry, push).await? {
                    found.push(entry);
                }
            }
        }
        waited.seen.retain(|(entry, _)| found.contains(entry));
        Ok(found)
    }

    /// Whether a push waits for what is announced: a deletion of its manifest, of one of
    /// its tags or of what the repository rests on, or a move of its own link, or of one
    /// to what it refers to. A deletion of another manifest reads a tag once more after it has announced
    /// it, so one that was listed without tags finds what this push wrote before.
    async fn concerns(&self, announcement: &Entry, push: &Push<'_>) -> Result<bool, StorageError> {
        let named: Vec<&str> = match &announcement.key {
            Key::RepositoryDeletion { .. } => return Ok(announcement.size > 0),
            Key::Deletion { digest, .. } if digest == push.digest => return Ok(true),
            Key::Deletion { .. } => push.tags.iter().map(Tag::as_str).collect(),
            // One that names the manifest itself takes it away, as nothing led to it; one that
            // names a tag removes that, as it has expired. No tag has the `:` of a digest.
            Key::Moves { .. } => {
                let others = push.blobs.iter().copied().chain(push.named);
                let digests = others.chain([push.digest]).map(Digest::as_str);
                digests.chain(push.tags.iter().map(Tag::as_str)).collect()
            }
            _ => return Ok(false),
        };
        if named.is_empty() || announcement.size == 0 {
            return Ok(false);
        }
        match self.storage.read(&announcement.key).await {
            Ok(announced) => {
                let announced = String::from_utf8_lossy(&announced);
                Ok(announced.lines().any(|line| named.contains(&line)))
            }
            Err(StorageError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DEAD_AFTER, PATIENCE, Waited};
    use std::time::{Duration, Instant};

    /// A storage whose lists take as long as the pauses between them does not use up the
    /// patience before a deletion is known to have died.
    #[test]
    fn a_slow_storage_does_not_end_a_push_that_waits() {
        let is_too_long = |paused, all| Waited { paused, all, ..Waited::new() }.is_too_long();
        assert!(!is_too_long(DEAD_AFTER, 2 * DEAD_AFTER));
        assert!(is_too_long(PATIENCE, PATIENCE));
        assert!(is_too_long(Duration::ZERO, 2 * PATIENCE));
    }

    #[test]
    fn a_process_that_was_stopped_looks_again() {
        let Some(counted) = Instant::now().checked_sub(3 * PATIENCE) else { return };
        let mut waited = Waited { counted, ..Waited::new() };
        assert!(!waited.is_too_long());
        assert!(!waited.is_too_long(), "it was counted once");
        waited.counted = counted;
        assert!(waited.is_too_long());
    }
}
