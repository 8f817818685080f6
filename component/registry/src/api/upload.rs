//! Uploads of blobs (end-4, end-5, end-6, end-11, end-13, end-14).

use super::{
    Answer, Call, DOCKER_CONTENT_DIGEST, DOCKER_UPLOAD_UUID, Registry, empty, insert, internal,
};
use crate::route::RECEIPT;
use crate::store::{Appended, Storage, StorageError};
use crate::{BlobAction, Body, Error, Route, StartUpload, UploadAction};
use http::header::{self, HeaderMap};
use http::{Response, StatusCode};
use roadstead_access::Caller;
use roadstead_config::Action;
use roadstead_oci::{ContentRange, Digest, RepositoryName, UploadId, UploadRange};
use uuid::Uuid;

impl<S: Storage> Registry<S> {
    pub(super) async fn start_upload(
        &self,
        name: RepositoryName,
        start: StartUpload,
        caller: &Caller,
        call: &mut Call<S::Upload>,
    ) -> Answer<S> {
        if let StartUpload::Mount { digest, from } = &start {
            // What the caller may not read is not there.
            let readable = |from: &RepositoryName| self.gate.may(caller, Action::Pull, from);
            match self.store.mount(&name, digest, from.as_ref(), readable).await {
                Ok(()) => return Ok(created(name, digest.clone())),
                // The client then uploads, as if it had not asked.
                Err(StorageError::NotFound) => {}
                Err(error) => return Err(internal(error)),
            }
        }
        let random = Uuid::new_v4().into_bytes();
        if let StartUpload::Whole(digest) = start {
            let stored = self.store.store_blob(&name, random, call.body.take(), &digest).await;
            return match stored {
                Ok(()) => Ok(created(name, digest)),
                Err(StorageError::DigestMismatch(actual)) => {
                    Err(Error::DigestMismatch { expected: digest, actual })
                }
                Err(error) => Err(internal(error)),
            };
        }
        let id = self.store.begin_upload(&name, random).await.map_err(internal)?;
        Ok(progress(StatusCode::ACCEPTED, name, id, 0))
    }

    pub(super) async fn upload(
        &self,
        name: RepositoryName,
        id: UploadId,
        action: UploadAction,
        call: &mut Call<S::Upload>,
    ) -> Answer<S> {
        match action {
            UploadAction::Status => {
                let size = self.store.upload_size(&name, &id).await;
                let size = size.map_err(|error| failed(error, &id, None))?;
                Ok(progress(StatusCode::NO_CONTENT, name, id, size))
            }
            UploadAction::Append => self.append(name, id, call).await,
            UploadAction::Commit(digest, receipt) => {
                let chunk = chunk(&call.headers)?;
                let (at, body) = (chunk.map(ContentRange::start), call.body.take());
                let receipt = receipt.as_deref();
                match self.store.commit_upload(&name, &id, at, receipt, body, &digest).await {
                    Ok(()) => Ok(created(name, digest)),
                    Err(StorageError::Offset(offset)) => Ok(out_of_order(name, id, offset)),
                    Err(StorageError::DigestMismatch(actual)) => {
                        Err(Error::DigestMismatch { expected: digest, actual })
                    }
                    Err(error) => Err(failed(error, &id, chunk.map(ContentRange::length))),
                }
            }
            UploadAction::Cancel => {
                let cancelled = self.store.cancel_upload(&name, &id).await;
                cancelled.map_err(|error| failed(error, &id, None))?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
        }
    }

    async fn append(
        &self,
        name: RepositoryName,
        id: UploadId,
        call: &mut Call<S::Upload>,
    ) -> Answer<S> {
        let chunk = chunk(&call.headers)?;
        let (at, length) = (chunk.map(ContentRange::start), chunk.map(ContentRange::length));
        let appended = match call.body.take() {
            Some(body) => self.store.append_upload(&name, &id, at, length, body).await,
            None => match self.store.upload_size(&name, &id).await {
                Ok(size) if at.is_some_and(|at| at != size) => Err(StorageError::Offset(size)),
                other => other.map(Appended::from),
            },
        };
        match appended {
            Ok(Appended { size, receipt }) => {
                let mut response = progress(StatusCode::ACCEPTED, name, id, size);
                if let Some(receipt) = receipt {
                    add_receipt(&mut response, &receipt);
                }
                Ok(response)
            }
            Err(StorageError::Offset(offset)) => Ok(out_of_order(name, id, offset)),
            Err(error) => Err(failed(error, &id, length)),
        }
    }
}

/// The place of a chunk, if the client says it. A `Content-Length` that
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

fn created<D>(name: RepositoryName, digest: Digest) -> Response<Body<D>> {
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    insert(headers, DOCKER_CONTENT_DIGEST, digest.as_str());
    insert(headers, header::LOCATION, &Route::Blob(name, digest, BlobAction::Get).path());
    response
}

fn progress<D>(
    status: StatusCode,
    name: RepositoryName,
    id: UploadId,
    size: u64,
) -> Response<Body<D>> {
    let mut response = empty(status);
    let headers = response.headers_mut();
    if status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
    }
    insert(headers, header::RANGE, &UploadRange(size).to_string());
    insert(headers, DOCKER_UPLOAD_UUID, id.as_str());
    let location = Route::Upload(name, id, UploadAction::Status).path();
    insert(headers, header::LOCATION, &location);
    response
}

/// Has the client say, when it ends the upload, what was said to it.
fn add_receipt<D>(response: &mut Response<Body<D>>, receipt: &str) {
    let location = response.headers().get(header::LOCATION);
    if let Some(location) = location.and_then(|location| location.to_str().ok()) {
        let location = format!("{location}?{RECEIPT}={receipt}");
        insert(response.headers_mut(), header::LOCATION, &location);
    }
}

/// A chunk that does not start at the upload's end: the answer says where
/// that is, and the upload goes on.
fn out_of_order<D>(name: RepositoryName, id: UploadId, offset: u64) -> Response<Body<D>> {
    let mut response = super::refusal(Error::ChunkOrder { offset });
    let where_it_is = progress::<D>(StatusCode::NO_CONTENT, name, id, offset);
    response.headers_mut().extend(where_it_is.headers().clone());
    response
}

fn failed(error: StorageError, id: &UploadId, announced: Option<u64>) -> Error {
    match error {
        StorageError::NotFound => Error::UploadUnknown(id.clone()),
        StorageError::Busy => Error::UploadBusy,
        StorageError::BodyLength(length) => {
            Error::BodyLength { announced: announced.unwrap_or(length) }
        }
        error => internal(error),
    }
}
