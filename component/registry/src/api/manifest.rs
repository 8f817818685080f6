//! Manifests (end-3, end-7, end-9).

use super::change::Stored;
use super::{
    Answer, Call, DOCKER_CONTENT_DIGEST, IMMUTABLE, REVALIDATE, Registry, empty, insert, internal,
    not_modified,
};
use crate::store::{Push, Referrer, Refusal};
use crate::{Body, Error, ManifestAction, Route};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use roadstead_oci::{
    Algorithm, Digest, InvalidManifest, Manifest, MediaType, Reference, RepositoryName, Tag,
};
use roadstead_storage::{BodyError, Content, RequestBody as _, Storage, StorageError};
use sha2::{Digest as _, Sha256, Sha512};

const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

impl<S: Storage> Registry<S> {
    pub(super) async fn manifest(
        &self,
        name: &RepositoryName,
        reference: Reference,
        action: ManifestAction,
        call: &mut Call<S::Upload>,
    ) -> Answer<S> {
        match action {
            ManifestAction::Get => self.get_manifest(name, &reference, call).await,
            ManifestAction::Head => self.head_manifest(name, &reference, call).await,
            ManifestAction::Put(tags) => self.put_manifest(name, reference, tags, call).await,
            ManifestAction::Delete => {
                let deleted = match &reference {
                    Reference::Tag(tag) => self.store.delete_tag(name, tag).await,
                    Reference::Digest(digest) => self.store.delete_manifest(name, digest).await,
                };
                deleted.map_err(|refusal| refused(refusal, |error| unknown(error, &reference)))?;
                Ok(empty(StatusCode::ACCEPTED))
            }
        }
    }

    async fn get_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
        call: &Call<S::Upload>,
    ) -> Answer<S> {
        let stored = self.store.manifest(name, reference).await;
        let stored = stored.map_err(|error| unknown(error, reference))?;
        let (media_type, body) = match (stored.media_type, stored.content) {
            (Some(media_type), content) => (media_type, content.into()),
            (None, content) => {
                let bytes = match content {
                    Content::Bytes(bytes) => bytes,
                    Content::Stream(_) => {
                        self.store.manifest_bytes(&stored.digest).await.map_err(internal)?
                    }
                };
                (media_type_of(&bytes, reference)?, bytes.into())
            }
        };
        let response = response(reference, &stored.digest, &media_type, stored.size, body);
        Ok(not_modified(&call.headers, &response).unwrap_or(response))
    }

    async fn head_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
        call: &Call<S::Upload>,
    ) -> Answer<S> {
        let stored = self.store.manifest_head(name, reference).await;
        let stored = stored.map_err(|error| unknown(error, reference))?;
        let media_type = if let Some(media_type) = stored.media_type {
            media_type
        } else {
            let bytes = self.store.manifest_bytes(&stored.digest).await;
            media_type_of(&bytes.map_err(internal)?, reference)?
        };
        let response = response(reference, &stored.digest, &media_type, stored.size, Body::Empty);
        Ok(not_modified(&call.headers, &response).unwrap_or(response))
    }

    async fn put_manifest(
        &self,
        name: &RepositoryName,
        reference: Reference,
        mut tags: Vec<Tag>,
        call: &mut Call<S::Upload>,
    ) -> Answer<S> {
        let content_type = content_type(&call.headers)?;
        let bytes = match call.body.take() {
            Some(body) => body.collect(Manifest::MAX_SIZE).await,
            None => Ok(Bytes::new()),
        };
        let bytes = bytes.map_err(|error| match error {
            BodyError::TooLarge => Error::ManifestTooLarge,
            BodyError::Aborted => Error::BodyAborted,
            BodyError::TooSlow => Error::BodyTooSlow,
        })?;
        let manifest = Manifest::parse(&bytes, content_type.as_ref()).map_err(Error::Manifest)?;
        let named = tags.clone();
        let digest = match reference {
            Reference::Digest(expected) => {
                let actual = digest_of(expected.algorithm(), &bytes)?;
                if actual != expected {
                    return Err(Error::DigestMismatch { expected, actual: Some(actual) });
                }
                actual
            }
            Reference::Tag(tag) => {
                tags.push(tag);
                digest_of(Algorithm::Sha256, &bytes)?
            }
        };
        let allowed = self.store.check_tags(name, &tags, &digest).await;
        allowed.map_err(|refusal| refused(refusal, internal))?;
        let size = bytes.len() as u64;
        let referrer = Referrer::of(&manifest, &digest, size);
        if referrer.is_some_and(|referrer| !referrer.fits()) {
            return Err(Error::ReferrerTooLarge);
        }
        let push = Push { name, digest: &digest, size, manifest: &manifest, tags: &tags };
        self.store_manifest(&push, bytes).await?;
        let stored =
            self.switches.tells_changes().then(|| Stored::manifest(&manifest, size, &tags));
        let mut response = pushed(name, digest, &manifest, &named);
        if let Some(stored) = stored {
            response.extensions_mut().insert(stored);
        }
        Ok(response)
    }

    /// Stores a manifest, if what it refers to is there, and no quota is exceeded.
    async fn store_manifest(&self, push: &Push<'_>, bytes: Bytes) -> Result<(), Error> {
        let Push { name, digest, manifest, tags, .. } = *push;
        let complete = !self.switches.sparse;
        let digests: Vec<&Digest> = manifest.blobs().map(|blob| &blob.digest).collect();
        // Links that a collector has moved are restored, even if the rest may be missing.
        let missing = self.store.missing_blobs(name, &digests).await.map_err(internal)?;
        check(missing, complete)?;
        let admitted = self.store.admit(push).await;
        let admitted = admitted.map_err(|refusal| refused(refusal, internal))?;
        let stored = self.store.put_manifest(name, digest, manifest, bytes, tags, complete).await;
        let stored = stored.map_err(|refusal| refused(refusal, internal));
        if let Err(error) = stored.and_then(|missing| check(missing, complete)) {
            self.store.withdraw(admitted).await;
            return Err(error);
        }
        Ok(())
    }
}

/// The error for a refusal, with that for a failure of the storage.
pub(super) fn refused(refusal: Refusal, failed: impl FnOnce(StorageError) -> Error) -> Error {
    match refusal {
        Refusal::Immutable(tag) => Error::TagImmutable(tag),
        Refusal::Quota(over) => Error::OverQuota(over),
        Refusal::Storage(error) => failed(error),
    }
}

/// Refuses an image whose blobs are missing, if it has to be complete. The manifests
/// that an index names may be pushed later, or never.
fn check(missing: Vec<Digest>, complete: bool) -> Result<(), Error> {
    if missing.is_empty() || !complete {
        return Ok(());
    }
    Err(Error::ManifestBlobUnknown(missing))
}

/// The response to a push: the location of the manifest, its subject, and the
/// tags that were set by query parameters.
fn pushed<D>(
    name: &RepositoryName,
    digest: Digest,
    manifest: &Manifest,
    tags: &[Tag],
) -> Response<Body<D>> {
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    insert(headers, DOCKER_CONTENT_DIGEST, digest.as_str());
    if let Some(subject) = manifest.subject() {
        insert(headers, OCI_SUBJECT, subject.digest.as_str());
    }
    for tag in tags {
        if let Ok(tag) = HeaderValue::from_str(tag.as_str()) {
            headers.append(OCI_TAG, tag);
        }
    }
    let route = Route::Manifest(name.clone(), Reference::Digest(digest), ManifestAction::Get);
    insert(headers, header::LOCATION, &route.path());
    response
}

fn response<D>(
    reference: &Reference,
    digest: &Digest,
    media_type: &MediaType,
    size: u64,
    body: Body<D>,
) -> Response<Body<D>> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    insert(headers, header::CONTENT_TYPE, media_type.as_str());
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    insert(headers, DOCKER_CONTENT_DIGEST, digest.as_str());
    insert(headers, header::ETAG, &format!("\"{digest}\""));
    let cache = match reference {
        Reference::Tag(_) => REVALIDATE,
        Reference::Digest(_) => IMMUTABLE,
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

fn content_type(headers: &HeaderMap) -> Result<Option<MediaType>, Error> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    MediaType::parse(&text).map(Some).map_err(|_| Error::content_type(&text))
}

/// The media type of a manifest that another registry stored without recording
/// the media type: read from the manifest, as that registry does. That registry
/// stores none that does not say it: its link is just being written or deleted.
fn media_type_of(bytes: &[u8], reference: &Reference) -> Result<MediaType, Error> {
    match Manifest::parse_stored(bytes, None) {
        Ok(manifest) => Ok(manifest.media_type().clone()),
        Err(InvalidManifest::UnknownMediaType) => Err(Error::ManifestUnknown(reference.clone())),
        Err(error) => Err(Error::Internal(format!("a stored manifest is damaged: {error}"))),
    }
}

fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Result<Digest, Error> {
    let digest = match algorithm {
        Algorithm::Sha256 => Digest::from_bytes(algorithm, &Sha256::digest(bytes)),
        Algorithm::Sha512 => Digest::from_bytes(algorithm, &Sha512::digest(bytes)),
    };
    digest.ok_or_else(|| Error::Internal("hash of a wrong length".to_owned()))
}

fn unknown(error: StorageError, reference: &Reference) -> Error {
    match error {
        StorageError::NotFound => Error::ManifestUnknown(reference.clone()),
        error => internal(error),
    }
}
