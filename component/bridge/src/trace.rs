//! The span of a request: how what the component asks for is joined to the request that it
//! answers.
//!
//! A native host sets [`SPAN`] in a request whose trace is sampled, and in no other. The
//! component sets it to the same value in all requests that it sends while it answers this
//! one: to the authorities of the bridge, and to an object store, before which the host
//! removes it. The value is the host's own; the component does not look into it.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header. Its name begins with [`PREFIX`](crate::client::PREFIX), so the host removes it
/// from what clients send.
pub const SPAN: HeaderName = HeaderName::from_static("x-roadstead-span");

/// The span of a request; the header is removed.
pub fn take(headers: &mut HeaderMap) -> Option<HeaderValue> {
    headers.remove(SPAN)
}
