//! Manifests that were taken away by earlier runs.

use super::graph::Graph;
use crate::collect::live::Fact;
use crate::collect::manifests::FOLLOWED;
use crate::collect::references::References;
use crate::collect::run::{PAGE, Run};
use crate::store::{Referrer, Store};
use futures::future::try_join_all;
use roadstead_oci::{Digest, Manifest, RepositoryName};
use roadstead_storage::{Collection, Key, MovedRevision, Pages, Storage, StorageError};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

/// A manifest that was taken away.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) digest: Digest,
    /// When it was, or when that expired.
    modified: SystemTime,
    /// When the link was written that the repository has again.
    pub(super) linked: Option<SystemTime>,
    /// `None` until it is read, and if it is damaged.
    moved: Option<MovedRevision>,
    /// The manifest that it is about.
    subject: Option<Digest>,
}

/// What becomes of a moved link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It stays as it is.
    Keep,
    /// Requests find nothing in it any longer.
    Expire,
    /// It goes.
    Forget,
    /// The manifest comes back.
    GiveBack,
}

/// What is known of a moved link, with ages.
#[derive(Clone, Copy, Debug)]
struct Case {
    age: Duration,
    expired: bool,
    linked: Option<Duration>,
    /// Whether something leads to the manifest again.
    needed: bool,
    grace: Duration,
    keep: Duration,
    exclusive: bool,
}

impl Case {
    fn fate(&self) -> Fate {
        let old = |age: Duration, than: Duration| self.exclusive || age >= than;
        if let Some(link) = self.linked {
            // The mark of this run has found the link, and nobody who found none before
            // that looks for the moved one any longer.
            let over = old(self.age, 2 * self.grace) && old(link, self.grace);
            return if over { Fate::Forget } else { Fate::Keep };
        }
        // Another run may hold nothing of one that has expired.
        if self.needed && !self.expired {
            return Fate::GiveBack;
        }
        // Whoever has read it before it expired has written the link by now.
        if self.exclusive || (self.expired && self.age >= self.grace) {
            return Fate::Forget;
        }
        if !self.expired && self.age >= self.keep { Fate::Expire } else { Fate::Keep }
    }
}

impl<S: Storage> Store<S> {
    /// What a moved link says, and what its manifest refers to, with its size.
    async fn read_taken(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(Option<MovedRevision>, References, u64), StorageError> {
        let moved = self.moved_revision(name, digest).await?;
        match self.storage.read(&Key::Blob(digest.clone())).await {
            Ok(bytes) => Ok((moved, References::of(&bytes), bytes.len() as u64)),
            Err(StorageError::NotFound) => Ok((moved, References::default(), 0)),
            Err(error) => Err(error),
        }
    }
}

impl<S: Storage> Run<'_, S> {
    /// The manifests that were taken away from a repository.
    pub(super) async fn taken(
        &mut self,
        name: &RepositoryName,
    ) -> Result<Vec<Taken>, StorageError> {
        let mut taken = Vec::new();
        let collection = Collection::MovedRevisions(name.clone());
        let mut pages = Pages::new(&collection, None, PAGE);
        while let Some(entries) = self.next(&mut pages).await? {
            for entry in entries {
                let Key::MovedRevision(_, digest) = entry.key else { continue };
                let modified = entry.modified;
                // By this run, whose mark has found what it refers to.
                if modified > self.begun && !self.order.exclusive {
                    continue;
                }
                taken.push(Taken { digest, modified, linked: None, moved: None, subject: None });
            }
            self.alive().await?;
        }
        Ok(taken)
    }

    /// Reads what was taken away, and has this run remove nothing that it refers to:
    /// a request may be about to restore it, which the mark has not seen. Where nobody
    /// else uses the storage, there are no requests.
    pub(super) async fn hold(
        &mut self,
        name: &RepositoryName,
        taken: &mut [Taken],
        mut graph: Option<&mut Graph>,
    ) -> Result<(), StorageError> {
        for chunk in taken.chunks_mut(self.manifests_at_once()) {
            self.alive().await?;
            let store = self.store;
            let reads = chunk.iter().map(|one| store.read_taken(name, &one.digest));
            let read = try_join_all(reads).await?;
            for (one, (moved, references, size)) in chunk.iter_mut().zip(read) {
                self.spend(2, size);
                one.moved = moved;
                one.subject.clone_from(&references.subject);
                if let Some(graph) = graph.as_deref_mut() {
                    graph.add(&one.digest, &references, size);
                }
                // What is surely over holds nothing.
                let expired = one.moved.as_ref().is_none_or(|moved| moved.expired);
                if self.order.undo.is_none()
                    && !(expired && self.age(one.modified) >= self.order.grace)
                {
                    self.hold_one(&one.digest, references, graph.as_deref()).await?;
                }
            }
            if self.found.is_full() {
                self.store_found().await?;
            }
        }
        Ok(())
    }

    async fn hold_one(
        &mut self,
        digest: &Digest,
        references: References,
        graph: Option<&Graph>,
    ) -> Result<(), StorageError> {
        if self.order.exclusive {
            return Ok(());
        }
        self.found.add(digest, Fact::Held);
        let (mut next, mut seen, mut followed) = (vec![references], BTreeSet::new(), 0);
        while let Some(references) = next.pop() {
            references.content.keys().for_each(|content| self.found.add(content, Fact::Held));
            for manifest in references.manifests {
                // Those of the repository are live, or held by themselves.
                let known = graph.is_some_and(|graph| graph.contains(&manifest));
                if known || self.state.untagged.holds_all || !seen.insert(manifest.clone()) {
                    continue;
                }
                let child = self.store.read_child(&manifest).await?;
                self.spend(2, child.as_ref().map_or(0, |child| child.size));
                let Some(child) = child else { continue };
                followed += 1;
                self.state.untagged.holds_all |= followed > FOLLOWED;
                next.push(child.references);
                self.alive().await?;
            }
        }
        Ok(())
    }

    /// Gives back what is needed again, and lets the rest go in time.
    pub(super) async fn settle(
        &mut self,
        name: &RepositoryName,
        taken: &[Taken],
        graph: &Graph,
    ) -> Result<(), StorageError> {
        let needed = if taken.is_empty() { BTreeSet::new() } else { graph.needed() };
        for one in taken {
            self.alive().await?;
            let case = Case {
                age: self.age(one.modified),
                expired: one.moved.as_ref().is_none_or(|moved| moved.expired),
                linked: one.linked.map(|link| self.age(link)),
                needed: needed.contains(&one.digest),
                grace: self.order.grace,
                keep: self.order.keep,
                exclusive: self.order.exclusive,
            };
            let fate = case.fate();
            if self.order.dry_run {
                self.state.report.restored += u64::from(fate == Fate::GiveBack);
                self.state.untagged.freed |= fate == Fate::GiveBack;
                continue;
            }
            if one.linked.is_some() {
                self.mend_referrer(name, one).await?;
            }
            let key = Key::MovedRevision(name.clone(), one.digest.clone());
            match (fate, &one.moved) {
                (Fate::GiveBack, _) => self.give_back_manifest(name, one).await?,
                (Fate::Forget, _) => {
                    self.spent += 1;
                    self.store.storage.delete(&key).await?;
                }
                (Fate::Expire, Some(moved)) => {
                    self.spent += 1;
                    let expired = MovedRevision { expired: true, ..moved.clone() };
                    self.store.storage.write(&key, expired.to_string().into()).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Gives back the manifests that a run has taken away from a repository, and that have
    /// not expired.
    pub(super) async fn give_back_manifests(
        &mut self,
        name: &RepositoryName,
        run: u128,
    ) -> Result<(), StorageError> {
        let mut taken = self.taken(name).await?;
        self.hold(name, &mut taken, None).await?;
        for one in &taken {
            self.alive().await?;
            let of_run = one.moved.as_ref().is_some_and(|moved| moved.run == run && !moved.expired);
            let revision = Key::Revision(name.clone(), one.digest.clone());
            self.spent += 1;
            if !of_run || self.store.storage.exists(&revision).await? {
                continue;
            }
            if self.order.dry_run {
                self.state.report.restored += 1;
            } else {
                self.give_back_manifest(name, one).await?;
            }
        }
        Ok(())
    }

    /// Makes a manifest one of the repository again, if that is possible.
    async fn give_back_manifest(
        &mut self,
        name: &RepositoryName,
        one: &Taken,
    ) -> Result<(), StorageError> {
        // One that is damaged counts as expired.
        let Some(moved) = &one.moved else { return Ok(()) };
        self.spent += 6;
        let digest = &one.digest;
        let Some(bytes) = self.store.needed_manifest(digest).await? else { return Ok(()) };
        // This may pause, so it comes before the look.
        self.hold_one(digest, References::of(&bytes), None).await?;
        let key = Key::MovedRevision(name.clone(), digest.clone());
        // A deletion by request deletes it first.
        if !self.store.storage.exists(&key).await? {
            return Ok(());
        }
        self.store.link_manifest(name, moved, &bytes).await?;
        self.state.report.restored += 1;
        // The mark has not seen it.
        self.state.untagged.freed = true;
        Ok(())
    }

    /// Writes the entry of a referrer that is there again, if whoever wrote its link has
    /// died before, or whoever was about to take it away.
    async fn mend_referrer(
        &mut self,
        name: &RepositoryName,
        one: &Taken,
    ) -> Result<(), StorageError> {
        let Some(subject) = one.subject.clone() else { return Ok(()) };
        let digest = one.digest.clone();
        self.spent += 1;
        let entry = Key::Referrer { repository: name.clone(), subject, digest };
        if self.store.storage.exists(&entry).await? {
            return Ok(());
        }
        self.spent += 2;
        let bytes = self.store.manifest_bytes(&one.digest).await?;
        let media_type = one.moved.as_ref().and_then(|moved| moved.media_type.as_ref());
        let manifest = Manifest::parse_stored(&bytes, media_type).ok();
        match manifest.and_then(|m| Referrer::of(&m, &one.digest, bytes.len() as u64)) {
            Some(referrer) => self.store.put_referrer(name, &referrer.shortened()).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Case, Fate};
    use std::time::Duration;

    #[test]
    fn what_becomes_of_moved_links() {
        use Fate::{Expire, Forget, GiveBack, Keep};
        let seconds = Duration::from_secs;
        let case = |age: u64, expired: bool, linked: Option<u64>, needed: bool| Case {
            age: seconds(age),
            expired,
            linked: linked.map(seconds),
            needed,
            grace: seconds(100),
            keep: seconds(700),
            exclusive: false,
        };
        for (age, expired, linked, needed, expected, alone) in [
            (0, false, None, false, Keep, Forget),
            (699, false, None, false, Keep, Forget),
            (700, false, None, false, Expire, Forget),
            (99, true, None, false, Keep, Forget),
            (100, true, None, false, Forget, Forget),
            // Something leads to it again.
            (0, false, None, true, GiveBack, GiveBack),
            (700, false, None, true, GiveBack, GiveBack),
            (99, true, None, true, Keep, Forget),
            (700, true, None, true, Forget, Forget),
            // It was restored.
            (199, false, Some(150), false, Keep, Forget),
            (200, false, Some(99), false, Keep, Forget),
            (200, false, Some(100), false, Forget, Forget),
            (200, true, Some(0), true, Keep, Forget),
        ] {
            let case = case(age, expired, linked, needed);
            assert_eq!(case.fate(), expected, "{case:?}");
            assert_eq!(Case { exclusive: true, ..case }.fate(), alone, "{case:?}");
        }
    }
}
