//! Appends bodies to sessions.
//!
//! Most uploads come whole in one request that does not say that it is all
//! (Docker sends a PATCH without a length, then a PUT without a body). So if the
//! first body of a session needs no parts, it is stored under its digest at once,
//! as a blob that no repository links. The PUT then only writes the link. If the
//! client never comes back, or appends more, the blob stays like one that was
//! deleted, for a garbage collection.

use super::Uploads;
use super::receipts::receipt;
use super::record::Record;
use super::session::{RecordVersion, unique_key};
use super::writer::{SessionWriter, Target};
use crate::error::Error;
use crate::metadata::Metadata;
use roadstead_storage::condemned::prepare_upload;
use roadstead_storage::{
    Aborted, Appended, ChunkedBody, Key, Storage, StorageError, UploadSession,
};

impl Uploads {
    /// See [`roadstead_storage::Storage::append`].
    pub(crate) async fn append<B: ChunkedBody>(
        &self,
        storage: &impl Storage,
        session: &UploadSession,
        at: Option<u64>,
        length: Option<u64>,
        body: B,
    ) -> Result<Appended, Error> {
        // A session that may have no bytes yet is not looked up before the body
        // was received: its record is created only if there is none.
        if self.objects.is_conditional() && matches!(at, None | Some(0)) && self.recognizes(session)
        {
            return self.append_first(storage, session, at, length, body).await;
        }
        let target = temporary(session);
        let size = self
            .append_to(session, at, length, body, |record| SessionWriter::new(record, target))
            .await?;
        Ok(size.into())
    }

    /// Appends a body that may be the first of a session.
    async fn append_first<B: ChunkedBody>(
        &self,
        storage: &impl Storage,
        session: &UploadSession,
        at: Option<u64>,
        length: Option<u64>,
        mut body: B,
    ) -> Result<Appended, Error> {
        let mut writer = SessionWriter::new(Record::default(), temporary(session));
        if let Some(end) = writer.read_first(&mut body).await {
            check_length(&writer, end, length)?;
            if writer.appended() == 0 {
                end.map_err(aborted)?;
                return Ok(self.status(session).await?.into());
            }
            let record = writer.into_record();
            match self.create(storage, session, &record, at.is_none() && end.is_ok()).await {
                Ok(receipt) => {
                    let size = record.size;
                    return end.map(|()| Appended { size, receipt }).map_err(aborted);
                }
                // Another request came first: these bytes follow.
                Err(Error::Storage(StorageError::Offset(_) | StorageError::Busy))
                    if at.is_none() => {}
                Err(error) => return Err(error),
            }
            writer = SessionWriter::received(record, end, temporary(session));
        }
        let size = self.append_to(session, at, length, body, |record| writer.after(record)).await?;
        Ok(size.into())
    }

    /// Appends the rest of a body to a session that is looked up.
    async fn append_to<B: ChunkedBody>(
        &self,
        session: &UploadSession,
        at: Option<u64>,
        length: Option<u64>,
        mut body: B,
        writer: impl FnOnce(Record) -> SessionWriter,
    ) -> Result<u64, Error> {
        let (record, version) = match self.resume(session, at).await {
            Ok(resumed) => resumed,
            Err(error) => {
                body.drain().await;
                return Err(error);
            }
        };
        let mut writer = writer(record);
        let read = writer.read(&self.objects, &mut body).await;
        let checked = read.and_then(|end| check_length(&writer, end, length).map(|()| end));
        match checked {
            // Nothing changes.
            Ok(end) if writer.appended() == 0 => {
                self.give_up(&writer).await;
                end.map(|()| writer.size()).map_err(aborted)
            }
            Ok(end) => self.save_written(session, writer, &version, end).await,
            Err(error) => {
                self.give_up(&writer).await;
                Err(error)
            }
        }
    }

    /// Records what was appended, and returns the size of the session. A body that
    /// ended early counts as far as it came.
    pub(super) async fn save_written(
        &self,
        session: &UploadSession,
        writer: SessionWriter,
        replaced: &RecordVersion,
        end: Result<(), Aborted>,
    ) -> Result<u64, Error> {
        let unrecorded = writer.unrecorded().cloned();
        let record = writer.into_record();
        let saved = match record.print() {
            Ok(printed) => self.save(session, printed, replaced).await,
            Err(error) => Err(error),
        };
        if let (Err(_), Some(multipart)) = (&saved, &unrecorded) {
            self.objects.abort(multipart).await;
        }
        saved?;
        end.map(|()| record.size).map_err(aborted)
    }

    /// Removes what only this request knows of.
    pub(super) async fn give_up(&self, writer: &SessionWriter) {
        if let Some(multipart) = writer.unrecorded() {
            self.objects.abort(multipart).await;
        }
    }

    /// Writes the first record of a session. If its bytes may be `all`, they are
    /// stored as a blob before the record names it; then returns a receipt.
    async fn create(
        &self,
        storage: &impl Storage,
        session: &UploadSession,
        record: &Record,
        all: bool,
    ) -> Result<Option<String>, Error> {
        if !all {
            self.save(session, record.print()?, &RecordVersion::Absent).await?;
            return Ok(None);
        }
        let digest = record.digest()?;
        prepare_upload(storage, &digest).await?;
        let (key, holder) = (Key::Blob(digest.clone()), Metadata::Holder(&session.repository));
        self.objects.put_described(&key, record.tail.clone(), holder).await?;
        self.save(session, record.print_blob(&digest)?, &RecordVersion::Absent).await?;
        let secret = self.secret.as_ref();
        Ok(secret.and_then(|secret| receipt(secret, session, &digest, record.size)))
    }
}

/// Parts of an object of the session itself, whose digest is not known yet.
fn temporary(session: &UploadSession) -> Target {
    let (key, repository) = (unique_key(session), session.repository.clone());
    Target { key, repository, length: None }
}

/// Checks that a body which ended properly is as long as announced.
fn check_length(
    writer: &SessionWriter,
    end: Result<(), Aborted>,
    length: Option<u64>,
) -> Result<(), Error> {
    let appended = writer.appended();
    match length {
        Some(length) if end.is_ok() && length != appended => {
            Err(StorageError::BodyLength(appended).into())
        }
        _ => Ok(()),
    }
}

/// The error of a body that ended early.
pub(super) fn aborted(_: Aborted) -> Error {
    StorageError::Aborted.into()
}
