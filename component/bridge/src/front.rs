//! What the component tells the native host of a response, apart from the
//! [cache's](crate::cache) directives. The host removes it from what clients get.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Present if a response's body is in the component's memory, and is to be read
/// to its end before its client takes it.
const IN_MEMORY: HeaderName = HeaderName::from_static("x-roadstead-in-memory");

/// Says that a response's body is in the component's memory.
pub fn set_in_memory(headers: &mut HeaderMap) {
    headers.insert(IN_MEMORY, HeaderValue::from_static("1"));
}

/// Whether a response's body is in the component's memory; the header is
/// removed.
pub fn take_in_memory(headers: &mut HeaderMap) -> bool {
    headers.remove(IN_MEMORY).is_some()
}
