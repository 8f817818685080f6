//! How long a store may take to respond.
//!
//! A store that hangs must not hold the registry's clients for minutes: with the
//! retries of [`crate::Client`], a request that needs the store is answered
//! within half a minute. What makes a store move gigabytes may take longer.

use http::{HeaderMap, Method, Uri};
use std::time::Duration;

/// How long a store may take to begin its response to a small request, once it
/// has it: many times what stores need under load.
///
/// Limit: the wait for a store's response; test: `a_store_that_hangs_costs_half_a_minute`.
pub const QUICK_TIME: Duration = Duration::from_secs(10);

/// The same for a list, which takes long in a large bucket of some stores. It is
/// not repeated after this time.
///
/// Limit: the wait for a store's list; test: `a_store_that_hangs_costs_half_a_minute`.
pub const LIST_TIME: Duration = Duration::from_secs(25);

/// The same for a request that makes the store move much: a large body, a copy,
/// or the parts of a large object being put together.
///
/// Limit: the wait while a store moves a large object; test: `requests_have_their_time`.
pub const RESPONSE_TIME: Duration = Duration::from_mins(2);

/// The largest body of a small request, in bytes.
///
/// Limit: bytes of a request that gets the time of a small one; test: `requests_have_their_time`.
const SMALL_BODY: u64 = 64 * 1024;

/// Headers that ask a store to copy an object.
const COPY_SOURCES: [&str; 3] = ["x-amz-copy-source", "x-goog-copy-source", "x-ms-copy-source"];

/// The query of Azure's request that puts parts together.
const COMPLETES: [&str; 1] = ["comp=blocklist"];

/// Queries of lists.
const LISTS: [&str; 3] = ["list-type=2", "comp=list", "uploads"];

/// How long a store may take to begin its response to a request, once it has all
/// of it.
pub fn response_time(method: &Method, uri: &Uri, headers: &HeaderMap, length: u64) -> Duration {
    let pairs = || uri.query().unwrap_or_default().split('&');
    let asks = |names: &[&str]| pairs().any(|pair| names.contains(&pair.trim_end_matches('=')));
    let completes = *method == Method::POST && pairs().any(|pair| pair.starts_with("uploadId="));
    let copies = COPY_SOURCES.iter().any(|&name| headers.contains_key(name));
    let reads = *method == Method::GET || *method == Method::HEAD;
    if reads {
        if asks(&LISTS) { LIST_TIME } else { QUICK_TIME }
    } else if length > SMALL_BODY || copies || completes || asks(&COMPLETES) {
        RESPONSE_TIME
    } else {
        QUICK_TIME
    }
}

#[cfg(test)]
mod tests {
    use super::{LIST_TIME, QUICK_TIME, RESPONSE_TIME, SMALL_BODY, response_time};
    use crate::{MAX_PAUSE, REPEAT_TIME};
    use http::{HeaderMap, HeaderName, HeaderValue, Method};
    use std::time::Duration;

    #[test]
    fn requests_have_their_time() {
        for (method, uri, header, length, expected) in [
            ("HEAD", "/b/key", "", 0, QUICK_TIME),
            ("GET", "/b/uploadId=1?x", "", 0, QUICK_TIME),
            ("DELETE", "/b/key?uploadId=1", "", 0, QUICK_TIME),
            ("PUT", "/b/key", "", SMALL_BODY, QUICK_TIME),
            ("POST", "/b/key?uploads", "", 0, QUICK_TIME),
            ("GET", "/b?prefix=a&list-type=2", "", 0, LIST_TIME),
            ("GET", "/b/?prefix=a&uploads=", "", 0, LIST_TIME),
            ("GET", "/b?restype=container&comp=list", "", 0, LIST_TIME),
            ("PUT", "/b/key", "", SMALL_BODY + 1, RESPONSE_TIME),
            ("PUT", "/b/key?partNumber=1&uploadId=1", "x-amz-copy-source", 0, RESPONSE_TIME),
            ("PUT", "/b/key", "x-goog-copy-source", 0, RESPONSE_TIME),
            ("PUT", "/b/key", "x-ms-copy-source", 0, RESPONSE_TIME),
            ("POST", "/b/key?uploadId=1", "", 100, RESPONSE_TIME),
            ("PUT", "/b/key?comp=blocklist", "", 100, RESPONSE_TIME),
            // Few objects are deleted at a time, while a client waits.
            ("POST", "/b?delete=", "", 100, QUICK_TIME),
        ] {
            let mut headers = HeaderMap::new();
            if !header.is_empty() {
                headers.insert(HeaderName::from_static(header), HeaderValue::from_static("x"));
            }
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let found = response_time(&method, &uri.parse().unwrap(), &headers, length);
            assert_eq!(found, expected, "{method} {uri}");
        }
    }

    /// The last attempt begins before the time for retries is over.
    #[test]
    fn a_store_that_hangs_costs_half_a_minute() {
        let most = Duration::from_secs(30);
        assert!(REPEAT_TIME + QUICK_TIME <= most);
        assert!(LIST_TIME + MAX_PAUSE <= most && LIST_TIME > REPEAT_TIME);
    }
}
