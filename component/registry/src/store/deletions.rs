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
//! `docs/decisions/0011-deletions.md` has the order of reads and writes.

use super::Store;
use bytes::Bytes;
use roadstead_oci::{Digest, RepositoryName, Tag};
use roadstead_storage::{Collection, Entry, Key, Listing, Storage, StorageError};
use std::ops::Range;
use std::time::Duration;
use uuid::Uuid;

/// How many announcements are listed in one operation.
///
/// Limit: announcements of deletions that are listed in one operation; test: none, more are listed in steps.
const STEP: usize = 1000;

/// How long a push waits before it looks again.
///
/// Limit: pause of a push beside a deletion; test: `a_deletion_that_died_does_not_hold_up_pushes`.
const PAUSE: Duration = Duration::from_millis(100);

/// How often a push looks at an announcement that does not change before it takes
/// the deletion to have died: for 15 s. A deletion renews its announcement for
/// every few tags.
///
/// Limit: looks at the announcement of a deletion that died; test: `a_deletion_that_died_does_not_hold_up_pushes`.
const DEAD_AFTER: usize = 150;

/// How often a push looks, in all its attempts, before it asks its client to try
/// again: for 60 s.
///
/// Limit: looks of a push at deletions in progress; test: `a_push_does_not_wait_for_ever`.
const LOOKS: usize = 600;

/// The looks of one push.
pub(super) const fn looks() -> Range<usize> {
    0..LOOKS
}

/// A deletion that is announced.
#[derive(Debug)]
pub(super) struct Announcement(Key);

impl<S: Storage> Store<S> {
    /// Announces that a manifest is about to be deleted.
    pub(super) async fn announce(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Announcement, StorageError> {
        let (repository, digest) = (name.clone(), digest.clone());
        let key = Key::Deletion { repository, digest, id: Uuid::new_v4().as_u128() };
        self.storage.write(&key, Bytes::new()).await?;
        Ok(Announcement(key))
    }

    /// Renews an announcement, with the tags that are about to be deleted.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] when a push has taken the deletion to have
    /// died.
    pub(super) async fn renew(
        &self,
        announcement: &Announcement,
        tags: &[Tag],
    ) -> Result<(), StorageError> {
        if !self.storage.exists(&announcement.0).await? {
            let cause = "the deletion took too long, and a push went on without it";
            return Err(StorageError::Unavailable(cause.to_owned()));
        }
        let tags: Vec<&str> = tags.iter().map(Tag::as_str).collect();
        self.storage.write(&announcement.0, tags.join("\n").into()).await
    }

    /// Ends an announced deletion. One that fails is not ended: its last request
    /// may still be carried out.
    pub(super) async fn end(&self, announcement: Announcement) -> Result<(), StorageError> {
        self.storage.delete(&announcement.0).await
    }

    /// Waits for the deletions that may remove what was written for a manifest
    /// and these tags, for as many looks as are left.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] when they go on for too long.
    pub(super) async fn outwait_deletions(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        tags: &[Tag],
        looks: &mut Range<usize>,
    ) -> Result<(), StorageError> {
        // Announcements, with the look that first found them as they are.
        let mut seen: Vec<(Entry, usize)> = Vec::new();
        for look in looks {
            let current = self.deletions_of(name, digest, tags).await?;
            if current.is_empty() {
                return Ok(());
            }
            seen.retain(|(entry, _)| current.contains(entry));
            for entry in current {
                match seen.iter().find(|(known, _)| *known == entry) {
                    Some((_, first)) if look - first >= DEAD_AFTER => {
                        self.storage.delete(&entry.key).await?;
                    }
                    Some(_) => {}
                    None => seen.push((entry, look)),
                }
            }
            self.storage.pause(PAUSE).await;
        }
        let cause = format!("deletions in {name} do not end");
        Err(StorageError::Unavailable(cause))
    }

    /// The announced deletions of a manifest or of one of the tags.
    async fn deletions_of(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        tags: &[Tag],
    ) -> Result<Vec<Entry>, StorageError> {
        let collection = Collection::Deletions(name.clone());
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let listing = self.storage.enumerate(&collection, after.as_ref(), STEP).await?;
            let Listing { entries, next } = listing;
            for entry in entries {
                if self.concerns(&entry, digest, tags).await? {
                    found.push(entry);
                }
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// Whether an announced deletion is of this manifest or of one of the tags. Of
    /// another manifest, it reads a tag once more after it has announced it: one
    /// that was listed without tags finds what this push wrote before.
    async fn concerns(
        &self,
        announcement: &Entry,
        digest: &Digest,
        tags: &[Tag],
    ) -> Result<bool, StorageError> {
        match &announcement.key {
            Key::Deletion { digest: deleted, .. } if deleted == digest => Ok(true),
            Key::Deletion { .. } if !tags.is_empty() && announcement.size > 0 => {
                match self.storage.read(&announcement.key).await {
                    Ok(announced) => {
                        let announced = String::from_utf8_lossy(&announced);
                        Ok(announced
                            .lines()
                            .any(|line| tags.iter().any(|tag| tag.as_str() == line)))
                    }
                    Err(StorageError::NotFound) => Ok(false),
                    Err(error) => Err(error),
                }
            }
            _ => Ok(false),
        }
    }
}
