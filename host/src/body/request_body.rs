//! The body of a client's request: limits on what the component collects of it,
//! and what becomes of the rest of a body that nobody reads.
//!
//! A body that is dropped before its end is drained in a task of its own, so that
//! its client gets the response and the request's turn is free meanwhile.

use crate::body::idle_timeout::IdleTimeout;
use crate::front::clients::{Client, Turn};
use crate::front::record::Received;
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use wasmtime_wasi_http::Error;

/// Bytes of a body that are read and discarded after its request was answered,
/// so that a client that sends all of it before it reads gets the response.
///
/// Limit: bytes of a refused body that are still read; test: `requests_after_a_refusal`.
const DRAIN_LIMIT: usize = 16 * 1024 * 1024;

/// How long that may take.
///
/// Limit: time in which a refused body is still read; test: `refused_bodies_hold_no_turn`.
const DRAIN_TIME: Duration = Duration::from_secs(30);

/// How long its sender may stall.
///
/// Limit: stall of a client whose body was refused; test: `refused_bodies_hold_no_turn`.
const DRAIN_PAUSE: Duration = Duration::from_secs(5);

/// Bodies that are drained at a time. The connections or streams of others are
/// closed after the response.
///
/// Limit: refused bodies read at a time, for all clients; test: `refused_bodies_hold_no_turn`.
const DRAINS: usize = 256;

/// The same for one client.
///
/// Limit: refused bodies read at a time, for one client; test: `refused_bodies_hold_no_turn`.
pub(crate) const DRAINS_OF_CLIENT: usize = 16;

/// Bytes of a body that the component gets without asking.
///
/// Limit: bytes of a collected body that need no share of the budget; test: `large_manifests_at_once_end_no_instance`.
const FREE: u64 = 64 * 1024;

/// What a body of unknown length counts as, and the most that one counts as, in
/// bytes: the largest that the component collects.
///
/// Limit: bytes that a collected body counts as; test: `large_manifests_at_once_end_no_instance`.
const LARGEST: u64 = 4 * 1024 * 1024;

/// Bytes of all bodies that the component collects at a time. What it makes of
/// them takes several times as much of its memory.
///
/// Limit: bytes of forms and manifests collected at a time; test: `large_manifests_at_once_end_no_instance`.
const COLLECTED: usize = 24 * 1024 * 1024;

/// The same for one client.
///
/// Limit: bytes of one client's forms and manifests collected at a time; test: `large_manifests_at_once_end_no_instance`.
pub(crate) const COLLECTED_OF_CLIENT: usize = COLLECTED / 2;

/// The longest body, in bytes, that is read before its request has a turn: a client
/// that sends a small one slowly holds up nobody.
///
/// Limit: bytes of a body that is read before its request has a turn; test: `slow_small_bodies_hold_no_turn`.
const SMALL: u64 = 64 * 1024;

/// Bytes of such bodies, of all clients.
///
/// Limit: bytes of bodies that are read before their requests have turns; test: `slow_small_bodies_hold_no_turn`.
pub(crate) const GATHERED: usize = 32 * 1024 * 1024;

/// The same of one client.
///
/// Limit: bytes of one client's bodies that are read before their requests have turns; test: `slow_small_bodies_hold_no_turn`.
pub(crate) const GATHERED_OF_CLIENT: usize = GATHERED / 4;

/// Bytes that a permit stands for.
pub(crate) const UNIT: usize = 1024;

static DRAINING: Semaphore = Semaphore::const_new(DRAINS);

tokio::task_local! {
    /// Set where the host itself reads bodies, of which nothing gets into the
    /// component's memory.
    static NATIVE: ();
}

/// Runs what reads bodies natively.
pub(crate) async fn native<T>(work: impl Future<Output = T>) -> T {
    NATIVE.scope((), work).await
}

/// The budget of bodies that the component collects.
#[derive(Clone, Debug)]
pub(crate) struct Collected(Arc<Semaphore>);

impl Collected {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(COLLECTED / UNIT)))
    }
}

/// What a request holds while the component answers it.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    permit: Mutex<Option<Turn>>,
    refused: AtomicBool,
}

impl Holds {
    /// Whether the body was refused for load.
    pub(crate) fn refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// Gives everything back.
    pub(crate) fn release(&self) {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// The body of a request.
pub(crate) struct RequestBody {
    /// `None` once it is being drained.
    body: Option<IdleTimeout<Incoming>>,
    client: Arc<Client>,
    /// Whether its client sends it only when asked to.
    expects: bool,
    received: u64,
    counter: Option<Received>,
    ended: bool,
    /// `None` where bodies are not limited, or once this one has its share.
    collected: Option<Collected>,
    holds: Arc<Holds>,
    waiting: Option<BoxFuture<'static, Option<Turn>>>,
    /// What was read before the request had a turn, and its share of the budget.
    ahead: VecDeque<Result<Frame<Bytes>, Error>>,
    share: Option<Turn>,
}

/// The permits that a body takes which is read before its request has a turn; `None`
/// if it is too long for that, or may be.
pub(crate) fn gathered_permits(body: &Incoming) -> Option<u32> {
    let length = body.size_hint().exact().filter(|length| *length <= SMALL)?;
    u32::try_from(length.div_ceil(UNIT as u64)).ok()
}

impl RequestBody {
    /// The body of a request of `client`, whose sender may stall for `pause`. What
    /// the component collects of it counts against `collected`; what is read of it, with
    /// `counter`.
    pub(crate) fn new(
        body: Incoming,
        pause: Duration,
        client: Arc<Client>,
        expects: bool,
        collected: Option<Collected>,
        holds: Arc<Holds>,
        counter: Option<Received>,
    ) -> Self {
        let ended = body.is_end_stream();
        let body = Some(IdleTimeout::new(body, pause, Error::from));
        Self {
            body,
            client,
            expects,
            received: 0,
            counter,
            ended,
            collected,
            holds,
            waiting: None,
            ahead: VecDeque::new(),
            share: None,
        }
    }

    /// Reads the body for at most `time`, and says whether that was enough. What is left
    /// is read by the component.
    pub(crate) async fn gather(&mut self, share: Turn, time: Duration) -> bool {
        self.share = Some(share);
        let Some(body) = &mut self.body else { return true };
        let deadline = Instant::now() + time;
        while !body.is_end_stream() {
            match tokio::time::timeout_at(deadline, body.frame()).await {
                Ok(Some(frame)) => {
                    let fails = frame.is_err();
                    self.ahead.push_back(frame);
                    if fails {
                        break;
                    }
                }
                Ok(None) => break,
                Err(_) => return false,
            }
        }
        true
    }

    fn take(&mut self, frame: Option<&Result<Frame<Bytes>, Error>>) {
        match frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                self.received += bytes as u64;
                if let Some(counter) = &self.counter {
                    counter.add(bytes);
                }
            }
            // A sender that stalls is not waited for a second time.
            Some(Err(_)) | None => self.ended = true,
        }
    }

    /// Waits for the body's share of the budget, if it needs one.
    fn poll_share(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let length = self.body.as_ref().and_then(|body| body.size_hint().exact());
        let size = self.received + length.unwrap_or(0);
        let free = size <= FREE && (length.is_some() || self.received < FREE);
        let Some(collected) = self.collected.as_ref().filter(|_| !free) else {
            return Poll::Ready(Ok(()));
        };
        if NATIVE.try_with(|()| ()).is_ok() {
            return Poll::Ready(Ok(()));
        }
        let bytes = if length.is_some() { size.min(LARGEST) } else { LARGEST };
        let waiting = self.waiting.get_or_insert_with(|| {
            let (all, client) = (Arc::clone(&collected.0), Arc::clone(&self.client));
            let permits = bytes.div_ceil(UNIT as u64);
            Box::pin(async move { client.collect(&all, u32::try_from(permits).ok()?).await })
        });
        let permit = ready!(waiting.as_mut().poll(context));
        self.waiting = None;
        self.collected = None;
        if permit.is_none() {
            self.holds.refused.store(true, Ordering::Release);
            return Poll::Ready(Err(Error::InternalError(None)));
        }
        *self.holds.permit.lock().unwrap_or_else(PoisonError::into_inner) = permit;
        Poll::Ready(Ok(()))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        this.expects = false;
        if this.ended {
            return Poll::Ready(None);
        }
        if let Some(frame) = this.ahead.pop_front() {
            this.take(Some(&frame));
            return Poll::Ready(Some(frame));
        }
        ready!(this.poll_share(context))?;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        this.take(frame.as_ref());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let ended = || self.body.as_ref().is_none_or(Body::is_end_stream);
        self.ended || self.ahead.is_empty() && ended()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let length = |frame: &Result<Frame<Bytes>, Error>| {
            frame.as_ref().ok().and_then(Frame::data_ref).map_or(0, |bytes| bytes.len() as u64)
        };
        let ahead: u64 = self.ahead.iter().map(length).sum();
        if let (Some(exact), 1..) = (hint.exact(), ahead) {
            hint = SizeHint::with_exact(exact + ahead);
        }
        hint
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(body) = self.body.take().map(IdleTimeout::into_inner) else { return };
        // A client that has not been asked to continue gets the response first.
        if self.ended || self.expects || body.is_end_stream() {
            return;
        }
        let Ok(permit) = DRAINING.try_acquire() else { return };
        let Some(own) = self.client.begin_drain() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _permits = (permit, own);
                let _ = tokio::time::timeout(DRAIN_TIME, drain(body)).await;
            });
        }
    }
}

async fn drain(body: Incoming) {
    let mut body = IdleTimeout::new(body, DRAIN_PAUSE, Error::from);
    let mut size = 0;
    while size < DRAIN_LIMIT
        && let Some(Ok(frame)) = body.frame().await
    {
        size += frame.data_ref().map_or(0, Bytes::len);
    }
}
