//! Which repository holds a blob.
//!
//! A collector moves the links of condemned blobs to a place beside. Who makes a
//! link looks for a tombstone first, and who finds none restores it from there:
//! `docs/collection.md` has the protocol.

use super::Store;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use roadstead_oci::{ByteRange, Digest, RepositoryName};
use roadstead_storage::condemned::{DEAD_AFTER, Look, look, need};
use roadstead_storage::{Blob, Key, Pointer, Storage, StorageError};
use std::time::Duration;

/// How many blobs that are missing are looked for at a time.
///
/// Limit: missing blobs of a manifest that are looked for at a time; test:
/// `a_push_restores_many_links`.
const CONCURRENT_LOOKUPS: usize = 8;

/// Where a client gets a blob.
#[derive(Debug)]
pub(crate) enum Opened<D> {
    /// Here.
    Here(Blob<D>),
    /// At this URL.
    Elsewhere(String),
}

impl<S: Storage> Store<S> {
    /// The size of a blob of the repository. Where each object costs a request, a
    /// link that was moved is not looked for: most who ask are about to push the
    /// blob, which is always right. A directory has looked already.
    pub(crate) async fn blob_size(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<u64, StorageError> {
        let size = match self.storage.blob_size(name, digest).await {
            Err(StorageError::LinkMoved) if self.restore(name, digest).await? => {
                self.storage.blob_size(name, digest).await
            }
            size => size,
        };
        not_moved(size)
    }

    /// Opens a blob of the repository, or a part of it, or says where it is, if
    /// clients may be redirected.
    pub(crate) async fn open_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        range: Option<ByteRange>,
        redirect: bool,
    ) -> Result<Opened<S::Download>, StorageError> {
        let may_be_moved = |error: &StorageError| match error {
            StorageError::LinkMoved => true,
            // A directory has looked already.
            StorageError::NotFound => self.storage.marker().is_some(),
            _ => false,
        };
        let opened = match self.open_held(name, digest, range, redirect).await {
            Err(error) if may_be_moved(&error) && self.restore(name, digest).await? => {
                self.open_held(name, digest, range, redirect).await
            }
            opened => opened,
        };
        not_moved(opened)
    }

    async fn open_held(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        range: Option<ByteRange>,
        redirect: bool,
    ) -> Result<Opened<S::Download>, StorageError> {
        if redirect && let Some(url) = self.storage.blob_url(name, digest).await? {
            return Ok(Opened::Elsewhere(url));
        }
        Ok(Opened::Here(self.storage.blob(name, digest, range).await?))
    }

    /// Makes a blob of the repository `from` one of `name` as well: a
    /// cross-repository mount (end-11). Without `from`, any repository will do
    /// that is `readable`; returns which one it was.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when no readable repository holds it, or when it
    /// is just being removed.
    pub(crate) async fn mount(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        from: Option<&RepositoryName>,
        readable: impl Fn(&RepositoryName) -> bool,
    ) -> Result<RepositoryName, StorageError> {
        let holder = match from {
            Some(from) if !readable(from) => return Err(StorageError::NotFound),
            Some(from) => {
                let link = Key::Layer(from.clone(), digest.clone());
                if !self.leads_to(&link, digest).await? {
                    return Err(StorageError::NotFound);
                }
                from.clone()
            }
            None => self.storage.holder(digest, readable).await?,
        };
        let look = look(&self.storage, digest).await?;
        if look == Look::Condemned && !need(&self.storage, digest, Duration::ZERO).await? {
            return Err(StorageError::NotFound);
        }
        // Without `from`, the data was read already: that proves nothing if the blob
        // can be condemned.
        let is_there = from.is_none() && look == Look::Unmarked;
        if !is_there && !self.storage.exists(&Key::Blob(digest.clone())).await? {
            return Err(StorageError::NotFound);
        }
        self.storage.link(&Key::Layer(name.clone(), digest.clone()), digest, None).await?;
        Ok(holder)
    }

    /// Makes a blob one that the repository does not hold (end-10). The bytes
    /// stay, as other repositories may hold it.
    pub(crate) async fn delete_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        let moved = Key::MovedLayer(name.clone(), digest.clone());
        match self.storage.blob_size(name, digest).await {
            Ok(_) => {
                // First: who finds no link would restore it from there.
                self.storage.delete(&moved).await?;
                self.storage.delete(&Key::Layer(name.clone(), digest.clone())).await
            }
            Err(StorageError::NotFound | StorageError::LinkMoved) => {
                self.storage.remove(&moved).await
            }
            Err(error) => Err(error),
        }
    }

    /// Which of some blobs the repository does not hold. Links that were moved are
    /// restored.
    pub(crate) async fn missing_blobs(
        &self,
        name: &RepositoryName,
        digests: &[&Digest],
    ) -> Result<Vec<Digest>, StorageError> {
        let missing = self.storage.missing_blobs(name, digests).await?;
        self.link_again(name, &missing, false).await
    }

    /// Links blobs again that were found missing, and returns those for which that is
    /// not possible. Links that were moved are restored. If the repository was `held` to
    /// have the blobs a moment ago, a deletion has taken their links away, and left the
    /// data.
    pub(super) async fn link_again(
        &self,
        name: &RepositoryName,
        missing: &[Digest],
        held: bool,
    ) -> Result<Vec<Digest>, StorageError> {
        let lookups = missing.iter().map(async |digest| {
            if self.restore(name, digest).await? {
                return Ok(Vec::new());
            }
            // A collector that has moved it may have given it back.
            let missing = self.storage.missing_blobs(name, &[digest]).await?;
            if missing.is_empty() || !held {
                return Ok(missing);
            }
            let condemned = look(&self.storage, digest).await? == Look::Condemned;
            let linked = self.link_data(name, digest, condemned).await?;
            Ok(if linked { Vec::new() } else { missing })
        });
        stream::iter(lookups).buffered(CONCURRENT_LOOKUPS).try_concat().await
    }

    /// Links a blob again whose link a collector has moved. `false` if it has moved
    /// none, or if the data is gone. The moved link stays: a push may have found no
    /// link before, and look for it now.
    async fn restore(&self, name: &RepositoryName, digest: &Digest) -> Result<bool, StorageError> {
        let moved = Key::MovedLayer(name.clone(), digest.clone());
        if self.read_only || !self.leads_to(&moved, digest).await? {
            return Ok(false);
        }
        self.link_data(name, digest, true).await
    }

    /// Links a blob if its data is there. If it is `condemned`, says first that it is
    /// needed. `false` if the data is gone, or about to be.
    async fn link_data(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        condemned: bool,
    ) -> Result<bool, StorageError> {
        if condemned && !need(&self.storage, digest, DEAD_AFTER).await? {
            return Ok(false);
        }
        if !self.storage.exists(&Key::Blob(digest.clone())).await? {
            return Ok(false);
        }
        self.storage.link(&Key::Layer(name.clone(), digest.clone()), digest, None).await?;
        Ok(true)
    }

    /// Whether a link is there, and leads to `digest`.
    async fn leads_to(&self, link: &Key, digest: &Digest) -> Result<bool, StorageError> {
        match self.storage.read(link).await.and_then(|value| Pointer::parse(link, &value)) {
            Ok(pointer) => Ok(pointer.digest == *digest),
            Err(StorageError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A link that was moved and was not restored is none.
fn not_moved<T>(result: Result<T, StorageError>) -> Result<T, StorageError> {
    result.map_err(|error| match error {
        StorageError::LinkMoved => StorageError::NotFound,
        error => error,
    })
}
