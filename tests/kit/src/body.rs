//! Bodies in memory.

use crate::bucket::MemoryBucket;
use bytes::Bytes;
use futures::stream::BoxStream;
use http::StatusCode;
use http::request::Parts;
use roadstead_storage::{Aborted, Bodies, BodyError, ChunkedBody, RequestBody, StorageError};
use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

/// How many bytes a chunk of a body has at most, as in the component.
const CHUNK: usize = 64 * 1024;

/// The body of a request, in memory.
#[derive(Debug)]
pub struct MemoryBody {
    /// The bytes that arrive.
    pub bytes: Bytes,
    /// Whether the body ends early after them.
    pub aborted: bool,
}

impl RequestBody for MemoryBody {
    async fn collect(self, limit: usize) -> Result<Bytes, BodyError> {
        match self {
            Self { bytes, .. } if bytes.len() > limit => Err(BodyError::TooLarge),
            Self { aborted: true, .. } => Err(BodyError::Aborted),
            Self { bytes, .. } => Ok(bytes),
        }
    }

    async fn drain(self) {}
}

impl ChunkedBody for MemoryBody {
    fn length(&self) -> Option<u64> {
        (!self.aborted).then_some(self.bytes.len() as u64)
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Aborted> {
        // Other tasks run, as they do while a component waits for bytes.
        yield_now().await;
        match self.bytes.split_to(CHUNK.min(self.bytes.len())) {
            bytes if !bytes.is_empty() => Ok(Some(bytes)),
            _ if self.aborted => Err(Aborted),
            _ => Ok(None),
        }
    }

    async fn pass_on(self, head: Parts) -> Result<(StatusCode, Bytes), StorageError> {
        if self.aborted {
            return Err(StorageError::Aborted);
        }
        match head.extensions.get::<crate::bucket::VerifiedPut>() {
            Some(put) => put.send(self.bytes).await,
            None => Err(StorageError::Failed("the request is for another store".to_owned())),
        }
    }
}

thread_local! {
    /// The bucket by whose clock pauses take their time.
    static CLOCK: RefCell<Option<MemoryBucket>> = const { RefCell::new(None) };
}

/// Has pauses of this thread take their time, by the clock of a bucket.
pub fn pause_by(bucket: &MemoryBucket) {
    CLOCK.with(|clock| *clock.borrow_mut() = Some(bucket.clone()));
}

/// Bodies in memory, and streams that tests read.
#[derive(Debug)]
pub struct NativeBodies;

impl Bodies for NativeBodies {
    type Upload = MemoryBody;
    type Download = NativeDownload;

    async fn pause(time: Duration) {
        crate::explorer::pause();
        yield_now().await;
        let clock = CLOCK.with(|clock| clock.borrow().clone());
        if let Some(bucket) = clock {
            let end = bucket.passed() + time;
            while bucket.passed() < end && bucket.tick() {
                yield_now().await;
            }
        }
    }

    fn download(bytes: BoxStream<'static, Result<Bytes, StorageError>>) -> NativeDownload {
        NativeDownload(bytes)
    }
}

/// The body of a response, which streams stored bytes.
pub struct NativeDownload(pub BoxStream<'static, Result<Bytes, StorageError>>);

impl fmt::Debug for NativeDownload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NativeDownload")
    }
}

/// Lets every other task run first.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
