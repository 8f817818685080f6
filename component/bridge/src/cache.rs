//! What the native host's cache may do with a response, in the component's
//! words: the headers of the Edge Architecture Specification
//! (`Surrogate-Control`) and their usual companions. The host removes them from
//! what clients get.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

const CONTROL: HeaderName = HeaderName::from_static("surrogate-control");
const KEY: HeaderName = HeaderName::from_static("surrogate-key");
const PURGE: HeaderName = HeaderName::from_static("surrogate-purge");
const GRANT: HeaderName = HeaderName::from_static("surrogate-grant");

/// What the value of a time begins with.
const MAX_AGE: &str = "max-age=";

/// What a response says to the cache.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Directive {
    /// The response is the same for everyone who is allowed to have it.
    Keep {
        /// A purge of any of these keys invalidates it: see [`Directive::Purge`].
        keys: Vec<String>,
        /// Its TTL, in whole seconds.
        ttl: Duration,
        /// How long the same credentials, method and path stay allowed to have
        /// it, in whole seconds.
        grant: Duration,
    },
    /// Responses that were kept under these keys are outdated.
    Purge {
        /// The keys.
        keys: Vec<String>,
    },
}

impl Directive {
    /// Writes the directive into a response's headers.
    pub fn write(&self, headers: &mut HeaderMap) {
        let mut insert = |name, value: &str| {
            // Keys are repository names and digests, which header values can hold, and which
            // have no spaces.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        match self {
            Self::Keep { keys, ttl, grant } => {
                insert(CONTROL, &format!("{MAX_AGE}{}", ttl.as_secs()));
                insert(GRANT, &format!("{MAX_AGE}{}", grant.as_secs()));
                insert(KEY, &keys.join(" "));
            }
            Self::Purge { keys } => insert(PURGE, &keys.join(" ")),
        }
    }

    /// Takes the directive out of a response's headers, all of them removed.
    pub fn take(headers: &mut HeaderMap) -> Option<Self> {
        let [control, grant, key, purge] =
            [CONTROL, GRANT, KEY, PURGE].map(|name| headers.remove(name));
        let words = |value: HeaderValue| {
            let words = value.to_str().ok()?.split_whitespace();
            Some(words.map(str::to_owned).collect())
        };
        if let Some(keys) = purge.and_then(words) {
            return Some(Self::Purge { keys });
        }
        let grant = grant.as_ref().and_then(max_age).unwrap_or_default();
        Some(Self::Keep { keys: words(key?)?, ttl: max_age(control.as_ref()?)?, grant })
    }
}

fn max_age(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.strip_prefix(MAX_AGE)?.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::Directive;
    use http::HeaderMap;
    use std::time::Duration;

    #[test]
    fn directives_are_taken_as_they_were_written() {
        let (ttl, grant) = (Duration::from_secs(10), Duration::from_mins(1));
        for directive in [
            Directive::Keep { keys: vec!["a/b".to_owned()], ttl, grant },
            Directive::Keep { keys: vec!["a/b".to_owned(), "sha256:c".to_owned()], ttl, grant },
            Directive::Purge { keys: vec!["a/b".to_owned()] },
            Directive::Purge { keys: vec!["a/b".to_owned(), "sha256:c".to_owned()] },
        ] {
            let mut headers = HeaderMap::new();
            directive.write(&mut headers);
            assert_eq!(Directive::take(&mut headers), Some(directive));
            assert!(headers.is_empty());
        }
        assert_eq!(Directive::take(&mut HeaderMap::new()), None);
    }
}
