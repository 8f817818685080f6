//! What a repository holds, for quotas and for `roadstead du`.

use super::manifests::Damaged;
use super::run::{PAGE, Run};
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::{Collection, Key, Pages, Storage, StorageError};
use std::time::{Duration, SystemTime};

/// How long a blob counts that a repository links to, and that none of its manifests refers to. By
/// then a collector has moved the link away, unless another repository needs the blob.
///
/// Limit: time for which a blob counts that no manifest of the repository refers to; test:
/// `what_no_manifest_refers_to_counts_for_some_days`.
const UNREFERRED: Duration = Duration::from_hours(7 * 24);

/// Something that a repository holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Held {
    /// A manifest that it links to, with its size.
    Manifest(u64),
    /// What a manifest refers to, with the size that the manifest says.
    Referred(Option<u64>),
    /// A blob that it links to; a manifest may refer to it too.
    Linked,
}

impl Held {
    /// The size in bytes, where it is known.
    pub(super) fn size(self) -> Option<u64> {
        match self {
            Self::Manifest(size) => Some(size),
            Self::Referred(size) => size,
            Self::Linked => None,
        }
    }
}

/// The beginning of a digest, by which blobs are told apart.
pub(crate) fn beginning(digest: &Digest) -> u128 {
    let digits = digest.encoded().get(..32).unwrap_or_default();
    u128::from_str_radix(digits, 16).unwrap_or_default()
}

impl<S: Storage> Run<'_, S> {
    /// Visits what counts of a repository: its manifests, what they refer to, and the blobs that
    /// were uploaded or mounted not long before `now`. One thing may come several times.
    pub(super) async fn contents(
        &mut self,
        name: &RepositoryName,
        now: SystemTime,
        mut visit: impl FnMut(&Digest, Held),
    ) -> Result<(), StorageError> {
        let visited = self.visit(name, Damaged::PassesOver, None, |manifest, known| {
            visit(manifest, Held::Manifest(known.size));
            for (digest, size) in &known.references.content {
                visit(digest, Held::Referred(*size));
            }
        });
        visited.await?;
        let collection = Collection::Layers(name.clone());
        let mut pages = Pages::new(&collection, None, PAGE);
        while let Some(entries) = self.next(&mut pages).await? {
            self.keep_pace().await;
            for entry in entries {
                let age = now.duration_since(entry.modified).unwrap_or_default();
                if let Key::Layer(_, digest) = &entry.key
                    && age < UNREFERRED
                {
                    visit(digest, Held::Linked);
                }
            }
        }
        Ok(())
    }

    /// Visits the names of a repository's tags.
    pub(super) async fn tag_names(
        &mut self,
        name: &RepositoryName,
        mut visit: impl FnMut(&str),
    ) -> Result<(), StorageError> {
        let collection = Collection::Tags(name.clone());
        let mut pages = Pages::new(&collection, None, PAGE);
        while let Some(entries) = self.next(&mut pages).await? {
            self.keep_pace().await;
            for entry in entries {
                if let Key::Tag(_, tag) = &entry.key {
                    visit(tag.as_str());
                }
            }
        }
        Ok(())
    }

    /// The size of the data of a blob, if it is there.
    pub(super) async fn data_size(&mut self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        self.spent += 1;
        Ok(self.store.blob_objects(digest).await?.data.map(|(size, _)| size))
    }
}
