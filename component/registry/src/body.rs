//! What a response carries.

use crate::store::Content;
use bytes::Bytes;

/// A response's body.
#[derive(Debug)]
pub enum Body<D> {
    /// Nothing.
    Empty,
    /// Bytes at hand.
    Bytes(Bytes),
    /// Stored bytes, which pass as a handle.
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

impl<D, B: Into<Bytes>> From<B> for Body<D> {
    fn from(bytes: B) -> Self {
        Self::Bytes(bytes.into())
    }
}
