//! Manifests: two requests for each.

use crate::error::Error;
use crate::objects::Objects;
use bytes::Bytes;
use futures::future::join;
use roadstead_oci::{Digest, Manifest, MediaType, Reference, RepositoryName};
use roadstead_storage::{Key, Pointer, StoredManifest};

impl Objects {
    /// See [`roadstead_storage::Storage::manifest`].
    pub(crate) async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<StoredManifest<Bytes>, Error> {
        let (pointer, bytes) = match reference {
            Reference::Tag(tag) => {
                // A tag's link is trusted, as it is deleted with its manifest.
                let pointer = self.pointer(&Key::Tag(repository.clone(), tag.clone())).await?;
                let bytes = self.read(&Key::Blob(pointer.digest.clone())).await?;
                (pointer, bytes)
            }
            Reference::Digest(digest) => {
                let (link, blob) = (self.revision(repository, digest), Key::Blob(digest.clone()));
                let (pointer, bytes) = join(link, self.read(&blob)).await;
                (pointer?, bytes?)
            }
        };
        let Pointer { digest, media_type } = pointer;
        Ok(StoredManifest { digest, media_type, size: bytes.len() as u64, content: bytes })
    }

    /// See [`roadstead_storage::Storage::manifest_stat`].
    pub(crate) async fn manifest_stat(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<StoredManifest<()>, Error> {
        let Pointer { digest, media_type } = match reference {
            Reference::Tag(tag) => self.pointer(&Key::Tag(repository.clone(), tag.clone())).await?,
            Reference::Digest(digest) => self.revision(repository, digest).await?,
        };
        let blob = Key::Blob(digest.clone());
        let (media_type, size) = if media_type.is_some() {
            (media_type, self.head(&blob).await?.size)
        } else {
            // Distribution recorded none: the manifest itself says it.
            let bytes = self.read(&blob).await?;
            let parsed = Manifest::parse_stored(&bytes, None).ok();
            (parsed.map(|manifest| manifest.media_type().clone()), bytes.len() as u64)
        };
        Ok(StoredManifest { digest, media_type, size, content: () })
    }

    /// See [`roadstead_storage::Storage::holds_manifest`].
    pub(crate) async fn holds_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        media_type: &MediaType,
    ) -> Result<bool, Error> {
        match self.revision(repository, digest).await {
            Ok(pointer) => Ok(pointer.media_type.as_ref() == Some(media_type)),
            Err(Error::NOT_FOUND) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The link of a manifest that the repository holds.
    async fn revision(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Pointer, Error> {
        let pointer = self.pointer(&Key::Revision(repository.clone(), digest.clone())).await?;
        if pointer.digest == *digest { Ok(pointer) } else { Err(Error::NOT_FOUND) }
    }
}
