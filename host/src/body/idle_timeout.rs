//! Bodies from a network, which fail if their sender pauses for too long. There
//! is no limit to the whole: a large layer over a thin line takes hours.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;
use wasmtime_wasi_http::Error;

/// A body whose sender must get on.
#[derive(Debug)]
pub(crate) struct Progressing {
    body: Incoming,
    limit: Duration,
    broken: fn(hyper::Error) -> Error,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Progressing {
    /// A body within which pauses are shorter than `limit`; `broken` says what
    /// it is if it breaks off.
    pub(crate) fn new(body: Incoming, limit: Duration, broken: fn(hyper::Error) -> Error) -> Self {
        Self { body, limit, broken, pause: None }
    }
}

impl Body for Progressing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(frame) => {
                this.pause = None;
                Poll::Ready(frame.map(|frame| frame.map_err(this.broken)))
            }
            Poll::Pending => {
                let limit = this.limit;
                let pause = this.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
                pause.as_mut().poll(context).map(|()| Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
