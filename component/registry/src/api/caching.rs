//! The directive for the cache in front of the registry: see
//! [`roadstead_bridge::cache`].

use super::DOCKER_CONTENT_DIGEST;
use crate::route::MISSING_TTL;
use crate::{Caching, Route};
use http::{Response, StatusCode, Uri};
use roadstead_access::Caller;
use roadstead_bridge::cache::Directive;
use std::time::{Duration, SystemTime};

/// How long the cache may serve the same request with the same credentials, if
/// those are valid for that long. Rules do not change while the registry runs,
/// and the cache is notified when users change.
///
/// Limit: time for which the host may answer for the same credentials; test:
/// `users_change`.
const GRANT: Duration = Duration::from_mins(1);

/// The key of responses that no write outdates: not the name of a repository.
const NO_REPOSITORY: &str = "/";

/// The cache directives that a response may have, by its status.
pub(super) enum CacheDirective {
    Keep {
        key: String,
        ttl: Duration,
        missing: Option<String>,
        grant: Duration,
    },
    /// The key of the repository that changes, if one does.
    Purge(Option<String>),
}

impl CacheDirective {
    /// The directives for the response to a request, if there are any.
    pub(super) fn of(route: &Route, uri: &Uri, caller: &Caller, now: SystemTime) -> Option<Self> {
        let (key, ttl, missing) = match route.class().caching {
            Caching::None => return None,
            Caching::Purge(name) => {
                return Some(Self::Purge(name.map(|name| name.as_str().to_owned())));
            }
            // Whoever may ask for it could fill the cache with queries.
            Caching::Fixed(_) if uri.query().is_some() => return None,
            Caching::Fixed(ttl) => (NO_REPOSITORY, ttl, None),
            Caching::Keep(name, ttl, digest) => (name.as_str(), ttl, digest),
        };
        let valid = caller.seconds_left(now).map(Duration::from_secs);
        let grant = valid.map_or(GRANT, |valid| valid.min(GRANT));
        let (key, missing) = (key.to_owned(), missing.map(|digest| digest.as_str().to_owned()));
        Some(Self::Keep { key, ttl, missing, grant })
    }

    /// Adds the one for its status to the response. A failed write invalidates cached
    /// responses of the repository too: it may have been partly done.
    pub(super) fn write<B>(self, response: &mut Response<B>) {
        let directive = match self {
            Self::Keep { key, ttl, grant, .. } if response.status() == StatusCode::OK => {
                Directive::Keep { keys: vec![key], ttl, grant }
            }
            // Also by what changes the repository: a manifest's push may link its blobs again.
            Self::Keep { key, missing: Some(digest), grant, .. }
                if response.status() == StatusCode::NOT_FOUND =>
            {
                Directive::Keep { keys: vec![key, digest], ttl: MISSING_TTL, grant }
            }
            Self::Keep { .. } => return,
            Self::Purge(repository) => {
                let stored = response.headers().get(DOCKER_CONTENT_DIGEST);
                let stored = stored.and_then(|digest| digest.to_str().ok());
                let keys: Vec<_> =
                    repository.into_iter().chain(stored.map(str::to_owned)).collect();
                if keys.is_empty() {
                    return;
                }
                Directive::Purge { keys }
            }
        };
        directive.write(response.headers_mut());
    }
}
