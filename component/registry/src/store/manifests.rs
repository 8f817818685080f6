//! Manifests are written and deleted.

use super::deletions::{Announcement, Push, Waited};
use super::{Referrer, Refusal, Store};
use crate::collect::References;
use bytes::Bytes;
use futures::future::{try_join, try_join_all};
use roadstead_access::ImmutableRule;
use roadstead_oci::{Digest, Manifest, ManifestKind, Reference, RepositoryName, Tag};
use roadstead_storage::condemned::prepare_upload;
use roadstead_storage::{Key, PushedManifest, Storage, StorageError, StoredManifest};
use std::collections::BTreeSet;

/// How often a push writes its links, if deletions take them away.
///
/// Limit: attempts of a push beside deletions; test: `a_push_does_not_wait_for_ever`.
const PUSH_ATTEMPTS: usize = 8;

impl<S: Storage> Store<S> {
    /// The bytes of a manifest, whichever repository holds it.
    pub(crate) async fn manifest_bytes(&self, digest: &Digest) -> Result<Bytes, StorageError> {
        self.storage.read(&Key::Blob(digest.clone())).await
    }

    /// Stores a manifest (end-7). Each object is durable before one that points
    /// to it is written, and tags come last: a crash leaves no tag or link that
    /// leads nowhere. Acknowledged is what is still there when no deletion goes on
    /// that might remove it. Manifests that it names, and that a collector has taken
    /// away, are restored. `complete` says that the caller has just seen that the
    /// repository holds its blobs. Tags that never change are created: see
    /// [`Store::check_tags`], which comes before. If one of them points elsewhere by now, what
    /// was written before it stays.
    ///
    /// Returns the blobs that the manifest names and the repository does not hold, if
    /// that had to be looked at: if it is to be complete, or if a collector has moved
    /// links of the repository.
    pub(crate) async fn put_manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        manifest: &Manifest,
        bytes: Bytes,
        tags: &[Tag],
        complete: bool,
    ) -> Result<Vec<Digest>, Refusal> {
        let fixed = self.fixed_tags(name, tags);
        let referrer = Referrer::of(manifest, digest, bytes.len() as u64);
        // What an image refers to are blobs.
        let named: BTreeSet<Digest> = match manifest.kind() {
            ManifestKind::Image { .. } => BTreeSet::new(),
            _ => References::of(&bytes).content.into_keys().collect(),
        };
        prepare_upload(&self.storage, digest).await?;
        let pushed = PushedManifest {
            repository: name.clone(),
            digest: digest.clone(),
            media_type: manifest.media_type().clone(),
            tags: tags.to_vec(),
        };
        let blobs: Vec<&Digest> = manifest.blobs().map(|blob| &blob.digest).collect();
        let push = Push { name, digest, tags, blobs: &blobs, named: &named };
        let relied: &[&Digest] = if complete { &blobs } else { &[] };
        let mut waited = Waited::new();
        for attempt in 0..PUSH_ATTEMPTS {
            self.write_manifest(&pushed, bytes.clone(), referrer.as_ref(), &fixed).await?;
            // Nothing was moved yet, so `relied` is all; `push_state` does not look at referrers.
            if attempt == 0
                && referrer.is_none()
                && self.is_undisturbed(&pushed, relied).await?
                && !self.restore_manifests(name, &named).await?
            {
                return Ok(Vec::new());
            }
            let moved = self.outwait(&push, &mut waited).await?;
            // The whole repository may have been deleted between the check of the blobs
            // and the link of the manifest, which this deletion has not found; or a
            // collector has moved their links.
            let relied: &[&Digest] = if moved { &blobs } else { relied };
            let missing = self.storage.missing_blobs(name, relied);
            let held = self.has_links(&pushed, referrer.as_ref());
            let (held, missing) = try_join(held, missing).await?;
            let gone = self.link_again(name, &missing, complete).await?;
            // Those may be deleted again at the same time, with the repository.
            let restored = self.restore_manifests(name, &named).await?;
            if (held && gone == missing && !restored) || (complete && !gone.is_empty()) {
                return Ok(gone);
            }
        }
        let cause = format!("{digest} in {name} is deleted as often as it is pushed");
        Err(StorageError::Unavailable(cause).into())
    }

    /// Writes all of a push. Tags come last.
    async fn write_manifest(
        &self,
        pushed: &PushedManifest,
        bytes: Bytes,
        referrer: Option<&Referrer>,
        fixed: &[(&Tag, &ImmutableRule)],
    ) -> Result<(), Refusal> {
        if referrer.is_none() && fixed.is_empty() {
            return Ok(self.storage.store_manifest(pushed, bytes).await?);
        }
        let untagged = PushedManifest { tags: Vec::new(), ..pushed.clone() };
        self.storage.store_manifest(&untagged, bytes).await?;
        let PushedManifest { repository, digest, media_type, tags } = pushed;
        if let Some(referrer) = referrer {
            self.put_referrer(repository, referrer).await?;
        }
        // The others stay as they are if one of these is refused.
        for &fixed in fixed {
            self.create_tag(repository, fixed, digest, media_type).await?;
        }
        for tag in tags.iter().filter(|tag| fixed.iter().all(|(fixed, _)| fixed != tag)) {
            self.storage.link_tag(repository, tag, digest, media_type).await?;
        }
        Ok(())
    }

    /// Whether one operation has shown that nothing is announced in the repository, and that all
    /// is there that the push wrote and relies on. If not, the push has to look step by step.
    async fn is_undisturbed(
        &self,
        pushed: &PushedManifest,
        relied: &[&Digest],
    ) -> Result<bool, StorageError> {
        let state = self.storage.push_state(pushed, relied).await?;
        Ok(state.is_some_and(|state| state.held && state.missing.is_empty()))
    }

    /// Whether all links are there; a tag may point to another manifest by now.
    async fn has_links(
        &self,
        pushed: &PushedManifest,
        referrer: Option<&Referrer>,
    ) -> Result<bool, StorageError> {
        let PushedManifest { repository, digest, media_type, tags } = pushed;
        let tags = tags.iter().map(|tag| Key::Tag(repository.clone(), tag.clone()));
        let keys: Vec<Key> = tags.chain(referrer.map(|r| r.key(repository))).collect();
        let exist = try_join_all(keys.iter().map(|key| self.storage.exists(key)));
        let held = self.storage.holds_manifest(repository, digest, media_type);
        let (held, exist) = try_join(held, exist).await?;
        Ok(held && exist.into_iter().all(|exists| exists))
    }

    async fn manifest_stat(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<StoredManifest<()>>, StorageError> {
        match self.storage.manifest_stat(name, &Reference::Digest(digest.clone())).await {
            Ok(stat) => Ok(Some(stat)),
            Err(StorageError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes a manifest and the tags that point to it (end-9). Its link goes
    /// last: if the deletion ends early, it can be repeated.
    pub(crate) async fn delete_manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), Refusal> {
        self.check_all_deletable(name, Some(digest)).await?;
        let bytes = self.bytes_to_delete(name, digest).await?;
        let announcement = self.announce(name, digest).await?;
        self.remove_old(name, &announcement).await?;
        self.delete_announced(name, digest, bytes, announcement).await
    }

    /// The bytes of a manifest that is to be deleted; none if they are gone, as
    /// another registry's collector can leave it.
    pub(super) async fn bytes_to_delete(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Bytes>, StorageError> {
        match self.manifest_bytes(digest).await {
            Ok(bytes) => Ok(Some(bytes)),
            // Perhaps a blob that is too long for a manifest.
            Err(error @ StorageError::Failed(_)) => {
                let held = self.manifest_stat(name, digest).await?.is_some();
                Err(if held { error } else { StorageError::NotFound })
            }
            Err(StorageError::NotFound)
                if self.storage.exists(&Key::Revision(name.clone(), digest.clone())).await? =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes a manifest whose deletion is announced.
    pub(super) async fn delete_announced(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        bytes: Option<Bytes>,
        mut announcement: Announcement,
    ) -> Result<(), Refusal> {
        // First: who finds no link would restore it from there.
        let taken = Key::MovedRevision(name.clone(), digest.clone());
        let was_taken = self.storage.exists(&taken).await?;
        if was_taken {
            self.storage.delete(&taken).await?;
        }
        // Read only now: a push that has not seen the announcement may just have
        // ended.
        let stat = self.manifest_stat(name, digest).await?;
        let tags = match self.delete_tags_of(name, digest, &mut announcement).await {
            Err(refusal @ Refusal::Immutable(_)) => {
                // Nothing that pushes have to wait for is going on.
                self.end(announcement).await?;
                return Err(refusal);
            }
            tags => tags?,
        };
        self.renew(&mut announcement, &[]).await?;
        let media_type = stat.as_ref().and_then(|stat| stat.media_type.as_ref());
        let referrer = bytes.as_ref().and_then(|bytes| {
            let manifest = Manifest::parse_stored(bytes, media_type).ok()?;
            Referrer::of(&manifest, digest, bytes.len() as u64)
        });
        if let Some(referrer) = referrer {
            self.storage.delete(&referrer.key(name)).await?;
            self.renew_in_time(&mut announcement, &[]).await?;
        }
        let revision = Key::Revision(name.clone(), digest.clone());
        let mut held = stat.is_some();
        if held {
            self.storage.unlink(&revision, digest).await?;
        } else if self.storage.exists(&revision).await? {
            // A link that is damaged, or leads to nothing: nobody can pull it.
            held = true;
            self.storage.delete(&revision).await?;
        }
        // A collector may move the link at the same time: it found it there before.
        self.outwait_moves(name, digest, &mut announcement).await?;
        let was_taken = match self.storage.remove(&taken).await {
            Err(StorageError::NotFound) => was_taken,
            removed => removed.map(|()| true)?,
        };
        self.end(announcement).await?;
        // Tags without the link were left by an earlier version, or by others; an
        // entry among the referrers by a process that died.
        if !held && tags == 0 && !was_taken { Err(StorageError::NotFound.into()) } else { Ok(()) }
    }
}
