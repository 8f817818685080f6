//! The directive for the cache in front of the registry: see
//! [`roadstead_bridge::cache`].

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

/// The cache directive of a response.
pub(super) struct CacheDirective(Directive);

impl CacheDirective {
    /// The directive for the response to a request, if there is one.
    pub(super) fn of(route: &Route, uri: &Uri, caller: &Caller, now: SystemTime) -> Option<Self> {
        let (key, ttl) = match route.class().caching {
            Caching::None => return None,
            Caching::Purge(name) => {
                return Some(Self(Directive::Purge { key: name.as_str().to_owned() }));
            }
            // Whoever may ask for it could fill the cache with queries.
            Caching::Fixed(_) if uri.query().is_some() => return None,
            Caching::Fixed(ttl) => (NO_REPOSITORY, ttl),
            Caching::Keep(name, ttl) => (name.as_str(), ttl),
        };
        let valid = caller.seconds_left(now).map(Duration::from_secs);
        let grant = valid.map_or(GRANT, |valid| valid.min(GRANT));
        Some(Self(Directive::Keep { key: key.to_owned(), ttl, grant }))
    }

    /// Adds it to the response. A failed write invalidates cached responses
    /// too: it may have been partly done.
    pub(super) fn write<B>(&self, response: &mut Response<B>) {
        let kept = matches!(self.0, Directive::Keep { .. });
        if !kept || response.status() == StatusCode::OK {
            self.0.write(response.headers_mut());
        }
    }
}
