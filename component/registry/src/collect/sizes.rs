//! What a repository holds, as far as that can be found out with few operations.

use super::manifests::{before, revision_cursor};
use super::run::{PAGE, Run};
use super::{manifests::Damaged, parts::Known};
use crate::store::{Store, blob_hash};
use roadstead_oci::RepositoryName;
use roadstead_storage::{Collection, Key, Pages, Storage, StorageError};
use std::collections::HashMap;

impl<S: Storage> Store<S> {
    /// The manifests of a repository and what they refer to, by parts of their digests, with their
    /// sizes in bytes; how many operations that took, about; and whether that is all: it ends
    /// when `budget` operations were done, or `limit` blobs were found. Manifests that no
    /// collector has read yet are read. What no manifest says the size of is left out.
    pub(crate) async fn held_blobs(
        &self,
        name: &RepositoryName,
        budget: u32,
        limit: usize,
    ) -> Result<(HashMap<u128, u64>, u32, bool), StorageError> {
        let mut run = self.looker();
        let before = run.spent;
        let mut blobs = HashMap::new();
        let all = run.visit_within(name, before.saturating_add(budget), |digest, known| {
            blobs.insert(blob_hash(digest), known.size);
            for (digest, size) in &known.references.content {
                if let Some(size) = size {
                    blobs.entry(blob_hash(digest)).or_insert(*size);
                }
            }
            blobs.len() < limit
        });
        let all = all.await?;
        Ok((blobs, run.spent - before, all))
    }
}

impl<S: Storage> Run<'_, S> {
    /// Visits manifests as [`Run::visit`] does, until that has taken `budget` operations or
    /// `visit` says that it is enough. Says whether these were all.
    async fn visit_within(
        &mut self,
        name: &RepositoryName,
        budget: u32,
        mut visit: impl FnMut(&roadstead_oci::Digest, &Known) -> bool,
    ) -> Result<bool, StorageError> {
        let starts = self.part_starts(name).await?;
        for (index, start) in starts.iter().enumerate() {
            let end = starts.get(index + 1);
            let (known, _) = self.known(&Key::References(name.clone(), start.clone())).await?;
            let collection = Collection::Revisions(name.clone());
            let mut pages = Pages::new(&collection, Some(revision_cursor(start, "")), PAGE);
            while let Some(entries) = self.next(&mut pages).await? {
                let revisions = before(&entries, end);
                for chunk in revisions.chunks(self.manifests_at_once()) {
                    if self.spent >= budget {
                        return Ok(false);
                    }
                    let new = self.read_new(name, chunk, &known, Damaged::PassesOver).await?;
                    for entry in chunk {
                        let Key::Revision(_, digest) = &entry.key else { continue };
                        let one = new.get(digest).or_else(|| known.0.get(digest));
                        if one.is_some_and(|one| !visit(digest, one)) {
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
