//! Bytes are appended to a session.
//!
//! Most uploads come whole in one request, which does not say that it is all
//! (Docker's way: a PATCH without length, then a PUT without body). If such a
//! body begins a session and needs no parts, it is stored under its digest at
//! once: as a blob that no link makes visible. The PUT then only writes the
//! link. If the client never comes back, or goes on otherwise, it is a blob
//! that no repository holds, as deleted ones are, for a garbage collection.

use super::ChunkedBody;
use super::bucket::{Bucket, HOLDER};
use super::intake::Intake;
use super::record::Record;
use super::session::{Version, unique};
use crate::store::{Appended, StorageError, keys};
use bytes::Bytes;
use object_store::path::Path;

impl Bucket {
    /// Appends a body; see [`crate::store::Storage::append`].
    pub(super) async fn append<B: ChunkedBody>(
        &self,
        session: &Path,
        at: Option<u64>,
        length: Option<u64>,
        body: B,
    ) -> Result<Appended, StorageError> {
        // A session that may have no bytes yet is not looked up before the
        // body has come: its record is created only if there is none.
        if self.conditional() && matches!(at, None | Some(0)) && self.is_fresh(session) {
            return self.append_first(session, at, length, body).await;
        }
        match self.load_at(session, at).await {
            Ok((record, version)) => {
                let intake = Intake::new(record, session, unique(session), None);
                self.append_after(session, intake, &version, length, body).await.map(Appended::from)
            }
            Err(error) => {
                body.drain().await;
                Err(error)
            }
        }
    }

    /// Appends a body that may be the first of a session.
    async fn append_first<B: ChunkedBody>(
        &self,
        session: &Path,
        at: Option<u64>,
        length: Option<u64>,
        mut body: B,
    ) -> Result<Appended, StorageError> {
        let mut intake = Intake::new(Record::new(), session, unique(session), None);
        if let Some(end) = intake.read_first(&mut body).await {
            check_length(&intake, end.is_ok(), length)?;
            if intake.appended() == 0 {
                return self.nothing_came(session, end.is_ok()).await.map(Appended::from);
            }
            let record = intake.into_record();
            match self.create(session, &record, at.is_none() && end.is_ok()).await {
                Ok(receipt) => {
                    let appended = Appended { size: record.offset, receipt };
                    return end.map(|()| appended).map_err(|_| StorageError::Aborted);
                }
                // Another one came first: these bytes follow.
                Err(StorageError::Offset(_) | StorageError::Busy) if at.is_none() => {}
                Err(error) => return Err(error),
            }
            intake =
                Intake::new(Record::new(), session, unique(session), None).resumed(record, end);
        }
        match self.load_at(session, at).await {
            Ok((record, version)) => {
                if record.offset > 0 {
                    intake = intake.moved_to(record);
                }
                self.append_after(session, intake, &version, length, body).await.map(Appended::from)
            }
            Err(error) => {
                body.drain().await;
                Err(error)
            }
        }
    }

    /// Appends the rest of a body to a session of which all is known.
    async fn append_after<B: ChunkedBody>(
        &self,
        session: &Path,
        mut intake: Intake,
        version: &Version,
        length: Option<u64>,
        mut body: B,
    ) -> Result<u64, StorageError> {
        let appended = self.read_all(&mut intake, length, &mut body).await;
        let began = intake.began().cloned();
        let saved = match appended {
            Ok(end) if intake.appended() == 0 => return self.nothing_came(session, end).await,
            Ok(end) => {
                let record = intake.into_record();
                let saved = self.save(session, &record, version).await;
                saved.map(|()| (record.offset, end))
            }
            Err(error) => Err(error),
        };
        if saved.is_err() {
            self.abort(began.as_ref()).await;
        }
        match saved? {
            (offset, true) => Ok(offset),
            (_, false) => Err(StorageError::Aborted),
        }
    }

    /// Reads a body into a session. `false` means that it broke off.
    async fn read_all<B: ChunkedBody>(
        &self,
        intake: &mut Intake,
        length: Option<u64>,
        body: &mut B,
    ) -> Result<bool, StorageError> {
        let end = intake.read(self, body).await?;
        check_length(intake, end.is_ok(), length)?;
        Ok(end.is_ok())
    }

    /// The answer to a body without bytes, which changes nothing.
    async fn nothing_came(&self, session: &Path, ended: bool) -> Result<u64, StorageError> {
        if ended { self.status(session).await } else { Err(StorageError::Aborted) }
    }

    /// Writes the first record of a session, whose bytes may be `whole`: then
    /// the blob is there before the record that speaks of it, and the answer is
    /// a receipt for it.
    async fn create(
        &self,
        session: &Path,
        record: &Record,
        whole: bool,
    ) -> Result<Option<String>, StorageError> {
        let Some(digest) = record.digest().filter(|_| whole) else {
            return self.save(session, record, &Version::New).await.map(|()| None);
        };
        let holder = keys::repository_of(session).map(|name| (HOLDER, name));
        self.put_noted(&keys::blob(&digest), record.tail.clone().into(), holder).await?;
        let receipt = self.receipt(session, &digest);
        let record = Record { whole: Some(digest), tail: Bytes::new(), ..record.clone() };
        self.save(session, &record, &Version::New).await?;
        Ok(receipt)
    }

    /// Reads a session's record, which must end at `at` if that is given, so
    /// that bytes can follow.
    pub(super) async fn load_at(
        &self,
        session: &Path,
        at: Option<u64>,
    ) -> Result<(Record, Version), StorageError> {
        let (mut record, version) = self.load(session).await?;
        if at.is_some_and(|at| at != record.offset) {
            return Err(StorageError::Offset(record.offset));
        }
        if record.whole.is_some() {
            self.check_unfinished(session, record.whole.as_ref()).await?;
            self.unfold(&mut record).await?;
        }
        Ok((record, version))
    }
}

/// A body that ended must be as long as announced.
fn check_length(intake: &Intake, ended: bool, length: Option<u64>) -> Result<(), StorageError> {
    match length {
        Some(length) if ended && length != intake.appended() => {
            Err(StorageError::BodyLength(intake.appended()))
        }
        _ => Ok(()),
    }
}
