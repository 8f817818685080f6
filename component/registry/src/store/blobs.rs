//! Blobs: content by digest, and which repository holds it.

use super::{Depth, Names, Opened, Storage, StorageError, Store, keys};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use object_store::ObjectStoreExt as _;
use roadstead_oci::{ByteRange, Digest, RepositoryName};

/// How many repositories are asked whether they hold a blob that is to be
/// mounted from wherever it is.
const HOLDERS: usize = 16;

/// How many blobs are looked up at a time.
const LOOKUPS: usize = 8;

/// How many links of a repository are listed at most rather than looked up.
const LISTED_LAYERS: usize = 999;

/// A blob of a repository, opened.
pub type Blob<D> = Opened<D>;

impl<S: Storage> Store<S> {
    /// Opens a blob that the repository holds.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when the repository does not hold it, even
    /// though another one may: a digest is no key to foreign content.
    pub async fn blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        range: Option<ByteRange>,
    ) -> Result<Blob<S::Download>, StorageError> {
        let link = keys::layer_link(name, digest);
        let opened = self.storage.open(&keys::blob(digest), range, &[link]).await?;
        if linked(&opened.companions, digest) { Ok(opened) } else { Err(StorageError::NotFound) }
    }

    /// Where a client gets a blob that the repository holds from the storage
    /// itself, if it is to.
    pub async fn blob_url(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<String>, StorageError> {
        let url = self.storage.url(&keys::blob(digest)).await?;
        if url.is_some() {
            self.check_link(name, digest).await?;
        }
        Ok(url)
    }

    /// The size in bytes of a blob that the repository holds.
    pub async fn blob_size(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<u64, StorageError> {
        if !S::ONE_STEP {
            // Most of those who ask are about to push it: then this is all.
            self.check_link(name, digest).await?;
            return Ok(self.storage.stat(&keys::blob(digest), &[]).await?.size);
        }
        let link = keys::layer_link(name, digest);
        let stat = self.storage.stat(&keys::blob(digest), &[link]).await?;
        if linked(&stat.companions, digest) { Ok(stat.size) } else { Err(StorageError::NotFound) }
    }

    /// Which of some blobs the repository does not hold.
    pub async fn missing_blobs(
        &self,
        name: &RepositoryName,
        digests: &[&Digest],
    ) -> Result<Vec<Digest>, StorageError> {
        let listed = match digests {
            [first, _, ..] if !S::ONE_STEP => self.layers_in_one_list(name, first).await?,
            _ => None,
        };
        let lookups = digests.iter().map(|&digest| {
            let listed = listed.as_ref().filter(|_| digest.algorithm() == digests[0].algorithm());
            async move {
                let found = match listed {
                    Some(names) if names.iter().any(|name| name == digest.encoded()) => Ok(()),
                    Some(_) => Err(StorageError::NotFound),
                    None => self.blob_size(name, digest).await.map(drop),
                };
                (digest, found)
            }
        });
        let mut results = stream::iter(lookups).buffered(LOOKUPS);
        let mut missing = Vec::new();
        while let Some((digest, found)) = results.next().await {
            match found {
                Ok(()) => {}
                Err(StorageError::NotFound) => missing.push(digest.clone()),
                Err(error) => return Err(error),
            }
        }
        Ok(missing)
    }

    /// The digests of all blobs that the repository holds, of the algorithm of
    /// `like`, where they are few enough to be one request's answer. Their
    /// links are trusted: who pushes an image has just pushed its blobs, or was
    /// told that they are there.
    async fn layers_in_one_list(
        &self,
        name: &RepositoryName,
        like: &Digest,
    ) -> Result<Option<Vec<String>>, StorageError> {
        let names = Names {
            parent: keys::layers_of(name, like.algorithm()),
            marker: keys::marker(keys::LINK),
            values: false,
            depth: Depth::Children,
            after: None,
            limit: LISTED_LAYERS,
        };
        let page = self.storage.names(names).await?;
        Ok((!page.more).then_some(page.names))
    }

    /// Whether the repository holds a blob, by the link alone.
    async fn check_link(&self, name: &RepositoryName, digest: &Digest) -> Result<(), StorageError> {
        let pointer = self.storage.pointer(&keys::layer_link(name, digest)).await?;
        if pointer.digest == *digest { Ok(()) } else { Err(StorageError::NotFound) }
    }

    /// Makes a blob that `from` holds one that `name` holds as well. Without
    /// `from`, any repository will do. Only those are looked at that are
    /// `readable`.
    pub async fn mount(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        from: Option<&RepositoryName>,
        readable: impl Fn(&RepositoryName) -> bool,
    ) -> Result<(), StorageError> {
        match from {
            Some(from) if !readable(from) => return Err(StorageError::NotFound),
            Some(from) => drop(self.blob_size(from, digest).await?),
            None => self.find_holder(digest, readable).await?,
        }
        self.link_blob(name, digest).await
    }

    /// Finds a repository that holds the blob, by the hints: at most
    /// [`HOLDERS`] are looked at.
    async fn find_holder(
        &self,
        digest: &Digest,
        readable: impl Fn(&RepositoryName) -> bool,
    ) -> Result<(), StorageError> {
        if !S::ONE_STEP {
            let holder = self.storage.holder(&keys::blob(digest)).await?.filter(&readable);
            let holder = holder.ok_or(StorageError::NotFound)?;
            return self.check_link(&holder, digest).await;
        }
        let mut beside = self.storage.objects().list(Some(&keys::blob_directory(digest)));
        for _ in 0..HOLDERS {
            // Hints come first in the order of keys.
            let Some(object) = beside.next().await.transpose()? else { break };
            let Some(holder) = keys::hinted(&object.location).filter(&readable) else { continue };
            match self.blob_size(&holder, digest).await {
                Ok(_) => return Ok(()),
                Err(StorageError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StorageError::NotFound)
    }

    /// Makes a blob one that the repository does not hold. The bytes stay, as
    /// other repositories may hold it.
    pub async fn delete_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        self.blob_size(name, digest).await?;
        self.storage.objects().delete(&keys::layer_link(name, digest)).await?;
        if S::ONE_STEP {
            // A hint is not trusted, so one that stays does no harm.
            let _ = self.storage.objects().delete(&keys::hint(digest, name)).await;
        }
        Ok(())
    }

    pub(super) async fn link_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        self.storage.point(&keys::layer_link(name, digest), digest, None).await?;
        if !S::ONE_STEP {
            return Ok(());
        }
        // The link is what counts: without the hint, a mount that names no
        // repository may not find the blob.
        let _ = self.storage.objects().put(&keys::hint(digest, name), Bytes::new().into()).await;
        Ok(())
    }
}

/// Whether the first companion is a link to `digest`.
pub(super) fn linked(companions: &[Option<String>], digest: &Digest) -> bool {
    matches!(companions.first(), Some(Some(link)) if link.trim_end() == digest.as_str())
}
