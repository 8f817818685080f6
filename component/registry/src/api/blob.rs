//! Blobs (end-2, end-10).

use super::{
    Answer, Call, DOCKER_CONTENT_DIGEST, IMMUTABLE, Registry, empty, insert, internal, not_modified,
};
use crate::store::Opened;
use crate::{BlobAction, Body, Error};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use roadstead_oci::{ByteRange, ByteRangeSpec, Digest, RepositoryName, conditional, content_range};
use roadstead_storage::{Storage, StorageError};

impl<S: Storage> Registry<S> {
    pub(super) async fn blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        action: BlobAction,
        call: &Call<S::Upload>,
    ) -> Answer<S> {
        let (size, part, range, body) = match action {
            BlobAction::Delete => {
                let deleted = self.store.delete_blob(name, digest).await;
                deleted.map_err(|error| unknown(error, digest))?;
                return Ok(empty(StatusCode::ACCEPTED));
            }
            BlobAction::Head => {
                let size = self.store.blob_size(name, digest).await;
                let size = size.map_err(|error| unknown(error, digest))?;
                (size, false, 0..size, Body::Empty)
            }
            BlobAction::Get => {
                let range = range_of(&call.headers, digest);
                // Azure does not support suffix ranges.
                let suffix = |range: ByteRange| matches!(range.spec(), ByteRangeSpec::Suffix(_));
                let redirect = !range.is_some_and(suffix);
                let opened = self.store.open_blob(name, digest, range, redirect).await;
                let blob = match opened.map_err(|error| unknown(error, digest))? {
                    Opened::Elsewhere(url) => return Ok(elsewhere(&url, digest)),
                    Opened::Here(blob) => blob,
                };
                (blob.size, range.is_some() && blob.size > 0, blob.range, blob.content.into())
            }
        };
        let length = range.end - range.start;
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        insert(headers, DOCKER_CONTENT_DIGEST, digest.as_str());
        insert(headers, header::ETAG, &etag(digest));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(IMMUTABLE));
        if part {
            insert(headers, header::CONTENT_RANGE, &content_range(&range, size));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        Ok(not_modified(&call.headers, &response).unwrap_or(response))
    }
}

/// Redirects a client to the storage, for partial and full content alike: the
/// client sends the same `Range` there. The URL is valid for a limited time,
/// and grants access to whoever has it.
fn elsewhere<D>(url: &str, digest: &Digest) -> Response<Body<D>> {
    let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
    let headers = response.headers_mut();
    insert(headers, header::LOCATION, url);
    insert(headers, DOCKER_CONTENT_DIGEST, digest.as_str());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The entity tag of content that its digest names.
fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// The requested range, unless `If-Range` names other content (RFC 9110, section
/// 13.1.5): then the whole blob is sent.
fn range_of(headers: &HeaderMap, digest: &Digest) -> Option<ByteRange> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str());
    match text(header::IF_RANGE) {
        Some(Ok(condition)) if !conditional::if_range(condition, &etag(digest)) => return None,
        Some(Err(_)) => return None,
        Some(Ok(_)) | None => {}
    }
    text(header::RANGE)?.ok().and_then(ByteRange::parse)
}

fn unknown(error: StorageError, digest: &Digest) -> Error {
    match error {
        StorageError::NotFound => Error::BlobUnknown(digest.clone()),
        StorageError::Range(size) => Error::RangeNotSatisfiable { size },
        error => internal(error),
    }
}
