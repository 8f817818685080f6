//! A session's bytes, once they are verified, become a blob.
//!
//! The hash of the bytes is known before they are published, because parts become
//! an object only when they are completed. So parts may be those of the blob
//! itself, if its digest was known when they began. Otherwise they become a
//! temporary object of the session, which the store copies.

use super::Uploads;
use super::record::Record;
use crate::error::Error;
use crate::metadata::Metadata;
use crate::multipart::Multipart;
use futures::stream::StreamExt as _;
use roadstead_oci::{Algorithm, Digest};
use roadstead_storage::condemned::prepare_upload;
use roadstead_storage::{Commit, Key, Storage, StorageError};
use sha2::{Digest as _, Sha256, Sha512};

impl Uploads {
    /// Verifies bytes and makes them the blob of the commit. If they have another
    /// digest, they are removed.
    pub(super) async fn publish(
        &self,
        storage: &impl Storage,
        commit: &Commit,
        record: Record,
    ) -> Result<(), Error> {
        let Commit { session, digest, .. } = commit;
        let actual = match (digest.algorithm(), &record.multipart) {
            (Algorithm::Sha256, _) => Some(record.digest()?),
            (Algorithm::Sha512, None) => {
                Some(digest_of(Algorithm::Sha512, &Sha512::digest(&record.tail))?)
            }
            (Algorithm::Sha512, Some(_)) => None,
        };
        let verified = actual.is_some();
        if let Some(actual) = actual.filter(|actual| actual != digest) {
            if let Some(multipart) = &record.multipart {
                self.objects.abort(multipart).await;
            }
            return Err(StorageError::DigestMismatch(Some(actual)).into());
        }
        prepare_upload(storage, digest).await?;
        let blob = Key::Blob(digest.clone());
        let Some(multipart) = &record.multipart else {
            let holder = Metadata::Holder(&session.repository);
            return self.objects.put_described(&blob, record.tail, holder).await;
        };
        match &multipart.key {
            key if *key == blob && verified => {
                let completed = self.objects.complete(multipart, &record.tail).await;
                self.or_published(completed, commit, record.size, true).await
            }
            Key::SessionObject(owner, _) if owner == session => {
                self.publish_parts(commit, multipart, &record, verified).await
            }
            // They are parts of a blob that the client named before.
            _ => self.start_over(commit, multipart).await,
        }
    }

    /// Publishes parts by way of a temporary object.
    async fn publish_parts(
        &self,
        commit: &Commit,
        multipart: &Multipart,
        record: &Record,
        verified: bool,
    ) -> Result<(), Error> {
        let (key, size) = (&multipart.key, record.size);
        let copied = match self.objects.complete(multipart, &record.tail).await {
            Ok(()) => self.publish_object(key, size, commit, verified).await,
            Err(error) => self.publish_completed(error, key, size, commit).await,
        };
        if matches!(copied, Ok(()) | Err(Error::Storage(StorageError::DigestMismatch(_)))) {
            let _ = self.objects.delete(key).await;
        }
        match self.or_published(copied, commit, size, verified).await {
            // Another request that appended at the same time has replaced one.
            Err(Error::MissingParts(_)) => self.start_over(commit, multipart).await,
            published => published,
        }
    }

    /// Ends a session whose parts cannot become the blob: the client has to begin
    /// another one.
    async fn start_over(&self, commit: &Commit, multipart: &Multipart) -> Result<(), Error> {
        self.objects.abort(multipart).await;
        self.end(&commit.session).await?;
        Err(Error::NOT_FOUND)
    }

    /// Continues where an earlier request completed the parts and then failed. The
    /// object is verified: where a store knows no conditions, it may have been
    /// made by another record.
    async fn publish_completed(
        &self,
        error: Error,
        key: &Key,
        size: u64,
        commit: &Commit,
    ) -> Result<(), Error> {
        match self.objects.head(key).await {
            Ok(found) if found.size == size => {}
            _ => return Err(error),
        }
        match self.publish_object(key, size, commit, false).await {
            Err(Error::Storage(StorageError::DigestMismatch(_))) => Err(error),
            published => published,
        }
    }

    /// The result of publishing. If it failed, another request may have published
    /// the same bytes, which is as good: one of the same session, or of another
    /// one, as Azure has one set of parts for an object.
    async fn or_published(
        &self,
        published: Result<(), Error>,
        commit: &Commit,
        size: u64,
        verified: bool,
    ) -> Result<(), Error> {
        match published {
            Err(error) if verified => {
                match self.objects.head(&Key::Blob(commit.digest.clone())).await {
                    Ok(found) if found.size == size => Ok(()),
                    _ => Err(error),
                }
            }
            published => published,
        }
    }

    /// Copies a temporary object to the blob. It is read first, unless its bytes
    /// are verified.
    async fn publish_object(
        &self,
        key: &Key,
        size: u64,
        commit: &Commit,
        verified: bool,
    ) -> Result<(), Error> {
        let Commit { session, digest, .. } = commit;
        if !verified {
            let actual = match digest.algorithm() {
                Algorithm::Sha256 => self.hash::<Sha256>(key, Algorithm::Sha256).await?,
                Algorithm::Sha512 => self.hash::<Sha512>(key, Algorithm::Sha512).await?,
            };
            if actual != *digest {
                return Err(StorageError::DigestMismatch(Some(actual)).into());
            }
        }
        let blob = Key::Blob(digest.clone());
        if self.objects.copy_sized((key, size), &blob, &session.repository).await? {
            return Ok(());
        }
        // Azure may respond before it has copied, and needs the source until then:
        // a client that tries again later finds the copy.
        if self.objects.head(&blob).await?.size == size {
            Ok(())
        } else {
            Err(Error::failed(format!("the copy to {blob} is not complete yet")))
        }
    }

    async fn hash<H: sha2::Digest>(
        &self,
        key: &Key,
        algorithm: Algorithm,
    ) -> Result<Digest, Error> {
        let mut bytes = self.objects.get(key).await?.into_stream();
        let mut hash = H::new();
        while let Some(chunk) = bytes.next().await {
            hash.update(chunk?);
        }
        digest_of(algorithm, &hash.finalize())
    }
}

fn digest_of(algorithm: Algorithm, hash: &[u8]) -> Result<Digest, Error> {
    Digest::from_bytes(algorithm, hash).ok_or_else(|| Error::failed("a hash of another length"))
}
