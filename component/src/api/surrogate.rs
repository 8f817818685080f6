//! What a cache in front of the registry may do with an answer (the
//! `Surrogate-Control` of the Edge Architecture Specification, and keys as
//! caches have them). A native host has such a cache, and takes these headers
//! out of what clients get.

use super::insert;
use crate::{BlobAction, ManifestAction, Route};
use http::header::{HeaderMap, HeaderName};
use http::{Response, StatusCode};
use roadstead_auth::Caller;
use roadstead_oci::{Reference, RepositoryName};

const CONTROL: HeaderName = HeaderName::from_static("surrogate-control");
const KEY: HeaderName = HeaderName::from_static("surrogate-key");
const PURGE: HeaderName = HeaderName::from_static("surrogate-purge");

/// How long what a tag names may be kept, in seconds. Writes that pass the
/// cache end it at once; this bounds how long one of another process on the
/// same storage is not seen.
const TAGGED: u32 = 1;

/// The same for content by its digest, which can only be deleted.
const CONTENT: u32 = 10;

/// What to tell a cache.
pub(super) enum Surrogate {
    /// Everyone without credentials gets this answer, for so many seconds, if
    /// nothing is written to the repository.
    Keep(RepositoryName, u32),
    /// What was kept of the repository is outdated.
    Purge(RepositoryName),
}

impl Surrogate {
    /// What there is to tell of the answer to a request.
    pub(super) fn of(route: &Route, caller: &Caller) -> Option<Self> {
        let keep = |name: &RepositoryName, seconds| {
            let everyone = caller.subject.is_anonymous() && caller.access.is_none();
            everyone.then(|| Self::Keep(name.clone(), seconds))
        };
        match route {
            Route::Manifest(name, reference, ManifestAction::Get | ManifestAction::Head) => {
                let tagged = matches!(reference, Reference::Tag(_));
                keep(name, if tagged { TAGGED } else { CONTENT })
            }
            Route::Blob(name, _, BlobAction::Get | BlobAction::Head) => keep(name, CONTENT),
            Route::Manifest(name, _, ManifestAction::Put(_) | ManifestAction::Delete)
            | Route::Blob(name, _, BlobAction::Delete) => Some(Self::Purge(name.clone())),
            Route::Root
            | Route::Base
            | Route::Catalog(_)
            | Route::Token(_)
            | Route::Tags(..)
            | Route::Referrers(..)
            // What they add was not there before, and that is never kept.
            | Route::StartUpload(..)
            | Route::Upload(..) => None,
        }
    }

    /// Tells it.
    pub(super) fn tell<B>(&self, response: &mut Response<B>) {
        let found = response.status() == StatusCode::OK;
        let headers: &mut HeaderMap = response.headers_mut();
        match self {
            Self::Keep(name, seconds) if found => {
                insert(headers, CONTROL, &format!("max-age={seconds}"));
                insert(headers, KEY, name.as_str());
            }
            Self::Keep(..) => {}
            // Even if it failed: it may have been done by half.
            Self::Purge(name) => insert(headers, PURGE, name.as_str()),
        }
    }
}
