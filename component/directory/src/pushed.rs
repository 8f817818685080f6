//! A push of a manifest: stored in one step, and its state in another.

use crate::Directory;
use roadstead_bridge::storage::{DIGESTS_LIMIT, Reply};
use roadstead_oci::{Digest, Reference};
use roadstead_storage::{Collection, Key, PushState, PushedManifest, StorageError};

impl Directory {
    /// Writes a manifest's bytes, its link and its tags, each durable before what leads to it; with
    /// a journal, as one change.
    pub(crate) fn store_manifest(
        &self,
        manifest: &PushedManifest,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        let PushedManifest { repository, digest, media_type, tags } = manifest;
        let blob = Key::Blob(digest.clone());
        let kept_type = Key::MediaType(repository.clone(), digest.clone());
        let revision = Key::Revision(repository.clone(), digest.clone());
        let link = digest.as_str().as_bytes();
        let tag_keys: Vec<Key> = tags
            .iter()
            .flat_map(|tag| {
                let history = Key::TagHistory(repository.clone(), tag.clone(), digest.clone());
                [history, Key::Tag(repository.clone(), tag.clone())]
            })
            .collect();
        let mut objects =
            vec![(&blob, bytes), (&kept_type, media_type.as_str().as_bytes()), (&revision, link)];
        objects.extend(tag_keys.iter().map(|key| (key, link)));
        if self.write_recorded(&objects)? {
            return self.make_kept(repository);
        }
        self.write(&blob, bytes)?;
        self.link(&revision, digest, Some(media_type))?;
        tags.iter().try_for_each(|tag| self.link_tag(repository, tag, digest))
    }

    /// The state of a push; `None` if a deletion or a move is announced in the repository, or if
    /// there are too many blobs.
    pub(crate) fn push_state(
        &self,
        manifest: &PushedManifest,
        blobs: &[Digest],
    ) -> Result<Option<PushState>, StorageError> {
        let PushedManifest { repository, digest, media_type, tags } = manifest;
        if blobs.len() > DIGESTS_LIMIT {
            return Ok(None);
        }
        let announced = self.enumerate(&Collection::Deletions(repository.clone()), None, 1)?;
        if !announced.entries.is_empty() || announced.next.is_some() {
            return Ok(None);
        }
        let mut held = match self.manifest(repository, &Reference::Digest(digest.clone()), false) {
            Ok((Reply::Manifest { media_type: recorded, .. }, _)) => {
                recorded.as_ref() == Some(media_type)
            }
            Ok(_) | Err(StorageError::NotFound) => false,
            Err(error) => return Err(error),
        };
        for tag in tags {
            held &= self.holds(&Key::Tag(repository.clone(), tag.clone()))?;
        }
        let missing = self.missing_blobs(repository, blobs)?;
        Ok(Some(PushState { held, missing }))
    }
}
