//! The bodies of responses on their way to clients, and whether clients take
//! them.
//!
//! Over HTTP/1.1, a connection writes one response at a time, and
//! [`crate::net::connection`] sees whether its client takes the bytes. Over HTTP/2,
//! what is yielded here waits within h2 for the client's window. So a body yields
//! [`CHUNK`]s that say when they have been written, and yields the next one when
//! the last has been, unless there is room for more in the budget.

use crate::body::budget::{Buffered, QUEUED, Share, for_client, holding};
use crate::body::handover::Handover;
use crate::front::clients::{Client, Turn};
use crate::front::record::Record;
use crate::net::activity::{Activity, RequestGuard};
use bytes::Bytes;
use futures::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;
use wasmtime_wasi_http::{Error, WasiBody};

/// Bytes that are handed to h2 at once: as many as a frame has. A client that does
/// not take so many within `REGISTRY_HTTP_STALLTIMEOUT` is too slow.
///
/// Limit: bytes that a client takes in each stall timeout; test: `tiny_windows_are_bounded_and_closed`.
pub(crate) const CHUNK: usize = 16 * 1024;

/// What of a response over HTTP/2 has been handed to h2.
#[derive(Debug)]
pub(crate) struct Progress {
    began: Instant,
    /// Chunks that h2 has not written yet.
    queued: AtomicUsize,
    /// When the first was queued or one was last written, in milliseconds since
    /// `began`.
    last: AtomicU64,
    written: AtomicWaker,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            queued: AtomicUsize::new(0),
            last: AtomicU64::new(0),
            written: AtomicWaker::new(),
        }
    }

    /// Since when the client has taken nothing, if there is something to take.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        (self.queued.load(Ordering::Acquire) > 0).then(|| self.began + last)
    }

    fn touch(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Ready once all chunks have been written.
    fn poll_written(&self, context: &Context<'_>) -> Poll<()> {
        self.written.register(context.waker());
        match self.queued.load(Ordering::Acquire) {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

/// A chunk that has been handed to h2. It is dropped when it has been written, or
/// with its stream.
pub(super) struct Queued {
    progress: Arc<Progress>,
    activity: Arc<Activity>,
    _share: Option<Share>,
}

impl Queued {
    pub(super) fn begin(
        progress: &Arc<Progress>,
        activity: &Arc<Activity>,
        share: Option<Share>,
    ) -> Self {
        if progress.queued.fetch_add(1, Ordering::AcqRel) == 0 {
            progress.touch();
        }
        activity.queue();
        Self { progress: Arc::clone(progress), activity: Arc::clone(activity), _share: share }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.progress.touch();
        self.progress.queued.fetch_sub(1, Ordering::AcqRel);
        self.activity.unqueue();
        self.progress.written.wake();
    }
}

/// How bytes get to the client.
enum Way {
    /// Plain HTTP/1.1, to which files can be handed over.
    Files(Arc<Handover>),
    /// HTTP/1.1 over TLS.
    Sequential,
    /// HTTP/2.
    Chunks(Chunks),
}

/// A body over HTTP/2.
struct Chunks {
    progress: Arc<Progress>,
    activity: Arc<Activity>,
    /// What was read and has not been handed to h2.
    rest: Bytes,
    /// Whether the body ends only once its last chunk has been written: h2 gives
    /// an ended stream no means to see whether its client takes it.
    held: bool,
    ended: bool,
    _stream: Option<Turn>,
}

/// A response's body; its request is in flight until this is dropped.
pub(crate) struct ResponseBody {
    body: WasiBody,
    way: Way,
    /// What is in memory on its way to the same client.
    buffered: Option<Arc<Buffered>>,
    /// `None` if the request panicked.
    record: Option<Record>,
    _guard: RequestGuard,
}

impl ResponseBody {
    /// A body over HTTP/1.1.
    pub(crate) fn sequential(
        body: WasiBody,
        handover: Option<Arc<Handover>>,
        client: &Client,
        guard: RequestGuard,
    ) -> Self {
        let way = handover.map_or(Way::Sequential, Way::Files);
        let buffered = Some(Arc::clone(&client.buffered));
        Self { body, way, buffered, record: None, _guard: guard }
    }

    /// The same, with what is known of the request.
    pub(crate) fn with(mut self, record: Option<Record>) -> Self {
        self.record = record;
        self
    }

    /// A body over HTTP/2, which holds `stream` until its client has taken it.
    pub(crate) fn chunks(
        body: WasiBody,
        progress: Arc<Progress>,
        activity: Arc<Activity>,
        stream: Option<Turn>,
        client: &Client,
        guard: RequestGuard,
    ) -> Self {
        let chunks = Chunks {
            progress,
            activity,
            rest: Bytes::new(),
            held: false,
            ended: body.is_end_stream(),
            _stream: stream,
        };
        let buffered = Some(Arc::clone(&client.buffered));
        Self { body, way: Way::Chunks(chunks), buffered, record: None, _guard: guard }
    }
}

impl Chunks {
    fn poll_frame(
        &mut self,
        body: &mut WasiBody,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        while self.rest.is_empty() {
            if self.ended {
                if self.held {
                    ready!(self.progress.poll_written(context));
                    self.held = false;
                }
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut *body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.rest = bytes,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.ended = true,
            }
            self.ended |= body.is_end_stream();
        }
        let size = self.rest.len().min(CHUNK);
        let share = if self.progress.poll_written(context).is_ready() {
            None
        } else if let Some(share) = QUEUED.take(size) {
            Some(share)
        } else {
            return Poll::Pending;
        };
        let chunk = self.rest.split_to(size);
        // One response of a connection may end at once; that is what most do.
        self.held = self.activity.queued() > 0;
        let queued = Queued::begin(&self.progress, &self.activity, share);
        Poll::Ready(Some(Ok(Frame::data(holding(chunk, queued)))))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let frame = for_client(&mut this.buffered, || match &mut this.way {
            Way::Files(handover) => handover.scope(|| Pin::new(&mut this.body).poll_frame(context)),
            Way::Sequential => Pin::new(&mut this.body).poll_frame(context),
            Way::Chunks(chunks) => chunks.poll_frame(&mut this.body, context),
        });
        if let (Poll::Ready(Some(Ok(frame))), Some(record)) = (&frame, &mut this.record)
            && let Some(bytes) = frame.data_ref()
        {
            record.sent(bytes.len());
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.way {
            Way::Files(_) | Way::Sequential => self.body.is_end_stream(),
            Way::Chunks(chunks) => chunks.ended && chunks.rest.is_empty() && !chunks.held,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.size_hint();
        match &self.way {
            Way::Chunks(chunks) if !chunks.rest.is_empty() => {
                let rest = chunks.rest.len() as u64;
                let mut all = SizeHint::new();
                all.set_lower(hint.lower() + rest);
                if let Some(upper) = hint.upper() {
                    all.set_upper(upper + rest);
                }
                all
            }
            _ => hint,
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let ended = self.is_end_stream();
        if let Some(record) = self.record.as_mut().filter(|_| ended) {
            record.complete();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, Progress, ResponseBody};
    use crate::body::full;
    use crate::front::clients::Clients;
    use crate::net::activity::Activity;
    use bytes::Bytes;
    use futures::FutureExt as _;
    use http_body::Body as _;
    use http_body_util::BodyExt as _;
    use std::sync::Arc;

    fn body(activity: &Arc<Activity>, size: usize) -> (ResponseBody, Arc<Progress>) {
        let clients = Clients::new(1, 1, 9);
        let client = clients.get("192.0.2.1".parse().unwrap());
        let stream = clients.stream(&client).unwrap();
        let progress = Arc::new(Progress::new());
        let (guard, bytes) = (activity.begin_request(), full(Bytes::from(vec![1; size])));
        let activity = Arc::clone(activity);
        let body = ResponseBody::chunks(
            bytes,
            Arc::clone(&progress),
            activity,
            Some(stream),
            &client,
            guard,
        );
        (body, progress)
    }

    #[test]
    fn chunks_say_when_they_are_written() {
        let activity = Arc::new(Activity::new());
        let (mut body, progress) = body(&activity, CHUNK + 1);
        let first = body.frame().now_or_never().unwrap().unwrap().unwrap().into_data().unwrap();
        assert_eq!((first.len(), body.size_hint().exact()), (CHUNK, Some(1)));
        assert!(progress.waits_since().is_some());
        drop(first);
        assert!(progress.waits_since().is_none());
        let last = body.frame().now_or_never().unwrap().unwrap().unwrap().into_data().unwrap();
        assert!(last.len() == 1 && body.is_end_stream());
    }

    /// Beside another response that waits, a body ends when it has been taken.
    #[test]
    fn a_body_that_may_not_be_taken_does_not_end() {
        let activity = Arc::new(Activity::new());
        let (mut one, _) = body(&activity, 1);
        let (mut other, _) = body(&activity, 1);
        let waiting = one.frame().now_or_never().unwrap();
        assert!(one.is_end_stream());
        let chunk = other.frame().now_or_never().unwrap();
        assert!(!other.is_end_stream());
        assert!(other.frame().now_or_never().is_none());
        drop(chunk);
        assert!(other.frame().now_or_never().unwrap().is_none());
        drop(waiting);
    }
}
