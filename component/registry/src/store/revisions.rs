//! Manifests that a collector has taken away, as nothing led to them, come back when
//! they are needed: when one is pulled by digest, or when a manifest is pushed that
//! refers to it.
//!
//! A collector writes the moved link before it deletes the link, so who finds no link
//! looks for that. `docs/collection.md` has the protocol.

use super::{Referrer, Store};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use roadstead_oci::{Digest, Manifest, Reference, RepositoryName};
use roadstead_storage::condemned::{DEAD_AFTER, is_marked, need};
use roadstead_storage::{
    Collection, Content, Key, MovedRevision, Pages, Storage, StorageError, StoredManifest,
};
use std::collections::BTreeSet;

/// How many moved links are listed in one operation.
///
/// Limit: moved links of manifests that are listed in one operation; test: none, more are listed in steps.
const STEP: usize = 1000;

/// How many manifests are restored at a time.
///
/// Limit: manifests that a push restores at a time; test: none, more are restored in steps.
const CONCURRENT: usize = 8;

impl<S: Storage> Store<S> {
    /// Opens a manifest (end-3). One that was taken away is restored if it is asked for
    /// by its digest.
    pub(crate) async fn manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<StoredManifest<Content<S::Download>>, StorageError> {
        match (self.storage.manifest(name, reference).await, reference) {
            (Err(StorageError::NotFound), Reference::Digest(digest))
                if self.restore_manifest(name, digest).await? =>
            {
                self.storage.manifest(name, reference).await
            }
            (found, _) => found.inspect(|_| self.note_pull(name, reference)),
        }
    }

    /// The same without its bytes: clients look with this whether a manifest is there
    /// before they pull it. It costs a request more only if something was ever taken
    /// away.
    pub(crate) async fn manifest_head(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<StoredManifest<()>, StorageError> {
        match (self.storage.manifest_stat(name, reference).await, reference) {
            (Err(StorageError::NotFound), Reference::Digest(digest))
                if is_marked(&self.storage).await?
                    && self.restore_manifest(name, digest).await? =>
            {
                self.storage.manifest_stat(name, reference).await
            }
            (found, _) => found.inspect(|_| self.note_pull(name, reference)),
        }
    }

    /// Makes a manifest one of the repository again that a collector has taken away.
    /// `false` if none has, or if it is too late. The moved link stays: somebody may
    /// have found no link before, and look for it now.
    pub(crate) async fn restore_manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, StorageError> {
        if self.read_only {
            return Ok(false);
        }
        let moved = self.moved_revision(name, digest).await?;
        let Some(moved) = moved.filter(|moved| !moved.expired) else { return Ok(false) };
        let Some(bytes) = self.needed_manifest(digest).await? else { return Ok(false) };
        // A deletion by request deletes it first.
        if !self.storage.exists(&Key::MovedRevision(name.clone(), digest.clone())).await? {
            return Ok(false);
        }
        self.link_manifest(name, &moved, &bytes).await?;
        Ok(true)
    }

    /// The bytes of a manifest, whose data is not removed from now on. `None` if it is
    /// gone, or about to be.
    pub(crate) async fn needed_manifest(
        &self,
        digest: &Digest,
    ) -> Result<Option<Bytes>, StorageError> {
        if !need(&self.storage, digest, DEAD_AFTER).await? {
            return Ok(None);
        }
        match self.manifest_bytes(digest).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StorageError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes what a push of a manifest has written, without tags.
    pub(crate) async fn link_manifest(
        &self,
        name: &RepositoryName,
        moved: &MovedRevision,
        bytes: &Bytes,
    ) -> Result<(), StorageError> {
        let (digest, media_type) = (&moved.digest, moved.media_type.as_ref());
        let revision = Key::Revision(name.clone(), digest.clone());
        self.storage.link(&revision, digest, media_type).await?;
        let manifest = Manifest::parse_stored(bytes, media_type).ok();
        let referrer = manifest.and_then(|m| Referrer::of(&m, digest, bytes.len() as u64));
        match referrer {
            Some(referrer) => self.put_referrer(name, &referrer.shortened()).await,
            None => Ok(()),
        }
    }

    /// The moved link of a manifest. One that is damaged restores nothing.
    pub(crate) async fn moved_revision(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<MovedRevision>, StorageError> {
        let key = Key::MovedRevision(name.clone(), digest.clone());
        match self.storage.read(&key).await {
            Ok(value) => Ok(MovedRevision::parse(&value).filter(|moved| moved.digest == *digest)),
            Err(StorageError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Restores those of some manifests that a collector has taken away, and says
    /// whether there were any.
    pub(super) async fn restore_manifests(
        &self,
        name: &RepositoryName,
        digests: &BTreeSet<Digest>,
    ) -> Result<bool, StorageError> {
        if digests.is_empty() {
            return Ok(false);
        }
        let mut any = false;
        let collection = Collection::MovedRevisions(name.clone());
        let mut pages = Pages::new(&collection, None, STEP);
        while let Some(entries) = pages.next(&self.storage).await? {
            let moved = entries.iter().filter_map(|entry| match &entry.key {
                Key::MovedRevision(_, digest) if digests.contains(digest) => Some(digest),
                _ => None,
            });
            let restored = moved.map(async |digest| {
                // It may have been restored already.
                let revision = Key::Revision(name.clone(), digest.clone());
                if self.storage.exists(&revision).await? {
                    return Ok(false);
                }
                self.restore_manifest(name, digest).await
            });
            let restored: Vec<bool> =
                stream::iter(restored).buffered(CONCURRENT).try_collect().await?;
            any |= restored.contains(&true);
        }
        Ok(any)
    }
}
