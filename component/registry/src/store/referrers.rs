//! Referrers: the manifests whose `subject` is a given one.
//!
//! Each has an entry below its subject, a descriptor as the referrers API
//! lists it, so a page is one step of storage. The entries repeat what the
//! manifests say: where another registry pushed manifests, which keeps none,
//! they are gathered when a repository's referrers are asked for first.

use super::{Depth, Names, Page, Storage, StorageError, Store, keys};
use futures::StreamExt as _;
use object_store::ObjectStoreExt as _;
use roadstead_oci::{Algorithm, Descriptor, Digest, Manifest, RepositoryName};

/// A manifest that refers to another.
#[derive(Clone, Debug)]
pub struct Referrer {
    /// The digest of the manifest that it refers to.
    pub subject: Digest,
    /// Itself, as the referrers API lists it.
    pub descriptor: Descriptor,
}

impl Referrer {
    /// What a manifest of this digest and size is, if it refers to anything.
    pub fn of(manifest: &Manifest, digest: &Digest, size: u64) -> Option<Self> {
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
}

impl<S: Storage> Store<S> {
    /// A page of the manifests that refer to `subject`: the names are places
    /// for `after`, the values are descriptors as JSON.
    pub async fn referrers(
        &self,
        name: &RepositoryName,
        subject: &Digest,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        self.complete_referrers(name).await?;
        let names = Names {
            parent: keys::referrers(name, subject),
            marker: keys::marker(keys::REFERRER_MARKER),
            values: true,
            depth: Depth::Children,
            after,
            limit,
        };
        self.storage.names(names).await
    }

    pub(super) async fn put_referrer(
        &self,
        name: &RepositoryName,
        referrer: &Referrer,
    ) -> Result<(), StorageError> {
        let json = serde_json::to_vec(&referrer.descriptor)
            .map_err(|error| StorageError::Failed(error.to_string()))?;
        let key = keys::referrer(name, &referrer.subject, &referrer.descriptor.digest);
        self.storage.objects().put(&key, json.into()).await?;
        Ok(())
    }

    pub(super) async fn delete_referrer(
        &self,
        name: &RepositoryName,
        referrer: &Referrer,
    ) -> Result<(), StorageError> {
        let key = keys::referrer(name, &referrer.subject, &referrer.descriptor.digest);
        match self.storage.objects().delete(&key).await.map_err(StorageError::from) {
            Ok(()) | Err(StorageError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gathers the referrers of manifests that another registry pushed, once.
    async fn complete_referrers(&self, name: &RepositoryName) -> Result<(), StorageError> {
        let complete = keys::referrers_complete(name);
        match self.storage.objects().head(&complete).await.map_err(StorageError::from) {
            Err(StorageError::NotFound) => {}
            other => return other.map(drop),
        }
        let mut found = false;
        for algorithm in Algorithm::ALL {
            let prefix = keys::revisions_of(name, algorithm);
            let mut revisions = self.storage.objects().list(Some(&prefix));
            while let Some(revision) = revisions.next().await.transpose()? {
                let mut parts = revision.location.as_ref().rsplit('/');
                let (Some("link"), Some(hex)) = (parts.next(), parts.next()) else { continue };
                let Ok(digest) = Digest::parse(&format!("{}:{hex}", algorithm.as_str())) else {
                    continue;
                };
                found = true;
                // A link whose manifest is missing or damaged refers to
                // nothing.
                let Ok(bytes) = self.manifest_bytes(&digest).await else { continue };
                let Ok(manifest) = Manifest::parse(&bytes, None) else { continue };
                if let Some(referrer) = Referrer::of(&manifest, &digest, bytes.len() as u64) {
                    self.put_referrer(name, &referrer).await?;
                }
            }
        }
        if found {
            self.storage.objects().put(&complete, bytes::Bytes::new().into()).await?;
        }
        Ok(())
    }
}
