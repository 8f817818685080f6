//! What a cache in front of the registry may do with a response: see
//! [`roadstead_bridge::cache`].

use crate::{Caching, Route};
use http::{Response, StatusCode};
use roadstead_access::Caller;
use roadstead_bridge::cache::Directive;
use std::time::{Duration, SystemTime};

/// How long the same credentials may ask for the same again, if they are valid
/// for that long. Rules do not change while the registry runs, and the cache is
/// told when users do.
const GRANT: Duration = Duration::from_mins(1);

/// The directive for a response to `caller`, if that succeeds or fails alike.
pub(super) struct CacheDirective(Directive);

impl CacheDirective {
    /// The directive for the response to a request, if there is one.
    pub(super) fn of(route: &Route, caller: &Caller, now: SystemTime) -> Option<Self> {
        Some(Self(match route.class().caching {
            Caching::None => return None,
            Caching::Keep(name, ttl) => {
                let valid = caller.seconds_left(now).map(Duration::from_secs);
                let grant = valid.map_or(GRANT, |valid| valid.min(GRANT));
                Directive::Keep { key: name.as_str().to_owned(), ttl, grant }
            }
            Caching::Purge(name) => Directive::Purge { key: name.as_str().to_owned() },
        }))
    }

    /// Writes it into the response. A write that failed outdates as well: it may
    /// have been done in part.
    pub(super) fn write<B>(&self, response: &mut Response<B>) {
        let kept = matches!(self.0, Directive::Keep { .. });
        if !kept || response.status() == StatusCode::OK {
            self.0.write(response.headers_mut());
        }
    }
}
