//! A session ends: its bytes, once they are verified, become an object.
//!
//! What the bytes' hash is, is known before they are published: parts become
//! an object only when they are completed. So parts may be those of the object
//! `to` itself if its digest was known when they began. Otherwise they become
//! a temporary object below the session, and are copied by the store.

use super::ChunkedBody;
use super::bucket::{Bucket, HOLDER, UPLOAD};
use super::intake::Intake;
use super::parts::{COPY_SIZE, REQUEST_LIMIT};
use super::record::{Multipart, Record};
use super::session::unique;
use crate::store::{StorageError, keys};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::ObjectStoreExt as _;
use object_store::multipart::PartId;
use object_store::path::Path;
use roadstead_buckets::S3Operations;
use roadstead_oci::{Algorithm, Digest};
use sha2::{Digest as _, Sha256, Sha512};

/// How many parts are copied at a time.
const COPIES: usize = 4;

impl Bucket {
    /// Ends a session; see [`crate::store::Storage::commit`].
    pub(super) async fn commit<B: ChunkedBody>(
        &self,
        session: &Path,
        at: Option<u64>,
        body: Option<B>,
        to: &Path,
        digest: &Digest,
        links: &[(Path, String)],
    ) -> Result<u64, StorageError> {
        let Some(mut body) = body else {
            let (record, _) = self.load(session).await?;
            if at.is_some_and(|at| at != record.offset) {
                return Err(StorageError::Offset(record.offset));
            }
            return self.finish(session, record, to, digest, links).await;
        };
        let (record, version) = match self.load_at(session, at).await {
            Ok(loaded) => loaded,
            Err(error) => {
                body.drain().await;
                return Err(error);
            }
        };
        if record.offset == 0 && self.passes(&body, digest).await {
            let passed = self.pass(session, body, to, digest).await;
            return self.conclude_published(session, passed, links).await;
        }
        let mut intake = intake(session, record, &body, to, digest);
        let end = match intake.read(self, &mut body).await {
            Ok(end) => end,
            Err(error) => {
                self.abort(intake.began()).await;
                return Err(error);
            }
        };
        if end.is_err() {
            let began = intake.began().cloned();
            let saved = self.save(session, &intake.into_record(), &version).await;
            if saved.is_err() {
                self.abort(began.as_ref()).await;
            }
            return Err(saved.err().unwrap_or(StorageError::Aborted));
        }
        self.finish(session, intake.into_record(), to, digest, links).await
    }

    /// Makes a body an object in one step; see [`crate::store::Storage::store`].
    pub(super) async fn store<B: ChunkedBody>(
        &self,
        session: &Path,
        body: Option<B>,
        to: &Path,
        digest: &Digest,
        links: &[(Path, String)],
    ) -> Result<u64, StorageError> {
        let mut record = Record::new();
        if let Some(mut body) = body {
            if self.passes(&body, digest).await {
                let size = self.pass(session, body, to, digest).await?;
                return self.link(session, links).await.map(|()| size);
            }
            let mut intake = intake(session, record, &body, to, digest);
            let end = intake.read(self, &mut body).await;
            match end {
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    self.abort(intake.began()).await;
                    return Err(StorageError::Aborted);
                }
                Err(error) => {
                    self.abort(intake.began()).await;
                    return Err(error);
                }
            }
            record = intake.into_record();
        }
        let offset = record.offset;
        self.publish(session, record, to, digest).await?;
        self.link(session, links).await?;
        Ok(offset)
    }

    /// Publishes a session's bytes and says that it has ended.
    async fn finish(
        &self,
        session: &Path,
        mut record: Record,
        to: &Path,
        digest: &Digest,
        links: &[(Path, String)],
    ) -> Result<u64, StorageError> {
        let offset = record.offset;
        if record.whole.as_ref() == Some(digest) {
            // The link says that the session has ended.
            self.link(session, links).await?;
            self.purge_beside(session).await;
            return Ok(offset);
        }
        if digest.algorithm() != Algorithm::Sha256 {
            self.unfold(&mut record).await?;
        }
        let published = self.publish(session, record, to, digest).await.map(|()| offset);
        self.conclude_published(session, published, links).await
    }

    /// Makes so many bytes visible that were published, and says that the
    /// session has ended; so it has if they were other ones.
    async fn conclude_published(
        &self,
        session: &Path,
        published: Result<u64, StorageError>,
        links: &[(Path, String)],
    ) -> Result<u64, StorageError> {
        match published {
            Ok(_) => {
                // As long as it has not ended, a client can try again.
                self.link(session, links).await?;
                self.end(session).await?;
                self.purge_beside(session).await;
            }
            Err(StorageError::DigestMismatch(_)) => self.end(session).await?,
            Err(_) => {}
        }
        published
    }

    /// Ends a session whose bytes are a blob already; see
    /// [`crate::store::Storage::conclude`].
    pub(super) async fn conclude(
        &self,
        session: &Path,
        receipt: &str,
        digest: &Digest,
        links: &[(Path, String)],
    ) -> Result<bool, StorageError> {
        if !self.gave(receipt, session, digest) {
            return Ok(false);
        }
        // The link says that the session has ended.
        self.link(session, links).await?;
        self.purge_beside(session).await;
        Ok(true)
    }

    /// Writes what makes an object visible, in its order.
    async fn link(&self, session: &Path, links: &[(Path, String)]) -> Result<(), StorageError> {
        for (key, value) in links {
            let note = session.filename().map(|id| (UPLOAD, id.to_owned()));
            self.put_noted(key, value.clone().into(), note).await?;
        }
        Ok(())
    }

    /// Verifies bytes and makes them the object `to`. What they were is gone
    /// if they have another digest.
    async fn publish(
        &self,
        session: &Path,
        record: Record,
        to: &Path,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        let Record { ref multipart, ref tail, offset, .. } = record;
        let known = match (digest.algorithm(), multipart) {
            (Algorithm::Sha256, _) => Some(record.digest()),
            (Algorithm::Sha512, None) => {
                Some(Digest::from_bytes(Algorithm::Sha512, &Sha512::digest(tail)))
            }
            (Algorithm::Sha512, Some(_)) => None,
        };
        let known = known.map(|actual| actual.ok_or_else(no_digest)).transpose()?;
        if let Some(actual) = known.clone().filter(|actual| actual != digest) {
            self.abort(multipart.as_ref()).await;
            return Err(StorageError::DigestMismatch(Some(actual)));
        }
        let Some(multipart) = multipart else {
            let holder = keys::repository_of(session).map(|name| (HOLDER, name));
            self.put_noted(to, tail.clone().into(), holder).await?;
            return Ok(());
        };
        let key = Path::from(multipart.key.as_str());
        if key == *to && known.is_some() {
            let completed = self.complete(multipart, tail).await;
            return self.or_there(completed, to, offset, true).await;
        }
        if !key.prefix_matches(session) {
            // They are parts of a blob that the client meant before.
            self.abort(Some(multipart)).await;
            self.end(session).await?;
            return Err(StorageError::NotFound);
        }
        let published = match self.complete(multipart, tail).await {
            Ok(()) => self.publish_object(&key, offset, to, digest, known.is_some()).await,
            Err(error) => self.publish_completed(error, &key, offset, to, digest).await,
        };
        if matches!(published, Ok(()) | Err(StorageError::DigestMismatch(_))) {
            let _ = self.delete(&key).await;
        }
        let published = self.or_there(published, to, offset, known.is_some()).await;
        if published.as_ref().is_err_and(lost_parts) {
            // Nothing brings them back: the client begins again.
            self.abort(Some(multipart)).await;
            self.end(session).await?;
            return Err(StorageError::NotFound);
        }
        published
    }

    /// Goes on where an earlier request completed the parts and then failed or
    /// died. What it completed is looked at: it may have come of another record
    /// where a store knows no conditions.
    async fn publish_completed(
        &self,
        error: StorageError,
        key: &Path,
        size: u64,
        to: &Path,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        match self.objects().head(key).await {
            Ok(found) if found.size == size => {}
            _ => return Err(error),
        }
        match self.publish_object(key, size, to, digest, false).await {
            Err(StorageError::DigestMismatch(_)) => Err(error),
            published => published,
        }
    }

    /// What came of publishing verified bytes. Another request may have been in
    /// the way that published the same (of the same session; or of another
    /// one, as Azure has one set of parts for an object): that is as good.
    async fn or_there(
        &self,
        published: Result<(), StorageError>,
        to: &Path,
        size: u64,
        verified: bool,
    ) -> Result<(), StorageError> {
        let Err(error) = published else { return Ok(()) };
        match self.objects().head(to).await {
            Ok(found) if verified && found.size == size => Ok(()),
            _ => Err(error),
        }
    }

    /// Copies a temporary object to its place. One that is not verified yet is
    /// read for it.
    async fn publish_object(
        &self,
        from: &Path,
        size: u64,
        to: &Path,
        digest: &Digest,
        verified: bool,
    ) -> Result<(), StorageError> {
        if !verified {
            let actual = match digest.algorithm() {
                Algorithm::Sha256 => self.hash::<Sha256>(from, Algorithm::Sha256).await?,
                Algorithm::Sha512 => self.hash::<Sha512>(from, Algorithm::Sha512).await?,
            };
            if actual != *digest {
                return Err(StorageError::DigestMismatch(Some(actual)));
            }
        }
        if let Some(s3) = self.backend.s3.as_deref()
            && size > REQUEST_LIMIT
        {
            return self.copy_by_parts(s3, (from, size), to, COPY_SIZE).await;
        }
        self.objects().copy(from, to).await?;
        // Azure may answer before it has copied, and needs the source until
        // then: a client that tries again later finds the copy.
        if self.objects().head(to).await?.size == size {
            Ok(())
        } else {
            Err(StorageError::Failed(format!("the copy to {to} is not complete yet")))
        }
    }

    async fn hash<H: sha2::Digest>(
        &self,
        key: &Path,
        algorithm: Algorithm,
    ) -> Result<Digest, StorageError> {
        let mut bytes = self.objects().get(key).await?.into_stream();
        let mut hash = H::new();
        while let Some(piece) = bytes.next().await {
            hash.update(piece?);
        }
        Digest::from_bytes(algorithm, &hash.finalize()).ok_or_else(no_digest)
    }

    /// Completes a multipart upload with its last part.
    async fn complete(&self, multipart: &Multipart, tail: &Bytes) -> Result<(), StorageError> {
        let mut names = multipart.parts.clone();
        let last = Some(tail.clone()).filter(|tail| !tail.is_empty());
        names.extend(self.send(Some(multipart), last).await?);
        let parts = names.into_iter().map(|content_id| PartId { content_id }).collect();
        let key = self.full(&Path::from(multipart.key.as_str()));
        self.backend.multipart.complete_multipart(&key, &multipart.id, parts).await?;
        Ok(())
    }

    /// Copies an object that is too large for one request, within the store.
    pub(super) async fn copy_by_parts(
        &self,
        s3: &dyn S3Operations,
        (from, size): (&Path, u64),
        to: &Path,
        part: u64,
    ) -> Result<(), StorageError> {
        let mut copy = self.begin_parts(to, keys::repository_of(from), None).await?;
        let (source, target, id) = (self.full(from), self.full(to), copy.id.clone());
        let starts = (0..size).step_by(usize::try_from(part).unwrap_or(usize::MAX));
        let parts = starts.enumerate().map(|(index, start)| {
            let range = start..size.min(start + part);
            s3.copy_part(&source, range, &target, &id, index)
        });
        let copied = async {
            let parts: Vec<PartId> = stream::iter(parts).buffered(COPIES).try_collect().await?;
            copy.parts = parts.into_iter().map(|part| part.content_id).collect();
            self.complete(&copy, &Bytes::new()).await
        };
        let result = copied.await;
        if result.is_err() {
            self.abort(Some(&copy)).await;
        }
        result
    }
}

/// What takes the bytes that are to end a session. If they begin it as well,
/// they can be parts of `to` itself, but for a digest that is verified only by
/// reading them again.
fn intake<B: ChunkedBody>(
    session: &Path,
    record: Record,
    body: &B,
    to: &Path,
    digest: &Digest,
) -> Intake {
    let direct = record.offset == 0 && digest.algorithm() == Algorithm::Sha256;
    let length = body.length().map(|length| record.offset.saturating_add(length));
    let target = if direct { to.clone() } else { unique(session) };
    Intake::new(record, session, target, length)
}

/// Whether a store does not have the parts that it is to put together: another
/// request that added to the session at the same time has replaced one.
fn lost_parts(error: &StorageError) -> bool {
    /// How S3 and GCS say it, and Azure.
    const CODES: [&str; 2] = ["InvalidPart<", "InvalidBlockList<"];
    matches!(error, StorageError::Failed(text) if CODES.iter().any(|code| text.contains(code)))
}

fn no_digest() -> StorageError {
    StorageError::Failed("hash of a wrong length".to_owned())
}
