//! Native hashing of bodies on their way to an object store.
//!
//! The component sends a body to [`AUTHORITY`] with the header [`STATE`]; the
//! body of the response is the same bytes, and its trailers are [`STATE`] after
//! them and [`COMPLETE`]. States are those of `roadstead_storage::hash_state`.

use http::HeaderName;

/// The authority at which a native host hashes.
pub const AUTHORITY: &str = "hash.internal";

/// Header of the request: the state of the SHA-256 hash before the body.
/// Trailer of the response: its state after the body.
pub const STATE: HeaderName = HeaderName::from_static("hash-state");

/// Trailer of the response: `true`, or `false` if the body ended early.
pub const COMPLETE: HeaderName = HeaderName::from_static("hash-complete");
