//! Bodies of requests and responses.

pub(crate) mod budget;
pub(crate) mod file_body;
pub(crate) mod handover;
pub(crate) mod idle_timeout;
pub(crate) mod request_body;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use std::io;
use wasmtime_wasi_http::WasiBody;

/// A body of bytes that are in memory.
pub(crate) fn full(bytes: Bytes) -> WasiBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A body without bytes.
pub(crate) fn empty() -> WasiBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// The error of a file that has fewer bytes than when it was opened. Stored
/// objects never change, so the storage directory is damaged.
fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it was")
}
