//! Small bodies of requests, which are read before their requests have a turn: a
//! client that sends one slowly holds up nobody.

use crate::body::idle_timeout::IdleTimeout;
use crate::body::request_body::UNIT;
use crate::front::clients::Turn;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use wasmtime_wasi_http::Error;

/// The longest body, in bytes, that is read before its request has a turn.
///
/// Limit: bytes of a body that is read before its request has a turn; test:
/// `slow_small_bodies_hold_no_turn`.
pub(crate) const SMALL: u64 = 64 * 1024;

/// Bytes of such bodies, of all clients.
///
/// Limit: bytes of bodies that are read before their requests have turns; test:
/// `slow_small_bodies_hold_no_turn`.
pub(crate) const GATHERED: usize = 32 * 1024 * 1024;

/// Bytes of such bodies, of one client.
///
/// Limit: the same of one client; test: `slow_small_bodies_hold_no_turn`.
pub(crate) const GATHERED_OF_CLIENT: usize = GATHERED / 4;

/// A body that was read, up to its end or a failure.
pub(crate) struct Gathered {
    pieces: VecDeque<Bytes>,
    /// The bytes that are left, with those that never came.
    left: u64,
    failure: Option<Error>,
    _share: Turn,
}

/// The permits that a request's body of so many bytes takes; `None` if it is too
/// long.
pub(crate) fn permits(length: u64) -> Option<u32> {
    let length = usize::try_from(length).ok().filter(|_| (1..=SMALL).contains(&length))?;
    u32::try_from(length.div_ceil(UNIT)).ok()
}

impl Gathered {
    /// Reads a body of `length` bytes. Its sender may stall for `pause`, and may take
    /// as long for all of it.
    pub(crate) async fn read(body: Incoming, length: u64, pause: Duration, share: Turn) -> Self {
        let began = Instant::now();
        let mut body = IdleTimeout::new(body, pause, Error::from);
        let mut gathered =
            Self { pieces: VecDeque::new(), left: length, failure: None, _share: share };
        while let Some(frame) = body.frame().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(bytes)) => gathered.pieces.push_back(bytes),
                // Trailers, which the component does not read.
                Ok(Err(_)) => {}
                Err(error) => {
                    gathered.failure = Some(error);
                    break;
                }
            }
            if !body.is_end_stream() && began.elapsed() > pause {
                gathered.failure = Some(Error::ConnectionReadTimeout);
                break;
            }
        }
        gathered
    }
}

impl Body for Gathered {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(bytes) = self.pieces.pop_front() {
            self.left = self.left.saturating_sub(bytes.len() as u64);
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        Poll::Ready(self.failure.take().map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.failure.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
