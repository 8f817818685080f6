//! What a repository holds, as far as that can be found out with few operations.

use super::manifests::Damaged;
use crate::store::{Store, blob_hash};
use roadstead_oci::RepositoryName;
use roadstead_storage::{Storage, StorageError};
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
        let most = Some(before.saturating_add(budget));
        let all = run.visit_while(name, Damaged::PassesOver, None, most, |digest, known| {
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
