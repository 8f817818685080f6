//! What a cache in front of the registry may do with an answer (the
//! `Surrogate-Control` of the Edge Architecture Specification, and keys as
//! caches have them). A native host has such a cache, and takes these headers
//! out of what clients get.

use super::insert;
use crate::{BlobAction, ManifestAction, Route};
use http::header::{HeaderMap, HeaderName};
use http::{Response, StatusCode};
use roadstead_access::Caller;
use roadstead_oci::{Reference, RepositoryName};
use std::time::SystemTime;

const CONTROL: HeaderName = HeaderName::from_static("surrogate-control");
const KEY: HeaderName = HeaderName::from_static("surrogate-key");
const PURGE: HeaderName = HeaderName::from_static("surrogate-purge");
const GRANT: HeaderName = HeaderName::from_static("surrogate-grant");

/// How long what a tag names may be kept, in seconds. Writes that pass the
/// cache end it at once; this bounds how long one of another process on the
/// same storage is not seen.
const TAGGED: u32 = 1;

/// The same for content by its digest, which can only be deleted.
const CONTENT: u32 = 10;

/// How long the same credentials may ask for the same again, in seconds, if
/// they last that long. Rules do not change while the registry runs, and the
/// cache is told when users do.
const GRANTED: u64 = 60;

/// What to tell a cache.
pub(super) enum Surrogate {
    /// All who may have this answer get the same, for so many seconds, if
    /// nothing is written to the repository; and who asks now may have it for
    /// so many.
    Keep(RepositoryName, u32, u64),
    /// What was kept of the repository is outdated.
    Purge(RepositoryName),
}

impl Surrogate {
    /// What there is to tell of the answer to a request.
    pub(super) fn of(route: &Route, caller: &Caller, now: SystemTime) -> Option<Self> {
        let left = caller.seconds_left(now).unwrap_or(GRANTED);
        let keep = |name: &RepositoryName, seconds| {
            Some(Self::Keep(name.clone(), seconds, left.min(GRANTED)))
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
            Self::Keep(name, seconds, granted) if found => {
                insert(headers, CONTROL, &format!("max-age={seconds}"));
                insert(headers, GRANT, &format!("max-age={granted}"));
                insert(headers, KEY, name.as_str());
            }
            Self::Keep(..) => {}
            // Even if it failed: it may have been done by half.
            Self::Purge(name) => insert(headers, PURGE, name.as_str()),
        }
    }
}
