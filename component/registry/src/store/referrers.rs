//! Referrers: the manifests whose `subject` is a given one.
//!
//! Each has an entry below its subject, a descriptor as the referrers API lists
//! it, so a page is one operation of the storage. The entries repeat what the
//! manifests say: where another registry pushed manifests, which keeps none,
//! they are gathered when a repository's referrers are first asked for.

use super::Store;
use bytes::Bytes;
use roadstead_oci::{Descriptor, Digest, Manifest, RepositoryName};
use roadstead_storage::{
    Collection, Key, Listing, NameList, NamesQuery, Page, Storage, StorageError,
};

/// How many manifests are listed in one operation while referrers are gathered.
///
/// Limit: manifests listed in one operation while referrers are gathered; test: none,
/// more are listed in steps.
const STEP: usize = 1000;

/// A manifest that refers to another.
#[derive(Clone, Debug)]
pub(crate) struct Referrer {
    /// The digest of the manifest that it refers to.
    subject: Digest,
    /// Itself, as the referrers API lists it.
    descriptor: Descriptor,
}

impl Referrer {
    /// The referrer that a manifest of this digest and size is, if it has a
    /// subject.
    pub(crate) fn of(manifest: &Manifest, digest: &Digest, size: u64) -> Option<Self> {
        let subject = manifest.subject()?.digest.clone();
        let descriptor = Descriptor {
            media_type: manifest.media_type().clone(),
            digest: digest.clone(),
            size,
            artifact_type: manifest.effective_artifact_type().cloned(),
            annotations: manifest.annotations().clone(),
            urls: Vec::new(),
        };
        Some(Self { subject, descriptor })
    }

    fn key(&self, name: &RepositoryName) -> Key {
        Key::Referrer {
            repository: name.clone(),
            subject: self.subject.clone(),
            digest: self.descriptor.digest.clone(),
        }
    }
}

impl<S: Storage> Store<S> {
    /// A page of the manifests that refer to `subject` (end-12): values are
    /// descriptors as JSON.
    pub(crate) async fn referrers(
        &self,
        name: &RepositoryName,
        subject: &Digest,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        self.complete_referrers(name).await?;
        let list = NameList::Referrers { repository: name.clone(), subject: subject.clone() };
        let after = after.map(str::to_owned);
        self.storage.names(&NamesQuery { list, values: true, after, limit }).await
    }

    pub(super) async fn put_referrer(
        &self,
        name: &RepositoryName,
        referrer: &Referrer,
    ) -> Result<(), StorageError> {
        let json = serde_json::to_vec(&referrer.descriptor)
            .map_err(|error| StorageError::Failed(error.to_string()))?;
        self.storage.write(&referrer.key(name), json.into()).await
    }

    pub(super) async fn delete_referrer(
        &self,
        name: &RepositoryName,
        referrer: &Referrer,
    ) -> Result<(), StorageError> {
        self.storage.delete(&referrer.key(name)).await
    }

    /// Gathers the referrers of manifests that another registry pushed, once.
    async fn complete_referrers(&self, name: &RepositoryName) -> Result<(), StorageError> {
        let complete = Key::ReferrersComplete(name.clone());
        if self.storage.exists(&complete).await? {
            return Ok(());
        }
        let collection = Collection::Revisions(name.clone());
        let (mut after, mut found) = (None, false);
        loop {
            let listing = self.storage.enumerate(&collection, after.as_ref(), STEP).await?;
            let Listing { entries, next } = listing;
            for entry in entries {
                let Key::Revision(_, digest) = entry.key else { continue };
                found = true;
                // A link whose manifest is missing or damaged refers to nothing.
                let Ok(bytes) = self.manifest_bytes(&digest).await else { continue };
                let Ok(manifest) = Manifest::parse(&bytes, None) else { continue };
                if let Some(referrer) = Referrer::of(&manifest, &digest, bytes.len() as u64) {
                    self.put_referrer(name, &referrer).await?;
                }
            }
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        if found {
            self.storage.write(&complete, Bytes::new()).await?;
        }
        Ok(())
    }
}
