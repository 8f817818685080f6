//! Uploads of blobs (end-4, end-5, end-6, end-11, end-13, end-14).

use super::change::Stored;
use super::manifest::refused;
use super::{
    Answer, Call, DOCKER_CONTENT_DIGEST, DOCKER_UPLOAD_UUID, Registry, empty, insert, internal,
};
use crate::route::RECEIPT;
use crate::{BlobAction, Body, Error, Route, StartUpload, UploadAction};
use http::header::{self, HeaderMap};
use http::{Response, StatusCode};
use roadstead_access::{Action, Caller};
use roadstead_oci::{ContentRange, Digest, RepositoryName, UploadRange};
use roadstead_storage::{Appended, Commit, Storage, StorageError, UploadSession};
use uuid::Uuid;

impl<S: Storage> Registry<S> {
    pub(super) async fn start_upload(
        &self,
        name: RepositoryName,
        start: StartUpload,
        caller: &Caller,
        call: &mut Call<S::Upload>,
    ) -> Answer<S> {
        let digest = match &start {
            StartUpload::Mount { digest, .. } | StartUpload::Whole(digest) => Some(digest),
            StartUpload::Session => None,
        };
        let allowed = self.store.check_upload(&name, digest).await;
        allowed.map_err(|refusal| refused(refusal, internal))?;
        if let StartUpload::Mount { digest, from } = &start {
            // A repository that the caller may not read is treated as missing.
            let readable = |from: &RepositoryName| self.gate.may(caller, Action::Pull, from);
            match self.store.mount(&name, digest, from.as_ref(), readable).await {
                Ok(from) => return Ok(created(name, digest.clone(), Stored::mounted(&from))),
                // The client then uploads the blob, as without a mount.
                Err(StorageError::NotFound) => {}
                Err(error) => return Err(internal(error)),
            }
        }
        let session = self.store.storage.new_session(&name, Uuid::new_v4().into_bytes());
        let StartUpload::Whole(digest) = start else {
            self.store.storage.begin(&session).await.map_err(internal)?;
            return Ok(progress(StatusCode::ACCEPTED, session, 0));
        };
        let commit = Commit { session, at: None, digest, receipt: None };
        let stored = match call.body.take() {
            Some(body) => self.store.storage.store(&commit, body).await,
            None => self.store_empty(&commit).await,
        };
        match stored {
            Ok(size) => Ok(created(name, commit.digest, Stored::blob(size))),
            Err(StorageError::DigestMismatch(actual)) => {
                Err(Error::DigestMismatch { expected: commit.digest, actual })
            }
            Err(error) => Err(internal(error)),
        }
    }

    /// Stores the empty blob, for a request without a body.
    async fn store_empty(&self, commit: &Commit) -> Result<u64, StorageError> {
        self.store.storage.begin(&commit.session).await?;
        let result = self.store.storage.commit(commit).await;
        if result.is_err() {
            // No client knows this session's id. The session may have ended
            // already.
            let _ = self.store.storage.discard(&commit.session).await;
        }
        result
    }

    pub(super) async fn upload(
        &self,
        session: UploadSession,
        action: UploadAction,
        call: &mut Call<S::Upload>,
    ) -> Answer<S> {
        match action {
            UploadAction::Status => {
                let size = self.store.storage.status(&session).await;
                let size = size.map_err(|error| failed(error, &session, None))?;
                Ok(progress(StatusCode::NO_CONTENT, session, size))
            }
            UploadAction::Append => self.append(session, call).await,
            UploadAction::Commit(digest, receipt) => {
                self.commit(session, digest, receipt, call).await
            }
            UploadAction::Cancel => {
                let discarded = self.store.storage.discard(&session).await;
                discarded.map_err(|error| failed(error, &session, None))?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
        }
    }

    async fn append(&self, session: UploadSession, call: &mut Call<S::Upload>) -> Answer<S> {
        let chunk = chunk(&call.headers)?;
        let (at, length) = (chunk.map(ContentRange::start), chunk.map(ContentRange::length));
        let appended = match call.body.take() {
            Some(body) => self.store.storage.append(&session, at, length, body).await,
            None => match self.store.storage.status(&session).await {
                Ok(size) if at.is_some_and(|at| at != size) => Err(StorageError::Offset(size)),
                other => other.map(Appended::from),
            },
        };
        match appended {
            Ok(Appended { size, receipt }) => {
                let mut response = progress(StatusCode::ACCEPTED, session, size);
                if let Some(receipt) = receipt {
                    add_receipt(&mut response, &receipt);
                }
                Ok(response)
            }
            Err(StorageError::Offset(offset)) => Ok(out_of_order(session, offset)),
            Err(error) => Err(failed(error, &session, length)),
        }
    }

    async fn commit(
        &self,
        session: UploadSession,
        digest: Digest,
        receipt: Option<String>,
        call: &mut Call<S::Upload>,
    ) -> Answer<S> {
        let chunk = chunk(&call.headers)?;
        let commit = Commit { session, at: chunk.map(ContentRange::start), digest, receipt };
        let committed = match call.body.take() {
            Some(body) => self.store.storage.append_and_commit(&commit, body).await,
            None => self.store.storage.commit(&commit).await,
        };
        let Commit { session, digest, .. } = commit;
        match committed {
            Ok(size) => Ok(created(session.repository, digest, Stored::blob(size))),
            Err(StorageError::Offset(offset)) => Ok(out_of_order(session, offset)),
            Err(StorageError::DigestMismatch(actual)) => {
                Err(Error::DigestMismatch { expected: digest, actual })
            }
            Err(error) => Err(failed(error, &session, chunk.map(ContentRange::length))),
        }
    }
}

/// The offset of a chunk, if the client sent it. A `Content-Length` that
/// contradicts it is refused before anything is stored.
fn chunk(headers: &HeaderMap) -> Result<Option<ContentRange>, Error> {
    let Some(value) = headers.get(header::CONTENT_RANGE) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    let chunk = ContentRange::parse(&text).map_err(Error::ContentRange)?;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length: Option<u64> = length.and_then(|length| length.parse().ok());
    match length {
        Some(length) if length != chunk.length() => {
            Err(Error::BodyLength { announced: chunk.length() })
        }
        _ => Ok(Some(chunk)),
    }
}

fn created<D>(name: RepositoryName, digest: Digest, stored: Stored) -> Response<Body<D>> {
    let mut response = empty(StatusCode::CREATED);
    response.extensions_mut().insert(stored);
    let headers = response.headers_mut();
    insert(headers, DOCKER_CONTENT_DIGEST, digest.as_str());
    insert(headers, header::LOCATION, &Route::Blob(name, digest, BlobAction::Get).path());
    response
}

fn progress<D>(status: StatusCode, session: UploadSession, size: u64) -> Response<Body<D>> {
    let mut response = empty(status);
    let headers = response.headers_mut();
    if status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
    }
    insert(headers, header::RANGE, &UploadRange(size).to_string());
    insert(headers, DOCKER_UPLOAD_UUID, session.id.as_str());
    let location = Route::Upload(session, UploadAction::Status).path();
    insert(headers, header::LOCATION, &location);
    response
}

/// Adds the receipt to the upload's location, so that the client sends it back
/// when it completes the upload.
fn add_receipt<D>(response: &mut Response<Body<D>>, receipt: &str) {
    let location = response.headers().get(header::LOCATION);
    if let Some(location) = location.and_then(|location| location.to_str().ok()) {
        let location = format!("{location}?{RECEIPT}={receipt}");
        insert(response.headers_mut(), header::LOCATION, &location);
    }
}

/// The response to a chunk that does not start at the end of the upload: it
/// states the end, and the upload can continue.
fn out_of_order<D>(session: UploadSession, offset: u64) -> Response<Body<D>> {
    let mut response = super::refusal(Error::ChunkOrder { offset }, None);
    let where_it_is = progress::<D>(StatusCode::NO_CONTENT, session, offset);
    response.headers_mut().extend(where_it_is.headers().clone());
    response
}

fn failed(error: StorageError, session: &UploadSession, announced: Option<u64>) -> Error {
    match error {
        StorageError::NotFound => Error::UploadUnknown(session.id.clone()),
        StorageError::Busy => Error::UploadBusy,
        StorageError::BodyLength(length) => {
            Error::BodyLength { announced: announced.unwrap_or(length) }
        }
        error => internal(error),
    }
}
