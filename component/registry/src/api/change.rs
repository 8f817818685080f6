//! What a request has changed or read, as notifications say it.

use super::DOCKER_CONTENT_DIGEST;
use crate::route::Event;
use crate::{Body, Route};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderName, Response, StatusCode};
use roadstead_bridge::change::{Change, ChangeKind, ChangeReference, REFERENCES_LIMIT};
use roadstead_oci::{Manifest, ManifestKind, Reference, RepositoryName, Tag, Target};

/// The media type of a blob: its manifest says more, which is pushed later.
const BLOB: &str = "application/octet-stream";

/// What an endpoint knows of what it has stored, and its response does not say.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    /// The media type of a manifest.
    media_type: Option<String>,
    /// The size in bytes.
    size: Option<u64>,
    tags: Vec<String>,
    /// The repository that a blob was mounted from.
    from: Option<String>,
    references: Vec<ChangeReference>,
}

impl Stored {
    pub(super) fn blob(size: u64) -> Self {
        Self { size: Some(size), ..Self::default() }
    }

    pub(super) fn mounted(from: &RepositoryName) -> Self {
        Self { from: Some(from.as_str().to_owned()), ..Self::default() }
    }

    pub(super) fn manifest(manifest: &Manifest, size: u64, tags: &[Tag]) -> Self {
        Self {
            media_type: Some(manifest.media_type().as_str().to_owned()),
            size: Some(size),
            tags: tags.iter().map(|tag| tag.as_str().to_owned()).collect(),
            from: None,
            references: references(manifest),
        }
    }
}

/// What a manifest refers to, unless that is too long to be said.
fn references(manifest: &Manifest) -> Vec<ChangeReference> {
    let of = |target: &Target| ChangeReference {
        media_type: target.media_type.as_str().to_owned(),
        size: target.size,
        digest: target.digest.as_str().to_owned(),
    };
    let targets: Vec<&Target> = match manifest.kind() {
        ManifestKind::Image { config, layers } => [config].into_iter().chain(layers).collect(),
        ManifestKind::Index { manifests } => manifests.iter().collect(),
        ManifestKind::Other => Vec::new(),
    };
    // With names, punctuation and the longest number.
    let length =
        |target: &&Target| 64 + target.media_type.as_str().len() + target.digest.as_str().len();
    if targets.iter().map(length).sum::<usize>() > REFERENCES_LIMIT {
        return Vec::new();
    }
    targets.into_iter().map(of).collect()
}

/// What a response gives of a manifest or of a blob.
fn read<D>(
    change: Change,
    reference: Option<&Reference>,
    response: &Response<Body<D>>,
) -> Option<Change> {
    let headers = response.headers();
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let (media_type, size) = match response.status() {
        StatusCode::OK => (text(CONTENT_TYPE), text(CONTENT_LENGTH)),
        // The size of the whole is at the end.
        StatusCode::PARTIAL_CONTENT => (text(CONTENT_TYPE), text(CONTENT_RANGE)),
        StatusCode::TEMPORARY_REDIRECT => (None, None),
        _ => return None,
    };
    let tag = reference.and_then(|reference| match reference {
        Reference::Tag(tag) => Some(tag.as_str().to_owned()),
        Reference::Digest(_) => None,
    });
    Some(Change {
        digest: Some(text(DOCKER_CONTENT_DIGEST)?.to_owned()),
        media_type: Some(media_type.unwrap_or(BLOB).to_owned()),
        size: size.and_then(|size| size.rsplit('/').next()?.parse().ok()),
        tags: tag.into_iter().collect(),
        ..change
    })
}

/// What a request is going to do, by its route.
pub(super) struct Intent {
    kind: ChangeKind,
    repository: String,
    /// What is deleted, if it is not the whole repository.
    reference: Option<Reference>,
}

impl Intent {
    /// `None` if the request does nothing that others are notified of; of pulls they are if `pulls`.
    pub(super) fn of(route: &Route, pulls: bool) -> Option<Self> {
        let kind = match route.class().event? {
            Event::Pull if !pulls => return None,
            Event::Pull => ChangeKind::Pull,
            Event::Push => ChangeKind::Push,
            Event::Mount => ChangeKind::Mount,
            Event::Delete => ChangeKind::Delete,
        };
        let (repository, reference) = match route {
            Route::Manifest(name, reference, _) => (name, Some(reference.clone())),
            Route::Blob(name, digest, _) => (name, Some(Reference::Digest(digest.clone()))),
            Route::Repository(name) | Route::StartUpload(name, _) => (name, None),
            Route::Upload(session, _) => (&session.repository, None),
            _ => return None,
        };
        Some(Self { kind, repository: repository.as_str().to_owned(), reference })
    }

    /// What the request with this response has changed. `None` if it has not, as when a mount
    /// has become an upload, or a deletion is not complete.
    pub(super) fn carried_out<D>(self, response: &Response<Body<D>>) -> Option<Change> {
        let Self { kind, repository, reference } = self;
        let digest = match &reference {
            Some(Reference::Digest(digest)) => Some(digest.as_str().to_owned()),
            _ => None,
        };
        let mut change = Change {
            kind,
            repository,
            digest,
            media_type: None,
            size: None,
            tags: Vec::new(),
            from: None,
            references: Vec::new(),
        };
        if kind == ChangeKind::Pull {
            return read(change, reference.as_ref(), response);
        }
        if kind == ChangeKind::Delete {
            let goes_on = response.headers().contains_key(http::header::RETRY_AFTER);
            if response.status() != StatusCode::ACCEPTED || goes_on {
                return None;
            }
            if let Some(Reference::Tag(tag)) = reference {
                change.tags = vec![tag.as_str().to_owned()];
            }
            return Some(change);
        }
        if response.status() != StatusCode::CREATED {
            return None;
        }
        let digest = response.headers().get(DOCKER_CONTENT_DIGEST)?.to_str().ok()?;
        change.digest = Some(digest.to_owned());
        let stored = response.extensions().get::<Stored>().cloned().unwrap_or_default();
        change.media_type = Some(stored.media_type.unwrap_or_else(|| BLOB.to_owned()));
        change.size = stored.size;
        change.tags = stored.tags;
        change.from = stored.from;
        change.references = stored.references;
        Some(change)
    }
}
