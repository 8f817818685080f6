//! What the native host tells the component about the client of a request. It
//! removes every header whose name begins with [`PREFIX`] from what clients
//! send, so these cannot be forged.

use http::HeaderName;

/// What the names of these headers begin with.
pub const PREFIX: &str = "x-roadstead-";

/// The client's IP address, as trusted proxies report it.
pub const ADDRESS: HeaderName = HeaderName::from_static("x-roadstead-client");

/// The scheme by which the client reached the registry or a trusted proxy:
/// `http` or `https`.
pub const SCHEME: HeaderName = HeaderName::from_static("x-roadstead-scheme");

/// The name in the client's certificate, which the host has verified;
/// percent-encoded.
pub const CERTIFICATE: HeaderName = HeaderName::from_static("x-roadstead-certificate");
