//! Bodies as WASI streams.

use crate::store::{BodyError, DRAIN_LIMIT, RequestBody};
use bytes::Bytes;
use wasip3::http::types::{ErrorCode, Request, Response, Trailers};
use wasip3::wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult};
use wasip3::{wit_future, wit_stream};

/// Bytes read from a stream at a time, where the guest reads at all.
pub(super) const CHUNK: usize = 64 * 1024;

/// A message's body, unread.
pub(super) struct Upload {
    stream: StreamReader<u8>,
    trailers: FutureReader<Result<Option<Trailers>, ErrorCode>>,
    /// Tells the host how the body was received. While it lives, the body
    /// does.
    received: FutureWriter<Result<(), ErrorCode>>,
}

impl Upload {
    pub(super) fn new(request: Request) -> Self {
        let (received, result) = wit_future::new(|| Ok(()));
        let (stream, trailers) = Request::consume_body(request, result);
        Self { stream, trailers, received }
    }

    pub(super) fn of_response(response: Response) -> Self {
        let (received, result) = wit_future::new(|| Ok(()));
        let (stream, trailers) = Response::consume_body(response, result);
        Self { stream, trailers, received }
    }

    /// The stream, to be passed on, and what must live until it is used.
    pub(super) fn into_stream(self) -> (StreamReader<u8>, impl Sized) {
        (self.stream, (self.trailers, self.received))
    }

    /// The next bytes, in `buffer`. The last ones may come with the end.
    pub(super) async fn next(&mut self, buffer: Vec<u8>) -> (StreamResult, Vec<u8>) {
        self.stream.read(buffer).await
    }

    /// After the last bytes: whether the body is whole.
    pub(super) async fn end(self) -> Result<(), ErrorCode> {
        drop(self.stream);
        self.trailers.await.map(|_| ())
    }

    /// Hands every chunk to `take` until it says to stop. `false` means that
    /// the body broke off.
    ///
    /// A stream that breaks off looks like one that ends; only the trailers
    /// tell them apart, so they are always awaited.
    pub(super) async fn for_each(mut self, mut take: impl FnMut(&[u8]) -> bool) -> bool {
        let mut buffer = Vec::with_capacity(CHUNK);
        loop {
            let (status, mut chunk) = self.stream.read(buffer).await;
            if !chunk.is_empty() && !take(&chunk) {
                return true;
            }
            match status {
                StreamResult::Complete(_) => {}
                StreamResult::Dropped | StreamResult::Cancelled => break,
            }
            chunk.clear();
            buffer = chunk;
        }
        drop(self.stream);
        self.trailers.await.is_ok()
    }
}

impl RequestBody for Upload {
    async fn collect(self, limit: usize) -> Result<Bytes, BodyError> {
        let (mut bytes, mut size) = (Vec::new(), 0);
        let whole = self
            .for_each(|chunk| {
                size += chunk.len() as u64;
                if bytes.len() + chunk.len() <= limit {
                    bytes.extend_from_slice(chunk);
                }
                size <= DRAIN_LIMIT
            })
            .await;
        if size > bytes.len() as u64 {
            Err(BodyError::TooLarge)
        } else if whole {
            Ok(bytes.into())
        } else {
            Err(BodyError::Aborted)
        }
    }

    async fn drain(self) {
        let mut size = 0;
        self.for_each(|chunk| {
            size += chunk.len() as u64;
            size <= DRAIN_LIMIT
        })
        .await;
    }
}

/// A stream of bytes at hand.
pub(super) fn stream(bytes: Vec<u8>) -> StreamReader<u8> {
    let (mut writer, reader) = wit_stream::new();
    wasip3::spawn(async move {
        // A reader that goes away has seen enough.
        let _ = writer.write_all(bytes).await;
    });
    reader
}
