//! Sessions end: their bytes become a blob, which is then linked.

use super::Uploads;
use super::append::aborted;
use super::receipts::receipt_size;
use super::record::Record;
use super::session::{LoadedRecord, Session, TRUSTED_FOR, check_offset, unique_key};
use super::writer::{SessionWriter, Target};
use crate::error::Error;
use crate::metadata::Metadata;
use roadstead_oci::{Algorithm, Digest};
use roadstead_storage::condemned::prepare_upload;
use roadstead_storage::{ChunkedBody, Commit, Key, Storage, StorageError};

impl Uploads {
    /// See [`roadstead_storage::Storage::commit`].
    pub(crate) async fn commit(
        &self,
        storage: &impl Storage,
        commit: &Commit,
    ) -> Result<u64, Error> {
        let Commit { session, at, .. } = commit;
        if let Some(size) = self.receipt_size(commit) {
            self.finish_linked(commit).await?;
            return Ok(size);
        }
        match self.load(session).await? {
            Session::Fresh => {
                check_offset(0, *at)?;
                self.finish(storage, commit, Record::default()).await
            }
            Session::Open(loaded) => {
                check_offset(loaded.record.size, *at)?;
                self.finish(storage, commit, loaded.record).await
            }
            Session::Stored(loaded, blob) => {
                check_offset(loaded.record.size, *at)?;
                self.finish_stored(storage, commit, loaded, blob).await
            }
            Session::Ended => Err(Error::NOT_FOUND),
        }
    }

    /// The size of a blob that a receipt proves to be the session's bytes.
    fn receipt_size(&self, commit: &Commit) -> Option<u64> {
        // A receipt does not say where the session ends now.
        let receipt = commit.receipt.as_ref().filter(|_| commit.at.is_none())?;
        receipt_size(self.secret.as_ref()?, receipt, &commit.session, &commit.digest)
    }

    /// See [`roadstead_storage::Storage::append_and_commit`].
    pub(crate) async fn append_and_commit<B: ChunkedBody>(
        &self,
        storage: &impl Storage,
        commit: &Commit,
        mut body: B,
    ) -> Result<u64, Error> {
        let Commit { session, at, digest, .. } = commit;
        let (record, version) = match self.resume(session, *at).await {
            Ok(resumed) => resumed,
            Err(error) => {
                body.drain().await;
                return Err(error);
            }
        };
        if record.size == 0 && self.passes_on(&body, digest).await {
            let passed = self.pass_on(storage, commit, body).await;
            return self.conclude(commit, passed).await;
        }
        let mut writer = last_writer(commit, record, &body);
        match writer.read(&self.objects, &mut body).await {
            Ok(Ok(())) => self.finish(storage, commit, writer.into_record()).await,
            Ok(aborted) => self.save_written(session, writer, &version, aborted).await,
            Err(error) => {
                self.give_up(&writer).await;
                Err(error)
            }
        }
    }

    /// See [`roadstead_storage::Storage::store`]. Nothing of the session is stored
    /// but its name, with the link.
    pub(crate) async fn store<B: ChunkedBody>(
        &self,
        storage: &impl Storage,
        commit: &Commit,
        mut body: B,
    ) -> Result<u64, Error> {
        if self.passes_on(&body, &commit.digest).await {
            let size = self.pass_on(storage, commit, body).await?;
            self.link(commit).await?;
            return Ok(size);
        }
        let mut writer = last_writer(commit, Record::default(), &body);
        let end = writer.read(&self.objects, &mut body).await;
        if let Err(error) = end.and_then(|end| end.map_err(aborted)) {
            self.give_up(&writer).await;
            return Err(error);
        }
        let record = writer.into_record();
        let size = record.size;
        self.publish(storage, commit, record).await?;
        self.link(commit).await?;
        Ok(size)
    }

    /// Ends a session whose bytes are stored as a blob.
    async fn finish_stored(
        &self,
        storage: &impl Storage,
        commit: &Commit,
        loaded: LoadedRecord,
        blob: Digest,
    ) -> Result<u64, Error> {
        let LoadedRecord { record, age, .. } = loaded;
        if blob == commit.digest {
            if age > TRUSTED_FOR {
                // What was looked for before the bytes were stored is out of date.
                prepare_upload(storage, &blob).await?;
                self.objects.head(&Key::Blob(blob)).await?;
            }
            self.finish_linked(commit).await?;
            return Ok(record.size);
        }
        match commit.digest.algorithm() {
            // The hash in the record is enough to refuse it.
            Algorithm::Sha256 => self.finish(storage, commit, record).await,
            Algorithm::Sha512 => {
                let record = self.with_bytes(record, blob).await?;
                self.finish(storage, commit, record).await
            }
        }
    }

    /// Ends a session by the link to its blob, which names the session.
    async fn finish_linked(&self, commit: &Commit) -> Result<(), Error> {
        self.link(commit).await?;
        self.purge_beside(&commit.session).await;
        Ok(())
    }

    /// Publishes a session's bytes, and ends it.
    async fn finish(
        &self,
        storage: &impl Storage,
        commit: &Commit,
        record: Record,
    ) -> Result<u64, Error> {
        let size = record.size;
        let published = self.publish(storage, commit, record).await.map(|()| size);
        self.conclude(commit, published).await
    }

    /// Links a blob that was published, and records that the session has ended. It
    /// has also ended if its bytes have another digest.
    async fn conclude(&self, commit: &Commit, published: Result<u64, Error>) -> Result<u64, Error> {
        match published {
            Ok(_) => {
                // Until the session has ended, the client can try again.
                self.link(commit).await?;
                self.end(&commit.session).await?;
                self.purge_beside(&commit.session).await;
            }
            Err(Error::Storage(StorageError::DigestMismatch(_))) => {
                self.end(&commit.session).await?;
            }
            Err(_) => {}
        }
        published
    }

    /// Links the blob in the session's repository.
    async fn link(&self, commit: &Commit) -> Result<(), Error> {
        let Commit { session, digest, .. } = commit;
        let key = Key::Layer(session.repository.clone(), digest.clone());
        let metadata = Metadata::Upload(&session.id);
        self.objects.put_described(&key, digest.to_string(), metadata).await
    }
}

/// Appends the last body of a session. If it is the only one, its parts can be
/// those of the blob itself; but a SHA-512 digest is verified only by reading the
/// parts again.
fn last_writer<B: ChunkedBody>(commit: &Commit, record: Record, body: &B) -> SessionWriter {
    let Commit { session, digest, .. } = commit;
    let direct = record.size == 0 && digest.algorithm() == Algorithm::Sha256;
    let key = if direct { Key::Blob(digest.clone()) } else { unique_key(session) };
    let length = body.length().map(|length| record.size.saturating_add(length));
    let target = Target { key, repository: session.repository.clone(), length };
    SessionWriter::new(record, target)
}
