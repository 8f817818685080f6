//! Response bodies.

use bytes::Bytes;
use roadstead_storage::Content;

/// A response's body.
#[derive(Debug)]
pub enum Body<D> {
    /// No body.
    Empty,
    /// Bytes in memory.
    Bytes(Bytes),
    /// Stored content, passed on as a handle to its stream.
    Stream(D),
}

impl<D> From<Content<D>> for Body<D> {
    fn from(content: Content<D>) -> Self {
        match content {
            Content::Bytes(bytes) => Self::Bytes(bytes),
            Content::Stream(stream) => Self::Stream(stream),
        }
    }
}

impl<D> From<Bytes> for Body<D> {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl<D> From<Vec<u8>> for Body<D> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}
