//! Manifests are written and deleted.

use super::{Referrer, Store};
use bytes::Bytes;
use roadstead_oci::{Digest, Manifest, Reference, RepositoryName, Tag};
use roadstead_storage::{Key, Storage, StorageError};

/// How often a push looks whether a concurrent delete took its manifest away.
///
/// Limit: looks of a push for a concurrent delete; test:
/// `a_push_and_a_delete_of_a_manifest_leave_no_tag_that_leads_nowhere`.
const PUSH_ATTEMPTS: usize = 3;

impl<S: Storage> Store<S> {
    /// The bytes of a manifest, whichever repository holds it.
    pub(crate) async fn manifest_bytes(&self, digest: &Digest) -> Result<Bytes, StorageError> {
        self.storage.read(&Key::Blob(digest.clone())).await
    }

    /// Stores a manifest (end-7). Each object is durable before one that points
    /// to it is written, and tags come last: a crash leaves no tag or link that
    /// leads nowhere.
    pub(crate) async fn put_manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        manifest: &Manifest,
        bytes: Bytes,
        tags: &[Tag],
    ) -> Result<(), StorageError> {
        let size = bytes.len() as u64;
        self.storage.write(&Key::Blob(digest.clone()), bytes).await?;
        if let Some(referrer) = Referrer::of(manifest, digest, size) {
            self.put_referrer(name, &referrer).await?;
        }
        let revision = Key::Revision(name.clone(), digest.clone());
        let media_type = Some(manifest.media_type());
        self.storage.link(&revision, digest, media_type).await?;
        for tag in tags {
            let history = Key::TagHistory(name.clone(), tag.clone(), digest.clone());
            self.storage.link(&history, digest, None).await?;
            let tag = Key::Tag(name.clone(), tag.clone());
            self.storage.link(&tag, digest, media_type).await?;
        }
        // A concurrent delete of this manifest may have removed the link before
        // the tags were written, which would then lead nowhere.
        for _ in 0..PUSH_ATTEMPTS {
            if self.storage.exists(&revision).await? {
                break;
            }
            self.storage.link(&revision, digest, media_type).await?;
        }
        Ok(())
    }

    /// Deletes a manifest and the tags that point to it (end-9). Its link goes
    /// first, so it is gone at once, by tag as by digest.
    pub(crate) async fn delete_manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        let reference = Reference::Digest(digest.clone());
        let stat = self.storage.manifest_stat(name, &reference).await?;
        let bytes = self.manifest_bytes(digest).await?;
        if let Ok(manifest) = Manifest::parse(&bytes, stat.media_type.as_ref())
            && let Some(referrer) = Referrer::of(&manifest, digest, stat.size)
        {
            self.delete_referrer(name, &referrer).await?;
        }
        self.storage.unlink(&Key::Revision(name.clone(), digest.clone()), digest).await?;
        self.delete_tags_of(name, digest).await
    }
}
