//! A whole repository is deleted, in steps: each request does a bounded part, and a
//! repetition goes on.
//!
//! 1. Tags, with what they once led to.
//! 2. Manifests, each announced like any deletion by digest, so that what is pushed
//!    beside it stays.
//! 3. What a push relies on: the links of blobs, those that a collector has moved, and
//!    that referrers are complete.
//!    Before it, the deletion has pushes wait, and then looks whether there is a
//!    manifest again. So a push either is found, and its manifest is deleted before
//!    its blobs; or it finds the announcement, and links its blobs again afterwards.
//!
//! `docs/decisions/0013-repositories.md` has the reasons.

use super::deletions::Announcement;
use super::{Refusal, Store};
use bytes::Bytes;
use futures::future::try_join_all;
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::{Collection, Entry, Key, Listing, Pages, Storage, StorageError, condemned};
use std::time::{Duration, Instant, SystemTime};
use uuid::Uuid;

/// How many objects are listed in one operation.
///
/// Limit: objects of a repository that its deletion lists at a time; test:
/// `a_large_repository_is_deleted_in_steps`.
const STEP: usize = 500;

/// How many objects are deleted at the same time.
///
/// Limit: objects of a repository that are deleted at a time; test:
/// `a_large_repository_is_deleted_in_steps`.
const CONCURRENT: usize = 8;

/// How many manifests: the bytes of each are read.
///
/// Limit: manifests of a repository that are deleted at a time; test:
/// `a_large_repository_is_deleted_in_steps`.
const CONCURRENT_MANIFESTS: usize = 4;

/// How many objects one request deletes, about.
///
/// Limit: objects that one deletion of a repository deletes, the next one goes on;
/// test: `a_large_repository_is_deleted_in_steps`.
const OBJECTS: usize = 1000;

/// How long one request goes on with the next objects.
///
/// Limit: time that one deletion of a repository takes before it leaves the rest to
/// the next; test: none, tests have no slow storage.
const TIME: Duration = Duration::from_secs(10);

/// How old the announcement of another deletion of the repository is, at least,
/// when that has surely died. If not, both go on, which does no harm.
///
/// Limit: age from which another deletion of the repository is not waited for; test:
/// `one_deletion_of_a_repository_goes_on`.
const DEAD_AFTER: Duration = Duration::from_secs(15);

/// The value of an announcement that has pushes wait.
const PUSHES_WAIT: Bytes = Bytes::from_static(b"pushes wait");

/// What a request has deleted of a repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Deleted {
    /// How many tags.
    pub(crate) tags: usize,
    /// How many manifests.
    pub(crate) manifests: usize,
    /// How many blobs the repository does not hold any longer.
    pub(crate) blobs: usize,
    /// How many objects, these and others.
    pub(crate) objects: usize,
    /// Whether nothing is left.
    pub(crate) complete: bool,
}

/// A deletion of a repository by one request.
struct Run<'a> {
    name: &'a RepositoryName,
    announcement: Announcement,
    /// When it was announced, by the storage's clock.
    announced: SystemTime,
    began: Instant,
    /// How many more objects it may delete.
    left: usize,
    deleted: Deleted,
}

impl Run<'_> {
    fn is_over(&self) -> bool {
        self.left == 0 || self.began.elapsed() >= TIME
    }
}

impl<S: Storage> Store<S> {
    /// Deletes a repository, or the next part of it.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when it holds nothing.
    pub(crate) async fn delete_repository(
        &self,
        name: &RepositoryName,
    ) -> Result<Deleted, Refusal> {
        self.check_all_deletable(name, None).await?;
        if !self.holds_anything(name).await? {
            self.storage.tidy(name).await?;
            return Err(StorageError::NotFound.into());
        }
        let id = Uuid::new_v4().as_u128();
        let key = Key::RepositoryDeletion { repository: name.clone(), id };
        let announcement = self.announce_as(key).await?;
        self.remove_old(name, &announcement).await?;
        let (announced, first) = self.place_of(name, &announcement).await?;
        if !first {
            self.end(announcement).await?;
            return Ok(Deleted::default());
        }
        let (began, deleted) = (Instant::now(), Deleted::default());
        let mut run = Run { name, announcement, announced, began, left: OBJECTS, deleted };
        match self.delete_content(&mut run).await {
            Ok(true) => match self.delete_foundations(&mut run).await {
                Ok(complete) => run.deleted.complete = complete,
                // Its last request may still be carried out: pushes wait until it
                // has surely ended.
                Err(error @ Refusal::Storage(_)) => return Err(error),
                Err(refusal) => {
                    self.end(run.announcement).await?;
                    return Err(refusal);
                }
            },
            Ok(false) => {}
            Err(error) => {
                // No push has to wait for what it left undone.
                let _ = self.storage.delete(&run.announcement.key).await;
                return Err(error);
            }
        }
        run.deleted.objects = OBJECTS - run.left;
        self.end(run.announcement).await?;
        if run.deleted.complete {
            self.storage.tidy(name).await?;
        }
        Ok(run.deleted)
    }

    /// Whether a deletion would find anything.
    async fn holds_anything(&self, name: &RepositoryName) -> Result<bool, StorageError> {
        for collection in [
            Collection::Revisions(name.clone()),
            Collection::Layers(name.clone()),
            Collection::Tags(name.clone()),
            Collection::TagHistories(name.clone()),
            Collection::Referrers(name.clone()),
            Collection::Moved(name.clone()),
            Collection::MovedRevisions(name.clone()),
            Collection::References(name.clone()),
        ] {
            if self.has_entries(&collection).await? {
                return Ok(true);
            }
        }
        let announced = Collection::Deletions(name.clone());
        let listing = self.storage.enumerate(&announced, None, STEP).await?;
        Ok(listing.entries.iter().any(|entry| matches!(entry.key, Key::Moves { .. })))
    }

    async fn has_entries(&self, collection: &Collection) -> Result<bool, StorageError> {
        let Listing { entries, next } = self.storage.enumerate(collection, None, 1).await?;
        Ok(!entries.is_empty() || next.is_some())
    }

    /// When a deletion was announced, and whether it goes on: of those that go on at
    /// the same time, one is enough. Each has written its announcement before it
    /// reads the others', so at least the first of them goes on.
    async fn place_of(
        &self,
        name: &RepositoryName,
        announcement: &Announcement,
    ) -> Result<(SystemTime, bool), StorageError> {
        let collection = Collection::Deletions(name.clone());
        let listing = self.storage.enumerate(&collection, None, STEP).await?;
        let own = listing.entries.iter().find(|entry| entry.key == announcement.key);
        let own = own.map(|entry| entry.modified).ok_or_else(|| {
            StorageError::Unavailable("an announcement was removed at once".to_owned())
        })?;
        let before = |entry: &Entry| {
            let whole = matches!(entry.key, Key::RepositoryDeletion { .. });
            let age = own.duration_since(entry.modified).unwrap_or_default();
            whole && entry.key < announcement.key && age < DEAD_AFTER
        };
        Ok((own, !listing.entries.iter().any(before)))
    }

    /// Deletes tags and manifests. Ends with pushes waiting and no manifest left, or
    /// with `false` when the rest is left to the next request.
    async fn delete_content(&self, run: &mut Run<'_>) -> Result<bool, Refusal> {
        loop {
            // Those that were taken away first: who finds no link would restore it.
            let taken = Collection::MovedRevisions(run.name.clone());
            if !self.delete_tags(run).await?
                || !self.delete_all(run, &taken, |_| true).await?.1
                || !self.delete_manifests(run).await?
            {
                return Ok(false);
            }
            self.renew_as(&mut run.announcement, PUSHES_WAIT).await?;
            // Looked at after that was written. A push that has not found it has
            // written its link before.
            if !self.has_entries(&Collection::Revisions(run.name.clone())).await? {
                return Ok(true);
            }
            self.renew_as(&mut run.announcement, Bytes::new()).await?;
        }
    }

    /// Deletes what is left when there are no manifests, and says whether that is
    /// all of it. Pushes wait.
    async fn delete_foundations(&self, run: &mut Run<'_>) -> Result<bool, Refusal> {
        let name = run.name.clone();
        // Tags that lead nowhere.
        if !self.delete_tags(run).await? {
            return Ok(false);
        }
        let referrers = Collection::Referrers(name.clone());
        let (_, all) = self.delete_all(run, &referrers, |_| true).await?;
        if !all {
            return Ok(false);
        }
        self.storage.delete(&Key::ReferrersComplete(name.clone())).await?;
        // Before the links themselves, which would be restored from them.
        for collection in [
            // Before what comes last, as these alone are not found again.
            Collection::MovedTags(name.clone()),
            Collection::Pulled(name.clone()),
            Collection::References(name.clone()),
            Collection::MovedRevisions(name.clone()),
            Collection::Moved(name.clone()),
        ] {
            if !self.delete_all(run, &collection, |_| true).await?.1 {
                return Ok(false);
            }
        }
        // What was pushed since is of an image whose manifest comes next.
        let announced = run.announced;
        let old = |entry: &Entry| entry.modified <= announced;
        let (blobs, all) = self.delete_all(run, &Collection::Layers(name), old).await?;
        run.deleted.blobs += blobs;
        Ok(all && self.delete_moves(run).await?)
    }

    /// Deletes the announcements of a collector's moves, and says whether no link can
    /// have been moved meanwhile. A collector that goes on keeps its own, since pushes
    /// wait for it.
    async fn delete_moves(&self, run: &mut Run<'_>) -> Result<bool, StorageError> {
        let (name, announced) = (run.name.clone(), run.announced);
        let mut goes_on = false;
        let has_ended = |entry: &Entry| {
            let moves = matches!(entry.key, Key::Moves { .. });
            let age = announced.duration_since(entry.modified).unwrap_or_default();
            let ended = entry.size == 0 || age > condemned::DEAD_AFTER;
            goes_on |= moves && !ended;
            moves && ended
        };
        let collection = Collection::Deletions(name.clone());
        let (count, all) = self.delete_all(run, &collection, has_ended).await?;
        let moved = count > 0
            && (self.has_entries(&Collection::MovedRevisions(name.clone())).await?
                || self.has_entries(&Collection::Moved(name)).await?);
        Ok(all && !goes_on && !moved)
    }

    /// Deletes tags, but for one that cannot be deleted, which was pushed since this was looked at.
    async fn delete_tags(&self, run: &mut Run<'_>) -> Result<bool, Refusal> {
        let (name, tags) = (run.name, Collection::Tags(run.name.clone()));
        let mut kept = None;
        let goes = |entry: &Entry| match &entry.key {
            Key::Tag(_, tag) => match self.kept(name, tag) {
                Some(refusal) => {
                    kept = Some(refusal);
                    false
                }
                None => true,
            },
            _ => true,
        };
        let (count, all) = self.delete_all(run, &tags, goes).await?;
        run.deleted.tags += count;
        if let Some(refusal) = kept {
            return Err(refusal);
        }
        if !all {
            return Ok(false);
        }
        let histories = Collection::TagHistories(run.name.clone());
        Ok(self.delete_all(run, &histories, |_| true).await?.1)
    }

    /// Deletes the objects of a collection that `goes` selects: how many, and whether
    /// that is all of them.
    async fn delete_all(
        &self,
        run: &mut Run<'_>,
        collection: &Collection,
        mut goes: impl FnMut(&Entry) -> bool,
    ) -> Result<(usize, bool), StorageError> {
        let mut count = 0;
        let mut pages = Pages::new(collection, None, STEP);
        while let Some(entries) = pages.next(&self.storage).await? {
            let keys: Vec<Key> = entries.into_iter().filter(&mut goes).map(|e| e.key).collect();
            for keys in keys.chunks(CONCURRENT) {
                if run.is_over() {
                    return Ok((count, false));
                }
                self.keep(&mut run.announcement).await?;
                try_join_all(keys.iter().map(|key| self.storage.delete(key))).await?;
                run.left = run.left.saturating_sub(keys.len());
                count += keys.len();
            }
        }
        Ok((count, true))
    }

    /// Deletes the manifests, and says whether that is all of them.
    async fn delete_manifests(&self, run: &mut Run<'_>) -> Result<bool, Refusal> {
        let collection = Collection::Revisions(run.name.clone());
        let mut pages = Pages::new(&collection, None, STEP);
        while let Some(entries) = pages.next(&self.storage).await? {
            let digests: Vec<Digest> = entries
                .into_iter()
                .filter_map(|entry| match entry.key {
                    Key::Revision(_, digest) => Some(digest),
                    _ => None,
                })
                .collect();
            for digests in digests.chunks(CONCURRENT_MANIFESTS) {
                if run.is_over() {
                    return Ok(false);
                }
                self.keep(&mut run.announcement).await?;
                let name = run.name;
                let deletions = digests.iter().map(|digest| self.delete_listed(name, digest));
                let deleted = try_join_all(deletions).await?;
                run.deleted.manifests += deleted.into_iter().filter(|&deleted| deleted).count();
                run.left = run.left.saturating_sub(digests.len());
            }
        }
        Ok(true)
    }

    /// Deletes a manifest that was listed, and says whether it was still there.
    async fn delete_listed(&self, name: &RepositoryName, digest: &Digest) -> Result<bool, Refusal> {
        let deleted = async {
            let bytes = self.bytes_to_delete(name, digest).await?;
            let announcement = self.announce(name, digest).await?;
            self.delete_announced(name, digest, bytes, announcement).await
        };
        match deleted.await {
            Ok(()) => Ok(true),
            Err(Refusal::Storage(StorageError::NotFound)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
