//! The body of a client's request: limits on what the component collects of it,
//! and what becomes of the rest of a body that nobody reads.
//!
//! A body that is dropped before its end is drained in a task of its own, so that
//! its client gets the response and the request's turn is free meanwhile.

use crate::body::idle_timeout::IdleTimeout;
use crate::front::clients::{Client, Turn};
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::Semaphore;
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
    ended: bool,
    /// `None` where bodies are not limited, or once this one has its share.
    collected: Option<Collected>,
    holds: Arc<Holds>,
    waiting: Option<BoxFuture<'static, Option<Turn>>>,
}

impl RequestBody {
    /// The body of a request of `client`, whose sender may stall for `pause`. What
    /// the component collects of it counts against `collected`.
    pub(crate) fn new(
        body: Incoming,
        pause: Duration,
        client: Arc<Client>,
        expects: bool,
        collected: Option<Collected>,
        holds: Arc<Holds>,
    ) -> Self {
        let ended = body.is_end_stream();
        let body = Some(IdleTimeout::new(body, pause, Error::from));
        Self { body, client, expects, received: 0, ended, collected, holds, waiting: None }
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
        ready!(this.poll_share(context))?;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                this.received += frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
            }
            // A sender that stalls is not waited for a second time.
            Some(Err(_)) | None => this.ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
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
