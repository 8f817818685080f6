//! Blobs of a repository, and where else a blob is.

use crate::error::Error;
use crate::lists::ListQuery;
use crate::metadata;
use crate::objects::Objects;
use futures::future::join;
use futures::stream::{self, StreamExt as _};
use roadstead_oci::{ByteRange, Digest, RepositoryName};
use roadstead_storage::{Blob, Bodies, Collection, Key};
use std::collections::HashSet;
use std::time::Duration;

/// How long a client may take to begin a download from the store itself, as in
/// distribution.
///
/// Limit: time in which a redirected download may begin; test:
/// `clients_are_redirected_to_blobs`.
const URL_LIFETIME: Duration = Duration::from_mins(20);

/// How many blobs are looked up at a time.
///
/// Limit: blobs that are looked up at a time; test:
/// `missing_blobs_of_a_large_repository`.
const CONCURRENT_LOOKUPS: usize = 8;

impl Objects {
    /// See [`roadstead_storage::Storage::blob`].
    pub(crate) async fn blob<B: Bodies>(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        range: Option<ByteRange>,
    ) -> Result<Blob<B::Download>, Error> {
        let key = Key::Blob(digest.clone());
        let (link, blob) =
            join(self.check_layer(repository, digest), self.open::<B>(&key, range)).await;
        link.and(blob)
    }

    /// See [`roadstead_storage::Storage::blob_size`].
    pub(crate) async fn blob_size(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<u64, Error> {
        // Most clients that ask are about to push the blob: the link is missing,
        // and its request is the only one.
        self.check_layer(repository, digest).await?;
        // Distribution's garbage collection leaves links without blobs.
        Ok(self.head(&Key::Blob(digest.clone())).await?.size)
    }

    /// See [`roadstead_storage::Storage::blob_url`].
    pub(crate) async fn blob_url(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<String>, Error> {
        let Some(signer) = &self.backend.signer else { return Ok(None) };
        self.check_layer(repository, digest).await?;
        let path = self.path(&Key::Blob(digest.clone()));
        Ok(Some(signer.signed_url(http::Method::GET, &path, URL_LIFETIME).await?.into()))
    }

    /// See [`roadstead_storage::Storage::missing_blobs`].
    pub(crate) async fn missing_blobs(
        &self,
        repository: &RepositoryName,
        digests: &[&Digest],
    ) -> Result<Vec<Digest>, Error> {
        let layers = match digests {
            [_, _, ..] => self.few_layers(repository).await?,
            _ => None,
        };
        if let Some(layers) = layers {
            let missing = digests.iter().filter(|&&digest| !layers.contains(digest));
            return Ok(missing.map(|&digest| digest.clone()).collect());
        }
        let lookups =
            digests.iter().map(async |&digest| (digest, self.blob_size(repository, digest).await));
        let mut results = stream::iter(lookups).buffered(CONCURRENT_LOOKUPS);
        let mut missing = Vec::new();
        while let Some((digest, size)) = results.next().await {
            match size {
                Ok(_) => {}
                Err(Error::NOT_FOUND) => missing.push(digest.clone()),
                Err(error) => return Err(error),
            }
        }
        Ok(missing)
    }

    /// The digests of all blobs of a repository, if one request lists them. Links
    /// are trusted here: a client that pushes an image has just pushed its blobs,
    /// or was told that they exist.
    async fn few_layers(
        &self,
        repository: &RepositoryName,
    ) -> Result<Option<HashSet<Digest>>, Error> {
        let directory = Collection::Layers(repository.clone()).prefix();
        let page = self.list(&ListQuery::of(&directory)).await?;
        if page.token.is_some() {
            return Ok(None);
        }
        let digest = |key| match key {
            Key::Layer(_, digest) => Some(digest),
            _ => None,
        };
        Ok(Some(page.objects.into_iter().filter_map(|object| digest(object.key?)).collect()))
    }

    /// See [`roadstead_storage::Storage::holder`]. A bucket names one repository
    /// for each blob.
    pub(crate) async fn holder(
        &self,
        digest: &Digest,
        readable: impl Fn(&RepositoryName) -> bool,
    ) -> Result<RepositoryName, Error> {
        let blob = self.get_head(&Key::Blob(digest.clone())).await?;
        let holder = metadata::holder(&blob.attributes).filter(readable).ok_or(Error::NOT_FOUND)?;
        self.check_layer(&holder, digest).await?;
        Ok(holder)
    }

    /// Checks that the repository holds a blob, by its link alone.
    async fn check_layer(&self, repository: &RepositoryName, digest: &Digest) -> Result<(), Error> {
        let pointer = self.pointer(&Key::Layer(repository.clone(), digest.clone())).await?;
        if pointer.digest == *digest { Ok(()) } else { Err(Error::NOT_FOUND) }
    }
}
