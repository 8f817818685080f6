//! Manifests (end-3, end-7).

use super::{Answer, Call, DOCKER_CONTENT_DIGEST, Registry, empty, insert, internal};
use crate::store::{BodyError, Content, RequestBody as _, Storage, StorageError};
use crate::{Body, Error, ManifestAction, Route};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use roadstead_oci::{Algorithm, Digest, Manifest, MediaType, Reference, RepositoryName, Tag};
use sha2::{Digest as _, Sha256, Sha512};

/// How many referenced blobs are looked up at a time.
const LOOKUPS: usize = 8;

impl<S: Storage> Registry<S> {
    pub(super) async fn manifest(
        &self,
        name: &RepositoryName,
        reference: Reference,
        action: ManifestAction,
        call: &mut Call<S::Upload>,
    ) -> Answer<S> {
        match action {
            ManifestAction::Get => self.get_manifest(name, &reference).await,
            ManifestAction::Head => self.head_manifest(name, &reference).await,
            ManifestAction::Put => self.put_manifest(name, reference, call).await,
        }
    }

    async fn get_manifest(&self, name: &RepositoryName, reference: &Reference) -> Answer<S> {
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
                (media_type_of(&bytes)?, bytes.into())
            }
        };
        Ok(response(&stored.digest, &media_type, stored.size, body))
    }

    async fn head_manifest(&self, name: &RepositoryName, reference: &Reference) -> Answer<S> {
        let stored = self.store.manifest_stat(name, reference).await;
        let stored = stored.map_err(|error| unknown(error, reference))?;
        let media_type = if let Some(media_type) = stored.media_type {
            media_type
        } else {
            let bytes = self.store.manifest_bytes(&stored.digest).await;
            media_type_of(&bytes.map_err(internal)?)?
        };
        Ok(response(&stored.digest, &media_type, stored.size, Body::Empty))
    }

    async fn put_manifest(
        &self,
        name: &RepositoryName,
        reference: Reference,
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
        })?;
        let manifest = Manifest::parse(&bytes, content_type.as_ref()).map_err(Error::Manifest)?;
        let (digest, tag) = match &reference {
            Reference::Digest(expected) => {
                let actual = digest_of(expected.algorithm(), &bytes)?;
                if actual != *expected {
                    return Err(Error::DigestMismatch { expected: expected.clone(), actual });
                }
                (actual, None)
            }
            Reference::Tag(tag) => (digest_of(Algorithm::Sha256, &bytes)?, Some(tag)),
        };
        self.check_blobs(name, &manifest).await?;
        self.store_manifest(name, &digest, &manifest, bytes, tag).await?;
        let mut response = empty(StatusCode::CREATED);
        let headers = response.headers_mut();
        insert(headers, DOCKER_CONTENT_DIGEST, digest.as_str());
        let location =
            Route::Manifest(name.clone(), Reference::Digest(digest), ManifestAction::Get).path();
        insert(headers, header::LOCATION, &location);
        Ok(response)
    }

    async fn store_manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        manifest: &Manifest,
        bytes: Bytes,
        tag: Option<&Tag>,
    ) -> Result<(), Error> {
        let media_type = manifest.media_type();
        self.store.put_manifest(name, digest, media_type, bytes, tag).await.map_err(internal)
    }

    /// Whether the repository holds the blobs that an image manifest names.
    /// The manifests that an index names may come later, or never.
    async fn check_blobs(&self, name: &RepositoryName, manifest: &Manifest) -> Result<(), Error> {
        let lookups = manifest.blobs().map(|descriptor| async {
            let digest = &descriptor.digest;
            (digest.clone(), self.store.blob_size(name, digest).await)
        });
        let mut results = stream::iter(lookups).buffered(LOOKUPS);
        let mut missing = Vec::new();
        while let Some((digest, result)) = results.next().await {
            match result {
                Ok(_) => {}
                Err(StorageError::NotFound) => missing.push(digest),
                Err(error) => return Err(internal(error)),
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(Error::ManifestBlobUnknown(missing)) }
    }
}

fn response<D>(
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
    response
}

fn content_type(headers: &HeaderMap) -> Result<Option<MediaType>, Error> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    MediaType::parse(&text).map(Some).map_err(|_| Error::ContentType(text.into_owned()))
}

/// The media type of a manifest that another registry stored, which does not
/// record it: read from the manifest, as that registry does.
fn media_type_of(bytes: &[u8]) -> Result<MediaType, Error> {
    match Manifest::parse(bytes, None) {
        Ok(manifest) => Ok(manifest.media_type().clone()),
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
