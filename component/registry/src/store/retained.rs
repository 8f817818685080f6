//! Tags that a collector has removed, as they had expired, come back when its run is undone.

use super::Store;
use super::deletions::{Push, Waited};
use roadstead_oci::{Digest, Manifest, MediaType, Reference, RepositoryName, Tag};
use roadstead_storage::{Created, Key, MovedTag, Storage, StorageError};
use std::collections::BTreeSet;

impl<S: Storage> Store<S> {
    /// Whether a tag cannot be deleted.
    pub(crate) fn keeps_tag(&self, name: &RepositoryName, tag: &str) -> Option<&str> {
        self.immutable.keeps(name.as_str(), tag).map(roadstead_access::ImmutableRule::name)
    }

    /// Whether a tag never changes.
    pub(crate) fn is_immutable(&self, name: &RepositoryName, tag: &str) -> bool {
        self.immutable.rule(name.as_str(), tag).is_some()
    }

    /// What a collector keeps of a tag that it has removed. One that is damaged says nothing.
    pub(crate) async fn moved_tag(
        &self,
        name: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<MovedTag>, StorageError> {
        match self.storage.read(&Key::MovedTag(name.clone(), tag.clone())).await {
            Ok(value) => Ok(MovedTag::parse(&value)),
            Err(StorageError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes what is left of a tag that is gone: its history, and when it was pulled.
    pub(crate) async fn forget_tag(
        &self,
        name: &RepositoryName,
        tag: &Tag,
        pulled: bool,
    ) -> Result<(), StorageError> {
        if self.storage.exists(&Key::Tag(name.clone(), tag.clone())).await? {
            return Ok(());
        }
        self.delete_history(name, tag).await?;
        if pulled {
            self.storage.delete(&Key::Pulled(name.clone(), tag.clone())).await?;
        }
        Ok(())
    }

    /// Points a tag that was removed to its manifest again, unless it was pushed since, or the
    /// manifest was deleted. Says whether it did.
    ///
    /// It does as a push does: a deletion of the manifest that goes on either finds the tag, or
    /// is announced, and has ended when this looks whether the manifest is there.
    pub(crate) async fn restore_tag(
        &self,
        name: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<bool, StorageError> {
        let Some(media_type) = self.media_type_of(name, digest).await? else { return Ok(false) };
        match self.storage.create_tag(name, tag, digest, &media_type).await? {
            Created::Here => {}
            Created::Elsewhere(_) => return Ok(false),
        }
        let (tags, named) = ([tag.clone()], BTreeSet::new());
        let push = Push { name, digest, tags: &tags, blobs: &[], named: &named };
        self.outwait(&push, &mut Waited::new()).await?;
        let revision = Key::Revision(name.clone(), digest.clone());
        if self.storage.exists(&revision).await? || self.restore_manifest(name, digest).await? {
            return Ok(true);
        }
        self.storage.unlink(&Key::Tag(name.clone(), tag.clone()), digest).await?;
        Ok(false)
    }

    /// The media type of a manifest of the repository; `None` if there is none.
    async fn media_type_of(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<MediaType>, StorageError> {
        let reference = Reference::Digest(digest.clone());
        let stat = match self.storage.manifest_stat(name, &reference).await {
            Err(StorageError::NotFound) if self.restore_manifest(name, digest).await? => {
                self.storage.manifest_stat(name, &reference).await?
            }
            Err(StorageError::NotFound) => return Ok(None),
            stat => stat?,
        };
        if stat.media_type.is_some() {
            return Ok(stat.media_type);
        }
        // Another registry recorded none.
        match self.manifest_bytes(digest).await {
            Ok(bytes) => {
                let manifest = Manifest::parse_stored(&bytes, None).ok();
                Ok(manifest.map(|manifest| manifest.media_type().clone()))
            }
            Err(StorageError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
