//! Manifests: two requests for each, or one if it was read lately.

use crate::error::Error;
use crate::lists::LIST_LIMIT;
use crate::objects::Objects;
use bytes::Bytes;
use futures::future::join;
use futures::stream::{self, StreamExt as _};
use roadstead_oci::{Digest, Manifest, MediaType, Reference, RepositoryName};
use roadstead_storage::{Collection, Cursor, Key, Pointer, StoredManifest};
use std::collections::HashSet;

/// How many manifests are looked up at a time.
///
/// Limit: manifests that are looked up at a time; test:
/// `missing_manifests_take_few_requests`.
const CONCURRENT_LOOKUPS: usize = 16;

/// Links that one request listed.
#[derive(Default)]
struct Links {
    found: HashSet<Digest>,
    end: End,
}

/// How far links are listed.
#[derive(Default)]
enum End {
    /// None are.
    #[default]
    None,
    /// Up to this place.
    At(String),
    /// All are.
    All,
}

impl Links {
    /// Whether there is a link to the digest; `None` if that is not known.
    fn find(&self, digest: &Digest) -> Option<bool> {
        let reached = match &self.end {
            End::None => false,
            End::At(end) => place(digest) < *end,
            End::All => true,
        };
        reached.then(|| self.found.contains(digest))
    }
}

/// The place of a manifest's link in the order of keys: what its name begins with.
fn place(digest: &Digest) -> String {
    format!("{}/{}", digest.algorithm().as_str(), digest.encoded())
}

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
                let bytes = self.manifest_bytes(&pointer.digest).await?;
                (pointer, bytes)
            }
            Reference::Digest(digest) => {
                let link = self.revision(repository, digest);
                let (pointer, bytes) = join(link, self.manifest_bytes(digest)).await;
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
        let (media_type, size) = match (media_type, self.recent.get(&digest)) {
            (Some(media_type), Some(bytes)) => (Some(media_type), bytes.len() as u64),
            (Some(media_type), None) => {
                (Some(media_type), self.head(&Key::Blob(digest.clone())).await?.size)
            }
            // Distribution recorded none: the manifest itself says it.
            (None, _) => {
                let bytes = self.manifest_bytes(&digest).await?;
                let parsed = Manifest::parse_stored(&bytes, None).ok();
                (parsed.map(|manifest| manifest.media_type().clone()), bytes.len() as u64)
            }
        };
        Ok(StoredManifest { digest, media_type, size, content: () })
    }

    /// The bytes of a manifest, whichever repositories hold it.
    async fn manifest_bytes(&self, digest: &Digest) -> Result<Bytes, Error> {
        if let Some(bytes) = self.recent.get(digest) {
            return Ok(bytes);
        }
        let bytes = self.read(&Key::Blob(digest.clone())).await?;
        self.recent.insert(digest, &bytes);
        Ok(bytes)
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

    /// See [`roadstead_storage::Storage::missing_manifests`]. One list shows the links
    /// of most repositories; those that it does not reach, and the bytes, are looked
    /// up.
    pub(crate) async fn missing_manifests(
        &self,
        repository: &RepositoryName,
        digests: &[&Digest],
    ) -> Result<Vec<Digest>, Error> {
        let links = match digests {
            [_, _, ..] => self.links_from(repository, digests).await?,
            _ => Links::default(),
        };
        let lookups = digests.iter().map(async |&digest| {
            match links.find(digest) {
                Some(false) => return Err(Error::NOT_FOUND),
                Some(true) => {}
                None => drop(self.revision(repository, digest).await?),
            }
            self.head(&Key::Blob(digest.clone())).await.map(drop)
        });
        let found = stream::iter(lookups).buffered(CONCURRENT_LOOKUPS);
        let mut found = found.zip(stream::iter(digests));
        let mut missing = Vec::new();
        while let Some((result, &digest)) = found.next().await {
            match result {
                Ok(()) => {}
                Err(Error::NOT_FOUND) => missing.push(digest.clone()),
                Err(error) => return Err(error),
            }
        }
        Ok(missing)
    }

    /// The links of a repository's manifests from the first of these digests on, as
    /// far as one request lists them.
    async fn links_from(
        &self,
        repository: &RepositoryName,
        digests: &[&Digest],
    ) -> Result<Links, Error> {
        // A link's key goes on after the digest.
        let first = digests.iter().map(|digest| place(digest)).min().unwrap_or_default();
        let collection = Collection::Revisions(repository.clone());
        let listing = self.enumerate(&collection, Some(&Cursor(first)), LIST_LIMIT).await?;
        let found = listing.entries.into_iter().filter(|entry| entry.size > 0);
        let found = found.filter_map(|entry| match entry.key {
            Key::Revision(_, digest) => Some(digest),
            _ => None,
        });
        let end = match listing.next {
            Some(cursor) => End::At(cursor.0),
            None => End::All,
        };
        Ok(Links { found: found.collect(), end })
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
