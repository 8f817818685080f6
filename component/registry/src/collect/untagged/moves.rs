//! Manifests to which nothing leads are taken away.

use super::graph::Graph;
use crate::collect::links::{ATTEMPTS, Announced, BATCH};
use crate::collect::manifests::Damaged;
use crate::collect::parts::Part;
use crate::collect::run::{PAGE, Run};
use crate::store::Referrer;
use roadstead_oci::{Digest, Manifest, MediaType, Reference, RepositoryName};
use roadstead_storage::{
    Collection, Entry, Key, MovedRevision, Pages, Pointer, Storage, StorageError,
};
use std::collections::BTreeSet;

/// What is needed to take a manifest away.
struct Leaving {
    media_type: Option<MediaType>,
    referrer: Option<Referrer>,
    size: u64,
}

impl<S: Storage> Run<'_, S> {
    /// Takes manifests away while others use the repository. Says how far it came if it
    /// did not reach the end.
    pub(super) async fn take_away(
        &mut self,
        name: &RepositoryName,
        graph: &mut Graph,
        doomed: &[(Digest, u64)],
        least: u32,
    ) -> Result<Option<Digest>, StorageError> {
        let mut batches = doomed.chunks(BATCH).peekable();
        while let Some(batch) = batches.next() {
            // Whoever finds none looks for nothing that was taken away.
            self.mark().await?;
            let digests = batch.iter().map(|(digest, _)| digest.clone()).collect();
            self.take_batch(name, graph, digests).await?;
            if self.is_spent() && self.spent >= least && batches.peek().is_some() {
                return Ok(batch.last().map(|(digest, _)| digest.clone()));
            }
        }
        Ok(None)
    }

    async fn take_batch(
        &mut self,
        name: &RepositoryName,
        graph: &mut Graph,
        mut rest: Vec<Digest>,
    ) -> Result<(), StorageError> {
        for _ in 0..ATTEMPTS {
            let mut announced = self.announce_moves(name, &rest).await?;
            self.look_again(name, graph, &mut announced).await?;
            let doomed = graph.doomed();
            let doomed: BTreeSet<Digest> = doomed.into_iter().map(|(digest, _)| digest).collect();
            rest.retain(|digest| doomed.contains(digest));
            while let Some(digest) = rest.last() {
                self.alive().await?;
                self.renew(&mut announced).await?;
                if announced.is_late() || !self.take_one(name, digest, &announced).await? {
                    break;
                }
                rest.pop();
            }
            if rest.is_empty() {
                break;
            }
        }
        // What is left is looked at by the next run.
        self.end_moves(name).await
    }

    /// Looks for what has been pushed since the repository was read: manifests whose
    /// links are young, with what they refer to, and where young tags lead. Whoever sets a
    /// tag writes the manifest's link before, so the tags are looked at only for others
    /// who do not.
    async fn look_again(
        &mut self,
        name: &RepositoryName,
        graph: &mut Graph,
        announced: &mut Announced,
    ) -> Result<(), StorageError> {
        let collection = Collection::Revisions(name.clone());
        let mut pages = Pages::new(&collection, None, PAGE);
        while let Some(entries) = self.next(&mut pages).await? {
            self.renew(announced).await?;
            let mut new: Vec<&Entry> = Vec::new();
            for entry in &entries {
                match &entry.key {
                    Key::Revision(_, digest) if !graph.holds(digest) => new.push(entry),
                    Key::Revision(_, digest) if self.stays_by_age(name, entry.modified) => {
                        graph.keep(digest);
                    }
                    _ => {}
                }
            }
            for chunk in new.chunks(self.manifests_at_once()) {
                self.renew(announced).await?;
                for (digest, known) in
                    self.read_new(name, chunk, &Part::default(), Damaged::Ends).await?
                {
                    super::keep_with(graph, &digest, &known);
                }
            }
        }
        let collection = Collection::Tags(name.clone());
        let mut pages = Pages::new(&collection, None, PAGE);
        while let Some(entries) = self.next(&mut pages).await? {
            self.renew(announced).await?;
            for entry in entries {
                if self.age(entry.modified) >= self.order.grace {
                    continue;
                }
                self.renew(announced).await?;
                self.spent += 1;
                match self.store.storage.read(&entry.key).await {
                    Ok(value) => match Pointer::parse(&entry.key, &value) {
                        Ok(pointer) => graph.keep(&pointer.digest),
                        // What a loss of power leaves.
                        Err(StorageError::NotFound) => {}
                        // It is not known what it leads to, so nothing goes.
                        Err(_) => announced.give_up(),
                    },
                    Err(StorageError::NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Takes a manifest away. `false` if that took too long: then it is still there.
    async fn take_one(
        &mut self,
        name: &RepositoryName,
        digest: &Digest,
        announced: &Announced,
    ) -> Result<bool, StorageError> {
        let Some(leaving) = self.leaving(name, digest).await? else { return Ok(true) };
        let revision = Key::Revision(name.clone(), digest.clone());
        let key = Key::MovedRevision(name.clone(), digest.clone());
        let Leaving { media_type, referrer, size } = leaving;
        let moved =
            MovedRevision { digest: digest.clone(), run: self.id, media_type, expired: false };
        if announced.is_late() {
            return Ok(false);
        }
        self.spent += 3;
        // A deletion by request that has just taken the link waits for the end of what is
        // announced, and deletes the moved link then. It is not deleted here: whoever finds
        // no link cannot tell a deletion from another run, which relies on the moved one.
        self.store.storage.write(&key, moved.to_string().into()).await?;
        if announced.is_late() {
            return Ok(false);
        }
        if let Some(referrer) = &referrer {
            self.spent += 1;
            self.store.storage.delete(&referrer.key(name)).await?;
            if announced.is_late() {
                self.store.put_referrer(name, &referrer.clone().shortened()).await?;
                return Ok(false);
            }
        }
        self.store.storage.unlink(&revision, digest).await?;
        self.count_untagged(name, digest, size);
        Ok(true)
    }

    /// Deletes manifests where nobody else uses the storage. Says how far it came if it
    /// did not reach the end.
    pub(super) async fn delete_untagged(
        &mut self,
        name: &RepositoryName,
        doomed: &[(Digest, u64)],
        least: u32,
    ) -> Result<Option<Digest>, StorageError> {
        let mut rest = doomed.iter().peekable();
        while let Some((digest, _)) = rest.next() {
            self.alive().await?;
            if let Some(Leaving { referrer, size, .. }) = self.leaving(name, digest).await? {
                if let Some(referrer) = referrer {
                    self.spent += 1;
                    self.store.storage.delete(&referrer.key(name)).await?;
                }
                self.spent += 1;
                let revision = Key::Revision(name.clone(), digest.clone());
                self.store.storage.unlink(&revision, digest).await?;
                self.count_untagged(name, digest, size);
                self.state.untagged.freed = true;
            }
            if self.is_spent() && self.spent >= least && rest.peek().is_some() {
                return Ok(Some(digest.clone()));
            }
        }
        Ok(None)
    }

    /// What is needed to take a manifest away; `None` if it is gone.
    async fn leaving(
        &mut self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Leaving>, StorageError> {
        self.spent += 1;
        let reference = Reference::Digest(digest.clone());
        let stat = match self.store.storage.manifest_stat(name, &reference).await {
            Err(StorageError::NotFound) => return Ok(None),
            stat => stat?,
        };
        let bytes = self.store.manifest_bytes(digest).await?;
        let size = bytes.len() as u64;
        self.spend(1, size);
        // Another registry records no media type.
        let manifest = Manifest::parse_stored(&bytes, stat.media_type.as_ref()).ok();
        let referrer = manifest.as_ref().and_then(|m| Referrer::of(m, digest, size));
        let of_manifest = manifest.map(|manifest| manifest.media_type().clone());
        Ok(Some(Leaving { media_type: stat.media_type.or(of_manifest), referrer, size }))
    }
}
