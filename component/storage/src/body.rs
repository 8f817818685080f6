//! Bodies of requests and responses, as the platform hands them over.

use crate::StorageError;
use bytes::Bytes;
use futures::stream::BoxStream;
use http::StatusCode;
use http::request::Parts;
use sha2::Sha256;
use std::fmt;
use std::time::Duration;

/// How many bytes of a body are read and discarded before an early response:
/// 16 MiB. A manifest over the limit fits; a layer does not.
///
/// Limit: bytes of a body that are still read after an early response; test:
/// `requests_after_a_refusal`.
pub const DRAIN_LIMIT: u64 = 16 * 1024 * 1024;

/// The body of a request before anything of it was read.
#[expect(async_fn_in_trait, reason = "a component has one thread; no future needs to be Send")]
pub trait RequestBody: Sized {
    /// The whole body, of at most `limit` bytes. The rest of a longer one is
    /// drained. A sender that trickles is not waited for.
    ///
    /// # Errors
    /// See [`BodyError`].
    async fn collect(self, limit: usize) -> Result<Bytes, BodyError>;

    /// Reads and discards at most [`DRAIN_LIMIT`] bytes: a client that sends its
    /// whole body before it reads would not see an early response otherwise.
    async fn drain(self);
}

/// Why a body could not be collected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyError {
    /// It is longer than the limit.
    TooLarge,
    /// It ended early.
    Aborted,
    /// Its sender was too slow.
    TooSlow,
}

/// A request's body that is read one chunk at a time.
#[expect(async_fn_in_trait, reason = "a component has one thread; no future needs to be Send")]
pub trait ChunkedBody: RequestBody {
    /// Its length in bytes, if the client announced it.
    fn length(&self) -> Option<u64>;

    /// Has the platform hash the bytes before they arrive here, continuing
    /// `sha256`. `false` if the platform does not hash.
    async fn begin_hash(&mut self, _sha256: &Sha256) -> bool {
        false
    }

    /// At the end of the body, the hash that [`ChunkedBody::begin_hash`] began.
    fn end_hash(&mut self) -> Option<Sha256> {
        None
    }

    /// The next bytes; `None` at the end of the body.
    ///
    /// # Errors
    /// [`Aborted`] when the body ended early.
    async fn chunk(&mut self) -> Result<Option<Bytes>, Aborted>;

    /// Sends an unread body of known length as the body of another request, and
    /// gives the response's status and body.
    ///
    /// # Errors
    /// [`StorageError::Aborted`] when the body ended early.
    async fn pass_on(self, head: Parts) -> Result<(StatusCode, Bytes), StorageError>;
}

/// A body ended early: the client closed the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Aborted;

/// Bulk bytes as the platform has them, for adapters that speak to an object
/// store.
#[expect(async_fn_in_trait, reason = "a component has one thread; no future needs to be Send")]
pub trait Bodies: fmt::Debug + 'static {
    /// See [`crate::Storage::Upload`].
    type Upload: ChunkedBody;
    /// See [`crate::Storage::Download`].
    type Download;

    /// The body of a response that streams `bytes`. An error cuts it short,
    /// which clients notice by `Content-Length`.
    fn download(bytes: BoxStream<'static, Result<Bytes, StorageError>>) -> Self::Download;

    /// Lets `time` pass.
    async fn pause(time: Duration);

    /// Sends a request without a body, and gives the response with its body as a
    /// handle. `None` where the platform passes no handles, and where another
    /// attempt may succeed at once.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] when the store does not respond.
    async fn fetch(
        _request: Parts,
    ) -> Result<Option<(http::response::Parts, Self::Download)>, StorageError> {
        Ok(None)
    }
}

/// Stored bytes: short ones in memory, others as a handle.
#[derive(Debug)]
pub enum Content<D> {
    /// The bytes themselves.
    Bytes(Bytes),
    /// A handle to them.
    Stream(D),
}
