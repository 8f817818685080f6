//! Bodies that fail when their sender stalls.
//!
//! The limit is for each pause, not for the whole: a large layer over a slow
//! line takes hours. `tower-http` has such a body too, but it hides the length
//! of the one that it wraps and checks its timer before it looks for bytes.

use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::Error;

/// How long bytes may still appear after the limit: if the process was suspended,
/// they have arrived, and whoever reads the connection has yet to run.
///
/// Limit: time in which bytes that had arrived are still taken; test: `bytes_that_had_arrived_are_taken`.
const GRACE: Duration =
    if cfg!(test) { Duration::from_millis(100) } else { Duration::from_secs(5) };

/// A body that fails with [`Error::ConnectionReadTimeout`] when no frame comes
/// for too long.
#[derive(Debug)]
pub(crate) struct IdleTimeout<B: Body> {
    body: B,
    limit: Duration,
    map_error: fn(B::Error) -> Error,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the limit has passed, and [`GRACE`] runs.
    late: bool,
}

impl<B: Body> IdleTimeout<B> {
    /// Limits each pause of `body` to `limit`. `map_error` converts the body's
    /// own errors.
    pub(crate) fn new(body: B, limit: Duration, map_error: fn(B::Error) -> Error) -> Self {
        Self { body, limit, map_error, timer: None, late: false }
    }

    /// The body itself.
    pub(crate) fn into_inner(self) -> B {
        self.body
    }
}

impl<B: Body + Unpin> Body for IdleTimeout<B> {
    type Data = B::Data;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(frame) => {
                this.timer = None;
                this.late = false;
                Poll::Ready(frame.map(|frame| frame.map_err(this.map_error)))
            }
            Poll::Pending => {
                let limit = this.limit;
                let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
                ready!(timer.as_mut().poll(context));
                if this.late {
                    return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
                }
                this.late = true;
                timer.as_mut().reset(Instant::now() + GRACE);
                timer.as_mut().poll(context).map(|()| Some(Err(Error::ConnectionReadTimeout)))
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

#[cfg(test)]
mod tests {
    use super::IdleTimeout;
    use bytes::Bytes;
    use futures::stream::{self, StreamExt as _};
    use http_body::{Body as _, Frame};
    use http_body_util::{BodyExt as _, Full, StreamBody};
    use std::time::Duration;
    use wasmtime_wasi_http::Error;

    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn bytes_that_had_arrived_are_taken() {
        // As after SIGCONT: the limit passed long ago, and the connection's task
        // reads the bytes a moment later.
        let late = stream::once(async {
            tokio::time::sleep(SOON + super::GRACE / 4).await;
            Ok(Frame::data(Bytes::from_static(b"a")))
        });
        let mut body = IdleTimeout::new(StreamBody::new(Box::pin(late)), SOON, |error| error);
        assert!(body.frame().await.unwrap().unwrap().is_data());
    }

    #[tokio::test]
    async fn a_stalled_body_fails() {
        let frames = stream::iter([Ok(Frame::data(Bytes::from_static(b"a")))]);
        let body = StreamBody::new(frames.chain(stream::pending()));
        let mut body = IdleTimeout::new(body, SOON, |error| error);
        assert!(body.frame().await.unwrap().unwrap().is_data());
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(matches!(error, Error::ConnectionReadTimeout));
    }

    #[test]
    fn the_length_is_passed_on() {
        let body = Full::new(Bytes::from_static(b"abc"));
        let body = IdleTimeout::new(body, SOON, |never| match never {});
        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(!body.is_end_stream());
    }
}
